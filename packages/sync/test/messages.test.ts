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
  MAX_RANGES,
  MAX_ROUNDS,
  MAX_SPANS,
  MAX_WANTED,
  decodeMessage,
  encodeMessage,
  rangeKey,
} from "@ctxmesh/sync";
import type { ChainHead, Range, SyncMessage } from "@ctxmesh/sync";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bodies, wanted } from "./body-arbitraries.ts";

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
/** Ranges in order, with heads in order within the bounds. */
const ranges = fc
  .tuple(
    fc.uniqueArray(bytes(2).map(toHex), { minLength: 1, maxLength: 8 }),
    fc.array(fc.constantFrom("skip", "fingerprint", "equal", "list", "listed"), {
      minLength: 8,
      maxLength: 8,
    }),
    bytes(16).map(toHex),
    heads,
    fc.boolean(),
  )
  .map(([bounds, modes, fingerprint, all, toTheEnd]) => {
    const uppers = bounds.toSorted();
    if (toTheEnd) uppers.splice(-1, 1, "");
    const sorted = all
      .filter(({ seq: at }) => at > 0)
      .toSorted((a, b) => (rangeKey(a) < rangeKey(b) ? -1 : 1));
    return uppers.map((upper, i): Range => {
      const mode = modes[i] as Range["mode"];
      const lower = uppers[i - 1] ?? "";
      if (mode === "skip") return { upper, mode };
      if (mode === "fingerprint" || mode === "equal") return { upper, mode, fingerprint };
      const within = sorted.filter((one) => {
        const key = rangeKey(one);
        return key >= lower && (upper === "" || key < upper);
      });
      return { upper, mode, heads: within };
    });
  });

const MESSAGES: Readonly<Record<SyncMessage["type"], fc.Arbitrary<SyncMessage>>> = {
  hello: fc.record({
    type: fc.constant("hello"),
    space: bytes(32).map((id) => parseSpaceId(toHex(id))),
    digest: bytes(16),
    records: bytes(16),
  }),
  have: heads.map((all) => ({ type: "have", heads: all })),
  pull: spans.map((all) => ({ type: "pull", spans: all })),
  batches: fc.array(batch, { maxLength: 8 }).map((batches) => ({ type: "batches", batches })),
  "base-pull": fc
    .option(fc.tuple(bytes(32).map(toHex), fc.integer({ min: 1, max: LIMITS.baseParts })), {
      nil: undefined,
    })
    .map((of) => ({ type: "base-pull", base: of?.[0], part: of?.[1] ?? 0 })),
  "base-part": fc
    .option(fc.tuple(bytes(32).map(toHex), fc.integer({ min: 0, max: LIMITS.baseParts }), batch), {
      nil: undefined,
    })
    .map((of) => ({
      type: "base-part",
      base: of?.[0],
      part: of?.[1] ?? 0,
      bytes: of?.[2] ?? new Uint8Array(),
    })),
  bodies,
  wanted,
  ask: fc.tuple(seq, batch).map(([id, question]) => ({ type: "ask", id, question })),
  answer: fc.tuple(seq, batch).map(([id, answer]) => ({ type: "answer", id, answer })),
  push: batch.map((one) => ({ type: "push", batch: one })),
  digest: fc.record({
    type: fc.constant("digest"),
    digest: bytes(16),
    records: bytes(16),
    asks: fc.boolean(),
  }),
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
  routes: fc
    .tuple(fc.uniqueArray(bytes(8).map(toHex), { maxLength: 12 }), fc.nat(12))
    .map(([all, cut]) => ({
      type: "routes",
      here: new Set(all.slice(0, cut)),
      elsewhere: new Set(all.slice(cut)),
    })),
  ranges: fc
    .tuple(fc.integer({ min: 1, max: MAX_ROUNDS }), ranges)
    .map(([round, all]) => ({ type: "ranges", round, ranges: all })),
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

const ANSWERS = new Set([
  "decoded",
  "PROTOCOL_VIOLATION",
  "FORMAT_INVALID",
  "INPUT_INVALID",
  "LIMIT_EXCEEDED",
]);
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
    fc.property(fc.nat(20), fc.array(part, { maxLength: 4 }), (type, parts) => {
      expect(ANSWERS).toContain(encoded([type, ...parts]));
    }),
    { numRuns: 2_000 },
  );
});

const skip = (...bound: number[]): CborValue[] => [Uint8Array.of(0, ...bound), null];

describe("limits", () => {
  const head = (n: number): CborValue => [zeros(32), zeros(16), n, Uint8Array.of(n, ...zeros(15))];
  const fork = (n: number): CborValue => [zeros(32), zeros(16), n];
  const span = [zeros(32), zeros(16), 1, 1];
  const fingerprints = (count: number): CborValue[] =>
    Array.from({ length: count }, (_, n) => [Uint8Array.of(1, n >> 8, n & 255), zeros(16)]).flat();
  const rangeHead = (n: number): CborValue => {
    const incarnation = zeros(16);
    new DataView(incarnation.buffer).setUint32(0, n * 65_536);
    return [zeros(32), incarnation, 1, zeros(16)];
  };
  /** Heads in two ranges. */
  const lists = (count: number): CborValue[] => {
    const all = Array.from({ length: count }, (_, n) => rangeHead(n + 1));
    return [Uint8Array.of(3, 0, 10), all.slice(0, 9), Uint8Array.of(3), all.slice(9)];
  };

  test.each([
    ["a pull of as many spans as allowed", [3, fill(MAX_SPANS, span)], "decoded"],
    ["one span more", [3, fill(MAX_SPANS + 1, span)], "PROTOCOL_VIOLATION"],
    ["as many heads as allowed", [2, fill(MAX_HEADS, head(1))], "decoded"],
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
    ["a head at 0, of which nothing counts", [2, [head(0)]], "decoded"],
    [
      "a head at 0 with a hash",
      [2, [[zeros(32), zeros(16), 0, new Uint8Array(16).fill(1)]]],
      "PROTOCOL_VIOLATION",
    ],
    ["a head without a hash", [2, [fork(1)]], "PROTOCOL_VIOLATION"],
    ["a head with a whole hash", [2, [[zeros(32), zeros(16), 1, zeros(32)]]], "PROTOCOL_VIOLATION"],
    ["a span from 0", [3, [[zeros(32), zeros(16), 0, 1]]], "PROTOCOL_VIOLATION"],
    [
      "a span that ends before it begins",
      [3, [[zeros(32), zeros(16), 2, 1]]],
      "PROTOCOL_VIOLATION",
    ],
    ["the version before", [0, 2, zeros(32), zeros(32)], "PROTOCOL_VIOLATION"],
    ["the type of version 2 that is no more", [1, []], "PROTOCOL_VIOLATION"],
    ["another version", [0, 4, zeros(32), zeros(32), zeros(32)], "PROTOCOL_VIOLATION"],
    ["as many stored heads as allowed", [11, fill(MAX_HEADS, head(1))], "decoded"],
    ["one stored head more", [11, fill(MAX_HEADS + 1, head(1))], "PROTOCOL_VIOLATION"],
    ["one sealed head more", [12, fill(MAX_HEADS + 1, head(1))], "PROTOCOL_VIOLATION"],
    ["nothing stored of a chain", [11, [head(0)]], "PROTOCOL_VIOLATION"],
    ["nothing sealed of a chain", [12, [head(0)]], "PROTOCOL_VIOLATION"],
    ["as many ranges as allowed", [14, 1, fingerprints(MAX_RANGES)], "decoded"],
    ["one range more", [14, 1, fingerprints(MAX_RANGES + 1)], "PROTOCOL_VIOLATION"],
    ["ranges of no round", [14, 0, fingerprints(1)], "PROTOCOL_VIOLATION"],
    ["ranges of the last round", [14, MAX_ROUNDS, fingerprints(1)], "decoded"],
    ["ranges after the last round", [14, MAX_ROUNDS + 1, fingerprints(1)], "PROTOCOL_VIOLATION"],
    ["no ranges at all", [14, 1, []], "PROTOCOL_VIOLATION"],
    ["a range without a value", [14, 1, [Uint8Array.of(0, 7)]], "PROTOCOL_VIOLATION"],
    ["a bound that is too long", [14, 1, [zeros(50), null]], "PROTOCOL_VIOLATION"],
    ["a bound without a mode", [14, 1, [zeros(0), null]], "PROTOCOL_VIOLATION"],
    ["a range of an unknown mode", [14, 1, [Uint8Array.of(5), null]], "PROTOCOL_VIOLATION"],
    ["a range that is skipped with a value", [14, 1, [zeros(1), 0]], "PROTOCOL_VIOLATION"],
    ["a short fingerprint", [14, 1, [Uint8Array.of(1), zeros(15)]], "PROTOCOL_VIOLATION"],
    ["ranges that overlap", [14, 1, [...skip(2), ...skip(1)]], "PROTOCOL_VIOLATION"],
    ["the same range twice", [14, 1, [...skip(2), ...skip(2)]], "PROTOCOL_VIOLATION"],
    ["a range within the one before", [14, 1, [...skip(2, 1), ...skip(2)]], "PROTOCOL_VIOLATION"],
    ["a range behind the end", [14, 1, [...skip(), ...skip(2)]], "PROTOCOL_VIOLATION"],
    ["a head in its range", [14, 1, [Uint8Array.of(3), [rangeHead(1)]]], "decoded"],
    [
      "a head behind its range",
      [14, 1, [Uint8Array.of(3, 0, 1), [rangeHead(1)]]],
      "PROTOCOL_VIOLATION",
    ],
    [
      "a head before its range",
      [14, 1, [...skip(2), Uint8Array.of(3, 3), [rangeHead(1)]]],
      "PROTOCOL_VIOLATION",
    ],
    [
      "heads out of order",
      [14, 1, [Uint8Array.of(4), [rangeHead(2), rangeHead(1)]]],
      "PROTOCOL_VIOLATION",
    ],
    [
      "a head twice",
      [14, 1, [Uint8Array.of(4), [rangeHead(1), rangeHead(1)]]],
      "PROTOCOL_VIOLATION",
    ],
    ["a head at 0 in a list", [14, 1, [Uint8Array.of(4), [head(0)]]], "PROTOCOL_VIOLATION"],
    ["as many heads in ranges as allowed", [14, 1, lists(MAX_HEADS)], "decoded"],
    ["one head more in two ranges", [14, 1, lists(MAX_HEADS + 1)], "PROTOCOL_VIOLATION"],
    ["an unknown type", [99, zeros(32)], "PROTOCOL_VIOLATION"],
    ["a part too many", [6, zeros(16), zeros(16), true, 0], "PROTOCOL_VIOLATION"],
    ["a part too few", [6], "PROTOCOL_VIOLATION"],
    ["a short digest", [6, zeros(15), zeros(16), true], "PROTOCOL_VIOLATION"],
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
    { type: "have", heads: Array.from({ length: MAX_HEADS }, () => largest) },
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
