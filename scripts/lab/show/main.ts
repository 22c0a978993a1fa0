// SPDX-License-Identifier: Apache-2.0
/** `./scripts/mesh-lab`: a mesh that is parted and comes together, for whoever wants to see it. */
import process from "node:process";
import { Load, isParted, judge } from "../checks.ts";
import type { Verdict } from "../checks.ts";
import { connected } from "../processes.ts";
import { createNamespaceWorld, whyNoNamespaces } from "./in-namespaces.ts";
import { LiveTable } from "./live-table.ts";
import { createLoopbackWorld } from "./on-loopback.ts";
import { parseOptions } from "./options.ts";
import { groupName } from "./tls-hello.ts";
import { LAN_AGENTS, THIN_BYTES_PER_SECOND } from "./world.ts";
import type { RecordedHandshake, World } from "./world.ts";

const CONNECT_MS = 60_000;
/** How long all are together under load before they are parted. */
const TOGETHER_MS = 5_000;
const HEAL_MS = 60_000;
/** Of each agent: what the thin link carries with room to spare. */
const WRITES_PER_SECOND = 2;
const HYBRID_GROUP = 0x11ec;
const EXIT_INTERRUPTED = 130;

/** The result, as `--json` prints it. */
interface ShowResult {
  readonly world: string;
  readonly agents: number;
  readonly link_kbit_per_s: number;
  readonly parted_s: number;
  readonly facts: number;
  readonly delivered: number;
  readonly digests_equal: boolean;
  readonly digest: string;
  readonly applied_twice: number;
  readonly duplicates: number;
  readonly heal_ms: number;
  readonly handshake: {
    readonly offered: readonly string[];
    readonly group: string;
    readonly key_share_bytes: number;
    readonly between: string;
  };
  readonly problems: readonly string[];
}

const options = parseOptions(process.argv.slice(2));
const out = options.json ? process.stderr : process.stdout;

/** Builds the best world that can be built here. */
async function createWorld(): Promise<World> {
  const reason = options.loopback ? "that was asked for" : await whyNoNamespaces();
  return reason === undefined ? createNamespaceWorld() : createLoopbackWorld(reason);
}

const never = async (): Promise<boolean> => Promise.resolve(false);

/** Parts the LANs under load and heals them; the verdict afterwards. */
async function partAndHeal(world: World, table: LiveTable): Promise<Verdict> {
  const { agents } = world.mesh;
  await using load = new Load(agents, WRITES_PER_SECOND);
  table.say(`\nall six write ${String(WRITES_PER_SECOND)} facts per second each`);
  await table.until(never, TOGETHER_MS);
  await world.part();
  table.say(`\nthe LANs are parted, without a word, for ${String(options.seconds)} s`);
  await table.until(never, options.seconds * 1_000);
  await load.stop();
  const parted = await isParted(agents, load.total);
  await world.heal();
  const healedAt = performance.now();
  table.say("\nthe LANs are joined again; nobody writes");
  await table.until(async () => {
    const statuses = await Promise.all(agents.map(async (agent) => agent.status()));
    const states = new Set(statuses.map(({ frontier }) => frontier));
    return states.size === 1 && statuses.every(({ facts }) => facts >= load.total);
  }, HEAL_MS);
  const healMs = Math.round(performance.now() - healedAt);
  const verdict = await judge(agents, load.total, { boundMs: 1_000 });
  const idle = parted ? [] : ["the partition kept nothing from anybody"];
  return { ...verdict, healMs, problems: [...verdict.problems, ...idle] };
}

/** What the record says about the key exchange that it should not. */
const problemsOf = ({ group }: RecordedHandshake): readonly string[] =>
  group === HYBRID_GROUP ? [] : [`the key exchange was ${groupName(group)}, not hybrid`];

async function show(): Promise<ShowResult> {
  const startedAt = performance.now();
  await using world = await createWorld();
  const table = new LiveTable(world, out);
  const { agents } = world.mesh;
  table.say(`${world.description}\nstarting ${String(agents.length)} agents`);
  await Promise.all(agents.map(async (agent) => agent.start()));
  await connected(agents, agents.length - 1, CONNECT_MS);
  table.say(`all connected to all after ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`);
  const handshake = await world.handshake();
  const verdict = await partAndHeal(world, table);
  const digests = await Promise.all(agents.map(async (agent) => (await agent.status(true)).digest));
  table.say("\ncontent digests:");
  for (const [i, { name }] of agents.entries()) {
    table.say(`  ${digests[i] ?? "none"}  ${name} in LAN ${i < LAN_AGENTS ? "1" : "2"}`);
  }
  return {
    world: world.description,
    agents: agents.length,
    link_kbit_per_s: (THIN_BYTES_PER_SECOND * 8) / 1_000,
    parted_s: options.seconds,
    facts: verdict.facts,
    delivered: verdict.delivered,
    digests_equal: verdict.digestsEqual,
    digest: digests[0] ?? "",
    applied_twice: verdict.appliedTwice,
    duplicates: verdict.duplicates,
    heal_ms: verdict.healMs,
    handshake: {
      offered: handshake.offered.map(groupName),
      group: groupName(handshake.group),
      key_share_bytes: handshake.shareBytes,
      between: `${handshake.between}, ${handshake.how}`,
    },
    problems: [...verdict.problems, ...problemsOf(handshake)],
  };
}

function summarize(result: ShowResult): void {
  const { handshake, problems } = result;
  const lines = [
    "",
    `key exchange   ${handshake.group}, key share of ${String(handshake.key_share_bytes)} bytes; offered: ${handshake.offered.join(", ")}`,
    `               recorded between ${handshake.between}`,
    `facts          ${String(result.facts)} written, ${(result.delivered * 100).toFixed(1)} % at every agent, ${String(result.applied_twice)} applied twice, ${String(result.duplicates)} batches came twice`,
    `healed         ${String(result.heal_ms)} ms after ${String(result.parted_s)} s of partition, over ${String(result.link_kbit_per_s)} kbit/s`,
    `digests        ${result.digests_equal ? "equal" : "DIFFERENT"}`,
    ...problems.map((problem) => `FAILED: ${problem}`),
    ...(problems.length === 0 ? ["every step held"] : []),
  ];
  out.write(`${lines.join("\n")}\n`);
}

async function main(): Promise<void> {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    // Whatever was started or made is ended and removed when this process exits.
    process.once(signal, () => process.exit(EXIT_INTERRUPTED));
  }
  try {
    const result = await show();
    summarize(result);
    if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`);
    process.exitCode = result.problems.length === 0 ? 0 : 1;
  } catch (error) {
    process.stderr.write(`FAILED: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

await main();
