// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";

/** Nodes answer these questions while they work: asked more often, they would do nothing else. */
const POLL_MS = 50;

/** Asks until a condition holds, at most for a time; whether it held. */
export async function holds(condition: () => Promise<boolean>, boundMs: number): Promise<boolean> {
  const deadline = performance.now() + boundMs;
  while (!(await condition())) {
    if (performance.now() >= deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/** The same; throws when it does not hold in time, and says what for. */
export async function until(
  what: string,
  boundMs: number,
  condition: () => Promise<boolean>,
): Promise<void> {
  if (!(await holds(condition, boundMs))) {
    throw new Error(`${what}: not within ${String(boundMs)} ms`);
  }
}
