// SPDX-License-Identifier: Apache-2.0
/** Goal: a stock y-websocket provider works unchanged. Method: real providers and sockets; documents are plain ones in memory. */
import { MeshError } from "@ctxmesh/model";
import { expect, test, vi } from "vitest";
import * as Y from "yjs";
import { connect, PlainDocuments, ROOM, startDoor, tokenFor, until } from "./kit.ts";

test("what one provider writes the other has, and the hub names the subject as the source of it", async () => {
  await using door = await startDoor();
  using alice = connect(door.url, await tokenFor(door, "alice"));
  using bob = connect(door.url, await tokenFor(door, "bob"));
  await until("both to be in sync", () => alice.provider.synced && bob.provider.synced);
  alice.doc.getText("note").insert(0, "hello");
  await until("the text", () => bob.doc.getText("note").toJSON() === "hello");
  bob.doc.getMap("facts").set("state", "auto");
  await until("the way back", () => alice.doc.getMap("facts").get("state") === "auto");
  const sources = door.documents.writes.map(({ writer }) => writer.source);
  expect(sources).toContainEqual({ model: "alice", instance: "yjs" });
  expect(sources).toContainEqual({ model: "bob", instance: "yjs" });
});

test("what was edited offline comes in when a provider connects, and what it missed goes out", async () => {
  await using door = await startDoor();
  door.documents.doc().getText("note").insert(0, "there ");
  const doc = new Y.Doc();
  doc.getText("note").insert(0, "before ");
  using alice = connect(door.url, await tokenFor(door), ROOM, { doc });
  await until("the sync", () => alice.provider.synced);
  await until(
    "both parts at the hub",
    () => door.documents.doc().getText("note").length === "there before ".length,
  );
  expect(doc.getText("note").toJSON()).toBe(door.documents.doc().getText("note").toJSON());
});

test("three editors who type and delete at random end up with what the hub has", async () => {
  await using door = await startDoor();
  const clients = await Promise.all(
    ["alice", "bob", "carol"].map(async (name) => connect(door.url, await tokenFor(door, name))),
  );
  await until("the sync", () => clients.every(({ provider }) => provider.synced));
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % below;
  };
  for (let step = 0; step < 600; step++) {
    const text = clients[random(3)]?.doc.getText("note");
    if (text === undefined) continue;
    if (text.length > 20 && random(3) === 0) text.delete(random(text.length - 4), 1 + random(4));
    else text.insert(random(text.length + 1), "abcdefgh".slice(random(8)));
    if (step % 40 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const hub = door.documents.doc();
  const texts = () => [hub, ...clients.map(({ doc }) => doc)].map((doc) => doc.getText("note"));
  await until("one text", () => new Set(texts().map((text) => text.toJSON())).size === 1);
  expect(texts()[0]?.length).toBeGreaterThan(20);
  expect(clients.flatMap(({ closed }) => closed)).toEqual([]);
  for (const client of clients) client[Symbol.dispose]();
});

test("a document that is too large to be sent at once comes whole", async () => {
  await using door = await startDoor();
  const text = "x".repeat(6_000_000);
  door.documents.doc().getText("note").insert(0, text);
  using client = connect(door.url, await tokenFor(door));
  await until("the sync", () => client.provider.synced);
  door.documents.doc().getText("note").insert(0, "y");
  await until("an edit", () => client.doc.getText("note").length === text.length + 1);
  expect(client.closed).toEqual([]);
});

test("what is answered counts for the tenant, and where too much of it waits the provider tries again", async () => {
  const turns: (readonly [string, number])[] = [];
  let isFull = false;
  await using door = await startDoor({
    quotas: {
      connect: () => () => undefined,
      turn: (tenant, bytes) => {
        turns.push([tenant, bytes]);
        if (!isFull) return Promise.resolve();
        return Promise.reject(new MeshError("LIMIT_EXCEEDED", "too much waits"));
      },
    },
  });
  door.documents.doc().getText("note").insert(0, "x".repeat(50_000));
  using client = connect(door.url, await tokenFor(door));
  const codes: number[] = [];
  client.provider.on("connection-close", (event) => codes.push(event?.code ?? 0));
  await until("the sync", () => client.provider.synced);
  await until("the turn", () => turns.some(([, bytes]) => bytes > 50_000));
  expect(new Set(turns.map(([tenant]) => tenant))).toEqual(new Set(["acme"]));
  isFull = true;
  client.doc.getText("note").insert(0, "y");
  await until("the close", () => codes.length === 1);
  isFull = false;
  expect(codes).toEqual([1013]);
  await until("the text", () => door.documents.doc().getText("note").length === 50_001);
});

test("when a write fails for good the editor is told; when it fails for now its provider tries again", async () => {
  await using door = await startDoor();
  const codes: number[] = [];
  using client = connect(door.url, await tokenFor(door));
  client.provider.on("connection-close", (event) => codes.push(event?.code ?? 0));
  await until("the sync", () => client.provider.synced);
  const fails = [
    new MeshError("ENGINE_UNAVAILABLE", "it is away"),
    new MeshError("LIMIT_EXCEEDED", "the document is full"),
  ];
  door.documents.beforeWrite = () => {
    const [failure] = fails.splice(0, 1);
    return failure === undefined ? Promise.resolve() : Promise.reject(failure);
  };
  const warned = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  client.doc.getText("note").insert(0, "x");
  await until("the end", () => client.closed.length === 1);
  expect(codes).toEqual([1013, 4413]);
  expect(client.closed[0]?.reason).toBe("the document is full");
  expect(warned.mock.calls.flat().join(" ")).toContain("the document is full");
  warned.mockRestore();
  client.provider.connect();
  await until("the text", () => door.documents.doc().getText("note").toJSON() === "x");
});

test("a hub that stops writes what has come, and sends everybody elsewhere, where they go on", async () => {
  const documents = new PlainDocuments();
  const door = await startDoor({ documents });
  const { port } = door;
  const token = await tokenFor(door);
  using client = connect(door.url, token);
  const codes: number[] = [];
  client.provider.on("connection-close", (event) => codes.push(event?.code ?? 0));
  await until("the sync", () => client.provider.synced);
  await until("its half of the sync", () => documents.writes.length === 1);
  const { promise, resolve } = Promise.withResolvers<void>();
  let isWriting = false;
  documents.beforeWrite = async () => {
    isWriting = true;
    await promise;
  };
  client.doc.getText("note").insert(0, "x");
  await until("the write", () => isWriting);
  const stopped = door.stop();
  resolve();
  await stopped;
  expect(documents.doc().getText("note").toJSON()).toBe("x");
  expect(documents.closed).toBe(1);
  await until("the close", () => codes.length > 0);
  expect(codes[0]).toBe(1012);
  client.doc.getText("note").insert(1, "y");
  await using next = await startDoor({ documents, port });
  client.provider.params = { token: await tokenFor(next) };
  await until("the rest", () => documents.doc().getText("note").toJSON() === "xy");
  expect(client.closed).toEqual([]);
});
