// SPDX-License-Identifier: Apache-2.0
import { createProjections } from "@ctxmesh/replica";
import { createSeededRandom, createVirtualClock, silentLogger } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import * as Y from "yjs";
import { DOC, START_MS, open, us } from "./mesh.ts";

const TTL_MS = 5_000;

test("a projection shows a fact until it expires, and says nothing while nothing does", async () => {
  const clock = createVirtualClock(START_MS);
  const replica = await open({ device: us, clock });
  const deps = { clock, random: createSeededRandom(5), logger: silentLogger };
  const projections = createProjections(replica, deps);
  await replica.put(DOC, [
    { key: "stays", value: 1 },
    { key: "goes", value: 2, ttlMs: TTL_MS },
  ]);
  const projection = await projections.open(DOC);
  let updates = 0;
  projection.onUpdate(() => {
    updates++;
  });
  const shown = (): unknown => {
    const doc = new Y.Doc();
    Y.applyUpdate(doc, projection.diff());
    return doc.getMap("facts").toJSON();
  };
  const passed = (ms: number): unknown => {
    clock.advance(ms);
    projections.refresh();
    return shown();
  };
  expect(shown()).toEqual({ stays: 1, goes: 2 });
  expect(passed(TTL_MS / 2)).toEqual({ stays: 1, goes: 2 });
  expect(updates).toBe(0);
  expect(passed(TTL_MS)).toEqual({ stays: 1 });
  expect(updates).toBe(1);
  expect(passed(TTL_MS)).toEqual({ stays: 1 });
  expect(updates).toBe(1);
});
