// SPDX-License-Identifier: Apache-2.0
import { encodeCbor } from "@ctxmesh/codec";
import type { Lane } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { LIMITS, fromHex } from "@ctxmesh/model";
import type { DeviceKey, HeaderHash, Hlc, IncarnationId } from "@ctxmesh/model";
import { chainKey } from "./layout.ts";
import type { Head } from "./layout.ts";

/** The heads of all chains applied so far, and the hashes that a new batch may point at. */
export class Frontier {
  readonly #heads = new Map<string, Head>();
  /** The newest applied header hashes, oldest first, so that most dependency checks need no store. */
  readonly #recent = new Set<HeaderHash>();
  /** Heads without a lane that no applied header names as a dependency, by chain, in order of arrival. */
  readonly #unnamed = new Map<string, HeaderHash>();
  #digest: Uint8Array | undefined;
  #maxHlc = 0 as Hlc;

  /** Number of chains. */
  get size(): number {
    return this.#heads.size;
  }

  /** The highest HLC of any applied batch: the frontier's own time, equal on equal frontiers. */
  get maxHlc(): Hlc {
    return this.#maxHlc;
  }

  /** All heads, ordered by replica and incarnation. */
  heads(): readonly Head[] {
    return [...this.#heads].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, head]) => head);
  }

  /** A chain's head, or undefined when nothing of it was applied. */
  head(replica: DeviceKey, incarnation: IncarnationId): Head | undefined {
    return this.#heads.get(chainKey(replica, incarnation));
  }

  /** Whether the hash is surely applied; false means "look in the store". */
  isRecent(hash: HeaderHash): boolean {
    return this.#recent.has(hash);
  }

  /** A copy of the heads, by chain, that no applied header names as a dependency yet; oldest first. */
  unnamedHeads(): Map<string, HeaderHash> {
    return new Map(this.#unnamed);
  }

  /** The frontier with these heads, of which no header names the `unnamed` ones, oldest first. */
  static of(heads: readonly Head[], unnamed: readonly Head[]): Frontier {
    const frontier = new Frontier();
    for (const head of heads) {
      frontier.#heads.set(chainKey(head.replica, head.incarnation), head);
      if (head.hlc > frontier.#maxHlc) frontier.#maxHlc = head.hlc;
    }
    for (const { replica, incarnation, hash } of unnamed) {
      frontier.#unnamed.set(chainKey(replica, incarnation), hash);
    }
    return frontier;
  }

  /**
   * Moves a chain's head to its next batch, which names `deps`. A batch with a `lane` is never one that others name: what is not
   * urgent must not hold up what is.
   */
  advance(head: Head, deps: readonly HeaderHash[], lane?: Lane): void {
    const chain = chainKey(head.replica, head.incarnation);
    this.#heads.set(chain, head);
    if (deps.length > 0) {
      const named = new Set(deps);
      for (const [other, hash] of this.#unnamed) {
        if (named.has(hash)) this.#unnamed.delete(other);
      }
    }
    if (lane === undefined) this.#unnamed.set(chain, head.hash);
    else this.#unnamed.delete(chain);
    this.#recent.add(head.hash);
    if (this.#recent.size > LIMITS.recentHashes) {
      const [oldest] = this.#recent;
      if (oldest !== undefined) this.#recent.delete(oldest);
    }
    if (head.hlc > this.#maxHlc) this.#maxHlc = head.hlc;
    this.#digest = undefined;
  }

  /** SHA-256 over the CBOR of all heads: equal exactly when the same batches were applied. */
  digest(): Uint8Array {
    this.#digest ??= sha256(
      encodeCbor(
        this.heads().map((head) => [
          fromHex(head.replica),
          fromHex(head.incarnation),
          head.seq,
          fromHex(head.hash),
        ]),
      ),
    );
    return this.#digest;
  }
}
