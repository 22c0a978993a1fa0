// SPDX-License-Identifier: Apache-2.0
/**
 * Membership records: who may do what in a space.
 *
 * ```
 * record  = CBOR [ body: bstr, signature: bstr(64) ]
 * genesis = CBOR { v: 1, name: tstr, creators: [ bstr(32) ... ] (1 to 8, unique), createdAt: uint (Unix ms), nonce: bstr(16) }
 * act     = CBOR { v: 1, space: bstr(32), author: bstr(32), authority: bstr(32) | null,
 *                  parents: [ bstr(32) ... ] (<= LIMITS.actParents, sorted, unique), time: uint (Unix ms),
 *                  kind: "grant" | "invite" | "revoke" | "policy" | "schema", ... }
 *   grant   device: bstr(32), index: uint, service: "agent" | "hub", role: "read" | "append" | "write" | "manage",
 *           notBefore: uint, notAfter: uint (Unix ms)
 *   invite  key: bstr(32), service, role, notAfter: uint
 *   revoke  device: bstr(32), heads: [ [ inc: bstr(16), seq: uint (from 1), hash: bstr(32) ] ... ] (sorted and unique by inc),
 *           reason: tstr
 *   policy  epoch: uint (from 1), rules: tstr (canonical JSON)
 *   schema  entry: tstr (canonical JSON)
 * signed  = "ctxmesh/genesis/v1\n" || genesis    by the first creator;    "ctxmesh/act/v1\n" || act    by author
 * space id = SHA-256(genesis)    act id = SHA-256(act)
 * ```
 *
 * `authority` names the grant or the invite under which the author acts; null is for creators. `parents` are
 * the acts that the author knew and that no other act it knew had named. What an act is worth is judged in
 * `@ctxmesh/membership`.
 */
import {
  LIMITS,
  MeshError,
  fromHex,
  parseActId,
  parseDeviceKey,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type { ActId, DeviceKey, HeaderHash, IncarnationId, SpaceId } from "@ctxmesh/model";
import { MapReader, decodeCbor, encodeCbor } from "./cbor.ts";
import type { CborValue } from "./cbor.ts";
import { parseCanonicalJson } from "./json.ts";
import { utf8Encode } from "./text.ts";

/** The founding record of a space. */
export interface Genesis {
  /** For people; the id is the hash. 1 to 100 UTF-16 code units, no control characters. */
  readonly name: string;
  /** Their authority comes from here and can't be taken away. The first one signs. */
  readonly creators: readonly DeviceKey[];
  /** Unix milliseconds. */
  readonly createdAt: number;
  readonly nonce: Uint8Array;
}

/** Rights, each including the ones before it. */
export const ROLES = ["read", "append", "write", "manage"] as const;
/** A right of {@link ROLES}. */
export type Role = (typeof ROLES)[number];

const SERVICES = ["agent", "hub"] as const;
/** What kind of node the device is. */
export type Service = (typeof SERVICES)[number];

/** What every act has. */
export interface ActBase {
  readonly space: SpaceId;
  readonly author: DeviceKey;
  /** The grant or the invite that lets the author do this; null for a creator. */
  readonly authority: ActId | null;
  /** What the author knew: acts not named by others that it knew. */
  readonly parents: readonly ActId[];
  /** Unix milliseconds, by the author's clock. */
  readonly time: number;
}

/** A device gets a role for a time. */
export interface GrantAct extends ActBase {
  readonly kind: "grant";
  readonly device: DeviceKey;
  /** Number of the device in the space, for people. */
  readonly index: number;
  readonly service: Service;
  readonly role: Role;
  /** Unix milliseconds, inclusive. */
  readonly notBefore: number;
  /** Unix milliseconds, inclusive. */
  readonly notAfter: number;
}

/** A key gets the right to grant: whoever has it may join. */
export interface InviteAct extends ActBase {
  readonly kind: "invite";
  readonly key: DeviceKey;
  readonly service: Service;
  /** The highest role that it may grant. */
  readonly role: Role;
  /** Unix milliseconds, inclusive. */
  readonly notAfter: number;
}

/** The last batch of a chain that stands after a revocation. */
export interface RevokedHead {
  readonly incarnation: IncarnationId;
  readonly seq: number;
  readonly hash: HeaderHash;
}

/** A device or an invite is shut out for good. */
export interface RevokeAct extends ActBase {
  readonly kind: "revoke";
  /** The key of a device or of an invite. */
  readonly device: DeviceKey;
  /** What of its chains stands; everything else that it wrote is void. */
  readonly heads: readonly RevokedHead[];
  /** For people; `LIMITS.reasonBytes`, no control characters. */
  readonly reason: string;
}

/** The space gets another policy. */
export interface PolicyAct extends ActBase {
  readonly kind: "policy";
  readonly epoch: number;
  /** Canonical JSON (RFC 8785): an array of rules. */
  readonly rules: string;
}

/** The space gets a version of a schema. */
export interface SchemaAct extends ActBase {
  readonly kind: "schema";
  /** Canonical JSON (RFC 8785): an object. What it says is for `@ctxmesh/schema`. */
  readonly entry: string;
}

/** What changes the membership of a space, and what holds in it. */
export type Act = GrantAct | InviteAct | RevokeAct | PolicyAct | SchemaAct;

/** Exact signed bytes with their signature. */
export interface SignedRecord {
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
}

const NAME = /^\P{Cc}{1,100}$/v;
const CONTROL = /\p{Cc}/v;
const MAX_NAME_LENGTH = 100;
/** Parents and heads have 13 bytes for each item at the least; what else there is are a few. */
const BYTES_PER_ITEM = 8;
/** A record around a body: the array's head, the body's head, the signature. */
const RECORD_OVERHEAD = 80;

const ACT_NAMES = ["v", "space", "author", "authority", "parents", "time", "kind"] as const;
const KIND_NAMES: Readonly<Record<Act["kind"], readonly string[]>> = {
  grant: ["device", "index", "service", "role", "notBefore", "notAfter"],
  invite: ["key", "service", "role", "notAfter"],
  revoke: ["device", "heads", "reason"],
  policy: ["epoch", "rules"],
  schema: ["entry"],
};

function refuse(problem: string, field: string): never {
  throw new MeshError("FORMAT_INVALID", `${field} ${problem}`, { field });
}

const concat = (domain: string, body: Uint8Array): Uint8Array => {
  const tag = utf8Encode(domain);
  const input = new Uint8Array(tag.length + body.length);
  input.set(tag);
  input.set(body, tag.length);
  return input;
};

/** The bytes that the first creator signs. */
export const genesisSigningInput = (body: Uint8Array): Uint8Array =>
  concat("ctxmesh/genesis/v1\n", body);

/** The bytes that an act's author signs. */
export const actSigningInput = (body: Uint8Array): Uint8Array => concat("ctxmesh/act/v1\n", body);

/** The deterministic bytes of a genesis record. */
export const encodeGenesis = (genesis: Genesis): Uint8Array =>
  encodeCbor({
    v: 1,
    name: genesis.name,
    creators: genesis.creators.map((creator) => fromHex(creator)),
    createdAt: genesis.createdAt,
    nonce: genesis.nonce,
  });

function bytesOf(value: CborValue | undefined, length: number, field: string): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length !== length) {
    return refuse(`is not ${String(length)} bytes`, field);
  }
  return value;
}

/** Parses an untrusted genesis record. Throws `FORMAT_INVALID` or `LIMIT_EXCEEDED`. */
export function decodeGenesis(body: Uint8Array): Genesis {
  const read = new MapReader(
    decodeCbor(body, LIMITS.actBytes, "genesis", BYTES_PER_ITEM),
    ["v", "name", "creators", "createdAt", "nonce"],
    "genesis",
  );
  if (read.uint("v") !== 1) refuse("is not 1", "genesis.v");
  const name = read.text("name");
  if (name.length > MAX_NAME_LENGTH || !NAME.test(name)) {
    refuse("is not 1 to 100 characters without control characters", "genesis.name");
  }
  const creators = read
    .array("creators", LIMITS.creators)
    .map((key) => parseDeviceKey(toHex(bytesOf(key, 32, "genesis.creators"))));
  if (creators.length === 0 || new Set(creators).size !== creators.length) {
    refuse("is empty or names one twice", "genesis.creators");
  }
  return { name, creators, createdAt: read.uint("createdAt"), nonce: read.bytes("nonce", 16) };
}

const headOf = ({ incarnation, seq, hash }: RevokedHead): CborValue => [
  fromHex(incarnation),
  seq,
  fromHex(hash),
];

function kindMembers(act: Act): Readonly<Record<string, CborValue>> {
  switch (act.kind) {
    case "grant": {
      const { index, service, role, notBefore, notAfter } = act;
      return { device: fromHex(act.device), index, service, role, notBefore, notAfter };
    }
    case "invite":
      return {
        key: fromHex(act.key),
        service: act.service,
        role: act.role,
        notAfter: act.notAfter,
      };
    case "revoke":
      return { device: fromHex(act.device), heads: act.heads.map(headOf), reason: act.reason };
    case "policy":
      return { epoch: act.epoch, rules: act.rules };
    case "schema":
      return { entry: act.entry };
  }
}

/** The deterministic bytes of an act. */
export const encodeAct = (act: Act): Uint8Array =>
  encodeCbor({
    v: 1,
    space: fromHex(act.space),
    author: fromHex(act.author),
    authority: act.authority === null ? null : fromHex(act.authority),
    parents: act.parents.map((parent) => fromHex(parent)),
    time: act.time,
    kind: act.kind,
    ...kindMembers(act),
  });

function oneOf<T extends string>(text: string, allowed: readonly T[], field: string): T {
  const found = allowed.find((candidate) => candidate === text);
  return found ?? refuse(`is not one of ${allowed.join(", ")}`, field);
}

const isAscending = (ids: readonly string[]): boolean =>
  ids.every((id, i) => i === 0 || (ids[i - 1] ?? "") < id);

function decodeHead(value: CborValue): RevokedHead {
  const parts: readonly CborValue[] = Array.isArray(value) ? value : [];
  const [incarnation, seq, hash] = parts;
  if (parts.length !== 3 || typeof seq !== "number" || seq < 1) {
    return refuse("holds what is not [incarnation, seq from 1, hash]", "revoke.heads");
  }
  return {
    incarnation: parseIncarnationId(toHex(bytesOf(incarnation, 16, "revoke.heads"))),
    seq,
    hash: parseHeaderHash(toHex(bytesOf(hash, 32, "revoke.heads"))),
  };
}

function decodeGrant(base: ActBase, read: MapReader): GrantAct {
  const grant: GrantAct = {
    ...base,
    kind: "grant",
    device: parseDeviceKey(toHex(read.bytes("device", 32))),
    index: read.uint("index"),
    service: oneOf(read.text("service"), SERVICES, "grant.service"),
    role: oneOf(read.text("role"), ROLES, "grant.role"),
    notBefore: read.uint("notBefore"),
    notAfter: read.uint("notAfter"),
  };
  if (grant.notAfter < grant.notBefore) refuse("is before notBefore", "grant.notAfter");
  return grant;
}

const decodeInvite = (base: ActBase, read: MapReader): InviteAct => ({
  ...base,
  kind: "invite",
  key: parseDeviceKey(toHex(read.bytes("key", 32))),
  service: oneOf(read.text("service"), SERVICES, "invite.service"),
  role: oneOf(read.text("role"), ROLES, "invite.role"),
  notAfter: read.uint("notAfter"),
});

function decodeRevoke(base: ActBase, read: MapReader): RevokeAct {
  const heads = read.array("heads", LIMITS.headsPerRevocation).map(decodeHead);
  if (!isAscending(heads.map(({ incarnation }) => incarnation))) {
    refuse("is not sorted and unique by incarnation", "revoke.heads");
  }
  const reason = read.text("reason");
  if (utf8Encode(reason).length > LIMITS.reasonBytes || CONTROL.test(reason)) {
    refuse(`has over ${String(LIMITS.reasonBytes)} bytes or a control character`, "revoke.reason");
  }
  const device = parseDeviceKey(toHex(read.bytes("device", 32)));
  return { ...base, kind: "revoke", device, heads, reason };
}

function decodePolicy(base: ActBase, read: MapReader): PolicyAct {
  const epoch = read.uint("epoch");
  if (epoch < 1) refuse("is not a whole number from 1", "policy.epoch");
  const rules = read.text("rules");
  if (!Array.isArray(parseCanonicalJson(rules, "policy.rules"))) {
    refuse("is not an array", "policy.rules");
  }
  return { ...base, kind: "policy", epoch, rules };
}

function decodeSchema(base: ActBase, read: MapReader): SchemaAct {
  const entry = read.text("entry");
  const value = parseCanonicalJson(entry, "schema.entry");
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    refuse("is not an object", "schema.entry");
  }
  return { ...base, kind: "schema", entry };
}

const DECODERS: Readonly<Record<Act["kind"], (base: ActBase, read: MapReader) => Act>> = {
  grant: decodeGrant,
  invite: decodeInvite,
  revoke: decodeRevoke,
  policy: decodePolicy,
  schema: decodeSchema,
};

/**
 * Parses an untrusted act; nothing is verified. Throws `LIMIT_EXCEEDED` over `LIMITS.actBytes`, else
 * `FORMAT_INVALID`, or `INPUT_INVALID` for a policy's rules, or a schema's entry, that are not canonical JSON.
 */
export function decodeAct(body: Uint8Array): Act {
  const value = decodeCbor(body, LIMITS.actBytes, "act", BYTES_PER_ITEM);
  const given = (value as Readonly<Record<string, CborValue>> | null)?.["kind"];
  const kind = oneOf(
    typeof given === "string" ? given : "",
    ["grant", "invite", "revoke", "policy", "schema"],
    "act.kind",
  );
  const read = new MapReader(value, [...ACT_NAMES, ...KIND_NAMES[kind]], "act");
  if (read.uint("v") !== 1) refuse("is not 1", "act.v");
  const authority = read.bytesOrNull("authority", 32);
  const parents = read
    .array("parents", LIMITS.actParents)
    .map((parent) => parseActId(toHex(bytesOf(parent, 32, "act.parents"))));
  if (!isAscending(parents)) refuse("is not sorted and unique", "act.parents");
  const base: ActBase = {
    space: parseSpaceId(toHex(read.bytes("space", 32))),
    author: parseDeviceKey(toHex(read.bytes("author", 32))),
    authority: authority === null ? null : parseActId(toHex(authority)),
    parents,
    time: read.uint("time"),
  };
  return DECODERS[kind](base, read);
}

/** The bytes of a signed record. */
export const encodeSignedRecord = (record: SignedRecord): Uint8Array =>
  encodeCbor([record.body, record.signature]);

/** Parses an untrusted signed record; the signature is not verified. Throws `FORMAT_INVALID` or `LIMIT_EXCEEDED`. */
export function decodeSignedRecord(bytes: Uint8Array): SignedRecord {
  const parts = decodeCbor(
    bytes,
    LIMITS.actBytes + RECORD_OVERHEAD,
    "signed record",
    BYTES_PER_ITEM,
  );
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
