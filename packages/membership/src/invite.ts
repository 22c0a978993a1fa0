// SPDX-License-Identifier: Apache-2.0
/**
 * The token of an invite, which is all that a new device needs to join:
 *
 * ```
 * token   = "ctxmesh-invite1." || base64url( body || SHA-256(body)[0..8] )      without padding
 * body    = CBOR { v: 1, genesis: bstr (signed record), act: bstr(32), seed: bstr(32),
 *                  contacts: [ { address: tstr, device: bstr(32) } ... ] (1 to LIMITS.inviteContacts) }
 * ```
 *
 * `seed` is the private key of the invite, so the token is a secret. The checksum is for slips of copying;
 * what protects the space is that its id is the hash of the genesis and that the invite's act is signed.
 */
import {
  MapReader,
  decodeCbor,
  decodeSignedRecord,
  encodeCbor,
  encodeSignedRecord,
  fromBase64,
  toBase64,
} from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import { createDeviceSigner, sha256 } from "@ctxmesh/crypto";
import { LIMITS, MeshError, fromHex, parseActId, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { ActId, DeviceKey, SignatureVerifier } from "@ctxmesh/model";
import { issueGrant } from "./author.ts";
import { openSpace } from "./genesis.ts";
import { DEFAULT_GRANT_MS } from "./space.ts";
import type { Space } from "./space.ts";

const PREFIX = "ctxmesh-invite1.";
const CHECKSUM_BYTES = 8;
const CONTROL = /\p{Cc}/v;

/** A node that takes new devices in. */
export interface Contact {
  /** As its transport shows it; no control characters, `LIMITS.contactLength` characters. */
  readonly address: string;
  readonly device: DeviceKey;
}

/** What a token says. */
export interface Invitation {
  /** The space as it was founded, without acts; these come from a contact. */
  readonly space: Space;
  /** The invite's act. */
  readonly act: ActId;
  /** Private key of the invite, 32 bytes. */
  readonly seed: Uint8Array;
  /** Public key of the invite, under which to connect and to author the first grant. */
  readonly key: DeviceKey;
  readonly contacts: readonly Contact[];
}

const refuse = (problem: string): never => {
  throw new MeshError("FORMAT_INVALID", `invite: ${problem}`, {
    field: "invite",
    remedy: "copy the whole token, or ask for a new one",
  });
};

const checksumOf = (body: Uint8Array): Uint8Array => sha256(body).subarray(0, CHECKSUM_BYTES);

const keyOf = (seed: Uint8Array): DeviceKey =>
  parseDeviceKey(toHex(createDeviceSigner(seed).publicKey));

/** Base64url without padding (RFC 4648, section 5). */
const toBase64url = (bytes: Uint8Array): string =>
  toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/u, "");

function base64urlBytes(text: string): Uint8Array {
  if (!/^[\w-]*$/u.test(text)) refuse("is not base64url");
  const padded = text.padEnd(Math.ceil(text.length / 4) * 4, "=");
  try {
    return fromBase64(padded.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return refuse("is not base64url");
  }
}

function contactOf(value: CborValue): Contact {
  const read = new MapReader(value, ["address", "device"], "invite.contacts");
  const address = read.text("address");
  if (address.length === 0 || address.length > LIMITS.contactLength || CONTROL.test(address)) {
    refuse("an address is empty, too long or has a control character");
  }
  return { address, device: parseDeviceKey(toHex(read.bytes("device", 32))) };
}

/**
 * The token of an invite of a space. Throws `POLICY_REFUSED` when the space has no invite for the seed's key, and
 * `FORMAT_INVALID` for contacts that no one could read back.
 */
export function encodeInvite(
  space: Space,
  invite: { readonly seed: Uint8Array; readonly contacts: readonly Contact[] },
): string {
  const known = space.invites.get(keyOf(invite.seed));
  if (known === undefined) {
    throw new MeshError(
      "POLICY_REFUSED",
      "the space has no invite for this key, or it was revoked",
    );
  }
  const contacts = invite.contacts.map(({ address, device }) => ({
    address,
    device: fromHex(device),
  }));
  contactsOf(contacts);
  const body = encodeCbor({
    v: 1,
    genesis: encodeSignedRecord(space.genesisRecord),
    act: fromHex(known.id),
    seed: invite.seed,
    contacts,
  });
  return PREFIX + toBase64url(Uint8Array.of(...body, ...checksumOf(body)));
}

function contactsOf(values: readonly CborValue[]): readonly Contact[] {
  if (values.length === 0 || values.length > LIMITS.inviteContacts) {
    refuse(`needs 1 to ${String(LIMITS.inviteContacts)} contacts`);
  }
  return values.map(contactOf);
}

/** Parses an untrusted token; space around it is passed over. Throws `LIMIT_EXCEEDED`, `FORMAT_INVALID` or `SIGNATURE_INVALID`. */
export function parseInvite(text: string, verifier: SignatureVerifier): Invitation {
  const token = text.trim();
  if (token.length > LIMITS.inviteLength) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `invite has ${String(token.length)} characters, the limit is ${String(LIMITS.inviteLength)}`,
      { field: "invite" },
    );
  }
  if (!token.startsWith(PREFIX)) return refuse(`does not begin with ${PREFIX}`);
  const bytes = base64urlBytes(token.slice(PREFIX.length));
  const body = bytes.subarray(0, -CHECKSUM_BYTES);
  if (
    bytes.length <= CHECKSUM_BYTES ||
    toHex(checksumOf(body)) !== toHex(bytes.subarray(-CHECKSUM_BYTES))
  ) {
    return refuse("is damaged or incomplete");
  }
  const read = new MapReader(
    decodeCbor(body, LIMITS.inviteLength, "invite"),
    ["v", "genesis", "act", "seed", "contacts"],
    "invite",
  );
  if (read.uint("v") !== 1) return refuse("is of an unknown version");
  const seed = read.bytes("seed", 32);
  return {
    space: openSpace(decodeSignedRecord(read.byteString("genesis")), verifier),
    act: parseActId(toHex(read.bytes("act", 32))),
    seed,
    key: keyOf(seed),
    contacts: contactsOf(read.array("contacts", LIMITS.inviteContacts)),
  };
}

/**
 * The space, in which the invite has to be known, with a grant for a device by the invite: of its role and
 * service, for 30 days from `now` (Unix milliseconds). Throws `POLICY_REFUSED` when there is no such invite,
 * it was revoked or has ended, or the device was revoked.
 */
export function acceptInvite(
  space: Space,
  seed: Uint8Array,
  device: DeviceKey,
  now: number,
): Space {
  const invite = space.invites.get(keyOf(seed));
  if (invite === undefined) {
    throw new MeshError("POLICY_REFUSED", "the invite was revoked, or its act has not arrived", {
      remedy: "ask for a new one",
    });
  }
  const { service, role } = invite;
  const notAfter = now + DEFAULT_GRANT_MS;
  return issueGrant(space, createDeviceSigner(seed), {
    device,
    service,
    role,
    notBefore: now,
    notAfter,
    now,
  });
}
