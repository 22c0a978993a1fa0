// SPDX-License-Identifier: Apache-2.0
/** Leaves out of a plan what is not needed for it to fail (delta debugging: Zeller and Hildebrandt, 2002). */
import type { Plan, PlannedEvent } from "./plan.ts";
import type { Violation } from "./run.ts";

/** What came of minimising. */
export interface Minimised {
  /** Fails as the plan did that was given. */
  readonly plan: Plan;
  readonly violation: Violation;
  /** How often a plan was carried out. */
  readonly runs: number;
  /** Nothing more can be left out, one step at a time. */
  readonly isMinimal: boolean;
}

/** What to minimise. */
export interface MinimiseOptions {
  readonly plan: Plan;
  /** How it fails; a plan that fails for another checker is another matter. */
  readonly violation: Violation;
  /** Carries a plan out; resolves with its first violation. */
  readonly run: (plan: Plan) => Promise<Violation | undefined>;
  /** Bound on the runs. */
  readonly mostRuns: number;
}

/** The smallest plan found that still fails for the same checker. */
export async function minimise(options: MinimiseOptions): Promise<Minimised> {
  const { run, mostRuns } = options;
  const { checker, atMs } = options.violation;
  let best = { plan: options.plan, violation: options.violation };
  let runs = 0;
  const fails = async (plan: Plan): Promise<boolean> => {
    if (runs >= mostRuns) return false;
    runs += 1;
    const violation = await run(plan);
    if (violation?.checker !== checker) return false;
    best = { plan, violation };
    return true;
  };
  const { plan } = options;
  // What was to come after it can't have been the reason.
  if (atMs < plan.safetyMs) {
    const before = plan.steps.filter((step) => step.atMs <= atMs);
    await fails({ ...plan, steps: before });
  }
  let parts = 2;
  for (;;) {
    const { steps } = best.plan;
    if (runs >= mostRuns || steps.length === 0) break;
    parts = Math.min(parts, steps.length);
    if (await leaveOutOne(best.plan, parts, fails)) parts = Math.max(2, parts - 1);
    else if (parts === steps.length) break;
    else parts = Math.min(steps.length, parts * 2);
  }
  return { ...best, runs, isMinimal: runs < mostRuns };
}

/** Tries the plan without each of so many parts of its steps, later ones first: what is early others build on. */
async function leaveOutOne(
  plan: Plan,
  parts: number,
  fails: (plan: Plan) => Promise<boolean>,
): Promise<boolean> {
  const size = Math.ceil(plan.steps.length / parts);
  for (let part = parts - 1; part >= 0; part--) {
    const steps: readonly PlannedEvent[] = plan.steps.toSpliced(part * size, size);
    if (steps.length < plan.steps.length && (await fails({ ...plan, steps }))) return true;
  }
  return false;
}
