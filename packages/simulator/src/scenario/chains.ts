// SPDX-License-Identifier: Apache-2.0
/** Everything that was written in a run, kept beside the mesh: what a node lacks is told from this and the node's frontier. */
import type { DeviceKey, IncarnationId } from "@ctxmesh/model";

/** How far a node has come in each chain. */
export interface Heads {
  seqOf(replica: DeviceKey, incarnation: IncarnationId): number;
}

/** A batch that became durable at its writer. */
export interface Birth {
  readonly atMs: number;
  readonly facts: number;
  readonly seq: number;
  /** Index of the writer's node, and for each node whether it has arrived there at some time. */
  readonly writer: number;
  readonly arrived: Uint8Array;
}

/** One process life of a device. */
export interface WrittenChain {
  readonly device: DeviceKey;
  readonly incarnation: IncarnationId;
  /** By seq; those that nobody was told of are absent. */
  readonly births: Map<number, Birth>;
  /** Facts up to and with each seq, from 0. */
  readonly facts: number[];
}

/** The index of the first of ascending numbers that is above a bound. */
export function firstAbove(numbers: readonly number[], bound: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((numbers[middle] ?? 0) > bound) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** All chains that were written. */
export class WrittenChains {
  readonly #chains = new Map<string, WrittenChain>();
  #facts = 0;

  /** In the order in which they began. */
  all(): Iterable<WrittenChain> {
    return this.#chains.values();
  }

  /** Facts that became durable. */
  get facts(): number {
    return this.#facts;
  }

  chain(device: DeviceKey, incarnation: IncarnationId): WrittenChain | undefined {
    return this.#chains.get(device + incarnation);
  }

  add(device: DeviceKey, incarnation: IncarnationId, birth: Birth): WrittenChain {
    const id = device + incarnation;
    const chain = this.#chains.get(id) ?? { device, incarnation, births: new Map(), facts: [0] };
    this.#chains.set(id, chain);
    chain.births.set(birth.seq, birth);
    const before = chain.facts.at(-1) ?? 0;
    while (chain.facts.length < birth.seq) chain.facts.push(before);
    chain.facts.push(before + birth.facts);
    this.#facts += birth.facts;
    return chain;
  }

  /** Facts that were written by others than `except` and are not at a node. */
  missing(heads: Heads, except: ReadonlySet<DeviceKey>): number {
    let missing = 0;
    for (const { device, incarnation, facts } of this.#chains.values()) {
      if (except.has(device)) continue;
      const all = facts.length - 1;
      const here = Math.min(all, heads.seqOf(device, incarnation));
      missing += (facts[all] ?? 0) - (facts[here] ?? 0);
    }
    return missing;
  }
}

/** What one chain said about a key, in order. */
interface Sayings {
  readonly device: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seqs: number[];
  /** Place among all statements about the key. */
  readonly orders: number[];
  readonly atMs: number[];
}

/** All statements about one key. */
export class KeyStatements {
  readonly #chains = new Map<string, Sayings>();
  #count = 0;

  /** A statement became durable; they come in the order of time. */
  add(device: DeviceKey, incarnation: IncarnationId, seq: number, atMs: number): void {
    const id = device + incarnation;
    const chain = this.#chains.get(id) ?? { device, incarnation, seqs: [], orders: [], atMs: [] };
    this.#chains.set(id, chain);
    chain.seqs.push(seq);
    chain.orders.push(this.#count++);
    chain.atMs.push(atMs);
  }

  /**
   * Since when there has been a newer statement, of a device that is not among `except`, than the newest one at a node:
   * undefined when there is none.
   */
  supersededMs(heads: Heads, except: ReadonlySet<DeviceKey>): number | undefined {
    let newest = -1;
    for (const { device, incarnation, seqs, orders } of this.#chains.values()) {
      const here = firstAbove(seqs, heads.seqOf(device, incarnation));
      newest = Math.max(newest, orders[here - 1] ?? -1);
    }
    let since: number | undefined;
    for (const { device, orders, atMs } of this.#chains.values()) {
      if (except.has(device)) continue;
      const ms = atMs[firstAbove(orders, newest)];
      if (ms !== undefined && (since === undefined || ms < since)) since = ms;
    }
    return since;
  }
}
