// SPDX-License-Identifier: Apache-2.0
/** What the parts of a scenario refer to, and the fields that many of them have. */
import type { Field } from "./field.ts";
import { SCENARIO_LIMITS as MOST, nodesOf } from "./scenario.ts";
import type { ScenarioSite } from "./scenario.ts";
import { durationOf, showTime } from "./units.ts";

/** What the parts of a scenario refer to. */
export interface Places {
  readonly sites: readonly ScenarioSite[];
  readonly hubs: readonly string[];
  readonly durationMs: number;
}

const LONGEST = showTime(MOST.durationMs);

/** A length of time up to that of the longest scenario, and from `least`, in milliseconds. */
export function timeOf(field: Field, least: number): number | undefined {
  return field.quantity(
    durationOf,
    "a time such as 500ms, 30s, 10m, 2h or 7d",
    (ms) => ms >= least && ms <= MOST.durationMs,
    least === 0 ? `from 0s to ${LONGEST}` : `from ${showTime(least)} to ${LONGEST}`,
  );
}

/** The nodes that `at` names: sites, agents, hubs; in the order of the scenario. */
export function nodesAt(field: Field, places: Places, allowHubs: boolean): readonly string[] {
  const named = new Set<string>();
  for (const item of field.required().itemOrItems(MOST.nodes)) {
    const name = item.required().text(64);
    if (name === undefined) continue;
    const site = places.sites.find((one) => one.name === name);
    if (site !== undefined) for (const agent of site.agents) named.add(agent);
    else if (!allowHubs && places.hubs.includes(name)) {
      item.fail(`names the hub ${name}; name a site or an agent`);
    } else if (nodesOf(places).includes(name)) named.add(name);
    else
      item.fail(`names ${JSON.stringify(name)}, which is no site, agent or hub of this scenario`);
  }
  return nodesOf(places).filter((node) => named.has(node));
}
