// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: all nodes read what a page has packed.
 * Method: bodies that the page's zstd has made are unpacked as everywhere, and by Node's own.
 */
import { zstdDecompressSync } from "node:zlib";
import { decodeBody, encodeBody, useZstd } from "@ctxmesh/codec";
import { LIMITS } from "@ctxmesh/model";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { nativeZstd } from "../../codec/src/zstd-native.ts";
import { loadZstd } from "../src/zstd.ts";

beforeAll(async () => {
  useZstd(await loadZstd());
});
afterAll(() => {
  if (nativeZstd !== undefined) useZstd(nativeZstd);
});

/** Texts as facts are, which the dictionary knows, and noise; short, and over 2,048 bytes. */
const payloads = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.uint8Array({ minLength: 2_000, maxLength: 6_000 }),
  fc
    .array(
      fc.tuple(
        fc.constantFrom("temperature", "line-2/press-7", '{"value":', "confidence", "0.9"),
        fc.nat(9_999),
      ),
      { maxLength: 2_000 },
    )
    .map((words) => Buffer.from(words.flat().join(" "))),
);

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

test("what a page has packed is unpacked to the same bytes", () => {
  fc.assert(
    fc.property(payloads, (payload) => {
      expect(isSame(decodeBody(encodeBody(payload)), payload)).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test.each([5_000, 131_072, LIMITS.bodyBytes])(
  "%i bytes that a page has packed are unpacked, by Node's own zstd, too",
  (length) => {
    const payload = Uint8Array.from({ length }, (_, i) => (i * i) >>> 12);
    const body = encodeBody(payload);
    expect(isSame(decodeBody(body), payload)).toBe(true);
    expect(isSame(zstdDecompressSync(body.subarray(1)), payload)).toBe(true);
  },
);
