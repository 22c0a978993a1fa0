// SPDX-License-Identifier: Apache-2.0
import type { DeviceKey, DocumentName, IncarnationId } from "@ctxmesh/model";

/** A chain by its owner and incarnation. */
export interface Chain {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
}

/** What is known of chains. */
export interface ChainView {
  /**
   * The lowest seq of a chain, behind all of it that counts here, whose header is known to be void: in a chain nothing
   * counts behind what does not. Infinity when there is none.
   */
  voidFrom(chain: Chain): number;
  /** Whether all that can count of a chain is here: up to its limit, or below a batch that is void. Never so for one that has no end. */
  isComplete(chain: Chain): boolean;
  /** The chain of a Yjs client id, if it is proven to fork. */
  forkOf(client: number): Chain | undefined;
}

/** A part of a batch that counts, void from a clock of its client on. */
export interface VoidPart {
  readonly doc: DocumentName;
  readonly client: number;
  readonly clock: number;
}

/**
 * Rich operations that will never be here, because their batches are void. What builds on them is void,
 * too, part by part; without this it would wait for them for ever.
 */
export class VoidContent {
  /** Chains with batches that are void or were, by their Yjs client id. */
  readonly #chains = new Map<number, Chain>();
  /** The first void part by document and client. */
  readonly #parts = new Map<string, VoidPart>();

  /** A chain has void batches: as long as it has, what is not here of its client, once the part that counts is, never comes. */
  addChain(client: number, chain: Chain): void {
    this.#chains.set(client, chain);
  }

  /** A part of a batch that counts is void from this clock on. */
  addPart(doc: DocumentName, client: number, clock: number): void {
    const name = `${String(client)} ${doc}`;
    const known = this.#parts.get(name);
    if (known === undefined || clock < known.clock) this.#parts.set(name, { doc, client, clock });
  }

  /** The first void part of each client in each document. */
  parts(): readonly VoidPart[] {
    return [...this.#parts.values()];
  }

  /** Whether a client's part at `clock` follows one that is void. */
  follows(doc: DocumentName, client: number, clock: number): boolean {
    const part = this.#parts.get(`${String(client)} ${doc}`);
    return part !== undefined && part.clock <= clock;
  }

  /** Whether a part of this client is void. */
  hasPartOf(client: number): boolean {
    return this.parts().some((part) => part.client === client);
  }

  /** Whether an operation that is not here never comes. */
  isVoid(doc: DocumentName, client: number, clock: number, view: ChainView): boolean {
    if (this.follows(doc, client, clock)) return true;
    const chain = this.#chains.get(client) ?? view.forkOf(client);
    return chain !== undefined && view.isComplete(chain);
  }
}
