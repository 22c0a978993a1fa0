// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: an entry goes where its writer had a gap, once, and Yjs never has to search for the place of many.
 * Method: updates by hand; and random edits that know little of each other, beside stock Yjs.
 */
import { RichDocument } from "@ctxmesh/rich";
import type { RichUpdate } from "@ctxmesh/rich";
import { describe, expect, test } from "vitest";
import * as Y from "yjs";
import { HONEST, OTHER, honestDocument } from "./bad-updates.ts";
import { Dice, any, anyInt, between, edit, first, receive, str, update } from "./support.ts";
import type { Sent } from "./support.ts";

const count = (length: number): number[] => Array.from({ length }, (_, i) => i);

const sent = (bytes: Uint8Array, to: number, from = 0, client = OTHER): Sent => ({
  client,
  from,
  to,
  bytes,
});

/** HONEST wrote "ab" so that each pair of the letters before it lies around the later ones: aaa...bbb. */
function nestedDocument(pairs: number): RichDocument {
  const doc = new RichDocument();
  edit(doc, HONEST, (roots) => {
    const notes = roots.text("notes");
    for (let i = 0; i < pairs; i++) {
      notes.insert(i, "a");
      notes.insert(i + 1, "b");
    }
  });
  return doc;
}

/** An entry between the second and the third letter of the honest document. */
const gap = (): number[] => between([HONEST, 1], [HONEST, 2], str("x"));

/** An entry in each pair of {@link nestedDocument}. */
const nested = (pairs: number): Sent =>
  sent(
    update(
      OTHER,
      0,
      count(pairs).map((i) => between([HONEST, 2 * i], [HONEST, 2 * i + 1], str("x"))),
    ),
    pairs,
  );

/** 10,000 entries in front of each other. */
const prepends = (client: number): Sent =>
  edit(new RichDocument(), client, (roots) => {
    const list = roots.list("a");
    for (let i = 0; i < 10_000; i++) list.insert(0, [i % 10]);
  });

describe("refused", () => {
  test.each<[string, Uint8Array, number]>([
    ["two entries in one gap", update(OTHER, 0, [gap(), gap()]), 2],
    [
      "two first entries of a root",
      update(OTHER, 0, [first("text:a", str("x")), first("text:a", str("y"))]),
      2,
    ],
    [
      "two first entries of a root that has some",
      update(OTHER, 0, [first("text:notes", str("x")), first("text:notes", str("y"))]),
      2,
    ],
    [
      "two first entries of a list of its own",
      update(OTHER, 0, [
        first("list:a", [7, 0]),
        first([OTHER, 0], any(anyInt(1))),
        first([OTHER, 0], any(anyInt(2))),
      ]),
      3,
    ],
    [
      "two first values of a key",
      update(OTHER, 0, [first("map:a", any(anyInt(1)), "k"), first("map:a", any(anyInt(2)), "k")]),
      2,
    ],
    [
      "an entry behind its own that passes over its own",
      update(OTHER, 0, [
        first("text:a", str("x")),
        between([OTHER, 0], undefined, str("y")),
        between([OTHER, 0], undefined, str("z")),
      ]),
      3,
    ],
    [
      "an entry within its own run that passes over the rest of it",
      update(OTHER, 0, [first("text:a", str("xyz")), between([OTHER, 0], [OTHER, 2], str("!"))]),
      4,
    ],
    [
      "an entry before its own that was not the first",
      update(OTHER, 0, [
        first("text:a", str("x")),
        between(undefined, [OTHER, 0], str("y")),
        between(undefined, [OTHER, 0], str("z")),
      ]),
      3,
    ],
    [
      "gaps that cross",
      update(OTHER, 0, [
        between([HONEST, 0], undefined, str("x")),
        between([HONEST, 4], undefined, str("y")),
      ]),
      2,
    ],
  ])("%s", (_, bytes, to) => {
    expect(() => honestDocument().check(bytes, sent(bytes, to))).toThrow(
      expect.objectContaining({ code: "FORMAT_INVALID" }) as Error,
    );
  });

  test("gaps within each other, however many", () => {
    const doc = nestedDocument(4_000);
    expect(doc.check(nested(1).bytes, nested(1)).kind).toBe("ready");
    for (const pairs of [2, 4_000]) {
      expect(() => doc.check(nested(pairs).bytes, nested(pairs))).toThrow(/both sides of others/u);
    }
  });

  test("a gap that the writer parted in an earlier update", () => {
    const doc = honestDocument();
    receive(doc, sent(update(OTHER, 0, [gap()]), 1));
    const again = sent(update(OTHER, 1, [gap()]), 2, 1);
    expect(() => doc.check(again.bytes, again)).toThrow(/parted before/u);
    const run = sent(update(OTHER, 1, [between([OTHER, 0], [HONEST, 2], str("yz"))]), 3, 1);
    receive(doc, run);
    const within = sent(update(OTHER, 3, [between([OTHER, 0], [HONEST, 2], str("!"))]), 4, 3);
    expect(() => doc.check(within.bytes, within)).toThrow(/parted before/u);
  });
});

describe("accepted", () => {
  test("an entry in a gap that others have filled meanwhile, the same everywhere", () => {
    const bytes = update(OTHER, 0, [between([HONEST, 1], [HONEST, 2], str("x"))]);
    const full = honestDocument();
    for (let client = 300; client < 310; client++) {
      receive(
        full,
        sent(update(client, 0, [between([HONEST, 1], [HONEST, 2], str("y"))]), 1, 0, client),
      );
    }
    for (const doc of [honestDocument(), full]) {
      expect(doc.check(bytes, sent(bytes, 1)).kind).toBe("ready");
    }
  });

  test("10,000 entries in front of each other, beside as many of others", () => {
    const [one, two] = [prepends(7), prepends(9)];
    const docs = [
      [one, two],
      [two, one],
    ].map((order) => {
      const doc = new RichDocument();
      for (const each of order) receive(doc, each);
      return doc;
    });
    expect(docs[0]?.content()).toEqual(docs[1]?.content());
  });
});

/** Many inserts of one transaction, close to each other and often in front of each other. */
function insertMany(doc: RichDocument, client: number, dice: Dice): RichUpdate | undefined {
  return doc.change(client, (roots) => {
    const notes = roots.text("notes");
    const list = roots.list("items");
    let [at, place] = [dice.roll(notes.length + 1), dice.roll(list.length + 1)];
    for (let i = 0; i < 12; i++) {
      if (dice.roll(4) === 0) at = dice.roll(notes.length + 1);
      if (dice.roll(4) === 0) place = dice.roll(list.length + 1);
      notes.insert(at, dice.pick(["x", "yz"]));
      list.insert(place, [`${String(client)} ${String(i)}`]);
      if (dice.roll(6) === 0) notes.delete(at, 1);
    }
  });
}

test("every order of arrival gives what stock Yjs gives, however many prepend in one place", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const dice = new Dice(seed);
    const base = new RichDocument();
    const begin = edit(base, 50, (roots) => {
      roots.text("notes").insert(0, "ab");
      roots.list("items").insert(0, [1, 2]);
    });
    const updates: Sent[][] = [];
    for (const client of [20, 70, 30, 90]) {
      const own = new RichDocument();
      receive(own, begin);
      const chain: Sent[] = [];
      for (let i = 0; i < 3; i++) {
        const made = insertMany(own, client, dice);
        if (made === undefined) continue;
        chain.push(made);
        own.apply(made);
      }
      updates.push(chain);
    }
    const [doc, stock] = [new RichDocument(), new Y.Doc()];
    const root = stock.getText("text:notes");
    const list = stock.getArray("list:items");
    const rest = [[begin], ...updates].map((chain) => [...chain]);
    while (rest.some((chain) => chain.length > 0)) {
      const [started] = rest;
      const chain =
        started?.length === 1
          ? started
          : dice.pick(rest.slice(1).filter(({ length }) => length > 0));
      const next = chain.shift();
      if (next === undefined) break;
      receive(doc, next);
      Y.applyUpdate(stock, next.bytes);
      const contents = new Map(doc.content().map((content) => [content.root, content.value]));
      expect(contents.get("notes")).toEqual(root.toDelta());
      expect(contents.get("items")).toEqual(list.toJSON());
    }
  }
});
