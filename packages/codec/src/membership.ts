// SPDX-License-Identifier: Apache-2.0
/**
 * Membership records: who may write in a space.
 *
 * ```
 * record  = CBOR [ body: bstr, signature: bstr(64) ]
 * genesis = CBOR { v: 1, name: tstr, creator: bstr(32), createdAt: uint (Unix ms), nonce: bstr(16) }
 * grant   = CBOR { v: 1, space: bstr(32), device: bstr(32), index: uint, service: "agent"|"hub",
 *                  role: "read"|"append"|"write"|"manage", notBefore: uint, notAfter: uint (Unix ms),
 *                  issuer: bstr(32) }
 * signed  = "ctxmesh/genesis/v1\n" || genesis    by creator;    "ctxmesh/grant/v1\n" || grant    by issuer
 * space id = SHA-256(genesis)
 * ```
 */
import { LIMITS, MeshError, fromHex, parseDeviceKey, parseSpaceId, toHex } from "@ctxmesh/model";
import type { DeviceKey, SpaceId } from "@ctxmesh/model";
import { MapReader, decodeCbor, encodeCbor } from "./cbor.ts";
import { utf8Encode } from "./text.ts";

/** The founding record of a space. */
export interface Genesis {
  /** For people; the id is the hash. */
  readonly name: string;
  readonly creator: DeviceKey;
  /** Unix milliseconds. */
  readonly createdAt: number;
  readonly nonce: Uint8Array;
}

/** Rights, each including the ones before it. */
export const ROLES = ["read", "append", "write", "manage"] as const;
/** A right of {@link ROLES}. */
export type Role = (typeof ROLES)[number];

/** What kind of node the device is. */
export type Service = "agent" | "hub";

/** The signed right of a device in a space. */
export interface Grant {
  readonly space: SpaceId;
  readonly device: DeviceKey;
  /** Number of the device in the space, unique. */
  readonly index: number;
  readonly service: Service;
  readonly role: Role;
  /** Unix milliseconds, inclusive. */
  readonly notBefore: number;
  /** Unix milliseconds, inclusive. */
  readonly notAfter: number;
  readonly issuer: DeviceKey;
}

/** Exact signed bytes with their signature. */
export interface SignedRecord {
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
}

const MAX_NAME_LENGTH = 100;

const concat = (domain: string, body: Uint8Array): Uint8Array => {
  const tag = utf8Encode(domain);
  const input = new Uint8Array(tag.length + body.length);
  input.set(tag);
  input.set(body, tag.length);
  return input;
};

/** The bytes that a creator signs. */
export const genesisSigningInput = (body: Uint8Array): Uint8Array =>
  concat("ctxmesh/genesis/v1\n", body);

/** The bytes that an issuer signs. */
export const grantSigningInput = (body: Uint8Array): Uint8Array =>
  concat("ctxmesh/grant/v1\n", body);

/** The deterministic bytes of a genesis record. */
export const encodeGenesis = (genesis: Genesis): Uint8Array =>
  encodeCbor({
    v: 1,
    name: genesis.name,
    creator: fromHex(genesis.creator),
    createdAt: genesis.createdAt,
    nonce: genesis.nonce,
  });

/** Parses an untrusted genesis record. Throws `FORMAT_INVALID`. */
export function decodeGenesis(body: Uint8Array): Genesis {
  const read = new MapReader(
    decodeCbor(body, LIMITS.smallFileBytes, "genesis"),
    ["v", "name", "creator", "createdAt", "nonce"],
    "genesis",
  );
  const name = read.text("name");
  if (read.uint("v") !== 1 || name.length === 0 || name.length > MAX_NAME_LENGTH) {
    throw new MeshError("FORMAT_INVALID", "genesis has an unknown version or a bad name");
  }
  return {
    name,
    creator: parseDeviceKey(toHex(read.bytes("creator", 32))),
    createdAt: read.uint("createdAt"),
    nonce: read.bytes("nonce", 16),
  };
}

/** The deterministic bytes of a grant. */
export const encodeGrant = (grant: Grant): Uint8Array =>
  encodeCbor({
    v: 1,
    space: fromHex(grant.space),
    device: fromHex(grant.device),
    index: grant.index,
    service: grant.service,
    role: grant.role,
    notBefore: grant.notBefore,
    notAfter: grant.notAfter,
    issuer: fromHex(grant.issuer),
  });

function oneOf<T extends string>(text: string, allowed: readonly T[], field: string): T {
  const found = allowed.find((candidate) => candidate === text);
  if (found === undefined) {
    throw new MeshError("FORMAT_INVALID", `${field} is not one of ${allowed.join(", ")}`, {
      field,
    });
  }
  return found;
}

/** Parses an untrusted grant. Throws `FORMAT_INVALID`. */
export function decodeGrant(body: Uint8Array): Grant {
  const read = new MapReader(
    decodeCbor(body, LIMITS.smallFileBytes, "grant"),
    ["v", "space", "device", "index", "service", "role", "notBefore", "notAfter", "issuer"],
    "grant",
  );
  if (read.uint("v") !== 1) throw new MeshError("FORMAT_INVALID", "grant.v is not 1");
  return {
    space: parseSpaceId(toHex(read.bytes("space", 32))),
    device: parseDeviceKey(toHex(read.bytes("device", 32))),
    index: read.uint("index"),
    service: oneOf(read.text("service"), ["agent", "hub"], "grant.service"),
    role: oneOf(read.text("role"), ROLES, "grant.role"),
    notBefore: read.uint("notBefore"),
    notAfter: read.uint("notAfter"),
    issuer: parseDeviceKey(toHex(read.bytes("issuer", 32))),
  };
}

/** The bytes of a signed record. */
export const encodeSignedRecord = (record: SignedRecord): Uint8Array =>
  encodeCbor([record.body, record.signature]);

/** Parses an untrusted signed record; the signature is not verified. Throws `FORMAT_INVALID`. */
export function decodeSignedRecord(bytes: Uint8Array): SignedRecord {
  const parts = decodeCbor(bytes, LIMITS.smallFileBytes, "signed record");
  const [body, signature]: readonly unknown[] = Array.isArray(parts) ? parts : [];
  if (
    !Array.isArray(parts) ||
    parts.length !== 2 ||
    !(body instanceof Uint8Array) ||
    !(signature instanceof Uint8Array) ||
    signature.length !== 64
  ) {
    throw new MeshError("FORMAT_INVALID", "signed record is not [body, 64-byte signature]");
  }
  return { body, signature };
}
