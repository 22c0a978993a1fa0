// SPDX-License-Identifier: Apache-2.0
import type { VisibleFact } from "@ctxmesh/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { factsText } from "../src/facts-text.ts";

const facts = fc.array(fc.jsonValue()).map((values) => values as unknown as VisibleFact[]);
const origin = fc.record(
  { from: fc.constantFrom("replica", "hub", "[]"), asOf: fc.nat() },
  { requiredKeys: [] },
);

test("an answer with facts is the JSON of it, whatever is in it, up to its limit and no further", () => {
  fc.assert(
    fc.property(origin, facts, (rest, list) => {
      const answer = { ...rest, facts: list };
      expect(JSON.parse(factsText(answer))).toEqual(JSON.parse(JSON.stringify(answer)));
      const length = list.reduce<number>((sum, fact) => sum + JSON.stringify(fact).length + 1, 0);
      expect(factsText(answer, length)).toBe(factsText(answer));
      if (length === 0) return;
      expect(() => factsText(answer, length - 1)).toThrow(
        expect.objectContaining({ code: "LIMIT_EXCEEDED", field: "limit" }),
      );
    }),
  );
});
