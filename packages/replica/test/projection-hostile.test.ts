// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what no editor makes is refused and changes nothing, and a client that tells two nodes different things leaves them alike.
 * Method: stock Yjs documents that do what they should not, and damaged updates, on real replicas over memory stores.
 */
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import { issueGrant } from "@ctxmesh/membership";
import type { Projections } from "@ctxmesh/model";
import { createMemoryStore, createSeededRandom } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import * as Y from "yjs";
import { Browser } from "./browser.ts";
import { DAY_MS, DOC, START_MS, applied, creator, open, reader, stateOf, writer } from "./mesh.ts";
import {
  connected,
  exchange,
  factsOf,
  node,
  notesOf,
  projectionsOf,
  space,
} from "./projection-kit.ts";

const content = (doc: Y.Doc): void => doc.getText("text:notes").insert(0, "eve");
const fact = (doc: Y.Doc): unknown => doc.getMap("facts").set("temp", 1);

/** Clients with a deleted fact each, behind that of the next one: only one of them can be told apart at a time. */
const chainOf = (length: number): Uint8Array => {
  const encoder = new Y.UpdateEncoderV1();
  encoder.writeLen(length);
  for (let client = length; client > 0; client--) {
    encoder.writeLen(1);
    encoder.writeClient(client);
    encoder.writeLen(0);
    encoder.writeInfo(client === 1 ? 0x21 : 0x81);
    if (client === 1) {
      encoder.writeParentInfo(true);
      encoder.writeString("facts");
      encoder.writeString("temp");
    } else encoder.writeLeftID(Y.createID(client - 1, 0));
    encoder.writeLen(1);
  }
  encoder.writeLen(0);
  return encoder.toUint8Array();
};

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

  test("can't go on as somebody else's page, whose id it sees, neither with content nor with facts", async () => {
    let store = createMemoryStore();
    const options = { space, store, random: createSeededRandom(77) };
    const first = await node(options);
    let { replica } = first;
    const ann = await connected(first.projections, "ann");
    ann.text.insert(0, "ann");
    await exchange(ann);
    const forge = async (projections: Projections, make: (doc: Y.Doc) => void): Promise<void> => {
      const shown = await projections.open(DOC);
      const doc = new Y.Doc();
      Y.applyUpdate(doc, shown.diff());
      const before = Y.encodeStateVector(doc);
      doc.clientID = ann.doc.clientID;
      make(doc);
      const forged = Y.encodeStateAsUpdate(doc, before);
      const written = shown.write(forged, { source: { model: "eve" } });
      await expect(written).rejects.toMatchObject({ code: "WRITE_BEHIND" });
      shown.close();
    };
    await forge(first.projections, content);
    await forge(first.projections, fact);
    expect(notesOf(replica)).toEqual([{ insert: "ann" }]);
    expect(factsOf(replica)).toEqual({});
    ann.facts.set("temp", 2);
    ann.text.insert(3, " again");
    await exchange(ann);
    expect(ann.errors).toEqual([]);
    await replica.checkpoint();
    await replica.close();
    store = await store.reopen();
    replica = await open({ ...options, store });
    const second = projectionsOf(replica, 5);
    await forge(second, content);
    expect(notesOf(replica)).toEqual([{ insert: "ann again" }]);
  });

  test("can't go on as a page that has set facts and nothing else", async () => {
    const { replica, projections } = await node();
    const ann = await connected(projections, "ann");
    ann.facts.set("temp", 1);
    await exchange(ann);
    const eve = new Y.Doc();
    Y.applyUpdate(eve, Y.encodeStateAsUpdate(ann.doc));
    eve.clientID = ann.doc.clientID;
    eve.getText("text:notes").insert(0, "eve");
    const shown = await projections.open(DOC);
    const written = shown.write(Y.encodeStateAsUpdate(eve), { source: { model: "eve" } });
    await expect(written).rejects.toMatchObject({ code: "WRITE_BEHIND" });
    ann.text.insert(0, "ann");
    await exchange(ann);
    expect(notesOf(replica)).toEqual([{ insert: "ann" }]);
  });

  test("can't begin as a page that is there and has written nothing yet", async () => {
    const { replica, projections } = await node();
    const ann = await connected(projections, "ann");
    const eve = new Y.Doc();
    eve.clientID = ann.doc.clientID;
    eve.getText("text:notes").insert(0, "eve");
    const shown = await projections.open(DOC);
    const written = shown.write(Y.encodeStateAsUpdate(eve), {
      source: { model: "eve" },
      whose: (client) => (client === ann.doc.clientID ? "others" : undefined),
    });
    await expect(written).rejects.toMatchObject({ code: "WRITE_BEHIND" });
    ann.text.insert(0, "ann");
    await exchange(ann);
    expect(notesOf(replica)).toEqual([{ insert: "ann" }]);
  });

  test("can't fork somebody else's page at another node that has heard of it", async () => {
    const one = await node();
    const two = await node({ device: writer });
    const sent = [applied(one.replica, "local"), applied(two.replica, "local")];
    const ann = await connected(one.projections, "ann");
    ann.text.insert(0, "ann");
    await exchange(ann);
    for (const bytes of sent[0]?.splice(0) ?? []) await two.replica.receive(bytes);
    const eve = await connected(two.projections, "eve");
    eve.doc.clientID = ann.doc.clientID;
    eve.text.insert(0, "eve");
    await exchange(eve);
    ann.text.insert(3, " again");
    await exchange(ann);
    for (const bytes of sent[0] ?? []) await two.replica.receive(bytes);
    for (const bytes of sent[1] ?? []) await one.replica.receive(bytes);
    for (const { replica } of [one, two]) {
      await replica.addRecords({});
      expect(notesOf(replica)).toEqual([{ insert: "ann again" }]);
    }
    expect(eve.errors.at(-1)?.code).toBe("WRITE_BEHIND");
  });

  test("and hands over others' content to a node that has not heard of it owns none of that", async () => {
    const one = await node();
    const two = await node({ device: writer });
    const ann = await connected(one.projections, "ann");
    const bob = await connected(one.projections, "bob");
    ann.text.insert(0, "ann");
    await exchange(ann, bob);
    bob.text.insert(3, " bob");
    bob.disconnect();
    await bob.connect(two.projections);
    await exchange(bob);
    expect(notesOf(two.replica)).toEqual([{ insert: "ann bob" }]);
    ann.disconnect();
    ann.text.insert(0, "more ");
    await ann.connect(two.projections);
    await exchange(ann, bob);
    expect(ann.errors).toEqual([]);
    expect(notesOf(two.replica)).toEqual([{ insert: "more ann bob" }]);
    bob.doc.clientID = ann.doc.clientID;
    bob.text.insert(0, "not ann ");
    await exchange(bob);
    expect(bob.errors.at(-1)?.code).toBe("WRITE_BEHIND");
    expect(notesOf(two.replica)).toEqual([{ insert: "more ann bob" }]);
  });

  test.each(["append", "write", "manage"] as const)(
    "is carried by hubs alone, not by another device with the role %s",
    async (role) => {
      const members = issueGrant(space, creator.signer, {
        device: reader.key,
        service: "agent",
        role,
        notBefore: START_MS - DAY_MS,
      });
      const agent = await node({ device: reader, space: members });
      const eve = await connected(agent.projections, "eve");
      eve.text.insert(0, "eve");
      await exchange(eve);
      expect(eve.errors.at(-1)?.code).toBe("POLICY_REFUSED");
      expect(agent.replica.content(DOC)).toEqual([]);
      // One that does not ask itself: in its own view it is a hub.
      const lying = issueGrant(members, creator.signer, {
        device: reader.key,
        service: "hub",
        role: "write",
        notBefore: START_MS - DAY_MS,
      });
      const liar = await node({ device: reader, space: lying });
      const sent = applied(liar.replica, "local");
      const mallory = await connected(liar.projections, "mallory");
      mallory.text.insert(0, "mallory");
      await exchange(mallory);
      const hub = await node({ space: members });
      const outcomes = await Promise.all(sent.map(async (bytes) => hub.replica.receive(bytes)));
      expect(outcomes).toMatchObject([{ kind: "refused", reason: "grant" }]);
      expect(hub.replica.content(DOC)).toEqual([]);
    },
  );

  test("and is more clients than one subject may be is refused, in one update or over many", async () => {
    const { replica, projections } = await node();
    const shown = await projections.open(DOC);
    const most = LIMITS.clientsPerSubject;
    const from = { source: { model: "eve" } };
    const many = shown.write(chainOf(most + 1), from);
    await expect(many).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    const pages = Array.from({ length: most + 1 }, (_, i) => {
      const doc = new Y.Doc();
      doc.clientID = 10_000 + i;
      doc.getMap("facts").set("temp", 1);
      doc.getMap("facts").delete("temp");
      return Y.encodeStateAsUpdate(doc);
    });
    for (const page of pages.slice(0, most)) await shown.write(page, from);
    const last = shown.write(pages.at(-1) ?? new Uint8Array(), from);
    await expect(last).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    const ann = await connected(projections, "ann");
    ann.text.insert(0, "ann");
    await exchange(ann);
    expect(notesOf(replica)).toEqual([{ insert: "ann" }]);
  });

  test("of how long others' overlays are, and what they show, makes nothing long here", async () => {
    const { projections } = await node();
    const shown = await projections.open(DOC);
    const encoder = new Y.UpdateEncoderV1();
    encoder.writeLen(1);
    encoder.writeLen(1);
    encoder.writeClient(2 ** 52 + 77);
    encoder.writeLen(0);
    encoder.writeInfo(0x21);
    encoder.writeParentInfo(true);
    encoder.writeString("facts");
    encoder.writeString("temp");
    encoder.writeLen(2 ** 50);
    encoder.writeLen(0);
    expect(shown.holds(encoder.toUint8Array())).toBe(true);
    for (let round = 0; round < 5; round++) {
      const doc = new Y.Doc();
      doc.clientID = 2 ** 52 + round;
      doc.transact(() => {
        for (let i = 0; i < 4_096; i++) doc.getMap("facts").set(`${String(round)} ${String(i)}`, 1);
      });
      expect(shown.holds(Y.encodeStateAsUpdate(doc))).toBe(true);
    }
    const [entries = 0] = Y.decodeStateVector(shown.stateVector()).values();
    expect(entries).toBeLessThan(16_384);
  });

  const wrong: readonly (readonly [what: string, make: (doc: Y.Doc) => void])[] = [
    ["a root of no kind", (doc) => doc.getText("notes").insert(0, "x")],
    ["a root that poisons", (doc) => doc.getMap("__proto__").set("x", 1)],
    ["XML in a list", (doc) => doc.getXmlFragment("list:x").insert(0, [new Y.XmlElement("p")])],
    ["an XML hook", (doc) => doc.getXmlFragment("xml:x").insert(0, [new Y.XmlHook("h") as never])],
    [
      "an XML root that is an element",
      (doc) => doc.get("xml:x", Y.XmlElement).setAttribute("a", "x"),
    ],
    ["an XML root that is a text", (doc) => doc.get("xml:x", Y.XmlText).insert(0, "x")],
    [
      "an element whose name poisons",
      (doc) => doc.getXmlFragment("xml:x").insert(0, [new Y.XmlElement("__proto__")]),
    ],
    [
      "an element with a huge name",
      (doc) => doc.getXmlFragment("xml:x").insert(0, [new Y.XmlElement("p".repeat(100_000))]),
    ],
    [
      "an attribute that poisons",
      (doc) => {
        const element = new Y.XmlElement("p");
        element.setAttribute("__proto__", "x");
        doc.getXmlFragment("xml:x").insert(0, [element]);
      },
    ],
    [
      "elements nested too deep",
      (doc) => {
        let element = new Y.XmlElement("p");
        for (let i = 0; i < 40; i++) {
          const outer = new Y.XmlElement("p");
          outer.insert(0, [element]);
          element = outer;
        }
        doc.getXmlFragment("xml:x").insert(0, [element]);
      },
    ],
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
