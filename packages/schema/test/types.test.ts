// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { typesOf } from "@ctxmesh/schema";
import * as fc from "fast-check";
import { parseSync } from "vite";
import { expect, test } from "vitest";
import { schemaArbitrary } from "./arbitraries.ts";
import type { Facts, Labels, Plan, TelemetryInLine } from "./generated.ts";
import { ENTRIES } from "./types-entries.ts";

/** Without what formatting changes. */
const bare = (text: string): string => text.replaceAll(/[\s();]+/gu, "").replaceAll("=|", "=");

test("types are made as in generated.ts, which the compiler checks with the values below", () => {
  const file = readFileSync(new URL("generated.ts", import.meta.url), "utf8");
  expect(bare(file)).toBe(bare(`// SPDX-License-Identifier: Apache-2.0\n${typesOf(ENTRIES)}`));
});

test("what is made of any schema is TypeScript", () => {
  fc.assert(
    fc.property(schemaArbitrary, (schema) => {
      const [first] = ENTRIES;
      if (first === undefined) return;
      const text = typesOf([{ ...first, schema }]);
      expect([text, parseSync("types.ts", text).errors]).toEqual([text, []]);
    }),
    { numRuns: 300 },
  );
});

// The compiler takes the first of each, and not the others.
const telemetry: Facts["telemetry/"] = {
  value: 71.5,
  unit: "C",
  "last-seen": "2026-01-01T00:00:00Z",
};
// @ts-expect-error -- without a unit
const noUnit: Facts["telemetry/"] = { value: null };
// @ts-expect-error -- with a member that the schema has not
const more: Facts["telemetry/"] = { value: null, unit: "F", place: "door" };
const pair: TelemetryInLine = ["a", null, "anything"];
// @ts-expect-error -- the first place is text
const wrongPair: TelemetryInLine = [1];
const plan: Plan = [{ name: "drill", seconds: 3 }];
// @ts-expect-error -- neither a list nor null
const wrongPlan: Plan = "drill";
const labels: Labels = { zone: "north" };
// @ts-expect-error -- texts only
const wrongLabels: Labels = { zone: 1 };

test("and the values are used", () => {
  const all = [telemetry, noUnit, more, pair, wrongPair, plan, wrongPlan, labels, wrongLabels];
  expect(all).toHaveLength(9);
});
