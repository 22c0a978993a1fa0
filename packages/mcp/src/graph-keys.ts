// SPDX-License-Identifier: Apache-2.0
/**
 * A knowledge graph as facts. What is said has a key made of its own content, so that whoever says the same writes the same key,
 * and whoever says something else another one: no writer overwrites another.
 *
 * ```
 * graph/entity/H(name)/type/H(entityType)           {name, entityType}
 * graph/entity/H(name)/observation/H(observation)   {name, observation}
 * graph/relation/H(from)/H(to)/H(relationType)      {from, to, relationType}
 * ```
 *
 * H is the first 16 bytes of SHA-256 over the text in UTF-8, 32 hex digits. An entity is there while one of its types is.
 */
import { hash } from "node:crypto";
import type { VisibleFact } from "@ctxmesh/model";

/** An entity as clients see it. */
export interface Entity {
  readonly name: string;
  readonly entityType: string;
  readonly observations: readonly string[];
}

/** A relation as clients see it. */
export interface Relation {
  readonly from: string;
  readonly to: string;
  readonly relationType: string;
}

/** Of all keys of a graph; a rule of the space's policy can be for it. */
export const GRAPH_PREFIX = "graph/";
/** Of all keys of entities. */
export const ENTITY_PREFIX: string = `${GRAPH_PREFIX}entity/`;
/** Of all keys of relations. */
export const RELATION_PREFIX: string = `${GRAPH_PREFIX}relation/`;

const HASH_DIGITS = 32;

const hashOf = (text: string): string => hash("sha256", text, "hex").slice(0, HASH_DIGITS);

/** Of everything that is said of one entity. */
export const entityPrefix = (name: string): string => `${ENTITY_PREFIX}${hashOf(name)}/`;

/** What says that an entity is there, and of which type. */
export const typeKey = (name: string, entityType: string): string =>
  `${entityPrefix(name)}type/${hashOf(entityType)}`;

/** What says one thing about an entity. */
export const observationKey = (name: string, observation: string): string =>
  `${entityPrefix(name)}observation/${hashOf(observation)}`;

/** What says that a relation is there. */
export const relationKey = ({ from, to, relationType }: Relation): string =>
  `${RELATION_PREFIX}${hashOf(from)}/${hashOf(to)}/${hashOf(relationType)}`;

/** What one fact of a graph says; undefined for a fact that is none. */
export type Said =
  | { readonly kind: "type"; readonly name: string; readonly entityType: string }
  | { readonly kind: "observation"; readonly name: string; readonly observation: string }
  | ({ readonly kind: "relation" } & Relation);

/** Reads a fact that anybody may have written: what has another shape is no part of the graph. */
export function readGraphFact({ key, value }: VisibleFact): Said | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { name, entityType, observation, from, to, relationType } = value as Readonly<
    Record<string, unknown>
  >;
  if (key.startsWith(RELATION_PREFIX)) {
    return typeof from === "string" && typeof to === "string" && typeof relationType === "string"
      ? { kind: "relation", from, to, relationType }
      : undefined;
  }
  if (!key.startsWith(ENTITY_PREFIX) || typeof name !== "string") return undefined;
  if (typeof entityType === "string") return { kind: "type", name, entityType };
  return typeof observation === "string" ? { kind: "observation", name, observation } : undefined;
}
