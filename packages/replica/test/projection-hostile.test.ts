// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what no editor makes is refused and changes nothing, and a client that tells two nodes different things leaves them alike.
 * Method: stock Yjs documents that do what they should not, and damaged updates, on real replicas over memory stores.
 */
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import { createMemoryStore, createSeededRandom } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import * as Y from "yjs";
import { Browser } from "./browser.ts";
import { DOC, applied, open, stateOf, writer } from "./mesh.ts";
import { connected, exchange, factsOf, node, notesOf, space } from "./projection-kit.ts";

describe("a client that lies", () => {
  test("and tells two nodes different histories has none on either, before and after a restart", async () => {
    let store = createMemoryStore();
    const one = await node({ store });
    const two = await node({ device: writer });
    const sent = [applied(one.replica, "local"), applied(two.replica, "local")];
    const honest = await connected(one.projections, "bob");
    honest.text.insert(0, "honest");
    await exchange(honest);
    for (const bytes of sent[0] ?? []) await two.replica.receive(bytes);
    const liars = [new Browser("eve", 666), new Browser("eve", 666)];
    await liars[0]?.connect(one.projections);
    await liars[1]?.connect(two.projections);
    await exchange(...liars);
    liars[0]?.text.insert(0, "one");
    liars[1]?.text.insert(6, "two");
    await exchange(...liars);
    expect(notesOf(one.replica)).toEqual([{ insert: "onehonest" }]);
    expect(notesOf(two.replica)).toEqual([{ insert: "honesttwo" }]);
    for (const bytes of sent[0]?.slice(1) ?? []) await two.replica.receive(bytes);
    for (const bytes of sent[1] ?? []) await one.replica.receive(bytes);
    for (const { replica } of [one, two]) {
      // What is rebuilt has been once another write has come through.
      await replica.addRecords({});
      expect(notesOf(replica)).toEqual([{ insert: "honest" }]);
    }
    expect(toHex(two.replica.frontierDigest())).toBe(toHex(one.replica.frontierDigest()));
    expect(two.replica.snapshot().leaves).toEqual(one.replica.snapshot().leaves);
    const fresh = await connected(one.projections, "fresh");
    expect(fresh.text.toJSON()).toBe("honest");
    liars[0]?.text.insert(0, "more");
    await exchange(...liars);
    expect(liars[0]?.errors.at(-1)?.code).toBe("WRITE_BEHIND");
    await liars[0]?.connect(one.projections);
    await exchange(...liars);
    expect(liars[0]?.errors.at(-1)?.code).toBe("POLICY_REFUSED");
    expect(notesOf(one.replica)).toEqual([{ insert: "honest" }]);
    await one.replica.close();
    store = await store.reopen();
    const again = await open({ space, store, random: createSeededRandom(78) });
    expect(again.snapshot().leaves).toEqual(two.replica.snapshot().leaves);
  });

  const wrong: readonly (readonly [what: string, make: (doc: Y.Doc) => void])[] = [
    ["a root of no kind", (doc) => doc.getText("notes").insert(0, "x")],
    ["a root that poisons", (doc) => doc.getMap("__proto__").set("x", 1)],
    ["XML", (doc) => doc.getXmlFragment("list:x").insert(0, [new Y.XmlElement("p")])],
    ["a subdocument", (doc) => doc.getMap("map:x").set("x", new Y.Doc())],
    ["bytes", (doc) => doc.getMap("map:x").set("x", new Uint8Array(3))],
    ["a key that poisons", (doc) => doc.getMap("map:x").set("__proto__", 1)],
    ["undefined as a value", (doc) => doc.getMap("map:x").set("x", undefined)],
    ["text in a list", (doc) => doc.getText("list:x").insert(0, "x")],
    ["a fact whose value is shared", (doc) => doc.getMap("facts").set("x", new Y.Map())],
    ["a fact of bytes", (doc) => doc.getMap("facts").set("x", new Uint8Array(3))],
    ["a fact without a value", (doc) => doc.getMap("facts").set("x", undefined)],
    ["a fact under a key that poisons", (doc) => doc.getMap("facts").set("__proto__", 1)],
    ["a fact under no key", (doc) => doc.getMap("facts").set("", 1)],
    [
      "a fact that is too large",
      (doc) => doc.getMap("facts").set("x", "y".repeat(LIMITS.valueBytes)),
    ],
    ["facts as a list", (doc) => doc.getArray("facts").insert(0, [1])],
    ["client 0", (doc) => ((doc.clientID = 0), doc.getText("text:x").insert(0, "x"))],
    [
      "a device's client",
      (doc) => ((doc.clientID = 2 ** 40), doc.getText("text:x").insert(0, "x")),
    ],
    [
      "a good root beside a bad one",
      (doc) => {
        doc.getText("text:notes").insert(0, "good");
        doc.getMap("facts").set("temp", 1);
        doc.getText("bad").insert(0, "x");
      },
    ],
    [
      "values nested too deep",
      (doc) => {
        let value: unknown = 1;
        for (let i = 0; i < 100; i++) value = [value];
        doc.getArray("list:x").insert(0, [value]);
      },
    ],
  ];
  test.each(wrong)("is refused %s, and nothing of it happens", async (_, make) => {
    const { replica, projections } = await node();
    const ann = await connected(projections, "ann");
    ann.text.insert(0, "before");
    await exchange(ann);
    const before = stateOf(replica);
    const shown = await projections.open(DOC);
    const vector = toHex(shown.stateVector());
    const doc = new Y.Doc();
    make(doc);
    const written = shown.write(Y.encodeStateAsUpdate(doc), { source: { model: "eve" } });
    await expect(written).rejects.toBeInstanceOf(MeshError);
    expect(stateOf(replica)).toEqual(before);
    expect(toHex(shown.stateVector())).toBe(vector);
    ann.text.insert(0, "and after ");
    await exchange(ann);
    expect(notesOf(replica)).toEqual([{ insert: "and after before" }]);
  });

  test("is refused garbage of every kind", async () => {
    const { replica, projections } = await node();
    const ann = await connected(projections, "ann");
    ann.text.insert(0, "good");
    ann.facts.set("temp", 1);
    await exchange(ann);
    const shown = await projections.open(DOC);
    const good = Y.encodeStateAsUpdate(ann.doc);
    const dice = createSeededRandom(9);
    const codes: string[] = [];
    for (let i = 0; i < 400; i++) {
      const [at = 0, bit = 0, cut = 0] = dice.bytes(3);
      const bytes = good.slice(0, i % 3 === 0 ? cut % good.length : good.length);
      if (i % 3 > 0) bytes[at % bytes.length] = bit;
      const written = shown.write(bytes, { source: { model: "eve" } });
      codes.push(
        await written.then(
          () => "taken",
          (error: unknown) => (error instanceof MeshError ? error.code : String(error)),
        ),
      );
    }
    const known = new Set(["taken", "FORMAT_INVALID", "INPUT_INVALID"]);
    for (const code of ["LIMIT_EXCEEDED", "WRITE_BEHIND", "POLICY_REFUSED"]) known.add(code);
    expect(codes.filter((code) => !known.has(code))).toEqual([]);
    expect(replica.failure).toBeUndefined();
    // Whatever was taken is what the replica has, and what pages show.
    const fresh = await connected(projections, "fresh");
    const notes = notesOf(replica) as readonly { readonly insert: string }[] | undefined;
    expect(fresh.text.toJSON()).toBe((notes ?? []).map(({ insert }) => insert).join(""));
    expect(fresh.facts.toJSON()).toEqual(factsOf(replica));
  });
});
