// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";

/**
 * Which carrier a node uses: gossip above so many connected peers, and from then on until it has `LIMITS.carrierSlack` less, so
 * that peers that come and go do not make it change its ways each time.
 */
export class CarrierChoice {
  readonly #above: number;
  readonly #below: number;
  #gossips = false;

  constructor(above: number = LIMITS.directPeers) {
    this.#above = above;
    this.#below = Math.max(1, above - LIMITS.carrierSlack + 1);
  }

  /** Whether a node that has now so many peers gossips. */
  gossips(connected: number): boolean {
    this.#gossips = connected > this.#above || (this.#gossips && connected >= this.#below);
    return this.#gossips;
  }
}
