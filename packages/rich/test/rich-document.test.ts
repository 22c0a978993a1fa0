// SPDX-License-Identifier: Apache-2.0
/** Goal: staging, visibility, storage and client ids keep their promises. Method: small histories by hand. */
import { RichDocument, allocateClientId } from "@ctxmesh/rich";
import type { RichRoots, RichUpdate } from "@ctxmesh/rich";
import { createSeededRandom } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { Dice, Mesh, edit, randomEdit, receive } from "./support.ts";

const say =
  (text: string) =>
  (roots: RichRoots): void => {
    const notes = roots.text("notes");
    notes.insert(notes.length, text);
  };

/** The text of the root `notes`. */
const notesOf = (doc: RichDocument): unknown =>
  doc.content().find(({ root }) => root === "notes")?.value;

describe("an edit", () => {
  test("is seen by readers only once it is applied, and by later edits at once", () => {
    const doc = new RichDocument();
    const one = doc.change(1, say("one "));
    const two = doc.change(1, say("two"));
    expect([doc.isEmpty, doc.content(), doc.bytes, doc.clockOf(1)]).toEqual([true, [], 0, 7]);
    expect([one, two]).toMatchObject([
      { client: 1, from: 0, to: 4, roots: ["text:notes"], deletesOthers: false },
      { client: 1, from: 4, to: 7 },
    ]);
    doc.apply(one as RichUpdate);
    expect(notesOf(doc)).toEqual([{ insert: "one " }]);
    doc.apply(two as RichUpdate);
    expect(notesOf(doc)).toEqual([{ insert: "one two" }]);
    expect(doc.isEmpty).toBe(false);
  });

  test("that throws leaves nothing behind, staged edits stay", () => {
    const doc = new RichDocument();
    edit(doc, 1, say("kept "));
    const staged = doc.change(1, say("staged "));
    expect(() =>
      doc.change(1, (roots) => {
        say("half")(roots);
        throw new Error("stop");
      }),
    ).toThrow("stop");
    const after = doc.change(1, say("after"));
    expect(after).toMatchObject({ from: 12, to: 17 });
    for (const update of [staged, after]) doc.apply(update as RichUpdate);
    expect(notesOf(doc)).toEqual([{ insert: "kept staged after" }]);
  });

  test("that is too large for a batch is refused and leaves nothing behind", () => {
    const doc = new RichDocument();
    expect(() => doc.change(1, say("x".repeat(300_000)))).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED" }),
    );
    expect(doc.change(1, say("small"))).toMatchObject({ from: 0, to: 5 });
  });

  test("that changes nothing makes no update", () => {
    const doc = new RichDocument();
    expect(doc.change(1, (roots) => roots.text("notes").delete(0, 0))).toBeUndefined();
    expect([doc.clients, doc.isEmpty]).toEqual([0, true]);
  });

  test("that only deletes takes no clocks", () => {
    const doc = new RichDocument();
    edit(doc, 1, say("hello"));
    const update = doc.change(2, (roots) => roots.text("notes").delete(1, 3));
    expect(update).toMatchObject({ client: 2, from: 0, to: 0, deletesOthers: true });
    doc.apply(update as RichUpdate);
    expect(notesOf(doc)).toEqual([{ insert: "ho" }]);
    expect(doc.clients).toBe(1);
  });

  test("needs a client id", () => {
    for (const client of [0, -1, 0.5, 2 ** 53]) {
      expect(() => new RichDocument().change(client, say("x"))).toThrow(
        expect.objectContaining({ code: "INPUT_INVALID", field: "client" }),
      );
    }
  });
});

/** Three updates of one client, each on top of the other. */
function chain(): [RichUpdate, RichUpdate, RichUpdate] {
  const author = new RichDocument();
  return [edit(author, 7, say("a")), edit(author, 7, say("b")), edit(author, 7, say("c"))];
}

describe("a foreign update", () => {
  test("is checked against what is staged", () => {
    const doc = new RichDocument();
    const staged = chain().map((sent) => {
      const verdict = doc.check(sent.bytes, sent);
      if (verdict.kind !== "ready") throw new Error(verdict.kind);
      doc.stage(verdict.update);
      return verdict.update;
    });
    expect(doc.content()).toEqual([]);
    for (const update of staged) doc.apply(update);
    expect(notesOf(doc)).toEqual([{ insert: "abc" }]);
  });

  test("checked and not staged changes nothing", () => {
    const doc = new RichDocument();
    const [one] = chain();
    doc.check(one.bytes, one);
    expect([doc.clockOf(7), doc.content(), doc.isEmpty]).toEqual([0, [], true]);
  });

  test("is staged once and applied in the order of staging", () => {
    const doc = new RichDocument();
    const [one, two] = chain();
    doc.stage(one);
    expect(() => doc.stage(one)).toThrow(expect.objectContaining({ code: "INTERNAL" }));
    doc.stage(two);
    expect(() => doc.apply(two)).toThrow(expect.objectContaining({ code: "INTERNAL" }));
    doc.apply(one);
    doc.apply(two);
    expect(notesOf(doc)).toEqual([{ insert: "ab" }]);
  });

  test("staged between local edits is part of what they build on", () => {
    const doc = new RichDocument();
    const [one] = chain();
    const first = doc.change(1, (roots) => roots.list("other").insert(0, [1]));
    doc.stage(one);
    const last = doc.change(1, say("!"));
    for (const update of [first, one, last]) doc.apply(update as RichUpdate);
    expect(notesOf(doc)).toEqual([{ insert: "a!" }]);
  });
});

/** Somebody's edit of what a document has, staged there. */
function stageOther(doc: RichDocument, client: number, text: string): RichUpdate {
  const made = RichDocument.fromState(doc.encodeState()).change(client, say(text));
  const verdict = made && doc.check(made.bytes, made);
  if (verdict?.kind !== "ready") throw new Error("not ready");
  doc.stage(verdict.update);
  return verdict.update;
}

test("readers see what is applied and no more, whenever they look, and however much came before", () => {
  const doc = new RichDocument();
  const texts: string[] = [];
  const look: unknown[] = [];
  const expected: unknown[] = [];
  for (let i = 0; i < 60; i++) {
    const text = `${String(i)}${"x".repeat(4_000)} `;
    const staged = i % 3 === 0 ? doc.change(1, say(text)) : stageOther(doc, 100 + i, text);
    if (i % 4 === 0) {
      look.push(notesOf(doc));
      expected.push(i === 0 ? undefined : runOf(texts));
    }
    doc.apply(staged as RichUpdate);
    texts.push(text);
    expect(notesOf(doc)).toEqual(runOf(texts));
  }
  expect(look).toEqual(expected);
  expect(doc.bytes).toBeGreaterThan(240_000);
});

const runOf = (texts: readonly string[]): unknown => [{ insert: texts.join("") }];

test("looking for a place in the middle of a character changes nothing for readers", () => {
  const doc = new RichDocument();
  edit(doc, 1, say("a\u{1f600}b"));
  doc.change(1, (roots) => roots.text("notes").delete(2, 0));
  doc.change(1, (roots) => roots.text("notes").format(2, 0, { bold: true }));
  expect(notesOf(doc)).toEqual([{ insert: "a\u{1f600}b" }]);
});

describe("stored state", () => {
  test("brings back content, clocks and verdicts", () => {
    for (let seed = 1; seed <= 30; seed++) {
      const dice = new Dice(seed);
      const mesh = new Mesh(3);
      for (let i = 0; i < 60; i++) {
        mesh.write(dice.roll(3), dice);
        mesh.deliver(dice.roll(3), dice.roll(3));
      }
      const [doc] = mesh.docs;
      if (doc === undefined) throw new Error("no replica");
      const state = doc.encodeState();
      const back = RichDocument.fromState(state);
      expect(back.content()).toEqual(doc.content());
      expect([back.bytes, doc.bytes]).toEqual([state.length, state.length]);
      const next = edit(doc, 5, (roots) => {
        roots.text("end").insert(0, "x");
        randomEdit(dice, roots);
      });
      receive(back, next);
      expect(back.content()).toEqual(doc.content());
      expect(back.encodeState()).toEqual(doc.encodeState());
    }
  });

  test("that is damaged is reported as such", () => {
    expect(() => RichDocument.fromState(Uint8Array.of(1, 1, 1))).toThrow(
      expect.objectContaining({ code: "STORE_CORRUPT" }),
    );
  });

  test("of an empty document is an empty document", () => {
    const doc = RichDocument.fromState(new RichDocument().encodeState());
    expect([doc.isEmpty, doc.content(), doc.clients]).toEqual([true, [], 0]);
  });
});

test("a document that is restarted 2,000 times without rich writes gains no client id", () => {
  const random = createSeededRandom(1);
  let doc = new RichDocument();
  edit(doc, allocateClientId(random), say("hello"));
  const before = doc.encodeState();
  for (let life = 0; life < 2_000; life++) {
    doc = RichDocument.fromState(doc.encodeState());
    doc.change(allocateClientId(random), (roots) => roots.text("notes").runs());
    doc.content();
  }
  expect(doc.encodeState()).toEqual(before);
  expect(doc.clients).toBe(1);
});
