// SPDX-License-Identifier: Apache-2.0
/** Goal: what nobody may have is asked for less and less often, each header by itself, and never not at all. */
import { parseHeaderHash } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import { WANT_AT_LEAST_EVERY_MS, WANT_EVERY_MS, step } from "@ctxmesh/sync";
import type { SessionState, Step } from "@ctxmesh/sync";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { NOW_MS, hello, run, viewOf } from "./kit.ts";

const hashOf = (n: number): HeaderHash => parseHeaderHash(n.toString(16).padStart(64, "0"));

/** Says each second what is missing; returns when each header was asked for, in milliseconds from the start. */
function ask(
  missing: (atMs: number) => readonly number[],
  untilMs: number,
): { readonly asked: ReadonlyMap<number, readonly number[]>; readonly state: SessionState } {
  let { state } = run(viewOf(), hello());
  const asked = new Map<number, number[]>();
  for (let ms = 0; ms < untilMs; ms += 1_000) {
    const hashes = missing(ms).map(hashOf);
    const next = step(state, { type: "missing", hashes, nowMs: NOW_MS + ms }, viewOf());
    state = next.state;
    for (const effect of next.effects) {
      if (effect.type !== "send" || effect.message.type !== "want") continue;
      for (const hash of effect.message.hashes) {
        const n = Number.parseInt(hash, 16);
        asked.set(n, [...(asked.get(n) ?? []), ms]);
      }
    }
  }
  return { asked, state };
}

test("a header that nobody brings is asked for at once, then after twice as long each time, up to a bound", () => {
  const { asked } = ask(() => [1], 3_600_000);
  const times = asked.get(1) ?? [];
  const rests = times.slice(1).map((ms, i) => ms - (times[i] ?? 0));
  expect(times[0]).toBe(0);
  expect(rests.slice(0, 8)).toEqual([2, 4, 8, 16, 32, 64, 128, 256].map((s) => s * 1_000));
  expect(new Set(rests.slice(8))).toEqual(new Set([WANT_AT_LEAST_EVERY_MS]));
});

test("whatever else is missing: each rests by itself, none is asked for more often than every two seconds, and what came is forgotten", () => {
  const span = fc.record({
    n: fc.integer({ min: 1, max: 6 }),
    fromMs: fc.nat(120_000),
    forMs: fc.nat(120_000),
  });
  fc.assert(
    fc.property(fc.array(span, { maxLength: 6 }), (spans) => {
      const missing = (ms: number): number[] => [
        ...new Set(
          spans.flatMap(({ n, fromMs, forMs }) =>
            ms >= fromMs && ms <= fromMs + forMs ? [n] : [],
          ),
        ),
      ];
      const { asked, state } = ask(missing, 250_000);
      const all = [...new Set([...asked.values()].flat())].toSorted((a, b) => a - b);
      const pauses = all.slice(1).map((ms, i) => ms - (all[i] ?? 0));
      expect(Math.min(WANT_EVERY_MS, ...pauses)).toBe(WANT_EVERY_MS);
      for (const { n, fromMs, forMs } of spans) {
        // A message names all that are due, so that none waits for another by more than one of them.
        const first = Math.ceil(fromMs / 1_000) * 1_000;
        const within = (asked.get(n) ?? []).some((ms) => ms <= first + WANT_EVERY_MS);
        expect(within || first + WANT_EVERY_MS > fromMs + forMs).toBe(true);
      }
      expect(state.wanted.size).toBe(0);
    }),
  );
});

const asks = (state: SessionState, nowMs: number): Step =>
  step(state, { type: "missing", hashes: [hashOf(1)], nowMs }, viewOf());

test("a clock that was set back does not put it off by more than the longest rest", () => {
  const { state } = asks(run(viewOf(), hello()).state, NOW_MS + 86_400_000);
  expect(asks(state, NOW_MS).effects).toHaveLength(1);
});
