// SPDX-License-Identifier: Apache-2.0
/** Goal: what no stock client sends ends its own connection, with a reason, and touches nobody else. Method: bare WebSockets beside a stock provider. */
import { LIMITS } from "@ctxmesh/model";
import { expect, test } from "vitest";
import * as Y from "yjs";
import { awarenessMessage, deniedMessage, stepOne, updateMessage } from "../src/wire.ts";
import { connect, connectBare, PlainDocuments, ROOM, startDoor, tokenFor, until } from "./kit.ts";

const doc = new Y.Doc();
doc.getText("note").insert(0, "hello");
const update = Y.encodeStateAsUpdate(doc);
const good = updateMessage(update);
const present = awarenessMessage([{ client: 7, clock: 1, state: "{}" }]);
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const state = (text: string): Uint8Array =>
  awarenessMessage([{ client: 7, clock: 1, state: text }]);

/** What is wrong, a frame, and the code that it is closed with: 4400 where nothing is said. */
const FRAMES: readonly (readonly [string, Uint8Array | string, number?])[] = [
  ["nothing", bytes()],
  ["a text frame", "hello", 1003],
  ["an empty text frame", "", 1003],
  ["a type without a body", bytes(0)],
  ["an update without its length", bytes(0, 2)],
  ["a state vector without its length", bytes(0, 0)],
  ["an awareness message without its length", bytes(1)],
  ["a permission of the client's own", deniedMessage("no")],
  ["an unknown type", bytes(4)],
  ["a large type", bytes(0xff, 0x7f)],
  ["a type beyond numbers", bytes(...Array.from({ length: 12 }, () => 0xff), 1)],
  ["a number without an end", bytes(...Array.from({ length: 400 }, () => 0x80))],
  ["a type in two bytes", bytes(0x80, 0)],
  ["a length in two bytes", bytes(0, 2, 0x80, 0)],
  ["an unknown step", bytes(0, 3, 0)],
  ["a step in two bytes", bytes(0, 0x82, 0, 0)],
  ["a length of 2^40", bytes(0, 2, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20)],
  ["a length one too long", bytes(0, 2, 3, 0, 0)],
  ["a length one too short", bytes(0, 2, 1, 0, 0)],
  ["a question with a body", bytes(3, 0)],
  ["two questions", bytes(3, 3)],
  ["an update with more behind it", bytes(...good, 0)],
  ["two messages in one", bytes(...good, ...good)],
  ["an empty update", updateMessage(bytes())],
  ["a byte of an update", updateMessage(bytes(1))],
  ["an update of 0xff", updateMessage(new Uint8Array(64).fill(0xff))],
  ["an update with 2^32 structs", updateMessage(bytes(1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0))],
  ["an update of 2^32 clients", updateMessage(bytes(0xff, 0xff, 0xff, 0xff, 0x0f))],
  ["an empty state vector", stepOne(bytes())],
  ["a state vector of 0xff", stepOne(new Uint8Array(64).fill(0xff))],
  ["a state vector of 2^32 clients", stepOne(bytes(0xff, 0xff, 0xff, 0xff, 0x0f))],
  ["awareness of nothing", bytes(1, 0)],
  ["awareness with fewer entries than it says", bytes(1, 1, 1)],
  ["awareness with more entries than it says", bytes(1, 4, 0, 7, 1, 0)],
  ["awareness of 2^32 clients", bytes(1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f)],
  ["awareness of 2^53 clients", bytes(1, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f)],
  ["awareness with a clock in two bytes", bytes(1, 7, 1, 7, 0x81, 0, 2, 123, 125)],
  ["awareness with a client beyond numbers", bytes(1, 12, 1, ...new Uint8Array(10).fill(0xff), 1)],
  ["awareness with more behind it", bytes(...present, 1)],
  ["a state that is no UTF-8", bytes(1, 5, 1, 7, 1, 1, 0xff)],
  ["a state that is half a character", bytes(1, 6, 1, 7, 1, 2, 0xc3, 0x28)],
  ["a state that is empty", state("")],
  ["a state that is no JSON", state("{a:1}")],
  ["a state with more behind it", state("{}{}")],
  ["a state that is a text", state('"hello"')],
  ["a state that is a number", state("1e999")],
  ["a state that is true", state("true")],
  ["a state that is a list", state("[{}]")],
  ["a state of lists in lists", state("[".repeat(4_000))],
  ["a state that nests too deep", state(`{"a":${"[".repeat(4_090)}${"]".repeat(4_000)}}`)],
  ["a state that is too large", state(`"${"x".repeat(LIMITS.presenceBytes)}"`), 4413],
  ["somebody else's name", state('{"user":{"id":"bob"}}'), 4403],
  ["somebody else's name as a list", state('{"user":{"id":["alice"]}}'), 4403],
  ["no name at all in its place", state('{"sub":null}'), 4403],
  ["a name with a capital", state('{"sub":"Alice"}'), 4403],
  ["a frame over the limit", new Uint8Array(LIMITS.syncMessageBytes + 1), 1006],
  ...Array.from({ length: 12 }, (_, index) => {
    // Every other byte of an update is one that can't be missed.
    const cut = updateMessage(update.subarray(0, 1 + Math.floor((update.length * index) / 13)));
    return [`an update cut in place ${String(index)}`, cut] as const;
  }),
];

test("there are many kinds", () => {
  expect(new Set(FRAMES.map(([name]) => name)).size).toBe(FRAMES.length);
  expect(FRAMES.length).toBeGreaterThanOrEqual(60);
});

test("each ends the connection it came on, and the document and all others stay as they are", async () => {
  await using door = await startDoor();
  using honest = connect(door.url, await tokenFor(door, "bob"));
  await until("the sync", () => honest.provider.synced);
  const url = `${door.url}/${ROOM}?token=${await tokenFor(door)}`;
  const closes: (readonly [string, number | undefined])[] = [];
  for (const [name, frame] of FRAMES) {
    using bare = await connectBare(url);
    bare.socket.send(frame, { binary: typeof frame !== "string" });
    await until(name, () => bare.closed !== undefined);
    closes.push([name, bare.closed?.code]);
  }
  const expected = FRAMES.map(([name, , code = 4400]) => [name, code === 1006 ? 1009 : code]);
  expect(closes.map(([name, code]) => [name, code === 1006 ? 1009 : code])).toEqual(expected);
  expect(door.documents.doc().getText("note").toJSON()).toBe("");
  honest.doc.getText("note").insert(0, "still here");
  await until("the edit", () => door.documents.doc().getText("note").length === 10);
  expect(honest.closed).toEqual([]);
  expect([...honest.provider.awareness.getStates().keys()]).toEqual([honest.doc.clientID]);
});

test("what is sent before the token is looked at is not read until then, and not lost", async () => {
  await using door = await startDoor();
  const { promise, resolve } = Promise.withResolvers<void>();
  door.beforeGrant = async () => promise;
  using client = connect(door.url, await tokenFor(door));
  client.doc.getText("note").insert(0, "early");
  await until("the WebSocket", () => client.provider.wsconnected);
  expect(door.documents.writes).toEqual([]);
  resolve();
  await until("the text", () => door.documents.doc().getText("note").toJSON() === "early");
  expect(client.provider.synced).toBe(true);
});

test("who asks who is there and reads no answer makes nothing pile up, and pays for what it is sent", async () => {
  const turns: number[] = [];
  const quotas = {
    connect: () => () => undefined,
    turn: (_: string, size: number) => {
      turns.push(size);
      return Promise.resolve();
    },
  };
  await using door = await startDoor({ quotas });
  using bare = await connectBare(`${door.url}/${ROOM}?token=${await tokenFor(door)}`);
  const said = JSON.stringify({ note: "x".repeat(LIMITS.presenceBytes - 100) });
  bare.socket.send(state(said));
  bare.socket.send(bytes(3));
  await until("an answer", () => bare.received.some(({ length }) => length > said.length));
  expect(Math.max(...turns)).toBeGreaterThan(said.length);
  bare.socket.pause();
  const questions = 5_000;
  for (let i = 0; i < questions; i++) bare.socket.send(bytes(3));
  bare.socket.send(good);
  await until("the last message", () => door.documents.writes.length === 1);
  bare.socket.resume();
  await until("the rest", () => bare.received.some(([type, step]) => type === 0 && step === 2));
  const received = bare.received.reduce((sum, { length }) => sum + length, 0);
  // What the kernels hold comes on top.
  expect(received).toBeLessThan((questions * said.length) / 2);
});

test("many who come at once get their answers one by one, and others are heard in between", async () => {
  const documents = new PlainDocuments();
  const open = documents.open.bind(documents);
  let rounds = 0;
  const answers: number[] = [];
  documents.open = async (name) => {
    const projection = await open(name);
    const diff = projection.diff.bind(projection);
    projection.diff = (stateVector) => {
      answers.push(rounds);
      return diff(stateVector);
    };
    return projection;
  };
  await using door = await startDoor({ documents });
  const url = `${door.url}/${ROOM}?token=${await tokenFor(door)}`;
  using stack = new DisposableStack();
  const all = await Promise.all(
    Array.from({ length: 40 }, async () => stack.use(await connectBare(url))),
  );
  let isOver = false;
  const count = (): void => {
    rounds += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  stack.defer(() => {
    isOver = true;
  });
  for (const { socket } of all) for (let i = 0; i < 5; i++) socket.send(stepOne(bytes(0)));
  await until("the answers", () => answers.length === 200);
  const most = Math.max(...answers.map((round) => answers.filter((at) => at === round).length));
  expect(most).toBeLessThanOrEqual(2);
});
