// SPDX-License-Identifier: Apache-2.0
/**
 * Harness B: the power is cut. Writers run under strace; their folder is shown again as it may be after a cut at any
 * moment (see `crash-state.ts`), opened by the real code, and compared with what had been acknowledged before that moment.
 * A store that refuses to open is a violation as well: nothing is wrong with it.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createDeviceSigner, createDeviceVerifier, generateSeed } from "@ctxmesh/crypto";
import { Replica } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import { Dice } from "../fuzz/dice.ts";
import { TAILS, writeCrashState } from "./crash-state.ts";
import type { Cut } from "./crash-state.ts";
import { nodesIn } from "./disk.ts";
import type { Node } from "./disk.ts";
import { scratchFolder } from "./harness.ts";
import type { HarnessOptions, HarnessReport, Violation } from "./harness.ts";
import { digestOf, inspectStore } from "./inspect.ts";
import type { Breach, Broken } from "./inspect.ts";
import { deps } from "./open.ts";
import { keepRecording, openRecording, record, whyNoStrace } from "./recording.ts";
import type { RecordOptions, Recording } from "./recording.ts";
import { acknowledgedIn } from "./world.ts";
import type { World } from "./world.ts";

/** What to do. */
export interface PowerCutOptions extends HarnessOptions, RecordOptions {
  /** How many states to look at. */
  readonly states: number;
  /** Look at this one alone. */
  readonly state?: number;
  /** The folder of a recording that was kept; without it, a new one is made. */
  readonly recording?: string;
  /** Changes a recording before it is used; for planting faults. */
  readonly alter?: (recording: Recording) => Recording;
}

/** Moments so near to a change of names count as about it. */
const NEAR = 4;
const MOST_VIOLATIONS = 10;

/** All moments at which something happened, and the places among them of what was done to folders. */
interface Moments {
  readonly all: readonly number[];
  readonly names: readonly number[];
}

function momentsOf({ root, said }: Recording): Moments {
  const nodes = [...nodesIn(root)];
  const spans = nodes.flatMap(({ changes, syncs }) => [...changes, ...syncs]);
  const all = [...new Set([...spans, ...said].flatMap(({ start, end }) => [start, end]))].toSorted(
    (a, b) => a - b,
  );
  const places = new Map(all.map((moment, place) => [moment, place]));
  const names = nodes
    .flatMap((node) => (node.kind === "folder" ? [...node.changes, ...node.syncs] : []))
    .flatMap(({ start, end }) => [places.get(start) ?? 0, places.get(end) ?? 0]);
  return { all, names };
}

/** The cut of a number: each second one is near a change of names, of which there are few. */
function cutOf(state: number, moments: Moments, dice: Dice): Cut {
  const { all, names } = moments;
  const place = dice.chance(50)
    ? dice.roll(all.length)
    : dice.pick(names) + dice.roll(2 * NEAR + 1) - NEAR;
  const moment = all[Math.min(all.length - 1, Math.max(0, place))] ?? 0;
  return { at: moment + 1, tail: TAILS[state % TAILS.length] ?? "prefix" };
}

/** The digests of a log's content after each batch, by a replica in memory that receives them. */
async function digestsOf(world: World, log: readonly Uint8Array[]): Promise<readonly string[]> {
  const replica = await Replica.open({
    store: createMemoryStore(),
    space: world.space,
    signer: createDeviceSigner(generateSeed(deps.random)),
    verifier: createDeviceVerifier(),
    ...deps,
  });
  const digests = [digestOf(replica)];
  for (const batch of log) {
    const { kind } = await replica.receive(batch);
    if (kind !== "accepted") throw new Error(`a batch of the recording was ${kind}`);
    digests.push(digestOf(replica));
  }
  await replica.close();
  return digests;
}

interface Stage {
  readonly world: World;
  readonly recording: Recording;
  readonly digests: readonly string[];
  readonly moments: Moments;
  readonly folder: string;
}

/** Shows one state, opens it, and says what is wrong with it. */
async function tryState(
  { world, recording, digests, moments, folder }: Stage,
  seed: number,
  state: number,
): Promise<(Broken & { readonly cut: Cut }) | undefined> {
  const dice = new Dice(seed, state);
  const cut = cutOf(state, moments, dice);
  const disk = join(folder, String(state));
  mkdirSync(disk);
  writeCrashState(recording.root, cut, dice, disk);
  const before = recording.said.filter(({ start }) => start < cut.at).map(({ text }) => text);
  const broken = await inspectStore(world, join(disk, "store"), {
    acknowledged: acknowledgedIn(before.join("").split("\n").slice(0, -1)),
    seed: recording.seed,
    log: recording.log,
    digestAfter: (batches) => digests[batches] ?? "",
  });
  rmSync(disk, { recursive: true });
  return broken && { ...broken, cut };
}

/** What was recorded, in numbers. */
function figuresOf({ root, said, log, calls, unsyncedKills }: Recording): Record<string, number> {
  const names = new Map<string, Node>();
  for (const node of nodesIn(root)) {
    if (node.kind === "file") continue;
    for (const change of node.changes) {
      if (change.creates && change.node !== undefined) names.set(change.name, change.node);
    }
  }
  const files = [...names].filter(([, { kind }]) => kind === "file");
  const logs = files.filter(([name]) => name.endsWith(".log"));
  return {
    acknowledged: acknowledgedIn(said.flatMap(({ text }) => text.split("\n"))).operations,
    batches: log.length,
    "system calls": calls,
    "kills between write and sync": unsyncedKills,
    "log files": logs.length,
    tables: files.filter(([name]) => name.endsWith(".ldb")).length,
  };
}

/** Runs harness B. */
export async function cutPower(options: PowerCutOptions): Promise<HarnessReport> {
  const { seed, progress } = options;
  const missing = options.recording === undefined ? whyNoStrace() : undefined;
  if (missing !== undefined) return { skipped: missing, figures: {}, violations: [] };
  using made = scratchFolder();
  using states = scratchFolder(true);
  const kept = options.recording ?? made.path;
  const { world, recording: whole } =
    options.recording === undefined
      ? await record(kept, seed, progress, options)
      : openRecording(kept);
  const recording = options.alter?.(whole) ?? whole;
  progress("working out what each state must hold");
  const digests = await digestsOf(world, recording.log);
  const stage = { world, recording, digests, moments: momentsOf(recording), folder: states.path };
  const [from, to] =
    options.state === undefined ? [0, options.states] : [options.state, options.state + 1];
  const breaches: Record<Breach, number> = { refused: 0, lost: 0, torn: 0, "other content": 0 };
  const violations: Violation[] = [];
  for (let state = from; state < to; state++) {
    progress(`state ${String(state + 1 - from)} of ${String(to - from)}`);
    const broken = await tryState(stage, seed, state);
    if (broken === undefined) continue;
    breaches[broken.breach]++;
    if (violations.length >= MOST_VIOLATIONS) continue;
    const { at, tail } = broken.cut;
    violations.push({
      problem: `state ${String(state)} (cut at ${String(at)}, ${tail}): ${broken.breach}: ${broken.problem}`,
      again: `npm run torture -- --only B --seed ${String(seed)} --recording ${kept} --state ${String(state)}`,
    });
  }
  if (violations.length > 0 && options.recording === undefined) {
    keepRecording(kept, recording);
    made.keep();
  }
  const figures = { states: to - from, ...breaches, ...figuresOf(recording) };
  return { figures, violations };
}
