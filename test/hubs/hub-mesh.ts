// SPDX-License-Identifier: Apache-2.0
/** Three hubs on one PostgreSQL and three agents, as processes, with writers that note what is acknowledged. */
import { setTimeout as sleep } from "node:timers/promises";
import { toMeshError } from "@ctxmesh/model";
import type { NodeStatus } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";
import { waitFor } from "@ctxmesh/testing";
import type { PostgresServer } from "../../packages/engine-postgres/test/server.ts";
import { initMesh } from "../e2e/processes.ts";
import { HubNode, NODES, namesOf, writeConfigs } from "./hub-node.ts";
import { Raiser, reportRaises } from "./raiser.ts";
import type { RaiseReport } from "./raiser.ts";

const ACK_MS = 60_000;
const WAIT_MS = 60_000;
/** Keys of a document: few enough for one answer of a list. */
const KEYS = 5_000;
const docOf = (worker: string, i: number): string =>
  `worker-${worker}/${String(Math.floor(i / KEYS))}`;
/** Writers at each agent. */
const WRITERS = 4;

/** Writes keys `worker/number`, each until a hub has it. */
class Worker {
  readonly acknowledged: string[] = [];
  readonly #client: ContextClient;
  readonly name: string;

  constructor(client: ContextClient, name: string) {
    this.#client = client;
    this.name = name;
  }

  async run(isOver: () => boolean): Promise<void> {
    for (let i = 0; !isOver(); i++) {
      const key = `${this.name}/${String(i)}`;
      try {
        await this.#client.put(
          docOf(this.name, i),
          { key, value: i },
          { ack: "hub", timeoutMs: ACK_MS },
        );
        this.acknowledged.push(key);
      } catch (error) {
        if (toMeshError(error).code !== "ACK_TIMEOUT") throw error;
      }
    }
  }
}

/** The mesh, and what is written in it. */
export class HubMesh implements AsyncDisposable {
  /** Where its files are. */
  readonly dir: string;
  readonly hubs: readonly HubNode[];
  readonly agents: readonly HubNode[];
  readonly #server: PostgresServer;
  readonly #workers: readonly Worker[];
  readonly #raisers: readonly Raiser[];
  #isOver = false;
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(dir: string, server: PostgresServer) {
    this.dir = dir;
    this.#server = server;
    this.hubs = namesOf("hub").map((name) => new HubNode(dir, "hub", name));
    this.agents = namesOf("agent").map((name) => new HubNode(dir, "agent", name));
    this.#raisers = this.agents.map(({ client }) => new Raiser(client));
    this.#workers = this.agents.flatMap(({ client }, i) =>
      Array.from(
        { length: WRITERS },
        (_, j) => new Worker(client, `${String(i + 1)}-${String(j + 1)}`),
      ),
    );
  }

  /** Makes the folder's files, and starts all processes. */
  static async start(dir: string, server: PostgresServer): Promise<HubMesh> {
    await initMesh(dir, NODES);
    await writeConfigs(dir, server.url);
    const mesh = new HubMesh(dir, server);
    for (const node of [...mesh.hubs, ...mesh.agents]) await node.start();
    return mesh;
  }

  /** Number of writes that were acknowledged. */
  get count(): number {
    return this.#workers.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0);
  }

  /** Begins to write, until the mesh is checked. */
  write(): void {
    this.#writing = Promise.all(
      [...this.#workers, ...this.#raisers].map(async (one) => one.run(() => this.#isOver)),
    );
    // Whoever waits for the writers in the end hears of it.
    this.#writing.catch(() => undefined);
  }

  /** Waits until so many more are acknowledged. */
  async progress(writes: number): Promise<void> {
    const from = this.count;
    await waitFor(() => this.count >= from + writes, {
      timeoutMs: WAIT_MS,
      what: `${String(writes)} more writes that are acknowledged`,
    });
  }

  /** Kills a hub in the midst of writes; the others go on without it; starts it again. */
  async killHub(index: number): Promise<void> {
    const hub = this.hubs[index % NODES];
    await hub?.kill();
    await this.progress(20);
    await hub?.start();
    await this.progress(20);
  }

  /**
   * Kills the database in the midst of writes, and starts it again. Resolves with how many writes were acknowledged later than 2 s after
   * its death, what a hub said of it meanwhile, and whether reads at the hub and writes at an agent went on.
   */
  async killDatabase(): Promise<{
    readonly late: number;
    readonly said: NodeStatus["engine"];
    readonly reads: boolean;
    readonly local: boolean;
  }> {
    await this.#server.stop("SIGKILL");
    await sleep(2_000);
    const from = this.count;
    const client = this.hubs[0]?.client;
    await waitFor(async () => (await client?.status())?.engine?.reachable === false, {
      timeoutMs: WAIT_MS,
      what: "the hub to say that the engine is away",
    });
    const said = (await client?.status())?.engine;
    const reads = (await client?.list({ limit: 1 }))?.length === 1;
    const written = await this.agents[0]?.client.put("meanwhile", { key: "local", value: from });
    const late = this.count - from;
    await this.#server.resume();
    await this.progress(20);
    return { late, said, reads, local: written !== undefined };
  }

  /** Ends the writers, waits until all nodes are equal, and looks for what should not be. */
  async check(): Promise<{
    readonly acknowledged: number;
    readonly lost: number;
    readonly gaps: number;
    readonly digests: number;
    readonly raises: RaiseReport;
  }> {
    this.#isOver = true;
    await this.#writing;
    const nodes = [...this.hubs, ...this.agents];
    const digests = async (): Promise<number> =>
      new Set(
        await Promise.all(
          nodes.map(async ({ client }) => (await client.status({ digest: true })).digest),
        ),
      ).size;
    await waitFor(async () => (await digests()) === 1, {
      timeoutMs: WAIT_MS,
      what: "all nodes to be equal",
    });
    const lost = await Promise.all(this.hubs.map(async ({ client }) => this.#lostAt(client)));
    const [row] = await this.#server.sql(
      "SELECT count(*)::INT AS records, max(position)::INT AS newest, (SELECT max(position)::INT FROM ctxmesh_head) AS head FROM ctxmesh_log",
    );
    const { records, newest, head } = row as { records: number; newest: number; head: number };
    return {
      acknowledged: this.count,
      lost: Math.max(...lost),
      gaps: Math.abs(newest - records) + Math.abs(head - newest),
      digests: await digests(),
      raises: await reportRaises(this.#raisers, nodes),
    };
  }

  async #lostAt(client: ContextClient): Promise<number> {
    const keys = new Set<string>();
    for (const { name, acknowledged } of this.#workers) {
      const newest = Number(acknowledged.at(-1)?.split("/").at(-1) ?? 0);
      for (let i = 0; i <= newest; i += KEYS) {
        const facts = await client.list({ doc: docOf(name, i), limit: 10_000 });
        for (const { key } of facts) keys.add(key);
      }
    }
    return this.#workers.flatMap(({ acknowledged }) => acknowledged).filter((key) => !keys.has(key))
      .length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    for (const node of [...this.agents, ...this.hubs]) await node[Symbol.asyncDispose]();
  }
}
