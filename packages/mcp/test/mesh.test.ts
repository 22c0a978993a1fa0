// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what any number of processes and machines write into one graph at once is all there, everywhere, and who asked hears of it.
 * Method: real agents with stores of their own, connected over loopback TCP, and `ctxmesh mcp` processes with real clients.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { waitFor } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TestMesh, command, environment, ours } from "./support.ts";
import type { McpClient } from "./support.ts";

const BOUND_MS = 15_000;
const GRAPH = "memory://knowledge-graph";

interface Shown {
  readonly entities: readonly {
    readonly name: string;
    readonly entityType: string;
    readonly observations: readonly string[];
  }[];
  readonly relations: readonly object[];
}

let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

const graphOf = async (client: McpClient): Promise<Shown> =>
  (await client.ask("read_graph")) as unknown as Shown;

const entity = (name: string, entityType: string, ...observations: readonly string[]): object => ({
  name,
  entityType,
  observations,
});

test("eight processes write the same graph at once, and nothing is lost", async () => {
  const mesh = await TestMesh.found(stack, 1);
  const { socket } = await mesh.start(0);
  const numbers = Array.from({ length: 8 }, (_, i) => i);
  const clients = await Promise.all(numbers.map(async () => stack.use(await ours(socket))));
  const rounds = Array.from({ length: 10 }, (_, i) => i);
  await Promise.all(
    clients.map(async (client, i) => {
      await client.ask("create_entities", {
        entities: [entity("team", "group"), entity(`member ${String(i)}`, "person")],
      });
      for (const round of rounds) {
        await client.ask("add_observations", {
          observations: [
            { entityName: "team", contents: [`${String(i)} said ${String(round)}`, "common"] },
            { entityName: `member ${String(i)}`, contents: [`round ${String(round)}`] },
          ],
        });
        await client.ask("create_relations", {
          relations: [
            { from: `member ${String(i)}`, to: "team", relationType: `did ${String(round)}` },
          ],
        });
      }
    }),
  );
  const graphs = await Promise.all(clients.map(graphOf));
  const [graph] = graphs;
  for (const other of graphs) expect(other).toEqual(graph);
  expect(graph?.entities).toHaveLength(9);
  expect(graph?.relations).toHaveLength(80);
  const team = graph?.entities.find(({ name }) => name === "team")?.observations ?? [];
  expect(team.toSorted()).toEqual(
    [
      "common",
      ...numbers.flatMap((i) => rounds.map((n) => `${String(i)} said ${String(n)}`)),
    ].toSorted(),
  );
  for (const i of numbers) {
    // What one of them said is in the order in which it said it.
    const mine = team.filter((text) => text.startsWith(`${String(i)} said`));
    expect(mine).toEqual(rounds.map((n) => `${String(i)} said ${String(n)}`));
    expect(
      graph?.entities.find(({ name }) => name === `member ${String(i)}`)?.observations,
    ).toEqual(rounds.map((n) => `round ${String(n)}`));
  }
});

async function twoMachines(): Promise<readonly [McpClient, McpClient]> {
  const mesh = await TestMesh.found(stack, 2);
  const first = await mesh.start(0);
  const second = await mesh.start(1, first.agent.addresses());
  const clients = await Promise.all([ours(first.socket), ours(second.socket)]);
  for (const client of clients) stack.use(client);
  return [clients[0], clients[1]];
}

const comes = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitFor(condition, { timeoutMs: BOUND_MS, what });

test("what is written on one machine is read, changed and deleted on the other, and subscribers hear of it", async () => {
  const [here, there] = await twoMachines();
  await there.client.subscribeResource({ uri: GRAPH });
  await here.ask("create_entities", { entities: [entity("press 7", "machine", "runs hot")] });
  await comes("the entity", async () => (await graphOf(there)).entities.length === 1);
  await comes("the notification", () => there.updated.includes(GRAPH));
  await there.ask("add_observations", {
    observations: [{ entityName: "press 7", contents: ["was oiled"] }],
  });
  await comes(
    "the observation",
    async () => (await graphOf(here)).entities[0]?.observations.length === 2,
  );
  expect(await graphOf(here)).toEqual(await graphOf(there));

  // Deleted where nobody had created it.
  await there.ask("delete_entities", { entityNames: ["press 7"] });
  expect(await graphOf(there)).toEqual({ entities: [], relations: [] });
  await comes("the deletion", async () => (await graphOf(here)).entities.length === 0);
  await here.ask("create_entities", { entities: [entity("press 7", "machine")] });
  await comes("the entity again", async () => (await graphOf(there)).entities.length === 1);
  expect((await graphOf(there)).entities[0]?.observations).toEqual([]);
});

test("two machines that create the same entity at once end with one, which has what both said", async () => {
  const [here, there] = await twoMachines();
  await Promise.all([
    here.ask("create_entities", { entities: [entity("press 7", "machine", "runs hot", "old")] }),
    there.ask("create_entities", { entities: [entity("press 7", "press", "was oiled", "old")] }),
  ]);
  await comes("both to see all", async () => {
    const graphs = await Promise.all([graphOf(here), graphOf(there)]);
    return graphs.every(({ entities }) => entities[0]?.observations.length === 3);
  });
  const [graph, other] = await Promise.all([graphOf(here), graphOf(there)]);
  expect(other).toEqual(graph);
  expect(graph.entities).toHaveLength(1);
  await here.ask("delete_entities", { entityNames: ["press 7"] });
  expect(await graphOf(here)).toEqual({ entities: [], relations: [] });
});

test("a fact is a resource by the space's id or name, and its subscribers hear of it from the other machine", async () => {
  const [here, there] = await twoMachines();
  const uri = "ctx://plant/line-2%2Fpress-7/temperature%20%C2%B0C";
  await there.client.subscribeResource({ uri });
  await expect(there.client.readResource({ uri })).rejects.toThrow(/not found/u);
  await here.ask("put", { doc: "line-2/press-7", key: "temperature", value: 1 });
  await here.ask("put", { doc: "line-2/press-7", key: "temperature °C", value: 71.5 });
  await comes("the notification", () => there.updated.includes(uri));
  expect(there.updated).toEqual([uri]);
  const { contents } = await there.client.readResource({ uri });
  const [content] = contents;
  const fact: unknown = JSON.parse(content !== undefined && "text" in content ? content.text : "");
  expect(fact).toMatchObject({ value: 71.5, source: { model: "test-model", version: "1.2.3" } });
  const { resources } = await there.client.listResources();
  const listed = resources.find(({ name }) => name === "line-2/press-7 temperature °C");
  expect(listed?.uri).toMatch(/^ctx:\/\/[0-9a-f]{64}\/line-2%2Fpress-7\/temperature%20%C2%B0C$/u);
  expect(await there.client.readResource({ uri: listed?.uri ?? "" })).toMatchObject({
    contents: [{ mimeType: "application/json" }],
  });
  await there.client.unsubscribeResource({ uri });
  await here.ask("put", { doc: "line-2/press-7", key: "temperature °C", value: 72 });
  await comes("the other value", async () => {
    const found = await there.ask("get", { doc: "line-2/press-7", key: "temperature °C" });
    return (found as { readonly fact?: { readonly value: unknown } }).fact?.value === 72;
  });
  expect(there.updated).toEqual([uri]);
});

test("while the agent is away calls say so, and once it is back everything goes on, subscriptions too", async () => {
  const mesh = await TestMesh.found(stack, 1);
  const client = stack.use(await ours(mesh.socketOf(0)));
  await expect(client.ask("read_graph")).rejects.toThrow(/^UNREACHABLE: .*start it/u);
  await expect(client.client.subscribeResource({ uri: GRAPH })).rejects.toThrow(/UNREACHABLE/u);
  const { agent } = await mesh.start(0);
  await client.ask("create_entities", { entities: [entity("a", "b", "c")] });
  await client.client.subscribeResource({ uri: GRAPH });
  await agent.stop();
  await expect(client.ask("read_graph")).rejects.toThrow(/^(UNREACHABLE|CLOSED): /u);
  client.updated.length = 0;
  await mesh.start(0);
  // It may have changed while nobody watched.
  await comes("the notification", () => client.updated.length > 0);
  expect((await graphOf(client)).entities).toEqual([entity("a", "b", "c")]);
});

test("only the protocol is on stdout, whatever comes in, and the process ends with its input", async () => {
  const mesh = await TestMesh.found(stack, 1);
  const { socket } = await mesh.start(0);
  const child = spawn(process.execPath, command(socket), {
    env: environment,
    stdio: ["pipe", "pipe", "pipe"],
  });
  stack.defer(() => {
    child.kill("SIGKILL");
  });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const exit = new Promise((resolve) => child.once("close", resolve));
  const send = (message: unknown): void => {
    child.stdin.write(`${typeof message === "string" ? message : JSON.stringify(message)}\n`);
  };
  const request = (id: number, method: string, params: object): void => {
    send({ jsonrpc: "2.0", id, method, params });
  };
  request(1, "initialize", {
    protocolVersion: "2025-06-18",
    capabilities: {},
    clientInfo: { name: "", version: `\ud800${"é".repeat(500)}` },
  });
  send("this is no message");
  send("{}");
  send('{"jsonrpc":"1.0","id":9}');
  send("");
  request(2, "tools/call", { name: "put", arguments: { doc: "d", key: "k", value: null } });
  request(3, "no/such/method", {});
  request(4, "resources/read", { uri: "ctx://plant/d" });
  request(5, "tools/call", {
    name: "create_entities",
    arguments: { entities: [entity("large", "x", "y".repeat(1_000_000))] },
  });
  request(6, "tools/call", { name: "get", arguments: { doc: "d", key: "k" } });
  await comes("the answers", () => lines.length >= 6 || child.exitCode !== null);
  const answers = new Map(
    lines.map((line) => {
      const { id, ...answer } = JSON.parse(line) as {
        id: number;
        result?: unknown;
        error?: unknown;
      };
      return [id, answer];
    }),
  );
  expect([...answers.keys()].toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(answers.get(2)).toMatchObject({
    result: { structuredContent: { acknowledged: "local" } },
  });
  expect(answers.get(3)).toMatchObject({ error: { code: -32_601 } });
  expect(answers.get(4)).toMatchObject({ error: { code: -32_602 } });
  expect(answers.get(5)).toMatchObject({
    result: {
      isError: true,
      content: [
        {
          text: expect.stringMatching(
            /^LIMIT_EXCEEDED: observation of "large" has 100\d+ bytes.*65536/u,
          ),
        },
      ],
    },
  });
  expect(answers.get(6)).toMatchObject({
    result: {
      structuredContent: {
        found: true,
        fact: { value: null, source: { model: "mcp", version: `\ufffd${"é".repeat(39)}` } },
      },
    },
  });
  expect(log).toContain("mcp.message-refused");
  child.stdin.end();
  expect(await exit).toBe(0);
});

test("a policy by which the newest word does not win is named, not guessed at", async () => {
  const mesh = await TestMesh.found(stack, 1, [{ prefix: "", resolver: "union" }]);
  const { socket } = await mesh.start(0);
  await using client = await ours(socket, "--document", "team/memory");
  await client.ask("create_entities", { entities: [entity("a", "b")] });
  await expect(client.ask("read_graph")).rejects.toThrow(
    /^POLICY_REFUSED: .*graph\/ resolve by union.*; add the rule/u,
  );
});
