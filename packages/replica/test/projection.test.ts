// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a projection shows what its replica has, and what a stock Yjs client writes into it is what the replica has then.
 * Method: stock Yjs documents on real replicas over memory stores.
 */
import { decodeBatch } from "@ctxmesh/codec";
import { LIMITS, MeshError, parseDocumentName } from "@ctxmesh/model";
import { createProjections } from "@ctxmesh/replica";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import * as Y from "yjs";
import { Browser } from "./browser.ts";
import { DOC, START_MS, applied, open, writer } from "./mesh.ts";
import {
  connected,
  exchange,
  factsOf,
  node,
  notesOf,
  projectionsOf,
  space,
} from "./projection-kit.ts";

describe("facts", () => {
  test("are what is visible, and what a page sets is said by its device for the page's subject", async () => {
    const { replica, projections } = await node();
    await replica.put(DOC, [{ key: "temp", value: 20 }]);
    const ann = await connected(projections, "ann");
    const bob = await connected(projections, "bob");
    expect(ann.facts.toJSON()).toEqual({ temp: 20 });
    ann.facts.set("temp", 21);
    ann.facts.set("state", { on: [true, null] });
    await exchange(ann, bob);
    expect(factsOf(replica)).toEqual({ temp: 21, state: { on: [true, null] } });
    expect(replica.get(DOC, "temp")?.source).toEqual({ model: "ann" });
    expect(bob.facts.toJSON()).toEqual(factsOf(replica));
    bob.facts.delete("temp");
    await exchange(bob, ann);
    expect(factsOf(replica)).toEqual({ state: { on: [true, null] } });
    expect(ann.facts.toJSON()).toEqual(factsOf(replica));
  });

  test("stay shown to the page that sets them to what they are, or wins nothing with it", async () => {
    const { replica, projections } = await node();
    const other = await open({ device: writer, space });
    const sent = applied(other, "local");
    await replica.put(DOC, [{ key: "temp", value: 20 }]);
    const ann = await connected(projections, "ann");
    ann.facts.set("temp", 20);
    await exchange(ann);
    expect(ann.facts.get("temp")).toBe(20);
    await other.put(DOC, [{ key: "temp", value: 30, confidence: 1 }]);
    for (const bytes of sent) await replica.receive(bytes);
    ann.facts.set("temp", 22);
    await exchange(ann);
    expect(ann.facts.toJSON()).toEqual(factsOf(replica));
  });

  test("of a page add no rich content, and no Yjs client to what devices keep", async () => {
    const { replica, projections } = await node();
    const sent = applied(replica, "local");
    const ann = await connected(projections, "ann");
    for (let i = 0; i < 10; i++) {
      ann.facts.set("temp", i);
      await exchange(ann);
    }
    expect(replica.richState(DOC)).toBeUndefined();
    expect(sent.map((bytes) => decodeBatch(bytes).header.sections.map(({ kind }) => kind))).toEqual(
      Array.from({ length: 10 }, () => ["facts"]),
    );
  });

  test("are shown anew by the next life of a node, also where the page had an older value", async () => {
    let store = createMemoryStore();
    const first = await node({ store });
    const ann = await connected(first.projections, "ann");
    ann.facts.set("temp", 1);
    ann.facts.set("gone", 1);
    await exchange(ann);
    ann.disconnect();
    await first.replica.put(DOC, [{ key: "temp", value: 2 }]);
    await first.replica.delete(DOC, ["gone"]);
    await first.replica.close();
    store = await store.reopen();
    const replica = await open({ space, store, random: createSeededRandom(77) });
    await ann.connect(
      createProjections(replica, {
        clock: createVirtualClock(START_MS + 1_000),
        random: createSeededRandom(2),
        logger: silentLogger,
      }),
    );
    await exchange(ann);
    expect(ann.facts.toJSON()).toEqual({ temp: 2 });
    expect(factsOf(replica)).toEqual({ temp: 2 });
  });

  test("follow a page to a node whose mirror is older than the one that the page saw", async () => {
    const old = await node();
    const newer = await open({ device: writer, space });
    const sent = [applied(old.replica, "local"), applied(newer, "local")];
    await old.replica.put(DOC, [{ key: "temp", value: 1 }]);
    const reader = await old.projections.open(DOC);
    const late = createProjections(newer, {
      clock: createVirtualClock(START_MS + 5_000),
      random: createSeededRandom(3),
      logger: silentLogger,
    });
    for (const bytes of sent[0] ?? []) await newer.receive(bytes);
    const ann = await connected(late, "ann");
    ann.disconnect();
    await old.replica.put(DOC, [{ key: "temp", value: 2 }]);
    await ann.connect(old.projections);
    await exchange(ann);
    expect(ann.facts.toJSON()).toEqual({ temp: 2 });
    reader.close();
  });
});

describe("rich content", () => {
  test("of pages and devices is one, and shows in all", async () => {
    const { replica, projections } = await node();
    await replica.edit(DOC, (roots) => {
      roots.text("notes").insert(0, "native ");
    });
    const ann = await connected(projections, "ann");
    const bob = await connected(projections, "bob");
    ann.text.insert(0, "ann ");
    bob.text.insert(bob.text.length, "bob");
    await exchange(ann, bob);
    await replica.edit(DOC, (roots) => {
      roots.text("notes").insert(4, "and ");
    });
    await exchange(ann, bob);
    expect(notesOf(replica)).toEqual([{ insert: "ann and native bob" }]);
    expect(ann.text.toJSON()).toBe("ann and native bob");
    expect(bob.text.toJSON()).toBe("ann and native bob");
  });

  test("is signed as what somebody else's client made, and says so", async () => {
    const { replica, projections } = await node();
    const sent = applied(replica, "local");
    const ann = await connected(projections, "ann");
    ann.text.insert(0, "abc");
    await exchange(ann);
    const [section] = decodeBatch(sent[0] ?? new Uint8Array()).header.sections;
    expect(section).toMatchObject({ kind: "rich", alias: ann.doc.clientID, from: 0, to: 3 });
  });

  test("that is larger than a batch goes into several", async () => {
    const { replica, projections } = await node();
    const sent = applied(replica, "local");
    const ann = await connected(projections, "ann");
    const text = "0123456789 \u{1f600}".repeat(40_000);
    ann.text.insert(0, text);
    await exchange(ann);
    expect(ann.errors).toEqual([]);
    expect(notesOf(replica)).toEqual([{ insert: text }]);
    expect(sent.length).toBeGreaterThan(5);
  });

  test("made while others wrote, and handed over at once, is taken though no moment had its neighbours", async () => {
    const { replica, projections } = await node();
    const ann = await connected(projections, "ann");
    const bob = await connected(projections, "bob");
    ann.text.insert(0, "ac");
    await exchange(ann, bob);
    ann.text.insert(1, "x");
    bob.text.insert(1, "1");
    bob.send();
    await bob.settle();
    ann.see();
    ann.text.insert(ann.text.toJSON().indexOf("1") + 1, "y");
    ann.text.insert(ann.text.toJSON().indexOf("1"), "z");
    // All of it in one update, as after a reconnect.
    ann.disconnect();
    await ann.connect(projections);
    await exchange(ann, bob);
    expect(ann.errors).toEqual([]);
    expect(notesOf(replica)).toEqual([{ insert: ann.text.toJSON() }]);
    expect(bob.text.toJSON()).toBe(ann.text.toJSON());
  });

  test("that others made is carried by the page that has it, to a node that their node has not reached", async () => {
    const one = await node();
    const two = await node({ device: writer });
    const sent = [applied(one.replica, "local"), applied(two.replica, "local")];
    const ann = await connected(one.projections, "ann");
    const bob = await connected(one.projections, "bob");
    ann.text.insert(0, "ann ");
    await exchange(ann, bob);
    bob.text.insert(4, "bob ");
    await exchange(bob, ann);
    ann.text.insert(8, "again");
    ann.disconnect();
    await ann.connect(two.projections);
    await exchange(ann);
    expect(ann.errors).toEqual([]);
    expect(notesOf(two.replica)).toEqual([{ insert: "ann bob again" }]);
    for (const bytes of sent[0] ?? []) await two.replica.receive(bytes);
    for (const bytes of sent[1] ?? []) await one.replica.receive(bytes);
    expect(notesOf(two.replica)).toEqual([{ insert: "ann bob again" }]);
    expect(one.replica.snapshot().leaves).toEqual(two.replica.snapshot().leaves);
    bob.see();
    expect(bob.text.toJSON()).toBe("ann bob again");
  });
});

test("of facts and content in one update no part is lost where a node dies between the two", async () => {
  const one = await node();
  const sent = applied(one.replica, "local");
  const made = new Y.Doc();
  made.getMap("facts").set("temp", 1);
  made.getText("text:notes").insert(0, "ann");
  const update = Y.encodeStateAsUpdate(made);
  const shown = await one.projections.open(DOC);
  await shown.write(update, { source: { model: "ann" } });
  expect(sent.length).toBe(2);
  for (let arrived = 0; arrived <= sent.length; arrived++) {
    const two = await node({ device: writer });
    for (const bytes of sent.slice(0, arrived)) await two.replica.receive(bytes);
    const ann = new Browser("ann");
    Y.applyUpdate(ann.doc, update);
    await ann.connect(two.projections);
    await exchange(ann);
    expect(ann.errors).toEqual([]);
    expect(factsOf(two.replica)).toEqual({ temp: 1 });
    expect(notesOf(two.replica)).toEqual([{ insert: "ann" }]);
  }
});

describe("who may only read", () => {
  test("sends what is shown, and no more", async () => {
    const { replica, projections } = await node();
    await replica.put(DOC, [{ key: "temp", value: 1 }]);
    const ann = await connected(projections, "ann");
    ann.text.insert(0, "abc");
    ann.facts.set("temp", 2);
    await exchange(ann);
    const shown = await projections.open(DOC);
    expect(shown.holds(Y.encodeStateAsUpdate(ann.doc))).toBe(true);
    expect(shown.holds(Y.encodeStateAsUpdate(new Y.Doc()))).toBe(true);
    for (const change of [
      (doc: Y.Doc) => doc.getText("text:notes").insert(0, "x"),
      (doc: Y.Doc) => doc.getText("text:notes").delete(0, 1),
      (doc: Y.Doc) => doc.getMap("facts").set("temp", 3),
      (doc: Y.Doc) => doc.getMap("facts").delete("temp"),
    ]) {
      const page = new Y.Doc();
      Y.applyUpdate(page, shown.diff());
      change(page);
      expect(shown.holds(Y.encodeStateAsUpdate(page))).toBe(false);
    }
    expect(() => shown.holds(Uint8Array.of(1, 2, 3))).toThrow(MeshError);
    // What the page had from a node that was ahead says nothing of its own.
    const later = await open({ space, device: writer });
    const page = await connected(projectionsOf(later, 4), "page");
    await later.put(DOC, [{ key: "other", value: 1 }]);
    page.see();
    expect(shown.holds(Y.encodeStateAsUpdate(page.doc))).toBe(true);
  });
});

describe("memory", () => {
  test("of documents that nobody has open is bounded, and so is the number of open ones", async () => {
    const { replica, projections } = await node();
    const size = Math.floor(LIMITS.valueBytes * 0.9);
    const count = Math.ceil(LIMITS.projectionBytes / (size * 8)) + 4;
    for (let i = 0; i < count; i++) {
      const doc = parseDocumentName(`d${String(i)}`);
      const value = "v".repeat(size);
      for (let j = 0; j < 8; j++) await replica.put(doc, [{ key: `k${String(j)}`, value }]);
      const projection = await projections.open(doc);
      projection.close();
      projection.close();
      expect(projections.usage().keptBytes).toBeLessThanOrEqual(LIMITS.projectionBytes);
    }
    const { open: users, kept } = projections.usage();
    expect(users).toBe(0);
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan(count);
  });

  test("is refused to one document more than may be open", async () => {
    const { projections } = await node();
    const opened = [];
    for (let i = 0; i < LIMITS.openProjections; i++) {
      opened.push(await projections.open(parseDocumentName(`d${String(i)}`)));
    }
    await expect(projections.open(DOC)).rejects.toThrow(String(LIMITS.openProjections));
    await projections.open(parseDocumentName("d0"));
    opened[1]?.close();
    await projections.open(DOC);
    projections.close();
    await expect(projections.open(DOC)).rejects.toThrow(MeshError);
  });
});
