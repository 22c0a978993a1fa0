// SPDX-License-Identifier: Apache-2.0
/** A node that has nobody but hostile peers, and then a hub: it names them, and gets everything by the hub. */
import { ATTACKERS, deviceOf } from "./cast.ts";
import { Crew } from "./crew.ts";
import { firstNoted, lasting, numbers, until } from "./scene.ts";
import type { Size } from "./scene.ts";

const PLANS: Readonly<
  Record<Size, { readonly hostile: number; readonly haste: number; readonly seconds: number }>
> = {
  short: { hostile: 3, haste: 20, seconds: 1 },
  full: { hostile: 12, haste: 1, seconds: 30 },
};
const [VICTIM, HUB, WRITER] = [0, 1, 2];
const BOUND_MS = 120_000;
const BATCHES = 20;

/** How it went. */
export interface EclipseReport {
  readonly hostile: number;
  /** Milliseconds from the hub's batch to the victim. */
  readonly deliveredAfterMs: number;
  /** Hostile peers that the victim named in its log. */
  readonly named: number;
  /** Milliseconds of the victim until it had named the last of them. */
  readonly namedAfterMs: number;
}

/** Runs it. Rejects when the batches do not arrive in time, or a hostile peer is not named. */
export async function runEclipse(size: Size): Promise<EclipseReport> {
  const { hostile: count, haste, seconds } = PLANS[size];
  const hostile = numbers(ATTACKERS, count);
  const cast = { startMs: Date.now(), agents: [VICTIM, WRITER, ...hostile], hubs: [HUB] };
  await using crew = new Crew(cast);
  crew.house(VICTIM);
  if (size === "short") crew.house(HUB, WRITER, ...hostile);
  else {
    crew.house(HUB, WRITER);
    crew.houseAll(hostile);
  }
  const peers = (
    await Promise.all(hostile.map(async (n) => crew.startAttacker(n, "silent", [])))
  ).flat();
  const [door = ""] = await crew.startNode(HUB);
  await crew.startNode(WRITER, { hubs: [door] });
  // What it has and they do not say that they have: so it has a reason to ask.
  await crew.startNode(VICTIM, { peers, hubs: [door], haste });
  await crew.put(VICTIM, "key", "of the victim");
  await until("the victim has met its peers", BOUND_MS, async () => {
    return (await crew.status(VICTIM)).peers.length === count + 1;
  });
  await lasting(seconds * 1_000);
  const { accepted } = await crew.status(VICTIM);
  for (let i = 0; i < BATCHES; i++) await crew.put(WRITER, `key-${String(i)}`, "news");
  const deliveredAfterMs = await until("the victim has the hub's batches", BOUND_MS, async () => {
    return (await crew.status(VICTIM)).accepted >= accepted + BATCHES;
  });
  const named = async (): Promise<readonly (number | undefined)[]> => {
    const report = await crew.status(VICTIM);
    return hostile.map((n) => firstNoted(report, deviceOf(n), ["peer.useless"]));
  };
  await until(
    "the victim has named its peers",
    BOUND_MS,
    async () => !(await named()).includes(undefined),
  );
  const times = (await named()).map((ms) => ms ?? 0);
  return {
    hostile: count,
    deliveredAfterMs,
    named: times.length,
    namedAfterMs: Math.round(Math.max(...times)),
  };
}
