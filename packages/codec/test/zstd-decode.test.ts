// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: all nodes make the same of the bytes of a body, or refuse them, whatever they run on.
 * Method: our decoder against that of Node, which is zstd's own: on all that compressors make, and on what is damaged.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { LIMITS } from "@ctxmesh/model";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DICTIONARY } from "../src/dictionary.ts";
import { decodeZstd } from "../src/zstd-decode.ts";

interface Case {
  readonly payload: Uint8Array;
  readonly level: number;
  readonly isNamed: boolean;
}

const words = ["temperature", "line-2/press-7", '{"value":', "confidence", "0.9", "2.3.1 edge-"];
/** Noise; words with numbers, which have matches and literals of all lengths; few symbols; and what is long enough for several blocks. */
const payloads = fc.oneof(
  fc.uint8Array({ maxLength: 3_000 }),
  fc
    .array(fc.tuple(fc.constantFrom(...words), fc.nat(100_000)), { maxLength: 1_200 })
    .map((parts) => Buffer.from(parts.map(([word, n]) => `${word}${String(n)}`).join(" "))),
  fc
    .tuple(fc.uint8Array({ minLength: 1, maxLength: 12 }), fc.array(fc.nat(), { maxLength: 4_000 }))
    .map(([symbols, picks]) => Uint8Array.from(picks, (n) => symbols[n % symbols.length] ?? 0)),
  fc
    .tuple(fc.nat(2 ** 31), fc.integer({ min: 2, max: 90 }), fc.nat(200_000))
    .map(([seed, symbols, length]) => randomText(seed, symbols, length)),
);

/** Texts of rare and frequent symbols with repeats, from a seed. */
function randomText(seed: number, symbols: number, length: number): Uint8Array {
  let state = seed;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const text = new Uint8Array(length);
  for (let at = 0; at < length;) {
    if (at > 20 && next(4) === 0) {
      const [from, end] = [next(at), at + 3 + next(next(2) === 0 ? 12 : 3_000)];
      for (let i = from; at < end && at < length; i++) text[at++] = text[i] ?? 0;
    } else text[at++] = 32 + Math.floor((next(symbols) * next(symbols)) / symbols);
  }
  return text;
}

const cases = fc.record<Case>({
  payload: payloads,
  level: fc.constantFrom(-20, 1, 3, 3, 6, 9, 13, 19),
  isNamed: fc.boolean(),
});

const pack = ({ payload, level, isNamed }: Case): Uint8Array =>
  zstdCompressSync(payload, {
    ...(isNamed ? { dictionary: DICTIONARY } : {}),
    params: { [constants.ZSTD_c_compressionLevel]: level },
  });

const dictionaryOf = ({ isNamed }: Case): Uint8Array | undefined =>
  isNamed ? DICTIONARY : undefined;

/** What Node makes of a frame; undefined when it refuses it. */
function byNode(frame: Uint8Array, dictionary: Uint8Array | undefined): Uint8Array | undefined {
  try {
    return zstdDecompressSync(frame, {
      ...(dictionary === undefined ? {} : { dictionary }),
      maxOutputLength: LIMITS.bodyBytes,
    });
  } catch {
    return undefined;
  }
}

/** What we make of it; undefined when it is refused, which says why. */
function byUs(frame: Uint8Array, dictionary?: Uint8Array): Uint8Array | undefined {
  try {
    return decodeZstd(frame, dictionary);
  } catch (error) {
    if (!String(error).startsWith("Error: zstd: ")) throw error;
    return undefined;
  }
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

test("whatever a compressor makes of a payload that it gets at once is unpacked to that payload", () => {
  fc.assert(
    fc.property(cases, (one) => {
      expect(isSame(decodeZstd(pack(one), dictionaryOf(one)), one.payload)).toBe(true);
    }),
    { numRuns: 300 },
  );
  for (const length of [0, 1, 255, 256, 65_791, 65_792, 131_072, 131_073, LIMITS.bodyBytes]) {
    for (const symbols of [1, 60, 220]) {
      const payload = randomText(length, symbols, length);
      expect(isSame(decodeZstd(zstdCompressSync(payload)), payload)).toBe(true);
    }
  }
});

test("of what is damaged, whatever is taken Node takes, too, for the same bytes", () => {
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat(60), fc.nat(255), fc.boolean()), {
    minLength: 1,
    maxLength: 2,
  });
  const small = cases.filter(({ payload }) => payload.length < 20_000);
  fc.assert(
    fc.property(small, edits, fc.nat(), fc.boolean(), (one, changes, cut, isCut) => {
      const frame = Uint8Array.from(pack(one));
      // Every second change is near the start, where tables are.
      for (const [far, near, value, isNear] of changes) {
        frame[4 + ((isNear ? near : far) % Math.max(1, frame.length - 4))] = value;
      }
      const damaged = isCut ? frame.subarray(0, cut % frame.length) : frame;
      const ours = byUs(damaged, dictionaryOf(one));
      const node = ours && byNode(damaged, dictionaryOf(one));
      expect(ours === undefined || (node !== undefined && isSame(ours, node))).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

test("of any bytes behind a head of ours, whatever is taken Node takes, too, for the same bytes", () => {
  const blocks = fc
    .array(fc.tuple(fc.nat(3), fc.uint8Array({ maxLength: 40 })), { minLength: 1, maxLength: 3 })
    .map((parts) =>
      parts.flatMap(([type, bytes], i) => {
        const size = type === 1 ? bytes.length * 3 : bytes.length;
        const header = (size << 3) | (type << 1) | Number(i === parts.length - 1);
        return [header & 255, header >>> 8, 0, ...(type === 1 ? bytes.slice(0, 1) : bytes)];
      }),
    );
  fc.assert(
    fc.property(blocks, fc.nat(80), (bytes, length) => {
      const frame = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, length, ...bytes);
      const ours = byUs(frame);
      const node = ours && byNode(frame, undefined);
      expect(ours === undefined || (node !== undefined && isSame(ours, node))).toBe(true);
    }),
    { numRuns: 3_000 },
  );
});

/** A frame of one block after another: [type, size, bytes]. */
function frameOf(
  length: number,
  ...blocks: readonly (readonly [number, number, readonly number[]])[]
): Uint8Array {
  const body = blocks.flatMap(([type, size, bytes], i) => {
    const header = (size << 3) | (type << 1) | Number(i === blocks.length - 1);
    return [header & 255, (header >>> 8) & 255, header >>> 16, ...bytes];
  });
  const said = [length & 255, (length >>> 8) & 255, length >>> 16, 0];
  return Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0, ...said, ...body);
}

const hello = [...Buffer.from("hello")];
/** A compressed block of a literal 15 times, and of sequences. */
const compressed = (...sequences: readonly number[]): readonly [number, number, number[]] => [
  2,
  2 + sequences.length,
  [(15 << 3) | 1, 104, ...sequences],
];

/** "hello" as a single segment of one raw block, with another descriptor or other bytes behind it. */
const withHead = (...head: readonly number[]): Uint8Array =>
  Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, ...head, 41, 0, 0, ...hello);

const textOf = (frame: Uint8Array, dictionary?: Uint8Array): string =>
  Buffer.from(decodeZstd(frame, dictionary)).toString();

/** "hello" and one sequence of a code each for lengths of literals (5), offsets and matches (10); then the bits that are added to the offset's, and a 1 above. */
const copying = (code: number, bits: number): Uint8Array =>
  frameOf(15, [2, 12, [5 << 3, ...hello, 1, 0x54, 5, code, 7, (1 << code) | bits]]);

const manyBlocks = (count: number): readonly (readonly [number, number, number[]])[] =>
  Array.from({ length: count }, () => [1, 1, [0]]);

describe("a frame", () => {
  test.each<readonly [string, Uint8Array, string]>([
    ["of one raw block", frameOf(5, [0, 5, hello]), "hello"],
    ["of a repeated byte", frameOf(4, [1, 4, [104]]), "hhhh"],
    ["that ends with an empty block", frameOf(5, [0, 5, hello], [0, 0, []]), "hello"],
    ["of literals alone", frameOf(15, compressed(0)), "h".repeat(15)],
    ["whose head is short", withHead(0x20, 5), "hello"],
  ])("%s is unpacked", (_, frame, text) => {
    expect(textOf(frame)).toBe(text);
  });

  test.each<readonly [string, Uint8Array]>([
    ["of nothing", new Uint8Array()],
    ["with another magic number", withHead(0x20, 5).fill(0x29, 0, 1)],
    ["that does not say how long its content is", withHead(0, 0x58)],
    ["with a window", withHead(0x40, 0x58, 0)],
    ["with a checksum", Uint8Array.of(...withHead(0x24, 5), 1, 2, 3, 4)],
    ["that names a dictionary", withHead(0x21, 1, 5)],
    ["with a reserved bit", withHead(0x28, 5)],
    ["with an unused bit", withHead(0x30, 5)],
    ["that says less than it has", withHead(0x20, 4)],
    ["that says more than it has", withHead(0x20, 6)],
    ["that says 4 GiB", withHead(0xa0, 255, 255, 255, 255)],
    ["without its last block", frameOf(5, [0, 5, hello]).fill(0x28, 9, 10)],
    ["with a byte behind it", Uint8Array.of(...frameOf(5, [0, 5, hello]), 0)],
    ["with a block of the reserved type", frameOf(5, [3, 5, hello])],
    ["with a compressed block of nothing", frameOf(0, [2, 0, []])],
    ["with a block over 128 KiB", frameOf(131_073, [1, 131_073, [0]])],
    ["of more blocks than compressors make", frameOf(9, ...manyBlocks(9))],
    ["with bytes behind no sequences", frameOf(15, compressed(0, 0))],
    ["without a count of sequences", frameOf(15, compressed())],
    ["with no sequences, said in two bytes", frameOf(15, compressed(128, 0))],
    ["with reserved bits of its tables", frameOf(18, compressed(1, 1, 0xff, 0xff, 0x0f))],
    ["that repeats tables of no block before", frameOf(18, compressed(1, 0xfc, 0xff, 0xff, 0x0f))],
    ["with a code that there is not", frameOf(18, compressed(1, 0x54, 36, 0, 0, 1))],
    ["with sequences that have no end", frameOf(18, compressed(1, 0x54, 0, 0, 0, 0))],
    ["that repeats a Huffman table of no block before", frameOf(9, [2, 5, [0x93, 0x80, 0, 1, 0]])],
  ])("%s is refused", (_, frame) => {
    expect(() => decodeZstd(frame)).toThrow(/^zstd: /u);
  });

  test("with a sequence that says where it copies from is unpacked, and refused when that is before the start", () => {
    expect(textOf(copying(3, 0))).toBe("hello".repeat(3));
    expect(textOf(copying(2, 1))).toBe("hello".concat("lo".repeat(5)));
    expect(() => decodeZstd(copying(3, 1))).toThrow("an offset is too large");
    expect(textOf(copying(3, 2), Buffer.from("abcd"))).toBe("hellocdhellocdh");
    expect(() => decodeZstd(copying(6, 63), Buffer.alloc(118))).toThrow("an offset is too large");
    expect(byNode(copying(2, 1), undefined)?.length).toBe(15);
    // A bit more than there is to read.
    expect(() =>
      decodeZstd(frameOf(15, [2, 12, [5 << 3, ...hello, 1, 0x54, 5, 2, 7, 0b1101]])),
    ).toThrow("sequences are not used up");
  });

  test("whose Huffman streams are not used up is refused, which the fast decoder of zstd takes", () => {
    const frame = Buffer.from(
      "KLUv/WAzAPUEAEYQHw6wJemWNLLJlnJmGIZREBkAGgAZAKN7KV4EE7FEpnYNlPdUAjnd+RguMsLP2zhjKVNUOUQeC/aoF2QkASS0z/YEwPMFLPLpAyGMCn3WXlaGO3PE3CC43LNgULOiBSoXbsZCRY3gGhhalPagFCRA6tQGdcAkWgy9oBEJJQQLABYbaUQArTl8G3sJ7uLUHuJqwcSUtwc1ISD8gTID",
      "base64",
    );
    expect(() => decodeZstd(frame)).toThrow("a Huffman stream is not used up");
  });
});
