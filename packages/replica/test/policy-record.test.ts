// SPDX-License-Identifier: Apache-2.0
import {
  decodeSignedRecord,
  encodeSignedRecord,
  fromBase64,
  toBase64,
  utf8Encode,
} from "@ctxmesh/codec";
import type { Policy } from "@ctxmesh/facts";
import { LIMITS } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { encodeSpaceFile, parsePolicy, parseSpaceFile, setPolicy } from "@ctxmesh/replica";
import type { Space } from "@ctxmesh/replica";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodePolicy, encodePolicy, policySigningInput } from "../src/policy-record.ts";
import { creator, emptySpace, space, stranger, verifier } from "./mesh.ts";

const POLICY: Policy = {
  epoch: 3,
  rules: [
    { prefix: "", resolver: "confidence", halfLifeMs: 60_000 },
    { prefix: "count/", resolver: "sum" },
    { prefix: "from/", resolver: "priority", sources: ["m1", "m2"] },
    { prefix: "score/", resolver: "expression", name: "score", expression: "value.score" },
    ...(["latest", "max", "min", "union", "all"] as const).map((resolver) => ({
      prefix: `${resolver}/`,
      resolver,
    })),
  ],
};
const withPolicy = setPolicy(space, creator.signer, POLICY);

describe("a policy record", () => {
  test("reads back as the policy that was written, under every resolver", () => {
    expect(decodePolicy(encodePolicy(space.id, POLICY), space.id)).toEqual(POLICY);
    expect(parsePolicy({ ...POLICY })).toEqual(POLICY);
  });

  test("travels in the space file, under the creator's signature", () => {
    const text = encodeSpaceFile(withPolicy);
    expect(parseSpaceFile(text, verifier)).toEqual(withPolicy);
    expect(parseSpaceFile(text, verifier).policy).toEqual(POLICY);
    expect(parseSpaceFile(encodeSpaceFile(space), verifier).policy).toEqual({
      epoch: 0,
      rules: [],
    });
  });

  test("of another space is refused", () => {
    const body = encodePolicy(emptySpace(2).id, POLICY);
    expect(() => decodePolicy(body, space.id)).toThrow(
      expect.objectContaining({ code: "POLICY_REFUSED" }) as Error,
    );
    expect(() => parse(policyText(body))).toThrow(
      expect.objectContaining({ code: "POLICY_REFUSED" }) as Error,
    );
  });

  test("is set by the creator alone, and its epoch rises", () => {
    const refused = expect.objectContaining({ code: "POLICY_REFUSED" }) as Error;
    expect(() => setPolicy(space, stranger.signer, POLICY)).toThrow(refused);
    expect(() => setPolicy(withPolicy, creator.signer, POLICY)).toThrow(refused);
    const next = setPolicy(withPolicy, creator.signer, { epoch: 4, rules: [] });
    expect(next.policy).toEqual({ epoch: 4, rules: [] });
    expect(parseSpaceFile(encodeSpaceFile(next), verifier).policy.epoch).toBe(4);
  });
});

const file = JSON.parse(encodeSpaceFile(withPolicy)) as Readonly<Record<string, unknown>>;
const parse = (policy: unknown): Space =>
  parseSpaceFile(JSON.stringify({ ...file, policy }), verifier);
/** A policy record as text, signed by whoever is told. */
function policyText(body: Uint8Array, { signer } = creator): string {
  const signature = signer.sign(policySigningInput(body));
  return toBase64(encodeSignedRecord({ body, signature }));
}

const bodyOf = (value: unknown): Uint8Array => utf8Encode(JSON.stringify(value));

describe("a space file is refused with a policy", () => {
  const { body, signature } = decodeSignedRecord(fromBase64(String(file["policy"])));
  const members = { epoch: 1, rules: [], space: space.id, v: 1 };

  test.each<[string, unknown, string]>([
    ["that is no text", 1, "FORMAT_INVALID"],
    ["that is no base64", "*", "FORMAT_INVALID"],
    ["that another signed", policyText(body, stranger), "SIGNATURE_INVALID"],
    [
      "whose body was changed",
      toBase64(encodeSignedRecord({ body: bodyOf(members), signature })),
      "SIGNATURE_INVALID",
    ],
    ["that is no JSON", policyText(utf8Encode("{")), "INPUT_INVALID"],
    [
      "that is not canonical",
      policyText(utf8Encode(` ${JSON.stringify(members)}`)),
      "INPUT_INVALID",
    ],
    ["that is not UTF-8", policyText(Uint8Array.of(0x22, 0xff, 0x22)), "FORMAT_INVALID"],
    ["of another version", policyText(bodyOf({ ...members, v: 2 })), "INPUT_INVALID"],
    ["with a member more", policyText(bodyOf({ ...members, w: 1 })), "INPUT_INVALID"],
  ])("%s", (_, policy, code) => {
    expect(() => parse(policy)).toThrow(expect.objectContaining({ code }) as Error);
  });

  test("changed in any one byte", () => {
    fc.assert(
      fc.property(fc.nat(body.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = body.map((byte, i) => (i === at ? byte ^ flip : byte));
        expect(() => parse(toBase64(encodeSignedRecord({ body: changed, signature })))).toThrow(
          expect.objectContaining({ code: "SIGNATURE_INVALID" }) as Error,
        );
      }),
      { numRuns: 50 },
    );
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
