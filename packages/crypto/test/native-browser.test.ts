// SPDX-License-Identifier: Apache-2.0
/** Goal: the hashes of pages are those of Node. Method: both are made of the same random parts. */
import fc from "fast-check";
import { expect, test } from "vitest";
import * as page from "../src/native-browser.ts";
import * as node from "../src/native.ts";

test("hashes of bytes, of parts and of texts are the same in a page and in Node", () => {
  const parts = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 });
  fc.assert(
    fc.property(parts, fc.string({ unit: "binary" }), (pieces, text) => {
      expect(page.sha256(...pieces)).toEqual(node.sha256(...pieces));
      expect(page.sha256Hex(text)).toBe(node.sha256Hex(text));
      for (const piece of pieces) expect(page.sha512(piece)).toEqual(node.sha512(piece));
    }),
  );
});

test("both modules have the same exports, and a page no engine of its own", () => {
  expect(Object.keys(page).toSorted()).toEqual(Object.keys(node).toSorted());
  expect(page.nativeEngine("ed25519")).toBeUndefined();
});
