// SPDX-License-Identifier: Apache-2.0
/**
 * A process that writes to a store through the real replica until it is killed, or has written enough. Prints one
 * line for each thing that others may rely on:
 *
 * - `ready`: the store is open;
 * - `ack STREAM ID COUNT`: operation ID was acknowledged, when the log had COUNT batches.
 */
import { readFileSync, writeSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { parseSpaceFile } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { fromHex, parseDocumentName } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import { FAULTS } from "./faults.ts";
import type { Fault } from "./faults.ts";
import { deps, openTortured } from "./open.ts";
import { STREAMS, findLast, operationAt, valueOf } from "./workload.ts";
import type { Stream } from "./workload.ts";

/** What a writer does; the one argument of the program, as JSON. */
export interface WriterPlan {
  readonly storePath: string;
  readonly spacePath: string;
  readonly keyPath: string;
  /** Of the device keys of both streams, hex. */
  readonly deviceSeeds: Readonly<Record<Stream, string>>;
  readonly seed: number;
  /** Operations in flight on each stream. */
  readonly lanes: number;
  /** Operations of each stream; without it, until killed. */
  readonly operations?: number;
  /** Of 100 operations, those with values near the limit; the others have short ones. */
  readonly bigPercent: number;
  /** After how many operations of a stream to wait for as long, in milliseconds. */
  readonly pause?: { readonly every: number; readonly ms: number };
  /** How it ends once all is written: with the store closed, or killed with writes under way. */
  readonly end: "close" | "kill";
  readonly fault?: Fault;
}

const SMALL = 40;
const BIG = 20_000;

/** Prints a line, however slowly it is read. */
function say(line: string): void {
  let rest = Buffer.from(`${line}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
    }
  }
}

/** Runs one operation; resolves once it is acknowledged. */
type Run = (id: number) => Promise<void>;

const isBig = (id: number, percent: number): boolean => (id * 37) % 100 < percent;

function runOn(replica: Replica, stream: Stream, { seed, bigPercent }: WriterPlan): Run {
  return async (id) => {
    const { doc, keys, deletes } = operationAt(stream, id);
    const name = parseDocumentName(doc);
    const length = isBig(id, bigPercent) ? BIG : SMALL;
    if (deletes) await replica.delete(name, keys);
    else {
      await replica.put(
        name,
        keys.map((key) => ({ key, value: valueOf(seed, stream, id, key, length) })),
      );
    }
  };
}

/** The same on another device, whose batches the replica receives. */
async function runAbroad(replica: Replica, space: Space, plan: WriterPlan): Promise<Run> {
  const signer = createDeviceSigner(fromHex(plan.deviceSeeds.other));
  const verifier = createDeviceVerifier();
  const store = createMemoryStore();
  const other = await Replica.open({ ...deps, store, space, signer, verifier });
  let received = Promise.resolve();
  other.onApplied(({ bytes }) => {
    const before = received;
    received = (async () => {
      await before;
      const { kind } = await replica.receive(bytes);
      if (kind !== "accepted") throw new Error(`a batch was ${kind}`);
    })();
  });
  const run = runOn(other, "other", plan);
  return async (id) => {
    await run(id);
    await received;
  };
}

const batchesIn = (replica: Replica): number =>
  replica.heads().reduce((sum, { seq }) => sum + seq, 0);

async function writeStream(
  replica: Replica,
  stream: Stream,
  run: Run,
  plan: WriterPlan,
): Promise<void> {
  const { operations = Infinity, pause, lanes } = plan;
  const { last, problem } = findLast(replica.list({ limit: 10_000 }), plan.seed, stream);
  if (problem !== undefined) throw new Error(problem);
  let next = last + 1;
  const lane = async (): Promise<void> => {
    while (next <= last + operations) {
      const id = next++;
      await run(id);
      say(`ack ${stream} ${String(id)} ${String(batchesIn(replica))}`);
      if (pause !== undefined && id % pause.every === 0) await sleep(pause.ms);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

async function main(plan: WriterPlan): Promise<void> {
  if (plan.fault !== undefined) FAULTS[plan.fault]();
  const space = parseSpaceFile(readFileSync(plan.spacePath, "utf8"), createDeviceVerifier());
  await using stack = new AsyncDisposableStack();
  const deviceSeed = fromHex(plan.deviceSeeds.own);
  const { storePath, keyPath } = plan;
  const replica = await openTortured({ space, deviceSeed, storePath, keyPath }, stack);
  say("ready");
  const runs = {
    own: runOn(replica, "own", plan),
    other: await runAbroad(replica, space, plan),
  };
  const streams = STREAMS.map(async (stream) => writeStream(replica, stream, runs[stream], plan));
  // The first stream to end ends the process in the middle of the other.
  await (plan.end === "kill" ? Promise.race(streams) : Promise.all(streams));
  if (plan.end === "kill") dieSoon();
}

/** Ends the process within half a millisecond, in which the writes under way are at any step. */
function dieSoon(): never {
  const until = performance.now() + Math.random() / 2;
  while (performance.now() < until);
  process.kill(process.pid, "SIGKILL");
  throw new Error("still there");
}

await main(JSON.parse(process.argv[2] ?? "{}") as WriterPlan);
