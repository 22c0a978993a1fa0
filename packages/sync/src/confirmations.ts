// SPDX-License-Identifier: Apache-2.0
/** How far the chains of a replica are known to be at a hub, and under a seal; and who waits for that. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { Clock } from "@ctxmesh/model";
import { chainKey } from "./chain-map.ts";
import { ConfirmationWaits } from "./confirmation-waits.ts";
import type { WaitOutcome } from "./confirmation-waits.ts";
import type { Chain, ChainHead, ChainSeq } from "./messages.ts";
import { MAX_SAID } from "./session-heads.ts";
import type { ConfirmedLevel } from "./session-state.ts";
import type { SyncReplica } from "./sync-replica.ts";

/** Up to which seq a chain is confirmed; 0 when nothing is known. What is sealed is at a hub, too. */
export interface Confirmed {
  readonly hub: number;
  readonly sealed: number;
}

/** The replica and its heads, as far as confirmations look at them. */
export interface ConfirmationsOptions {
  readonly replica: Pick<SyncReplica, "hashAt" | "limitOf">;
  /** A chain's head here. */
  readonly headOf: (chain: Chain) => ChainHead | undefined;
  readonly clock: Clock;
}

const LEVELS: readonly ConfirmedLevel[] = ["hub", "sealed"];
const NOTHING: Confirmed = { hub: 0, sealed: 0 };

/**
 * What hubs have said of chains, as far as it is about the same batches that are here: the hash that a hub names for a
 * position must be ours, so a hub that has another branch of a forked chain confirms nothing. Words only ever add up;
 * nothing that comes late, twice or out of order takes a confirmation back. What a revocation or a proof of a
 * fork cuts off is not confirmed, whoever says so.
 *
 * Words about positions that have not come here yet are kept, one for each chain and level, and looked at again when
 * the chain has come that far. Chains that are remembered: those of the replica, and `MAX_SAID` to come for each level.
 */
export class Confirmations {
  readonly #options: ConfirmationsOptions;
  readonly #confirmed = new Map<string, ChainSeq & Confirmed>();
  /** The furthest word about a chain that has not come so far. */
  readonly #ahead: Readonly<Record<ConfirmedLevel, Map<string, ChainHead>>> = {
    hub: new Map(),
    sealed: new Map(),
  };
  readonly #listeners = new Set<(chain: Chain) => void>();
  readonly #waits: ConfirmationWaits;

  constructor(options: ConfirmationsOptions) {
    this.#options = options;
    this.#waits = new ConfirmationWaits(options.clock);
  }

  /** How far a chain is confirmed, and never past what counts of it. */
  confirmed(chain: Chain): Confirmed {
    const { hub, sealed } = this.#confirmed.get(chainKey(chain)) ?? NOTHING;
    if (hub === 0) return NOTHING;
    const limit = this.#options.replica.limitOf(chain.replica, chain.incarnation);
    return { hub: Math.min(hub, limit), sealed: Math.min(sealed, limit) };
  }

  /** What an earlier life of this replica knew of a chain; the listeners do not hear of it. */
  restore({ replica, incarnation }: Chain, { hub, sealed }: Confirmed): void {
    const seq = Math.max(hub, sealed);
    const kept = { replica, incarnation, seq, hub: seq, sealed };
    this.#confirmed.set(chainKey(kept), kept);
  }

  /** Calls `listener` whenever more of a chain is confirmed. Returns how to stop. */
  onConfirmed(listener: (chain: Chain) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Up to where the chains here are sealed: every chain of which something is. */
  sealedFrontier(): readonly ChainSeq[] {
    return [...this.#confirmed.values()].flatMap(({ replica, incarnation }) => {
      const { sealed: seq } = this.confirmed({ replica, incarnation });
      return seq === 0 ? [] : [{ replica, incarnation, seq }];
    });
  }

  /**
   * Waits until a batch of ours is confirmed: `reached`; or `late` when that takes longer than `timeoutMs`, looked at on
   * each tick; `cut` as soon as the batch does not count any more; `ended` from {@link endWaits} on.
   */
  async reached(at: ChainSeq, level: ConfirmedLevel, timeoutMs: number): Promise<WaitOutcome> {
    const outcome = this.#outcomeOf(at, level);
    if (outcome !== undefined) return outcome;
    return this.#waits.add({ at, level, timeoutMs });
  }

  /** Throws `LIMIT_EXCEEDED` while `LIMITS.ackWaits` wait. To be asked before what is then waited for is written. */
  assertRoom(): void {
    if (this.#waits.size < LIMITS.ackWaits) return;
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `${String(LIMITS.ackWaits)} writes wait for a hub already`,
      { field: "ack", remedy: "wait for the receipts of earlier writes, or write with ack local" },
    );
  }

  /** Ends every wait; the node is stopping. */
  endWaits(): void {
    this.#waits.end();
  }

  /** Passes time. */
  tick(): void {
    this.#waits.expire();
  }

  /** A hub has these positions on its disk, or under a seal. Resolves when each was compared with what is here. */
  async claim(level: ConfirmedLevel, heads: readonly ChainHead[]): Promise<void> {
    for (const head of heads) {
      const chain = chainKey(head);
      if (head.seq <= (this.#confirmed.get(chain)?.[level] ?? 0)) continue;
      const ours = this.#options.headOf(head);
      if (ours === undefined || ours.seq < head.seq) this.#remember(level, head);
      else if (ours.seq === head.seq) this.#compare(level, head, ours.hash);
      else await this.#lookUp(level, head);
    }
  }

  /** A batch became durable here; `atHub` when a hub brought it. */
  applied(head: ChainHead, atHub: boolean): void {
    if (atHub) this.#raise("hub", head);
    this.#lookAhead(head);
  }

  /** A hub sent a batch that is here already, applied or held. */
  echoed({ replica, incarnation, seq }: ChainSeq): void {
    const ours = this.#options.headOf({ replica, incarnation });
    if (ours !== undefined && ours.seq >= seq) this.#raise("hub", { replica, incarnation, seq });
  }

  /** What counts has changed, so heads may have moved and waits may be in vain. */
  recordsChanged(): void {
    for (const level of LEVELS) {
      for (const head of this.#ahead[level].values()) {
        const ours = this.#options.headOf(head);
        if (ours !== undefined) this.#lookAhead(ours);
      }
    }
    this.#waits.settle((at, level) => this.#outcomeOf(at, level));
  }

  #outcomeOf(at: ChainSeq, level: ConfirmedLevel): WaitOutcome | undefined {
    if (this.confirmed(at)[level] >= at.seq) return "reached";
    return this.#options.replica.limitOf(at.replica, at.incarnation) < at.seq ? "cut" : undefined;
  }

  #remember(level: ConfirmedLevel, head: ChainHead): void {
    const ahead = this.#ahead[level];
    const chain = chainKey(head);
    const known = ahead.get(chain);
    if (known === undefined ? ahead.size >= MAX_SAID : known.seq >= head.seq) return;
    ahead.set(chain, head);
  }

  /** The chain has come further: what was said of it may be about what is here now. */
  #lookAhead(ours: ChainHead): void {
    const chain = chainKey(ours);
    for (const level of LEVELS) {
      const said = this.#ahead[level].get(chain);
      if (said === undefined || said.seq > ours.seq) continue;
      this.#ahead[level].delete(chain);
      // Batches come one by one, so only a rebuild goes past one. A store that can't be read fails others, too.
      if (said.seq === ours.seq) this.#compare(level, said, ours.hash);
      else this.claim(level, [said]).catch(() => undefined);
    }
  }

  async #lookUp(level: ConfirmedLevel, head: ChainHead): Promise<void> {
    const hash = await this.#options.replica.hashAt(head.replica, head.incarnation, head.seq);
    // What is not here any more was sealed before it was pruned, so no other branch of it can count.
    this.#compare(level, head, hash === undefined ? head.hash : hash.slice(0, head.hash.length));
  }

  #compare(level: ConfirmedLevel, said: ChainHead, ours: string): void {
    if (said.hash === ours) this.#raise(level, said);
  }

  #raise(level: ConfirmedLevel, { replica, incarnation, seq }: ChainSeq): void {
    const chain = chainKey({ replica, incarnation });
    const before = this.#confirmed.get(chain) ?? NOTHING;
    if (seq <= before[level]) return;
    const hub = Math.max(before.hub, seq);
    const sealed = level === "sealed" ? seq : before.sealed;
    this.#confirmed.set(chain, { replica, incarnation, seq: hub, hub, sealed });
    this.#waits.settleChain(chain, (at, wanted) => this.#outcomeOf(at, wanted));
    for (const listener of this.#listeners) listener({ replica, incarnation });
  }
}
