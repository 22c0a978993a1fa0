// SPDX-License-Identifier: Apache-2.0
/**
 * The policy of a space as its creator signs it:
 *
 * ```
 * body   = UTF-8 of RFC 8785 JSON {"epoch": n, "rules": [rule ...], "space": <hex>, "v": 1}
 * signed = "ctxmesh/policy/v1\n" || body
 * ```
 *
 * A rule is `{prefix, resolver, ...}` with the members of its resolver (see `ResolverSpec` in
 * `@ctxmesh/facts`) and no others.
 */
import { canonicalJson, parseCanonicalJson, utf8Decode, utf8Encode } from "@ctxmesh/codec";
import { Resolvers } from "@ctxmesh/facts";
import type { Policy, PolicyRule } from "@ctxmesh/facts";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { JsonValue, SpaceId } from "@ctxmesh/model";

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

/** The bytes that a creator signs, after a domain tag. */
export const policySigningInput = (body: Uint8Array): Uint8Array => {
  const tag = utf8Encode("ctxmesh/policy/v1\n");
  const input = new Uint8Array(tag.length + body.length);
  input.set(tag);
  input.set(body, tag.length);
  return input;
};

/** The body of a policy record. */
export const encodePolicy = (space: SpaceId, { epoch, rules }: Policy): Uint8Array =>
  utf8Encode(canonicalJson({ v: 1, space, epoch, rules }));

/** Parses an untrusted policy body. Throws `INPUT_INVALID`, `FORMAT_INVALID`, or `POLICY_REFUSED` for another space. */
export function decodePolicy(body: Uint8Array, space: SpaceId): Policy {
  const {
    v,
    space: named,
    ...policy
  } = membersOf(parseCanonicalJson(utf8Decode(body), "policy"), "the policy");
  if (v !== 1) refuse("v is not 1");
  if (named !== space) {
    throw new MeshError("POLICY_REFUSED", "space file: the policy is for another space");
  }
  return parsePolicy(policy);
}
