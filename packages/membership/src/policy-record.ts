// SPDX-License-Identifier: Apache-2.0
/**
 * The policy of a space as plain data: `{epoch, rules: [rule ...]}`. A rule is `{prefix, resolver, ...}` with the
 * members of its resolver (see `ResolverSpec` in `@ctxmesh/facts`) and no others.
 */
import { canonicalJson, parseCanonicalJson } from "@ctxmesh/codec";
import type { PolicyAct } from "@ctxmesh/codec";
import { Resolvers } from "@ctxmesh/facts";
import type { Policy, PolicyRule } from "@ctxmesh/facts";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";

type Members = Readonly<Record<string, JsonValue>>;

/** Members of a rule besides prefix and resolver, with their types; a question mark makes one optional. */
const RULE_MEMBERS: Readonly<Record<PolicyRule["resolver"], Readonly<Record<string, string>>>> = {
  latest: {},
  confidence: { halfLifeMs: "number?" },
  priority: { sources: "strings" },
  max: {},
  min: {},
  sum: {},
  union: {},
  all: {},
  expression: { name: "string", expression: "string" },
  module: { module: "string" },
};

function refuse(problem: string): never {
  throw new MeshError("INPUT_INVALID", `policy: ${problem}`, { field: "policy" });
}

function membersOf(value: JsonValue | undefined, what: string): Members {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return refuse(`${what} is not an object`);
  }
  return value as Members;
}

function isOfType(value: JsonValue | undefined, type: string): boolean {
  switch (type) {
    case "number?":
      return value === undefined || typeof value === "number";
    case "strings":
      return Array.isArray(value) && value.every((item) => typeof item === "string");
    default:
      return typeof value === type;
  }
}

function ruleOf(value: JsonValue, index: number): PolicyRule {
  const what = `rules[${String(index)}]`;
  const rule = membersOf(value, what);
  const { prefix, resolver, ...rest } = rule;
  if (typeof prefix !== "string") refuse(`${what}.prefix is not text`);
  if (typeof resolver !== "string" || !Object.hasOwn(RULE_MEMBERS, resolver)) {
    refuse(`${what}.resolver is not one of ${Object.keys(RULE_MEMBERS).join(", ")}`);
  }
  const members = RULE_MEMBERS[resolver as PolicyRule["resolver"]];
  for (const name of Object.keys(rest)) {
    if (!Object.hasOwn(members, name)) refuse(`${what} has the unknown member ${name}`);
  }
  if (
    resolver === "expression" &&
    typeof rest["name"] === "string" &&
    Object.hasOwn(RULE_MEMBERS, rest["name"])
  ) {
    refuse(`${what}.name is the name of a resolver; choose another`);
  }
  for (const [name, type] of Object.entries(members)) {
    if (!isOfType(rest[name], type)) refuse(`${what}.${name} is not ${type.replace("?", "")}`);
  }
  return rule as unknown as PolicyRule;
}

/** Parses a policy's plain data and compiles it once to see that it can be used. Throws `INPUT_INVALID` or `LIMIT_EXCEEDED`. */
export function parsePolicy(value: JsonValue): Policy {
  const { epoch, rules, ...rest } = membersOf(value, "the policy");
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) refuse(`it has the unknown member ${unknown}`);
  if (typeof epoch !== "number" || !Number.isSafeInteger(epoch) || epoch < 1) {
    return refuse("epoch is not a whole number from 1");
  }
  if (!Array.isArray(rules) || rules.length > LIMITS.policyRules) {
    return refuse(`rules is not a list of at most ${String(LIMITS.policyRules)}`);
  }
  const policy: Policy = { epoch, rules: (rules as readonly JsonValue[]).map(ruleOf) };
  const compiled = new Resolvers(policy);
  return compiled.policy;
}

/** The name of the resolver that a policy has for a key. */
export const resolverFor = (policy: Policy, key: string): string =>
  new Resolvers(policy).for(key).name;

/** The rules of a policy as they stand in a policy act: canonical JSON. */
export const encodeRules = ({ rules }: Policy): string => canonicalJson(rules);

/** The policy of an untrusted act. Throws `INPUT_INVALID` or `LIMIT_EXCEEDED`. */
export const policyOf = ({ epoch, rules }: Pick<PolicyAct, "epoch" | "rules">): Policy =>
  parsePolicy({ epoch, rules: parseCanonicalJson(rules, "policy.rules") });
