// SPDX-License-Identifier: Apache-2.0
/** Local writes while links are busy: what is not urgent waits for others to share a batch with, and nobody waits for ever. */
import { LIMITS } from "@ctxmesh/model";
import type { Priority, WriteReceipt } from "@ctxmesh/model";
import type { GatherWindows, Replica } from "@ctxmesh/replica";
import { createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { DOC, START_MS, open } from "./mesh.ts";

const BUSY: GatherWindows = { normalMs: 1_000, lowMs: 5_000, briefMs: 0 };
const IDLE: GatherWindows = { normalMs: 0, lowMs: 0, briefMs: 0 };

/** A write, and whether it is settled. */
function put(
  replica: Replica,
  key: string,
  priority: Priority,
  value = "x",
): { readonly done: Promise<WriteReceipt>; readonly isDone: () => boolean } {
  let settled = false;
  const done = replica.put(DOC, [{ key, value }], { priority }).finally(() => {
    settled = true;
  });
  return { done, isDone: () => settled };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function pass(
  replica: Replica,
  clock: VirtualClock,
  ms: number,
  windows: GatherWindows,
): Promise<void> {
  clock.advance(ms);
  replica.gather(windows);
  await turn();
}

async function busy(): Promise<{ readonly replica: Replica; readonly clock: VirtualClock }> {
  const clock = createVirtualClock(START_MS);
  const replica = await open({ clock });
  replica.gather(BUSY);
  return { replica, clock };
}

test("while links are busy, usual writes wait for the shorter window, those that can wait for the longer one, urgent ones not at all", async () => {
  const { replica, clock } = await busy();
  const [low, normal, high] = (["low", "normal", "high"] as const).map((priority) =>
    put(replica, priority, priority),
  );
  const more = put(replica, "normal-2", "normal");
  await turn();
  expect([low, normal, high].map((one) => one?.isDone())).toEqual([false, false, true]);
  await pass(replica, clock, 999, BUSY);
  expect(normal?.isDone()).toBe(false);
  await pass(replica, clock, 1, BUSY);
  expect([low?.isDone(), normal?.isDone(), more.isDone()]).toEqual([false, true, true]);
  expect((await normal?.done)?.seq).toBe((await more.done).seq);
  await pass(replica, clock, 4_000, BUSY);
  expect(low?.isDone()).toBe(true);
});

test("what waits goes on at once when links have time again, and what comes then does not wait", async () => {
  const { replica, clock } = await busy();
  const first = put(replica, "k", "low", "first");
  await turn();
  expect(first.isDone()).toBe(false);
  await pass(replica, clock, 50, IDLE);
  expect(first.isDone()).toBe(true);
  const second = put(replica, "k", "low", "second");
  await turn();
  expect(second.isDone()).toBe(true);
  expect(replica.get(DOC, "k")?.value).toBe("second");
});

test("a batch's worth of writes does not wait, and writes of a lane keep their order", async () => {
  const { replica } = await busy();
  const text = "x".repeat(LIMITS.writeBytes / 8);
  const writes = [1, 2, 3, 4, 5].map((n) => put(replica, "k", "low", `${text}${String(n)}`));
  await turn();
  expect(writes.slice(0, 4).every(({ isDone }) => isDone())).toBe(true);
  expect(replica.get(DOC, "k")?.value).toBe(`${text}4`);
  await replica.close();
  expect(replica.get(DOC, "k")?.value).toBe(`${text}5`);
});

test("closing writes what waits, and a clock that was set back lets it go on", async () => {
  const { replica, clock } = await busy();
  const first = put(replica, "k", "low");
  await pass(replica, clock, -3_600_000, BUSY);
  expect(first.isDone()).toBe(true);
  const second = put(replica, "l", "low");
  await replica.close();
  expect((await second.done).facts).toBe(1);
});
