// SPDX-License-Identifier: Apache-2.0
/** The cryptography of the link, in the exact shapes that it needs. */
import type { KeyObject } from "node:crypto";
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
} from "node:crypto";

/** Bytes of a key, of a hash, of an X25519 point. */
export const KEY_BYTES = 32;
/** Bytes of the tag behind a sealed text. */
export const TAG_BYTES = 16;
/** Bytes of a nonce. */
export const NONCE_BYTES = 12;

const CIPHER = "chacha20-poly1305";
/** PKCS #8 and SubjectPublicKeyInfo of an X25519 key (RFC 8410, 7 and 4) without the key. */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b656e04220420", "hex");
const SPKI_PREFIX = Buffer.from("302a300506032b656e032100", "hex");

/** An X25519 key (RFC 7748). */
export interface AgreementKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The shared secret with another public key of 32 bytes; undefined where it is all zero, whatever our key is. */
  agree(other: Uint8Array): Uint8Array | undefined;
}

/** The key of a scalar of 32 bytes. */
export function agreementKey(scalar: Uint8Array): AgreementKey {
  const der = Buffer.concat([PKCS8_PREFIX, scalar]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  return {
    publicKey: new Uint8Array(spki.subarray(-KEY_BYTES)),
    agree: (other) => agree(privateKey, other),
  };
}

function agree(privateKey: KeyObject, other: Uint8Array): Uint8Array | undefined {
  const der = Buffer.concat([SPKI_PREFIX, other]);
  const publicKey = createPublicKey({ key: der, format: "der", type: "spki" });
  try {
    const secret = new Uint8Array(diffieHellman({ privateKey, publicKey }));
    return secret.some((byte) => byte !== 0) ? secret : undefined;
  } catch {
    // OpenSSL refuses a point of small order, by the same rule.
    return undefined;
  }
}

/** SHA-256 (FIPS 180-4) of parts put together. */
export const sha256 = (...parts: readonly Uint8Array[]): Uint8Array => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

/** HMAC-SHA256 (RFC 2104) of parts put together. */
export const hmac = (key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array => {
  const mac = createHmac("sha256", key);
  for (const part of parts) mac.update(part);
  return new Uint8Array(mac.digest());
};

/** What is sealed, or was: a key of 32 bytes, a nonce of 12, and what both ends know besides. */
export interface SealContext {
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly aad: Uint8Array;
}

/** ChaCha20-Poly1305 (RFC 8439): the text, encrypted, and 16 bytes of tag. */
export function seal({ key, nonce, aad }: SealContext, text: Uint8Array): Buffer {
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(aad, { plaintextLength: text.length });
  return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

/** The text that was sealed; undefined where the tag is not that of these bytes. */
export function open({ key, nonce, aad }: SealContext, box: Uint8Array): Uint8Array | undefined {
  if (box.length < TAG_BYTES) return undefined;
  const plaintextLength = box.length - TAG_BYTES;
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(aad, { plaintextLength });
  decipher.setAuthTag(box.subarray(plaintextLength));
  const text = decipher.update(box.subarray(0, plaintextLength));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  // A whole one of its own: small buffers share their memory.
  return text.byteOffset === 0 && text.buffer.byteLength === text.length
    ? new Uint8Array(text.buffer)
    : new Uint8Array(text);
}
