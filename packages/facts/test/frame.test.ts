// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import {
  PackedFrame,
  WasmStore,
  decodeFrame as decodeInJs,
  encodeFrame,
  isFactKey,
} from "@ctxmesh/facts";
import type { FactFrame, FactRecord, Retraction } from "@ctxmesh/facts";
import { LIMITS, MeshError, fromHex, toHex } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { deviceOf, frameArbitrary, incarnationOf } from "./arbitraries.ts";

const formatInvalid = expect.objectContaining({ code: "FORMAT_INVALID" }) as Error;

const chain = { writer: deviceOf(1), incarnation: incarnationOf(1) };

function outcomeOf<T>(run: () => T): { readonly value?: T; readonly error?: unknown } {
  try {
    return { value: run() };
  } catch (error) {
    return { error };
  }
}

const outlineOf = ({ count, firstHlc, lastHlc, hasRulings, texts, lastsMs }: PackedFrame) => ({
  count,
  firstHlc,
  lastHlc,
  hasRulings,
  texts,
  lastsMs,
});

/** A packed frame says what the decoded one does, without asking for a value; or refuses in the same words. */
function expectSamePacked(bytes: Uint8Array, decoded: ReturnType<typeof outcomeOf<FactFrame>>) {
  const asked: string[] = [];
  const packed = outcomeOf(() =>
    PackedFrame.check(
      bytes,
      () => true,
      (json) => asked.push(json),
    ),
  );
  expect(asked).toEqual([]);
  if (packed.value === undefined || decoded.value === undefined) {
    expect(packed).toEqual(decoded);
    return;
  }
  const { from, to, records } = packed.value;
  expect({ from, to, records }).toEqual(decoded.value);
  expect(outlineOf(packed.value)).toEqual(outlineOf(PackedFrame.of(bytes, decoded.value)));
  expect([packed.value.count, packed.value.hasRulings]).toEqual([
    records.length,
    records.some(({ retract }) => retract !== undefined),
  ]);
}

/** Decodes a frame, after the core in WebAssembly has taken all of it, or refused it in the same words and changed nothing. */
function decodeFrame(bytes: Uint8Array): FactFrame {
  const core = new WasmStore(new Uint8Array(WasmStore.seedBytes));
  const decoded = outcomeOf(() => decodeInJs(bytes));
  expectSamePacked(bytes, decoded);
  const taken = outcomeOf(() => core.applyBytes(chain, bytes));
  // Clocks rise in a frame, so in an empty document every record counts when it comes.
  const keys = decoded.value?.records.map(({ key }) => key);
  expect(taken).toEqual(keys === undefined ? decoded : { value: keys });
  expect([core.slotCount > 0, core.summary().size]).toEqual(
    keys === undefined ? [false, 0] : [true, 1],
  );
  if (decoded.value === undefined) throw decoded.error;
  return decoded.value;
}

function decodeOrNothing(bytes: Uint8Array): FactFrame | undefined {
  try {
    return decodeFrame(bytes);
  } catch (error) {
    if (error instanceof MeshError && error.code === "FORMAT_INVALID") return undefined;
    throw error;
  }
}

describe("a frame", () => {
  test("decodes to what was encoded", () => {
    fc.assert(
      fc.property(frameArbitrary, (frame) => {
        expect(decodeFrame(encodeFrame(frame))).toEqual(frame);
      }),
    );
  });

  test("decodes from a view into a larger buffer", () => {
    fc.assert(
      fc.property(frameArbitrary, fc.nat(9), (frame, offset) => {
        const bytes = encodeFrame(frame);
        const larger = new Uint8Array(bytes.length + 20).fill(0xff);
        larger.set(bytes, offset);
        expect(decodeFrame(larger.subarray(offset, offset + bytes.length))).toEqual(frame);
      }),
    );
  });

  test("has one encoding: a changed byte is refused, or decodes to a frame with exactly these bytes", () => {
    fc.assert(
      fc.property(frameArbitrary, fc.nat(), fc.integer({ min: 1, max: 255 }), (frame, at, flip) => {
        const bytes = encodeFrame(frame);
        const mutated = bytes.slice();
        mutated[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ flip;
        const decoded = decodeOrNothing(mutated);
        expect(decoded === undefined ? mutated : encodeFrame(decoded)).toEqual(mutated);
      }),
      { numRuns: 4000 },
    );
  });

  test("has one encoding, whatever bytes come", () => {
    const start = fc.constantFrom("010001", "01000101", "0100010100", "010001010101");
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 40 }), (hex, rest) => {
        const bytes = Uint8Array.from([...fromHex(hex), ...rest]);
        const decoded = decodeOrNothing(bytes);
        expect(decoded === undefined ? bytes : encodeFrame(decoded)).toEqual(bytes);
      }),
      { numRuns: 5000 },
    );
  });

  test("decodes from no proper prefix of itself, and from nothing longer", () => {
    fc.assert(
      fc.property(frameArbitrary, fc.nat(), (frame, cut) => {
        const bytes = encodeFrame(frame);
        expect(decodeOrNothing(bytes.subarray(0, cut % bytes.length))).toBeUndefined();
        expect(decodeOrNothing(Uint8Array.from([...bytes, 0]))).toBeUndefined();
      }),
    );
  });
});

describe("a frame has its frozen bytes", () => {
  const vectors = JSON.parse(
    readFileSync(new URL("vectors/frame-v1.json", import.meta.url), "utf8"),
  ) as { name: string; frame: FactFrame; bytes: string }[];

  test.each(vectors)("$name", ({ frame, bytes }) => {
    expect(toHex(encodeFrame(frame))).toBe(bytes);
    expect(decodeFrame(fromHex(bytes))).toEqual(frame);
  });
});

const record = (members: Partial<FactRecord> = {}): FactRecord => ({
  key: "k",
  seq: 1,
  hlc: 1 as Hlc,
  valueJson: "1",
  ...members,
});
const frameOf = (...records: FactRecord[]): FactFrame => ({
  from: 0,
  to: records.at(-1)?.seq ?? 1,
  records,
});
const ruling = (members: Partial<Retraction>): FactRecord => ({
  key: "k",
  seq: 1,
  hlc: 1 as Hlc,
  retract: { writer: deviceOf(7), upTo: 5 as Hlc, reason: "r", ...members },
});
const deleted: FactRecord = { key: "k", seq: 1, hlc: 1 as Hlc };

describe("a frame is refused", () => {
  // 01 version, 00 from, 01 to, 01 count; then 00 flags, 01 seq, 01 hlc, 01 6b key, 01 31 value.
  test.each([
    ["nothing", ""],
    ["of another version", "02000101000101016b0131"],
    ["without records", "01000100"],
    ["with more records than its bytes can hold", "010001ffffff7f000101016b0131"],
    ["with an unknown flag", "01000101c00101016b0131"],
    ["with a seq that does not rise", "01000101000001016b0131"],
    ["with a clock that does not rise", "01000101000100016b0131"],
    ["with a record past its interval", "01000101000201016b0131"],
    ["with from over to", "01050401000101016b0131"],
    ["with a long integer", "0100018100000101016b0131"],
    ["with a long zero", "01800001010001016b0131"],
    ["with an integer of nine bytes", "01ffffffffffffffff010101000101016b0131"],
    ["with an integer over 2^53 - 1", "01008080808080808010010001016b0131"],
    ["with an empty key", "010001010001010001310000"],
    ["with a control character in the key", "0100010100010101090131"],
    ["with a delete character in the key", "01000101000101017f0131"],
    ["with a key that is not UTF-8", "0100010100010101800131"],
    ["with a surrogate in the value", "01000101000101016b03eda080"],
    ["with a value that ends early", "01000101000101016b0231"],
    ["with no tags behind the flag", "01000101100101016b013100"],
    ["with no basis behind the flag", "01000101200101016b013100"],
    ["with an empty source model", "01000101040101016b013100016100"],
    ["with a retraction that ends early", `01000101400101016b${"00".repeat(31)}`],
    ["with a retraction without a reason", `01000101400101016b${"00".repeat(32)}0100`],
    ["with a retraction and a value", `01000101410101016b${"00".repeat(32)}010172`],
    ["with a retraction with confidence", `01000101420101016b${"00".repeat(32)}010172`],
    ["with more that ends early", "01000101800101016b0131"],
    ["with more, and nothing of it", "01000101800101016b013100"],
    ["with more that is not known", `01000101800101016b0131080161`],
    ["with an empty correlation", "01000101800101016b01310100"],
    ["with a trace that ends early", `01000101800101016b013102${"01".repeat(24)}`],
    ["with a trace without an id", `01000101800101016b013102${"00".repeat(16)}${"01".repeat(9)}`],
    [
      "with a trace without a parent",
      `01000101800101016b013102${"01".repeat(16)}${"00".repeat(9)}`,
    ],
    ["with no target models behind the flag", "01000101800101016b01310400"],
    ["with a retraction and more", `01000101c00101016b${"00".repeat(32)}0101720101`],
    ["with a trailing byte", "01000101000101016b013100"],
  ])("%s", (_, hex) => {
    expect(decodeFrame(fromHex("01000101000101016b0131"))).toEqual(frameOf(record()));
    expect(() => decodeFrame(fromHex(hex))).toThrow(formatInvalid);
  });

  test.each([
    ["NaN", Number.NaN],
    ["1 and a bit", 1 + Number.EPSILON],
    ["below 0", -Number.MIN_VALUE],
    ["minus zero", -0],
    ["Infinity", Infinity],
  ])("with confidence %s", (_, confidence) => {
    expect(() => decodeFrame(encodeFrame(frameOf(record({ confidence }))))).toThrow(/confidence/u);
  });

  const most = LIMITS.tagBytes;
  test.each<[string, FactRecord, FactRecord]>([
    ["key", record({ key: "k".repeat(512) }), record({ key: `${"k".repeat(511)}é` })],
    ["value", record({ valueJson: "1".repeat(65_536) }), record({ valueJson: "1".repeat(65_537) })],
    ["tag", record({ tags: ["t".repeat(most)] }), record({ tags: ["t".repeat(most + 1)] })],
    ["tags", record({ tags: Array(16).fill("t") }), record({ tags: Array(17).fill("t") })],
    ["basis id", record({ basis: ["b".repeat(most)] }), record({ basis: ["b".repeat(most + 1)] })],
    [
      "correlation",
      record({ correlation: "c".repeat(most) }),
      record({ correlation: "c".repeat(most + 1) }),
    ],
    [
      "target model",
      record({ targets: ["m".repeat(most)] }),
      record({ targets: ["m".repeat(most + 1)] }),
    ],
    ["basis ids", record({ basis: Array(16).fill("b") }), record({ basis: Array(17).fill("b") })],
    [
      "source model",
      record({ source: { model: "m".repeat(most) } }),
      record({ source: { model: "m".repeat(most + 1) } }),
    ],
    [
      "source version",
      record({ source: { model: "m", version: "v".repeat(most) } }),
      record({ source: { model: "m", version: "v".repeat(most + 1) } }),
    ],
    [
      "reason",
      ruling({ reason: "r".repeat(LIMITS.reasonBytes) }),
      ruling({ reason: `${"r".repeat(LIMITS.reasonBytes - 1)}é` }),
    ],
  ])("over the limit of its %s, and taken at the limit", (what, atLimit, over) => {
    expect(decodeFrame(encodeFrame(frameOf(atLimit)))).toEqual(frameOf(atLimit));
    expect(() => decodeFrame(encodeFrame(frameOf(over)))).toThrow(what);
  });

  test("with 10,001 records, and taken with 10,000", () => {
    const records = Array.from({ length: LIMITS.factsPerFrame + 1 }, (_, i) =>
      record({ seq: i + 1, hlc: (i + 1) as Hlc }),
    );
    const atLimit = frameOf(...records.slice(0, -1));
    expect(decodeFrame(encodeFrame(atLimit)).records).toHaveLength(LIMITS.factsPerFrame);
    expect(() => decodeFrame(encodeFrame(frameOf(...records)))).toThrow(/record count/u);
  });

  test("with a seq or clock over 2^53 - 1 in sum", () => {
    const max = Number.MAX_SAFE_INTEGER;
    const first = record({ hlc: (max - 1) as Hlc });
    const fits = frameOf(first, { ...deleted, seq: 2, hlc: max as Hlc });
    expect(decodeFrame(encodeFrame(fits))).toEqual(fits);
    const over = frameOf(first, { ...deleted, seq: 2, hlc: (max + 1) as Hlc });
    expect(() => decodeFrame(encodeFrame(over))).toThrow(formatInvalid);
  });
});

test("a fact key is any text but the empty one and ones with C0 controls or DEL", () => {
  expect(["a", " ", "é", "🦀", "__proto__", "a/b"].every(isFactKey)).toBe(true);
  const controls = [...Array(32).keys(), 127].map((code) => `a${String.fromCodePoint(code)}b`);
  expect(["", ...controls].some(isFactKey)).toBe(false);
});
