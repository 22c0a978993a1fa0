// SPDX-License-Identifier: Apache-2.0
/** Goal: nobody reads or writes more than token and space allow, and whoever is refused is told so. Method: real providers, tokens and sockets. */
import { get } from "node:http";
import { LIMITS } from "@ctxmesh/model";
import { Tenants } from "@ctxmesh/auth";
import { describe, expect, test, vi } from "vitest";
import * as Y from "yjs";
import { connect, connectBare, ROOM, SPACE, startDoor, tokenFor, until } from "./kit.ts";
import type { Door } from "./kit.ts";

describe("a token", () => {
  const WAYS: readonly (readonly [
    string,
    (token: string) => { query?: string; headers?: Record<string, string>; protocols?: string[] },
  ])[] = [
    ["in the query", (token) => ({ query: `?token=${token}` })],
    ["in a header", (token) => ({ headers: { authorization: `Bearer ${token}` } })],
    ["as a subprotocol", (token) => ({ protocols: ["ctxmesh.yjs", `ctxmesh.token.${token}`] })],
  ];

  test.each(WAYS)("%s lets in", async (_, way) => {
    await using door = await startDoor();
    const { query = "", ...options } = way(await tokenFor(door));
    using bare = await connectBare(`${door.url}/${ROOM}${query}`, options);
    await until("sync step 1", () => bare.received.length > 0);
    expect([...(bare.received[0] ?? [])].slice(0, 2)).toEqual([0, 0]);
    expect(bare.socket.protocol).toBe(options.protocols === undefined ? "" : "ctxmesh.yjs");
  });

  test.each([
    ["none", "", 4401, /there is none/u],
    ["an empty one", "?token=", 4401, /there is none/u],
    ["garbage", "?token=abc", 4401, /token/u],
    ["two", "?token=a&token=b", 4401, /more than one token/u],
  ])("%s: the connection is closed with 4401", async (_, query, code, reason) => {
    await using door = await startDoor();
    using bare = await connectBare(`${door.url}/${ROOM}${query}`);
    await until("the close", () => bare.closed !== undefined);
    expect(bare.closed).toEqual({ code, reason: expect.stringMatching(reason) });
    expect(bare.received).toEqual([]);
  });

  test("for other documents is closed with 4403, and a stock provider does not try again", async () => {
    await using door = await startDoor();
    using client = connect(door.url, await tokenFor(door, "alice", "write", "line-3/"));
    await until("the close", () => client.closed.length === 1);
    expect(client.closed[0]).toMatchObject({ code: 4403 });
    expect(client.closed[0]?.reason).toMatch(/^no access to line-2\/press-7/u);
    expect(client.provider.shouldConnect).toBe(false);
  });

  test("that expires ends what it opened with 4401", async () => {
    await using door = await startDoor();
    using client = connect(door.url, await tokenFor(door));
    await until("the sync", () => client.provider.synced);
    door.clock.ahead = 20 * 60_000;
    await until("the close", () => client.closed.length === 1);
    expect(client.closed).toEqual([{ code: 4401, reason: "the token has expired" }]);
    await until("the log", () => door.logger.entries.some(({ event }) => event === "guest.closed"));
    const fields = { subject: "alice", document: ROOM, code: 4401 };
    expect(door.logger.entries).toContainEqual(
      expect.objectContaining({ event: "guest.closed", fields: expect.objectContaining(fields) }),
    );
  });

  test("that is revoked ends what it opened with 4401, and opens nothing more", async () => {
    await using door = await startDoor();
    const token = await tokenFor(door, "mallory");
    using client = connect(door.url, token);
    await until("the sync", () => client.provider.synced);
    door.revocations.set({ tokens: new Set(), subjects: new Set(["mallory"]) });
    await until("the close", () => client.closed.length === 1);
    using again = connect(door.url, token);
    await until("the second close", () => again.closed.length === 1);
    expect([...client.closed, ...again.closed].map(({ code }) => code)).toEqual([4401, 4401]);
  });

  test("whose subject no fact could name may read, and not write", async () => {
    await using door = await startDoor();
    const subject = "x".repeat(LIMITS.tagBytes + 1);
    using reader = connect(door.url, await tokenFor(door, subject, "read"));
    using writer = connect(door.url, await tokenFor(door, subject, "write"));
    await until("the sync", () => reader.provider.synced);
    await until("the close", () => writer.closed.length === 1);
    expect(writer.closed[0]).toMatchObject({
      code: 4403,
      reason: expect.stringContaining("tagBytes"),
    });
  });
});

describe("who may only read", () => {
  test("reads, with edits of others as they come", async () => {
    await using door = await startDoor();
    door.documents.doc().getText("note").insert(0, "hello");
    using client = connect(door.url, await tokenFor(door, "bob", "read"));
    await until("the text", () => client.doc.getText("note").toJSON() === "hello");
    door.documents.doc().getText("note").insert(5, " there");
    await until("the edit", () => client.doc.getText("note").toJSON() === "hello there");
    expect(client.closed).toEqual([]);
  });

  test("comes back with all it has read, and stays", async () => {
    await using door = await startDoor();
    const text = door.documents.doc().getText("note");
    text.insert(0, "hello there");
    text.delete(0, 3);
    const doc = new Y.Doc();
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(door.documents.doc()));
    using client = connect(door.url, await tokenFor(door, "bob", "read"), ROOM, { doc });
    await until("the sync", () => client.provider.synced);
    text.insert(0, "oh, ");
    await until("an edit", () => doc.getText("note").toJSON() === "oh, lo there");
    expect(client.closed).toEqual([]);
  });

  test.each(["the token", "the space"])(
    "is told, and then closed with 4403, when it writes: %s allows no more",
    async (who) => {
      await using door = await startDoor();
      if (who === "the space") door.granted = "read";
      const warned = vi.spyOn(console, "warn").mockImplementation(() => undefined);
      using client = connect(
        door.url,
        await tokenFor(door, "bob", who === "the space" ? "write" : "read"),
      );
      await until("the sync", () => client.provider.synced);
      client.doc.getText("note").insert(0, "no");
      await until("the close", () => client.closed.length === 1);
      expect(client.closed[0]).toMatchObject({ code: 4403 });
      expect(warned.mock.calls.flat().join(" ")).toContain("Permission denied");
      expect(warned.mock.calls.flat().join(" ")).toContain("allows reading line-2/press-7 only");
      warned.mockRestore();
      expect(door.documents.writes).toEqual([]);
      expect(door.documents.doc().getText("note").toJSON()).toBe("");
    },
  );
});

const LONG_SPACE = "5b".repeat(32);
const PATHS: readonly (readonly [string, string, number])[] = [
  ["another space", `/yjs/${LONG_SPACE}/${ROOM}`, 4404],
  ["no space", "/yjs/", 4400],
  ["a space that is none", `/yjs/xyz/${ROOM}`, 4400],
  ["no document", `/yjs/${SPACE}`, 4400],
  ["an empty document", `/yjs/${SPACE}/`, 4400],
  ["a slash too many", `/yjs/${SPACE}/line-2//press-7`, 4400],
  ["dots", `/yjs/${SPACE}/..%2f..%2fetc`, 4400],
  ["a broken escape", `/yjs/${SPACE}/%e0%a4`, 4400],
  ["too long a name", `/yjs/${SPACE}/${"a".repeat(300)}`, 4400],
];

test.each(PATHS)("a path with %s is refused", async (_, path, code) => {
  await using door = await startDoor();
  using bare = await connectBare(
    `ws://127.0.0.1:${String(door.port)}${path}?token=${await tokenFor(door)}`,
  );
  await until("the close", () => bare.closed !== undefined);
  expect(bare.closed?.code).toBe(code);
});

test("a document's name may be escaped, and is the same document", async () => {
  await using door = await startDoor();
  door.documents.doc().getText("note").insert(0, "hello");
  using client = connect(door.url, await tokenFor(door), encodeURIComponent(ROOM));
  await until("the sync", () => client.provider.synced);
  expect(client.doc.getText("note").toJSON()).toBe("hello");
});

test("a document that there is no room for is asked for later", async () => {
  await using door = await startDoor();
  using bare = await connectBare(`${door.url}/too/large?token=${await tokenFor(door)}`);
  await until("the close", () => bare.closed !== undefined);
  expect(bare.closed).toEqual({ code: 1013, reason: "there is no room for it" });
});

/** The status, and the problem, that an upgrade request with an origin is answered with. */
async function ask(door: Door, origin: string): Promise<readonly [number, unknown]> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly [number, unknown]>();
  const request = get({
    port: door.port,
    host: "127.0.0.1",
    path: `/yjs/${SPACE}/${ROOM}?token=${await tokenFor(door)}`,
    agent: false,
    headers: {
      origin,
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    },
  });
  request.on("upgrade", (_, socket) => {
    socket.destroy();
    resolve([101, undefined]);
  });
  request.on("response", (response) => {
    let text = "";
    response.on("data", (chunk: Buffer) => (text += chunk.toString()));
    response.on("end", () => resolve([response.statusCode ?? 0, JSON.parse(text)]));
  });
  request.on("error", reject);
  return promise;
}

test("pages of the door's own host and of listed origins may connect, others not, whatever their token", async () => {
  await using door = await startDoor({ origins: ["https://editor.example.org"] });
  const own = `http://127.0.0.1:${String(door.port)}`;
  expect((await ask(door, own))[0]).toBe(101);
  expect((await ask(door, "https://editor.example.org"))[0]).toBe(101);
  for (const origin of ["https://editor.example.org.evil.example", "http://localhost:1", "null"]) {
    expect(await ask(door, origin)).toEqual([
      403,
      expect.objectContaining({ status: 403, code: "POLICY_REFUSED" }),
    ]);
  }
});

test("a tenant with too many connections is asked to come later, and its place is free again afterwards", async () => {
  const tenants = new Tenants({ now: () => Date.now() });
  await using door = await startDoor({ quotas: tenants });
  const release = Array.from({ length: LIMITS.tenantConnections }, () => tenants.connect("acme"));
  const url = `${door.url}/${ROOM}?token=${await tokenFor(door)}`;
  using bare = await connectBare(url);
  await until("the close", () => bare.closed !== undefined);
  expect(bare.closed).toMatchObject({
    code: 1013,
    reason: expect.stringContaining("tenantConnections"),
  });
  release[0]?.();
  using again = await connectBare(url);
  await until("sync step 1", () => again.received.length > 0);
  again.socket.close();
  await until("the close", () => again.closed !== undefined);
  using third = await connectBare(url);
  await until("sync step 1", () => third.received.length > 0);
  tenants.close();
});
