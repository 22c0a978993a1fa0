// SPDX-License-Identifier: Apache-2.0
/** The checks of what a configuration names: keys, space file, disk, and whether anybody has the store. */
import { readFile, readdir, readlink, realpath, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { createDeviceSigner } from "@ctxmesh/crypto";
import type { Algorithm } from "@ctxmesh/crypto";
import type { Space } from "@ctxmesh/membership";
import { toHex } from "@ctxmesh/model";
import type { MemberReport } from "@ctxmesh/model";
import { readKeyQuietly, readSpace } from "../files.ts";
import { formatAge, formatTime, shortId } from "../output.ts";
import { formatBytes } from "../progress.ts";
import { fail, failure, ok, warn } from "./finding.ts";
import type { Finding } from "./finding.ts";

/** Free disk below which the next write may fail: a merge of LevelDB tables takes a few times 2 MiB, a new log 4 MiB. */
const LEAST_FREE_BYTES = 64 * 1_048_576;
/** Free disk below which it is time to make room. */
const LOW_FREE_BYTES = 1_073_741_824;
const OTHERS = 0o007;
const GROUP = 0o070;

/** Whether a key file holds a key of its kind that nobody else can read; with the key's seed. */
export async function checkKey(
  check: string,
  path: string,
  alg: Algorithm,
): Promise<{ readonly finding: Finding; readonly seed?: Uint8Array }> {
  try {
    const { seed } = await readKeyQuietly(path, alg);
    const mode = (await stat(path)).mode & 0o777;
    return { finding: judgeMode(check, path, alg, mode), seed };
  } catch (error) {
    return { finding: failure(check, error) };
  }
}

function judgeMode(check: string, path: string, alg: Algorithm, mode: number): Finding {
  const shown = mode.toString(8).padStart(4, "0");
  const remedy = `chmod 600 ${path}; where somebody else may have read it, make a new key and revoke this one`;
  if ((mode & OTHERS) !== 0) {
    return fail(check, `${path} is open to every user (mode ${shown})`, remedy);
  }
  if ((mode & GROUP) !== 0)
    return warn(check, `${path} is open to its group (mode ${shown})`, remedy);
  return ok(check, `${path}: ${alg}, mode ${shown}`);
}

/** Whether the space file parses and every signature in it verifies. */
export async function checkSpace(
  path: string,
): Promise<{ readonly finding: Finding; readonly space?: Space }> {
  try {
    const space = await readSpace(path);
    const { name } = space.genesis;
    return { finding: ok("space", `${path}: ${name} (${shortId(space.id)})`), space };
  } catch (error) {
    return { finding: failure("space", error) };
  }
}

/** The device key of a seed, hex. */
export const deviceOf = (seed: Uint8Array): string => toHex(createDeviceSigner(seed).publicKey);

/** Whether a device has a grant for the service that runs as it, and how long yet. `members` are those that are known here. */
export function checkGrant(
  device: string,
  service: "agent" | "hub",
  members: readonly MemberReport[],
  nowMs: number,
): Finding {
  const member = members.find((one) => one.device === device);
  const renew = `ctxmesh space renew ${shortId(device)} --key KEY`;
  const name = `the key's device ${shortId(device)}`;
  if (member === undefined) {
    return fail(
      "grant",
      `${name} has no grant in the space`,
      `is it the right key file? else: ctxmesh space grant ${device} --service ${service} --key KEY`,
    );
  }
  const until = formatTime(member.until);
  if (member.state === "revoked") {
    return fail(
      "grant",
      `${name} was revoked`,
      "to come back, join anew with an invite and a new key",
    );
  }
  if (member.service !== service) {
    return fail(
      "grant",
      `${name} has a grant as ${member.service}, and this is the configuration of ${service === "hub" ? "a hub" : "an agent"}`,
      "name the key of this daemon",
    );
  }
  switch (member.state) {
    case "expired":
      return fail("grant", `${name}: the grant ended ${until}; others hold what it writes`, renew);
    case "upcoming":
      return warn("grant", `${name}: the grant has yet to begin`, "wait for it, or set the clock");
    case "expiring":
      return warn(
        "grant",
        `${name}: ${member.role} for ${formatAge(member.until - nowMs)} yet`,
        renew,
      );
    case "active":
      return ok("grant", `${name}: ${member.role} until ${until}`);
  }
}

/** Whether there is room on the disk that holds the store, or will. */
export async function checkDisk(store: string): Promise<Finding> {
  for (const folder of [store, dirname(store)]) {
    try {
      const { bavail, bsize } = await statfs(folder);
      return judgeFreeBytes(bavail * bsize, folder);
    } catch {
      // The store may not have been made yet.
    }
  }
  return fail(
    "disk",
    `${dirname(store)} can't be read`,
    "create it, and let this user write to it",
  );
}

/** The finding for so many free bytes on the disk of a folder. */
export function judgeFreeBytes(free: number, folder: string): Finding {
  const message = `${formatBytes(free)} free for ${folder}`;
  const remedy = `make room: below ${formatBytes(LEAST_FREE_BYTES)} writes may fail at any moment`;
  if (free < LEAST_FREE_BYTES) return fail("disk", message, remedy);
  return free < LOW_FREE_BYTES ? warn("disk", message, remedy) : ok("disk", message);
}

/** A warning for each damaged store that the daemon moved aside. */
export async function checkMovedAside(store: string): Promise<readonly Finding[]> {
  const names = await readdir(dirname(store)).catch(() => []);
  return names
    .filter((name) => name.startsWith(`${basename(store)}.damaged-`))
    .map((name) =>
      warn(
        "store",
        `${join(dirname(store), name)} is a damaged store that was moved aside`,
        "look at the disk it was on; remove it once the daemon is ready again",
      ),
    );
}

/**
 * The number of the process that has LevelDB's lock on a store; undefined when none has. The system gives the
 * lock back when a process ends in any way, so what a dead one left is no lock. Linux alone tells; the processes
 * of other containers are not seen.
 */
export async function lockHolder(store: string): Promise<number | undefined> {
  try {
    const lock = await realpath(join(store, "LOCK"));
    const { ino } = await stat(lock);
    for (const line of (await readFile("/proc/locks", "utf8")).split("\n")) {
      // 1: POSIX  ADVISORY  WRITE 4711 fe:00:123456 0 EOF
      const [, pid, inode] = /POSIX\s+ADVISORY\s+WRITE\s+(\d+)\s+\S+:(\d+)\s/u.exec(line) ?? [];
      if (Number(inode) === ino && (await hasOpen(Number(pid), lock))) return Number(pid);
    }
  } catch {
    // No store, or no such table: nothing is known.
  }
  return undefined;
}

/** Whether a process has a file open; yes for one that can't be looked into. */
async function hasOpen(pid: number, path: string): Promise<boolean> {
  const folder = `/proc/${String(pid)}/fd`;
  try {
    for (const name of await readdir(folder)) {
      if ((await readlink(join(folder, name)).catch(() => "")) === path) return true;
    }
    return false;
  } catch {
    return true;
  }
}
