// SPDX-License-Identifier: Apache-2.0
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Recent } from "../src/recent.ts";

const LIMIT = 8;

test("never holds more than its limit, never answers wrongly, and keeps the last half of what was used", () => {
  const key = fc.nat({ max: 20 }).map(String);
  const step = fc.record({ kind: fc.constantFrom("get", "set", "delete"), key });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: "max" }), (steps) => {
      const recent = new Recent<number>(LIMIT);
      const model = new Map<string, number>();
      let used: string[] = [];
      for (const [n, { kind, key: name }] of steps.entries()) {
        if (kind === "delete") {
          recent.delete(name);
          model.delete(name);
          continue;
        }
        if (kind === "set") {
          recent.set(name, n);
          model.set(name, n);
        }
        const found = recent.get(name);
        expect([undefined, model.get(name)]).toContain(found);
        if (found !== undefined) used = [...used.filter((other) => other !== name), name];
        expect(recent.size).toBeLessThanOrEqual(LIMIT);
        for (const last of used.slice(-LIMIT / 2)) {
          // Asking uses them again, in the same order.
          expect(recent.get(last), last).toBe(model.get(last));
        }
      }
    }),
  );
});
