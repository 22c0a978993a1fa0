// SPDX-License-Identifier: Apache-2.0
/** One seed: its plan, its run with all checkers, and what is left of the plan when it fails. */
import { createCheckers, minimise, randomPlan, runPlan } from "@ctxmesh/simulator";
import type {
  FaultKind,
  Invariant,
  Minimised,
  Plan,
  RunResult,
  Violation,
} from "@ctxmesh/simulator";
import { plantOf } from "./plants.ts";

/** What a seed is run with; plain data, since threads are given it. */
export interface SeedOptions {
  readonly seed: number;
  readonly hours: number;
  readonly agents: number;
  readonly hubs: number;
  /** Default: all kinds. */
  readonly faults?: readonly FaultKind[];
  readonly signatures: "stub" | "real";
  /** How much more rarely than usual anything is done and goes wrong. */
  readonly calm: number;
  /** Carries the plan out twice, and compares the traces. */
  readonly twice: boolean;
  /** The invariant whose bug is planted. */
  readonly plant?: string;
  /** Default: all. */
  readonly only?: readonly Invariant[];
}

/** What came of a seed. */
export interface SeedResult {
  readonly seed: number;
  readonly simulatedMs: number;
  readonly events: number;
  readonly traceHash: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly violation?: Violation;
}

/** The plan of a seed, with what a planted bug needs to show. */
export function planOf(options: SeedOptions): Plan {
  const { seed, hours, agents, hubs, faults, signatures, calm, plant } = options;
  const plan = randomPlan({
    seed,
    hours,
    agents,
    hubs,
    signatures,
    calm,
    ...(faults === undefined ? {} : { faults }),
  });
  const more = plant === undefined ? undefined : plantOf(plant)?.steps?.(plan);
  if (more === undefined) return plan;
  return { ...plan, steps: [...plan.steps, ...more].toSorted((a, b) => a.atMs - b.atMs) };
}

/** Carries a plan out with checkers; with `twice`, a second time for the trace. */
export async function runChecked(
  plan: Plan,
  options: Pick<SeedOptions, "twice" | "plant" | "only">,
  onTrace?: (lines: string) => void,
): Promise<RunResult> {
  const { twice, plant, only } = options;
  const bug = plant === undefined ? undefined : plantOf(plant);
  const run = async (sink?: (lines: string) => void): Promise<RunResult> =>
    runPlan(plan, {
      // Others may see what a planted bug does, too; its own has to find it.
      checkers: createCheckers(bug === undefined ? only : [bug.invariant]),
      probe: true,
      ...(bug === undefined ? {} : { wrap: bug.wrap() }),
      ...(sink === undefined ? {} : { onTrace: sink }),
    });
  const first = await run(onTrace);
  if (!twice || first.violations.length > 0) return first;
  const again = await run();
  if (again.traceHash === first.traceHash) return first;
  const message = `the second run has the trace ${again.traceHash}, the first one ${first.traceHash}`;
  return { ...first, violations: [{ checker: "I14", atMs: 0, message }] };
}

/** Runs a seed. */
export async function runSeed(
  options: SeedOptions,
  onTrace?: (lines: string) => void,
): Promise<SeedResult> {
  const result = await runChecked(planOf(options), options, onTrace);
  const { simulatedMs, events, traceHash, counts, violations } = result;
  const [violation] = violations;
  return {
    seed: options.seed,
    simulatedMs,
    events,
    traceHash,
    counts: Object.fromEntries(counts),
    ...(violation === undefined ? {} : { violation }),
  };
}

/** What is left of the plan of a seed that fails so. */
export async function minimiseSeed(
  options: SeedOptions,
  violation: Violation,
  mostRuns: number,
): Promise<Minimised> {
  return minimise({
    plan: planOf(options),
    violation,
    run: async (plan) => (await runChecked(plan, options)).violations[0],
    mostRuns,
  });
}
