// SPDX-License-Identifier: Apache-2.0
/** What facts come to as a graph; the same on every node that knows the same facts. */
import type { VisibleFact } from "@ctxmesh/model";
import { readGraphFact } from "./graph-keys.ts";
import type { Entity, Relation } from "./graph-keys.ts";

/** A whole graph, or what was found of one. */
export interface Graph {
  readonly entities: readonly Entity[];
  readonly relations: readonly Relation[];
}

/** As replicas order statements: by clock, then by writer; a key is said once by each. */
function inOrder(a: VisibleFact, b: VisibleFact): number {
  if (a.hlc !== b.hlc) return a.hlc - b.hlc;
  if (a.writer !== b.writer) return a.writer < b.writer ? -1 : 1;
  return a.key < b.key ? -1 : 1;
}

/**
 * The graph that facts come to. Entities, observations and relations are in the order in which they were said. Where two
 * writers gave one entity different types at the same time, it has the one that was said first. What is said of an entity that
 * is not there is left out.
 */
export function graphOf(facts: readonly VisibleFact[]): Graph {
  const types = new Map<string, string>();
  const observations = new Map<string, Set<string>>();
  const relations = new Map<string, Relation>();
  for (const fact of facts.toSorted(inOrder)) {
    const said = readGraphFact(fact);
    if (said === undefined) continue;
    if (said.kind === "relation") {
      const { from, to, relationType } = said;
      relations.set(JSON.stringify([from, to, relationType]), { from, to, relationType });
    } else if (said.kind === "type") {
      if (!types.has(said.name)) types.set(said.name, said.entityType);
    } else {
      const of = observations.get(said.name) ?? new Set();
      observations.set(said.name, of.add(said.observation));
    }
  }
  const entities = [...types].map(([name, entityType]) => {
    return { name, entityType, observations: [...(observations.get(name) ?? [])] };
  });
  return { entities, relations: [...relations.values()] };
}

/** The entities that are wanted, and the relations with one of them at either end. */
export function part({ entities, relations }: Graph, wanted: (entity: Entity) => boolean): Graph {
  const found = entities.filter(wanted);
  const names = new Set(found.map(({ name }) => name));
  return {
    entities: found,
    relations: relations.filter(({ from, to }) => names.has(from) || names.has(to)),
  };
}
