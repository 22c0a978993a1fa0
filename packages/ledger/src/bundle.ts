// SPDX-License-Identifier: Apache-2.0
/**
 * The bundle: everything an auditor needs besides the trust root, in one file of canonical JSON.
 *
 * ```
 * { "envelope": text of the DSSE envelope, "format": "ctxmesh-bundle/v1",
 *   "headers": [ { "header": base64, "signature": base64 } ... ]     one per frontier head, in its order
 *   "proof": text of the tlog-proof@v1,
 *   "snapshot": { "leaves": [ { "leaf": text, "salt": base64(16 bytes) } ... ] } }
 * ```
 *
 * The envelope is kept as text, so that its exact bytes are what was signed and logged.
 */
import {
  canonicalJson,
  parseCanonicalJson,
  toBase64,
  utf8Decode,
  utf8Encode,
} from "@ctxmesh/codec";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { malformed, readArray, readBase64, readMembers, readText } from "./read.ts";
import { SALT_BYTES } from "./snapshot.ts";
import type { SnapshotLeaf } from "./snapshot.ts";

const FORMAT = "ctxmesh-bundle/v1";
const SIGNATURE_BYTES = 64;

/** A batch header with its device signature, as they were received. */
export interface SignedHeader {
  readonly header: Uint8Array;
  readonly signature: Uint8Array;
}

/** A bundle in parts. */
export interface Bundle {
  readonly leaves: readonly SnapshotLeaf[];
  /** Exact envelope bytes. */
  readonly envelope: Uint8Array;
  /** Text of the tlog-proof. */
  readonly proof: string;
  /** The headers of the frontier heads, sorted by replica, then incarnation. */
  readonly headers: readonly SignedHeader[];
}

function assertSize(bytes: number): void {
  if (bytes > LIMITS.bundleBytes) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `bundle of ${String(bytes)} bytes is over LIMITS.bundleBytes (${String(LIMITS.bundleBytes)})`,
    );
  }
}

/** The bytes of a bundle file. Throws `LIMIT_EXCEEDED` over `LIMITS.bundleBytes`. */
export function encodeBundle(bundle: Bundle): Uint8Array {
  const text = canonicalJson({
    format: FORMAT,
    snapshot: {
      leaves: bundle.leaves.map(({ salt, leaf }) => ({ salt: toBase64(salt), leaf })),
    },
    envelope: utf8Decode(bundle.envelope),
    proof: bundle.proof,
    headers: bundle.headers.map(({ header, signature }) => ({
      header: toBase64(header),
      signature: toBase64(signature),
    })),
  });
  const bytes = utf8Encode(text);
  assertSize(bytes.length);
  return bytes;
}

/** Nesting of a bundle: bundle, snapshot, leaves, leaf. */
const MAX_DEPTH = 4;

/**
 * Bounds what parsing can cost before any parsing: no deeper than a bundle is, and no more
 * containers and commas than its smallest leaf (47 bytes, one object, two commas) allows.
 */
function assertStructure(bytes: Uint8Array): void {
  const allowed = 64 + Math.floor(bytes.length / 12);
  let [depth, tokens, quoted] = [0, 0, false];
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (quoted) {
      if (byte === 0x5c) i += 1;
      else if (byte === 0x22) quoted = false;
    } else if (byte === 0x22) {
      quoted = true;
    } else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      tokens += 1;
    } else if (byte === 0x7d || byte === 0x5d) {
      depth -= 1;
    } else if (byte === 0x2c) {
      tokens += 1;
    }
    if (depth > MAX_DEPTH || tokens > allowed) {
      throw new MeshError("LIMIT_EXCEEDED", "bundle has more structure than any bundle can have");
    }
  }
}

/**
 * Parses an untrusted bundle file: size and structure are bounded first, then what does not encode
 * to the same bytes again is refused, which excludes duplicate members, other spellings and
 * trailing bytes. Throws `LIMIT_EXCEEDED`, `FORMAT_INVALID` or `INPUT_INVALID`.
 */
export function parseBundle(bytes: Uint8Array): Bundle {
  assertSize(bytes.length);
  assertStructure(bytes);
  const value = parseCanonicalJson(utf8Decode(bytes), "bundle");
  const names = ["envelope", "format", "headers", "proof", "snapshot"] as const;
  const members = readMembers(value, names, "bundle");
  if (members.format !== FORMAT) malformed(`bundle.format is not ${FORMAT}`);
  const snapshot = readMembers(members.snapshot, ["leaves"], "bundle.snapshot");
  const leaves = readArray(snapshot.leaves, Number.POSITIVE_INFINITY, "bundle.snapshot.leaves");
  const headers = readArray(members.headers, LIMITS.frontierHeads, "bundle.headers");
  return {
    envelope: utf8Encode(readText(members.envelope, "bundle.envelope")),
    proof: readText(members.proof, "bundle.proof"),
    leaves: leaves.map((item, i) => {
      const what = `bundle.snapshot.leaves[${String(i)}]`;
      const leaf = readMembers(item, ["leaf", "salt"], what);
      return {
        salt: readBase64(leaf.salt, `${what}.salt`, SALT_BYTES),
        leaf: readText(leaf.leaf, `${what}.leaf`),
      };
    }),
    headers: headers.map((item, i) => {
      const what = `bundle.headers[${String(i)}]`;
      const signed = readMembers(item, ["header", "signature"], what);
      return {
        header: readBase64(signed.header, `${what}.header`),
        signature: readBase64(signed.signature, `${what}.signature`, SIGNATURE_BYTES),
      };
    }),
  };
}
