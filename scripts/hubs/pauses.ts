// SPDX-License-Identifier: Apache-2.0
/** The hub that seals is suspended past the term of its lease, and now and then killed. */
import { SealerTrial } from "../../test/hubs/sealer-trial.ts";
import type { Takeover } from "../../test/hubs/sealer-trial.ts";
import { percentileMs, say, withMesh } from "./trial.ts";
import type { Trial } from "./trial.ts";

/** One death for so many pauses. */
const PAUSES_PER_KILL = 10;
/** Bundles for `ctxmesh verify`. */
const SAMPLES = 20;

const times = (takeovers: readonly Takeover[]): Readonly<Record<string, unknown>> => {
  const all = takeovers.map(({ tookMs }) => tookMs);
  return { p50: percentileMs(all, 0.5), p99: percentileMs(all, 0.99), max: percentileMs(all, 1) };
};

/** Outcomes by how often they came; numbers are seals. */
function tally(takeovers: readonly Takeover[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const outcome of takeovers.flatMap(({ outcomes }) => outcomes)) {
    const name = typeof outcome === "number" ? "sealed" : outcome;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

export const pauses: Trial = {
  name: "pauses",
  what: "the hub that seals is suspended past its lease, every tenth time killed: no seal is made twice, and the log has no fork",
  counts: "pauses",
  count: 200,
  run: async (count) =>
    withMesh(async (mesh, server) => {
      const trial = new SealerTrial(mesh, server);
      const paused: Takeover[] = [];
      const killed: Takeover[] = [];
      for (let pause = 1; pause <= count; pause++) {
        paused.push(await trial.pause());
        if (pause % PAUSES_PER_KILL === 0) killed.push(await trial.kill());
        say(`pause ${String(pause)}: ${JSON.stringify(paused.at(-1))}`);
      }
      const { faults, ...audit } = await trial.audit(SAMPLES);
      const { lost, gaps, digests } = await mesh.check();
      for (const fault of faults) say(fault);
      return {
        isSound: audit.doubled + faults.length + lost + gaps === 0 && digests === 1,
        figures: {
          pauses: paused.length,
          deaths: killed.length,
          ...audit,
          faults: faults.length,
          outcomes: tally([...paused, ...killed]),
          takeoverMs: { paused: times(paused), dead: times(killed) },
        },
      };
    }),
};
