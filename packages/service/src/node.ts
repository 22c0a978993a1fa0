// SPDX-License-Identifier: Apache-2.0
/** The parts that an agent and a hub share, in the order in which both start them. */
import { createControlServer } from "@ctxmesh/api";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import type {
  Clock,
  DeviceSigner,
  Logger,
  RandomSource,
  SealingService,
  SignatureVerifier,
  Store,
} from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import type { Space } from "@ctxmesh/replica";
import { openLevelStore } from "@ctxmesh/store-level";
import { SyncNode } from "@ctxmesh/sync";
import type { Broadcast } from "@ctxmesh/sync";
import { NodeService } from "./node-service.ts";
import type { NodeServiceOptions } from "./node-service.ts";

/** How often peers hear what is new, in milliseconds. */
const TICK_MS = 50;
/** How often batches held for a clock or a grant are looked at again, in milliseconds. */
const RETRY_MS = 1_000;
/** How long a stop waits for peers to take what is still to be sent, in milliseconds; one that hangs must not hold it up. */
const FLUSH_MS = 2_000;

/** The settings that every node has. */
export interface NodeOptions {
  readonly version: string;
  readonly space: Space;
  /** Ed25519 seed of the device key, 32 bytes. */
  readonly deviceSeed: Uint8Array;
  /** Folder of the store; created when missing. */
  readonly storePath: string;
  /** Unix socket of the local API. */
  readonly socketPath: string;
}

/** What a node takes from outside. */
export interface NodeDeps {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}

/** A store, its replica, and the keys at work. */
export interface OpenReplica {
  readonly device: DeviceSigner;
  readonly verifier: SignatureVerifier;
  readonly store: Store;
  readonly replica: Replica;
}

/** Opens the store and the replica in it. Throws `STORE_LOCKED`, `STORE_CORRUPT`, `STORE_FORMAT`, `STORE_FAILED`, `FILE_UNAVAILABLE`. */
export async function openReplica(
  options: NodeOptions,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
): Promise<OpenReplica> {
  const device = createDeviceSigner(options.deviceSeed);
  const verifier = createDeviceVerifier();
  const store = await openLevelStore({ path: options.storePath, logger: deps.logger });
  stack.defer(async () => store.close());
  const { space } = options;
  const replica = await Replica.open({ ...deps, store, space, signer: device, verifier });
  stack.defer(async () => replica.close());
  return { device, verifier, store, replica };
}

/** Starts the sync node of a replica and the timers that drive both. Stopping it flushes to the peers for `FLUSH_MS` at most, so transports must be stopped after it. */
export function startSync(
  replica: Replica,
  deps: NodeDeps,
  options: { readonly relay: "push" | "tell"; readonly broadcast?: Broadcast },
): { readonly sync: SyncNode; readonly stop: () => Promise<void> } {
  const sync = new SyncNode({ ...deps, replica, ...options });
  const ticks = setInterval(() => {
    sync.tick();
  }, TICK_MS);
  const retries = setInterval(() => {
    replica.retryTimed();
  }, RETRY_MS);
  return {
    sync,
    stop: async () => {
      clearInterval(ticks);
      clearInterval(retries);
      const { promise: overdue, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, FLUSH_MS);
      await Promise.race([sync.stop(), overdue]);
      clearTimeout(timer);
    },
  };
}

/** Opens the local API over a node's service. Throws `ADDRESS_UNAVAILABLE`. */
export async function serve(
  options: NodeOptions,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
  node: Omit<NodeServiceOptions, "version" | "clock">,
  sealing?: SealingService,
): Promise<NodeService> {
  const { version, socketPath } = options;
  const service = new NodeService({ ...node, version, clock: deps.clock });
  stack.defer(() => {
    service.close();
  });
  const control = createControlServer({
    service,
    version,
    logger: deps.logger,
    ...(sealing === undefined ? {} : { sealing }),
  });
  stack.defer(async () => control.close());
  await control.listenUnix(socketPath);
  return service;
}
