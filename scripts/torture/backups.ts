// SPDX-License-Identifier: Apache-2.0
/**
 * Harness D: backups of a running agent while it is written to. Each is restored into a new folder, opened by the real
 * code, and must hold what was acknowledged before the backup began, and exactly what some beginning of the agent's log
 * amounts to: the agent's own log at the end, and a replica in memory that receives it, say what that is.
 */
import { createHash } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import {
  createDeviceSigner,
  createDeviceVerifier,
  generateSeed,
  parsePrivateKey,
} from "@ctxmesh/crypto";
import { parseSpaceFile } from "@ctxmesh/membership";
import { parseDocumentName } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { restoreBackup } from "@ctxmesh/service";
import { createMemoryStore } from "@ctxmesh/testing";
import { until } from "../demonstration/mesh.ts";
import { Daemon, runCli } from "../demonstration/processes.ts";
import { Dice } from "../fuzz/dice.ts";
import { scratchFolder } from "./harness.ts";
import type { HarnessOptions, HarnessReport, Violation } from "./harness.ts";
import { batchesOf, checkFacts, digestOf, refusal } from "./inspect.ts";
import type { Breach, Broken } from "./inspect.ts";
import { deps, openTortured } from "./open.ts";
import { operationAt, valueOf } from "./workload.ts";

/** What to do. */
export interface BackupsOptions extends HarnessOptions {
  readonly backups: number;
  /** Changes the bytes of backup number `index`; for planting faults. */
  readonly alter?: (file: Buffer, index: number) => Buffer | Promise<Buffer>;
}

const LANES = 3;
const LENGTH = 200;
const START_SECONDS = 30;
/** The longest time between two backups. */
const PAUSE_MS = 150;
/** Of so many backups one is taken by the command. */
const COMMAND_EVERY = 5;

const laneDoc = (lane: number): string => `load/${String(lane)}`;

/** Writers that go on until they are stopped, with what was acknowledged to them. */
class Load {
  readonly #client: ContextClient;
  readonly #seed: number;
  readonly #writers: readonly Promise<void>[];
  #stopped = false;
  /** The last operation of the stream `own`. */
  own = 0;
  /** The last number of each lane. */
  readonly lanes: number[] = Array.from({ length: LANES }, () => 0);

  constructor(client: ContextClient, seed: number) {
    this.#client = client;
    this.#seed = seed;
    this.#writers = [this.#writeOwn(), ...this.lanes.map(async (_, lane) => this.#count(lane))];
  }

  /** What is acknowledged at this moment. */
  get acknowledged(): { readonly own: number; readonly lanes: readonly number[] } {
    return { own: this.own, lanes: [...this.lanes] };
  }

  async #writeOwn(): Promise<void> {
    while (!this.#stopped) {
      const id = this.own + 1;
      const { doc, keys, deletes } = operationAt("own", id);
      if (deletes) await this.#client.delete(doc, keys);
      else {
        const facts = keys.map((key) => ({
          key,
          value: valueOf(this.#seed, "own", id, key, LENGTH),
        }));
        await this.#client.put(doc, facts);
      }
      this.own = id;
    }
  }

  async #count(lane: number): Promise<void> {
    while (!this.#stopped) {
      const value = (this.lanes[lane] ?? 0) + 1;
      await this.#client.put(laneDoc(lane), { key: "count", value });
      this.lanes[lane] = value;
    }
  }

  /** Rejects when a write failed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#writers);
  }
}

/** What a restored store was found to hold. */
interface Found {
  readonly batches: number;
  /** SHA-256 over its log. */
  readonly log: string;
  readonly content: string;
}

/** The agent, and what it takes to open its stores. */
class Stage {
  readonly folder: string;
  readonly daemon: Daemon;

  constructor(folder: string) {
    this.folder = folder;
    this.daemon = new Daemon("agent-1", folder, ["agent", "agent-1.yaml"], "agent-1/agent.sock");
  }

  async withReplica<T>(storePath: string, use: (replica: Replica) => Promise<T>): Promise<T> {
    await using stack = new AsyncDisposableStack();
    const path = (name: string): string => join(this.folder, name);
    const options = {
      space: parseSpaceFile(readFileSync(path("space.json"), "utf8"), createDeviceVerifier()),
      deviceSeed: parsePrivateKey(readFileSync(path("agent-1/device.jwk"), "utf8")).seed,
      keyPath: path("agent-1/store.key"),
      storePath,
    };
    const replica = await openTortured(options, stack);
    return await use(replica);
  }
}

async function startAgent(stage: Stage, client: ContextClient): Promise<void> {
  stage.daemon.start();
  await until("the agent answers", START_SECONDS, async () => {
    if (!stage.daemon.running) throw new Error("the agent ended by itself");
    return client.status().then(
      () => true,
      () => false,
    );
  });
}

/** Takes a backup of the running agent into a file. */
async function take(
  stage: Stage,
  client: ContextClient,
  file: string,
  index: number,
): Promise<void> {
  if (index % COMMAND_EVERY === 0) {
    const args = ["backup", file, "--socket", stage.daemon.socketPath];
    const { exitCode, stderr } = await runCli(args, stage.folder);
    if (exitCode !== 0) throw new Error(stderr.trim());
    return;
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of client.backup()) chunks.push(chunk);
  writeFileSync(file, Buffer.concat(chunks));
}

/** Restores a backup and looks whether all is there that had been acknowledged before it began. */
async function restoreAndLook(
  stage: Stage,
  file: string,
  before: Load["acknowledged"],
  seed: number,
): Promise<Found | Broken> {
  const path = `${file}.store`;
  try {
    await restoreBackup({ file, path });
    return await stage.withReplica(path, async (replica) => {
      const facts = checkFacts(replica.list({ limit: 10_000 }), seed, {
        own: before.own,
        other: 0,
      });
      if ("breach" in facts) return facts;
      for (const [lane, count] of before.lanes.entries()) {
        const shown = Number(replica.get(parseDocumentName(laneDoc(lane)), "count")?.value ?? 0);
        if (shown >= count) continue;
        const problem = `lane ${String(lane)} shows ${String(shown)}, and ${String(count)} was acknowledged`;
        return { breach: "lost", problem };
      }
      if (replica.chains().some(({ incarnation }) => incarnation === replica.incarnation)) {
        return { breach: "other content", problem: "it goes on in a chain of the original" };
      }
      const batches = await batchesOf(replica);
      return { batches: batches.length, log: hashOf(batches), content: digestOf(replica) };
    });
  } catch (error) {
    return refusal(error);
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}

function hashOf(batches: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const batch of batches) hash.update(batch);
  return hash.digest("hex");
}

/** Compares what was found with the log that the agent has in the end. The numbers of those that differ, and how. */
async function compare(
  stage: Stage,
  found: ReadonlyMap<number, Found>,
): Promise<ReadonlyMap<number, Broken>> {
  const broken = new Map<number, Broken>();
  const path = join(stage.folder, "agent-1/store");
  const { log, space } = await stage.withReplica(path, async (replica) => ({
    log: await batchesOf(replica),
    space: replica.space,
  }));
  const model = await Replica.open({
    store: createMemoryStore(),
    space,
    signer: createDeviceSigner(generateSeed(deps.random)),
    verifier: createDeviceVerifier(),
    ...deps,
  });
  let received = 0;
  const inOrder = [...found].toSorted(([, a], [, b]) => a.batches - b.batches);
  for (const [index, { batches, log: logHash, content }] of inOrder) {
    for (; received < Math.min(batches, log.length); received++) {
      const { kind } = await model.receive(log[received] ?? new Uint8Array());
      if (kind !== "accepted") throw new Error(`a batch of the agent's own log was ${kind}`);
    }
    const problem =
      hashOf(log.slice(0, batches)) !== logHash
        ? `its ${String(batches)} batches are no beginning of the agent's log`
        : digestOf(model) === content
          ? undefined
          : `its digest is not that of its ${String(batches)} batches`;
    if (problem !== undefined) broken.set(index, { breach: "other content", problem });
  }
  await model.close();
  return broken;
}

/** Runs harness D. */
export async function runBackups(options: BackupsOptions): Promise<HarnessReport> {
  const { seed, backups, progress, alter } = options;
  using scratch = scratchFolder();
  const stage = new Stage(join(scratch.path, "mesh"));
  const args = ["--agents", "1", "--ports", "auto", "--name", "torture"];
  const made = await runCli(["init", stage.folder, ...args], process.cwd());
  if (made.exitCode !== 0) throw new Error(made.stderr.trim());
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => stage.daemon.stop("SIGKILL"));
  const client = connect({ socketPath: stage.daemon.socketPath });
  cleanup.defer(() => {
    client.close();
  });
  await startAgent(stage, client);
  const load = new Load(client, seed);
  const found = new Map<number, Found>();
  const broken = new Map<number, Broken>();
  for (let index = 0; index < backups; index++) {
    progress(`backup ${String(index + 1)} of ${String(backups)}`);
    await sleep(new Dice(seed, index).roll(PAUSE_MS));
    const file = join(scratch.path, `${String(index)}.backup`);
    const before = load.acknowledged;
    await take(stage, client, file, index);
    if (alter !== undefined) writeFileSync(file, await alter(readFileSync(file), index));
    const result = await restoreAndLook(stage, file, before, seed);
    if ("breach" in result) broken.set(index, result);
    else found.set(index, result);
    rmSync(file);
  }
  await load.stop();
  await stage.daemon.stop();
  progress("comparing with the agent's log");
  for (const [index, problem] of await compare(stage, found)) broken.set(index, problem);
  return reportOf(options, broken, {
    acknowledged: load.own + load.lanes.reduce((sum, count) => sum + count, 0),
    "batches restored": [...found.values()].reduce((sum, { batches }) => sum + batches, 0),
  });
}

function reportOf(
  { seed, backups }: BackupsOptions,
  broken: ReadonlyMap<number, Broken>,
  more: Readonly<Record<string, number>>,
): HarnessReport {
  const breaches: Record<Breach, number> = { refused: 0, lost: 0, torn: 0, "other content": 0 };
  const violations: Violation[] = [];
  for (const [index, { breach, problem }] of broken) {
    breaches[breach]++;
    violations.push({
      problem: `backup ${String(index + 1)}: ${breach}: ${problem}`,
      again: `npm run torture -- --only D --seed ${String(seed)} --backups ${String(index + 1)}`,
    });
  }
  return { figures: { backups, ...more, ...breaches }, violations };
}
