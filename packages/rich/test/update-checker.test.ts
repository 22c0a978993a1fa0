// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: no update reaches Yjs that an honest replica could not have made, and the verdict is the same
 * everywhere. Method: each known attack on Yjs, and each broken rule, as crafted bytes against a small
 * document; then random crafted updates to replicas in different orders.
 */
import { RichDocument } from "@ctxmesh/rich";
import { LIMITS } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";
import * as Y from "yjs";
import {
  Dice,
  any,
  anyInt,
  between,
  edit,
  first,
  receive,
  str,
  text,
  uint,
  update,
} from "./support.ts";
import type { Content, Sent } from "./support.ts";

/** Histories of crafted updates. */
const SEEDS = 200;

/** The honest writer, and the one whose update is judged. */
const HONEST = 100;
const OTHER = 200;

/**
 * What HONEST wrote: 0-4 "hello" in text:notes; 5-6 the list [1, 2] in list:items; 7 a map as entry m of
 * map:plan; 8 the entry k of that map; 9 a text as entry 2 of list:items, 10-11 "hi" in it.
 */
function honestDocument(): RichDocument {
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

const nested = (depth: number): number[] => [
  ...Array.from({ length: depth }, () => [117, 1]).flat(),
  126,
];
const type = (ref: number): Content => [7, ref];
const GARBAGE = [0, ...uint(2 ** 52)];

/** Bytes of OTHER from clock 0, how many clocks the header claims, code and field of the refusal. */
const REFUSED: readonly (readonly [
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
    ["undefined in a value", update(OTHER, 0, [first("list:a", any([127]))]), 1, "value"],
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
    ["an XML element", update(OTHER, 0, [first("list:a", [7, 3, ...text("div")])]), 1, "type"],
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

const many = Array.from({ length: 10_001 }, (_, i) => i);
const TOO_MUCH: readonly (readonly [name: string, Uint8Array, to: number, field: string])[] = [
  [
    "2^31 declared structs",
    Uint8Array.from([1, ...uint(2 ** 31), ...uint(OTHER), 0]),
    1,
    "structs",
  ],
  [
    "10,001 structs",
    update(
      OTHER,
      0,
      many.map((i) =>
        i === 0 ? first("text:a", str("x")) : between([OTHER, i - 1], undefined, str("x")),
      ),
    ),
    10_001,
    "structs",
  ],
  [
    "2^31 declared delete ranges",
    Uint8Array.from([0, 1, ...uint(HONEST), ...uint(2 ** 31)]),
    0,
    "delete ranges",
  ],
  [
    "1,001 delete ranges",
    update(OTHER, 0, [], [[HONEST, many.slice(0, 1001).map((i) => [2 * i, 1] as const)]]),
    0,
    "delete ranges",
  ],
  [
    "a deleted run of 2^52",
    update(OTHER, 0, [first("text:a", [1, ...uint(2 ** 52)])]),
    2 ** 52,
    "clocks",
  ],
  [
    "more bytes than a batch",
    update(OTHER, 0, [first("text:a", str("x".repeat(LIMITS.batchBytes)))]),
    LIMITS.batchBytes,
    "bytes",
  ],
  [
    "a value nested 10,000 deep",
    update(OTHER, 0, [first("list:a", any(nested(10_000)))]),
    1,
    "levels of nesting",
  ],
  [
    "an embed nested 10,000 deep",
    update(OTHER, 0, [
      first("text:a", [5, ...text(`{"a":${"[".repeat(10_000)}${"]".repeat(10_000)}}`)]),
    ]),
    1,
    "levels of nesting",
  ],
  [
    "shared types nested 100 deep",
    update(
      OTHER,
      0,
      many.slice(0, 100).map((i) => first(i === 0 ? "list:a" : [OTHER, i - 1], type(0))),
    ),
    100,
    "levels of nesting",
  ],
  [
    "a key of 513 characters",
    update(OTHER, 0, [first("map:a", any(anyInt(1)), "k".repeat(513))]),
    1,
    "characters in a key",
  ],
];

/** What builds on operations that are not here, and the one it needs. */
const MISSING: readonly (readonly [
  name: string,
  Uint8Array,
  to: number,
  client: number,
  clock: number,
])[] = [
  [
    "an unknown left neighbour",
    update(OTHER, 0, [between([HONEST, 12], undefined, str("x"))]),
    1,
    HONEST,
    12,
  ],
  [
    "an unknown right neighbour",
    update(OTHER, 0, [between(undefined, [300, 0], str("x"))]),
    1,
    300,
    0,
  ],
  ["an unknown parent", update(OTHER, 0, [first([300, 7], any(anyInt(1)))]), 1, 300, 7],
  [
    "a neighbour of the far future",
    update(OTHER, 0, [between([HONEST, 2 ** 52], undefined, str("x"))]),
    1,
    HONEST,
    2 ** 52,
  ],
  [
    "deletion of everything of a client, known or not",
    update(OTHER, 0, [], [[HONEST, [[0, 2 ** 40]]]]),
    0,
    HONEST,
    2 ** 40 - 1,
  ],
  [
    "deletions for an unknown client",
    update(OTHER, 0, [], [[300, many.slice(0, 1000).map((i) => [2 * i, 1] as const)]]),
    0,
    300,
    0,
  ],
];

describe("an update is refused for good", () => {
  test.for(REFUSED)("when it has %s", ([, bytes, to, code, field]) => {
    const doc = honestDocument();
    const before = doc.encodeState();
    const from = field === "clock" && to === 1 ? 5 : 0;
    const judge = (): unknown => doc.check(bytes, { client: OTHER, from, to: from + to });
    expect(judge).toThrow(expect.objectContaining({ code, field }));
    expect(doc.encodeState()).toEqual(before);
  });

  test.for(TOO_MUCH)("when it has %s", ([, bytes, to, field]) => {
    const doc = honestDocument();
    const before = doc.encodeState();
    const judge = (): unknown => doc.check(bytes, { client: OTHER, from: 0, to });
    expect(judge).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED", field }));
    expect(doc.encodeState()).toEqual(before);
  });

  test("when it takes the clocks of a client that wrote them already", () => {
    const doc = honestDocument();
    const again = update(HONEST, 0, [first("text:a", str("x"))]);
    expect(() => doc.check(again, { client: HONEST, from: 0, to: 1 })).toThrow(
      expect.objectContaining({ code: "FORMAT_INVALID", field: "clock" }),
    );
  });

  test("when it is a V2 update, whatever it declares", () => {
    const doc = honestDocument();
    const source = new Y.Doc();
    source.clientID = OTHER;
    source.getText("text:a").insert(0, "x");
    const bytes = Y.encodeStateAsUpdateV2(source);
    expect(() => doc.check(bytes, { client: OTHER, from: 0, to: 1 })).toThrow(
      expect.objectContaining({ code: "FORMAT_INVALID" }),
    );
  });

  test("when its client id can't be one", () => {
    const doc = honestDocument();
    for (const client of [0, -1, 1.5, 2 ** 53, Number.NaN]) {
      const bytes = update(1, 0, [first("text:a", str("x"))]);
      expect(() => doc.check(bytes, { client, from: 0, to: 1 })).toThrow(
        expect.objectContaining({ code: "FORMAT_INVALID", field: "client" }),
      );
    }
  });
});

describe("an update has to wait", () => {
  test.for(MISSING)("when it has %s", ([, bytes, to, client, clock]) => {
    const doc = honestDocument();
    const before = doc.encodeState();
    const verdict = doc.check(bytes, { client: OTHER, from: 0, to });
    expect(verdict).toEqual({ kind: "missing", client, clock: clock || expect.any(Number) });
    expect(doc.encodeState()).toEqual(before);
  });
});

describe("an update passes", () => {
  test("when another client's insertion came between its neighbours since", () => {
    const doc = honestDocument();
    const late = update(OTHER, 0, [between([HONEST, 1], [HONEST, 2], str("x"))]);
    edit(doc, 300, (roots) => roots.text("notes").insert(2, "---"));
    receive(doc, { bytes: late, client: OTHER, from: 0, to: 1 });
    expect(doc.content()[2]?.value).toEqual([{ insert: "hex---llo" }]);
  });

  test("between insertions that two clients made at the same place at the same time", () => {
    const doc = honestDocument();
    const at = (content: string): number[] => between([HONEST, 1], [HONEST, 2], str(content));
    receive(doc, { bytes: update(OTHER, 0, [at("22")]), client: OTHER, from: 0, to: 2 });
    receive(doc, { bytes: update(300, 0, [at("33")]), client: 300, from: 0, to: 2 });
    const middle = update(400, 0, [between([OTHER, 1], [300, 0], str("|"))]);
    receive(doc, { bytes: middle, client: 400, from: 0, to: 1 });
    expect(doc.content()[2]?.value).toEqual([{ insert: "he22|33llo" }]);
    const wrong = update(500, 0, [between([300, 1], [OTHER, 0], str("|"))]);
    expect(() => doc.check(wrong, { client: 500, from: 0, to: 1 })).toThrow(/never were/u);
  });

  test("and says whether it deletes or replaces what others wrote", () => {
    const doc = honestDocument();
    const judge = (bytes: Uint8Array, to: number): boolean => {
      const verdict = doc.check(bytes, { client: OTHER, from: 0, to });
      return verdict.kind === "ready" && verdict.update.deletesOthers;
    };
    const own = first("text:a", str("x"));
    expect(judge(update(OTHER, 0, [own], [[OTHER, [[0, 1]]]]), 1)).toBe(false);
    expect(judge(update(OTHER, 0, [between([HONEST, 4], undefined, str("x"))]), 1)).toBe(false);
    expect(judge(update(OTHER, 0, [own], [[HONEST, [[0, 12]]]]), 1)).toBe(true);
    expect(
      judge(update(OTHER, 0, [between([HONEST, 8], undefined, any(anyInt(2)), true)]), 1),
    ).toBe(true);
  });
});

/** A random struct over known ids, mostly one that no editor would make. */
function craft(dice: Dice, ids: readonly (readonly [number, number])[]): number[] {
  const content = dice.pick([
    str("ab"),
    str("c"),
    str("d"),
    any(anyInt(3)),
    type(0),
    [1, 1],
  ] as const);
  if (dice.roll(4) > 0) {
    const origin = dice.roll(5) === 0 ? undefined : dice.pick(ids);
    const rightOrigin = origin !== undefined && dice.roll(3) === 0 ? undefined : dice.pick(ids);
    return between(origin, rightOrigin, content, dice.roll(3) === 0);
  }
  const parent = dice.roll(3) === 0 ? dice.pick(ids) : dice.pick(["text:a", "list:a", "map:a"]);
  return first(parent, content, dice.roll(3) > 0 ? undefined : "k");
}

/** An update and the updates it is known to build on. */
interface Crafted extends Sent {
  readonly past: ReadonlySet<Crafted>;
}

/** A replica and what it has. */
interface View {
  readonly doc: RichDocument;
  readonly past: Set<Crafted>;
}

/** Gives `view` one of the updates whose past it has; false when there is none. */
function receiveAny(dice: Dice, view: View, all: readonly Crafted[]): boolean {
  const ready = all.filter(
    (one) => !view.past.has(one) && [...one.past].every((before) => view.past.has(before)),
  );
  if (ready.length === 0) return false;
  const one = dice.pick(ready);
  receive(view.doc, one);
  view.past.add(one);
  return true;
}

/** Tries random updates until one passes. */
function writeCrafted(dice: Dice, view: View, client: number): Crafted | undefined {
  const from = view.doc.clockOf(client);
  const ids = [10, 9, 8].flatMap((of) =>
    Array.from({ length: view.doc.clockOf(of) }, (_, clock) => [of, clock] as const),
  );
  if (ids.length === 0) ids.push([client, from]);
  for (let attempt = 0; attempt < 60; attempt++) {
    const [of, clock] = dice.pick(ids);
    const deletes = dice.roll(6) === 0 ? ([[of, [[clock, 1]]]] as const) : [];
    const bytes = update(client, from, [craft(dice, ids)], deletes);
    const to = from + (bytes.includes(98) ? 2 : 1);
    try {
      if (view.doc.check(bytes, { client, from, to }).kind === "missing") continue;
      const made: Crafted = { bytes, client, from, to, past: new Set(view.past) };
      receive(view.doc, made);
      view.past.add(made);
      return made;
    } catch (error) {
      expect(error).toMatchObject({ code: "FORMAT_INVALID" });
    }
  }
  return undefined;
}

test("whoever made them, updates that pass leave all replicas with the same content, in any causal order", () => {
  let accepted = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const dice = new Dice(seed);
    const all: Crafted[] = [];
    const views = [0, 1, 2].map((): View => ({ doc: new RichDocument(), past: new Set() }));
    for (let step = 0; step < 40; step++) {
      const at = dice.roll(views.length);
      const view = views[at];
      if (view === undefined || (dice.roll(3) === 0 && receiveAny(dice, view, all))) continue;
      const made = writeCrafted(dice, view, 10 - at);
      if (made !== undefined) all.push(made);
    }
    for (const view of views) {
      while (receiveAny(dice, view, all));
      expect(view.past.size).toBe(all.length);
      expect(view.doc.content(), `seed ${String(seed)}`).toEqual(views[0]?.doc.content());
    }
    accepted += all.length;
  }
  expect(accepted).toBeGreaterThan(SEEDS * 10);
});
