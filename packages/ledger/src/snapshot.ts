// SPDX-License-Identifier: Apache-2.0
/** Snapshots: the facts of a space as canonical leaves, their Merkle root, and its seal. */
import { parseCanonicalJson, utf8Encode } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import type { Signer } from "@ctxmesh/crypto";
import { LIMITS, MeshError, isHlc, parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { JsonValue, RandomSource } from "@ctxmesh/model";
import { parseEnvelope, signEnvelope } from "./dsse.ts";
import { leafHash, merkleRoot, nodeHash } from "./merkle.ts";
import { malformed, readMembers, readText } from "./read.ts";
import { STATEMENT_PAYLOAD_TYPE, encodeStatement, parseStatement } from "./statement.ts";
import type { SnapshotStatement } from "./statement.ts";

/**
 * One fact candidate as RFC 8785 text: an object with `doc`, `key` and the members of `Candidate`
 * (`deleted` only where true, and then no `value`; absent members are left out).
 */
export type CanonicalLeaf = string;

/** Bytes of the random salt in front of each leaf. */
export const SALT_BYTES = 16;

/** A leaf of a snapshot. Its tree leaf data is `salt || UTF-8(leaf)`, so that a hash gives away nothing about a short fact. */
export interface SnapshotLeaf {
  readonly salt: Uint8Array;
  readonly leaf: CanonicalLeaf;
}

/** Leaves sorted by text (UTF-16 code units, as RFC 8785 sorts), each once, and their root. */
export interface Snapshot {
  readonly leaves: readonly SnapshotLeaf[];
  readonly root: Uint8Array;
}

/**
 * Checks an untrusted leaf: canonical JSON, an object with a document name, a key, a device key as
 * writer and an HLC; or a root of rich content. Throws `FORMAT_INVALID`, `INPUT_INVALID` or `LIMIT_EXCEEDED`.
 */
export function assertLeaf(leaf: CanonicalLeaf): void {
  const value = parseCanonicalJson(leaf, "leaf");
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    malformed("leaf is not an object");
  }
  const members = value as Readonly<Record<string, JsonValue>>;
  parseDocumentName(readText(members["doc"], "leaf.doc"));
  if ("root" in members) {
    assertRichLeaf(members);
    return;
  }
  const key = utf8Encode(readText(members["key"], "leaf.key"));
  if (key.length < 1 || key.length > LIMITS.keyBytes) {
    malformed(`leaf.key has ${String(key.length)} bytes, not 1 to ${String(LIMITS.keyBytes)}`);
  }
  parseDeviceKey(readText(members["writer"], "leaf.writer"));
  if (!isHlc(members["hlc"])) malformed("leaf.hlc is not an HLC");
}

/** A member as text: a string as it is, anything else as JSON. */
export const textMember = (members: Readonly<Record<string, JsonValue>>, name: string): string => {
  const value = members[name];
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
};

/** The members of a leaf that was checked before, or will be. Throws `FORMAT_INVALID` for what is no JSON object. */
export function leafMembers(leaf: CanonicalLeaf): Readonly<Record<string, JsonValue>> {
  let value: unknown;
  try {
    value = JSON.parse(leaf);
  } catch {
    return malformed("leaf is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return malformed("leaf is not an object");
  }
  return value as Readonly<Record<string, JsonValue>>;
}

/** A root of rich content: doc, root, type, value, and nothing else. */
function assertRichLeaf(members: Readonly<Record<string, JsonValue>>): void {
  readMembers(members, ["doc", "root", "type", "value"], "leaf");
  readText(members["root"], "leaf.root");
  if (!["text", "list", "map", "xml"].includes(readText(members["type"], "leaf.type"))) {
    malformed("leaf.type is not text, list, map or xml");
  }
}

function sortedUnique(leaves: readonly CanonicalLeaf[]): CanonicalLeaf[] {
  const sorted = leaves.toSorted();
  if (sorted.some((leaf, i) => leaf === sorted[i - 1])) {
    throw new MeshError("INPUT_INVALID", "a snapshot names the same fact candidate twice");
  }
  return sorted;
}

/** The tree leaf hash of a salted leaf: SHA-256(0x00 || salt || UTF-8(leaf)). */
export function saltedLeafHash({ salt, leaf }: SnapshotLeaf): Uint8Array {
  const text = utf8Encode(leaf);
  const data = new Uint8Array(1 + salt.length + text.length);
  data.set(salt, 1);
  data.set(text, 1 + salt.length);
  return sha256(data);
}

/** The Merkle root of salted leaves in the given order. Of the tree only its edge is kept: there may be very many leaves. */
export function snapshotRoot(leaves: readonly SnapshotLeaf[]): Uint8Array {
  const edge: { level: number; hash: Uint8Array }[] = [];
  for (const leaf of leaves) {
    let node = { level: 0, hash: saltedLeafHash(leaf) };
    for (let left = edge.at(-1); left?.level === node.level; left = edge.at(-1)) {
      edge.pop();
      node = { level: node.level + 1, hash: nodeHash(left.hash, node.hash) };
    }
    edge.push(node);
  }
  const last = edge.pop();
  return last === undefined
    ? sha256()
    : edge.reduceRight((right, left) => nodeHash(left.hash, right), last.hash);
}

/** Sorts and salts leaves (16 random bytes each). Throws `INPUT_INVALID` for a repeated leaf. */
export function buildSnapshot(leaves: readonly CanonicalLeaf[], random: RandomSource): Snapshot {
  const salted = sortedUnique(leaves).map((leaf) => ({ salt: random.bytes(SALT_BYTES), leaf }));
  return { leaves: salted, root: snapshotRoot(salted) };
}

/** The content digest by which replicas compare: the Merkle root of the sorted leaves without salt. Throws `INPUT_INVALID` for a repeated leaf. */
export const contentRoot = (leaves: readonly CanonicalLeaf[]): Uint8Array =>
  merkleRoot(sortedUnique(leaves).map((leaf) => leafHash(utf8Encode(leaf))));

/** What {@link sealSnapshot} signs, and with what. */
export interface SealInput extends Omit<SnapshotStatement, "root" | "leaves"> {
  /** A key of the suite `ML-DSA-65-Ed25519`. */
  readonly signer: Signer;
  readonly snapshot: Snapshot;
}

/**
 * Seals a snapshot: the bytes of a DSSE envelope with one composite signature over the statement.
 * Throws `KEY_INVALID` for another suite; `FORMAT_INVALID` or `INPUT_INVALID` for a statement that
 * no verifier would take.
 */
export function sealSnapshot({ signer, snapshot, ...input }: SealInput): Uint8Array {
  if (signer.key.alg !== "ML-DSA-65-Ed25519") {
    throw new MeshError(
      "KEY_INVALID",
      `snapshots are sealed with ML-DSA-65-Ed25519, not ${signer.key.alg}`,
    );
  }
  const root = toHex(snapshot.root);
  const payload = encodeStatement({ ...input, root, leaves: snapshot.leaves.length });
  parseStatement(payload);
  return signEnvelope(signer, STATEMENT_PAYLOAD_TYPE, payload);
}

/** The SHA-256 of an envelope's bytes in hex: the next seal's `previous`. */
export const envelopeHash = (envelope: Uint8Array): string => toHex(sha256(envelope));

/** What the envelope of a seal states, without a look at its signature: for whoever made it. Throws `FORMAT_INVALID`. */
export const envelopeStatement = (envelope: Uint8Array): SnapshotStatement =>
  parseStatement(parseEnvelope(envelope).payload);

/** Whether leaves are those that an envelope is about, without a look at its signature. Throws what a malformed envelope is refused with. */
export const sealedLeavesMatch = ({
  leaves,
  envelope,
}: {
  readonly leaves: readonly SnapshotLeaf[];
  readonly envelope: Uint8Array;
}): boolean => toHex(snapshotRoot(leaves)) === envelopeStatement(envelope).root;
