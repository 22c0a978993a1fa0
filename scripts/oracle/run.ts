// SPDX-License-Identifier: Apache-2.0
/** Many histories, and the smallest one that still fails where one does. */
import { makeHistory } from "./history.ts";
import type { History, Step } from "./history.ts";
import { Mesh } from "./mesh.ts";
import type { Work } from "./mesh.ts";

/** A history that failed. */
export interface Failure {
  /** Number of the history, from 0. */
  readonly index: number;
  /** `npm run oracle -- --histories 1 --seed <this>` runs it again. */
  readonly seed: number;
  readonly problem: string;
  /** What still fails when no more can be left out of it, and how. */
  readonly minimal: { readonly history: History; readonly problem: string };
}

/** What came of a number of histories. */
export interface Report extends Work {
  readonly histories: number;
  readonly failure: Failure | undefined;
}

const MOST_TRIES = 2_000;

const noWork = (): Work => ({ writes: 0, deliveries: 0, restarts: 0, comparisons: 0 });

/** How a history fails; undefined when it does not. */
export async function problemOf(
  history: History,
  work: Work = noWork(),
): Promise<string | undefined> {
  try {
    await Mesh.run(history, work);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Histories that leave out a part of the steps: halves first, then ever less, then single writes and facts. */
function* smaller(history: History): Generator<History> {
  const { steps, rules } = history;
  for (let size = steps.length; size >= 1; size = Math.floor(size / 2)) {
    for (let from = 0; from < steps.length; from += size) {
      yield { ...history, steps: steps.toSpliced(from, size) };
    }
  }
  for (const i of rules.keys()) yield { ...history, rules: rules.toSpliced(i, 1) };
  for (const [i, step] of steps.entries()) {
    for (const less of lesser(step)) yield { ...history, steps: steps.with(i, less) };
  }
  if (history.devices > 2) yield { ...history, devices: history.devices - 1 };
}

function* lesser(step: Step): Generator<Step> {
  if (step.kind === "deliver" && step.batches.length > 1) {
    for (const i of step.batches.keys()) yield { ...step, batches: step.batches.toSpliced(i, 1) };
  }
  if (step.kind !== "write") return;
  const { writes } = step;
  for (const [i, write] of writes.entries()) {
    if (writes.length > 1) yield { ...step, writes: writes.toSpliced(i, 1) };
    if (write.kind !== "put" || write.facts.length === 1) continue;
    for (const j of write.facts.keys()) {
      yield { ...step, writes: writes.with(i, { ...write, facts: write.facts.toSpliced(j, 1) }) };
    }
  }
}

/** Leaves out of a failing history what it does not need to fail. */
export async function minimize(history: History, problem: string): Promise<Failure["minimal"]> {
  let minimal = { history, problem };
  let tries = 0;
  for (let found = true; found;) {
    found = false;
    for (const candidate of smaller(minimal.history)) {
      if (++tries > MOST_TRIES) return minimal;
      const still = await problemOf(candidate);
      if (still === undefined) continue;
      minimal = { history: candidate, problem: still };
      found = true;
      break;
    }
  }
  return minimal;
}

/**
 * Runs the histories of the seeds from `seed` on, to the first failure. `onHistory` is called after
 * each with the number done.
 */
export async function runHistories(
  histories: number,
  seed: number,
  onHistory?: (done: number) => void,
): Promise<Report> {
  const work = noWork();
  for (let index = 0; index < histories; index++) {
    const history = makeHistory(seed + index);
    const problem = await problemOf(history, work);
    if (problem !== undefined) {
      const minimal = await minimize(history, problem);
      const failure = { index, seed: history.seed, problem, minimal };
      return { ...work, histories: index + 1, failure };
    }
    onHistory?.(index + 1);
  }
  return { ...work, histories, failure: undefined };
}
