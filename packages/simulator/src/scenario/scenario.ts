// SPDX-License-Identifier: Apache-2.0
/** A scenario: sites, hubs and what joins them, who writes and reads what, and what happens when. */
import type { PolicyRule } from "@ctxmesh/facts";
import type { FactSource, JsonValue } from "@ctxmesh/model";

/** What a scenario may ask for; each bounds time or memory of a run. */
export const SCENARIO_LIMITS = {
  /** Agents of all sites and hubs together: the mesh is one process here. */
  nodes: 64,
  hubs: 8,
  sites: 32,
  /** Lines between two nodes each, those inside of sites included. */
  lines: 1_024,
  links: 128,
  outagesPerLink: 64,
  /** Times at which some line is cut, over all lines. */
  cuts: 100_000,
  writers: 64,
  readers: 64,
  events: 256,
  /** Keys of one writer, and of all. */
  keys: 10_000,
  /** Facts written in the whole run. */
  writes: 500_000,
  /** Keys read in the whole run: looks times keys. */
  reads: 4_000_000,
  /** Simulated milliseconds: 31 days. */
  durationMs: 2_678_400_000,
  /** Shortest one: less says nothing. */
  shortestMs: 1_000,
} as const;

/** The greatest seed. */
export const MAX_SEED = 999_999_999;

/** A place with agents, which see each other unless it is said that they do not. */
export interface ScenarioSite {
  readonly name: string;
  /** Names of its agents: `<site>-1`, `<site>-2` ... */
  readonly agents: readonly string[];
  /** Whether its agents are linked with each other, 1 ms apart. */
  readonly lan: boolean;
}

/** When a link is down: once, or again and again. Milliseconds since the beginning. */
export interface OutageRule {
  readonly fromMs: number;
  /** How long it lasts each time. */
  readonly forMs: number;
  /** Present when it comes again: from one beginning to the next, and up to when. */
  readonly again?: {
    readonly everyMs: number;
    readonly untilMs: number;
    /** Each line of the link begins at a moment of its own. */
    readonly staggered: boolean;
  };
}

/** What joins every agent of one place with every agent or the hub of another; a line for each two. */
export interface ScenarioLink {
  readonly a: string;
  readonly b: string;
  /** One way, spread evenly between these. */
  readonly latencyMs: { readonly min: number; readonly max: number };
  /** Probability that a message is lost, and stalls until it was sent again. */
  readonly loss: number;
  /** Of each line, each way; absent without a limit. */
  readonly bytesPerMs?: number;
  readonly outages: readonly OutageRule[];
}

/** What a writer writes. */
export type ValueGenerator =
  | { readonly kind: "counter" }
  /** Adds to its own number; for the resolver `sum`. */
  | { readonly kind: "increment"; readonly by: number }
  | {
      readonly kind: "walk";
      readonly start: number;
      readonly step: number;
      readonly min: number;
      readonly max: number;
    }
  | { readonly kind: "choice"; readonly of: readonly JsonValue[] }
  | { readonly kind: "constant"; readonly value: JsonValue };

/** Something that writes facts at each of some agents. */
export interface ScenarioWriter {
  readonly name: string;
  readonly agents: readonly string[];
  readonly document: string;
  /** Each write is to one of them, chosen at random; `{agent}` stands for the agent's name. */
  readonly keys: readonly string[];
  /** Between two writes of one agent, in milliseconds. */
  readonly everyMs: number;
  readonly fromMs: number;
  readonly untilMs: number;
  readonly value: ValueGenerator;
  readonly confidence?: { readonly min: number; readonly max: number };
  readonly source?: FactSource;
  readonly ttlMs?: number;
}

/** Something that looks at facts now and then, at each of some nodes. */
export interface ScenarioReader {
  readonly name: string;
  /** Agents or hubs. */
  readonly nodes: readonly string[];
  readonly document: string;
  /** Looks at the keys that anybody writes and that begin with this. */
  readonly prefix: string;
  readonly everyMs: number;
}

/** Something that happens once. */
export type ScenarioEvent = { readonly atMs: number; readonly nodes: readonly string[] } & (
  | { readonly kind: "offline" | "crash"; readonly forMs: number }
  /** The machine gets the disk of an earlier moment back. */
  | { readonly kind: "restore"; readonly forMs: number; readonly backupMs: number }
  | { readonly kind: "clock"; readonly byMs: number }
  | { readonly kind: "revoke" }
);

/** A whole scenario, checked and complete. */
export interface Scenario {
  readonly name: string;
  readonly description: string;
  readonly seed: number;
  readonly durationMs: number;
  readonly sites: readonly ScenarioSite[];
  readonly hubs: readonly string[];
  readonly links: readonly ScenarioLink[];
  readonly writers: readonly ScenarioWriter[];
  readonly readers: readonly ScenarioReader[];
  readonly policy: readonly PolicyRule[];
  /** Each hub seals this often; absent when none does. */
  readonly sealEveryMs?: number;
  readonly events: readonly ScenarioEvent[];
}

/** The place of a node: the site of an agent, a hub itself. */
export const placeOf = (scenario: Scenario, node: string): string =>
  scenario.sites.find(({ agents }) => agents.includes(node))?.name ?? node;

/** Every node, agents first, as the scenario has them. */
export const nodesOf = ({ sites, hubs }: Pick<Scenario, "sites" | "hubs">): readonly string[] => [
  ...sites.flatMap(({ agents }) => agents),
  ...hubs,
];
