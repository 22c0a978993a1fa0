// SPDX-License-Identifier: Apache-2.0
/** The data keys of a store at work: one seals for each document and generation until its epoch is over, all of them open. */
import type { KeyObject } from "node:crypto";
import type { Clock, RandomSource, StoreChange, VaultScope } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { DataKey } from "./data-key.ts";
import {
  PLAIN,
  createDataKey,
  docHashOf,
  idText,
  keyIdOf,
  openBytes,
  sealBytes,
  sealedKeyId,
} from "./data-key.ts";
import type { CurrentKey, DataKeyTable } from "./data-key-table.ts";
import { KEY_BYTES, unwrapKey, wrapKey } from "./key-wrap.ts";
import { Nonces } from "./nonces.ts";
import { plainBytes } from "./plain.ts";
import { Recent } from "./recent.ts";
import type { StoreKeys } from "./store-key.ts";

const MAX_GEN = 0xffff_ffff;
const NO_CHANGES: readonly StoreChange[] = [];

/** How the data keys of a store stand. Times are Unix milliseconds, absent without a data key. */
export interface DataKeySummary {
  readonly dataKeys: number;
  /** Documents, and generations of them, that have data keys. */
  readonly documents: number;
  /** The most epochs that one of them has had. */
  readonly epochs: number;
  /** Of those that seal now: when the oldest and the newest were made. */
  readonly oldestMs?: number;
  readonly newestMs?: number;
}

/** A data key that seals, with what may still be sealed with it. */
interface Sealer {
  readonly dataKey: DataKey;
  readonly current: CurrentKey;
  readonly madeMs: number;
}

/** Seals and opens with the keys of a table. */
export class DataKeys {
  readonly #table: DataKeyTable;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  readonly #nonces: Nonces;
  /** What wraps the data keys. Whoever replaces it has the new one written before any later change of a data key. */
  storeKeys: StoreKeys;
  /** By document and generation. */
  readonly #sealers = new Recent<Sealer>(LIMITS.openDataKeys);
  /** By key id. */
  readonly #openers = new Recent<DataKey>(LIMITS.openDataKeys);
  /** Rows that were made or changed since they were last taken. */
  readonly #changed = new Set<number>();

  constructor(table: DataKeyTable, storeKeys: StoreKeys, clock: Clock, random: RandomSource) {
    this.#table = table;
    this.storeKeys = storeKeys;
    this.#clock = clock;
    this.#random = random;
    this.#nonces = new Nonces(random);
  }

  get size(): number {
    return this.#table.size;
  }

  /** See `Vault.seal`. Throws `LIMIT_EXCEEDED` for too many bytes or data keys, `STORE_CORRUPT` when the record of the key is damaged. */
  seal(scope: VaultScope, place: Uint8Array, plain: Uint8Array): Uint8Array {
    if (plain.length > LIMITS.dataKeyBytes) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `${String(plain.length)} bytes to seal; at most ${String(LIMITS.dataKeyBytes)} (LIMITS.dataKeyBytes)`,
      );
    }
    const text = scopeText(scope);
    let sealer = this.#sealers.get(text) ?? this.#findSealer(scope, text);
    if (sealer === undefined || this.#isOld(sealer) || !this.#use(sealer, plain.length)) {
      sealer = this.#makeSealer(scope, text);
      this.#use(sealer, plain.length);
    }
    return sealBytes(sealer.dataKey, this.#nonces, place, plain);
  }

  /** A clock that was set back as far ends the epoch as well, or it would last until the clock is there again. */
  #isOld({ madeMs }: Sealer): boolean {
    return Math.abs(this.#clock.now() - madeMs) >= LIMITS.dataKeyMs;
  }

  /** False when the key has sealed as much as it may. */
  #use({ current }: Sealer, bytes: number): boolean {
    const use = this.#table.use(current, bytes);
    if (use === "changed") this.#changed.add(current.row);
    return use !== "spent";
  }

  #findSealer({ doc, gen }: VaultScope, text: string): Sealer | undefined {
    const current = this.#table.currentOf(docHashOf(doc), gen);
    if (current === undefined) return undefined;
    const dataKey = this.#unwrap(current.row);
    const sealer = { dataKey, current, madeMs: this.#table.madeMs(current.row) };
    this.#sealers.set(text, sealer);
    return sealer;
  }

  #makeSealer({ doc, gen }: VaultScope, text: string): Sealer {
    if (!Number.isInteger(gen) || gen < 0 || gen > MAX_GEN) {
      throw new MeshError("INPUT_INVALID", `no generation: ${String(gen)}`, { field: "gen" });
    }
    const docHash = docHashOf(doc);
    const last = this.#table.currentOf(docHash, gen);
    const epoch = last === undefined ? 0 : this.#table.nameOf(last.row).epoch + 1;
    const name = { docHash, gen, epoch };
    const madeMs = this.#clock.now();
    const key = this.#random.bytes(KEY_BYTES);
    const id = keyIdOf(key, name);
    const wrapped = wrapKey(this.storeKeys.current, key);
    const dataKey = createDataKey(key, id, name);
    key.fill(0);
    const { number: storeKey } = this.storeKeys;
    const row = this.#table.add({ ...name, id, storeKey, madeMs, wrapped });
    this.#changed.add(row);
    const current = this.#table.currentOf(docHash, gen);
    if (current?.row !== row)
      throw new MeshError("INTERNAL", "a new data key is not the current one");
    const sealer = { dataKey, current, madeMs };
    this.#sealers.set(text, sealer);
    this.#openers.set(this.#table.idOf(row), dataKey);
    return sealer;
  }

  /** See `Vault.open`. */
  open(scope: VaultScope, place: Uint8Array, sealed: Uint8Array): Uint8Array {
    if (sealed[0] === PLAIN) {
      if (this.storeKeys.acceptsPlain) return plainBytes(sealed);
      throw new MeshError(
        "STORE_CORRUPT",
        "stored bytes are not encrypted, in a store where all are: someone has changed them",
      );
    }
    const id = sealedKeyId(sealed);
    return openBytes(this.#openers.get(id) ?? this.#findOpener(id), scope, place, sealed);
  }

  #findOpener(id: string): DataKey {
    const row = this.#table.find(id);
    if (row === undefined) {
      throw new MeshError("KEY_INVALID", "the data key of stored bytes is not here, or destroyed");
    }
    const dataKey = this.#unwrap(row);
    this.#openers.set(id, dataKey);
    return dataKey;
  }

  /** Throws `STORE_CORRUPT` when the record is not as it was written. */
  #unwrap(row: number): DataKey {
    const key = this.#unwrapBytes(row);
    const name = this.#table.nameOf(row);
    const id = key === undefined ? undefined : keyIdOf(key, name);
    if (key === undefined || id === undefined || idText(id, 0) !== this.#table.idOf(row)) {
      throw new MeshError("STORE_CORRUPT", "a data key record is not as it was written");
    }
    const dataKey = createDataKey(key, id, name);
    key.fill(0);
    return dataKey;
  }

  #unwrapBytes(row: number): Uint8Array | undefined {
    const storeKey = this.#storeKey(this.#table.storeKeyOf(row));
    return storeKey === undefined ? undefined : unwrapKey(storeKey, this.#table.wrapped(row));
  }

  #storeKey(number: number): KeyObject | undefined {
    const { number: newest, current, previous } = this.storeKeys;
    if (number === newest) return current;
    return number === newest - 1 ? previous : undefined;
  }

  /** See `Vault.takeChanges`. */
  takeChanges(): readonly StoreChange[] {
    if (this.#changed.size === 0) return NO_CHANGES;
    const changes = Array.from(this.#changed, (row) => this.#table.change(row));
    this.#changed.clear();
    return changes;
  }

  /**
   * Wraps with the current store key what another one wraps, one data key for each step. Gives the
   * change to write; undefined for a record that is damaged, which is left as it is.
   */
  *rewrapAll(): Generator<StoreChange | undefined, void, undefined> {
    for (const row of this.#table.rows()) {
      if (this.#table.storeKeyOf(row) !== this.storeKeys.number) yield this.#rewrap(row);
    }
  }

  #rewrap(row: number): StoreChange | undefined {
    const key = this.#unwrapBytes(row);
    if (key === undefined) return undefined;
    const { current, number } = this.storeKeys;
    this.#table.rewrap(row, number, wrapKey(current, key));
    key.fill(0);
    return this.#table.change(row);
  }

  /** Ends the epoch of every data key that seals, one for each step: the next seal makes a new one. Gives the change to write. */
  *endEpochs(): Generator<StoreChange, void, undefined> {
    for (const current of this.#table.currents()) {
      if (this.#table.spend(current)) yield this.#table.change(current.row);
    }
  }

  /** Figures of the data keys. Reads all of them. */
  summary(): DataKeySummary {
    let [documents, epochs, oldestMs, newestMs] = [0, 0, Number.POSITIVE_INFINITY, 0];
    for (const { row } of this.#table.currents()) {
      const madeMs = this.#table.madeMs(row);
      documents += 1;
      epochs = Math.max(epochs, this.#table.nameOf(row).epoch + 1);
      oldestMs = Math.min(oldestMs, madeMs);
      newestMs = Math.max(newestMs, madeMs);
    }
    const ages = documents === 0 ? {} : { oldestMs, newestMs };
    return { dataKeys: this.size, documents, epochs, ...ages };
  }

  /** Removes the data keys of a document and generation. Returns the changes to write. */
  destroy(scope: VaultScope): StoreChange[] {
    const docHash = docHashOf(scope.doc);
    const changes: StoreChange[] = [];
    for (const row of this.#table.rows()) {
      const name = this.#table.nameOf(row);
      if (name.gen !== scope.gen || Buffer.compare(name.docHash, docHash) !== 0) continue;
      this.#openers.delete(this.#table.idOf(row));
      this.#changed.delete(row);
      changes.push(this.#table.remove(row));
    }
    this.#sealers.delete(scopeText(scope));
    return changes;
  }
}

const scopeText = ({ doc, gen }: VaultScope): string => `${String(gen)} ${doc}`;
