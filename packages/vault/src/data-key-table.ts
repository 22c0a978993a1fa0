// SPDX-License-Identifier: Apache-2.0
/**
 * The wrapped data keys of a store, all in memory, because opening must not wait. In the store a
 * data key is 0x30 || key id (16), and its record, numbers big-endian:
 *
 *     version u8 (1) || SHA-256(doc) (32) || gen u32 || epoch u32 || store key number u32 ||
 *     made at, Unix ms u64 || portions u8 || data key wrapped by the store key (40)
 *
 * `portions` counts what sealing may have used of the key: its limits of seals and bytes are given
 * out in 64 portions, each of which is recorded with the first seal that needs it. A restart
 * forgets what is left of a portion, never what was used.
 */
import type { StoreChange } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { DataKeyName } from "./data-key.ts";
import { DOC_HASH_BYTES, KEY_ID_BYTES, idText } from "./data-key.ts";
import { WRAPPED_BYTES } from "./key-wrap.ts";

/** First byte of the store keys of data key records. */
export const DATA_KEY_TAG = 0x30;

const VERSION = 1;
const PORTIONS = 64;
const VERSION_AT = KEY_ID_BYTES;
const DOC_HASH_AT = VERSION_AT + 1;
const GEN_AT = DOC_HASH_AT + DOC_HASH_BYTES;
const EPOCH_AT = GEN_AT + 4;
const STORE_KEY_AT = EPOCH_AT + 4;
const MADE_AT = STORE_KEY_AT + 4;
const PORTIONS_AT = MADE_AT + 8;
const WRAPPED_AT = PORTIONS_AT + 1;
const ROW_BYTES = WRAPPED_AT + WRAPPED_BYTES;
const FIRST_ROWS = 64;

/** A new data key, wrapped. */
export interface WrappedDataKey extends DataKeyName {
  readonly id: Uint8Array;
  /** The number of the store key that wraps it. */
  readonly storeKey: number;
  readonly madeMs: number;
  readonly wrapped: Uint8Array;
}

/** The newest data key of a document and generation, and what may be sealed with it before another portion is recorded. */
export interface CurrentKey {
  readonly row: number;
  seals: number;
  bytes: number;
}

/** Every data key of a store. A row number names one of them for as long as it is here. */
export class DataKeyTable {
  readonly #limit: number;
  /** Rows of {@link ROW_BYTES}: key id, then the record. */
  #bytes = new Uint8Array(FIRST_ROWS * ROW_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #rows = 0;
  readonly #free: number[] = [];
  readonly #byId = new Map<string, number>();
  readonly #current = new Map<string, CurrentKey>();

  /** Throws `LIMIT_EXCEEDED` later, on more than `limit` data keys. */
  constructor(limit: number = LIMITS.dataKeys) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Takes over an entry of the store. Throws `STORE_CORRUPT` when it has another form. */
  load(key: Uint8Array, record: Uint8Array): void {
    const wellFormed =
      key.length === 1 + KEY_ID_BYTES &&
      record.length === ROW_BYTES - VERSION_AT &&
      record[0] === VERSION;
    if (!wellFormed) {
      throw new MeshError("STORE_CORRUPT", "a data key record of unknown form in the store");
    }
    const row = this.#allocate();
    this.#bytes.set(key.subarray(1), row * ROW_BYTES);
    this.#bytes.set(record, row * ROW_BYTES + VERSION_AT);
    this.#index(row);
  }

  /** Adds a data key, which becomes the current one of its document and generation. Returns its row. */
  add(key: WrappedDataKey): number {
    const row = this.#allocate();
    const at = row * ROW_BYTES;
    this.#bytes.set(key.id, at);
    this.#bytes[at + VERSION_AT] = VERSION;
    this.#bytes.set(key.docHash, at + DOC_HASH_AT);
    this.#view.setUint32(at + GEN_AT, key.gen);
    this.#view.setUint32(at + EPOCH_AT, key.epoch);
    this.#view.setBigUint64(at + MADE_AT, BigInt(Math.max(0, Math.floor(key.madeMs))));
    this.#bytes[at + PORTIONS_AT] = 0;
    this.rewrap(row, key.storeKey, key.wrapped);
    this.#index(row);
    return row;
  }

  #allocate(): number {
    if (this.size >= this.#limit) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `the store has ${String(this.#limit)} data keys, the most there may be (LIMITS.dataKeys)`,
      );
    }
    const row = this.#free.pop() ?? this.#rows++;
    if (this.#rows * ROW_BYTES > this.#bytes.length) {
      const more = new Uint8Array(this.#bytes.length * 2);
      more.set(this.#bytes);
      this.#bytes = more;
      this.#view = new DataView(more.buffer);
    }
    return row;
  }

  #index(row: number): void {
    this.#byId.set(this.idOf(row), row);
    const name = this.nameOf(row);
    const scope = scopeText(name.docHash, name.gen);
    const current = this.#current.get(scope);
    if (current === undefined || this.nameOf(current.row).epoch <= name.epoch) {
      this.#current.set(scope, { row, seals: 0, bytes: 0 });
    }
  }

  /** The row of a key id, if that key is here. */
  find(id: string): number | undefined {
    return this.#byId.get(id);
  }

  /** The newest data key of a document and generation. */
  currentOf(docHash: Uint8Array, gen: number): CurrentKey | undefined {
    return this.#current.get(scopeText(docHash, gen));
  }

  /**
   * Counts a seal of `bytes`. `recorded` means it fits in what is recorded, `changed` that the row
   * has to be written, `spent` that this key has reached a limit and nothing was counted.
   */
  use(current: CurrentKey, bytes: number): "recorded" | "changed" | "spent" {
    const at = current.row * ROW_BYTES + PORTIONS_AT;
    const lacking = Math.max(
      current.seals < 1 ? 1 : 0,
      Math.ceil((bytes - current.bytes) / (LIMITS.dataKeyBytes / PORTIONS)),
    );
    const portions = (this.#bytes[at] ?? 0) + lacking;
    if (portions > PORTIONS) return "spent";
    this.#bytes[at] = portions;
    current.seals += (lacking * LIMITS.dataKeySeals) / PORTIONS - 1;
    current.bytes += (lacking * LIMITS.dataKeyBytes) / PORTIONS - bytes;
    return lacking > 0 ? "changed" : "recorded";
  }

  /** Ends the epoch of the newest data key of a document and generation: nothing more is sealed with it. False when it has ended already. */
  spend(current: CurrentKey): boolean {
    const at = current.row * ROW_BYTES + PORTIONS_AT;
    const isSpent = this.#bytes[at] === PORTIONS && current.seals < 1;
    this.#bytes[at] = PORTIONS;
    current.seals = 0;
    current.bytes = 0;
    return !isSpent;
  }

  /** The newest data key of each document and generation, as of each step. */
  *currents(): Generator<CurrentKey, void, undefined> {
    yield* this.#current.values();
  }

  /** What a data key is for; views of the table, to be used at once. */
  nameOf(row: number): DataKeyName {
    const at = row * ROW_BYTES;
    return {
      docHash: this.#bytes.subarray(at + DOC_HASH_AT, at + GEN_AT),
      gen: this.#view.getUint32(at + GEN_AT),
      epoch: this.#view.getUint32(at + EPOCH_AT),
    };
  }

  /** The key id as a map key. */
  idOf(row: number): string {
    return idText(this.#bytes, row * ROW_BYTES);
  }

  /** When the data key was made, in Unix milliseconds. */
  madeMs(row: number): number {
    return Number(this.#view.getBigUint64(row * ROW_BYTES + MADE_AT));
  }

  /** The number of the store key that wraps a data key. */
  storeKeyOf(row: number): number {
    return this.#view.getUint32(row * ROW_BYTES + STORE_KEY_AT);
  }

  /** The wrapped data key; a view of the table, to be used at once. */
  wrapped(row: number): Uint8Array {
    return this.#bytes.subarray(row * ROW_BYTES + WRAPPED_AT, (row + 1) * ROW_BYTES);
  }

  /** Replaces how a data key is wrapped. */
  rewrap(row: number, storeKey: number, wrapped: Uint8Array): void {
    this.#view.setUint32(row * ROW_BYTES + STORE_KEY_AT, storeKey);
    this.#bytes.set(wrapped, row * ROW_BYTES + WRAPPED_AT);
  }

  /** The store change that writes a row as it is now. */
  change(row: number): StoreChange {
    const at = row * ROW_BYTES;
    const value = this.#bytes.slice(at + VERSION_AT, at + ROW_BYTES);
    return { key: this.#storeKeyFor(row), value };
  }

  /** Every row, as of each step. */
  *rows(): Generator<number, void, undefined> {
    for (const row of this.#byId.values()) yield row;
  }

  /** Removes a data key. Returns the store change that removes its record. */
  remove(row: number): StoreChange {
    const change = { key: this.#storeKeyFor(row) };
    const { docHash, gen } = this.nameOf(row);
    const scope = scopeText(docHash, gen);
    if (this.#current.get(scope)?.row === row) this.#current.delete(scope);
    this.#byId.delete(this.idOf(row));
    this.#bytes.fill(0, row * ROW_BYTES, (row + 1) * ROW_BYTES);
    this.#free.push(row);
    return change;
  }

  #storeKeyFor(row: number): Uint8Array {
    const key = new Uint8Array(1 + KEY_ID_BYTES);
    key[0] = DATA_KEY_TAG;
    key.set(this.#bytes.subarray(row * ROW_BYTES, row * ROW_BYTES + KEY_ID_BYTES), 1);
    return key;
  }
}

function scopeText(docHash: Uint8Array, gen: number): string {
  const hash = Buffer.from(docHash.buffer, docHash.byteOffset, DOC_HASH_BYTES).toString("latin1");
  return `${hash}${String(gen)}`;
}
