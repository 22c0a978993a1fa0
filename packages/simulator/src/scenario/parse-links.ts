// SPDX-License-Identifier: Apache-2.0
/** The links of a scenario, with their outages. */
import type { Field } from "./field.ts";
import { timeOf } from "./places.ts";
import type { Places } from "./places.ts";
import { SCENARIO_LIMITS as MOST } from "./scenario.ts";
import type { OutageRule, ScenarioLink } from "./scenario.ts";
import { bandwidthOf, durationOf, percentOf, rangeOf } from "./units.ts";

/** Unless a scenario says otherwise: a wired line through a country. */
const DEFAULT_LATENCY_MS = { min: 20, max: 30 };
const MAX_LATENCY_MS = 60_000;
const MAX_LOSS = 0.5;
/** 8 kbit/s: less than what keeps a session going. */
const MIN_BYTES_PER_MS = 1;

function parseLatency(field: Field): ScenarioLink["latencyMs"] {
  return (
    field.quantity(
      (text) => rangeOf(text, durationOf),
      'a time such as 20ms, or a range such as "20ms..60ms"',
      ({ min, max }) => min >= 0 && max <= MAX_LATENCY_MS,
      "from 0ms to 60s",
    ) ?? DEFAULT_LATENCY_MS
  );
}

function parseOutage(item: Field, { durationMs }: Places): readonly OutageRule[] {
  const {
    from,
    every,
    for: length,
    until,
    staggered,
  } = item.required().members("from", "every", "for", "until", "staggered");
  const fromMs = timeOf(from, 0) ?? 0;
  const forMs = timeOf(length.required(), 1);
  const everyMs = timeOf(every, 100);
  const untilMs = Math.min(durationMs, timeOf(until, 0) ?? durationMs);
  const isStaggered = staggered.flag() ?? false;
  if (forMs === undefined) return [];
  if (fromMs >= durationMs) from.fail("is after the end of the scenario");
  if (every.isAbsent) {
    if (!until.isAbsent) until.fail('needs "every"; an outage that comes once ends after "for"');
    if (!staggered.isAbsent) staggered.fail('needs "every"');
    return [{ fromMs, forMs }];
  }
  if (everyMs === undefined) return [];
  if (forMs >= everyMs) return length.fail('must be shorter than "every"') ?? [];
  return [{ fromMs, forMs, again: { everyMs, untilMs, staggered: isStaggered } }];
}

/** How often a rule cuts one line. */
export const cutsOf = ({ fromMs, again }: OutageRule): number =>
  again === undefined ? 1 : Math.max(0, Math.ceil((again.untilMs - fromMs) / again.everyMs) + 1);

const agentsOf = (places: Places, name: string): readonly string[] | undefined =>
  places.sites.find((site) => site.name === name)?.agents ??
  (places.hubs.includes(name) ? [name] : undefined);

function parseEnds(field: Field, places: Places): readonly [string, string] | undefined {
  const items = field.required().items(2);
  const names = items.map((item) => {
    const name = item.required().text(32);
    if (name === undefined) return undefined;
    if (agentsOf(places, name) !== undefined) return name;
    return item.fail(`names ${JSON.stringify(name)}, which is no site or hub of this scenario`);
  });
  if (!field.isAbsent && Array.isArray(field.value) && items.length < 2) {
    field.fail("must name two places, such as [store, cloud]");
  }
  const [a, b] = names;
  if (a === undefined || b === undefined) return undefined;
  return a === b ? field.fail(`names ${a} twice; agents of a site are linked anyway`) : [a, b];
}

/** The links. Their lines and the cuts of those are counted before they are made. */
export function parseLinks(field: Field, places: Places): readonly ScenarioLink[] {
  const count = (name: string): number => agentsOf(places, name)?.length ?? 0;
  let lines = places.sites
    .filter(({ lan }) => lan)
    .reduce((sum, { agents: { length } }) => sum + (length * (length - 1)) / 2, 0);
  let cuts = 0;
  const links = field.items(MOST.links).flatMap((item): ScenarioLink[] => {
    const { between, latency, loss, bandwidth, outages } = item
      .required()
      .members("between", "latency", "loss", "bandwidth", "outages");
    const ends = parseEnds(between, places);
    const rules = outages
      .items(MOST.outagesPerLink)
      .flatMap((outage) => parseOutage(outage, places));
    const latencyMs = parseLatency(latency);
    const lost =
      loss.quantity(
        percentOf,
        "a share such as 0.5%",
        (share) => share <= MAX_LOSS,
        "from 0% to 50%",
      ) ?? 0;
    const bytesPerMs = bandwidth.quantity(
      bandwidthOf,
      "a bandwidth such as 256 kbit/s or 10 Mbit/s",
      (bytes) => bytes >= MIN_BYTES_PER_MS,
      "at least 8 kbit/s",
    );
    if (ends === undefined) return [];
    const [a, b] = ends;
    lines += count(a) * count(b);
    cuts += count(a) * count(b) * rules.reduce((sum, rule) => sum + cutsOf(rule), 0);
    const limit = bytesPerMs === undefined ? {} : { bytesPerMs };
    return [{ a, b, latencyMs, loss: lost, ...limit, outages: rules }];
  });
  checkPairs(links, field);
  if (lines > MOST.lines) {
    field.fail(
      `make ${String(lines)} lines between nodes; at most ${String(MOST.lines)} are simulated. Link agents over a hub, or set "lan: false"`,
    );
  }
  if (cuts > MOST.cuts) {
    field.fail(
      `cut lines ${String(cuts)} times; at most ${String(MOST.cuts)}. Make the outages or the scenario shorter`,
    );
  }
  return links;
}

function checkPairs(links: readonly ScenarioLink[], field: Field): void {
  const pairs = links.map(({ a, b }) => [a, b].toSorted().join(" and "));
  const twice = pairs.find((pair, i) => pairs.indexOf(pair) !== i);
  if (twice !== undefined) field.fail(`join ${twice} twice; give one link all of its outages`);
}
