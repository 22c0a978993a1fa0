// SPDX-License-Identifier: Apache-2.0
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isUtf8 } from "../src/utf8.ts";

const strict = new TextDecoder("utf-8", { fatal: true });

function decodes(bytes: Uint8Array): boolean {
  try {
    strict.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Bytes at the borders of what may follow what. */
const byte = fc.oneof(
  fc.constantFrom(0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf),
  fc.constantFrom(0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff),
  fc.nat(255),
);

test("bytes are UTF-8 where a strict decoder takes them, and nothing beyond their end is looked at", () => {
  const texts = fc
    .string({ unit: "binary", maxLength: 6 })
    .map((text) => [...new TextEncoder().encode(text)]);
  const anyBytes = fc.oneof(fc.array(byte, { maxLength: 6 }), texts);
  fc.assert(
    fc.property(anyBytes, fc.array(byte, { maxLength: 4 }), (middle, rest) => {
      const bytes = Uint8Array.of(0xc3, ...middle, ...rest);
      const to = 1 + middle.length;
      expect(isUtf8(bytes, 1, to)).toBe(decodes(bytes.subarray(1, to)));
    }),
    { numRuns: 5_000 },
  );
});
