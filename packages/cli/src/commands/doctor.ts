// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh doctor`: looks at everything that a daemon needs, and changes nothing. */
import { readdir } from "node:fs/promises";
import type { Space } from "@ctxmesh/membership";
import { EXIT, LIMITS, toMeshError } from "@ctxmesh/model";
import type { MemberReport, MembershipReport, NodeStatus } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import { checkStore, reportMembers, systemClock, systemRandom } from "@ctxmesh/service";
import { configKindOf, loadConfig } from "../config/load.ts";
import type { AgentConfig, ConfigKind, HubConfig } from "../config/types.ts";
import {
  checkDisk,
  checkGrant,
  checkKey,
  checkMovedAside,
  checkSpace,
  deviceOf,
  lockHolder,
} from "../doctor/files.ts";
import { fail, failure, ok, warn } from "../doctor/finding.ts";
import type { Finding } from "../doctor/finding.ts";
import { keyProviderOf } from "../key-provider.ts";
import { counted, createOutput, formatAge, formatTime } from "../output.ts";
import { createProgress } from "../progress.ts";
import { readVersion } from "../version.ts";

/** Options of `ctxmesh doctor`. */
export interface DoctorOptions {
  readonly json?: boolean;
}

/** Checks a daemon's configuration and all that it names, prints what it finds, and sets exit code 1 when anything fails. */
export async function runDoctor(file: string, options: DoctorOptions): Promise<void> {
  const findings = await examine(file);
  const failed = findings.some(({ status }) => status === "fail");
  if (failed) process.exitCode = EXIT.failed;
  const output = createOutput(options);
  if (output.json) {
    await output.line(JSON.stringify({ ok: !failed, findings }));
    return;
  }
  const styles = { ok: "green", warn: "yellow", fail: "red" } as const;
  for (const { check, status, message, remedy } of findings) {
    const [first = "", ...more] = message.split("\n");
    await output.line(
      `${output.style(styles[status], status.padEnd(4))}  ${check.padEnd(13)}  ${first}`,
    );
    for (const text of more) await output.line(`${" ".repeat(21)}${text}`);
    if (remedy !== undefined) await output.line(`${" ".repeat(21)}-> ${remedy}`);
  }
}

type Config = AgentConfig | HubConfig;

async function examine(file: string): Promise<readonly Finding[]> {
  let kind: ConfigKind;
  let config: Config;
  try {
    kind = await configKindOf(file);
    config = await loadConfig(kind, file);
  } catch (error) {
    return [failure("configuration", error)];
  }
  const findings = [ok("configuration", `${file}: ${kind === "hub" ? "a hub" : "an agent"}`)];
  const key = await checkKey("device key", config.key, "Ed25519");
  findings.push(key.finding);
  if ("seal" in config) findings.push(...(await checkSealKeys(config)));
  const space = await checkSpace(config.space);
  findings.push(space.finding, await checkDisk(config.store));
  const known = await lookInside(config, space.space, key.seed, findings);
  const nowMs = systemClock.now();
  const members = known?.members ?? (space.space && reportMembers(space.space, nowMs));
  if (key.seed !== undefined && members !== undefined) {
    findings.push(checkGrant(deviceOf(key.seed), kind, members, nowMs));
  }
  findings.push(checkClock(nowMs, known ?? {}));
  return findings;
}

async function checkSealKeys({ seal }: HubConfig): Promise<readonly Finding[]> {
  const keys = [
    checkKey("seal key", seal.key, "ML-DSA-65-Ed25519"),
    checkKey("log key", seal.log.ed25519Key, "Ed25519"),
    checkKey("log key", seal.log.mldsa44Key, "ML-DSA-44"),
  ];
  return (await Promise.all(keys)).map(({ finding }) => finding);
}

/** What the daemon, or else its store, knows. */
interface Known {
  readonly members?: readonly MemberReport[];
  /** Time of the newest batch, Unix milliseconds. */
  readonly newestMs?: number;
  /** Time of the newest file of the store, Unix milliseconds. */
  readonly filesMs?: number;
}

/** Asks the daemon when it runs, and walks through its store when it does not. */
async function lookInside(
  config: Config,
  space: Space | undefined,
  deviceSeed: Uint8Array | undefined,
  findings: Finding[],
): Promise<Known | undefined> {
  const answer = await askDaemon(config.socket);
  if ("status" in answer) {
    findings.push(...judgeStatus(answer.status));
    const times = answer.membership.chains.map(({ lastMs = 0 }) => lastMs);
    return { members: answer.membership.members, newestMs: Math.max(0, ...times) };
  }
  const holder = await lockHolder(config.store);
  if (holder !== undefined) {
    const what = `process ${String(holder)} has the store ${config.store} open, and ${answer.problem}`;
    findings.push(fail("daemon", what, `is it this daemon? stop it: kill ${String(holder)}`));
    return undefined;
  }
  findings.push(
    ok("daemon", `not running (${answer.problem})`),
    ...(await checkMovedAside(config.store)),
  );
  if (await isAbsent(config.store)) {
    findings.push(ok("store", `${config.store}: none yet; the first start makes it`));
    return undefined;
  }
  if (space === undefined || deviceSeed === undefined) {
    const remedy = "put the key and the space file right, and check again";
    findings.push(warn("store", `${config.store}: not looked through`, remedy));
    return undefined;
  }
  return walkStore(config, { space, deviceSeed, storePath: config.store }, findings);
}

async function askDaemon(
  socketPath: string,
): Promise<
  | { readonly status: NodeStatus; readonly membership: MembershipReport }
  | { readonly problem: string }
> {
  const client = connect({ socketPath });
  try {
    return { status: await client.status(), membership: await client.membership() };
  } catch (error) {
    return { problem: toMeshError(error).message };
  } finally {
    client.close();
  }
}

const START_ANEW =
  "move its store's folder aside and start it again: the mesh brings back what counts";
const awaited = (missing: number): string =>
  `${counted(missing, "batch", "batches")} of a store that was damaged have not come back yet`;
const HEAL =
  "let it reach a peer or a hub that has them; if none has, start it once with --accept-loss";

function judgeDegraded(degraded: NodeStatus["degraded"]): readonly Finding[] {
  const behind = degraded.filter((chain) => chain.kind === "behind");
  const missing = behind.reduce((sum, { seq, expected }) => sum + expected - seq, 0);
  const stale = counted(degraded.length - behind.length, "pruned chain");
  return [
    ...(behind.length > 0
      ? [fail("daemon", `running, and not ready: ${awaited(missing)}`, HEAL)]
      : []),
    ...(degraded.length > behind.length
      ? [fail("daemon", `running, and not ready: ${stale} must not count any more`, START_ANEW)]
      : []),
  ];
}

function judgeStatus(status: NodeStatus): readonly Finding[] {
  const { ready, version, membership, degraded, scrub } = status;
  const findings: Finding[] = [];
  if (ready) {
    const message = "running, and ready; stop it for a walk through every chain and record";
    findings.push(ok("daemon", message));
  } else if (degraded.length > 0) {
    findings.push(...judgeDegraded(degraded));
  } else if (scrub.findings.length > 0) {
    const message = `running, and not ready: a check of its store found\n${scrub.findings.join("\n")}`;
    findings.push(
      fail("daemon", message, "restart it: it heals its store, with what its peers have"),
    );
  } else {
    findings.push(fail("daemon", "running, and not ready", "see its log for why"));
  }
  const own = readVersion();
  if (version !== own) {
    const message = `it has version ${version}, this command ${own}`;
    findings.push(warn("version", message, "restart it with the installed version"));
  }
  if (membership.ownFork) {
    const message = "two processes wrote as this device";
    findings.push(fail("chains", message, "find the clone or the restored copy, and stop it"));
  }
  return findings;
}

const isAbsent = async (path: string): Promise<boolean> =>
  readdir(path).then(
    (names) => names.length === 0,
    (error: unknown) => error instanceof Error && "code" in error && error.code === "ENOENT",
  );

const quiet = (): void => undefined;

async function walkStore(
  config: Config,
  options: Parameters<typeof checkStore>[0],
  findings: Finding[],
): Promise<Known | undefined> {
  const warnings: string[] = [];
  const logger = {
    debug: quiet,
    info: quiet,
    warn: (event: string) => warnings.push(event),
    error: quiet,
  };
  const progress = createProgress();
  progress.show(`walking through ${options.storePath}`);
  try {
    const deps = { clock: systemClock, random: systemRandom, logger };
    const { records, chains, batches, facts, missing, membership, ...times } = await checkStore(
      { ...options, ...(await keyProviderOf(config)) },
      deps,
    );
    findings.push(
      ok(
        "store",
        `${options.storePath}: ${counted(records, "record")} match their hashes, ${counted(batches, "batch", "batches")} in ${counted(chains, "chain")} link up, ${counted(facts, "fact")}`,
      ),
    );
    if (warnings.includes("store.anchor-missing")) {
      const message = "its ANCHOR file is missing, so lost writes at the end would not be noticed";
      findings.push(warn("store", message, "the next start of the daemon makes it anew"));
    }
    if (missing > 0) {
      findings.push(warn("store", awaited(missing), HEAL));
    }
    return { members: membership.members, ...times };
  } catch (error) {
    findings.push(failure("store", error));
    return undefined;
  } finally {
    progress.clear();
  }
}

/** Compares the clock with what was written before now. */
function checkClock(nowMs: number, { newestMs = 0, filesMs = 0 }: Known): Finding {
  const remedy = "compare this machine's clock with a right one, and synchronize it";
  for (const [what, time] of [
    ["the newest batch", newestMs],
    ["the newest file of the store", filesMs],
  ] as const) {
    if (time - nowMs <= LIMITS.clockAheadMs) continue;
    const message = `it is ${formatTime(nowMs)} here, and ${what} is ${formatAge(time - nowMs)} ahead of that`;
    return warn("clock", message, remedy);
  }
  return ok("clock", `${formatTime(nowMs)}; nothing here is from later`);
}
