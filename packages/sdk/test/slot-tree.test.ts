// SPDX-License-Identifier: Apache-2.0
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { SlotTree } from "../src/slot-tree.ts";

test("the whole is what a fold over the values in use says, whatever is added, replaced and taken out", () => {
  const step = fc.oneof(
    fc.record({ add: fc.integer() }),
    fc.record({ at: fc.nat(), value: fc.option(fc.integer(), { nil: undefined }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const tree = new SlotTree<bigint>((a, b) => a + b);
      const model = new Map<number, bigint>();
      for (const what of steps) {
        if ("add" in what) {
          const slot = tree.add(BigInt(what.add));
          if (model.has(slot)) throw new Error(`slot ${String(slot)} is in use`);
          model.set(slot, BigInt(what.add));
        } else if (model.size > 0) {
          const slot = [...model.keys()][what.at % model.size] ?? 0;
          const value = what.value === undefined ? undefined : BigInt(what.value);
          tree.set(slot, value);
          if (value === undefined) model.delete(slot);
          else model.set(slot, value);
        }
        for (const [slot, value] of model) expect(tree.at(slot)).toBe(value);
        const all = [...model.values()];
        expect(tree.whole).toBe(all.length === 0 ? undefined : all.reduce((a, b) => a + b));
      }
    }),
  );
});
