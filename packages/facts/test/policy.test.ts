// SPDX-License-Identifier: Apache-2.0
import { DEFAULT_POLICY, Resolvers } from "@ctxmesh/facts";
import type { PolicyRule } from "@ctxmesh/facts";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const compile = (...rules: PolicyRule[]): Resolvers => new Resolvers({ epoch: 1, rules });

describe("a policy", () => {
  test("without rules resolves every key by latest", () => {
    expect(new Resolvers(DEFAULT_POLICY).for("any").name).toBe("latest");
    expect(DEFAULT_POLICY).toEqual({ epoch: 0, rules: [] });
  });

  test("resolves a key by the rule with the longest prefix that it starts with, in any order of rules", () => {
    const prefix = fc.string({ unit: fc.constantFrom("a", "b", "/"), maxLength: 3 });
    const prefixes = fc.uniqueArray(prefix, { maxLength: 6 });
    fc.assert(
      fc.property(prefixes, fc.array(prefix, { maxLength: 3 }), (list, parts) => {
        const key = parts.join("");
        const rules = list.map((each) => ({
          prefix: each,
          resolver: "expression" as const,
          name: `of ${each}`,
          expression: "1",
        }));
        const longest = list
          .filter((each) => key.startsWith(each))
          .reduce<string | undefined>((a, b) => (b.length >= (a ?? "").length ? b : a), undefined);
        const expected = longest === undefined ? "latest" : `of ${longest}`;
        expect(compile(...rules).for(key).name).toBe(expected);
        expect(compile(...rules.toReversed()).for(key).name).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });

  test("names the resolver that an answer came from", () => {
    const names = (["latest", "max", "min", "sum", "union", "all"] as const).map((resolver) =>
      compile({ prefix: "", resolver }).for("k"),
    );
    expect(names.map(({ name }) => name)).toEqual(["latest", "max", "min", "sum", "union", "all"]);
    expect(compile({ prefix: "", resolver: "confidence", halfLifeMs: 5 }).for("k").name).toBe(
      "confidence",
    );
    expect(compile({ prefix: "", resolver: "priority", sources: [] }).for("k").name).toBe(
      "priority",
    );
  });

  test.each<[string, PolicyRule[], string]>([
    [
      "two rules for one prefix",
      [
        { prefix: "a", resolver: "max" },
        { prefix: "a", resolver: "min" },
      ],
      "prefix",
    ],
    ["a half-life of 0", [{ prefix: "", resolver: "confidence", halfLifeMs: 0 }], "halfLifeMs"],
    ["a half-life below 0", [{ prefix: "", resolver: "confidence", halfLifeMs: -1 }], "halfLifeMs"],
    ["half a millisecond", [{ prefix: "", resolver: "confidence", halfLifeMs: 0.5 }], "halfLifeMs"],
    [
      "a half-life without end",
      [{ prefix: "", resolver: "confidence", halfLifeMs: Infinity }],
      "halfLifeMs",
    ],
    ["a source twice", [{ prefix: "", resolver: "priority", sources: ["a", "a"] }], "sources"],
    [
      "a bad expression",
      [{ prefix: "", resolver: "expression", name: "e", expression: "(" }],
      "expression",
    ],
  ])("with %s is refused, and the error names the member", (_, rules, field) => {
    expect(() => compile(...rules)).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID", field }) as Error,
    );
  });
});
