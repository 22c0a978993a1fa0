// SPDX-License-Identifier: Apache-2.0
/** When lines are down. */
import type { Dice } from "../dice.ts";
import type { OutageRule } from "./scenario.ts";

/** From one moment up to, but not, another; milliseconds since the beginning. */
export interface TimeWindow {
  readonly fromMs: number;
  readonly toMs: number;
}

/** The windows of one rule for one line. */
function windowsOfRule(rule: OutageRule, dice: Dice): readonly TimeWindow[] {
  const { fromMs, forMs, again } = rule;
  if (again === undefined) return [{ fromMs, toMs: fromMs + forMs }];
  const windows: TimeWindow[] = [];
  const lag = again.staggered ? dice.float() * again.everyMs : 0;
  for (let i = 0; ; i++) {
    const start = fromMs + lag + i * again.everyMs;
    if (start >= again.untilMs) return windows;
    windows.push({ fromMs: start, toMs: start + forMs });
  }
}

/** Windows in order, those that touch made one, and nothing after `endMs`. */
export function mergeWindows(windows: readonly TimeWindow[], endMs: number): readonly TimeWindow[] {
  const merged: TimeWindow[] = [];
  for (const window of windows.toSorted((a, b) => a.fromMs - b.fromMs)) {
    const toMs = Math.min(window.toMs, endMs);
    if (window.fromMs >= toMs) continue;
    const last = merged.at(-1);
    if (last === undefined || window.fromMs > last.toMs) {
      merged.push({ fromMs: window.fromMs, toMs });
    } else {
      merged[merged.length - 1] = { fromMs: last.fromMs, toMs: Math.max(last.toMs, toMs) };
    }
  }
  return merged;
}

/** When a line with these outages is down. */
export const windowsOf = (
  rules: readonly OutageRule[],
  dice: Dice,
  endMs: number,
): readonly TimeWindow[] =>
  mergeWindows(
    rules.flatMap((rule, i) => windowsOfRule(rule, dice.fork(`outage/${String(i)}`))),
    endMs,
  );

/** How much of each of `count` equal parts of the time up to `endMs` lies in windows, 0 to 1. */
export function shareDown(
  windows: readonly TimeWindow[],
  endMs: number,
  count: number,
): readonly number[] {
  const width = endMs / count;
  const down = Array.from({ length: count }, () => 0);
  for (const { fromMs, toMs } of windows) {
    for (let i = Math.floor(fromMs / width); i < count && i * width < toMs; i++) {
      const from = Math.max(fromMs, i * width);
      const to = Math.min(toMs, (i + 1) * width);
      down[i] = (down[i] ?? 0) + Math.max(0, to - from) / width;
    }
  }
  return down;
}
