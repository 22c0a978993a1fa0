// SPDX-License-Identifier: Apache-2.0
/** Slow ones at a hub's door. */
import { setTimeout as sleep } from "node:timers/promises";
import { tempDir } from "@ctxmesh/testing";
import { Door } from "../../test/hubs/slow-sockets.ts";
import { percentileMs, say } from "./trial.ts";
import type { Trial } from "./trial.ts";

/** All limits of the door are well within this, in milliseconds. */
const WAIT_MS = 45_000;
/** Between two honest ones, in milliseconds. */
const BETWEEN_MS = 20;

export const slow: Trial = {
  name: "slow",
  what: "slow ones of nine ways come to the door of one hub: each is cut, and honest ones are let in meanwhile",
  counts: "slow ones",
  count: 1_000,
  run: async (count) => {
    await using dir = await tempDir();
    await using door = await Door.start(dir.path);
    const alone: number[] = [];
    for (let i = 0; i < 100; i++) alone.push(await door.connect());
    const sinceMs = performance.now();
    const coming = door.crowd(count);
    const tookMs: number[] = [];
    while (!door.isClear && performance.now() - sinceMs < WAIT_MS) {
      tookMs.push(await door.connect());
      await sleep(BETWEEN_MS);
    }
    await coming;
    const counts = door.counts();
    for (const { way, opened, closed, slowestMs } of counts) {
      say(`${String(closed)} of ${String(opened)} cut within ${String(slowestMs)} ms: ${way}`);
    }
    return {
      isSound: door.isClear,
      figures: {
        slow: count,
        cut: counts.reduce((sum, { closed }) => sum + closed, 0),
        slowestCutMs: Math.max(...counts.map(({ slowestMs }) => slowestMs)),
        honest: tookMs.length,
        honestMs: { p50: percentileMs(tookMs, 0.5), p95: percentileMs(tookMs, 0.95) },
        honestAloneMs: { p50: percentileMs(alone, 0.5), p95: percentileMs(alone, 0.95) },
      },
    };
  },
};
