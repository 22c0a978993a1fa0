// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the bytes of the protocol mean one thing, and no bytes hurt.
 * Method: random messages there and back, every byte of each kind changed, and the limits from both sides.
 */
import { encodeCbor } from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import {
  LIMITS,
  MeshError,
  parseDeviceKey,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import { MAX_SPANS, decodeMessage, encodeMessage } from "@ctxmesh/sync";
import type { ChainSeq, SyncMessage } from "@ctxmesh/sync";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const seq = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.maxSafeNat().map((n) => n || 1),
);
const chain = fc.record({
  replica: bytes(32).map((id) => parseDeviceKey(toHex(id))),
  incarnation: bytes(16).map((id) => parseIncarnationId(toHex(id))),
});
const heads = fc.array(
  fc.tuple(chain, seq).map(([of, at]): ChainSeq => ({ ...of, seq: at })),
  {
    maxLength: 12,
  },
);
const spans = fc.array(
  fc.tuple(chain, seq, seq).map(([of, a, b]) => ({
    ...of,
    from: Math.min(a, b),
    to: Math.max(a, b),
  })),
  { maxLength: 12 },
);
const batch = fc.uint8Array({ maxLength: 400 });

const MESSAGES: Readonly<Record<SyncMessage["type"], fc.Arbitrary<SyncMessage>>> = {
  hello: fc.record({
    type: fc.constant("hello"),
    space: bytes(32).map((id) => parseSpaceId(toHex(id))),
    digest: bytes(32),
  }),
  heads: heads.map((all) => ({ type: "heads", heads: all })),
  have: heads.map((all) => ({ type: "have", heads: all })),
  pull: spans.map((all) => ({ type: "pull", spans: all })),
  batches: fc.array(batch, { maxLength: 8 }).map((batches) => ({ type: "batches", batches })),
  push: batch.map((one) => ({ type: "push", batch: one })),
  digest: bytes(32).map((digest) => ({ type: "digest", digest })),
};

/** `decoded`, the code of the error that the decoder throws, or what else it threw. */
function outcomeOf(message: Uint8Array): string {
  try {
    decodeMessage(message);
    return "decoded";
  } catch (error) {
    return error instanceof MeshError ? error.code : `not a MeshError: ${String(error)}`;
  }
}

const ANSWERS = new Set(["decoded", "PROTOCOL_VIOLATION", "FORMAT_INVALID", "LIMIT_EXCEEDED"]);
const encoded = (value: CborValue): string => outcomeOf(encodeCbor(value));
const fill = (count: number, item: CborValue): CborValue[] =>
  Array.from({ length: count }, () => item);
const zeros = (length: number): Uint8Array => new Uint8Array(length);

describe.each(Object.entries(MESSAGES))("a %s message", (_, arbitrary) => {
  test("comes back from its bytes as it was, and its bytes again", () => {
    fc.assert(
      fc.property(arbitrary, (message) => {
        const wire = encodeMessage(message);
        const decoded = decodeMessage(wire);
        expect(decoded).toEqual(message);
        expect(encodeMessage(decoded)).toEqual(wire);
      }),
    );
  });

  test("with any byte changed, cut off or added is decoded or refused with a code", () => {
    const [message] = fc.sample(arbitrary, { numRuns: 1, seed: 7 });
    const wire = encodeMessage(message as SyncMessage);
    for (let at = 0; at < wire.length; at++) {
      for (const change of [1, 2, 0x20, 0x80, 0xff]) {
        const broken = wire.slice();
        broken[at] = (broken[at] ?? 0) ^ change;
        expect(ANSWERS).toContain(outcomeOf(broken));
      }
      expect(ANSWERS).toContain(outcomeOf(wire.subarray(0, at)));
    }
    expect(outcomeOf(Uint8Array.of(...wire, 0))).toBe("FORMAT_INVALID");
  });
});

test("no bytes at all make the decoder throw anything but a coded error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      expect(ANSWERS).toContain(outcomeOf(noise));
    }),
    { numRuns: 2_000 },
  );
});

test("an array of the protocol with random parts is decoded or refused with a code", () => {
  const part = fc.oneof(
    fc.constantFrom<CborValue>(null, true, "", 0, 1, -1, zeros(32), zeros(16), [], {}),
    fc.array(fc.constantFrom<CborValue>(0, 1, zeros(32), zeros(16), []), { maxLength: 5 }),
    fc.array(fc.array(fc.constantFrom<CborValue>(1, 2, zeros(32), zeros(16)), { maxLength: 5 })),
  );
  fc.assert(
    fc.property(fc.nat(8), fc.array(part, { maxLength: 4 }), (type, parts) => {
      expect(ANSWERS).toContain(encoded([type, ...parts]));
    }),
    { numRuns: 2_000 },
  );
});

describe("limits", () => {
  const head = (n: number): CborValue => [zeros(32), zeros(16), n];
  const span = [zeros(32), zeros(16), 1, 1];

  test.each([
    ["a pull of as many spans as allowed", [3, fill(MAX_SPANS, span)], "decoded"],
    ["one span more", [3, fill(MAX_SPANS + 1, span)], "PROTOCOL_VIOLATION"],
    ["as many heads as allowed", [1, fill(LIMITS.frontierHeads, head(1))], "decoded"],
    ["one head more", [1, fill(LIMITS.frontierHeads + 1, head(1))], "PROTOCOL_VIOLATION"],
    ["one head more in a have", [2, fill(LIMITS.frontierHeads + 1, head(1))], "PROTOCOL_VIOLATION"],
    ["1,024 batches", [4, fill(1_024, zeros(1))], "decoded"],
    ["one batch more", [4, fill(1_025, zeros(1))], "PROTOCOL_VIOLATION"],
    ["a head at 0", [1, [head(0)]], "PROTOCOL_VIOLATION"],
    ["a span from 0", [3, [[zeros(32), zeros(16), 0, 1]]], "PROTOCOL_VIOLATION"],
    [
      "a span that ends before it begins",
      [3, [[zeros(32), zeros(16), 2, 1]]],
      "PROTOCOL_VIOLATION",
    ],
    ["another version", [0, 2, zeros(32), zeros(32)], "PROTOCOL_VIOLATION"],
    ["an unknown type", [7, zeros(32)], "PROTOCOL_VIOLATION"],
    ["a part too many", [6, zeros(32), 0], "PROTOCOL_VIOLATION"],
    ["a part too few", [6], "PROTOCOL_VIOLATION"],
    ["a short digest", [6, zeros(31)], "PROTOCOL_VIOLATION"],
    ["no array", { type: 6 }, "PROTOCOL_VIOLATION"],
  ] as const)("%s: %#", (_, value, answer) => {
    expect(encoded(value as CborValue)).toBe(answer);
  });

  test("a message over the size limit is refused before it is parsed", () => {
    expect(outcomeOf(zeros(LIMITS.syncMessageBytes + 1))).toBe("LIMIT_EXCEEDED");
  });

  test("a full frontier of the largest numbers fits into one message", () => {
    const full = Array.from({ length: LIMITS.frontierHeads }, () => ({
      replica: parseDeviceKey("ff".repeat(32)),
      incarnation: parseIncarnationId("ff".repeat(16)),
      seq: Number.MAX_SAFE_INTEGER,
    }));
    const wire = encodeMessage({ type: "heads", heads: full });
    expect(wire.length).toBeLessThanOrEqual(LIMITS.syncMessageBytes);
    expect(decodeMessage(wire)).toEqual({ type: "heads", heads: full });
  });
});
