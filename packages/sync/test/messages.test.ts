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
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import {
  MAX_HEADERS,
  MAX_HEADS,
  MAX_SPANS,
  MAX_WANTED,
  decodeMessage,
  encodeMessage,
} from "@ctxmesh/sync";
import type { ChainHead, SyncMessage } from "@ctxmesh/sync";
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
  fc.tuple(chain, fc.oneof(fc.constant(0), seq), bytes(16)).map(([of, at, hash]): ChainHead => ({
    ...of,
    seq: at,
    hash: at === 0 ? "0".repeat(32) : toHex(hash),
  })),
  { maxLength: 12 },
);
const forks = fc.array(
  fc.tuple(chain, seq).map(([of, at]) => ({ ...of, seq: at })),
  { maxLength: 12 },
);
const ids = fc.array(bytes(32).map(toHex), { maxLength: 12 });
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
    digest: bytes(16),
    records: bytes(16),
  }),
  heads: heads.map((all) => ({ type: "heads", heads: all })),
  have: heads.map((all) => ({ type: "have", heads: all })),
  pull: spans.map((all) => ({ type: "pull", spans: all })),
  batches: fc.array(batch, { maxLength: 8 }).map((batches) => ({ type: "batches", batches })),
  push: batch.map((one) => ({ type: "push", batch: one })),
  digest: fc.record({ type: fc.constant("digest"), digest: bytes(16), records: bytes(16) }),
  records: fc
    .tuple(fc.option(ids, { nil: undefined }), fc.option(forks, { nil: undefined }))
    .filter(([acts, forked]) => acts !== undefined || forked !== undefined)
    .map(([acts, forked]) => ({ type: "records", acts, forks: forked })),
  acts: fc.record({
    type: fc.constant("acts"),
    acts: fc.array(batch, { maxLength: 8 }),
    proofs: fc.array(batch, { maxLength: 8 }),
    more: fc.boolean(),
    records: bytes(16),
  }),
  want: fc
    .array(
      bytes(32).map((id) => parseHeaderHash(toHex(id))),
      { maxLength: 12 },
    )
    .map((hashes) => ({ type: "want", hashes })),
  headers: fc.array(batch, { maxLength: 8 }).map((headers) => ({ type: "headers", headers })),
  stored: heads.map((all) => ({ type: "stored", heads: all.filter((one) => one.seq > 0) })),
  sealed: heads.map((all) => ({ type: "sealed", heads: all.filter((one) => one.seq > 0) })),
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
    fc.property(fc.nat(12), fc.array(part, { maxLength: 4 }), (type, parts) => {
      expect(ANSWERS).toContain(encoded([type, ...parts]));
    }),
    { numRuns: 2_000 },
  );
});

describe("limits", () => {
  const head = (n: number): CborValue => [zeros(32), zeros(16), n, Uint8Array.of(n, ...zeros(15))];
  const fork = (n: number): CborValue => [zeros(32), zeros(16), n];
  const span = [zeros(32), zeros(16), 1, 1];

  test.each([
    ["a pull of as many spans as allowed", [3, fill(MAX_SPANS, span)], "decoded"],
    ["one span more", [3, fill(MAX_SPANS + 1, span)], "PROTOCOL_VIOLATION"],
    ["as many heads as allowed", [1, fill(MAX_HEADS, head(1))], "decoded"],
    ["one head more", [1, fill(MAX_HEADS + 1, head(1))], "PROTOCOL_VIOLATION"],
    ["one head more in a have", [2, fill(MAX_HEADS + 1, head(1))], "PROTOCOL_VIOLATION"],
    ["as many acts as allowed", [7, fill(LIMITS.acts, zeros(32)), null], "decoded"],
    ["one act more", [7, fill(LIMITS.acts + 1, zeros(32)), null], "PROTOCOL_VIOLATION"],
    ["as many forks as allowed", [7, null, fill(LIMITS.proofs, fork(1))], "decoded"],
    ["one fork more", [7, null, fill(LIMITS.proofs + 1, fork(1))], "PROTOCOL_VIOLATION"],
    ["a fork at 0", [7, [], [fork(0)]], "PROTOCOL_VIOLATION"],
    ["records that say nothing", [7, null, null], "PROTOCOL_VIOLATION"],
    ["an act id that is short", [7, [zeros(31)], []], "PROTOCOL_VIOLATION"],
    ["acts that are no bytes", [8, [1], [], false, zeros(16)], "PROTOCOL_VIOLATION"],
    ["acts with 1 for true", [8, [], [], 1, zeros(16)], "PROTOCOL_VIOLATION"],
    ["acts without a digest", [8, [], [], false], "PROTOCOL_VIOLATION"],
    ["as many wants as allowed", [9, fill(MAX_WANTED, zeros(32))], "decoded"],
    ["one want more", [9, fill(MAX_WANTED + 1, zeros(32))], "PROTOCOL_VIOLATION"],
    ["as many headers as allowed", [10, fill(MAX_HEADERS, zeros(9))], "decoded"],
    ["one header more", [10, fill(MAX_HEADERS + 1, zeros(9))], "PROTOCOL_VIOLATION"],
    ["1,024 batches", [4, fill(1_024, zeros(1))], "decoded"],
    ["one batch more", [4, fill(1_025, zeros(1))], "PROTOCOL_VIOLATION"],
    ["a head at 0, of which nothing counts", [1, [head(0)]], "decoded"],
    [
      "a head at 0 with a hash",
      [1, [[zeros(32), zeros(16), 0, new Uint8Array(16).fill(1)]]],
      "PROTOCOL_VIOLATION",
    ],
    ["a head without a hash", [1, [fork(1)]], "PROTOCOL_VIOLATION"],
    ["a head with a whole hash", [1, [[zeros(32), zeros(16), 1, zeros(32)]]], "PROTOCOL_VIOLATION"],
    ["a span from 0", [3, [[zeros(32), zeros(16), 0, 1]]], "PROTOCOL_VIOLATION"],
    [
      "a span that ends before it begins",
      [3, [[zeros(32), zeros(16), 2, 1]]],
      "PROTOCOL_VIOLATION",
    ],
    ["the version before", [0, 1, zeros(32), zeros(32)], "PROTOCOL_VIOLATION"],
    ["another version", [0, 3, zeros(32), zeros(32), zeros(32)], "PROTOCOL_VIOLATION"],
    ["as many stored heads as allowed", [11, fill(MAX_HEADS, head(1))], "decoded"],
    ["one stored head more", [11, fill(MAX_HEADS + 1, head(1))], "PROTOCOL_VIOLATION"],
    ["one sealed head more", [12, fill(MAX_HEADS + 1, head(1))], "PROTOCOL_VIOLATION"],
    ["nothing stored of a chain", [11, [head(0)]], "PROTOCOL_VIOLATION"],
    ["nothing sealed of a chain", [12, [head(0)]], "PROTOCOL_VIOLATION"],
    ["an unknown type", [13, zeros(32)], "PROTOCOL_VIOLATION"],
    ["a part too many", [6, zeros(32), zeros(32), 0], "PROTOCOL_VIOLATION"],
    ["a part too few", [6], "PROTOCOL_VIOLATION"],
    ["a short digest", [6, zeros(31), zeros(32)], "PROTOCOL_VIOLATION"],
    ["no array", { type: 6 }, "PROTOCOL_VIOLATION"],
  ] as const)("%s: %#", (_, value, answer) => {
    expect(encoded(value as CborValue)).toBe(answer);
  });

  test("a message over the size limit is refused before it is parsed", () => {
    expect(outcomeOf(zeros(LIMITS.syncMessageBytes + 1))).toBe("LIMIT_EXCEEDED");
  });

  const largest = {
    replica: parseDeviceKey("ff".repeat(32)),
    incarnation: parseIncarnationId("ff".repeat(16)),
    seq: Number.MAX_SAFE_INTEGER,
    hash: "ff".repeat(16),
  };
  const { hash: _, ...largestFork } = largest;
  test.each<SyncMessage>([
    { type: "heads", heads: Array.from({ length: MAX_HEADS }, () => largest) },
    { type: "stored", heads: Array.from({ length: MAX_HEADS }, () => largest) },
    { type: "sealed", heads: Array.from({ length: MAX_HEADS }, () => largest) },
    {
      type: "records",
      acts: Array.from({ length: LIMITS.acts }, () => "ff".repeat(32)),
      forks: undefined,
    },
    {
      type: "records",
      acts: undefined,
      forks: Array.from({ length: LIMITS.proofs }, () => largestFork),
    },
  ])("the longest list of the largest numbers fits into one message: $type %#", (message) => {
    const wire = encodeMessage(message);
    expect(wire.length).toBeLessThanOrEqual(LIMITS.syncMessageBytes);
    expect(decodeMessage(wire)).toEqual(message);
  });
});
