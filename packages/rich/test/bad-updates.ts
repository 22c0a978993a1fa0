// SPDX-License-Identifier: Apache-2.0
/** A small document, and updates to it that must not be applied: the known attacks on Yjs, and each broken rule. */
import { RichDocument } from "@ctxmesh/rich";
import { expect } from "vitest";
import { any, anyInt, between, edit, first, str, text, uint, update } from "./support.ts";
import type { Content } from "./support.ts";

/** The honest writer, and the one whose update is judged. */
export const HONEST = 100;
export const OTHER = 200;

/**
 * What HONEST wrote: 0-4 "hello" in text:notes; 5-6 the list [1, 2] in list:items; 7 a map as entry m of
 * map:plan; 8 the entry k of that map; 9 a text as entry 2 of list:items, 10-11 "hi" in it.
 */
export function honestDocument(): RichDocument {
  const doc = new RichDocument();
  edit(doc, HONEST, (roots) => {
    roots.text("notes").insert(0, "hello");
    const items = roots.list("items");
    items.insert(0, [1, 2]);
    roots.map("plan").setNew("m", "map").set("k", 1);
    items.insertNew(2, "text").insert(0, "hi");
  });
  expect(doc.clockOf(HONEST)).toBe(12);
  return doc;
}

const type = (ref: number): Content => [7, ref];
const GARBAGE = [0, ...uint(2 ** 52)];

/** Bytes of OTHER from clock 0, how many clocks the header claims, code and field of the refusal. */
export const REFUSED: readonly (readonly [
  name: string,
  Uint8Array,
  to: number,
  code: string,
  field: string,
])[] = (
  [
    [
      "structs of another client",
      update(HONEST, 12, [between([HONEST, 4], undefined, str("x"))]),
      1,
      "client",
    ],
    [
      "no structs where the header has clocks",
      update(OTHER, 0, [], [[HONEST, [[0, 1]]]]),
      1,
      "client",
    ],
    ["structs of two clients", Uint8Array.from([2, 1, 1, 0, 0, 1]), 1, "client"],
    [
      "clocks that are not the header's",
      update(OTHER, 0, [first("text:a", str("xyz"))]),
      2,
      "clock",
    ],
    ["clocks ahead of the client's", update(OTHER, 5, [first("text:a", str("x"))]), 1, "clock"],
    ["a client without structs", Uint8Array.from([1, 0, ...uint(OTHER), 0, 0]), 0, "struct"],
    ["nothing at all", Uint8Array.from([0, 0]), 0, "bytes"],
    ["no bytes", new Uint8Array(), 0, "bytes"],
    [
      "bytes after the end",
      Uint8Array.from([...update(OTHER, 0, [first("text:a", str("x"))]), 0]),
      1,
      "bytes",
    ],
    ["a garbage struct of 2^52", update(OTHER, 0, [GARBAGE]), 2 ** 52, "struct"],
    ["a gap", update(OTHER, 0, [[10, 5]]), 5, "struct"],
    ["an integer longer than it need be", Uint8Array.from([0x81, 0, 1, 100, 0]), 1, "integer"],
    [
      "an integer over 2^53 - 1",
      Uint8Array.from([1, 1, ...Array.from({ length: 9 }, () => 255), 1]),
      1,
      "integer",
    ],
    ["a root of no kind", update(OTHER, 0, [first("notes", str("x"))]), 1, "root"],
    [
      "a root named __proto__",
      update(OTHER, 0, [first("map:__proto__", any(anyInt(1)), "k")]),
      1,
      "root",
    ],
    [
      "a map key __proto__",
      update(OTHER, 0, [first("map:a", any(anyInt(1)), "__proto__")]),
      1,
      "key",
    ],
    [
      "a map key constructor",
      update(OTHER, 0, [first("map:a", any(anyInt(1)), "constructor")]),
      1,
      "key",
    ],
    [
      "__proto__ in a value",
      update(OTHER, 0, [first("list:a", any([118, 1, ...text("__proto__"), 118, 0]))]),
      1,
      "key",
    ],
    [
      "a key twice in a value",
      update(OTHER, 0, [first("list:a", any([118, 2, 1, 97, 126, 1, 97, 126]))]),
      1,
      "key",
    ],
    [
      "__proto__ in an embed",
      update(OTHER, 0, [first("text:a", [5, ...text('{"__proto__":{}}')])]),
      1,
      "key",
    ],
    [
      "__proto__ as a text attribute",
      update(OTHER, 0, [first("text:a", [6, ...text("__proto__"), ...text("true")])]),
      1,
      "key",
    ],
    ["undefined in a list", update(OTHER, 0, [first("list:a", any([127]))]), 1, "content"],
    ["undefined in a value", update(OTHER, 0, [first("list:a", any([117, 1, 127]))]), 1, "value"],
    [
      "a bigint in a value",
      update(OTHER, 0, [first("list:a", any([122, 0, 0, 0, 0, 0, 0, 0, 1]))]),
      1,
      "value",
    ],
    ["bytes in a value", update(OTHER, 0, [first("list:a", any([116, 1, 1]))]), 1, "value"],
    [
      "NaN in a value",
      update(OTHER, 0, [first("list:a", any([124, 0x7f, 0xc0, 0, 0]))]),
      1,
      "value",
    ],
    [
      "an embed that is no object",
      update(OTHER, 0, [first("text:a", [5, ...text("1")])]),
      1,
      "embed",
    ],
    [
      "an embed that is not JSON",
      update(OTHER, 0, [first("text:a", [5, ...text("{")])]),
      1,
      "json",
    ],
    [
      "JSON in a form of its own",
      update(OTHER, 0, [first("text:a", [5, ...text('{"a": 1}')])]),
      1,
      "json",
    ],
    [
      "a lone surrogate in an embed",
      update(OTHER, 0, [first("text:a", [5, ...text(String.raw`{"a":"\ud800"}`)])]),
      1,
      "value",
    ],
    [
      "text that is not UTF-8",
      update(OTHER, 0, [first("text:a", [4, 3, 0xed, 0xa0, 0x80])]),
      1,
      "text",
    ],
    [
      "an empty text",
      update(OTHER, 0, [first("text:a", str("")), first("text:a", str("x"))]),
      1,
      "struct",
    ],
    ["legacy JSON content", update(OTHER, 0, [first("list:a", [2, 1, ...text("1")])]), 1, "struct"],
    ["binary content", update(OTHER, 0, [first("list:a", [3, 1, 1])]), 1, "struct"],
    [
      "a subdocument",
      update(OTHER, 0, [first("list:a", [9, ...text("guid"), 118, 0])]),
      1,
      "struct",
    ],
    ["an XML element", update(OTHER, 0, [first("list:a", [7, 3, ...text("div")])]), 1, "content"],
    ["an XML hook", update(OTHER, 0, [first("list:a", [7, 5, ...text("h")])]), 1, "type"],
    ["text in a list", update(OTHER, 0, [first("list:a", str("x"))]), 1, "content"],
    ["a value in a text", update(OTHER, 0, [first("text:a", any(anyInt(1)))]), 1, "content"],
    ["a shared type in a text", update(OTHER, 0, [first("text:a", type(1))]), 1, "content"],
    [
      "text in a list by its neighbour",
      update(OTHER, 0, [between([HONEST, 6], [HONEST, 9], str("x"))]),
      1,
      "content",
    ],
    ["a key in a list", update(OTHER, 0, [first("list:a", any(anyInt(1)), "k")]), 1, "key"],
    ["a map entry without a key", update(OTHER, 0, [first("map:a", any(anyInt(1)))]), 1, "key"],
    [
      "a key flag where there is none",
      update(OTHER, 0, [between([HONEST, 4], undefined, str("x"), true)]),
      1,
      "key",
    ],
    [
      "two values for a key",
      update(OTHER, 0, [first("map:a", any(anyInt(1), anyInt(2)), "k")]),
      2,
      "content",
    ],
    ["a parent that is text", update(OTHER, 0, [first([HONEST, 1], str("x"))]), 1, "parent"],
    [
      "a parent that is text of its own",
      update(OTHER, 0, [first("text:a", str("x")), first([OTHER, 0], str("x"))]),
      2,
      "parent",
    ],
    [
      "a parent yet to come",
      update(OTHER, 0, [first([OTHER, 1], any(anyInt(1)), "k"), first("list:a", type(1))]),
      2,
      "origin",
    ],
    [
      "itself as its neighbour",
      update(OTHER, 0, [between([OTHER, 0], undefined, str("x"))]),
      1,
      "origin",
    ],
    [
      "neighbours in two lists",
      update(OTHER, 0, [between([HONEST, 0], [HONEST, 6], any(anyInt(1)))]),
      1,
      "origin",
    ],
    [
      "neighbours under two keys",
      update(OTHER, 0, [between([HONEST, 7], [HONEST, 8], any(anyInt(1)), true)]),
      1,
      "origin",
    ],
    [
      "neighbours the wrong way round",
      update(OTHER, 0, [between([HONEST, 3], [HONEST, 1], str("x"))]),
      1,
      "origin",
    ],
    [
      "neighbours with something between",
      update(OTHER, 0, [between([HONEST, 0], [HONEST, 2], str("x"))]),
      1,
      "origin",
    ],
    [
      "not the start of the list",
      update(OTHER, 0, [between(undefined, [HONEST, 2], str("x"))]),
      1,
      "origin",
    ],
    [
      "deletion of what it has yet to write",
      update(OTHER, 0, [first("text:a", str("x"))], [[OTHER, [[0, 2]]]]),
      1,
      "deletes",
    ],
    [
      "delete ranges out of order",
      update(
        OTHER,
        0,
        [],
        [
          [
            HONEST,
            [
              [3, 1],
              [0, 1],
            ],
          ],
        ],
      ),
      0,
      "deletes",
    ],
    [
      "delete ranges that overlap",
      update(
        OTHER,
        0,
        [],
        [
          [
            HONEST,
            [
              [0, 2],
              [1, 2],
            ],
          ],
        ],
      ),
      0,
      "deletes",
    ],
    ["an empty delete range", update(OTHER, 0, [], [[HONEST, [[0, 0]]]]), 0, "deletes"],
    [
      "a client twice in the delete set",
      update(
        OTHER,
        0,
        [],
        [
          [HONEST, [[0, 1]]],
          [HONEST, [[2, 1]]],
        ],
      ),
      0,
      "deletes",
    ],
    ["a client without deletions", update(OTHER, 0, [], [[HONEST, []]]), 0, "deletes"],
  ] as const
).map(([name, bytes, to, field]) => [name, bytes, to, "FORMAT_INVALID", field] as const);
