// SPDX-License-Identifier: Apache-2.0
/** The main job on real input, step by step; every step either holds or fails the demo. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import type { NodeStatus } from "@ctxmesh/model";
import { LiveCounts } from "./live-counts.ts";
import { Mesh, until } from "./mesh.ts";
import { parseOptions } from "./options.ts";
import { runCli } from "./processes.ts";

/** A daemon starts, connects or catches up within this. */
const STEP_SECONDS = 30;
/** Facts of others that each agent must have applied while the hub is away. */
const PROOF_OF_LIFE = 20;

/** The result, as `--json` prints it. */
interface DemoResult {
  /** Facts written by all agents. */
  written: number;
  /** Facts that every agent has. */
  delivered: number;
  contested: number;
  /** Of the slowest agent. */
  propagation_ms: { p50: number; p95: number };
  digests_equal: boolean;
  hub_killed: boolean;
  verified: boolean;
  tamper_refused: boolean;
}

const options = parseOptions(process.argv.slice(2));
const out = options.json ? process.stderr : process.stdout;
const say = (text: string): void => {
  out.write(`${text}\n`);
};

/** Kills the hub, shows that the agents go on without it, starts it again, and waits until it has caught up. */
async function interruptHub(mesh: Mesh, counts: LiveCounts): Promise<void> {
  const before = await mesh.statuses(mesh.agents);
  await mesh.hub.stop("SIGKILL");
  say("hub killed (SIGKILL)");
  await counts.forSeconds(options.seconds / 4);
  await until("agents converging without the hub", STEP_SECONDS, async () => {
    const now = await mesh.statuses(mesh.agents);
    return (
      now?.every(
        ({ applied, peers }, i) =>
          applied >= (before?.[i]?.applied ?? 0) + PROOF_OF_LIFE &&
          peers.every(({ role }) => role === "agent"),
      ) === true
    );
  });
  say("the agents went on without it");
  const [missed] = (await mesh.statuses(mesh.agents)) ?? [];
  mesh.hub.start();
  await until("the hub catching up", STEP_SECONDS, async () => {
    const hub = await mesh.status(mesh.hub);
    return (
      hub !== undefined &&
      hub.facts >= (missed?.facts ?? 0) &&
      hub.peers.length === mesh.agents.length
    );
  });
  say("hub started again and caught up");
}

/** Seals at the hub, then verifies in a fresh process that has the bundle and the trust root, and nothing else. */
async function sealAndVerify(mesh: Mesh, result: DemoResult): Promise<void> {
  const auditor = join(mesh.folder, "auditor");
  mkdirSync(auditor);
  const bundle = join(auditor, "bundle.json");
  const seal = await runCli(
    ["seal", "--socket", mesh.hub.socketPath, "--out", bundle],
    mesh.folder,
  );
  if (seal.exitCode !== 0) throw new Error(`seal failed: ${seal.stderr.trim()}`);
  say(seal.stdout.trim());
  copyFileSync(join(mesh.folder, "root.json"), join(auditor, "root.json"));
  const verify = await runCli(["verify", "bundle.json", "--root", "root.json"], auditor);
  result.verified = verify.exitCode === 0;
  say((verify.stdout + verify.stderr).trim());

  // One digit of one fact's value, so that the file stays well-formed and only the content is a lie.
  const text = readFileSync(bundle, "utf8");
  const at = text.search(/(?<=\\"value\\":-?)[0-9]/u);
  if (at < 0) throw new Error("the bundle holds no number to change");
  const changed = String((Number(text[at]) % 9) + 1);
  writeFileSync(join(auditor, "tampered.json"), text.slice(0, at) + changed + text.slice(at + 1));
  const refused = await runCli(["verify", "tampered.json", "--root", "root.json"], auditor);
  result.tamper_refused = refused.exitCode === 1;
  say(`one byte changed at offset ${String(at)}: exit ${String(refused.exitCode)}`);
  say((refused.stdout + refused.stderr).trim());
}

function summarize(agents: readonly NodeStatus[], result: DemoResult): void {
  result.written = agents.reduce((sum, { written }) => sum + written, 0);
  result.delivered = Math.min(...agents.map(({ written, applied }) => written + applied));
  result.contested = agents[0]?.contested ?? 0;
  result.propagation_ms = {
    p50: Math.max(...agents.map(({ propagation }) => propagation.p50Ms)),
    p95: Math.max(...agents.map(({ propagation }) => propagation.p95Ms)),
  };
}

async function run(mesh: Mesh, result: DemoResult): Promise<void> {
  const counts = new LiveCounts(mesh, out);
  for (const daemon of mesh.all) daemon.start();
  await until("hub and agents connecting", STEP_SECONDS, async () => {
    const statuses = await mesh.statuses(mesh.all);
    return statuses?.every(({ peers }) => peers.length === mesh.agents.length) === true;
  });
  say(`one hub and ${String(mesh.agents.length)} agents are connected (${mesh.folder})`);
  await counts.forSeconds(options.seconds / 3);
  await interruptHub(mesh, counts);
  result.hub_killed = true;
  await counts.untilStill(options.seconds);
  await until("all replicas reaching one frontier", STEP_SECONDS, async () =>
    mesh.converged(mesh.all),
  );
  summarize((await mesh.statuses(mesh.agents)) ?? [], result);
  const digests = (await mesh.statuses(mesh.all, true))?.map(({ digest }) => digest) ?? [];
  result.digests_equal = digests.length === mesh.all.length && new Set(digests).size === 1;
  say("content digests:");
  for (const [i, { name }] of mesh.all.entries()) say(`  ${digests[i] ?? "none"}  ${name}`);
  await sealAndVerify(mesh, result);
}

/** What did not hold, in words. */
function failuresOf(result: DemoResult): readonly string[] {
  const checks: readonly (readonly [held: boolean, problem: string])[] = [
    [result.written > 0, "nothing was written"],
    [result.delivered === result.written, "not every fact arrived at every agent"],
    [result.contested > 0, "no conflict happened"],
    [result.digests_equal, "the content digests differ"],
    [result.hub_killed, "the hub was not killed"],
    [result.verified, "the bundle did not verify"],
    [result.tamper_refused, "the changed bundle was not refused with exit 1"],
  ];
  return checks.filter(([held]) => !held).map(([, problem]) => problem);
}

async function main(): Promise<void> {
  const mesh = await Mesh.create(options);
  const abandon = (): void => {
    mesh.kill();
    mesh.remove();
    process.exit(1);
  };
  process.once("SIGINT", abandon).once("SIGTERM", abandon);
  process.on("exit", () => {
    mesh.kill();
  });
  const result: DemoResult = {
    written: 0,
    delivered: 0,
    contested: 0,
    propagation_ms: { p50: 0, p95: 0 },
    digests_equal: false,
    hub_killed: false,
    verified: false,
    tamper_refused: false,
  };
  const problems: string[] = [];
  try {
    await run(mesh, result);
    problems.push(...failuresOf(result));
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  } finally {
    await mesh.stop();
    mesh.remove();
  }
  const { p50, p95 } = result.propagation_ms;
  say(
    `written ${String(result.written)}, at every agent ${String(result.delivered)}, contested ${String(result.contested)}, ` +
      `propagation p50 ${String(p50)} ms, p95 ${String(p95)} ms`,
  );
  for (const problem of problems) say(`FAILED: ${problem}`);
  if (problems.length === 0) say("every step held");
  if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

await main();
