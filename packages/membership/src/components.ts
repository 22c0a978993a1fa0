// SPDX-License-Identifier: Apache-2.0
/**
 * What depends on what: an act depends on its authority and on the revocations that strike it. Strongly
 * connected components of that, in dependency order, by two walks (Kosaraju and Sharir). Unlike with one
 * walk, only acts that are still to be found have to be looked at, so that even millions of edges, kept as bits,
 * take a few passes over the bits. The walks keep stacks of their own: how deep a graph is, is up to whoever made it.
 */
import { nextCommon } from "./attacks.ts";
import type { Attacks, Numbering } from "./attacks.ts";
import { invert } from "./graph.ts";
import type { ActGraph, Lists } from "./graph.ts";

/** Which of some numbered acts are still to be found. */
class Remaining {
  readonly #numbering: Numbering;
  readonly bits: Uint32Array;

  constructor(numbering: Numbering) {
    this.#numbering = numbering;
    this.bits = new Uint32Array((numbering.acts.length + 31) >>> 5);
  }

  set(act: number, remains: boolean): void {
    const number = this.#numbering.numberOf[act] ?? -1;
    if (number < 0) return;
    const bit = 1 << (number & 31);
    const word = this.bits[number >>> 5] ?? 0;
    this.bits[number >>> 5] = remains ? word | bit : word & ~bit;
  }
}

/** Divides parts of a graph into components. */
export class Dependencies {
  readonly #attacks: Attacks;
  readonly #authority: Int32Array;
  /** The acts that name an act as their authority. */
  readonly #under: Lists;
  /** 1 for acts that are still to be found. */
  readonly #remains: Uint8Array;
  readonly #slots: Remaining;
  readonly #shots: Remaining;
  /** Where to look for the next edge of an act: a block of bits, or a place in its list. What was found does not remain, so a block may be looked at again. */
  readonly #cursor: Int32Array;

  constructor(graph: ActGraph, attacks: Attacks) {
    this.#attacks = attacks;
    this.#authority = graph.authority;
    this.#under = invert(graph.authority);
    this.#remains = new Uint8Array(graph.acts.length);
    this.#cursor = new Int32Array(graph.acts.length);
    this.#slots = new Remaining(attacks.slots);
    this.#shots = new Remaining(attacks.shots);
  }

  /** The components of the part of the graph made of `acts`, each ascending; one comes after all that it depends on. */
  components(acts: readonly number[]): readonly (readonly number[])[] {
    this.#begin(acts);
    const finished: number[] = [];
    for (const act of acts) {
      if (this.#remains[act] === 1) this.#walk(act, (at) => this.#nextDependant(at), finished);
    }
    this.#begin(acts);
    const found: number[][] = [];
    for (let i = finished.length - 1; i >= 0; i--) {
      const root = finished[i] ?? 0;
      if (this.#remains[root] === 0) continue;
      const component: number[] = [];
      this.#walk(root, (at) => this.#nextDependency(at), component);
      found.push(component.toSorted((a, b) => a - b));
    }
    return found;
  }

  #begin(acts: readonly number[]): void {
    for (const act of acts) {
      this.#mark(act, true);
      this.#cursor[act] = 0;
    }
  }

  #mark(act: number, remains: boolean): void {
    this.#remains[act] = remains ? 1 : 0;
    this.#slots.set(act, remains);
    this.#shots.set(act, remains);
  }

  /** Walks depth first through what remains, and adds each act when all behind it have been. */
  #walk(root: number, next: (act: number) => number, finished: number[]): void {
    const path = [root];
    this.#mark(root, false);
    for (let act = path.at(-1); act !== undefined; act = path.at(-1)) {
      const child = next(act);
      if (child >= 0) {
        this.#mark(child, false);
        path.push(child);
      } else {
        finished.push(act);
        path.pop();
      }
    }
  }

  /** The next remaining act that a revocation strikes, or that rests on a grant or an invite; or -1. */
  #nextDependant(act: number): number {
    const strikes = this.#attacks.strikes[act];
    if (strikes !== undefined) {
      const slot = nextCommon(strikes, this.#slots.bits, this.#cursor[act] ?? 0);
      if (slot < 0) return -1;
      this.#cursor[act] = slot >>> 5;
      return this.#attacks.slots.acts[slot] ?? -1;
    }
    const { start, items } = this.#under;
    const end = (start[act + 1] ?? 0) - (start[act] ?? 0);
    for (let at = this.#cursor[act] ?? 0; at < end; at++) {
      const child = items[(start[act] ?? 0) + at] ?? 0;
      if (this.#remains[child] === 0) continue;
      this.#cursor[act] = at + 1;
      return child;
    }
    this.#cursor[act] = end;
    return -1;
  }

  /** The next remaining act that this one depends on, or -1. */
  #nextDependency(act: number): number {
    const authority = this.#authority[act] ?? -1;
    if (authority >= 0 && this.#remains[authority] === 1) return authority;
    const struckBy = this.#attacks.struckBy[act];
    if (struckBy === undefined) return -1;
    const shot = nextCommon(struckBy, this.#shots.bits, this.#cursor[act] ?? 0);
    if (shot < 0) return -1;
    this.#cursor[act] = shot >>> 5;
    return this.#attacks.shots.acts[shot] ?? -1;
  }
}
