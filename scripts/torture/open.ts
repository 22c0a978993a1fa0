// SPDX-License-Identifier: Apache-2.0
/** Opens a replica as an agent does, encrypted, but without healing: the torture is about the store itself. */
import type { Space } from "@ctxmesh/membership";
import { MeshError } from "@ctxmesh/model";
import type { Logger } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { openReplica, systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger } from "@ctxmesh/testing";
import { fileKeyProvider } from "@ctxmesh/vault";

/** Passes over what is logged, except that a store was found damaged: that is thrown, before anything is done about it. */
const logger: Logger = {
  ...silentLogger,
  error(event, fields) {
    if (event !== DAMAGED) return;
    throw new MeshError("STORE_CORRUPT", `${event}: ${String(fields?.["error"])}`);
  },
};

/** What a node logs when it finds its store damaged. */
export const DAMAGED = "store.damaged";

/** Clock, randomness and log of the torture. */
export const deps = { clock: systemClock, random: systemRandom, logger };

/** Opens the replica in a store, which `stack` closes. `keyPath` is the file of the key that protects the store. */
export async function openTortured(
  options: {
    readonly space: Space;
    readonly deviceSeed: Uint8Array;
    readonly storePath: string;
    readonly keyPath: string;
  },
  stack: AsyncDisposableStack,
): Promise<Replica> {
  const keyProvider = fileKeyProvider(options.keyPath, { create: false });
  const { replica } = await openReplica({ ...options, keyProvider }, deps, stack);
  return replica;
}
