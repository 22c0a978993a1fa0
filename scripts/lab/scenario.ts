// SPDX-License-Identifier: Apache-2.0
import type { Verdict } from "./checks.ts";

/** How long and how large: `short` is for each run of the tests, `full` for when there is time. */
export type Size = "short" | "full";

/** What one scenario came to. */
export interface ScenarioResult extends Verdict {
  readonly scenario: string;
  readonly agents: number;
  /** From the first process to the last check. */
  readonly seconds: number;
  /** More that was measured. */
  readonly figures: Readonly<Record<string, number>>;
}

/** A bad network, and what must be so after it. */
export interface Scenario {
  readonly name: string;
  /** What happens, in a sentence. */
  readonly what: string;
  /** Of processes in network namespaces, or of agents in this process over emulated links. */
  readonly kind: "emulated" | "namespaces";
  /** Whether it has a short form. */
  readonly sizes: readonly Size[];
  /** Why it can't run here, if it can't. */
  unavailable(): Promise<string | undefined>;
  run(size: Size): Promise<ScenarioResult>;
}
