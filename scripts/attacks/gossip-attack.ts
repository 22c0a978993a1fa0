// SPDX-License-Identifier: Apache-2.0
/** Strangers who want in, and members that are silent, flood, or send what is not valid: what is honest arrives all the same. */
import type { AttackKind } from "./attackers.ts";
import { ATTACKERS, deviceOf } from "./cast.ts";
import { Crew } from "./crew.ts";
import { agree, firstNoted, lasting, numbers, quantile, until, writeUntil } from "./scene.ts";
import type { Size } from "./scene.ts";
import type { NodeReport } from "./worker.ts";

interface Plan {
  readonly honest: number;
  readonly sybils: number;
  readonly attackers: readonly AttackKind[];
  readonly seconds: number;
  readonly haste: number;
}

const PLANS: Readonly<Record<Size, Plan>> = {
  short: {
    honest: 5,
    sybils: 4,
    attackers: ["silent", "flood", "invalid", "junk"],
    seconds: 2,
    haste: 20,
  },
  full: {
    honest: 12,
    sybils: 48,
    attackers: ["silent", "flood", "invalid", "junk"],
    seconds: 60,
    haste: 1,
  },
};
/** Peers above which the honest nodes gossip: half of them do. */
const GOSSIP_ABOVE = 3;
const PER_SECOND = 20;
const BOUND_MS = 120_000;
const CUTS = ["peer.useless", "peer.turned-away", "batch.refused"];

/** How it went. */
export interface GossipAttackReport {
  readonly honest: number;
  readonly sybils: number;
  /** Sessions that honest nodes ever had with a stranger. */
  readonly admitted: number;
  readonly written: number;
  /** Of what was written, what arrived everywhere. */
  readonly deliveredPercent: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly attackers: readonly {
    readonly kind: AttackKind;
    readonly sentBytes: number;
    /** Honest nodes that had a connection to it, and those that named or cut it. */
    readonly metBy: number;
    readonly cutBy: number;
    /** The last of these did so that long after they met. */
    readonly cutAfterMs: number;
  }[];
}

/** Starts the honest nodes, each connected to all before it. */
async function startHonest(
  crew: Crew,
  honest: readonly number[],
  haste: number,
): Promise<string[]> {
  const addresses: string[] = [];
  for (const n of honest) {
    const gossipAbove = n % 2 === 0 ? { gossipAbove: GOSSIP_ABOVE } : {};
    const [address = ""] = await crew.startNode(n, {
      peers: [...addresses],
      haste,
      ...gossipAbove,
    });
    addresses.push(address);
  }
  await until("the honest nodes are connected", BOUND_MS, async () => {
    const all = await Promise.all(honest.map(async (n) => crew.status(n)));
    return all.every(({ peers }) => peers.length >= honest.length - 1);
  });
  return addresses;
}

/** Who met a device, and who named or cut it how soon. */
function cutsOf(
  reports: readonly NodeReport[],
  device: string,
): { readonly metBy: number; readonly cutBy: number; readonly cutAfterMs: number } {
  const met = reports.flatMap((report) => {
    const metMs = firstNoted(report, device, ["peer.connected"]);
    return metMs === undefined ? [] : [{ metMs, cutMs: firstNoted(report, device, CUTS) }];
  });
  const times = met.flatMap(({ metMs, cutMs }) => (cutMs === undefined ? [] : [cutMs - metMs]));
  return {
    metBy: met.length,
    cutBy: times.length,
    cutAfterMs: Math.round(Math.max(0, ...times)),
  };
}

/** Runs it. Rejects when what is honest does not arrive everywhere in time. */
export async function runGossipAttack(size: Size): Promise<GossipAttackReport> {
  const { honest: count, sybils: strangers, attackers: kinds, seconds, haste } = PLANS[size];
  const honest = numbers(0, count);
  const attackers = numbers(ATTACKERS, kinds.length);
  const sybils = numbers(2 * ATTACKERS, strangers);
  const cast = { startMs: Date.now(), agents: [...honest, ...attackers], hubs: [] };
  await using crew = new Crew(cast);
  crew.houseAll(honest);
  crew.houseAll([...attackers, ...sybils]);
  const addresses = await startHonest(crew, honest, haste);
  const others = count - 1;
  await Promise.all(
    attackers.map(async (n, i) => crew.startAttacker(n, kinds[i] ?? "silent", addresses)),
  );
  await until("everybody has met the attackers", BOUND_MS, async () => {
    const reports = await Promise.all(honest.map(async (n) => crew.status(n)));
    return attackers.every((n) => cutsOf(reports, deviceOf(n)).metBy === count);
  }).catch(() => undefined);
  await Promise.all(sybils.map(async (n) => crew.startAttacker(n, "silent", addresses)));
  const stop = new AbortController();
  const writing = writeUntil(crew, honest, PER_SECOND, stop.signal);
  await lasting(seconds * 1_000);
  const cuts = async (): Promise<readonly ReturnType<typeof cutsOf>[]> => {
    const reports = await Promise.all(honest.map(async (n) => crew.status(n)));
    return attackers.map((n) => cutsOf(reports, deviceOf(n)));
  };
  // What is not cut is reported as that.
  await until("the attackers are cut", BOUND_MS, async () =>
    (await cuts()).every(
      ({ metBy, cutBy }, i) =>
        (metBy > 0 && metBy === cutBy) || (haste > 1 && kinds[i] === "flood"),
    ),
  ).catch(() => undefined);
  stop.abort();
  const written = await writing;
  await until("all honest nodes have all batches", BOUND_MS, async () => agree(crew, honest));
  const reports = await Promise.all(honest.map(async (n) => crew.status(n)));
  const latencies = (await Promise.all(honest.map(async (n) => crew.latencies(n)))).flat();
  const cut = await cuts();
  return {
    honest: count,
    sybils: strangers,
    admitted: reports
      .flatMap(({ peers }) => peers)
      .filter((device) => sybils.some((n) => deviceOf(n) === device)).length,
    written,
    deliveredPercent: (100 * latencies.length) / (written * others),
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    attackers: await Promise.all(
      attackers.map(async (n, i) => ({
        kind: kinds[i] ?? "silent",
        sentBytes: (await crew.report(n)).sentBytes,
        ...(cut[i] ?? { metBy: 0, cutBy: 0, cutAfterMs: 0 }),
      })),
    ),
  };
}
