// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { LIMITS } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CurrentKey } from "../src/data-key-table.ts";
import { DataKeyTable } from "../src/data-key-table.ts";

const DOC_HASH = new Uint8Array(32).fill(1);

function add(table: DataKeyTable, epoch = 0, docHash = DOC_HASH): CurrentKey {
  const wrapped = randomBytes(40);
  const id = randomBytes(16);
  table.add({ id, docHash, gen: 3, epoch, storeKey: 1, madeMs: 5, wrapped });
  const current = table.currentOf(docHash, 3);
  if (current === undefined) throw new Error("not added");
  return current;
}

/** What a restart finds of a table. */
function reload(table: DataKeyTable): DataKeyTable {
  const again = new DataKeyTable();
  for (const row of table.rows()) {
    const { key, value } = table.change(row);
    again.load(key, value ?? new Uint8Array(0));
  }
  return again;
}

/** Every record of a table as text. */
const kept = (table: DataKeyTable): string[] =>
  Array.from(table.rows(), (row) => {
    const { key, value = key } = table.change(row);
    return Buffer.concat([key, value]).toString("hex");
  }).toSorted();

describe("a data key", () => {
  test("seals up to its limits of seals and bytes, also over restarts, and little less", () => {
    const size = fc.oneof(
      fc.nat({ max: 70_000_000 }),
      fc.nat({ max: 300 }),
      fc.constant(LIMITS.dataKeyBytes),
    );
    fc.assert(
      fc.property(fc.array(size, { minLength: 1, maxLength: 40 }), (sizes) => {
        let table = new DataKeyTable();
        add(table);
        let total = 0;
        for (let n = 0; ; n++) {
          const current = table.currentOf(DOC_HASH, 3);
          const bytes = sizes[n % sizes.length] ?? 0;
          if (current === undefined || table.use(current, bytes) === "spent") break;
          total += bytes;
          if (n % 7 === 6) table = reload(table);
        }
        expect(total).toBeLessThanOrEqual(LIMITS.dataKeyBytes);
      }),
      { numRuns: 30 },
    );
  });

  test("is spent after exactly the limit of small seals, and of bytes, without a restart", () => {
    for (const [bytes, seals] of [
      [0, LIMITS.dataKeySeals],
      [1_024, LIMITS.dataKeySeals],
      [1_025, Math.floor(LIMITS.dataKeyBytes / 1_025)],
      [LIMITS.dataKeyBytes, 1],
    ] as const) {
      const table = new DataKeyTable();
      const current = add(table);
      let count = 0;
      let changes = 0;
      for (;;) {
        const use = table.use(current, bytes);
        if (use === "spent") break;
        count += 1;
        if (use === "changed") changes += 1;
      }
      expect(count).toBe(seals);
      expect(changes).toBeLessThanOrEqual(64);
    }
  });

  test("that was used and loaded again counts as used up to the next portion", () => {
    let table = new DataKeyTable();
    let restarts = 0;
    add(table);
    for (;;) {
      const current = table.currentOf(DOC_HASH, 3);
      if (current === undefined || table.use(current, 1) === "spent") break;
      restarts += 1;
      table = reload(table);
    }
    expect(restarts).toBe(64);
  });
});

describe("the table", () => {
  test("refuses one data key more than its limit, and takes another when one is removed", () => {
    const table = new DataKeyTable(2);
    const { row } = add(table, 0);
    add(table, 1);
    expect(() => add(table, 2)).toThrow(
      expect.objectContaining({
        code: "LIMIT_EXCEEDED",
        message: expect.stringMatching(/LIMITS\.dataKeys/u),
      }),
    );
    table.remove(row);
    expect(add(table, 2).row).toBe(row);
    expect(table.size).toBe(2);
  });

  test("keeps every row as it was through growth, removal and reload", () => {
    const table = new DataKeyTable();
    const rows = Array.from({ length: 300 }, (_, n) =>
      add(table, n, new Uint8Array(32).fill(n % 251)),
    );
    for (const { row } of rows.filter((_, n) => n % 3 === 0)) table.remove(row);
    expect(kept(reload(table))).toEqual(kept(table));
    expect(kept(table)).toHaveLength(200);
  });

  test("refuses records of another form", () => {
    const table = new DataKeyTable();
    const { row } = add(table);
    const { key, value = key } = table.change(row);
    const wrong: (readonly [Uint8Array, Uint8Array])[] = [
      [key.subarray(1), value],
      [key, value.subarray(1)],
      [key, Uint8Array.of(...value, 0)],
      [key, Uint8Array.of(2, ...value.subarray(1))],
    ];
    for (const [badKey, badValue] of wrong) {
      expect(() => new DataKeyTable().load(badKey, badValue)).toThrow(
        expect.objectContaining({ code: "STORE_CORRUPT" }),
      );
    }
  });
});
