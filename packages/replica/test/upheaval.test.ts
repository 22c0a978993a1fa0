// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: after any history of writes, forks, clones, revocations by managers who may be removed themselves,
 * renewed grants and restarts, replicas that have seen the same batches and records agree on everything.
 * Method: random histories over a few replicas that hear of only some of each other's batches; then all that
 * was ever written goes to all, in an order of their own, until nothing moves; all digests must be equal.
 */
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { incarnationOf, unaccounted } from "./mesh.ts";
import { DEVICES, Upheaval, action, firstRandom, stateOf } from "./upheaval.ts";
import type { AcknowledgedPut, Action } from "./upheaval.ts";

/** What a device that may still write was told is written, and is not there. */
const lost = (replica: Replica, puts: Iterable<AcknowledgedPut>): readonly AcknowledgedPut[] =>
  [...puts].filter(
    ({ device, doc, key, value }) =>
      // Neither revoked nor forked out: what it writes next counts.
      replica.limitOf(device.key, incarnationOf(0)) === Number.POSITIVE_INFINITY &&
      !replica
        .candidates(doc, key)
        .some((candidate) => candidate.writer === device.key && candidate.value === value),
  );

async function happen(steps: readonly Action[], seed: number): Promise<void> {
  const history = new Upheaval<MemoryStore>(seed * 100_000 + 100);
  for (const [i, device] of DEVICES.entries()) {
    history.nodes.push(await history.open(device, createMemoryStore(), firstRandom(i)));
  }
  for (const step of steps) await history.run(step);
  await history.heal();
  const replicas = history.nodes.map(({ replica }) => replica);
  for (const replica of replicas) {
    expect(stateOf(replica)).toEqual(stateOf(replicas[0] ?? replica));
    expect(lost(replica, history.acknowledged.values())).toEqual([]);
    expect(unaccounted(replica.counters())).toBe(0);
  }
  for (const { replica, store, device } of history.nodes) {
    const before = stateOf(replica);
    await replica.close();
    const again = await history.open(device, await store.reopen());
    expect(stateOf(again.replica)).toEqual(before);
  }
}

test("replicas with the same batches and records agree, and no acknowledged fact is lost, whatever happened", async () => {
  const steps = fc.array(action, { minLength: 20, maxLength: 80, size: "max" });
  await fc.assert(fc.asyncProperty(steps, fc.nat(1000), happen), {
    numRuns: 20,
    interruptAfterTimeLimit: 30_000,
  });
}, 90_000);
