// SPDX-License-Identifier: Apache-2.0
/** Opens a store with the real code and looks whether it holds what it must. */
import { createHash } from "node:crypto";
import { parseDocumentName, toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { openTortured } from "./open.ts";
import { STREAMS, findLast } from "./workload.ts";
import type { ReadFact, Stream } from "./workload.ts";
import { ownSeed } from "./world.ts";
import type { Acknowledged, World } from "./world.ts";

/** How a store breaks the promise. */
export type Breach = "refused" | "lost" | "torn" | "other content";

/** A store that breaks it. */
export interface Broken {
  readonly breach: Breach;
  readonly problem: string;
}

/** Opens the replica in a store for as long as `use` runs. */
export async function withReplica<T>(
  world: World,
  storePath: string,
  use: (replica: Replica) => Promise<T>,
): Promise<T> {
  await using stack = new AsyncDisposableStack();
  const { space, keyPath } = world;
  const options = { space, deviceSeed: ownSeed(world), storePath, keyPath };
  return await use(await openTortured(options, stack));
}

/** Compares facts with what was acknowledged; the number of operations of each stream when nothing is wrong. */
export function checkFacts(
  facts: readonly ReadFact[],
  seed: number,
  acknowledged: Readonly<Record<Stream, number>>,
): Broken | Readonly<Record<Stream, number>> {
  const found = { own: 0, other: 0 };
  for (const stream of STREAMS) {
    const { last, problem } = findLast(facts, seed, stream);
    if (problem !== undefined) return { breach: "torn", problem };
    if (last < acknowledged[stream]) {
      const which = `${stream} ${String(acknowledged[stream])}`;
      return {
        breach: "lost",
        problem: `${which} was acknowledged, the last one here is ${String(last)}`,
      };
    }
    found[stream] = last;
  }
  return found;
}

/** Batches of a replica in log order. */
export async function batchesOf(replica: Replica): Promise<readonly Uint8Array[]> {
  const spans = replica.chains().map(({ replica: device, incarnation, seq, void: rest }) => ({
    replica: device,
    incarnation,
    from: 1,
    to: seq + rest,
  }));
  const batches: Uint8Array[] = [];
  for await (const { bytes } of replica.read(spans)) batches.push(bytes);
  return batches;
}

/** SHA-256 over frontier and canonical content. */
export const digestOf = (replica: Replica): string =>
  createHash("sha256")
    .update(toHex(replica.frontierDigest()))
    .update(replica.snapshot().leaves.join("\n"))
    .digest("hex");

/** What a store must hold: the first so many batches of a log, and what they amount to. */
export interface Expected {
  readonly acknowledged: Acknowledged;
  readonly seed: number;
  readonly log: readonly Uint8Array[];
  /** Content digest after so many batches. */
  digestAfter(batches: number): string;
}

async function checkReplica(replica: Replica, expected: Expected): Promise<Broken | undefined> {
  const { acknowledged, log, seed } = expected;
  const batches = await batchesOf(replica);
  if (batches.length < acknowledged.batches) {
    const problem = `${String(acknowledged.batches)} batches were acknowledged, here are ${String(batches.length)}`;
    return { breach: "lost", problem };
  }
  const differs = batches.findIndex(
    (batch, i) => Buffer.compare(batch, log[i] ?? Buffer.of()) !== 0,
  );
  if (differs >= 0)
    return { breach: "other content", problem: `batch ${String(differs + 1)} is another one` };
  const facts = checkFacts(replica.list({ limit: 10_000 }), seed, acknowledged.last);
  if ("breach" in facts) return facts;
  return digestOf(replica) === expected.digestAfter(batches.length)
    ? undefined
    : {
        breach: "other content",
        problem: `the digest after ${String(batches.length)} batches is another one`,
      };
}

/** What the code said that would not open a store. */
export const refusal = (error: unknown): Broken => {
  const { message } = error instanceof Error ? error : new Error(String(error));
  const code = error instanceof Error && "code" in error ? `${String(error.code)}: ` : "";
  return { breach: "refused", problem: `${code}${message}` };
};

const AFTERWARDS = parseDocumentName("torture/afterwards");

/**
 * What is wrong with the store that a power cut left; undefined when nothing is. It must open and hold what was
 * acknowledged and nothing but a beginning of the log, and a write after that must be there after the next open.
 */
export async function inspectStore(
  world: World,
  storePath: string,
  expected: Expected,
): Promise<Broken | undefined> {
  try {
    const broken = await withReplica(world, storePath, async (replica) => {
      const problem = await checkReplica(replica, expected);
      if (problem === undefined) await replica.put(AFTERWARDS, [{ key: "works", value: true }]);
      return problem;
    });
    if (broken !== undefined) return broken;
    return await withReplica(world, storePath, async (replica) =>
      Promise.resolve(
        replica.get(AFTERWARDS, "works")?.value === true
          ? undefined
          : { breach: "lost", problem: "a write after the first open is gone at the second" },
      ),
    );
  } catch (error) {
    return refusal(error);
  }
}
