// SPDX-License-Identifier: Apache-2.0
/** Goal: models read and write facts, and learn where they come from. Method: real clients of `ctxmesh mcp` at real agents. */
import { waitFor } from "@ctxmesh/testing";
import { connect } from "@ctxmesh/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestMesh, ours } from "./support.ts";
import type { McpClient } from "./support.ts";

const stack = new AsyncDisposableStack();
let here: McpClient;
let there: McpClient;
let sockets: readonly string[] = [];

beforeAll(async () => {
  const mesh = await TestMesh.found(stack, 2, [{ prefix: "best/", resolver: "confidence" }]);
  const first = await mesh.start(0);
  const second = await mesh.start(1, first.agent.addresses());
  sockets = [first.socket, second.socket];
  [here, there] = await Promise.all([ours(first.socket), ours(second.socket)]);
  stack.use(here);
  stack.use(there);
});

afterAll(() => stack.disposeAsync());

type Told = Readonly<Record<string, unknown>>;
const factIn = (answer: Told): Told => answer["fact"] as Told;

test("a fact is put with all that belongs to it, and read back now and as of a moment", async () => {
  const before = Date.now() - 5;
  const stated = {
    value: { celsius: 71.5 },
    confidence: 0.9,
    source: { model: "thermo", version: "2", instance: "a" },
    tags: ["hot"],
  };
  const context = {
    targets: ["planner"],
    correlation: "order 7",
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  };
  const receipt = await here.ask("put", {
    doc: "line-2/press-7",
    key: "temperature",
    ...stated,
    ...context,
    ttlMs: 3_600_000,
    basis: ["fact 1"],
    priority: "high",
    ack: "local",
  });
  expect(receipt).toMatchObject({ acknowledged: "local", facts: 1 });
  const found = await here.ask("get", { doc: "line-2/press-7", key: "temperature" });
  expect(found).toMatchObject({ found: true, fact: { ...stated, contested: false } });
  const { candidates } = await here.ask("explain", { doc: "line-2/press-7", key: "temperature" });
  expect(candidates).toMatchObject([{ ...stated, ...context, basis: ["fact 1"] }]);
  expect(await here.ask("get", { doc: "line-2/press-7", key: "pressure" })).toEqual({
    found: false,
  });
  const at = new Date(before).toISOString();
  expect(await here.ask("get", { doc: "line-2/press-7", key: "temperature", at })).toEqual({
    found: false,
  });
});

test("who wrote a fact through a client is that client, unless it says otherwise", async () => {
  await here.ask("put", { doc: "d", key: "own", value: 1 });
  const fact = factIn(await here.ask("get", { doc: "d", key: "own" }));
  expect(fact["source"]).toEqual({ model: "test-model", version: "1.2.3" });
});

test("explain tells of every writer's statement which one is shown, why, from where, and how far it has got", async () => {
  await here.ask("put", { doc: "d", key: "best/x", value: 1, confidence: 0.5 });
  await waitFor(
    async () => (await there.ask("get", { doc: "d", key: "best/x" }))["found"] === true,
    {
      timeoutMs: 15_000,
      what: "the fact on the other machine",
    },
  );
  await there.ask("put", { doc: "d", key: "best/x", value: 2, confidence: 0.4, ttlMs: 60_000 });
  const told = await there.ask("explain", { doc: "d", key: "best/x" });
  expect(told["explanation"]).toMatch(/^confidence: the surest statement is shown; .*contested$/u);
  expect(factIn(told)).toMatchObject({ value: 1, contested: true });
  const candidates = told["candidates"] as readonly Told[];
  expect(candidates).toMatchObject([
    { value: 2, confidence: 0.4, standing: "undominated", reached: "local", writer: told["node"] },
    { value: 1, confidence: 0.5, standing: "shown", source: { model: "test-model" } },
  ]);
  const [mine, other] = candidates;
  expect(other?.["reached"]).toBeUndefined();
  expect(Date.parse(String(mine?.["expiresAt"])) - Date.parse(String(mine?.["writtenAt"]))).toBe(
    60_000,
  );
  await expect(here.ask("explain", { doc: "d", key: "nothing" })).rejects.toThrow(
    /^NOT_FOUND: d has no fact "nothing"/u,
  );
});

test("history lists what was said, newest first, page by page", async () => {
  for (const value of [1, 2, 3]) await here.ask("put", { doc: "d", key: "h", value });
  const page = await here.ask("history", { doc: "d", key: "h", limit: 2 });
  expect(page["entries"]).toMatchObject([{ value: 3 }, { value: 2, counts: true }]);
  const rest = await here.ask("history", { doc: "d", key: "h", limit: 2, before: page["next"] });
  expect(rest["entries"]).toMatchObject([{ value: 1, batch: { seq: expect.any(Number) } }]);
});

test("search finds facts by text, and by all that a list goes by, and says when there is more", async () => {
  const client = connect({ socketPath: sockets[0] ?? "" });
  try {
    const facts = Array.from({ length: 900 }, (_, i) => ({
      key: `n/${String(i).padStart(4, "0")}`,
      value: i,
    }));
    for (let round = 0; round < 3; round++) {
      await client.put(
        "many",
        facts.map(({ key, value }) => ({ key: `${String(round)}${key}`, value })),
      );
    }
    await client.put("many", [
      { key: "tagged", value: { note: "A Needle here" }, tags: ["t"], source: { model: "m" } },
      { key: "zz needle", value: 0 },
    ]);
  } finally {
    client.close();
  }
  const keys = async (args: object): Promise<unknown> => {
    const { facts, complete } = (await here.ask("search", { doc: "many", ...args })) as {
      readonly facts: readonly { readonly key: string }[];
      readonly complete: boolean;
    };
    return [facts.map(({ key }) => key), complete];
  };
  // Behind the first page of the node's own list.
  expect(await keys({ query: "nEEdle" })).toEqual([["tagged", "zz needle"], true]);
  expect(await keys({ query: "needle", limit: 1 })).toEqual([["tagged"], false]);
  expect(await keys({ query: "needle", after: "tagged" })).toEqual([["zz needle"], true]);
  expect(await keys({ tag: "t", source: "m" })).toEqual([["tagged"], true]);
  expect(await keys({ pattern: "0n/000*", limit: 3 })).toEqual([
    ["0n/0000", "0n/0001", "0n/0002"],
    false,
  ]);
  expect(await keys({ prefix: "none" })).toEqual([[], true]);
  expect(await here.ask("search", { query: "a needle" })).toMatchObject({
    complete: true,
    facts: [{ doc: "many", key: "tagged" }],
  });
});

test("a decision is signed and kept with what it rests on, in the name of the client", async () => {
  await here.ask("put", { doc: "d", key: "pressure", value: 9 });
  const decided = await here.ask("decide", {
    output: { stop: true },
    inputs: [
      { doc: "d", key: "pressure" },
      { doc: "d", key: "unknown" },
    ],
    checks: [{ name: "limit", passed: false, detail: "9 > 8" }],
  });
  expect(decided).toMatchObject({ id: expect.stringMatching(/^[0-9a-f]{64}$/u), counter: 1 });
  expect(decided["envelope"]).toBeUndefined();
  const kept = factIn(await here.ask("get", { doc: decided["doc"], key: decided["key"] }));
  expect(kept["source"]).toEqual({ model: "test-model", version: "1.2.3" });
  const { payload } = kept["value"] as { readonly payload: string };
  const signed = Buffer.from(payload, "base64").toString("utf8");
  for (const part of ["pressure", "unknown", "9 > 8", "stop"]) expect(signed).toContain(part);
  expect(
    await here.ask("decide", { output: null, inputs: [], model: { model: "other" } }),
  ).toMatchObject({ counter: 2 });
  await expect(here.ask("decide", { inputs: [{ doc: "d" }] })).rejects.toThrow(
    /expected string, received undefined at inputs\[0\]\.key/u,
  );
  await expect(
    here.ask("decide", { output: 1, inputs: [{ doc: "..", key: "k" }] }),
  ).rejects.toThrow(/^INPUT_INVALID: malformed document name/u);
});

test("arguments that are wrong are named with what is allowed, and the session goes on", async () => {
  const bad: readonly (readonly [string, object, RegExp])[] = [
    ["put", { doc: "d", key: "k", value: 1, colour: "red" }, /Unrecognized key: "colour"$/u],
    [
      "put",
      { doc: "d", key: "k", value: 1, confidence: 2 },
      /expected number to be <=1 at confidence$/u,
    ],
    [
      "put",
      { doc: "d", key: "k", value: 1, ack: "moon" },
      /expected one of "local"\|"hub"\|"sealed" at ack$/u,
    ],
    ["put", { doc: "../d", key: "k", value: 1 }, /^INPUT_INVALID: malformed document name/u],
    ["put", { doc: "d", key: "a\nb", value: 1 }, /^INPUT_INVALID: key/u],
    [
      "put",
      { doc: "d", key: "k", value: "x".repeat(1_000_000) },
      /^LIMIT_EXCEEDED: value has 1000002 bytes, the limit is 65536$/u,
    ],
    ["put", { doc: "d", key: "k", value: 1, ack: "hub", timeoutMs: 1 }, /^ACK_TIMEOUT: /u],
    ["get", { doc: "d", key: "k", at: "yesterday" }, /^INPUT_INVALID: /u],
    ["search", { limit: 0 }, /expected number to be >=1 at limit$/u],
    ["search", { after: "k" }, /^INPUT_INVALID: .*doc/u],
    ["history", { doc: "d", key: "k", before: "nowhere" }, /^INPUT_INVALID: /u],
  ];
  for (const [name, args, words] of bad) {
    await expect(here.ask(name, args as Told), name).rejects.toThrow(words);
  }
  await expect(here.client.listResources({ cursor: "7" })).rejects.toThrow(/cursor/u);
  await expect(here.client.subscribeResource({ uri: "file:///etc/passwd" })).rejects.toThrow(
    /not found/u,
  );
  await expect(here.client.readResource({ uri: `ctx://${"0".repeat(64)}/d/own` })).rejects.toThrow(
    /not found/u,
  );
  expect(await here.ask("get", { doc: "d", key: "own" })).toMatchObject({ found: true });
});

test("resources come page by page, each once", async () => {
  const uris: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await here.client.listResources(cursor === undefined ? {} : { cursor });
    uris.push(...page.resources.map(({ uri }) => uri));
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  expect(uris.length).toBeGreaterThan(2_700);
  expect(new Set(uris).size).toBe(uris.length);
  expect(uris[0]).toBe("memory://knowledge-graph");
});

test("a call with more than one write can hold is written in several, in order", async () => {
  const observations = Array.from({ length: 1_500 }, (_, i) => `${String(i)} ${"x".repeat(200)}`);
  await here.ask("create_entities", {
    entities: [{ name: "large", entityType: "t", observations }],
  });
  const opened = await here.ask("open_nodes", { names: ["large"] });
  expect(opened["entities"]).toEqual([{ name: "large", entityType: "t", observations }]);
  await here.ask("delete_entities", { entityNames: ["large"] });
  expect(await here.ask("open_nodes", { names: ["large"] })).toEqual({
    entities: [],
    relations: [],
  });
});
