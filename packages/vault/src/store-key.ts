// SPDX-License-Identifier: Apache-2.0
/**
 * The store key, which wraps the data keys of a store. The provider wraps the store key, so that a
 * provider is asked once for each opening. The record in the store, under the key 0x31, numbers
 * big-endian:
 *
 *     version u8 (2) || flags u8 || number u32 || made at, Unix ms u64 || length u16, provider id ||
 *     length u16, wrapped store key || length u8 (0 or 40), the store key before this one, wrapped by this one || check (32)
 *
 * check = HMAC-SHA-256(store key, "ctxmesh/store-key/v1\n" || all before it): nobody without the
 * provider's key can change a flag. Flag 1: bytes that are not encrypted may be opened. The store
 * key before is there while a rotation goes on.
 */
import type { KeyObject } from "node:crypto";
import { createHmac, createSecretKey, timingSafeEqual } from "node:crypto";
import type { RandomSource, StoreChange } from "@ctxmesh/model";
import { MeshError, toMeshError } from "@ctxmesh/model";
import { KEY_BYTES, WRAPPED_BYTES, unwrapKey, wrapKey } from "./key-wrap.ts";
import type { KeyProvider } from "./provider.ts";

/** Where the record is in the store. */
export const STORE_KEY_KEY: Uint8Array = Uint8Array.of(0x31);

const VERSION = 2;
const ACCEPTS_PLAIN = 1;
const CHECK_BYTES = 32;
const CHECK_LABEL = "ctxmesh/store-key/v1\n";
const MAX_ID_BYTES = 512;
const MAX_WRAPPED_BYTES = 1_024;
const LOST =
  "give the key that the store was written with. Without it nobody can read the store: move it aside and start with an empty one, which fetches from the peers what they have";

/** What the record says. */
interface Fields {
  /** 1 for the first store key, one more for each rotation. */
  readonly number: number;
  /** When the store key was made, Unix milliseconds. */
  readonly madeMs: number;
  readonly acceptsPlain: boolean;
  readonly providerId: string;
  readonly wrapped: Uint8Array;
  readonly wrappedPrevious: Uint8Array | undefined;
}

/** The record with its keys. */
export interface StoreKeys extends Omit<Fields, "wrappedPrevious"> {
  readonly current: KeyObject;
  /** The store key with the number before, while a rotation goes on. */
  readonly previous: KeyObject | undefined;
}

/** A new store key, wrapped. Throws what the provider throws, and `KEY_INVALID` when it can't unwrap what it wrapped. */
export async function makeStoreKeys(
  provider: KeyProvider,
  random: RandomSource,
  rest: Pick<StoreKeys, "number" | "madeMs" | "acceptsPlain" | "previous">,
): Promise<StoreKeys> {
  const key = random.bytes(KEY_BYTES);
  try {
    return { ...rest, ...(await wrapStoreKey(provider, key)), current: createSecretKey(key) };
  } finally {
    key.fill(0);
  }
}

/** The same store key, wrapped by another provider. Throws as {@link makeStoreKeys}. */
export async function rewrapStoreKeys(keys: StoreKeys, provider: KeyProvider): Promise<StoreKeys> {
  const key = keys.current.export();
  try {
    return { ...keys, ...(await wrapStoreKey(provider, key)) };
  } finally {
    key.fill(0);
  }
}

/** Wraps and, because a store hangs on it, unwraps again before anything is written. */
async function wrapStoreKey(
  provider: KeyProvider,
  key: Uint8Array,
): Promise<{ readonly providerId: string; readonly wrapped: Uint8Array }> {
  const wrapped = await provider.wrap(key);
  const back = await provider.unwrap(wrapped);
  const same = back.length === key.length && timingSafeEqual(back, key);
  back.fill(0);
  const fits =
    wrapped.length <= MAX_WRAPPED_BYTES && Buffer.byteLength(provider.id) <= MAX_ID_BYTES;
  if (same && fits) return { providerId: provider.id, wrapped };
  throw new MeshError("KEY_INVALID", `${provider.id} does not give back the key that it wrapped`);
}

/**
 * The store keys of a record. Throws `KEY_INVALID` when the provider has another key, naming the
 * provider that wrapped it, what else the provider throws, and `STORE_CORRUPT` when the record is
 * not as it was written.
 */
export async function readStoreKeys(provider: KeyProvider, record: Uint8Array): Promise<StoreKeys> {
  const fields = decode(record);
  const key = await unwrapStoreKey(provider, fields);
  const current = createSecretKey(key);
  key.fill(0);
  const body = record.subarray(0, record.length - CHECK_BYTES);
  if (!timingSafeEqual(checkOf(current, body), record.subarray(body.length))) throw corrupt();
  const { wrappedPrevious, ...rest } = fields;
  if (wrappedPrevious === undefined) return { ...rest, current, previous: undefined };
  const before = unwrapKey(current, wrappedPrevious);
  if (before === undefined) throw corrupt();
  const previous = createSecretKey(before);
  before.fill(0);
  return { ...rest, current, previous };
}

async function unwrapStoreKey(provider: KeyProvider, fields: Fields): Promise<Uint8Array> {
  try {
    const key = await provider.unwrap(fields.wrapped);
    if (key.length === KEY_BYTES) return key;
  } catch (error) {
    const { code, message, remedy } = toMeshError(error);
    if (code !== "KEY_INVALID") throw error;
    throw new MeshError(
      code,
      `can't unwrap the key of this store, which was wrapped by ${fields.providerId}: ${message}`,
      { remedy: remedy ?? LOST, cause: error },
    );
  }
  throw corrupt();
}

/** The store change that writes the record. */
export function storeKeyChange(keys: StoreKeys): StoreChange {
  const id = Buffer.from(keys.providerId);
  const { wrapped, previous } = keys;
  const body = Buffer.concat([
    Uint8Array.of(VERSION, keys.acceptsPlain ? ACCEPTS_PLAIN : 0),
    u32(keys.number),
    u64(keys.madeMs),
    u32(id.length).subarray(2),
    id,
    u32(wrapped.length).subarray(2),
    wrapped,
    Uint8Array.of(previous === undefined ? 0 : WRAPPED_BYTES),
    previous === undefined ? new Uint8Array(0) : wrapPrevious(keys.current, previous),
  ]);
  const value = Buffer.concat([body, checkOf(keys.current, body)]);
  return { key: STORE_KEY_KEY, value };
}

function wrapPrevious(current: KeyObject, previous: KeyObject): Uint8Array {
  const key = previous.export();
  const wrapped = wrapKey(current, key);
  key.fill(0);
  return wrapped;
}

function decode(record: Uint8Array): Fields {
  const view = Buffer.from(record.buffer, record.byteOffset, record.length);
  let at = 14;
  const take = (length: number): Buffer => {
    if (at + length + CHECK_BYTES > view.length) throw corrupt();
    at += length;
    return view.subarray(at - length, at);
  };
  if (view.length < at + CHECK_BYTES || view[0] !== VERSION || (view[1] ?? 0) > ACCEPTS_PLAIN)
    throw corrupt();
  const providerId = take(take(2).readUInt16BE()).toString();
  const wrapped = take(take(2).readUInt16BE());
  const previous = take(take(1).readUInt8());
  if (at + CHECK_BYTES !== view.length) throw corrupt();
  return {
    number: view.readUInt32BE(2),
    madeMs: Number(view.readBigUInt64BE(6)),
    acceptsPlain: view[1] === ACCEPTS_PLAIN,
    providerId,
    wrapped,
    wrappedPrevious: previous.length === 0 ? undefined : previous,
  };
}

const checkOf = (key: KeyObject, body: Uint8Array): Uint8Array =>
  createHmac("sha256", key).update(CHECK_LABEL).update(body).digest();

const corrupt = (): MeshError =>
  new MeshError("STORE_CORRUPT", "the record of the store's key is not as it was written", {
    remedy: "restore a backup, or move the store aside and start with an empty one",
  });

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(Math.max(0, Math.floor(value))));
  return bytes;
}
