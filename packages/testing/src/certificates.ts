// SPDX-License-Identifier: Apache-2.0
/** X.509 certificates (RFC 5280) with Ed25519 keys, made in the process: for servers on loopback, their clients, and who vouches for them. */
import {
  X509Certificate,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
} from "node:crypto";
import type { KeyObject } from "node:crypto";

/** What a certificate says. */
export interface TestCertificateOptions {
  readonly name: string;
  /** A private key, PEM; a fresh one by default. */
  readonly key?: string;
  /** Who signs it; itself by default. */
  readonly issuer?: TestCertificate;
  /** Whether it may sign others. */
  readonly isAuthority?: boolean;
}

/** A certificate with its private key, both PEM. */
export interface TestCertificate {
  readonly name: string;
  readonly cert: string;
  readonly key: string;
}

const LONG_FORM = 0x80;

function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < LONG_FORM) return Buffer.concat([Uint8Array.of(tag, length), content]);
  return Buffer.concat([Uint8Array.of(tag, LONG_FORM | 2, length >> 8, length & 0xff), content]);
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => element(0x30, ...parts);
const oid = (hex: string): Buffer => element(0x06, Buffer.from(hex, "hex"));
const ED25519 = sequence(oid("2b6570"));
const TRUE = element(0x01, Uint8Array.of(0xff));

const distinguishedName = (name: string): Buffer =>
  sequence(element(0x31, sequence(oid("550403"), element(0x0c, Buffer.from(name)))));

const extension = (id: string, critical: boolean, value: Uint8Array): Buffer =>
  sequence(oid(id), ...(critical ? [TRUE] : []), element(0x04, value));

/** `localhost` and the loopback address. */
const LOOPBACK = sequence(
  element(0x82, Buffer.from("localhost")),
  element(0x87, Uint8Array.of(127, 0, 0, 1)),
);

/** Makes a certificate for `localhost` and 127.0.0.1 that is valid now and always. */
export function createTestCertificate(options: TestCertificateOptions): TestCertificate {
  const { name, issuer, isAuthority = false } = options;
  const privateKey =
    options.key === undefined
      ? generateKeyPairSync("ed25519").privateKey
      : createPrivateKey(options.key);
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const signer: KeyObject = issuer === undefined ? privateKey : createPrivateKey(issuer.key);
  const serial = randomBytes(16);
  serial[0] = 0x40;
  const body = sequence(
    element(0xa0, element(0x02, Uint8Array.of(2))),
    element(0x02, serial),
    ED25519,
    distinguishedName(issuer?.name ?? name),
    sequence(
      element(0x17, Buffer.from("700101000000Z")),
      element(0x18, Buffer.from("99991231235959Z")),
    ),
    distinguishedName(name),
    createPublicKey(privateKey).export({ type: "spki", format: "der" }),
    element(
      0xa3,
      sequence(
        extension("551d13", true, isAuthority ? sequence(TRUE) : sequence()),
        extension("551d11", false, LOOPBACK),
      ),
    ),
  );
  const signature = element(0x03, Uint8Array.of(0), sign(null, body, signer));
  const cert = new X509Certificate(sequence(body, ED25519, signature)).toString();
  return { name, cert, key };
}
