// SPDX-License-Identifier: Apache-2.0
/** Recordings of what writers did to a folder, made with strace. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deserialize, serialize } from "node:v8";
import { DiskHistory, TRACED_CALLS } from "./disk-history.ts";
import { namesAfter } from "./disk.ts";
import type { FolderNode, Said } from "./disk.ts";
import type { Fault } from "./faults.ts";
import { batchesOf, withReplica } from "./inspect.ts";
import { parseTrace } from "./trace.ts";
import { createWorld, openWorld, startWriter } from "./world.ts";
import type { World } from "./world.ts";
import type { WriterPlan } from "./writer.ts";

/** What writers did, in one folder whose store is `store`. */
export interface Recording {
  readonly root: FolderNode;
  /** What they acknowledged. */
  readonly said: readonly Said[];
  readonly end: number;
  /** System calls in the traces. */
  readonly calls: number;
  /** Processes that ended with bytes of a log not synced. */
  readonly unsyncedKills: number;
  /** The batches of the log at the end. */
  readonly log: readonly Uint8Array[];
  /** Of the workload. */
  readonly seed: number;
}

interface Session extends Pick<WriterPlan, "operations" | "bigPercent" | "pause" | "end"> {
  /** Kills the process when one of its threads calls this for the so manieth time, before the call does anything. */
  readonly killAt?: readonly [call: "fdatasync" | "rename", times: number];
}

/**
 * Processes one after the other: that create the store, leave it open with writes under way, fill LevelDB's memory so that
 * it begins a new log while it is written to, bring about compactions, which four reopened logs do, and are killed
 * between a write and its sync, and while they recover what such a one left (the second rename of an opening is that of CURRENT).
 */
const SESSIONS: readonly Session[] = [
  { operations: 30, bigPercent: 0, end: "close" },
  { operations: 60, bigPercent: 0, end: "kill", pause: { every: 20, ms: 600 } },
  { operations: 60, bigPercent: 0, end: "kill", killAt: ["fdatasync", 6] },
  { operations: 30, bigPercent: 0, end: "kill", killAt: ["rename", 2] },
  { operations: 90, bigPercent: 70, end: "kill" },
  { operations: 60, bigPercent: 5, end: "kill", killAt: ["fdatasync", 7] },
  { operations: 40, bigPercent: 0, end: "close", pause: { every: 20, ms: 600 } },
  { operations: 60, bigPercent: 5, end: "kill", killAt: ["fdatasync", 5] },
  { operations: 20, bigPercent: 0, end: "close" },
];
const LANES = 3;

const strace = (output: string, killAt?: Session["killAt"]): readonly string[] => [
  ..."strace -f -y -xx -s 1000000 -o".split(" "),
  output,
  "-e",
  `trace=${TRACED_CALLS.join(",")}`,
  // Much faster, but strace injects nothing then.
  ...(killAt === undefined
    ? ["--seccomp-bpf"]
    : ["-e", `inject=${killAt[0]}:signal=KILL:when=${String(killAt[1])}`]),
];

/** Why there can be no recording here; undefined when there can. */
export function whyNoStrace(): string | undefined {
  const [command = "", ...args] = strace("/dev/null");
  const { error, status, stderr } = spawnSync(command, [...args, "true"], { encoding: "utf8" });
  if (error !== undefined) return "strace is not installed (Debian: apt-get install strace)";
  return status === 0 ? undefined : `strace can't trace here: ${stderr.trim()}`;
}

/** Whether a log file that is there has bytes after its last sync. */
const hasUnsyncedLog = (folder: FolderNode): boolean =>
  [...namesAfter(folder.changes)].some(([name, node]) => {
    if (node.kind === "folder") return hasUnsyncedLog(node);
    const last = node.changes.at(-1);
    return (
      name.endsWith(".log") &&
      last !== undefined &&
      !node.syncs.some(({ start }) => start > last.end)
    );
  });

/** For planting faults: one to plant, and how many of the processes to run. */
export interface RecordOptions {
  readonly fault?: Fault;
  readonly processes?: number;
}

/** Runs the writers under strace in `folder`. Throws when their trace does not explain what is on disk. */
export async function record(
  folder: string,
  seed: number,
  progress: (text: string) => void,
  { fault, processes = SESSIONS.length }: RecordOptions = {},
): Promise<{ readonly world: World; readonly recording: Recording }> {
  const world = createWorld(join(folder, "world"));
  const disk = join(folder, "disk");
  const storePath = join(disk, "store");
  const tracePath = join(folder, "trace");
  mkdirSync(disk);
  const history = new DiskHistory(disk);
  let [calls, unsyncedKills] = [0, 0];
  for (const [i, { killAt, ...session }] of SESSIONS.slice(0, processes).entries()) {
    progress(`recording process ${String(i + 1)} of ${String(processes)}`);
    const { spacePath, keyPath, deviceSeeds } = world;
    const plan = { storePath, spacePath, keyPath, deviceSeeds, seed, lanes: LANES, ...session };
    await startWriter(
      { ...plan, ...(fault === undefined ? {} : { fault }) },
      strace(tracePath, killAt),
    ).ended;
    const trace = parseTrace(readFileSync(tracePath, "latin1"));
    rmSync(tracePath);
    calls += trace.length;
    history.add(trace);
    if (hasUnsyncedLog(history.root)) unsyncedKills++;
  }
  const log = await withReplica(world, storePath, batchesOf);
  rmSync(disk, { recursive: true });
  const { root, said, end } = history;
  return { world, recording: { root, said, end, calls, unsyncedKills, log, seed } };
}

const RECORDING = "recording.v8";

/** Keeps a recording in its folder. */
export function keepRecording(folder: string, recording: Recording): void {
  writeFileSync(join(folder, RECORDING), serialize(recording));
}

/** What {@link keepRecording} kept. */
export function openRecording(folder: string): {
  readonly world: World;
  readonly recording: Recording;
} {
  const recording = deserialize(readFileSync(join(folder, RECORDING))) as Recording;
  return { world: openWorld(join(folder, "world")), recording };
}
