// SPDX-License-Identifier: Apache-2.0
/** What nodes hold: sampled over the run, and looked at once more at its end. */
import { Resolvers } from "@ctxmesh/facts";
import { contentRoot } from "@ctxmesh/ledger";
import { toHex } from "@ctxmesh/model";
import type { DeviceKey, VisibleFact } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { Contested, ContestedFact, Convergence, Timeline } from "../report/report.ts";
import type { NodeView, World } from "../world.ts";
import type { WrittenChains } from "./chains.ts";
import { nodesOf, placeOf } from "./scenario.ts";
import type { Scenario } from "./scenario.ts";

/** Contested facts that are shown with their candidates. */
const MOST_SHOWN = 100;
/** The longest list that a replica gives. */
const MOST_LISTED = 10_000;

type Series = (number | null)[];

const rows = (series: ReadonlyMap<string, Series>): Timeline["backlog"] =>
  [...series].map(([name, facts]) => ({ name, facts }));

/** Samples backlogs and contested facts. */
export class StateRecorder {
  readonly #scenario: Scenario;
  readonly #chains: WrittenChains;
  readonly #revoked: ReadonlySet<DeviceKey>;
  /** By node; of the contested facts one node of each place. */
  readonly #backlog = new Map<string, Series>();
  readonly #contested = new Map<string, Series>();
  #most: Contested["most"];

  constructor(scenario: Scenario, chains: WrittenChains, revoked: ReadonlySet<DeviceKey>) {
    this.#scenario = scenario;
    this.#chains = chains;
    this.#revoked = revoked;
    const places = new Set<string>();
    for (const node of nodesOf(scenario)) {
      this.#backlog.set(node, []);
      const place = placeOf(scenario, node);
      if (!places.has(place)) this.#contested.set(node, []);
      places.add(place);
    }
  }

  /** Takes a sample of every node. */
  sample(world: World): void {
    for (const [node, series] of this.#backlog) {
      const view = world.node(node);
      const replica = view?.process?.replica;
      const isOut = view !== undefined && this.#revoked.has(view.device);
      const known = replica !== undefined && !isOut;
      series.push(known ? this.#chains.missing(replica, this.#revoked) : null);
    }
    for (const [node, series] of this.#contested) {
      const count = world.node(node)?.process?.replica.count().contested;
      series.push(count ?? null);
      if (count !== undefined && count > (this.#most?.count ?? 0)) {
        this.#most = { count, node, atMs: Math.round(world.nowMs) };
      }
    }
  }

  series(): Pick<Timeline, "backlog" | "contested"> {
    return { backlog: rows(this.#backlog), contested: rows(this.#contested) };
  }

  /** Contested facts as a node that belongs has them. */
  contested(world: World): Contested {
    const [view] = this.#members(world);
    const replica = view?.process?.replica;
    const facts = replica?.list({ limit: MOST_LISTED }) ?? [];
    const contested = facts.filter((fact) => fact.contested);
    const most = this.#most === undefined ? {} : { most: this.#most };
    return {
      facts: facts.length,
      atEnd: contested.length,
      shown: contested
        .slice(0, MOST_SHOWN)
        .flatMap((fact) => (replica === undefined ? [] : this.#shown(replica, fact, world))),
      byRule: byRule(this.#scenario, facts),
      ...most,
    };
  }

  #shown(
    replica: Replica,
    { doc, key, resolver, value }: VisibleFact,
    world: World,
  ): ContestedFact {
    const names = new Map(world.nodes.map(({ id, device }) => [device, id]));
    const candidates = replica.candidates(doc, key).map((candidate) => ({
      node: names.get(candidate.writer) ?? candidate.writer,
      ...(candidate.value === undefined ? {} : { value: candidate.value }),
      standing: candidate.standing,
      ageMs: replica.ageMs(candidate.hlc),
      ...(candidate.confidence === undefined ? {} : { confidence: candidate.confidence }),
      ...(candidate.source === undefined ? {} : { source: candidate.source.model }),
    }));
    return { doc, key, resolver, value, candidates };
  }

  /** Nodes that run and were not shut out. */
  #members({ nodes }: World): readonly NodeView[] {
    return nodes.filter(
      ({ device, process }) => process !== undefined && !this.#revoked.has(device),
    );
  }

  /** Whether all nodes hold the same, and what. */
  equality(world: World): Pick<Convergence, "equal" | "digest"> {
    const states = this.#members(world).map(({ process }) => {
      if (process === undefined) return ["", ""] as const;
      const { replica } = process;
      const content = toHex(contentRoot(replica.snapshot().leaves));
      const rest = [replica.frontierDigest(), replica.recordsDigest()].map(toHex).join(" ");
      return [content, rest] as const;
    });
    const [first] = states;
    const equal = states.every(([content, rest]) => content === first?.[0] && rest === first[1]);
    return { equal: equal && this.#isComplete(world), digest: first?.[0] ?? "" };
  }

  #isComplete(world: World): boolean {
    return world.nodes.every(
      ({ device, process }) => process !== undefined || this.#revoked.has(device),
    );
  }
}

/** Facts under each rule of the policy, the keys without one under `latest`. */
function byRule({ policy }: Scenario, facts: readonly VisibleFact[]): Contested["byRule"] {
  const resolvers = new Resolvers({ epoch: 1, rules: policy });
  const prefixes = policy.map(({ prefix }) => prefix).toSorted((a, b) => b.length - a.length);
  const rules = new Map<
    string,
    { prefix: string; resolver: string; facts: number; contested: number }
  >();
  for (const { key, contested } of facts) {
    const prefix = prefixes.find((one) => key.startsWith(one)) ?? "";
    const row = rules.get(prefix) ?? {
      prefix,
      resolver: resolvers.for(key).name,
      facts: 0,
      contested: 0,
    };
    row.facts += 1;
    if (contested) row.contested += 1;
    rules.set(prefix, row);
  }
  return [...rules.values()].toSorted((a, b) => (a.prefix < b.prefix ? -1 : 1));
}
