// SPDX-License-Identifier: Apache-2.0
/** Goal: a session that waits for a part of a base waits long enough, not for ever, and by no clock that jumps. */
import { LIMITS } from "@ctxmesh/model";
import { step } from "@ctxmesh/sync";
import type { SessionState } from "@ctxmesh/sync";
import { expect, test } from "vitest";
import { digestOf, head, heads, hello, names, run, tick, viewOf } from "./kit.ts";

const NOW_MS = Date.UTC(2026, 0, 1);
const far = head(1, LIMITS.baseFromBatches + 1);

/** A session that has asked for a base, before any time has passed. */
function asked(): SessionState {
  const { state, effects } = run(viewOf(), hello(digestOf({ 1: 9 })), heads(far));
  expect(names(effects)).toContain("send base-pull");
  expect(names(effects)).not.toContain("send pull");
  return state;
}

/** The phase after ticks so far apart. */
function after(ticks: number, stepMs: number): string {
  let state = asked();
  for (let i = 0; i < ticks; i++) state = step(state, tick(NOW_MS + i * stepMs), viewOf()).state;
  return state.phase;
}

test("a part may come late, and not never", () => {
  expect(after(1, 0)).toBe("open");
  expect(after(170, 1_000)).toBe("open");
  expect(after(200, 1_000)).toBe("closed");
});

test("a clock that jumps, either way, ends nothing", () => {
  expect(after(20, 86_400_000)).toBe("open");
  expect(after(20, -86_400_000)).toBe("open");
});
