// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import fc from "fast-check";
import { expect, test } from "vitest";
import { WorkQueue } from "../src/work-queue.ts";

const item = fc.record({
  id: fc.nat(),
  size: fc.integer({ min: 0, max: LIMITS.groupBytes * 2 }),
  unpacked: fc.integer({ min: 0, max: LIMITS.groupUnpackedBytes * 2 }),
});
interface Item {
  readonly id: number;
  readonly size: number;
  readonly unpacked: number;
}

test("items come out once, in order, in groups within count and bytes, packed and unpacked, unless one alone is larger", () => {
  fc.assert(
    fc.property(
      fc.array(item, { maxLength: 40 }),
      fc.integer({ min: 1, max: 9 }),
      (items, count) => {
        const queue = new WorkQueue<Item>();
        for (const each of items) queue.push(each);
        const out: Item[] = [];
        while (queue.length > 0) {
          const group = queue.take(count);
          expect(group.length).toBeGreaterThan(0);
          expect(group.length).toBeLessThanOrEqual(count);
          const bytes = group.reduce((sum, { size }) => sum + size, 0);
          expect(group.length === 1 || bytes <= LIMITS.groupBytes).toBe(true);
          const opened = group.reduce((sum, { unpacked }) => sum + unpacked, 0);
          expect(group.length === 1 || opened <= LIMITS.groupUnpackedBytes).toBe(true);
          out.push(...group);
        }
        expect(out).toEqual(items);
      },
    ),
  );
});

test("it is full by number and by bytes, and has room again once items are taken", () => {
  const many = new WorkQueue<{ size: number }>();
  for (let i = 0; i < LIMITS.queuedBatches; i++) many.push({ size: 0 });
  expect(many.isFull(0)).toBe(true);
  many.take(1);
  expect(many.isFull(0)).toBe(false);
  const large = new WorkQueue<{ size: number }>();
  large.push({ size: LIMITS.queuedBytes });
  expect(large.isFull(0)).toBe(false);
  expect(large.isFull(1)).toBe(true);
  large.take(1);
  expect(large.isFull(LIMITS.queuedBytes)).toBe(false);
});
