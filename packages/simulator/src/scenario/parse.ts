// SPDX-License-Identifier: Apache-2.0
/** Checks the plain data of a scenario file, and completes it. */
import type { PolicyRule } from "@ctxmesh/facts";
import { parsePolicy } from "@ctxmesh/membership";
import { toMeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { Field } from "./field.ts";
import type { ScenarioProblem } from "./field.ts";
import { parseEvents } from "./parse-events.ts";
import { parseLinks } from "./parse-links.ts";
import { parseReaders, parseWriters } from "./parse-work.ts";
import { timeOf } from "./places.ts";
import type { Places } from "./places.ts";
import { MAX_SEED, SCENARIO_LIMITS as MOST, nodesOf } from "./scenario.ts";
import type { Scenario, ScenarioSite } from "./scenario.ts";

/** A scenario, or all that is wrong with it. */
export type Parsed =
  | { readonly scenario: Scenario }
  | { readonly problems: readonly ScenarioProblem[] };

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/u;
const NAME_WORDS = "a name: lower-case letters, digits and hyphens, 32 at most";

function parseSites(field: Field): readonly ScenarioSite[] {
  return field
    .required()
    .named(MOST.sites, NAME, "sites by name")
    .map(([name, site]) => {
      const { agents, lan } = site.members("agents", "lan");
      const count = agents.required().number({ min: 1, max: MOST.nodes }, true) ?? 1;
      return {
        name,
        agents: Array.from({ length: count }, (_, i) => `${name}-${String(i + 1)}`),
        lan: lan.flag() ?? true,
      };
    });
}

function parseHubs(field: Field): readonly string[] {
  return field.items(MOST.hubs).flatMap((item) => {
    const name = item.required().text(32);
    if (name === undefined) return [];
    return NAME.test(name) ? [name] : (item.fail(`is not ${NAME_WORDS}`) ?? []);
  });
}

/** Each name means one thing. */
function checkNames({ sites, hubs }: Places, root: Field): void {
  const names = [...sites.map(({ name }) => name), ...nodesOf({ sites, hubs })];
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    root.fail(`has two things with the name ${twice}; agents are named <site>-1, <site>-2 ...`);
  }
  const count = nodesOf({ sites, hubs }).length;
  if (count > MOST.nodes) {
    root.fail(`has ${String(count)} agents and hubs; at most ${String(MOST.nodes)} are simulated`);
  }
}

/** The rules, as in a policy file. */
function parseRules(field: Field): readonly PolicyRule[] {
  const rules = field.items(256).flatMap((item): PolicyRule[] => {
    try {
      return [...parsePolicy({ epoch: 1, rules: [item.value as JsonValue] }).rules];
    } catch (error) {
      const [line = ""] = toMeshError(error).message.split("\n");
      return item.fail(`is no rule: ${line.replace(/^policy: (?:rules\[0\]\.?)? ?/u, "")}`) ?? [];
    }
  });
  const prefixes = rules.map(({ prefix }) => prefix);
  const twice = prefixes.find((prefix, i) => prefixes.indexOf(prefix) !== i);
  if (twice !== undefined) {
    field.fail(`has two rules for the prefix ${JSON.stringify(twice)}; a prefix has one`);
  }
  return rules;
}

/** Every place can be reached from every other one, at least now and then. */
function checkReach(
  { sites, hubs, links }: Pick<Scenario, "sites" | "hubs" | "links">,
  root: Field,
): void {
  const places = [...sites.map(({ name }) => name), ...hubs];
  const reached = new Set(places.slice(0, 1));
  for (const place of reached) {
    for (const { a, b } of links) {
      if (a === place) reached.add(b);
      if (b === place) reached.add(a);
    }
  }
  const alone = places.find((place) => !reached.has(place));
  if (alone !== undefined) {
    root.fail(`has no link by which ${alone} reaches ${places[0] ?? ""}; add one under links`);
  }
  for (const { name, agents, lan } of sites) {
    const isLinked = links.some(({ a, b }) => a === name || b === name);
    if (agents.length > 1 && !lan && !isLinked) {
      root.fail(`has agents at ${name} that reach nobody; add a link, or take out "lan: false"`);
    }
  }
}

/**
 * Checks a parsed file, and completes it with defaults. Never throws; sizes are bounded before anything is built of
 * them, so that a file which asks for too much costs nothing.
 */
export function parseScenario(value: unknown): Parsed {
  const problems: ScenarioProblem[] = [];
  const root = new Field(value, [], problems).required();
  if (root.isAbsent) return { problems };
  const fields = root.members(
    "name",
    "description",
    "seed",
    "duration",
    "sites",
    "hubs",
    "links",
    "writers",
    "readers",
    "policy",
    "seal",
    "events",
  );
  const name = fields.name.required().text(80) ?? "";
  const description = (fields.description.text(2_000) ?? "").trim();
  const seed = fields.seed.number({ min: 0, max: MAX_SEED }, true) ?? 1;
  const durationMs = timeOf(fields.duration.required(), MOST.shortestMs) ?? MOST.shortestMs;
  const sites = parseSites(fields.sites);
  if (!fields.sites.isAbsent && sites.length === 0) fields.sites.fail("names no site");
  const places: Places = { sites, hubs: parseHubs(fields.hubs), durationMs };
  checkNames(places, root);
  // What follows is looked up in the places, and costs as much as they say.
  if (problems.length > 0) return { problems };
  const { hubs } = places;
  const links = parseLinks(fields.links, places);
  const writers = parseWriters(fields.writers, places);
  const readers = parseReaders(fields.readers, places, writers);
  const policy = parseRules(fields.policy);
  const sealEveryMs = timeOf(fields.seal.members("every").every, 1_000);
  const events = parseEvents(fields.events, places);
  checkReach({ sites, hubs, links }, root);
  if (sealEveryMs !== undefined && hubs.length === 0) fields.seal.fail("needs a hub, which seals");
  if (problems.length > 0) return { problems };
  const scenario = { name, description, seed, durationMs, sites, hubs, links, writers, readers };
  return {
    scenario: {
      ...scenario,
      policy,
      ...(sealEveryMs === undefined ? {} : { sealEveryMs }),
      events,
    },
  };
}
