// SPDX-License-Identifier: Apache-2.0
import { MapReader, decodeCbor, encodeCbor } from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import { LIMITS, MeshError, fromHex, toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const MAX = 1_000_000;
const formatInvalid = expect.objectContaining({ code: "FORMAT_INVALID" }) as Error;

const { value: cborValue } = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.integer({ min: -300, max: 300 }),
    fc.string({ unit: "binary", maxLength: 30 }).filter((text) => !text.startsWith("\uFEFF")),
    fc.uint8Array({ maxLength: 30 }),
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(fc.string({ maxLength: 5 }), tie("value"), {
      maxKeys: 5,
      noNullPrototype: true,
    }),
  ),
}));

describe("deterministic CBOR", () => {
  test("decodes to the value that was encoded", () => {
    fc.assert(
      fc.property(cborValue, (value) => {
        expect(decodeCbor(encodeCbor(value), MAX, "it")).toEqual(value);
      }),
    );
  });

  test("of others is refused before anything is made of it, where it has more items than its length allows", () => {
    const items = (byte: number): Uint8Array => {
      const bytes = new Uint8Array(MAX).fill(byte);
      bytes.set([0x9a, ...Uint8Array.of(0, 0x0f, 0x42, 0x3b)]);
      return bytes;
    };
    for (const byte of [0, 0x40, 0x80, 0xa0, 0xf6]) {
      expect(() => decodeCbor(items(byte), MAX, "it", 8)).toThrow(/more items than its length/u);
    }
    const members = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [String(i), i]));
    expect(() => decodeCbor(encodeCbor(members), MAX, "it", 1)).toThrow(/too many members/u);
    expect(decodeCbor(encodeCbor(members), MAX, "it")).toEqual(members);
  });

  test("of others decodes as ours does, where it keeps to that", () => {
    fc.assert(
      fc.property(cborValue, (value) => {
        expect(decodeCbor(encodeCbor(value), MAX, "it", 1)).toEqual(value);
      }),
    );
  });

  test("has one encoding per value: what decodes at all encodes to the same bytes", () => {
    const mutated = fc
      .tuple(cborValue, fc.nat(), fc.integer({ min: 1, max: 255 }))
      .map(([value, at, flip]) => {
        const bytes = encodeCbor(value).slice();
        bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ flip;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 40 }), mutated), (bytes) => {
        const value = decodeOrNothing(bytes);
        expect(value === undefined ? bytes : encodeCbor(value)).toEqual(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  test("sorts map keys by their encoded bytes, so shorter ones come first (RFC 8949 4.2.1)", () => {
    expect(toHex(encodeCbor({ b: 1, aa: 2, a: 3, "": 4 }))).toBe("a4600461610361620162616102");
  });
});

function decodeOrNothing(bytes: Uint8Array): CborValue | undefined {
  try {
    return decodeCbor(bytes, MAX, "it");
  } catch (error) {
    if (error instanceof MeshError && error.code === "FORMAT_INVALID") return undefined;
    throw error;
  }
}

describe("a spelling that is not the deterministic one is refused", () => {
  test.each([
    ["1 in two bytes", "1801"],
    ["23 in two bytes", "1817"],
    ["255 in three bytes", "1900ff"],
    ["1 in five bytes", "1a00000001"],
    ["1 in nine bytes", "1b0000000000000001"],
    ["-1 in two bytes", "3800"],
    ["a text length in two bytes", "780161"],
    ["a byte string length in three bytes", "59000101"],
    ["an array length in two bytes", "980100"],
    ["a map length in two bytes", "b801616100"],
    ["unsorted keys", "a2616201616101"],
    ["keys sorted by text instead of by encoding", "a262616101616202"],
    ["a key twice", "a2616101616101"],
    ["__proto__ twice", "a2695f5f70726f746f5f5f01695f5f70726f746f5f5f02"],
    ["an indefinite array", "9f01ff"],
    ["an indefinite map", "bf616101ff"],
    ["an indefinite byte string", "5f4101ff"],
    ["an indefinite text", "7f6161ff"],
    ["a break alone", "ff"],
    ["trailing bytes", "0100"],
    ["a second value", "f6f6"],
    ["an integer key", "a10101"],
    ["a byte string key", "a1410101"],
    ["text that is not UTF-8", "6180"],
    ["text with a surrogate", "63eda080"],
  ])("%s", (_, hex) => {
    expect(() => decodeCbor(fromHex(hex), MAX, "it")).toThrow(formatInvalid);
  });
});

describe("what our formats do not have is refused", () => {
  test.each([
    ["a half float", "f93e00"],
    ["a half float with an integer value", "f93c00"],
    ["a float", "fa47c35000"],
    ["a double", "fb3ff199999999999a"],
    ["minus zero", "f98000"],
    ["NaN", "f97e00"],
    ["Infinity", "f97c00"],
    ["a float inside", "81f93e00"],
    ["undefined", "f7"],
    ["a simple value", "f0"],
    ["a simple value in two bytes", "f8ff"],
    ["a tag", "c11a514b67b0"],
    ["a bignum", "c249010000000000000000"],
    ["the self-described tag", "d9d9f700"],
    ["2^53", "1b0020000000000000"],
    ["2^64 - 1", "1bffffffffffffffff"],
    ["-2^64", "3bffffffffffffffff"],
  ])("%s", (_, hex) => {
    expect(() => decodeCbor(fromHex(hex), MAX, "it")).toThrow(formatInvalid);
  });
});

describe("bytes that claim more than they hold are refused", () => {
  test.each([
    ["nothing", ""],
    ["a byte string of 2^32 - 1", "5affffffff"],
    ["a byte string of 2^53 - 1", "5b001fffffffffffff"],
    ["a byte string of 2^64 - 1", "5bffffffffffffffff"],
    ["a text of 2^32 - 1", "7affffffff"],
    ["an array of 2^32 - 1", "9affffffff"],
    ["an array of 2^53 - 1", "9b001fffffffffffff"],
    ["a map of 2^32 - 1", "baffffffff"],
    ["a truncated integer", "19ff"],
    ["a map without its last value", "a16161"],
    ["a reserved length", "1c"],
  ])("%s", (_, hex) => {
    expect(() => decodeCbor(fromHex(hex), MAX, "it")).toThrow(formatInvalid);
  });

  test("more bytes than allowed, before they are looked at", () => {
    expect(() => decodeCbor(new Uint8Array(11), 10, "grant")).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED", field: "grant" }) as Error,
    );
  });
});

const arrays = (depth: number): Uint8Array => {
  const bytes = new Uint8Array(depth).fill(0x81);
  bytes[depth - 1] = 0x80;
  return bytes;
};

describe("nesting", () => {
  test("is taken up to 64 levels", () => {
    expect(() => decodeCbor(arrays(LIMITS.depth), MAX, "it")).not.toThrow();
    expect(() => decodeCbor(arrays(LIMITS.depth + 1), MAX, "it")).toThrow(/deeper than 64/u);
  });

  test.each([1_000, 100_000, 1_000_000])(
    "of %i levels is refused, and the next decode works",
    (depth) => {
      expect(() => decodeCbor(arrays(depth), MAX, "it")).toThrow(formatInvalid);
      expect(decodeCbor(fromHex("83010203"), MAX, "it")).toEqual([1, 2, 3]);
    },
  );
});

describe("a map reader", () => {
  const map = { n: 1, text: "a", bytes: new Uint8Array(2), list: [1, 2], none: null };
  const read = new MapReader(map, ["n", "text", "bytes", "list", "none"], "grant");

  test("reads each member as what it is", () => {
    expect(read.uint("n")).toBe(1);
    expect(read.text("text")).toBe("a");
    expect(read.bytes("bytes", 2)).toHaveLength(2);
    expect(read.bytesOrNull("none", 2)).toBe(null);
    expect(read.array("list", 2)).toEqual([1, 2]);
  });

  test.each([
    ["text", (): unknown => read.uint("text")],
    ["n", (): unknown => read.text("n")],
    ["bytes", (): unknown => read.bytes("bytes", 3)],
    ["bytes", (): unknown => read.bytesOrNull("bytes", 1)],
    ["list", (): unknown => read.array("list", 1)],
    ["none", (): unknown => read.uint("none")],
  ])("refuses another kind, size or count and names the member: %s", (name, reading) => {
    expect(reading).toThrow(
      expect.objectContaining({ code: "FORMAT_INVALID", field: `grant.${name}` }) as Error,
    );
  });

  test.each([
    ["a missing member", { a: 1 }],
    ["a member more", { a: 1, b: 2, c: 3 }],
    ["an inherited name for a member", { a: 1, toString: 2 }],
    ["an array", [1, 2]],
    ["bytes", new Uint8Array(2)],
    ["null", null],
    ["text", "ab"],
  ] as const)("refuses %s", (_, value) => {
    expect(() => new MapReader(value as CborValue, ["a", "b"], "it")).toThrow(formatInvalid);
  });
});
