// SPDX-License-Identifier: Apache-2.0
/**
 * Verifier keys of C2SP signed-note as text: `<name>+<key id, 8 hex digits>+base64(type || public key)`. Types: 0x01 Ed25519 (a log),
 * 0x04 Ed25519 cosignatures (a witness), 0x06 ML-DSA-44 (a log or a witness).
 */
import { fromBase64, toBase64 } from "@ctxmesh/codec";
import { parsePublicKey } from "@ctxmesh/crypto";
import type { PublicKey } from "@ctxmesh/crypto";
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import { toBase64Url } from "./base64url.ts";
import { NOTE_TYPES, assertOrigin, noteKeyId } from "./note.ts";
import type { NoteType } from "./note.ts";
import { malformed } from "./read.ts";

/** A verifier key in parts. */
export interface VerifierKey {
  readonly name: string;
  readonly type: NoteType;
  readonly key: PublicKey;
}

/** The text of a verifier key, without a newline. Throws `INPUT_INVALID` for an unusable name. */
export function formatVkey({ name, type, key }: VerifierKey): string {
  assertOrigin(name);
  const material = new Uint8Array(1 + key.publicKey.length);
  material[0] = type;
  material.set(key.publicKey, 1);
  return `${name}+${toHex(noteKeyId(name, key, type))}+${toBase64(material)}`;
}

function keyOf(type: number | undefined, bytes: Uint8Array): PublicKey {
  if (type === NOTE_TYPES.ed25519 || type === NOTE_TYPES.ed25519Cosignature) {
    return parsePublicKey({ kty: "OKP", crv: "Ed25519", x: toBase64Url(bytes) });
  }
  if (type === NOTE_TYPES.mlDsa44Cosignature) {
    return parsePublicKey({ kty: "AKP", alg: "ML-DSA-44", pub: toBase64Url(bytes) });
  }
  throw new MeshError("KEY_INVALID", `a verifier key of type ${String(type)} is not known here`);
}

/** Parses a verifier key; its id is computed, and has to be the one that is written. Throws `FORMAT_INVALID`, `INPUT_INVALID`, `KEY_INVALID`. */
export function parseVkey(text: string): VerifierKey {
  const [, name = "", id, encoded = ""] =
    /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/u.exec(text) ?? [];
  if (id === undefined) malformed("verifier key is not <name>+<key id>+<base64>");
  assertOrigin(name);
  const material = fromBase64(encoded);
  const key = keyOf(material[0], material.subarray(1));
  const type = material[0] as NoteType;
  if (toHex(noteKeyId(name, key, type)) !== id) {
    throw new MeshError(
      "KEY_INVALID",
      `the key id of the verifier key of ${name} is not its key's`,
    );
  }
  return { name, type, key };
}

/** Parses a file of verifier keys, one on a line; empty lines and those that begin with `#` are left out. Throws as {@link parseVkey} does, and `LIMIT_EXCEEDED`. */
export function parseVkeys(text: string): VerifierKey[] {
  if (text.length > LIMITS.smallFileBytes) {
    throw new MeshError("LIMIT_EXCEEDED", "verifier keys are longer than LIMITS.smallFileBytes");
  }
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map(parseVkey);
}
