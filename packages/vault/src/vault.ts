// SPDX-License-Identifier: Apache-2.0
/**
 * The vault of a store: seals with a data key per document, generation and epoch, and keeps those
 * keys in the store, wrapped by the store key. A provider's key wraps the store key.
 */
import { randomBytes } from "node:crypto";
import type {
  Clock,
  RandomSource,
  Store,
  StoreChange,
  StoreRange,
  Vault,
  VaultScope,
} from "@ctxmesh/model";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import { DATA_KEY_TAG, DataKeyTable } from "./data-key-table.ts";
import { DataKeys } from "./data-keys.ts";
import type { DataKeySummary } from "./data-keys.ts";
import type { KeyProvider } from "./provider.ts";
import type { StoreKeys } from "./store-key.ts";
import {
  STORE_KEY_KEY,
  makeStoreKeys,
  readStoreKeys,
  rewrapStoreKeys,
  storeKeyChange,
} from "./store-key.ts";

/** What {@link openVault} works with. */
export interface VaultOptions {
  /** The store that the sealed bytes are in; the vault reads it once, and writes it only to make, rotate and destroy keys. */
  readonly store: Store;
  readonly provider: KeyProvider;
  readonly clock: Clock;
  /** For keys and nonces; the operating system's when absent. */
  readonly random?: RandomSource;
  /**
   * Only when the store has no key yet: it was written without encryption, and what is in it may
   * be opened from now on. The store remembers, in a record that only the holder of the key can write.
   */
  readonly acceptPlain?: boolean;
}

/** A {@link Vault} whose keys are in its store. */
export interface StoreVault extends Vault {
  /** Wraps the store key with another provider's key, in one write; nothing else changes. Throws what the provider throws, `STORE_FAILED`. */
  rotate(provider: KeyProvider): Promise<void>;
  /**
   * Makes a new store key and wraps every data key with it, in writes of `LIMITS.rewrapsPerWrite`
   * records, while seals and opens go on; payloads stay as they are. After a crash the next opening
   * of the vault goes on with it. Throws what the provider throws, `STORE_FAILED`.
   */
  rotateStoreKey(): Promise<RotationReport>;
  /**
   * Ends the epoch of every data key that seals: what is sealed from now on gets new ones. Keys and payloads that
   * are there stay as they are. In writes of `LIMITS.rewrapsPerWrite` records; resolves with the number of epochs
   * that ended. Throws `STORE_FAILED`.
   */
  rotateDataKeys(): Promise<number>;
  /** Removes every data key of a document and generation, in one write: what they sealed can't be opened again, here. Throws `STORE_FAILED`. */
  destroy(scope: VaultScope): Promise<void>;
  /** How it stands. */
  stats(): VaultStats;
}

/** What a rotation of the store key did. */
export interface RotationReport {
  /** Data keys that were wrapped anew. */
  readonly rewrapped: number;
  /** Data keys whose records are damaged; they were left as they are, and what they sealed can't be opened. */
  readonly unreadable: number;
}

/** Figures of a vault. */
export interface VaultStats extends DataKeySummary {
  /** The provider that wraps the store key. */
  readonly provider: string;
  /** Number of the store key: 1, and one more for each rotation of it. */
  readonly storeKey: number;
  /** When the store key was made, Unix milliseconds. */
  readonly storeKeyMadeMs: number;
  /** A rotation of the store key was begun and is not finished. */
  readonly rotating: boolean;
  /** Whether bytes that are not encrypted are opened. */
  readonly acceptsPlain: boolean;
}

const DATA_KEYS: StoreRange = {
  gte: Uint8Array.of(DATA_KEY_TAG),
  lt: Uint8Array.of(DATA_KEY_TAG + 1),
};
const EVERYTHING: StoreRange = { gte: Uint8Array.of(1), lt: new Uint8Array(64).fill(0xff) };

/**
 * Opens the vault of a store, and makes its store key first when the store is empty. Goes on with a
 * rotation that was interrupted. Whoever uses the vault takes its changes and calls `store.write`
 * with them in the same turn of the event loop, after all the seals of that write.
 *
 * Throws `KEY_INVALID` when the provider has another key than the store was written with, or the
 * store has records but no key (someone removed it, or it was written without encryption: see
 * `acceptPlain`); `STORE_CORRUPT` when a key record is not as it was written; what the provider
 * and the store throw.
 */
export async function openVault(options: VaultOptions): Promise<StoreVault> {
  const random = options.random ?? { bytes: (length) => randomBytes(length) };
  const record = await options.store.get(STORE_KEY_KEY);
  const keys =
    record === undefined
      ? await makeFirstKeys(options, random)
      : await readStoreKeys(options.provider, record);
  const table = new DataKeyTable();
  for await (const [key, value] of options.store.scan(DATA_KEYS)) table.load(key, value);
  const dataKeys = new DataKeys(table, keys, options.clock, random);
  const vault = new StoreVaultImpl(options, random, dataKeys);
  await vault.finishRotation().catch(ignoreStoreFailure);
  return vault;
}

async function makeFirstKeys(
  { store, provider, clock, acceptPlain = false }: VaultOptions,
  random: RandomSource,
): Promise<StoreKeys> {
  const hasRecords = !(await isEmpty(store));
  if (hasRecords && !acceptPlain) {
    throw new MeshError(
      "KEY_INVALID",
      "the store has records but no key: it was written without encryption, or its key was removed",
      {
        remedy:
          "if it was written without encryption, start once with --accept-plain: what is written from then on is encrypted; else restore a backup, or move it aside and start with an empty one",
      },
    );
  }
  const first = {
    number: 1,
    madeMs: clock.now(),
    acceptsPlain: hasRecords,
    previous: undefined,
  };
  const keys = await makeStoreKeys(provider, random, first);
  await store.write([storeKeyChange(keys)]);
  return keys;
}

async function isEmpty(store: Store): Promise<boolean> {
  for await (const _ of store.scan({ ...EVERYTHING, limit: 1 })) return false;
  return true;
}

/** Reads work with both store keys, so a disk that is full must not stop the program from opening. */
function ignoreStoreFailure(error: unknown): void {
  if (toMeshError(error).code !== "STORE_FAILED") throw error;
}

class StoreVaultImpl implements StoreVault {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  readonly #dataKeys: DataKeys;
  #provider: KeyProvider;
  /** Rotations and destructions, one at a time. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: VaultOptions, random: RandomSource, dataKeys: DataKeys) {
    this.#store = options.store;
    this.#provider = options.provider;
    this.#clock = options.clock;
    this.#random = random;
    this.#dataKeys = dataKeys;
  }

  seal(scope: VaultScope, place: Uint8Array, plain: Uint8Array): Uint8Array {
    return this.#dataKeys.seal(scope, place, plain);
  }

  open(scope: VaultScope, place: Uint8Array, sealed: Uint8Array): Uint8Array {
    return this.#dataKeys.open(scope, place, sealed);
  }

  takeChanges(): readonly StoreChange[] {
    return this.#dataKeys.takeChanges();
  }

  rotate(provider: KeyProvider): Promise<void> {
    return this.#alone(async () => {
      const keys = await rewrapStoreKeys(this.#dataKeys.storeKeys, provider);
      await this.#store.write([storeKeyChange(keys)]);
      this.#dataKeys.storeKeys = keys;
      this.#provider = provider;
    });
  }

  rotateStoreKey(): Promise<RotationReport> {
    return this.#alone(async () => {
      await this.finishRotation();
      const { number, acceptsPlain, current } = this.#dataKeys.storeKeys;
      const madeMs = this.#clock.now();
      const rest = { number: number + 1, madeMs, acceptsPlain, previous: current };
      const keys = await makeStoreKeys(this.#provider, this.#random, rest);
      // From here on the new store key wraps new data keys; their writes come after this one.
      this.#dataKeys.storeKeys = keys;
      await this.#store.write([storeKeyChange(keys)]);
      return await this.finishRotation();
    });
  }

  /** Wraps anew what the previous store key wraps, then drops that one. Throws `STORE_FAILED`. */
  async finishRotation(): Promise<RotationReport> {
    const report = { rewrapped: 0, unreadable: 0 };
    if (this.#dataKeys.storeKeys.previous === undefined) return report;
    let changes: StoreChange[] = [];
    for (const change of this.#dataKeys.rewrapAll()) {
      if (change === undefined) report.unreadable += 1;
      else changes.push(change);
      if (changes.length < LIMITS.rewrapsPerWrite) continue;
      await this.#store.write(changes);
      report.rewrapped += changes.length;
      changes = [];
    }
    const keys = { ...this.#dataKeys.storeKeys, previous: undefined };
    await this.#store.write([...changes, storeKeyChange(keys)]);
    report.rewrapped += changes.length;
    this.#dataKeys.storeKeys = keys;
    return report;
  }

  rotateDataKeys(): Promise<number> {
    return this.#alone(async () => {
      let ended = 0;
      let changes: StoreChange[] = [];
      const flush = async (): Promise<void> => {
        ended += changes.length;
        await this.#store.write(changes);
        changes = [];
      };
      for (const change of this.#dataKeys.endEpochs()) {
        changes.push(change);
        if (changes.length >= LIMITS.rewrapsPerWrite) await flush();
      }
      await flush();
      return ended;
    });
  }

  destroy(scope: VaultScope): Promise<void> {
    return this.#alone(() => this.#store.write(this.#dataKeys.destroy(scope)));
  }

  stats(): VaultStats {
    const { number, madeMs, previous, acceptsPlain } = this.#dataKeys.storeKeys;
    return {
      provider: this.#provider.id,
      storeKey: number,
      storeKeyMadeMs: madeMs,
      rotating: previous !== undefined,
      acceptsPlain,
      ...this.#dataKeys.summary(),
    };
  }

  #alone<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => undefined);
    return done;
  }
}
