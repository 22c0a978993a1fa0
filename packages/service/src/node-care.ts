// SPDX-License-Identifier: Apache-2.0
/** What an operator does about the store of a running node: its keys, and checks of it. */
import { MeshError } from "@ctxmesh/model";
import type { CareService, KeysReport, RewrapReport, ScrubReport } from "@ctxmesh/model";
import type { LevelStore } from "@ctxmesh/store-level";
import { keyProviderAt, parseKeyLocation } from "@ctxmesh/vault";
import type { StoreVault } from "@ctxmesh/vault";
import type { Scrubber } from "./scrubber.ts";

/** The records of data keys and of the store's key, see `@ctxmesh/vault`. */
const KEY_RECORDS = { gte: Uint8Array.of(0x30), lt: Uint8Array.of(0x32) };

/** What a {@link NodeCare} is made of. */
export interface NodeCareOptions {
  readonly store: Pick<LevelStore, "compact">;
  /** Undefined for a store without encryption. */
  readonly keys: StoreVault | undefined;
  readonly scrubber: Scrubber;
}

/** The care of a node's store. */
export class NodeCare implements CareService {
  readonly #options: NodeCareOptions;

  constructor(options: NodeCareOptions) {
    this.#options = options;
  }

  keys(): KeysReport {
    const { keys } = this.#options;
    return keys === undefined ? { encrypted: false } : { encrypted: true, keys: keys.stats() };
  }

  async rotateKeys(): Promise<number> {
    return this.#vault().rotateDataKeys();
  }

  async rewrapKeys(to: string): Promise<RewrapReport> {
    const keys = this.#vault();
    await keys.rotate(await keyProviderAt(parseKeyLocation(to)));
    const report = await keys.rotateStoreKey();
    // What the old key opens must not stay in files of the store for as long as LevelDB likes.
    await this.#options.store.compact(KEY_RECORDS);
    return { provider: keys.stats().provider, ...report };
  }

  #vault(): StoreVault {
    const { keys } = this.#options;
    if (keys !== undefined) return keys;
    throw new MeshError("INPUT_INVALID", "the store of this node is not encrypted", {
      remedy:
        "take `off: true` out of its configuration, and start it once with --accept-plain; or let a new store fill from peers",
    });
  }

  scrub(): ScrubReport {
    return this.#options.scrubber.run();
  }
}
