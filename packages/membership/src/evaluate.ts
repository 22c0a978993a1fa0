// SPDX-License-Identifier: Apache-2.0
/**
 * What each act of a set is worth: strong removal. A pure function of the set; the order of arrival is not
 * an input, and every act in it is within the authority that it names (see `authority.ts`).
 *
 * An effective revocation *strikes* every act of the revoked key that is not among its ancestors. An act is
 * valid unless it is struck or rests on an authority that is not valid. That is circular where revocations
 * strike each other, so: acts depend on their authority and on the revocations that would strike them; the
 * strongly connected components of these dependencies are judged one after the other. In a component
 *
 * 1. what is struck from before, or rests on what is not valid, goes; if anything went, what is left is
 *    divided again and judged part by part ({@link MAX_ROUNDS} times at most, then as it is);
 * 2. of what is left every revocation counts: who removes each other is out, both of them;
 * 3. the rest is judged under these revocations.
 */
import { findAttacks } from "./attacks.ts";
import type { Attacks } from "./attacks.ts";
import { Dependencies } from "./components.ts";
import type { ActGraph } from "./graph.ts";

/** How often a component is divided again. Honest histories need one or two; each costs a pass over the component. */
export const MAX_ROUNDS = 8;

/** Why an act does not count. */
export const PROBLEMS = {
  struck: "its author was revoked by somebody who did not know of it",
  unfounded: "the act that it rests on does not count",
} as const;

type Verdict = "valid" | keyof typeof PROBLEMS;

class Evaluation {
  readonly #graph: ActGraph;
  readonly #attacks: Attacks;
  readonly #dependencies: Dependencies;
  /** Slots struck by effective revocations, as bits. */
  readonly #struck: Uint32Array;
  readonly verdicts: (Verdict | undefined)[];

  constructor(graph: ActGraph, attacks: Attacks) {
    this.#graph = graph;
    this.#attacks = attacks;
    this.#dependencies = new Dependencies(graph, attacks);
    this.#struck = new Uint32Array((attacks.slots.acts.length + 31) >>> 5);
    this.verdicts = Array.from({ length: graph.acts.length });
  }

  judge(acts: readonly number[], round: number): void {
    for (const component of this.#dependencies.components(acts)) {
      const left = component.filter((act) => this.#survives(act));
      if (left.length < component.length && left.length > 1 && round < MAX_ROUNDS) {
        this.judge(left, round + 1);
      } else {
        this.#decide(left);
      }
    }
  }

  /** Whether nothing that is decided speaks against an act; else it is decided. */
  #survives(act: number): boolean {
    const verdict = this.#problemOf(act);
    if (verdict !== undefined) this.verdicts[act] = verdict;
    return verdict === undefined;
  }

  #problemOf(act: number): keyof typeof PROBLEMS | undefined {
    const slot = this.#attacks.slots.numberOf[act] ?? -1;
    if (slot >= 0 && ((this.#struck[slot >>> 5] ?? 0) & (1 << (slot & 31))) !== 0) return "struck";
    const authority = this.#graph.authority[act] ?? -1;
    const verdict = authority < 0 ? undefined : this.verdicts[authority];
    return verdict === undefined || verdict === "valid" ? undefined : "unfounded";
  }

  #decide(acts: readonly number[]): void {
    const isRevocation = (act: number): boolean => this.#graph.acts[act]?.act.kind === "revoke";
    for (const act of acts) {
      if (!isRevocation(act)) continue;
      this.verdicts[act] = "valid";
      this.#strike(act);
    }
    for (const act of acts) {
      if (!isRevocation(act)) this.verdicts[act] = this.#problemOf(act) ?? "valid";
    }
  }

  #strike(revocation: number): void {
    const strikes = this.#attacks.strikes[revocation];
    for (let i = 0; i < (strikes?.words.length ?? 0); i++) {
      const block = (strikes?.firstBlock ?? 0) + i;
      this.#struck[block] = (this.#struck[block] ?? 0) | (strikes?.words[i] ?? 0);
    }
  }
}

/** For each act why it does not count, or undefined when it does. */
export function evaluate(graph: ActGraph): readonly (string | undefined)[] {
  const attacks = findAttacks(graph);
  if (attacks === undefined) return graph.acts.map(() => undefined);
  const evaluation = new Evaluation(graph, attacks);
  evaluation.judge([...graph.acts.keys()], 0);
  return evaluation.verdicts.map((verdict) =>
    verdict === undefined || verdict === "valid" ? undefined : PROBLEMS[verdict],
  );
}
