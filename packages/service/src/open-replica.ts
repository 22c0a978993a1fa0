// SPDX-License-Identifier: Apache-2.0
/**
 * Opening what a node keeps. A store that is damaged is never repaired in place and never used: its readable
 * records go into a new one, the old folder is moved aside, and the node is degraded until the mesh has brought
 * every chain as far as the old store had it.
 *
 * ```
 * store                      damaged; read only                     -> renamed to store.damaged-<n>
 * store.healing-unfinished   made anew, all records but the batches -> when complete, renamed to store.healing
 * store.healing              complete                               -> renamed to store
 * ```
 *
 * The new store knows which heads are expected before it takes the name, so that a crash at any moment leaves
 * either the damaged store, or one that knows what it lacks. Only `store.healing` is ever taken over.
 */
import { existsSync } from "node:fs";
import { open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setImmediate, setTimeout } from "node:timers/promises";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import type { Space } from "@ctxmesh/membership";
import { MeshError, toMeshError } from "@ctxmesh/model";
import type {
  DeviceSigner,
  SignatureVerifier,
  StoreRange,
  Subscription,
  Vault,
} from "@ctxmesh/model";
import { Replica, salvageBase, salvageBatches, salvageRecords } from "@ctxmesh/replica";
import type { DegradedChain, Journal } from "@ctxmesh/replica";
import { openDamaged, openLevelStore } from "@ctxmesh/store-level";
import type { DamagedStore, LevelStore } from "@ctxmesh/store-level";
import { createPlainVault, openVault } from "@ctxmesh/vault";
import type { KeyProvider, StoreVault } from "@ctxmesh/vault";
import type { NodeDeps } from "./start-sync.ts";
import { countRecovered } from "./recovered.ts";
import { SEALS_UNCERTAIN } from "./seals-uncertain.ts";

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
  /** Has first whatever becomes durable here. */
  readonly journal?: Journal;
  /** What of others' batches is kept; everything without it. */
  readonly subscription?: Subscription;
  /** What keeps the facts of large documents; `js` by default, and where there is no WebAssembly. */
  readonly factEngine?: "js" | "wasm";
  /** Gives up what a damaged store had and no peer has. */
  readonly acceptLoss?: boolean;
  /** Encrypts from now on a store that was written without encryption; what is in it stays as it is. */
  readonly acceptPlain?: boolean;
}

/** A store, its replica, and the keys at work. */
export interface OpenReplica extends OpenStore {
  /** Batches of this device's earlier lives that peers brought, since the opening. */
  readonly recovered: () => number;
}

interface OpenStore {
  readonly device: DeviceSigner;
  readonly verifier: SignatureVerifier;
  readonly store: LevelStore;
  readonly vault: Vault;
  /** The same vault, for the care of its keys; undefined without encryption. */
  readonly keys: StoreVault | undefined;
  readonly replica: Replica;
}

const EVERYTHING: StoreRange = { gte: Uint8Array.of(1), lt: new Uint8Array(64).fill(0xff) };
/** The store key's record, see `@ctxmesh/vault`. */
const STORE_KEYS: StoreRange = { gte: Uint8Array.of(0x31), lt: Uint8Array.of(0x32) };
const DATA_KEY_TAG = 0x30;

const healingPath = (path: string): string => `${path}.healing`;
const unfinishedPath = (path: string): string => `${path}.healing-unfinished`;

async function attempt(
  options: StoreOptions,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
): Promise<OpenStore> {
  await using opening = new AsyncDisposableStack();
  const { storePath: path, keyProvider: provider, space, acceptPlain = false } = options;
  const device = createDeviceSigner(options.deviceSeed);
  const verifier = createDeviceVerifier();
  const store = await openLevelStore({ path, logger: deps.logger });
  opening.defer(async () => store.close());
  const keys =
    provider === undefined ? undefined : await openVault({ ...deps, store, provider, acceptPlain });
  const vault = keys ?? createPlainVault();
  const { journal, subscription, factEngine = "js" } = options;
  const shared = {
    factEngine,
    ...(journal === undefined ? {} : { journal }),
    ...(subscription === undefined ? {} : { subscription }),
  };
  const parts = { store, vault, space, signer: device, verifier, ...shared };
  const turns = {
    rest: async () => setImmediate(),
    wait: async (ms: number) => setTimeout(ms),
  };
  const replica = await Replica.open({ ...deps, ...parts, ...turns });
  opening.defer(async () => replica.close());
  stack.use(opening.move());
  return { device, verifier, store, vault, keys, replica };
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
  let opened: OpenStore;
  try {
    opened = await attempt(options, deps, stack);
  } catch (error) {
    if (toMeshError(error).code !== "STORE_CORRUPT") throw error;
    logger.error("store.damaged", { path, error: toMeshError(error).message });
    await heal(options, deps);
    opened = await attempt(options, deps, stack);
  }
  // The store is open, so nobody is healing it; what another healing left must not be taken over later.
  for (const left of [healingPath(path), unfinishedPath(path)]) {
    await rm(left, { recursive: true, force: true });
  }
  const { replica, vault } = opened;
  await salvage(path, vault, replica, deps);
  if (options.acceptLoss === true) await replica.acceptLoss();
  const missing = behind(replica);
  if (missing.length > 0) {
    logger.warn("store.degraded", {
      chains: missing.length,
      batches: missing.reduce((sum, { seq, expected }) => sum + expected - seq, 0),
      remedy: "connect to peers or a hub that have them; if none has, start with --accept-loss",
    });
  }
  return { ...opened, recovered: countRecovered(replica, logger) };
}

/** The chains that are behind what a damaged store had of them. */
const behind = (replica: Replica): readonly (DegradedChain & { readonly kind: "behind" })[] =>
  replica.degraded().filter((chain) => chain.kind === "behind");

/** Makes a new store of the readable records of the damaged one, and lets it take its place. */
async function heal(options: StoreOptions, deps: NodeDeps): Promise<void> {
  const { storePath: path } = options;
  const [unfinished, healing] = [unfinishedPath(path), healingPath(path)];
  await rm(unfinished, { recursive: true, force: true });
  await rm(healing, { recursive: true, force: true });
  await salvageInto(unfinished, options, deps);
  // The name is what says that it is complete.
  await renameDurably(unfinished, healing);
  const aside = await freeName(path);
  await renameDurably(path, aside);
  await renameDurably(healing, path);
  deps.logger.warn("store.moved-aside", { path, aside });
}

/** Fills a new store with the readable records of the damaged one. */
async function salvageInto(
  target: string,
  { storePath: path, keyProvider: provider, acceptPlain = false }: StoreOptions,
  deps: NodeDeps,
): Promise<void> {
  const damaged = await openDamaged(path);
  try {
    const store = await openLevelStore({ path: target, logger: deps.logger });
    try {
      const hasKey = await hasStoreKey(damaged);
      // Without its wrapping the data keys are of no use, and the vault makes new ones in an empty store.
      if (!hasKey && provider !== undefined && !acceptPlain) {
        await openVault({ ...deps, store, provider });
      }
      const entries = damaged.scan(EVERYTHING);
      const records = await salvageRecords(hasKey ? entries : withoutKeys(entries), store);
      // Of a hub: the newest of its seals may be among what is lost.
      await store.write([SEALS_UNCERTAIN]);
      const hasBase = await salvageBase(damaged, store, async () =>
        provider === undefined
          ? createPlainVault()
          : openVault({ ...deps, store, provider, acceptPlain }),
      );
      const { unreadable } = damaged;
      deps.logger.warn("store.salvaged", { path, records, unreadable, hasBase });
    } finally {
      await store.close();
    }
  } finally {
    await damaged.close();
  }
}

async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  const folder = await open(dirname(to), "r");
  await folder.sync().finally(async () => folder.close());
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
    if (behind(replica).length === 0) return;
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
