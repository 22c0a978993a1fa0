// SPDX-License-Identifier: Apache-2.0
/** The calls of the module itself, as a host without TypeScript makes them; `wasm/README.md` describes them. */
import { SlotStore, encodeFrame, encodeState } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import { LIMITS, fromHex } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WASM_BASE64 } from "../src/wasm-bytes.ts";
import type { CoreExports } from "../src/wasm-core.ts";
import { deviceOf, incarnationOf } from "./arbitraries.ts";

/** The calls that the store in TypeScript has no use for. */
interface RawExports extends CoreExports {
  set(keyLength: number, valueLength: number, seq: number, hlc: number): number;
  limit(which: number): number;
}
/** The part of the platform that the compiler's libraries have for pages alone. */
interface Platform {
  readonly WebAssembly: {
    readonly Module: new (bytes: Uint8Array) => object;
    readonly Instance: new (module: object) => { readonly exports: unknown };
  };
}

const FORMAT = -1;
const LIMIT = -2;
const ARGUMENT = -3;

const { WebAssembly } = globalThis as unknown as Platform;
const module = new WebAssembly.Module(Buffer.from(WASM_BASE64, "base64"));
const chain = { writer: deviceOf(1), incarnation: incarnationOf(1) };
const chainId = [...fromHex(chain.writer), ...fromHex(chain.incarnation)];

function coreOf(limit: number = LIMITS.wasmDocumentBytes): RawExports {
  const core = new WebAssembly.Instance(module).exports as RawExports;
  core.init(limit, 1n, 2n);
  return core;
}

/** Writes an input; its length. */
function give(core: RawExports, bytes: Iterable<number>): number {
  const input = bytes instanceof Uint8Array ? bytes : Uint8Array.from(bytes);
  const at = core.alloc(input.length);
  new Uint8Array(core.memory.buffer).set(input, at);
  return input.length;
}

const answerOf = (core: RawExports): Uint8Array =>
  new Uint8Array(core.memory.buffer).slice(core.out(), core.out() + core.outLength());

/** Writes a fact by `set`. */
function set(core: RawExports, { key, seq, hlc, valueJson }: FactRecord): number {
  const [name, value] = [Buffer.from(key), Buffer.from(valueJson ?? "")];
  give(core, Buffer.concat([Uint8Array.from(chainId), name, value]));
  return core.set(name.length, valueJson === undefined ? -1 : value.length, seq, hlc);
}

const record: fc.Arbitrary<FactRecord> = fc.record(
  {
    key: fc.constantFrom("a", "é", "\u{1F980}b"),
    seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    hlc: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }).map((hlc) => hlc as Hlc),
    valueJson: fc.json({ maxDepth: 1 }),
  },
  { requiredKeys: ["key", "seq", "hlc"], noNullPrototype: true },
);

describe("set", () => {
  test("writes what a frame of one record would, and answers with that frame", () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 8 }), (records) => {
        const [core, store] = [coreOf(), new SlotStore()];
        for (const each of records) {
          const frame = { from: each.seq - 1, to: each.seq, records: [each] };
          expect(set(core, each)).toBe(store.applyFrame(chain, frame).length);
          expect([...answerOf(core)]).toEqual([...chainId, ...encodeFrame(frame)]);
        }
        expect(core.diff(give(core, [0]))).toBeGreaterThan(0);
        expect(answerOf(core)).toEqual(encodeState(store));
      }),
    );
  });

  test.each<[string, FactRecord, number]>([
    ["a seq of 0", { key: "k", seq: 0, hlc: 1 as Hlc }, ARGUMENT],
    ["a seq that is no number", { key: "k", seq: Number.NaN, hlc: 1 as Hlc }, ARGUMENT],
    ["a clock over 2^53 - 1", { key: "k", seq: 1, hlc: (2 ** 53) as Hlc }, ARGUMENT],
    ["an empty key", { key: "", seq: 1, hlc: 1 as Hlc }, FORMAT],
    ["a key with a line feed", { key: "a\n", seq: 1, hlc: 1 as Hlc }, FORMAT],
    ["a long key", { key: "k".repeat(LIMITS.keyBytes + 1), seq: 1, hlc: 1 as Hlc }, FORMAT],
    [
      "a long value",
      { key: "k", seq: 1, hlc: 1 as Hlc, valueJson: "1".repeat(LIMITS.valueBytes + 1) },
      FORMAT,
    ],
  ])("refuses %s, and writes nothing", (_, bad, error) => {
    const core = coreOf();
    expect(set(core, bad)).toBe(error);
    expect([core.stat(0), core.stat(1), core.stat(5)]).toEqual([0, 0, 0]);
    expect(set(core, { key: "k", seq: 1, hlc: 1 as Hlc })).toBe(1);
  });
});

test("no call reads past its input: lengths that say so are refused", () => {
  const core = coreOf();
  give(core, [1]);
  // The buffer has 4 KiB at least.
  for (const length of [5_000, 2 ** 31, 2 ** 32 - 1]) {
    expect([core.apply(length), core.merge(length), core.get(length), core.diff(length)]).toEqual(
      Array(4).fill(ARGUMENT),
    );
    expect(core.scan(length, -1, 0, 0, 1, 1)).toBe(ARGUMENT);
    expect(core.scan(0, length | 0, 0, length, 1, 1)).toBe(ARGUMENT);
    expect(core.set(length, 1, 1, 1)).toBe(ARGUMENT);
  }
  expect(core.scan(0, -1, 3, 0, 1, 1)).toBe(ARGUMENT);
});

test("without memory for it, nothing is read or written, and the next smaller thing still is", () => {
  const core = coreOf(16_384);
  let seq = 0;
  let result = 1;
  while (result > 0) {
    seq++;
    const key = `k${String(seq)}`;
    result = set(core, { key, seq, hlc: seq as Hlc, valueJson: `"${"v".repeat(400)}"` });
  }
  expect(result).toBe(LIMIT);
  expect(core.stat(1)).toBe(seq - 1);
  expect(core.stat(6)).toBeLessThanOrEqual(16_384);
  expect(core.diff(give(core, [0]))).toBe(LIMIT);
  expect(core.get(give(core, Buffer.from("k1")))).toBe(1);
});

test("where memory is in pieces, what may find no room is refused, and whatever the limit, nothing traps", () => {
  const core = coreOf(Number.POSITIVE_INFINITY);
  let seq = 0;
  const put = (n: number, length: number): number => {
    const key = `k${String(n)}`;
    return set(core, { key, seq: ++seq, hlc: seq as Hlc, valueJson: "1".repeat(length) });
  };
  const most = 4_000;
  for (let n = 0; n < most; n++) expect(put(n, 40_000)).toBe(1);
  // Each one leaves a hole that the next, as long, does not fit into.
  let result = 1;
  for (let n = 0; n < most && result === 1; n += 2) result = put(n, 60_000);
  expect(result).toBe(LIMIT);
  expect([core.stat(0), core.stat(1)]).toEqual([most, most]);
  expect(core.stat(6)).toBeLessThan(0.9 * core.memory.buffer.byteLength);
  expect(core.get(give(core, Buffer.from("k1")))).toBe(1);
  for (const length of [2 ** 28, 2 ** 31, 2 ** 32 - 1]) expect(core.alloc(length)).toBe(0);
});

test("the limits that it tells are those of the project", () => {
  const core = coreOf();
  const limits = [LIMITS.wasmDocumentBytes, LIMITS.factsPerFrame, LIMITS.slotsPerDocument, -1];
  expect(limits.map((_, i) => core.limit(i))).toEqual(limits);
  expect(core.stat(7)).toBe(-1);
});
