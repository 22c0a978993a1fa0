// SPDX-License-Identifier: Apache-2.0
/**
 * The certificates of the libp2p TLS handshake (libp2p/specs, tls/tls.md): X.509 v3, self-signed with a key of their
 * own, in whose extension 1.3.6.1.4.1.53594.1.1 the device key signs that key.
 *
 * ```
 * Extension value: SEQUENCE { publicKey OCTET STRING, signature OCTET STRING }
 *   publicKey      the protobuf 08 01 12 20 || Ed25519 key (32)
 *   signature      Ed25519 over "libp2p-tls-handshake:" || SubjectPublicKeyInfo of the certificate, DER
 * ```
 */
import { X509Certificate, createPrivateKey, generateKeyPair, randomBytes, sign } from "node:crypto";
import { promisify } from "node:util";
import { MeshError } from "@ctxmesh/model";
import { publicKeyFromProtobuf, publicKeyToProtobuf } from "@libp2p/crypto/keys";
import type { Ed25519PrivateKey, PeerId, PrivateKey, PublicKey } from "@libp2p/interface";
import { peerIdFromPublicKey } from "@libp2p/peer-id";
import { TAG, encodeElement, expectTag, readElements, readOnly } from "./der.ts";
import type { DerElement } from "./der.ts";

/** A certificate with its private key, both PEM. */
export interface TlsIdentity {
  readonly cert: string;
  readonly key: string;
}

/** Ours have 430 bytes; others may name themselves at more length. */
const MAX_CERTIFICATE_BYTES = 4_096;
const SIGNED_PREFIX = Buffer.from("libp2p-tls-handshake:");
const SERIAL_BYTES = 16;
const VERSION_3 = 2;
const ED25519_PROTOBUF_BYTES = 36;

/** The content of an OBJECT IDENTIFIER. */
const OID = {
  libp2pKey: "2b0601040183a25a0101",
  ecdsaWithSha256: "2a8648ce3d040302",
  commonName: "550403",
  keyUsage: "551d0f",
  basicConstraints: "551d13",
  extendedKeyUsage: "551d25",
} as const;
/** Extensions that may be critical. None but the first changes anything here: a certificate vouches for nobody else. */
const UNDERSTOOD: readonly string[] = [
  OID.libp2pKey,
  OID.keyUsage,
  OID.basicConstraints,
  OID.extendedKeyUsage,
];

const oid = (hex: string): Buffer => encodeElement(TAG.oid, Buffer.from(hex, "hex"));
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/**
 * Makes a certificate (ECDSA P-256) for a device key. It is valid whatever the peer's clock says, since an edge device
 * may not know the date: the extension proves who it is, and the key lives as long as the process.
 */
export async function createCertificate(privateKey: PrivateKey): Promise<TlsIdentity> {
  const pair = await promisify(generateKeyPair)("ec", {
    namedCurve: "P-256",
    publicKeyEncoding: { type: "spki", format: "der" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  const signature = await privateKey.sign(Buffer.concat([SIGNED_PREFIX, pair.publicKey]));
  const signedKey = encodeElement(
    TAG.sequence,
    encodeElement(TAG.octetString, publicKeyToProtobuf(privateKey.publicKey)),
    encodeElement(TAG.octetString, signature),
  );
  const algorithm = encodeElement(TAG.sequence, oid(OID.ecdsaWithSha256));
  const name = encodeElement(
    TAG.sequence,
    encodeElement(
      TAG.set,
      encodeElement(
        TAG.sequence,
        oid(OID.commonName),
        encodeElement(TAG.utf8String, Buffer.from("libp2p")),
      ),
    ),
  );
  const toBeSigned = encodeElement(
    TAG.sequence,
    encodeElement(TAG.version, encodeElement(TAG.integer, Uint8Array.of(VERSION_3))),
    encodeElement(TAG.integer, serialNumber()),
    algorithm,
    name,
    encodeElement(
      TAG.sequence,
      encodeElement(TAG.utcTime, Buffer.from("700101000000Z")),
      // No end (RFC 5280, 4.1.2.5).
      encodeElement(TAG.generalizedTime, Buffer.from("99991231235959Z")),
    ),
    name,
    pair.publicKey,
    encodeElement(
      TAG.extensions,
      encodeElement(
        TAG.sequence,
        encodeElement(TAG.sequence, oid(OID.libp2pKey), encodeElement(TAG.octetString, signedKey)),
      ),
    ),
  );
  const selfSignature = sign("sha256", toBeSigned, createPrivateKey(pair.privateKey));
  const certificate = encodeElement(
    TAG.sequence,
    toBeSigned,
    algorithm,
    encodeElement(TAG.bitString, Uint8Array.of(0), selfSignature),
  );
  return { cert: new X509Certificate(certificate).toString(), key: pair.privateKey };
}

/** A positive integer in its shortest form. */
function serialNumber(): Uint8Array {
  const serial = randomBytes(SERIAL_BYTES);
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f);
  return serial;
}

/**
 * Whose certificate this is. Throws `AUTH_FAILED` for a certificate that is not valid at `nowMs` (Unix milliseconds),
 * not signed by itself, lacks the extension or has one that is not signed by the key it names, has a critical
 * extension that is unknown here, or is of a key that is no Ed25519 key; `FORMAT_INVALID` where it is no certificate.
 */
export async function verifyCertificate(raw: Uint8Array, nowMs: number): Promise<PeerId> {
  if (raw.length > MAX_CERTIFICATE_BYTES) {
    throw refused(`has ${String(raw.length)} bytes, over ${String(MAX_CERTIFICATE_BYTES)}`);
  }
  const { subjectKey, extensions } = readCertificate(raw);
  const certificate = parse(raw);
  if (certificate.validFromDate.getTime() > nowMs) throw refused("is not valid yet");
  if (certificate.validToDate.getTime() < nowMs) throw refused("has expired");
  const [publicKey, signature] = readSignedKey(findKeyExtension(extensions));
  if (!isSelfSigned(certificate)) throw refused("is not signed by its own key");
  if (!(await publicKey.verify(Buffer.concat([SIGNED_PREFIX, subjectKey]), signature))) {
    throw refused("is not signed by the device key that it names");
  }
  return peerIdFromPublicKey(publicKey);
}

function parse(raw: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(raw);
  } catch (cause) {
    throw new MeshError("FORMAT_INVALID", "the certificate can't be read", { cause });
  }
}

function isSelfSigned(certificate: X509Certificate): boolean {
  try {
    return certificate.verify(certificate.publicKey);
  } catch {
    return false;
  }
}

/** The SubjectPublicKeyInfo and the extensions of a certificate (RFC 5280, 4.1). */
function readCertificate(raw: Uint8Array): {
  readonly subjectKey: Uint8Array;
  readonly extensions: readonly DerElement[];
} {
  const [toBeSigned] = readElements(readOnly(raw, TAG.sequence).content);
  const fields = readElements(expectTag(toBeSigned, TAG.sequence).content);
  // Version, serial number, algorithm, issuer, validity, subject, key, and extensions: without the ids of v2.
  const [version, , , , , , subjectKey, extensions] = fields;
  if (fields.length !== 8) throw refused("has other fields than version 3 with extensions has");
  expectTag(version, TAG.version);
  const list = readOnly(expectTag(extensions, TAG.extensions).content, TAG.sequence);
  return {
    subjectKey: expectTag(subjectKey, TAG.sequence).raw,
    extensions: readElements(list.content),
  };
}

/** The value of the one extension that binds the key. */
function findKeyExtension(extensions: readonly DerElement[]): Uint8Array {
  const values: Uint8Array[] = [];
  for (const extension of extensions) {
    const [id, ...rest] = readElements(expectTag(extension, TAG.sequence).content);
    const name = hexOf(expectTag(id, TAG.oid).content);
    const critical = rest.length === 2 && expectTag(rest[0], TAG.boolean).content[0] !== 0;
    if (critical && !UNDERSTOOD.includes(name)) throw refused("has an unknown critical extension");
    if (name === OID.libp2pKey) values.push(expectTag(rest.at(-1), TAG.octetString).content);
  }
  const [value] = values;
  if (value === undefined || values.length > 1) throw refused("has no libp2p key, or several");
  return value;
}

function readSignedKey(value: Uint8Array): readonly [PublicKey, signature: Uint8Array] {
  const [key, signature, ...rest] = readElements(readOnly(value, TAG.sequence).content);
  if (rest.length > 0) throw refused("has more than a key and a signature in its extension");
  const { content } = expectTag(key, TAG.octetString);
  return [readKey(content), expectTag(signature, TAG.octetString).content];
}

/** Device keys are Ed25519 keys; others are refused before anything is computed with them. */
function readKey(protobuf: Uint8Array): Ed25519PrivateKey["publicKey"] {
  if (protobuf.length === ED25519_PROTOBUF_BYTES) {
    try {
      const key = publicKeyFromProtobuf(protobuf);
      if (key.type === "Ed25519" && hexOf(publicKeyToProtobuf(key)) === hexOf(protobuf)) return key;
    } catch {
      // Refused below.
    }
  }
  throw refused("names no Ed25519 key");
}

const refused = (why: string): MeshError =>
  new MeshError("AUTH_FAILED", `the peer's certificate ${why}`);
