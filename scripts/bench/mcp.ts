// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh mcp` beside the reference memory server: one client's calls, and eight processes that write the same graph. */
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { encodeSpaceFile } from "@ctxmesh/membership";
import { Client } from "@modelcontextprotocol/sdk/client";
// oxlint-disable-next-line import/extensions -- the export paths of the library end in .js
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { startChild } from "./children.ts";
import { aimed, measured } from "./figure.ts";
import type { Bench, BenchOptions, Report } from "./figure.ts";
import { benchFolder } from "./files.ts";
import { foundSpace } from "./space.ts";
import { percentile } from "./stats.ts";
import type { AgentStart } from "./workers/agent.ts";

const pathOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const CTXMESH = pathOf("../../packages/cli/bin/ctxmesh.js");
const REFERENCE = pathOf("../../node_modules/@modelcontextprotocol/server-memory/dist/index.js");

const TARGET_MS = 5;
const WARM_UP = 50;
const ENTITIES = 200;
const WRITERS = 8;
const SAID_BY_EACH = 25;

interface Mcp extends AsyncDisposable {
  /** Calls a tool; rejects with what it says is wrong. */
  call(name: string, args?: object): Promise<Readonly<Record<string, unknown>>>;
}

type Start = () => Promise<Mcp>;

async function connect(args: readonly string[], env: Record<string, string>): Promise<Mcp> {
  const client = new Client({ name: "bench", version: "1" });
  await client.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: [...args],
      env: { PATH: process.env["PATH"] ?? "", ...env },
      stderr: "ignore",
    }),
  );
  return {
    async call(name, given = {}) {
      const answer = await client.callTool({ name, arguments: { ...given } });
      if (answer.isError === true) throw new Error(JSON.stringify(answer.content));
      return answer.structuredContent as Readonly<Record<string, unknown>>;
    },
    [Symbol.asyncDispose]: async () => client.close(),
  };
}

/** Milliseconds of the middle call. */
async function p50(
  calls: number,
  signal: AbortSignal,
  call: (i: number) => Promise<unknown>,
): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < calls + WARM_UP; i++) {
    signal.throwIfAborted();
    const before = performance.now();
    await call(i);
    if (i >= WARM_UP) times.push(performance.now() - before);
  }
  return percentile(times, 0.5);
}

interface Figures {
  readonly add: number;
  readonly open: number;
  readonly lost: number;
}

const nameOf = (i: number): string => `entity ${String(i % ENTITIES)}`;

/** Observations that are not there after eight processes each made some of the same entity. */
async function lostOf(start: Start): Promise<number> {
  const clients = await Promise.all(Array.from({ length: WRITERS }, start));
  await using stack = new AsyncDisposableStack();
  for (const client of clients) stack.use(client);
  await clients[0]?.call("create_entities", {
    entities: [{ name: "shared", entityType: "bench", observations: [] }],
  });
  await Promise.all(
    clients.map(async (client, i) => {
      for (let n = 0; n < SAID_BY_EACH; n++) {
        const contents = [`${String(i)} said ${String(n)}`];
        // Where a process reads what another has half replaced the entity is gone, and with it what is said of it.
        await client
          .call("add_observations", { observations: [{ entityName: "shared", contents }] })
          .catch(() => undefined);
      }
    }),
  );
  const opened = await clients[0]?.call("open_nodes", { names: ["shared"] });
  const entities = (opened?.["entities"] ?? []) as readonly {
    readonly observations: readonly string[];
  }[];
  return WRITERS * SAID_BY_EACH - (entities[0]?.observations.length ?? 0);
}

async function memory(start: Start, calls: number, signal: AbortSignal): Promise<Figures> {
  const client = await start();
  await using stack = new AsyncDisposableStack();
  stack.use(client);
  await client.call("create_entities", {
    entities: Array.from({ length: ENTITIES }, (_, i) => ({
      name: nameOf(i),
      entityType: "bench",
      observations: ["was made", `is the ${String(i)}th`],
    })),
  });
  return {
    add: await p50(calls, signal, async (i) =>
      client.call("add_observations", {
        observations: [{ entityName: nameOf(i), contents: [`said ${String(i)}`] }],
      }),
    ),
    open: await p50(calls, signal, async (i) => client.call("open_nodes", { names: [nameOf(i)] })),
    lost: await lostOf(start),
  };
}

async function run({ quick, signal, progress }: BenchOptions): Promise<Report> {
  const calls = quick ? 300 : 1_500;
  await using folder = await benchFolder();
  const { space, seeds } = foundSpace(1);
  await using agent = startChild("agent", signal);
  const options: AgentStart = {
    space: encodeSpaceFile(space),
    seed: seeds[0] ?? new Uint8Array(),
    folder: folder.path,
    peers: [],
  };
  await agent.call("start", options);
  const start: Start = async () =>
    connect([CTXMESH, "mcp", "--socket", join(folder.path, "s.sock")], {});
  const startReference: Start = async () =>
    connect([REFERENCE], { MEMORY_FILE_PATH: join(folder.path, "memory.jsonl") });
  progress("facts");
  const client = await start();
  await using stack = new AsyncDisposableStack();
  stack.use(client);
  const key = (i: number): string => `key ${String(i % ENTITIES)}`;
  const put = await p50(calls, signal, async (i) =>
    client.call("put", { doc: "bench", key: key(i), value: i }),
  );
  const get = await p50(calls, signal, async (i) =>
    client.call("get", { doc: "bench", key: key(i) }),
  );
  progress("graph");
  const mine = await memory(start, calls, signal);
  progress("reference");
  const theirs = await memory(startReference, calls, signal);
  const lost = { value: mine.lost, baseline: theirs.lost };
  return {
    figures: [
      aimed("mcp put, p50", { value: put, baseline: theirs.add }, "ms", "lower", TARGET_MS),
      aimed("mcp get, p50", { value: get, baseline: theirs.open }, "ms", "lower", TARGET_MS),
      measured(
        "mcp add_observations, p50",
        { value: mine.add, baseline: theirs.add },
        "ms",
        "lower",
      ),
      measured("mcp open_nodes, p50", { value: mine.open, baseline: theirs.open }, "ms", "lower"),
      aimed("mcp observations lost by 8 processes", lost, "observations", "lower", 1),
    ],
    notes: [
      `The baseline is the reference memory server in the same run: its add_observations for put, its open_nodes for get, on a graph of ${String(ENTITIES)} entities. It syncs nothing to the disk; each write of ours is signed and synced.`,
      `Of ${String(WRITERS * SAID_BY_EACH)} observations that ${String(WRITERS)} processes made of one entity at once.`,
      ...folder.notes,
    ],
  };
}

/** The benchmark of `ctxmesh mcp`. */
export const mcpBench: Bench = {
  summary: "ctxmesh mcp beside the reference memory server: calls of one client, writes of eight",
  run,
};
