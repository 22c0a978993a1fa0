// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a stock provider reads and changes documents at any hub, and nothing of it is lost, doubled or forged.
 * Method: real hubs and providers; LevelDB and WebSockets, and where there are two hubs the model of an engine between them.
 */
import { parseBundle } from "@ctxmesh/ledger";
import type { DocumentName } from "@ctxmesh/model";
import { expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import * as Y from "yjs";
import { connect, eachTest, mesh, startAgent } from "./shared-kit.ts";
import {
  baseOf,
  eachYjsTest,
  edit,
  engine,
  factsOf,
  inSync,
  ROOM,
  startYjsHub,
  textOf,
  tokenFor,
  until,
  yjsUrl,
} from "./yjs-kit.ts";

eachTest();
eachYjsTest();
const DOC = ROOM as DocumentName;

test("what providers write, the hub and its agents have as facts of their subjects, and the other way round", async () => {
  const hub = await startYjsHub(0);
  const agent = await startAgent(0, hub);
  const [alice, bob] = [await edit(hub, "alice"), await edit(hub, "bob")];
  await inSync(alice, bob);
  alice.doc.getMap("facts").set("temperature", 71.5);
  await until("the fact at the agent", () => agent.service.get(DOC, "temperature")?.value === 71.5);
  expect(agent.service.get(DOC, "temperature")?.source).toEqual({
    model: "alice",
    instance: "yjs",
  });
  await until("the fact at bob", () => bob.doc.getMap("facts").get("temperature") === 71.5);
  await agent.service.put(DOC, [{ key: "pressure", value: { bar: 3 } }]);
  await until("the agent's fact", () => alice.doc.getMap("facts").has("pressure"));
  expect(factsOf(alice)).toEqual({ temperature: 71.5, pressure: { bar: 3 } });
  alice.doc.getText("text:note").insert(0, "hello");
  await until("the text", () => textOf(bob) === "hello");
});

test("nobody goes on as the page of somebody else, whose id everybody sees", async () => {
  const hub = await startYjsHub(0);
  const [alice, eve] = [await edit(hub, "alice"), await edit(hub, "eve")];
  await inSync(alice, eve);
  alice.provider.awareness.setLocalState({ cursor: 1 });
  await until("alice's id", () => eve.provider.awareness.getStates().has(alice.doc.clientID));
  const ends = vi.fn<() => void>();
  eve.provider.on("connection-close", ends);
  const forged = new Y.Doc();
  forged.clientID = alice.doc.clientID;
  forged.getText("text:note").insert(0, "forged");
  Y.applyUpdate(eve.doc, Y.encodeStateAsUpdate(forged));
  await until("the end of eve's connection", () => ends.mock.calls.length > 0);
  eve.provider.disconnect();
  alice.doc.getText("text:note").insert(0, "hello");
  const bob = await edit(hub, "bob");
  await until("what alice wrote", () => textOf(bob) === "hello");
  expect(alice.closed).toEqual([]);
});

test("providers at two hubs edit one document", async () => {
  const [one, two] = [
    await startYjsHub(0, { engine: engine() }),
    await startYjsHub(1, { engine: engine() }),
  ];
  const [alice, bob] = [await edit(one, "alice"), await edit(two, "bob")];
  await inSync(alice, bob);
  alice.doc.getText("text:note").insert(0, "from one");
  await until("the text", () => textOf(bob) === "from one");
  bob.doc.getText("text:note").insert(8, " and two");
  bob.doc.getMap("facts").set("state", "auto");
  await until("the way back", () => textOf(alice) === "from one and two");
  await until("the fact", () => alice.doc.getMap("facts").get("state") === "auto");
  expect([...alice.closed, ...bob.closed]).toEqual([]);
});

test("an editor whose hub is gone edits on, and another hub gets it all, once", async () => {
  const [one, two] = [
    await startYjsHub(0, { engine: engine() }),
    await startYjsHub(1, { engine: engine() }),
  ];
  const alice = await edit(one, "alice");
  await inSync(alice);
  alice.doc.getText("text:note").insert(0, "before ");
  const { doc } = alice;
  await one.stop();
  doc.getText("text:note").insert(7, "offline ");
  doc.getMap("facts").set("count", 1);
  alice.provider.destroy();
  const moved = await edit(two, "alice", { doc });
  const bob = await edit(two, "bob");
  await until("all of it", () => textOf(bob) === "before offline ");
  await until("the fact", () => two.service.get(DOC, "count")?.value === 1);
  doc.getText("text:note").insert(15, "after");
  await until("the rest", () => textOf(bob) === "before offline after");
  expect(textOf(moved)).toBe(textOf(bob));
});

/** An update as a provider sends it. */
const updateMessage = (update: Uint8Array): Uint8Array =>
  Uint8Array.of(0, 2, update.length, ...update);

test("three editors at two hubs type and delete at random: they, a newcomer and what the hub seals are one", async () => {
  const [one, two] = [
    await startYjsHub(0, { engine: engine() }),
    await startYjsHub(1, { engine: engine() }),
  ];
  const editors = [await edit(one, "alice"), await edit(two, "bob"), await edit(one, "carol")];
  await inSync(...editors);
  let seed = 11;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % below;
  };
  let heard = 0;
  for (const { doc, provider } of editors) {
    doc.on("update", (_update: Uint8Array, origin: unknown) => {
      if (origin === provider) heard++;
    });
  }
  for (let step = 0; step < 300; step++) {
    const text = editors[random(3)]?.doc.getText("text:note");
    if (text === undefined) continue;
    if (text.length > 20 && random(3) === 0) text.delete(random(text.length - 4), 1 + random(4));
    else text.insert(random(text.length + 1), "abcdefgh".slice(random(8)));
    if (step % 20 > 0) continue;
    const before = heard;
    await until("word of another editor", () => heard > before);
  }
  await until("one text", () => new Set(editors.map(textOf)).size === 1);
  const [first] = editors;
  const text = textOf(first ?? { doc: new Y.Doc() });
  expect(text.length).toBeGreaterThan(20);
  const late = await edit(two, "dave", { access: "read" });
  await until("the newcomer", () => textOf(late) === text);
  const hubs = [one, two];
  await until("the hubs to agree", async () => {
    const states = await Promise.all(hubs.map(async (hub) => hub.service.status({ digest: true })));
    return states[0]?.digest === states[1]?.digest;
  });
  await one.sealing.seal();
  expect(JSON.stringify(parseBundle(await one.sealing.bundle(1)))).toContain(text);
  expect(editors.flatMap(({ closed }) => closed)).toEqual([]);
});

test("after a restart of the hub the providers go on where they were, and so do those that come new", async () => {
  const hub = await startYjsHub(0);
  const port = Number(baseOf(hub).port);
  const alice = await edit(hub, "alice");
  await inSync(alice);
  alice.doc.getText("text:note").insert(0, "one ");
  alice.doc.getMap("facts").set("n", 1);
  await until("the fact", () => hub.service.get(DOC, "n")?.value === 1);
  await hub.stop();
  alice.doc.getText("text:note").insert(4, "two ");
  const again = await startYjsHub(0, { port });
  alice.doc.getText("text:note").insert(8, "three");
  const bob = await edit(again, "bob");
  await until("the text", () => textOf(bob) === "one two three");
  expect(factsOf(bob)).toEqual({ n: 1 });
  expect(alice.closed).toEqual([]);
});

test("a hub stops though its engine is away and an edit waits for it, and the editor still has the edit", async () => {
  const hub = await startYjsHub(0, { engine: connect() });
  const port = Number(baseOf(hub).port);
  const alice = await edit(hub, "alice");
  await inSync(alice);
  mesh.isAway = true;
  alice.doc.getText("text:note").insert(0, "hello");
  await until("the hub to notice", async () => {
    const { engine: report } = await hub.service.status();
    return report?.reachable === false;
  });
  await hub.stop();
  mesh.isAway = false;
  const again = await startYjsHub(0, { engine: connect(), port });
  const bob = await edit(again, "bob");
  await until("the text", () => textOf(bob) === "hello");
  expect(alice.closed).toEqual([]);
});

test("who may only read is told so when it writes, and nothing of it is anywhere", async () => {
  const hub = await startYjsHub(0);
  const alice = await edit(hub, "alice");
  await inSync(alice);
  alice.doc.getText("text:note").insert(0, "hello");
  alice.doc.getMap("facts").set("n", 1);
  await until("the fact", () => hub.service.get(DOC, "n")?.value === 1);
  const reader = await edit(hub, "bob", { access: "read" });
  await until("the text", () => textOf(reader) === "hello");
  const { doc } = reader;
  reader.provider.destroy();
  // It has everything, and sends that when it comes back.
  const back = await edit(hub, "bob", { access: "read", doc });
  await inSync(back);
  alice.doc.getText("text:note").insert(5, "!");
  await until("an edit", () => textOf(back) === "hello!");
  const warned = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  doc.getMap("facts").set("n", 2);
  await until("the close", () => back.closed.length === 1);
  expect(back.closed[0]).toMatchObject({ code: 4403 });
  expect(warned.mock.calls.flat().join(" ")).toContain("Permission denied");
  warned.mockRestore();
  expect(hub.service.get(DOC, "n")?.value).toBe(1);
});

test("updates that no editor makes end their connection, and the document stays as it is", async () => {
  const hub = await startYjsHub(0);
  const alice = await edit(hub, "alice");
  await inSync(alice);
  alice.doc.getText("text:note").insert(0, "hello");
  await until("the text", async () => (await hub.service.status()).documents === 1);
  const gap = new Y.Doc();
  gap.getText("text:note").insert(0, "a");
  const before = Y.encodeStateVector(gap);
  gap.getText("text:note").insert(1, "b");
  const last = Y.encodeStateAsUpdate(gap, before);
  const sub = new Y.Doc();
  sub.getMap("map:m").set("doc", new Y.Doc());
  const bare = new Y.Doc();
  bare.getText("note").insert(0, "x");
  const proto = new Y.Doc();
  proto.getMap("map:__proto__").set("a", 1);
  const updates: readonly (readonly [string, Uint8Array, number])[] = [
    ["of ones, which is a part without the one before it", new Uint8Array(64).fill(1), 1013],
    ["with a part missing", last, 1013],
    ["with a document in it", Y.encodeStateAsUpdate(sub), 44],
    ["with a forbidden name", Y.encodeStateAsUpdate(proto), 44],
    ["of a root without its type", Y.encodeStateAsUpdate(bare), 44],
  ];
  const token = await tokenFor("mallory");
  for (const [name, update, expected] of updates) {
    const socket = new WebSocket(`${yjsUrl(hub)}/${ROOM}?token=${token}`);
    const closed: number[] = [];
    socket.on("close", (code) => closed.push(code));
    socket.on("open", () => socket.send(updateMessage(update)));
    await until(name, () => closed.length === 1);
    const [code = 0] = closed;
    expect([name, expected === 44 ? Math.floor(code / 100) : code]).toEqual([name, expected]);
  }
  alice.doc.getText("text:note").insert(5, "!");
  const bob = await edit(hub, "bob");
  await until("the text", () => textOf(bob) === "hello!");
  expect(alice.closed).toEqual([]);
});
