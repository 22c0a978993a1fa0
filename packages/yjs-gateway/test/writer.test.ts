// SPDX-License-Identifier: Apache-2.0
/** Goal: what a connection writes is written in its order, one write at a time, whole, and within bounds. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { mergeRichUpdates } from "@ctxmesh/rich";
import fc from "fast-check";
import { expect, test } from "vitest";
import * as Y from "yjs";
import { Writer } from "../src/writer.ts";

/** The updates of somebody who types so many characters. */
function typing(count: number): Uint8Array[] {
  const doc = new Y.Doc();
  const updates: Uint8Array[] = [];
  doc.on("update", (update: Uint8Array) => updates.push(update));
  for (let i = 0; i < count; i++)
    doc.getText("note").insert(i, String.fromCodePoint(97 + (i % 26)));
  return updates;
}

test("whatever the pace of the store, it has all in the end, and never two writes at a time", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 60 }),
      async (pace) => {
        const updates = typing(pace.length);
        const doc = new Y.Doc();
        let [running, most, turn] = [0, 0, 0];
        const failures: unknown[] = [];
        const writer = new Writer(
          async (update) => {
            running += 1;
            most = Math.max(most, running);
            turn += 1;
            for (let wait = pace[turn % pace.length] ?? 0; wait > 0; wait--)
              await Promise.resolve();
            Y.applyUpdate(doc, update);
            running -= 1;
          },
          mergeRichUpdates,
          (failure) => failures.push(failure),
        );
        for (const [index, update] of updates.entries()) {
          await writer.add(update);
          for (let wait = pace[index] ?? 0; wait > 0; wait--) await Promise.resolve();
        }
        await writer.settle();
        expect(doc.getText("note").length).toBe(pace.length);
        expect([most, failures]).toEqual([1, []]);
      },
    ),
    { numRuns: 50 },
  );
});

test("who writes faster than the store has to wait", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const writer = new Writer(
    async () => promise,
    mergeRichUpdates,
    () => undefined,
  );
  const part = new Uint8Array(LIMITS.editorQueueBytes / 4);
  let taken = 0;
  const adding = (async () => {
    for (; taken < 8; taken++) await writer.add(part);
  })();
  await new Promise((done) => {
    setImmediate(done);
  });
  expect(taken).toBeLessThan(8);
  writer.discard();
  resolve();
  await adding;
  await writer.settle();
});

test("what can't be written as one is written one by one, up to what can't be at all", async () => {
  const updates = typing(5);
  const written: number[] = [];
  const failures: unknown[] = [];
  const writer = new Writer(
    async (update) => {
      // Let the others gather.
      await new Promise((done) => {
        setImmediate(done);
      });
      const index = updates.indexOf(update);
      if (index < 0 || index === 3) throw new MeshError("FORMAT_INVALID", "no");
      written.push(index);
    },
    mergeRichUpdates,
    (failure) => failures.push(failure),
  );
  for (const update of updates) await writer.add(update);
  await writer.settle();
  expect(written).toEqual([0, 1, 2]);
  expect(failures).toHaveLength(1);
});

test("after a write that failed nothing is written, and it is said once", async () => {
  const failures: unknown[] = [];
  let writes = 0;
  const writer = new Writer(
    () => {
      writes += 1;
      return Promise.reject(new Error("full"));
    },
    mergeRichUpdates,
    (failure) => failures.push(failure),
  );
  for (const update of typing(5)) await writer.add(update);
  await writer.settle();
  for (const update of typing(5)) await writer.add(update);
  await writer.settle();
  expect([writes, failures.length]).toEqual([1, 1]);
});
