// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a section that says until when it is of use can be left out after that, and nobody sees anything else than with it: not even
 * while batches of other lanes or lives are missing.
 * Method: random writes over lanes and restarts; one replica gets every batch whole, another one without what has expired, in the same
 * random order, and both must agree at every step.
 */
import { decodeBatch, encodeBatch } from "@ctxmesh/codec";
import { LIMITS, hlcToMs, toHex } from "@ctxmesh/model";
import type { Priority } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  DOC,
  START_MS,
  applied,
  forge,
  hlcAt,
  open,
  reader,
  spaceWith,
  us,
  writer,
} from "./mesh.ts";

const PRIORITIES: readonly Priority[] = ["high", "normal", "low"];
const mesh = spaceWith([
  [us, "write"],
  [writer, "append"],
  [reader, "read"],
]);

const step = fc.record({
  key: fc.nat({ max: 1 }),
  priority: fc.nat({ max: 2 }),
  ttlMs: fc.option(fc.constantFrom(5_000, 5_000, 5_000, 1_000, 60_000), {
    nil: undefined,
    freq: 8,
  }),
  waits: fc.boolean(),
  restarts: fc.nat({ max: 25 }).map((n) => n === 13),
});

const frontierOf = (replica: Replica): string => toHex(replica.frontierDigest());

/** The batch without the bodies that are of no use any more. */
function withoutExpired(bytes: Uint8Array, nowMs: number): { bytes: Uint8Array; left: number } {
  const batch = decodeBatch(bytes);
  const bodies = batch.bodies.map((body, i) =>
    (batch.header.sections[i]?.until ?? Infinity) < nowMs ? null : body,
  );
  return {
    bytes: encodeBatch({ ...batch, bodies }),
    left: bodies.filter((b) => b === null).length,
  };
}

test("with or without what has expired, replicas that have the same batches say the same", async () => {
  let left = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.infiniteStream(fc.nat()),
      async (steps, order) => {
        const clock = createVirtualClock(START_MS);
        let store = createMemoryStore();
        let replica = await open({ clock, store, space: mesh });
        const batches: Uint8Array[] = [];
        replica.onApplied(({ bytes }) => batches.push(bytes));
        let made: Promise<unknown>[] = [];
        for (const [i, { key, priority, ttlMs, waits, restarts }] of steps.entries()) {
          const fact = {
            key: `k${String(key)}`,
            value: i,
            ...(ttlMs === undefined ? {} : { ttlMs }),
          };
          made.push(replica.put(DOC, [fact], { priority: PRIORITIES[priority] ?? "normal" }));
          if (!waits && !restarts) continue;
          await Promise.all(made);
          made = [];
          clock.advance(400);
          if (!restarts) continue;
          await replica.close();
          store = await store.reopen();
          replica = await open({ clock, store, space: mesh });
          replica.onApplied(({ bytes }) => batches.push(bytes));
        }
        await Promise.all(made);
        clock.advance(LIMITS.clockAheadMs + 60_000);
        // Somebody writes later, so that everybody's frontier is past all that has expired.
        const later = forge({ space: mesh, hlc: hlcAt(clock.now() - START_MS), device: writer });
        const [whole, lean] = [
          await open({ clock, space: mesh, device: reader }),
          // It wants everything, and what has expired may be left out all the same.
          await open({ clock, space: mesh, device: reader, subscription: { docs: [DOC] } }),
        ];
        await whole.receive(later.bytes);
        await lean.receive(later.bytes);
        const chains = Map.groupBy(batches, (bytes) => decodeBatch(bytes).header.incarnation);
        while (chains.size > 0) {
          const names = [...chains.keys()];
          const name = names[(order.next().value ?? 0) % names.length];
          const next = name === undefined ? undefined : chains.get(name)?.shift();
          if (name !== undefined && next === undefined) chains.delete(name);
          if (next === undefined) continue;
          const less = withoutExpired(next, clock.now());
          left += less.left;
          // One that names what is not here yet is held.
          const { kind } = await whole.receive(next);
          expect(await lean.receive(less.bytes)).toMatchObject({ kind });
          // What was let out of the hold comes in one after the other.
          for (let rounds = 0; rounds < 50 && frontierOf(whole) !== frontierOf(lean); rounds++) {
            for (const one of [whole, lean]) await one.addRecords({});
          }
          expect(lean.snapshot().leaves).toEqual(whole.snapshot().leaves);
        }
        for (const one of [whole, lean]) await one.close();
        expect([whole.counters().held, lean.counters().held]).toEqual([0, 0]);
      },
    ),
    { numRuns: 60 },
  );
  expect(left).toBeGreaterThan(10);
});

const untilOf = (bytes: Uint8Array | undefined): number | undefined =>
  decodeBatch(bytes ?? new Uint8Array()).header.sections[0]?.until;
const fact = (ttlMs?: number): { key: string; value: number; ttlMs?: number } => ({
  key: "k",
  value: 1,
  ...(ttlMs === undefined ? {} : { ttlMs }),
});

describe("a section", () => {
  test("says until when it is of use, once a statement of the same chain stands behind each of its facts", async () => {
    const replica = await open();
    const batches = applied(replica);
    const receipts = [];
    for (const ttlMs of [1_000, 1_000, 500, undefined, 1_000, 1_000]) {
      receipts.push(await replica.put(DOC, [fact(ttlMs)]));
    }
    const second = hlcToMs(receipts[1]?.hlc ?? hlcAt(0)) + 1_000;
    const last = hlcToMs(receipts[5]?.hlc ?? hlcAt(0)) + 1_000;
    // The third would end before what it replaces; the fourth never ends, so it must not come to light again behind the fifth.
    expect(batches.map(untilOf)).toEqual([
      undefined,
      second,
      undefined,
      undefined,
      undefined,
      last,
    ]);
  });

  test("says nothing where a statement of another lane stands between", async () => {
    const replica = await open();
    const batches = applied(replica);
    await replica.put(DOC, [fact(1_000)]);
    await Promise.all([
      replica.put(DOC, [fact()], { priority: "low" }),
      replica.put(DOC, [fact(1_000)]),
    ]);
    expect(batches.map(untilOf)).toEqual([undefined, undefined, undefined]);
  });

  test("is refused when one of its facts outlasts what it says, or never ends", async () => {
    const replica = await open();
    const atMs = hlcToMs(hlcAt(1));
    const record = { key: "k", seq: 1, hlc: hlcAt(1), valueJson: "1" };
    for (const [ttlMs, until, kind] of [
      [1_000, atMs + 1_000, "accepted"],
      [1_001, atMs + 1_000, "refused"],
      [undefined, atMs + 1_000, "refused"],
    ] as const) {
      const records = [{ ...record, ...(ttlMs === undefined ? {} : { ttlMs }) }];
      const { bytes } = forge({ records, section: { until }, seq: 1 });
      const outcome = await (kind === "accepted" ? await open() : replica).receive(bytes);
      expect(outcome).toMatchObject(kind === "accepted" ? { kind } : { kind, reason: "facts" });
    }
  });
});
