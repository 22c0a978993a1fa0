// SPDX-License-Identifier: Apache-2.0
/** Goal: every fact has one URI, and no other text is one. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { factUri, parseFactUri } from "../src/uri.ts";

const letter = fc.oneof(
  fc.constantFrom("/", "%", "?", "#", " ", "é"),
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }),
);
const part = fc.string({ unit: letter, minLength: 1, maxLength: 60 });

test("what a URI names is what it was made of", () => {
  fc.assert(
    fc.property(
      fc.record({ space: part, doc: part, key: part }, { noNullPrototype: true }),
      (name) => {
        expect(parseFactUri(factUri(name))).toEqual(name);
      },
    ),
  );
});

test.for([
  "",
  "ctx://",
  "ctx://space/doc",
  "ctx://space/doc/",
  "ctx://space//key",
  "ctx://space/line-2/press-7/key",
  "ctx://space/doc/key?x",
  "ctx://space/doc/key#x",
  "ctx://space/doc/%ff",
  "ctx://space/doc/%",
  "http://space/doc/key",
  `ctx://space/doc/${"k".repeat(5_000)}`,
])("%s names no fact", (uri) => {
  expect(parseFactUri(uri)).toBeUndefined();
});
