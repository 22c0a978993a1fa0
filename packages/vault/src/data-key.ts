// SPDX-License-Identifier: Apache-2.0
/**
 * Sealed bytes, and the data keys that seal them.
 *
 *     sealed  = 0x01 || key id (16) || nonce (12) || AES-256-GCM ciphertext || tag (16)
 *     AAD     = "ctxmesh/at-rest/v1\n" || SHA-256(doc) || u32 gen || key id || place
 *     key id  = first 16 bytes of HMAC-SHA-256(data key, "ctxmesh/key-id/v1" || SHA-256(doc) || u32 gen || u32 epoch)
 *
 * All but `place` have a fixed length, so no two places give the same AAD. AES-GCM does not commit to
 * its key; the key id does, and is checked when a data key is unwrapped. Numbers are big-endian.
 */
import type { KeyObject } from "node:crypto";
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, hash } from "node:crypto";
import type { VaultScope } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import type { Nonces } from "./nonces.ts";
import { NONCE_BYTES } from "./nonces.ts";

/** First byte of bytes that are not encrypted. */
export const PLAIN = 0;
/** First byte of sealed bytes. */
export const SEALED = 1;
/** Bytes of a key id. */
export const KEY_ID_BYTES = 16;
/** Bytes of SHA-256(doc). */
export const DOC_HASH_BYTES = 32;

const ALGORITHM = "aes-256-gcm";
const TAG_BYTES = 16;
const ID_AT = 1;
const NONCE_AT = ID_AT + KEY_ID_BYTES;
const BODY_AT = NONCE_AT + NONCE_BYTES;
const AAD_LABEL: Uint8Array = new TextEncoder().encode("ctxmesh/at-rest/v1\n");
const KEY_ID_LABEL: Uint8Array = new TextEncoder().encode("ctxmesh/key-id/v1");
/** Room for the place; a longer one makes the buffer grow. */
const PLACE_ROOM = 64;

/** What a data key is for. */
export interface DataKeyName {
  readonly docHash: Uint8Array;
  readonly gen: number;
  readonly epoch: number;
}

/** A data key, unwrapped. */
export interface DataKey {
  readonly key: KeyObject;
  readonly gen: number;
  readonly docHash: Uint8Array;
  /** The document it was last used for, so that its name is not hashed again. */
  doc: string | undefined;
  /** The AAD up to the place, and room for that. */
  aad: Uint8Array;
}

/** Bytes of the AAD up to the place. */
const AAD_BYTES = AAD_LABEL.length + DOC_HASH_BYTES + 4 + KEY_ID_BYTES;

/** SHA-256 of a document's name: 32 bytes. */
export const docHashOf = (doc: string): Uint8Array => hash("sha256", doc, "buffer");

/** The id of the data key `key`, which commits to the key and to what it is for. */
export function keyIdOf(key: Uint8Array, { docHash, gen, epoch }: DataKeyName): Uint8Array {
  const numbers = new DataView(new ArrayBuffer(8));
  numbers.setUint32(0, gen);
  numbers.setUint32(4, epoch);
  const mac = createHmac("sha256", key)
    .update(KEY_ID_LABEL)
    .update(docHash)
    .update(numbers)
    .digest();
  return mac.subarray(0, KEY_ID_BYTES);
}

/** A data key ready for use. `key` may be overwritten afterwards. */
export function createDataKey(key: Uint8Array, id: Uint8Array, name: DataKeyName): DataKey {
  const aad = new Uint8Array(AAD_BYTES + PLACE_ROOM);
  aad.set(AAD_LABEL);
  aad.set(name.docHash, AAD_LABEL.length);
  new DataView(aad.buffer).setUint32(AAD_LABEL.length + DOC_HASH_BYTES, name.gen);
  aad.set(id, AAD_BYTES - KEY_ID_BYTES);
  const docHash = name.docHash.slice();
  return { key: createSecretKey(key), gen: name.gen, docHash, doc: undefined, aad };
}

/** Seals `plain` for a place. */
export function sealBytes(
  dataKey: DataKey,
  nonces: Nonces,
  place: Uint8Array,
  plain: Uint8Array,
): Uint8Array {
  const sealed = new Uint8Array(BODY_AT + plain.length + TAG_BYTES);
  const aad = aadOf(dataKey, place);
  sealed[0] = SEALED;
  sealed.set(aad.subarray(AAD_BYTES - KEY_ID_BYTES, AAD_BYTES), ID_AT);
  nonces.take(sealed, NONCE_AT);
  const cipher = createCipheriv(ALGORITHM, dataKey.key, sealed.subarray(NONCE_AT, BODY_AT));
  cipher.setAAD(aad);
  sealed.set(cipher.update(plain), BODY_AT);
  cipher.final();
  sealed.set(cipher.getAuthTag(), BODY_AT + plain.length);
  return sealed;
}

/** The id of the data key that sealed these bytes, as a map key. Throws `STORE_CORRUPT` when they are not sealed bytes of this version. */
export function sealedKeyId(sealed: Uint8Array): string {
  if (sealed[0] !== SEALED || sealed.length < BODY_AT + TAG_BYTES) {
    throw new MeshError(
      "STORE_CORRUPT",
      `stored bytes of unknown form: version ${String(sealed[0])}, ${String(sealed.length)} bytes`,
    );
  }
  return idText(sealed, ID_AT);
}

/** A key id as a map key: one character for each byte. */
export function idText(bytes: Uint8Array, offset: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + offset, KEY_ID_BYTES).toString("latin1");
}

/** What was sealed. Throws `STORE_CORRUPT` when these bytes were not sealed for this document, generation and place. */
export function openBytes(
  dataKey: DataKey,
  { doc, gen }: VaultScope,
  place: Uint8Array,
  sealed: Uint8Array,
): Uint8Array {
  if (dataKey.gen !== gen || !isFor(dataKey, doc)) throw notSealedHere();
  const end = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv(ALGORITHM, dataKey.key, sealed.subarray(NONCE_AT, BODY_AT));
  decipher.setAAD(aadOf(dataKey, place));
  decipher.setAuthTag(sealed.subarray(end));
  try {
    const plain = decipher.update(sealed.subarray(BODY_AT, end));
    decipher.final();
    return new Uint8Array(plain.buffer, plain.byteOffset, plain.length);
  } catch {
    throw notSealedHere();
  }
}

function isFor(dataKey: DataKey, doc: string): boolean {
  if (dataKey.doc === doc) return true;
  if (Buffer.compare(dataKey.docHash, docHashOf(doc)) !== 0) return false;
  dataKey.doc = doc;
  return true;
}

const notSealedHere = (): MeshError =>
  new MeshError("STORE_CORRUPT", "stored bytes are not what was sealed for this place");

function aadOf(dataKey: DataKey, place: Uint8Array): Uint8Array {
  const length = AAD_BYTES + place.length;
  if (dataKey.aad.length < length) {
    const longer = new Uint8Array(length);
    longer.set(dataKey.aad.subarray(0, AAD_BYTES));
    dataKey.aad = longer;
  }
  dataKey.aad.set(place, AAD_BYTES);
  return dataKey.aad.subarray(0, length);
}
