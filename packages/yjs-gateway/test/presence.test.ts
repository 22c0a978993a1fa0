// SPDX-License-Identifier: Apache-2.0
/** Goal: awareness passes between connections, is bounded, and nobody speaks for another. */
import { LIMITS } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";
import type { WebSocket } from "ws";
import { Presence } from "../src/presence.ts";
import { awarenessMessage } from "../src/wire.ts";
import { connect, connectBare, ROOM, startDoor, tokenFor, until } from "./kit.ts";

const entry = (client: number, clock: number, state: unknown) => ({
  client,
  clock,
  state: JSON.stringify(state),
});

describe("presence", () => {
  test("a client id belongs to the connection that said it first, and is told once", () => {
    const presence = new Presence();
    const [alice, bob] = [presence.join("alice"), presence.join("bob")];
    presence.hear(alice, [entry(7, 1, { cursor: 1 })]);
    presence.hear(bob, [entry(7, 9, { cursor: 2 })]);
    expect(presence.takeNews()).toEqual([entry(7, 1, { cursor: 1 })]);
    expect(presence.hasNews).toBe(false);
    presence.hear(bob, [entry(7, 10, null)]);
    expect(presence.all()).toEqual([entry(7, 1, { cursor: 1 })]);
  });

  test("a connection speaks for one client id", () => {
    const presence = new Presence();
    const alice = presence.join("alice");
    presence.hear(alice, [entry(7, 1, {}), entry(8, 1, {})]);
    expect(presence.all()).toEqual([entry(7, 1, {})]);
  });

  test("an id is the page's own, somebody else's, or nobody's, once that page has said its own", () => {
    const presence = new Presence();
    const [alice, bob] = [presence.join("alice"), presence.join("bob")];
    const again = presence.join("alice");
    expect(presence.whose(bob, 7)).toBe(undefined);
    presence.hear(alice, [entry(7, 1, {})]);
    presence.hear(bob, [entry(8, 1, {})]);
    expect([alice, again, bob].map((each) => presence.whose(each, 7))).toEqual([
      "own",
      "own",
      "others",
    ]);
    expect([alice, again].map((each) => presence.whose(each, 9))).toEqual(["none", undefined]);
  });

  test("an older statement is no news, and its own end is", () => {
    const presence = new Presence();
    const alice = presence.join("alice");
    presence.hear(alice, [entry(7, 5, { a: 1 })]);
    presence.takeNews();
    presence.hear(alice, [entry(7, 5, { a: 2 }), entry(7, 4, { a: 3 })]);
    expect(presence.hasNews).toBe(false);
    presence.hear(alice, [entry(7, 5, null)]);
    expect(presence.takeNews()).toEqual([entry(7, 5, null)]);
    expect(presence.all()).toEqual([]);
  });

  test("who leaves is gone for the others, and nobody who was there meanwhile brings it back", () => {
    const presence = new Presence();
    const [alice, bob] = [presence.join("alice"), presence.join("bob")];
    presence.hear(alice, [entry(7, 5, { a: 1 })]);
    presence.leave(alice);
    expect(presence.takeNews()).toEqual([entry(7, 5, null)]);
    presence.hear(bob, [entry(7, 5, { a: 1 })]);
    expect(presence.all()).toEqual([]);
    const again = presence.join("alice");
    presence.hear(again, [entry(7, 5, { a: 1 })]);
    expect(presence.all()).toEqual([entry(7, 5, { a: 1 })]);
  });

  test("on a new connection the same subject goes on where its old one still seems to be there; the old one's end changes nothing", () => {
    const presence = new Presence();
    const [old, next] = [presence.join("alice"), presence.join("alice")];
    presence.hear(old, [entry(7, 5, { a: 1 })]);
    presence.hear(next, [entry(7, 6, { a: 2 })]);
    presence.leave(old);
    expect(presence.all()).toEqual([entry(7, 6, { a: 2 })]);
    presence.leave(next);
    expect(presence.all()).toEqual([]);
  });

  test("who has said to be gone takes nobody along who has its client id by then", () => {
    const presence = new Presence();
    const [first, second] = [presence.join("alice"), presence.join("bob")];
    presence.hear(first, [entry(7, 5, {}), entry(7, 6, null)]);
    presence.hear(second, [entry(7, 7, {})]);
    presence.leave(first);
    expect(presence.all()).toEqual([entry(7, 7, {})]);
  });

  test.each([
    ["user.id", { user: { id: "alice" } }],
    ["user.sub", { user: { sub: "alice" } }],
    ["sub", { sub: "alice" }],
    ["user.id that is no text", { user: { id: 7 } }],
    ["one of two", { sub: "mallory", user: { id: "alice" } }],
  ])("%s has to be the subject", (_, state) => {
    const presence = new Presence();
    expect(() => presence.hear(presence.join("mallory"), [entry(7, 1, state)])).toThrow(
      expect.objectContaining({ code: "POLICY_REFUSED" }),
    );
    expect(presence.all()).toEqual([]);
  });

  test("a subject may say its own name, once", () => {
    const presence = new Presence();
    const state = '{"user":{"id":"mallory"},"user":{"id":"alice","name":"Alice"}}';
    presence.hear(presence.join("alice"), [{ client: 7, clock: 1, state }]);
    expect(presence.all()).toEqual([entry(7, 1, { user: { id: "alice", name: "Alice" } })]);
  });

  test.each([
    ["too large", JSON.stringify({ a: "x".repeat(LIMITS.presenceBytes) }), "LIMIT_EXCEEDED"],
    [
      "too large in bytes",
      JSON.stringify({ a: "ü".repeat(LIMITS.presenceBytes / 2) }),
      "LIMIT_EXCEEDED",
    ],
    ["no JSON", "{", "FORMAT_INVALID"],
    ["a list", "[]", "FORMAT_INVALID"],
    ["a number", "7", "FORMAT_INVALID"],
    ["empty", "", "FORMAT_INVALID"],
  ])("a state that is %s is refused", (_, state, code) => {
    const presence = new Presence();
    expect(() => presence.hear(presence.join("alice"), [{ client: 7, clock: 1, state }])).toThrow(
      expect.objectContaining({ code }),
    );
    expect(presence.all()).toEqual([]);
  });

  test("what is remembered of those who left is bounded", () => {
    const presence = new Presence();
    const bob = presence.join("bob");
    for (let client = 1; client <= LIMITS.presenceLeft + 1; client++) {
      const editor = presence.join("alice");
      presence.hear(editor, [entry(client, 1, {})]);
      presence.leave(editor);
    }
    presence.hear(bob, [entry(2, 1, {})]);
    expect(presence.all()).toEqual([]);
    presence.hear(bob, [entry(1, 1, {})]);
    expect(presence.all()).toHaveLength(1);
  });
});

test("stock providers see each other, and see who goes", async () => {
  await using door = await startDoor();
  using alice = connect(door.url, await tokenFor(door, "alice"));
  using bob = connect(door.url, await tokenFor(door, "bob", "read"));
  const seen = () => bob.provider.awareness.getStates().get(alice.doc.clientID);
  alice.provider.awareness.setLocalStateField("user", { id: "alice", name: "Alice" });
  await until("alice at bob", () => seen()?.["user"] !== undefined);
  expect(seen()).toEqual({ user: { id: "alice", name: "Alice" } });
  bob.provider.awareness.setLocalStateField("cursor", 3);
  await until(
    "bob at alice",
    () => alice.provider.awareness.getStates().get(bob.doc.clientID)?.["cursor"] === 3,
  );
  using late = connect(door.url, await tokenFor(door, "carol"));
  await until("both at who came late", () => late.provider.awareness.getStates().size === 3);
  // Without a word, as when a machine is switched off.
  alice.provider.shouldConnect = false;
  (alice.provider.ws as unknown as WebSocket).terminate();
  await until("alice to be gone", () => seen() === undefined);
  await until("alice to be gone elsewhere", () => late.provider.awareness.getStates().size === 2);
});

test("who says to be somebody else is told, and closed with 4403", async () => {
  await using door = await startDoor();
  const url = `${door.url}/${ROOM}?token=${await tokenFor(door, "mallory")}`;
  using bare = await connectBare(url);
  bare.socket.send(awarenessMessage([entry(7, 1, { user: { id: "alice" } })]));
  await until("the close", () => bare.closed !== undefined);
  expect(bare.closed).toMatchObject({ code: 4403, reason: expect.stringContaining("user.id") });
  expect(bare.received.some(([type]) => type === 2)).toBe(true);
});
