// SPDX-License-Identifier: Apache-2.0
/** Which session is about to bring which chain: what one brings, the others need not bring as well. */
import { chainKey } from "./chain-map.ts";
import type { Chain } from "./message-parts.ts";

/** How long a pull keeps others from asking for the same, in milliseconds: longer than an answer takes on a link worth waiting for. */
export const CLAIM_MS = 1_500;

interface Claim {
  readonly chains: readonly string[];
  readonly sinceMs: number;
}

/**
 * The pulls that are outstanding, by session. When a part of a mesh comes back, every session has the same to bring; without this each
 * of them would. A claim says only who asks first: it ends with the answer, the session, or its time, and then whoever was passed over asks.
 */
export class PullClaims {
  readonly #claims = new Map<number, Claim>();
  /** The session that has a chain, by chain. */
  readonly #holders = new Map<string, number>();

  /** A session has asked for these chains, or for none any more. Returns whether others may ask for something now. */
  set(session: number, chains: readonly Chain[], nowMs: number): boolean {
    const before = this.#drop(session);
    const keys = chains.map(chainKey).filter((chain) => !this.#holders.has(chain));
    for (const chain of keys) this.#holders.set(chain, session);
    if (keys.length > 0) this.#claims.set(session, { chains: keys, sinceMs: nowMs });
    return before.some((chain) => !this.#holders.has(chain));
  }

  /** Whether another session is about to bring a chain. */
  has(chain: Chain, session: number): boolean {
    const holder = this.#holders.get(chainKey(chain));
    return holder !== undefined && holder !== session;
  }

  /** Ends the claims whose time is over; returns whether there were any. A clock that was set back ends them, too. */
  expire(nowMs: number): boolean {
    const over = [...this.#claims].filter(
      ([, { sinceMs }]) => nowMs < sinceMs || nowMs - sinceMs >= CLAIM_MS,
    );
    for (const [session] of over) this.#drop(session);
    return over.length > 0;
  }

  #drop(session: number): readonly string[] {
    const chains = this.#claims.get(session)?.chains ?? [];
    this.#claims.delete(session);
    for (const chain of chains) this.#holders.delete(chain);
    return chains;
  }
}
