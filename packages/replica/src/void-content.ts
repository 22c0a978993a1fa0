// SPDX-License-Identifier: Apache-2.0
import type { DeviceKey, DocumentName, IncarnationId } from "@ctxmesh/model";

/** A chain by its owner and incarnation. */
export interface Chain {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
}

/** What is known of chains. */
export interface ChainView {
  /** Whether all that can count of a chain is here; a chain without a limit that has void batches is taken to be. */
  isComplete(chain: Chain): boolean;
  /** The chain of a Yjs client id, if it is proven to fork. */
  forkOf(client: number): Chain | undefined;
}

/**
 * Rich operations that will never be here, because their batches are void. What builds on them is void,
 * too, part by part; without this it would wait for them for ever.
 */
export class VoidContent {
  /** Chains with void batches, by their Yjs client id. */
  readonly #chains = new Map<number, Chain>();
  /** The first void clock by document and client. */
  readonly #clocks = new Map<string, number>();

  /** A chain has void batches: what is not here of its client, once the part that counts is, never comes. */
  addChain(client: number, chain: Chain): void {
    this.#chains.set(client, chain);
  }

  /** A part of a batch that counts is void from this clock on. */
  addPart(doc: DocumentName, client: number, clock: number): void {
    const name = `${String(client)} ${doc}`;
    this.#clocks.set(name, Math.min(clock, this.#clocks.get(name) ?? clock));
  }

  /** Whether a client's part at `clock` follows one that is void. */
  follows(doc: DocumentName, client: number, clock: number): boolean {
    return (this.#clocks.get(`${String(client)} ${doc}`) ?? Number.POSITIVE_INFINITY) <= clock;
  }

  /** Whether a part of this client is void. */
  hasPartOf(client: number): boolean {
    return [...this.#clocks.keys()].some((name) => name.startsWith(`${String(client)} `));
  }

  /** Whether an operation that is not here never comes. */
  isVoid(doc: DocumentName, client: number, clock: number, view: ChainView): boolean {
    if (this.follows(doc, client, clock)) return true;
    const chain = this.#chains.get(client) ?? view.forkOf(client);
    return chain !== undefined && view.isComplete(chain);
  }
}
