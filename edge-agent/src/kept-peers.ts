// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps the signed addresses of other agents in the store, so that an agent that is started again finds the mesh.
 *
 * One record: 0x24 -> a list as in `packages/transport-libp2p/src/peer-book.ts`. It is public, and proves itself; one that
 * is lost with a damaged store is made anew from whom the agent meets.
 */
import type { Store } from "@ctxmesh/model";
import type { PeerMemory } from "@ctxmesh/transport-libp2p";

const KEY = Uint8Array.of(0x24);

/** The memory of a mesh that is made before its store is open, and used after. */
export class KeptPeers implements PeerMemory {
  #store: Store | undefined;

  /** Keeps in this store from now on. */
  keepIn(store: Store): void {
    this.#store = store;
  }

  async load(): Promise<Uint8Array | undefined> {
    return this.#store?.get(KEY);
  }

  async save(list: Uint8Array): Promise<void> {
    await this.#store?.write([{ key: KEY, value: list }]);
  }
}
