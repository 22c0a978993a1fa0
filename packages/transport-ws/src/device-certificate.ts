// SPDX-License-Identifier: Apache-2.0
/**
 * Certificates of device keys, for hubs that ask for one at their door: signed by themselves (RFC 5280), or as requests (PKCS #10, RFC 2986) that
 * an authority answers with one. Their subject is `CN=<device key, hex>`; a hub looks at the key alone.
 */
import { createPrivateKey, createPublicKey, randomBytes, sign } from "node:crypto";
import { toHex } from "@ctxmesh/model";

const TAG = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  /** `[0]` of a request: attributes; of a certificate: its version. */
  zero: 0xa0,
  /** `[3]`: extensions. */
  three: 0xa3,
} as const;
const OID = {
  ed25519: "2b6570",
  commonName: "550403",
  keyUsage: "551d0f",
  extendedKeyUsage: "551d25",
  clientAuth: "2b06010505070302",
} as const;
/** PKCS #8 of an Ed25519 seed (RFC 8410, 7) without the seed. */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const LONG_FORM = 0x80;
const SERIAL_BYTES = 16;
const LINE = /.{1,64}/gu;

function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < LONG_FORM) return Buffer.concat([Uint8Array.of(tag, length), content]);
  const bytes = length < 0x100 ? [length] : [length >> 8, length & 0xff];
  return Buffer.concat([Uint8Array.of(tag, LONG_FORM | bytes.length, ...bytes), content]);
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => element(TAG.sequence, ...parts);
const oid = (hex: string): Buffer => element(TAG.oid, Buffer.from(hex, "hex"));
const extension = (id: string, value: Uint8Array): Buffer =>
  sequence(oid(id), element(TAG.octetString, value));

const pem = (label: string, der: Uint8Array): string => {
  const lines = Buffer.from(der).toString("base64").match(LINE) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
};

/** The parts that both kinds are made of, and how they are signed. */
function partsOf(seed: Uint8Array): {
  readonly name: Buffer;
  readonly key: Buffer;
  readonly signed: (body: Buffer) => Buffer;
} {
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const key = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const commonName = element(TAG.utf8String, Buffer.from(toHex(key.subarray(-32))));
  return {
    name: sequence(element(TAG.set, sequence(oid(OID.commonName), commonName))),
    key,
    signed: (body) =>
      sequence(
        body,
        sequence(oid(OID.ed25519)),
        element(TAG.bitString, Uint8Array.of(0), sign(null, body, privateKey)),
      ),
  };
}

/**
 * Makes a certificate, PEM, of a device's key (its seed), signed by that key. It has no end: the grant of the device has one. Good for hubs that do not
 * name who has to vouch for it.
 */
export function createDeviceCertificate(seed: Uint8Array): string {
  const { name, key, signed } = partsOf(seed);
  const serial = randomBytes(SERIAL_BYTES);
  // A positive integer in its shortest form.
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f);
  const body = sequence(
    element(TAG.zero, element(TAG.integer, Uint8Array.of(2))),
    element(TAG.integer, serial),
    sequence(oid(OID.ed25519)),
    name,
    // An edge device may not know the date.
    sequence(
      element(TAG.utcTime, Buffer.from("700101000000Z")),
      element(TAG.generalizedTime, Buffer.from("99991231235959Z")),
    ),
    name,
    key,
    element(
      TAG.three,
      sequence(
        extension(OID.keyUsage, element(TAG.bitString, Uint8Array.of(7, 0x80))),
        extension(OID.extendedKeyUsage, sequence(oid(OID.clientAuth))),
      ),
    ),
  );
  return pem("CERTIFICATE", signed(body));
}

/** Makes a request, PEM, for a certificate of a device's key (its seed). */
export function createCertificateRequest(seed: Uint8Array): string {
  const { name, key, signed } = partsOf(seed);
  const body = sequence(element(TAG.integer, Uint8Array.of(0)), name, key, element(TAG.zero));
  return pem("CERTIFICATE REQUEST", signed(body));
}
