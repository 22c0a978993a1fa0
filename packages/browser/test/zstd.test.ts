// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a page reads and refuses the same bodies as Node.
 * Method: bodies that either made, whole, damaged and made to mislead, are unpacked by both.
 */
import { constants, zstdCompressSync } from "node:zlib";
import { decodeBody, encodeBody, useZstd } from "@ctxmesh/codec";
import type { Zstd } from "@ctxmesh/codec";
import { LIMITS, MeshError } from "@ctxmesh/model";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { nativeZstd } from "../../codec/src/zstd-native.ts";
import { loadZstd } from "../src/zstd.ts";

let page: Zstd;
const node = nativeZstd as Zstd;
beforeAll(async () => {
  page = await loadZstd();
});
afterAll(() => {
  useZstd(node);
});

/** What a function comes to with an implementation: its bytes, or the code of its error. */
function outcome(zstd: Zstd, run: () => Uint8Array): Uint8Array | string {
  useZstd(zstd);
  try {
    return new Uint8Array(run());
  } catch (error) {
    return error instanceof MeshError ? error.code : String(error);
  }
}

/** What both say of a body, which has to be the same. */
function decoded(body: Uint8Array): Uint8Array | string {
  const here = outcome(node, () => decodeBody(body));
  expect(outcome(page, () => decodeBody(body))).toEqual(here);
  return here;
}

const tagged = (tag: number, payload: Uint8Array): Uint8Array => Uint8Array.of(tag, ...payload);

/** Texts as facts are, which the dictionary knows, and noise; short, and over 2,048 bytes. */
const payloads = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.uint8Array({ minLength: 2_000, maxLength: 6_000 }),
  fc
    .array(fc.constantFrom("temperature", "line-2/press-7", '{"value":', "confidence", "0.9"), {
      maxLength: 600,
    })
    .map((words) => new TextEncoder().encode(words.join(" "))),
);

test("what one has packed both unpack to the same bytes", () => {
  fc.assert(
    fc.property(payloads, fc.constantFrom("node", "page"), (payload, who) => {
      const body = outcome(who === "node" ? node : page, () => encodeBody(payload));
      expect(decoded(body as Uint8Array)).toEqual(payload);
    }),
    { numRuns: 300 },
  );
});

test("of what is damaged a page takes nothing that Node refuses, and nothing for something else", () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(payloads, damage, fc.nat(), fc.boolean(), (payload, edits, cut, isCut) => {
      useZstd(node);
      const body = encodeBody(payload);
      for (const [at, value] of edits) body[1 + (at % Math.max(1, body.length - 1))] = value;
      const damaged = isCut ? body.subarray(0, cut % (body.length + 1)) : body;
      const here = outcome(page, () => decodeBody(damaged));
      // The fast decoder of 64-bit machines does not look whether a Huffman stream was used up, as the one for 32 bits does.
      const there = here === "FORMAT_INVALID" ? here : outcome(node, () => decodeBody(damaged));
      expect(there).toEqual(here);
    }),
    { numRuns: 1_500 },
  );
});

test("both refuse any bytes that say that they are packed", () => {
  const magic = [0x28, 0xb5, 0x2f, 0xfd];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.constantFrom(1, 2), (bytes, tag) => {
      const body = tagged(tag, tag === 1 ? Uint8Array.of(...magic, ...bytes) : bytes);
      const here = outcome(node, () => decodeBody(body));
      expect(outcome(page, () => decodeBody(body))).toEqual(here);
    }),
    { numRuns: 1_500 },
  );
});

const bomb = (bytes: number, params: Record<number, number> = {}): Uint8Array =>
  zstdCompressSync(new Uint8Array(bytes), { params });
const UNSAID = { [constants.ZSTD_c_contentSizeFlag]: 0 };

/** A frame that decoders pass over (RFC 8878, 3.1.2). */
const TO_SKIP = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
/** 300 bytes in one raw block, whose frame says so and has a window descriptor (RFC 8878, 3.1.1). */
const inWindow = (descriptor: number): Uint8Array => {
  const block = ((300 << 3) | 1) >>> 0;
  const head = [0x28, 0xb5, 0x2f, 0xfd, 0x40, descriptor, 300 - 256, 0];
  return Uint8Array.of(...head, block & 255, block >>> 8, 0, ...new Uint8Array(300));
};

test.for<readonly [what: string, payload: Uint8Array, wanted: number | string]>([
  ["the longest content", bomb(LIMITS.bodyBytes), LIMITS.bodyBytes],
  [
    "the longest content, unsaid, in a wide window",
    bomb(LIMITS.bodyBytes, { ...UNSAID, [constants.ZSTD_c_windowLog]: 21 }),
    LIMITS.bodyBytes,
  ],
  ["one byte more", bomb(LIMITS.bodyBytes + 1), "FORMAT_INVALID"],
  ["one byte more, unsaid", bomb(LIMITS.bodyBytes + 1, UNSAID), "FORMAT_INVALID"],
  ["100 MB", bomb(100_000_000), "FORMAT_INVALID"],
  ["100 MB, unsaid", bomb(100_000_000, UNSAID), "FORMAT_INVALID"],
  [
    "a window over 2 MiB, for little",
    bomb(100, { ...UNSAID, [constants.ZSTD_c_windowLog]: 21 }),
    100,
  ],
  ["nothing", bomb(0), 0],
  [
    "a checksum",
    zstdCompressSync(new Uint8Array(10), { params: { [constants.ZSTD_c_checksumFlag]: 1 } }),
    10,
  ],
  ["two frames", Uint8Array.of(...bomb(5), ...bomb(5)), "FORMAT_INVALID"],
  ["two frames, unsaid", Uint8Array.of(...bomb(5, UNSAID), ...bomb(5, UNSAID)), "FORMAT_INVALID"],
  ["a frame, and one to skip", Uint8Array.of(...bomb(5), ...TO_SKIP), "FORMAT_INVALID"],
  ["300 bytes in a window of 2 MiB", inWindow(0x58), 300],
  ["300 bytes in a window of 2.25 MiB", inWindow(0x59), "FORMAT_INVALID"],
  ["300 bytes in a window of 4 MiB", inWindow(0x60), "FORMAT_INVALID"],
  ["a byte behind the frame", Uint8Array.of(...bomb(5), 0), "FORMAT_INVALID"],
  ["a frame to skip", TO_SKIP, "FORMAT_INVALID"],
  ["a frame to skip before one", Uint8Array.of(...TO_SKIP, ...bomb(5)), "FORMAT_INVALID"],
])("of %s both make the same", ([, payload, wanted]) => {
  const made = decoded(tagged(1, payload));
  expect(typeof made === "string" ? made : made.length).toBe(wanted);
});

test("a frame whose head asks for more than 2 MiB of window, or says a wrong length, is refused by both", () => {
  const frame = zstdCompressSync(new Uint8Array(3_000), { params: UNSAID });
  const wide = frame.slice();
  wide[5] = 0xff;
  expect(decoded(tagged(1, wide))).toBe("FORMAT_INVALID");
  const lying = bomb(100);
  lying[5] = 99;
  expect(decoded(tagged(1, lying))).toBe("FORMAT_INVALID");
  const large = bomb(LIMITS.bodyBytes);
  // The content size of four bytes: 4 GiB.
  large.fill(0xff, 6, 10);
  expect(decoded(tagged(1, large))).toBe("FORMAT_INVALID");
});
