// SPDX-License-Identifier: Apache-2.0
/**
 * A space's policy: which resolver picks the visible value of which keys. It has to be the same on
 * every replica, since the content digest is taken over the candidates that it leaves undominated.
 */
import { MeshError } from "@ctxmesh/model";
import { compileExpression } from "./expression.ts";
import {
  ALL,
  LATEST,
  MAX,
  MIN,
  SUM,
  UNION,
  confidenceResolver,
  expressionResolver,
  priorityResolver,
} from "./resolvers.ts";
import type { Resolver } from "./resolvers.ts";

/** A resolver as configured. */
export type ResolverSpec =
  | { readonly resolver: "latest" }
  | {
      readonly resolver: "confidence";
      /** A statement counts half as sure after this many milliseconds; without it confidence does not fade. */
      readonly halfLifeMs?: number;
    }
  | {
      readonly resolver: "priority";
      /** Source models, best first; a source that is not named comes last. */
      readonly sources: readonly string[];
    }
  | { readonly resolver: "max" | "min" | "sum" | "union" | "all" }
  | {
      readonly resolver: "expression";
      /** For people, and in errors. */
      readonly name: string;
      /** CEL; see `expression.ts`. */
      readonly expression: string;
    };

/** The resolver of the keys that start with a prefix. */
export type PolicyRule = ResolverSpec & { readonly prefix: string };

/** Rules; the longest matching prefix decides, and `latest` where none matches. */
export interface Policy {
  /** Raised with every change; seals and batches name it. */
  readonly epoch: number;
  readonly rules: readonly PolicyRule[];
}

/** The policy of a space that has none. */
export const DEFAULT_POLICY: Policy = { epoch: 0, rules: [] };

function refuse(field: string, problem: string): never {
  throw new MeshError("INPUT_INVALID", `policy: ${field} ${problem}`, { field });
}

function resolverOf(rule: ResolverSpec): Resolver {
  switch (rule.resolver) {
    case "latest":
      return LATEST;
    case "confidence": {
      const { halfLifeMs } = rule;
      if (halfLifeMs !== undefined && !(Number.isSafeInteger(halfLifeMs) && halfLifeMs > 0)) {
        refuse("halfLifeMs", "must be a positive whole number of milliseconds");
      }
      return confidenceResolver(halfLifeMs);
    }
    case "priority":
      if (new Set(rule.sources).size !== rule.sources.length) refuse("sources", "names one twice");
      return priorityResolver(rule.sources);
    case "max":
      return MAX;
    case "min":
      return MIN;
    case "sum":
      return SUM;
    case "union":
      return UNION;
    case "all":
      return ALL;
    case "expression":
      return expressionResolver(rule.name, compileExpression(rule.expression, rule.name));
  }
}

/** A policy ready for use. */
export class Resolvers {
  readonly policy: Policy;
  /** Longest prefix first. */
  readonly #rules: readonly { readonly prefix: string; readonly resolver: Resolver }[];

  /** Throws `INPUT_INVALID` or `LIMIT_EXCEEDED` naming the rule's field. */
  constructor(policy: Policy) {
    this.policy = policy;
    const prefixes = new Set(policy.rules.map(({ prefix }) => prefix));
    if (prefixes.size !== policy.rules.length) refuse("prefix", "has two rules");
    this.#rules = policy.rules
      .map((rule) => ({ prefix: rule.prefix, resolver: resolverOf(rule) }))
      .toSorted((a, b) => b.prefix.length - a.prefix.length);
  }

  /** The resolver of a key. */
  for(key: string): Resolver {
    return this.#rules.find(({ prefix }) => key.startsWith(prefix))?.resolver ?? LATEST;
  }
}
