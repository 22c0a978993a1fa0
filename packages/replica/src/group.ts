// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { DeviceKey, HeaderHash, Hlc, IncarnationId } from "@ctxmesh/model";
import type { CheckedBatch } from "./checks.ts";
import type { Frontier } from "./frontier.ts";
import { chainKey } from "./layout.ts";
import type { Head } from "./layout.ts";
import { headOf } from "./log.ts";
import type { VoidReason } from "./state.ts";
import type { Chain } from "./void-content.ts";

/** The batches of one atomic store write, and the frontier as if they were applied already. */
export class Group {
  /** In order; those that do not count among them. */
  readonly batches: CheckedBatch[] = [];
  /** The batches with which what counts of their chains ends, by chain, and why. */
  readonly #voids = new Map<string, { readonly hash: HeaderHash; readonly reason: VoidReason }>();
  readonly #frontier: Frontier;
  readonly #heads = new Map<string, Head>();
  readonly #byHash = new Map<HeaderHash, CheckedBatch>();
  readonly #hashBySeq = new Map<string, HeaderHash>();
  #maxHlc = 0 as Hlc;

  constructor(frontier: Frontier) {
    this.#frontier = frontier;
  }

  /** Adds a checked or local batch; or one with which what counts of its chain ends, and why. */
  add(batch: CheckedBatch, reason?: VoidReason): void {
    const head = headOf(batch);
    const chain = chainKey(head.replica, head.incarnation);
    this.batches.push(batch);
    if (reason === undefined) {
      this.#heads.set(chain, head);
      if (head.hlc > this.#maxHlc) this.#maxHlc = head.hlc;
    } else this.#voids.set(chain, { hash: batch.hash, reason });
    this.#byHash.set(batch.hash, batch);
    this.#hashBySeq.set(`${chain}${String(head.seq)}`, batch.hash);
  }

  /** Why the rest of a chain does not count from a batch of the group on. */
  voidReason({ replica, incarnation }: Chain): VoidReason | undefined {
    return this.#voids.get(chainKey(replica, incarnation))?.reason;
  }

  /** Why a batch of the group does not count; undefined when it does. */
  reasonAgainst({ header, hash }: Pick<CheckedBatch, "header" | "hash">): VoidReason | undefined {
    const ending = this.#voids.get(chainKey(header.replica, header.incarnation));
    return ending?.hash === hash ? ending.reason : undefined;
  }

  /** A chain's head after the group. */
  head(replica: DeviceKey, incarnation: IncarnationId): Head | undefined {
    return (
      this.#heads.get(chainKey(replica, incarnation)) ?? this.#frontier.head(replica, incarnation)
    );
  }

  /** The highest clock of what is applied, or counts in the group. */
  get maxHlc(): Hlc {
    return this.#maxHlc > this.#frontier.maxHlc ? this.#maxHlc : this.#frontier.maxHlc;
  }

  /** Whether a header is in the group or surely applied; false means "look in the store". */
  isRecent(hash: HeaderHash): boolean {
    return this.#byHash.has(hash) || this.#frontier.isRecent(hash);
  }

  /** A batch of the group. */
  batch(hash: HeaderHash): CheckedBatch | undefined {
    return this.#byHash.get(hash);
  }

  /** The group's own header at a chain position. */
  hashAt(replica: DeviceKey, incarnation: IncarnationId, seq: number): HeaderHash | undefined {
    return this.#hashBySeq.get(`${chainKey(replica, incarnation)}${String(seq)}`);
  }

  /**
   * The heads of other chains that the next batch of a chain names: those that no header names yet, oldest first, and that others can
   * get as `isWhole` says of a chain by its key.
   */
  depsFor(
    replica: DeviceKey,
    incarnation: IncarnationId,
    isWhole: (chain: string) => boolean,
  ): readonly HeaderHash[] {
    const open = this.#frontier.unnamedHeads();
    for (const batch of this.batches) {
      if (this.reasonAgainst(batch) !== undefined) continue;
      const { header, hash } = batch;
      const named = new Set(header.deps);
      for (const [chain, head] of open) if (named.has(head)) open.delete(chain);
      const own = chainKey(header.replica, header.incarnation);
      if (header.lane === undefined) open.set(own, hash);
      else open.delete(own);
    }
    open.delete(chainKey(replica, incarnation));
    const whole = [...open].flatMap(([chain, hash]) => (isWhole(chain) ? [hash] : []));
    return whole.slice(0, LIMITS.depsPerBatch).toSorted();
  }
}
