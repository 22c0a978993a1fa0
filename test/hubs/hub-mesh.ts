// SPDX-License-Identifier: Apache-2.0
/** Three hubs on one PostgreSQL and three agents, as processes, with writers that note what is acknowledged. */
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { envelopeHash, envelopeStatement, parseBundle } from "@ctxmesh/ledger";
import { toMeshError } from "@ctxmesh/model";
import type { NodeStatus } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { waitFor } from "@ctxmesh/testing";
import type { PostgresServer } from "../../packages/engine-postgres/test/server.ts";
import { initMesh, run, startDaemon } from "../e2e/processes.ts";
import type { Daemon } from "../e2e/processes.ts";

const NODES = 3;
const ACK_MS = 60_000;
const WAIT_MS = 60_000;
/** Keys of a document: few enough for one answer of a list. */
const KEYS = 5_000;
const docOf = (worker: string, i: number): string =>
  `worker-${worker}/${String(Math.floor(i / KEYS))}`;
/** Writers at each agent. */
const WRITERS = 4;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A hub's or an agent's process, which may be away, and a client of it. */
class Node implements AsyncDisposable {
  readonly client: ContextClient;
  readonly #dir: string;
  readonly #kind: "hub" | "agent";
  readonly #config: string;
  #daemon: Daemon | undefined;

  constructor(dir: string, kind: "hub" | "agent", name: string) {
    this.#dir = dir;
    this.#kind = kind;
    this.#config = `${name}.yaml`;
    this.client = connect({ socketPath: join(dir, name, `${kind}.sock`) });
  }

  async start(): Promise<void> {
    this.#daemon = await startDaemon(this.#dir, this.#kind, this.#config);
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#daemon?.signal(signal);
  }

  async kill(): Promise<void> {
    await this.#daemon?.end("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await this.#daemon?.[Symbol.asyncDispose]();
  }
}

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
  readonly hubs: readonly Node[];
  readonly agents: readonly Node[];
  readonly #server: PostgresServer;
  readonly #workers: readonly Worker[];
  #isOver = false;
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(dir: string, server: PostgresServer) {
    this.#server = server;
    this.hubs = namesOf("hub").map((name) => new Node(dir, "hub", name));
    this.agents = namesOf("agent").map((name) => new Node(dir, "agent", name));
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
      this.#workers.map(async (worker) => worker.run(() => this.#isOver)),
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
   * its death, what a hub said of it meanwhile, and whether reads went on.
   */
  async killDatabase(): Promise<{
    readonly late: number;
    readonly said: NodeStatus["engine"];
    readonly reads: boolean;
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
    const late = this.count - from;
    await this.#server.resume();
    await this.progress(20);
    return { late, said, reads };
  }

  /**
   * Stops whichever hub seals, as a machine that is suspended, until another one has taken over and sealed; both are then asked to seal at
   * once. Resolves with what came of these two: sequences, or codes of errors.
   */
  async pauseSealer(): Promise<{ readonly tookMs: number; readonly outcomes: readonly unknown[] }> {
    const leads = async (node: Node): Promise<boolean> =>
      (await node.client.status()).engine?.sealingEpoch !== undefined;
    let leader: Node | undefined;
    await waitFor(
      async () => {
        const leading = await Promise.all(this.hubs.map(leads));
        leader = this.hubs[leading.indexOf(true)];
        return leader !== undefined;
      },
      { timeoutMs: WAIT_MS, what: "a hub to seal" },
    );
    const others = this.hubs.filter((hub) => hub !== leader);
    const since = performance.now();
    leader?.signal("SIGSTOP");
    let next: Node | undefined;
    await waitFor(
      async () => {
        const leading = await Promise.all(others.map(leads));
        next = others[leading.indexOf(true)];
        // On a machine that is busy, it may lose the lease again before it gets to it.
        return next !== undefined && typeof (await sealAt(next)) === "number";
      },
      { timeoutMs: WAIT_MS, what: "another hub to seal" },
    );
    const tookMs = performance.now() - since;
    leader?.signal("SIGCONT");
    const both = [leader, next].filter((hub) => hub !== undefined);
    const outcomes = await Promise.all(both.map(sealAt));
    return { tookMs, outcomes };
  }

  /** The number of seals, after each was found to name the one before. Throws when one does not. */
  async checkSeals(): Promise<number> {
    // One that was stopped hears of the newest seals a little later.
    const counts = await Promise.all(
      this.hubs.map(async (hub) => (await hub.client.status()).seals ?? 0),
    );
    const count = Math.max(...counts);
    const client = this.hubs[counts.indexOf(count)]?.client;
    const bundleAt = async (sequence: number): Promise<Uint8Array> =>
      (await client?.bundle(sequence)) ?? new Uint8Array();
    let previous: string | null = null;
    for (let sequence = 1; sequence <= count; sequence++) {
      const { envelope } = parseBundle(await bundleAt(sequence));
      const statement = envelopeStatement(envelope);
      if (statement.sequence !== sequence || statement.previous !== previous) {
        throw new Error(`seal ${String(sequence)} does not follow the one before`);
      }
      previous = envelopeHash(envelope);
    }
    return count;
  }

  /** Ends the writers, waits until all nodes are equal, and looks for what should not be. */
  async check(): Promise<{
    readonly acknowledged: number;
    readonly lost: number;
    readonly gaps: number;
    readonly digests: number;
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

/** The number of a seal, or why there is none. */
const sealAt = async ({ client }: Node): Promise<number | string> =>
  client.seal().then(
    ({ sequence }) => sequence,
    (error: unknown) => toMeshError(error).code,
  );

const namesOf = (kind: "hub" | "agent"): readonly string[] =>
  Array.from({ length: NODES }, (_, i) =>
    kind === "hub" && i === 0 ? "hub" : `${kind}-${String(i + 1)}`,
  );

/** Two more hubs with keys and grants of their own; each agent has two of the hubs, and no other agents. */
async function writeConfigs(dir: string, url: string): Promise<void> {
  const template = await readFile(join(dir, "hub.yaml"), "utf8");
  const engine = `engine:\n  url: ${url}\n`;
  const ports: number[] = [];
  for (const name of namesOf("hub")) {
    const port = name === "hub" ? Number(/port: (\d+)/u.exec(template)?.[1]) : await freePort();
    ports.push(port);
    if (name !== "hub") await addHub(dir, name);
    const config = template
      .replaceAll(/hub\/(device\.jwk|store|hub\.sock)/gu, `${name}/$1`)
      .replace(/port: \d+/u, `port: ${String(port)}`);
    await writeFile(join(dir, `${name}.yaml`), config + engine);
  }
  for (const [i, name] of namesOf("agent").entries()) {
    const path = join(dir, `${name}.yaml`);
    const urls = [0, 1].map((step) => `  - ws://127.0.0.1:${String(ports[(i + step) % NODES])}\n`);
    const config = (await readFile(path, "utf8"))
      .replace(/^mesh:\n(?: .*\n)*/mu, "mesh:\n  listen: []\n  peers: []\n")
      .replace(/^hubs:\n(?: .*\n)*/mu, `hubs:\n${urls.join("")}`);
    await writeFile(path, config);
  }
}

async function addHub(dir: string, name: string): Promise<void> {
  await mkdir(join(dir, name), { recursive: true });
  const key = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  await writeFile(join(dir, name, "device.jwk"), JSON.stringify(key), { mode: 0o600 });
  const device = Buffer.from(key.x ?? "", "base64url").toString("hex");
  const grant = ["space", "grant", device, "--service", "hub", "--role", "write"];
  const { exit, stderr } = await run(
    dir,
    ...grant,
    "--space",
    "space.json",
    "--key",
    "creator/creator.jwk",
  );
  if (exit !== 0) throw new Error(stderr);
}
