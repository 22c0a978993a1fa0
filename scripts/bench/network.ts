// SPDX-License-Identifier: Apache-2.0
/** Where processes talk to each other, and what of them the kernel counts. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { Within } from "./children.ts";

/** A loopback of its own, so that what is counted on it is the benchmark's alone. */
export interface Network extends AsyncDisposable {
  /** What runs a child on it. */
  readonly within: Within;
  /** Bytes that were sent on it so far, with the headers of TCP and IP; undefined where it is the machine's. */
  readonly bytes: () => number | undefined;
  readonly notes: readonly string[];
}

/** What holds the namespace open, and says so; it ends with its input, so also when this process is killed. */
const HOLD = "ip link set lo up && echo ready && exec cat";
const READY_MS = 5_000;
const COUNTERS_OF_LO = /^\s*lo:\s*(.*)$/mu;
/** Of the bytes sent among the counters of a device in `/proc/net/dev`. */
const SENT_AT = 8;

const machine = (why: string): Network => ({
  within: [],
  bytes: () => undefined,
  notes: [`Bytes are not counted: ${why}.`],
  [Symbol.asyncDispose]: async () => Promise.resolve(),
});

/** A network namespace with nothing but a loopback (Linux, root); the machine's loopback where there can be none. */
export async function privateLoopback(): Promise<Network> {
  const holder = spawn("unshare", ["-n", "sh", "-c", HOLD], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const ended = once(holder, "close").then(
    () => false,
    () => false,
  );
  const ready = once(holder.stdout, "data", { signal: AbortSignal.timeout(READY_MS) }).then(
    () => true,
    () => false,
  );
  if (!(await Promise.race([ready, ended])) || holder.pid === undefined) {
    holder.kill("SIGKILL");
    return machine("a network namespace needs Linux, root, and `unshare`, `nsenter` and `ip`");
  }
  const { pid } = holder;
  return {
    within: ["nsenter", "-t", String(pid), "-n"],
    bytes: () => {
      const counters = COUNTERS_OF_LO.exec(readFileSync(`/proc/${String(pid)}/net/dev`, "utf8"));
      return Number(counters?.[1]?.split(/\s+/u)[SENT_AT]);
    },
    notes: [],
    [Symbol.asyncDispose]: async () => {
      holder.kill("SIGKILL");
      await ended;
    },
  };
}

/** Units of the clock in which Linux tells the time of processes. */
const TICKS_PER_SECOND = 100;
/** Of user and system time among what follows the name in `/proc/<pid>/stat`. */
const [USER_AT, SYSTEM_AT] = [11, 12];

/** Seconds that a process has computed so far, all threads together. */
export function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${String(pid)}/stat`, "latin1");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[USER_AT]) + Number(fields[SYSTEM_AT])) / TICKS_PER_SECOND;
}

/** Memory of a process that is resident now, in MiB. */
export function residentMb(pid: number): number {
  const text = readFileSync(`/proc/${String(pid)}/status`, "latin1");
  return Number(/^VmRSS:\s*(\d+) kB$/mu.exec(text)?.[1]) / 1_024;
}
