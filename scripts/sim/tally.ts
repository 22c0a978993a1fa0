// SPDX-License-Identifier: Apache-2.0
/** What came of all seeds so far, as progress and as the report at the end. */
import { INVARIANTS } from "@ctxmesh/simulator";
import type { Invariant, Minimised } from "@ctxmesh/simulator";
import type { Options } from "./command-line.ts";
import { plantOf } from "./plants.ts";
import type { SeedResult } from "./simulate.ts";

const HOUR_MS = 3_600_000;
const BAR = 24;

/** Adds results up. */
export class Tally {
  readonly #of: number;
  readonly #startedMs = performance.now();
  #endedMs: number | undefined;
  #seeds = 0;
  #simulatedMs = 0;
  #events = 0;
  readonly #counts = new Map<string, number>();
  readonly #hashes = new Map<number, string>();
  #failed: SeedResult | undefined;

  constructor(of: number) {
    this.#of = of;
  }

  add(result: SeedResult): void {
    this.#seeds += 1;
    this.#simulatedMs += result.simulatedMs;
    this.#events += result.events;
    this.#hashes.set(result.seed, result.traceHash);
    for (const [what, count] of Object.entries(result.counts)) {
      this.#counts.set(what, (this.#counts.get(what) ?? 0) + count);
    }
    if (result.violation !== undefined) this.#failed ??= result;
  }

  /** The clock stops. */
  stop(): void {
    this.#endedMs ??= performance.now();
  }

  get seeds(): number {
    return this.#seeds;
  }

  get hours(): number {
    return this.#simulatedMs / HOUR_MS;
  }

  get events(): number {
    return this.#events;
  }

  /** Wall time. */
  get seconds(): number {
    return ((this.#endedMs ?? performance.now()) - this.#startedMs) / 1_000;
  }

  /** How much faster than real time. */
  get speed(): number {
    return this.#simulatedMs / 1_000 / this.seconds;
  }

  /** The first seed with a violation. */
  get failed(): SeedResult | undefined {
    return this.#failed;
  }

  /** By name. */
  get counts(): readonly (readonly [string, number])[] {
    return [...this.#counts].toSorted(([a], [b]) => (a < b ? -1 : 1));
  }

  /** Trace hashes by seed. */
  get hashes(): ReadonlyMap<number, string> {
    return this.#hashes;
  }

  /** One line. */
  progress(): string {
    const done = Math.round((this.#seeds / this.#of) * BAR);
    const bar = "#".repeat(done).padEnd(BAR, ".");
    return (
      `[${bar}] ${String(this.#seeds)} of ${String(this.#of)} seeds, ` +
      `${this.hours.toFixed(1)} simulated hours, ${(this.hours / this.seconds).toFixed(2)} in a second`
    );
  }
}

/** The command that shows a seed again. */
export const replayOf = (seed: number, { rest }: Pick<Options, "rest">): string =>
  ["npm run sim --", "--seeds 1", `--seed ${String(seed)}`, ...rest].join(" ");

function describeFailure(options: Options, failed: SeedResult, minimised?: Minimised): string {
  const { seed, violation } = failed;
  if (violation === undefined) return "";
  const { checker, atMs, message } = violation;
  const says = checker in INVARIANTS ? `: ${INVARIANTS[checker as Invariant]}` : "";
  const plant = options.seeds[0]?.plant;
  const bug = plant === undefined ? "" : `planted: ${plantOf(plant)?.bug ?? ""}\n`;
  const head = `\nseed ${String(seed)} violates ${checker}${says}\n${bug}at ${(atMs / 1_000).toFixed(3)} s: ${message}\n`;
  const again = `again with: ${replayOf(seed, options)}\n`;
  if (minimised === undefined) return head + again;
  const { plan, runs, isMinimal } = minimised;
  const steps = plan.steps.map((step) => `  ${JSON.stringify(step)}\n`).join("");
  const bound = isMinimal ? "none of them can be left out" : "more could be tried";
  return (
    `${head}${String(plan.steps.length)} steps are left after ${String(runs)} runs, ${bound}:\n${steps}` +
    `they end with, at ${(minimised.violation.atMs / 1_000).toFixed(3)} s: ${minimised.violation.message}\n${again}`
  );
}

/** The report at the end, for people or as JSON. */
export function describe(
  tally: Tally,
  options: Options,
  minimised: Minimised | undefined,
  json: boolean,
): string {
  const { seeds, hours, events, seconds, speed, failed, counts, hashes } = tally;
  if (json) {
    const report = {
      seeds,
      hours,
      events,
      seconds,
      speed,
      counts: Object.fromEntries(counts),
      traceHashes: Object.fromEntries(hashes),
      ...(failed === undefined
        ? {}
        : {
            failed: {
              seed: failed.seed,
              violation: failed.violation,
              replay: replayOf(failed.seed, options),
              ...(minimised === undefined ? {} : { minimised }),
            },
          }),
    };
    return `${JSON.stringify(report)}\n`;
  }
  const table = counts
    .filter(([what]) => !what.startsWith("log "))
    .map(([what, count]) => `  ${String(count).padStart(9)}  ${what}\n`)
    .join("");
  const [only] = hashes;
  const trace = hashes.size === 1 && only !== undefined ? `trace ${only[1]}\n` : "";
  const measured =
    `${String(seeds)} seeds, ${hours.toFixed(1)} simulated hours, ${String(events)} events in ${seconds.toFixed(1)} s: ` +
    `${(hours / seconds).toFixed(2)} simulated hours in a second, ${speed.toFixed(0)} times real time\n`;
  const missed = options.seeds.length - seeds;
  const sound =
    missed === 0
      ? "No violation.\n"
      : `No violation; ${String(missed)} seeds did not come to their end.\n`;
  const verdict = failed === undefined ? sound : describeFailure(options, failed, minimised);
  return table + measured + trace + verdict;
}
