// SPDX-License-Identifier: Apache-2.0
/**
 * Opening what a node keeps. A store that is damaged is never repaired in place and never used: its readable
 * records go into a new one, the old folder is moved aside, and the node is degraded until the mesh has brought
 * every chain as far as the old store had it.
 *
 * ```
 * store            damaged; read only                     -> renamed to store.damaged-<n>
 * store.healing    made anew, all records but the batches -> renamed to store
 * ```
 *
 * The new store knows which heads are expected before it takes the name, so that a crash at any moment leaves
 * either the damaged store, or one that knows what it lacks.
 */
import { existsSync } from "node:fs";
import { readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import type { Space } from "@ctxmesh/membership";
import { MeshError, toMeshError } from "@ctxmesh/model";
import type { DeviceSigner, SignatureVerifier, Store, StoreRange, Vault } from "@ctxmesh/model";
import { Replica, salvageBatches, salvageRecords } from "@ctxmesh/replica";
import { openDamaged, openLevelStore } from "@ctxmesh/store-level";
import type { DamagedStore } from "@ctxmesh/store-level";
import { createPlainVault, openVault } from "@ctxmesh/vault";
import type { KeyProvider } from "@ctxmesh/vault";
import type { NodeDeps } from "./node.ts";

/** What is opened. */
export interface StoreOptions {
  /** As in the space file: where the node starts from. The acts in its store, and those that it hears of, are added. */
  readonly space: Space;
  /** Ed25519 seed of the device key, 32 bytes. */
  readonly deviceSeed: Uint8Array;
  /** Folder of the store; created when missing. */
  readonly storePath: string;
  /** Who protects the store's key; without one nothing in the store is encrypted. */
  readonly keyProvider?: KeyProvider;
  /** Gives up what a damaged store had and no peer has. */
  readonly acceptLoss?: boolean;
}

/** A store, its replica, and the keys at work. */
export interface OpenReplica {
  readonly device: DeviceSigner;
  readonly verifier: SignatureVerifier;
  readonly store: Store;
  readonly vault: Vault;
  readonly replica: Replica;
}

const EVERYTHING: StoreRange = { gte: Uint8Array.of(1), lt: new Uint8Array(64).fill(0xff) };
/** The store key's record, see `@ctxmesh/vault`. */
const STORE_KEYS: StoreRange = { gte: Uint8Array.of(0x31), lt: Uint8Array.of(0x32) };
const DATA_KEY_TAG = 0x30;

const healingPath = (path: string): string => `${path}.healing`;

async function attempt(
  options: StoreOptions,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
): Promise<OpenReplica> {
  await using opening = new AsyncDisposableStack();
  const { storePath: path, keyProvider: provider, space } = options;
  const device = createDeviceSigner(options.deviceSeed);
  const verifier = createDeviceVerifier();
  const store = await openLevelStore({ path, logger: deps.logger });
  opening.defer(async () => store.close());
  const vault =
    provider === undefined ? createPlainVault() : await openVault({ ...deps, store, provider });
  const replica = await Replica.open({ ...deps, store, vault, space, signer: device, verifier });
  opening.defer(async () => replica.close());
  stack.use(opening.move());
  return { device, verifier, store, vault, replica };
}

/**
 * Opens the store and the replica in it. A damaged store is replaced by what can be saved of it. Throws
 * `STORE_LOCKED`, `STORE_FORMAT`, `STORE_FAILED`, `FILE_UNAVAILABLE`, `KEY_INVALID` when the key is not the store's.
 */
export async function openReplica(
  options: StoreOptions,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
): Promise<OpenReplica> {
  const { storePath: path } = options;
  const { logger } = deps;
  // A crash between the two renames of an earlier healing.
  if (!existsSync(path) && existsSync(healingPath(path))) await rename(healingPath(path), path);
  let opened: OpenReplica;
  try {
    opened = await attempt(options, deps, stack);
  } catch (error) {
    if (toMeshError(error).code !== "STORE_CORRUPT") throw error;
    logger.error("store.damaged", { path, error: toMeshError(error).message });
    await heal(options, deps);
    opened = await attempt(options, deps, stack);
  }
  const { replica, vault } = opened;
  await salvage(path, vault, replica, deps);
  if (options.acceptLoss === true) await replica.acceptLoss();
  const missing = replica.degraded();
  if (missing.length > 0) {
    logger.warn("store.degraded", {
      chains: missing.length,
      batches: missing.reduce((sum, { seq, expected }) => sum + expected - seq, 0),
      remedy: "connect to peers or a hub that have them; if none has, start with --accept-loss",
    });
  }
  return opened;
}

/** Makes a new store of the readable records of the damaged one, and lets it take its place. */
async function heal({ storePath: path, keyProvider }: StoreOptions, deps: NodeDeps): Promise<void> {
  const healing = healingPath(path);
  await rm(healing, { recursive: true, force: true });
  const damaged = await openDamaged(path);
  try {
    const store = await openLevelStore({ path: healing, logger: deps.logger });
    try {
      const hasKey = await hasStoreKey(damaged);
      // Without its wrapping the data keys are of no use, and the vault makes new ones in an empty store.
      if (!hasKey && keyProvider !== undefined) {
        await openVault({ ...deps, store, provider: keyProvider });
      }
      const entries = damaged.scan(EVERYTHING);
      const records = await salvageRecords(hasKey ? entries : withoutKeys(entries), store);
      deps.logger.warn("store.salvaged", { path, records, unreadable: damaged.unreadable });
    } finally {
      await store.close();
    }
  } finally {
    await damaged.close();
  }
  const aside = await freeName(path);
  await rename(path, aside);
  await rename(healing, path);
  deps.logger.warn("store.moved-aside", { path, aside });
}

async function hasStoreKey(damaged: DamagedStore): Promise<boolean> {
  for await (const _ of damaged.scan(STORE_KEYS)) return true;
  return false;
}

type Entries = AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>;

async function* withoutKeys(entries: Entries): Entries {
  for await (const entry of entries) if (entry[0][0] !== DATA_KEY_TAG) yield entry;
}

/** Offers the batches of the stores that were moved aside, the newest first; those that are here already are passed over. */
async function salvage(
  path: string,
  vault: Vault,
  replica: Replica,
  { logger }: NodeDeps,
): Promise<void> {
  for (const name of (await movedAside(path)).toReversed()) {
    if (replica.degraded().length === 0) return;
    const damaged = await openDamaged(join(dirname(path), name));
    try {
      const report = await salvageBatches(
        damaged.scan(EVERYTHING),
        vault,
        async (batch) => replica.receive(batch),
        logger,
      );
      logger.warn("store.salvaged-batches", { ...report, from: name });
    } finally {
      await damaged.close();
    }
  }
}

const numberOf = (name: string): number => Number(name.slice(name.lastIndexOf("-") + 1));

/** The names of stores that were moved aside, oldest first. */
async function movedAside(path: string): Promise<readonly string[]> {
  const prefix = `${basename(path)}.damaged-`;
  const names = await readdir(dirname(path));
  return names
    .filter((name) => name.startsWith(prefix) && /^[1-9][0-9]*$/u.test(name.slice(prefix.length)))
    .toSorted((a, b) => numberOf(a) - numberOf(b));
}

async function freeName(path: string): Promise<string> {
  const last = (await movedAside(path)).at(-1);
  const next = last === undefined ? 1 : numberOf(last) + 1;
  if (!Number.isSafeInteger(next)) {
    throw new MeshError("FILE_UNAVAILABLE", `${path} has been moved aside too often`, {
      remedy: "remove its .damaged folders",
    });
  }
  return `${path}.damaged-${String(next)}`;
}
