// SPDX-License-Identifier: Apache-2.0
import type { Policy } from "@ctxmesh/facts";
import { encodeSpaceFile, parsePolicy, parseSpaceFile, setPolicy } from "@ctxmesh/membership";
import { LIMITS } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";
import { encodeRules, policyOf } from "../src/policy-record.ts";
import { creator, emptySpace, verifier } from "./mesh.ts";

const POLICY: Policy = {
  epoch: 3,
  rules: [
    { prefix: "", resolver: "confidence", halfLifeMs: 60_000 },
    { prefix: "count/", resolver: "sum" },
    { prefix: "from/", resolver: "priority", sources: ["m1", "m2"] },
    { prefix: "score/", resolver: "expression", name: "score", expression: "value.score" },
    { prefix: "module/", resolver: "module", module: `wasm:${"5a".repeat(32)}` },
    ...(["latest", "max", "min", "union", "all"] as const).map((resolver) => ({
      prefix: `${resolver}/`,
      resolver,
    })),
  ],
};

describe("a policy", () => {
  test("reads back as it was written, under every resolver", () => {
    expect(policyOf({ epoch: 3, rules: encodeRules(POLICY) })).toEqual(POLICY);
    expect(parsePolicy({ ...POLICY })).toEqual(POLICY);
  });

  test("travels in the space file", () => {
    const space = setPolicy(emptySpace(), creator.signer, POLICY);
    expect(space.policy).toEqual(POLICY);
    expect(parseSpaceFile(encodeSpaceFile(space), verifier).policy).toEqual(POLICY);
  });

  test("is set again with an epoch that rises", () => {
    const space = setPolicy(emptySpace(), creator.signer, POLICY);
    const refused = expect.objectContaining({ code: "POLICY_REFUSED", field: "epoch" }) as Error;
    expect(() => setPolicy(space, creator.signer, POLICY)).toThrow(refused);
    const next = setPolicy(space, creator.signer, { epoch: 4, rules: [] });
    expect(next.policy).toEqual({ epoch: 4, rules: [] });
  });
});

const rule = (members: Readonly<Record<string, JsonValue>>): JsonValue => ({
  epoch: 1,
  rules: [{ prefix: "", resolver: "latest", ...members }],
});

describe("a policy is refused, and the error says what is wrong", () => {
  test.each<[string, JsonValue, string]>([
    ["that is no object", [], "not an object"],
    ["that is null", null, "not an object"],
    ["without an epoch", { rules: [] }, "epoch"],
    ["with epoch 0", { epoch: 0, rules: [] }, "epoch"],
    ["with half an epoch", { epoch: 1.5, rules: [] }, "epoch"],
    ["without rules", { epoch: 1 }, "rules"],
    ["with rules that are no list", { epoch: 1, rules: {} }, "rules"],
    ["with a member more", { epoch: 1, rules: [], extra: 1 }, "extra"],
    ["with a rule that is no object", { epoch: 1, rules: [1] }, "rules[0]"],
    ["with a module that has no name", rule({ resolver: "module" }), "module is not string"],
    ["with half a name", rule({ resolver: "module", module: "wasm:5a" }), "module is not wasm:"],
    [
      "with a name in capitals",
      rule({ resolver: "module", module: `wasm:${"5A".repeat(32)}` }),
      "module is not wasm:",
    ],
    ["with a prefix that is no text", rule({ prefix: 1 }), "rules[0].prefix"],
    ["with an unknown resolver", rule({ resolver: "oldest" }), "rules[0].resolver"],
    ["with a resolver that every object has", rule({ resolver: "toString" }), "rules[0].resolver"],
    ["with another resolver's member", rule({ halfLifeMs: 5 }), "halfLifeMs"],
    [
      "with a half-life that is text",
      rule({ resolver: "confidence", halfLifeMs: "5" }),
      "halfLifeMs",
    ],
    ["with a half-life of 0", rule({ resolver: "confidence", halfLifeMs: 0 }), "halfLifeMs"],
    ["without sources", rule({ resolver: "priority" }), "sources"],
    ["with a source that is no text", rule({ resolver: "priority", sources: [1] }), "sources"],
    ["without an expression", rule({ resolver: "expression", name: "e" }), "expression"],
    ["without a name", rule({ resolver: "expression", expression: "1" }), "name"],
    ["with a bad expression", rule({ resolver: "expression", name: "e", expression: "(" }), '"e"'],
    [
      "with two rules for one prefix",
      {
        epoch: 1,
        rules: [
          { prefix: "", resolver: "max" },
          { prefix: "", resolver: "min" },
        ],
      },
      "prefix",
    ],
  ])("%s", (_, policy, problem) => {
    expect(() => parsePolicy(policy)).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID" }) as Error,
    );
    expect(() => parsePolicy(policy)).toThrow(problem);
  });

  test("with more rules than LIMITS.policyRules, and taken with as many", () => {
    const rules = Array.from({ length: LIMITS.policyRules + 1 }, (_, i) => ({
      prefix: String(i),
      resolver: "max",
    }));
    expect(parsePolicy({ epoch: 1, rules: rules.slice(1) }).rules).toHaveLength(LIMITS.policyRules);
    expect(() => parsePolicy({ epoch: 1, rules })).toThrow(String(LIMITS.policyRules));
  });
});
