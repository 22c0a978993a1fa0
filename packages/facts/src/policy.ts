// SPDX-License-Identifier: Apache-2.0
/**
 * A space's policy: which resolver picks the visible value of which keys. It has to be the same on
 * every replica, since the content digest is taken over the candidates that it leaves undominated.
 */
import { MeshError, isModuleName } from "@ctxmesh/model";
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
  moduleResolver,
  priorityResolver,
} from "./resolvers.ts";
import type { ModulePick, Resolver } from "./resolvers.ts";
import type { Slot } from "./slot.ts";

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
    }
  | {
      readonly resolver: "module";
      /** `wasm:` and the SHA-256 of a module of the space, hex. */
      readonly module: string;
    };

/** The modules of a space, as resolvers. */
export interface ModuleResolvers {
  /** What a module says of the statements about a key of a document, newest first; undefined when it is not there, or was cut off. */
  resolve(module: string, doc: string, newestFirst: readonly Slot[]): ModulePick | undefined;
}

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

/** The resolver of a rule, in a document. */
type InDocument = (doc: string) => Resolver;

/** Of a module as reads show it: what is before its last 52 digits. */
const SHOWN_NAME = "wasm:".length + 12;

function moduleRule(module: string, modules: ModuleResolvers | undefined): InDocument {
  if (!isModuleName(module)) refuse("module", "is not wasm: and the SHA-256 of a module in hex");
  return (doc) =>
    moduleResolver(module.slice(0, SHOWN_NAME), (slots) => modules?.resolve(module, doc, slots));
}

function resolverOf(rule: Exclude<ResolverSpec, { resolver: "module" }>): Resolver {
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

/** The resolvers of the keys of a document. */
export type KeyResolvers = Pick<Resolvers, "for">;

interface KeyRule {
  readonly prefix: string;
  readonly resolver: Resolver;
  /** Of a module alone, which is told the document. */
  readonly in?: InDocument;
}

const find = (rules: readonly KeyRule[], key: string): Resolver =>
  rules.find(({ prefix }) => key.startsWith(prefix))?.resolver ?? LATEST;

/** A policy ready for use. */
export class Resolvers {
  readonly policy: Policy;
  /** Longest prefix first. */
  readonly #rules: readonly KeyRule[];

  /** Without modules, `latest` decides where a rule names one. Throws `INPUT_INVALID` or `LIMIT_EXCEEDED` naming the rule's field. */
  constructor(policy: Policy, modules?: ModuleResolvers) {
    this.policy = policy;
    const prefixes = new Set(policy.rules.map(({ prefix }) => prefix));
    if (prefixes.size !== policy.rules.length) refuse("prefix", "has two rules");
    this.#rules = policy.rules
      .map((rule): KeyRule => {
        const { prefix } = rule;
        if (rule.resolver !== "module") return { prefix, resolver: resolverOf(rule) };
        const inDocument = moduleRule(rule.module, modules);
        return { prefix, resolver: inDocument(""), in: inDocument };
      })
      .toSorted((a, b) => b.prefix.length - a.prefix.length);
  }

  /** The resolver of a key; for the answer of a module ask {@link in} its document. */
  for(key: string): Resolver {
    return find(this.#rules, key);
  }

  /** The resolvers of the keys of a document. */
  in(doc: string): KeyResolvers {
    if (this.#rules.every((rule) => rule.in === undefined)) return this;
    const rules = this.#rules.map((rule) =>
      rule.in === undefined ? rule : { ...rule, resolver: rule.in(doc) },
    );
    return { for: (key) => find(rules, key) };
  }
}
