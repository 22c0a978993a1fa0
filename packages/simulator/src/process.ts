// SPDX-License-Identifier: Apache-2.0
/**
 * A node's process: the real replica, sync node and service, and for a hub the sealer, opened over virtual ports in the
 * order in which the programs open them.
 */
import { Sealer } from "@ctxmesh/hub";
import type { SealKeys } from "@ctxmesh/hub";
import type { Space } from "@ctxmesh/membership";
import { toMeshError } from "@ctxmesh/model";
import type {
  Clock,
  DeviceSigner,
  LevelService,
  Logger,
  RandomSource,
  SealingService,
  SignatureVerifier,
  Store,
  Subscription,
} from "@ctxmesh/model";
import { Replica, salvageBatches, salvageRecords } from "@ctxmesh/replica";
import {
  Freshness,
  LiveMembership,
  NodeLevels,
  NodeService,
  SEALS_UNCERTAIN,
  createLogOfRecord,
} from "@ctxmesh/service";
import { Decider, SyncNode } from "@ctxmesh/sync";
import type { Broadcast, LogOfRecord } from "@ctxmesh/sync";
import type { DiskImage } from "./disk-image.ts";
import type { VirtualDisk } from "./virtual-disk.ts";
import type { Collaborators } from "./world.ts";

/** What a process is started with. */
export interface ProcessOptions {
  readonly id: string;
  readonly kind: "agent" | "hub";
  readonly space: Space;
  readonly signer: DeviceSigner;
  readonly verifier: SignatureVerifier;
  readonly clock: Clock;
  /** Milliseconds since some moment; never goes back. */
  readonly elapsed: () => number;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly subscription?: Subscription;
  /** Bytes per second that go to each remote. */
  readonly linkBudget?: number | undefined;
  readonly disk: VirtualDisk;
  /** A disk of its own, to make a new store on. */
  readonly scratch: () => VirtualDisk;
  /** Images of stores that were damaged, oldest first; a new one is added. */
  readonly asides: DiskImage[];
  readonly broadcast?: Broadcast;
  readonly sealKeys: () => SealKeys;
  readonly wrap: Collaborators;
}

/** A started process. */
export interface Process {
  readonly replica: Replica;
  readonly sync: SyncNode;
  readonly membership: LiveMembership;
  readonly service: NodeService;
  readonly levels: LevelService;
  readonly sealing?: SealingService;
  /** Its store was damaged and made anew. */
  readonly healed: boolean;
}

interface Opened {
  readonly store: Store;
  readonly replica: Replica;
}

const EVERYTHING = { gte: Uint8Array.of(1), lt: new Uint8Array(64).fill(0xff) };

type Entries = AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>;

/** The records of an image that can still be read. */
async function* readable(image: DiskImage): Entries {
  for (const { key, value, damaged } of image.range(EVERYTHING)) {
    if (!damaged) yield await Promise.resolve([key, value] as const);
  }
}

async function attempt(options: ProcessOptions): Promise<Opened> {
  const { id, wrap, disk } = options;
  const own = disk.open();
  const store = wrap.store?.(id, own) ?? own;
  const { signer, verifier, clock, random, logger, space, subscription } = options;
  const parts = { store, space, signer, verifier, clock, random, logger };
  const kept = subscription === undefined ? {} : { subscription };
  const opened = await Replica.open({ ...parts, ...kept });
  return { store, replica: wrap.replica?.(id, opened) ?? opened };
}

/** Makes a new store of the readable records of the damaged one; see `openReplica` of `@ctxmesh/service`, which does it with files. */
async function heal({ disk, scratch, asides }: ProcessOptions): Promise<void> {
  const made = scratch();
  const store = made.open();
  await salvageRecords(readable(disk.image), store);
  await store.write([SEALS_UNCERTAIN]);
  await store.close();
  asides.push(disk.image);
  disk.replace(made.image);
}

async function openHealing(options: ProcessOptions): Promise<Opened & { healed: boolean }> {
  const { asides, logger } = options;
  let healed = false;
  let opened: Opened;
  try {
    opened = await attempt(options);
  } catch (error) {
    if (toMeshError(error).code !== "STORE_CORRUPT") throw error;
    await heal(options);
    healed = true;
    opened = await attempt(options);
  }
  const { replica } = opened;
  for (const aside of asides.toReversed()) {
    if (replica.degraded().length === 0) break;
    const receive = async (batch: Uint8Array): ReturnType<Replica["receive"]> =>
      replica.receive(batch);
    await salvageBatches(readable(aside), undefined, receive, logger);
  }
  return { ...opened, healed };
}

/** Starts a process. Rejects as opening a replica does; never settles when its machine stops meanwhile. */
export async function startProcess(given: ProcessOptions): Promise<Process> {
  const { id, kind, wrap } = given;
  const options: ProcessOptions = {
    ...given,
    space: wrap.space?.(id, given.space) ?? given.space,
    signer: wrap.signer?.(id, given.signer) ?? given.signer,
    verifier: wrap.verifier?.(id, given.verifier) ?? given.verifier,
    clock: wrap.clock?.(id, given.clock) ?? given.clock,
    random: wrap.random?.(id, given.random) ?? given.random,
  };
  const { clock, logger, broadcast, space } = options;
  const { store, replica, healed } = await openHealing(options);
  const sealer = kind === "hub" ? await openSealer(options, store, replica) : undefined;
  const membership = new LiveMembership(space, clock);
  const log = kind === "hub" ? createLogOfRecord({ replica, store, clock }) : undefined;
  const sync = new SyncNode({
    answers: new Decider({ replica, clock, ...(log && { log }) }).answer,
    replica: wrap.syncReplica?.(id, replica) ?? replica,
    clock,
    logger,
    random: options.random,
    relay: kind === "hub" ? "push" : "tell",
    admits: (device) => membership.welcomes(device),
    budgetOf: () => options.linkBudget,
    ...(broadcast === undefined ? {} : { broadcast }),
  });
  membership.follow(replica, sync);
  sealer?.onSealed((frontier) => {
    sync.sealed(frontier);
  });
  const service = new NodeService({
    service: kind,
    version: "simulated",
    replica,
    clock,
    peers: () => sync.peers(),
    addresses: () => [id],
    confirmations: sync.confirmations,
  });
  const levels = levelsOf(options, replica, sync, log);
  const parts = { replica, sync, membership, service, levels, healed };
  if (sealer === undefined) return parts;
  return { ...parts, sealing: wrap.sealing?.(id, sealer) ?? sealer };
}

function levelsOf(
  { clock, elapsed, random }: ProcessOptions,
  replica: Replica,
  { asker }: SyncNode,
  log: LogOfRecord | undefined,
): LevelService {
  const common = { replica, clock, random };
  if (log !== undefined) return new NodeLevels({ ...common, log });
  const freshness = new Freshness({ replica, clock, elapsed, asker });
  return new NodeLevels({ ...common, remotes: { asker, freshness } });
}

async function openSealer(
  { id, clock, random, logger, sealKeys, wrap }: ProcessOptions,
  store: Store,
  replica: Replica,
): Promise<Sealer> {
  const keys = wrap.sealKeys?.(id, sealKeys()) ?? sealKeys();
  return Sealer.open({ ...keys, store, replica, clock, random, logger });
}
