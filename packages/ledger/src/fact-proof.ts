// SPDX-License-Identifier: Apache-2.0
/**
 * Fact proofs: one key of a sealed snapshot, provable without the rest of it, as deterministic CBOR
 * (RFC 8949 section 4.2.1).
 *
 * ```
 * { "v": 1,
 *   "facts": [ { "index": uint, "salt": bstr(16), "leaf": tstr, "hashes": bstr(32 * n) } ... ]    one per candidate of the key
 *   "seal":  { "root": bstr(32), "leaves": uint, "hub": bstr(32), "space": bstr(32), "sequence": uint, "previous": bstr(32) | null,
 *              "frontier": [ [ replica bstr(32), incarnation bstr(16), seq uint, hash bstr(32) ] ... ],
 *              "policyEpoch": uint, "asOf": uint, "sealedAt": uint, "keyid": bstr(32), "sig": bstr },
 *   "log":   { "index": uint, "hashes": bstr(32 * n), "text": tstr, "lines": [ [ name tstr, bstr(keyID(4) || signature) ] ... ] } }
 * ```
 *
 * `hashes` are RFC 6962 audit paths, from the sibling up: of the leaf in the snapshot, of the envelope in
 * the log. Envelope and tlog-proof are canonical text, so they are kept in parts, a quarter shorter, and
 * put together again byte for byte. A proof has of the other facts nothing but hashes over salted leaves;
 * the seal names the chains that it covers.
 */
import { MapReader, decodeCbor, encodeCbor, toBase64 } from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import {
  LIMITS,
  MeshError,
  fromHex,
  isHlc,
  parseDeviceKey,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import { fromBase64Url, toBase64Url } from "./base64url.ts";
import type { Bundle } from "./bundle.ts";
import { formatEnvelope, parseEnvelope } from "./dsse.ts";
import { treeLevels, treePath, treeRoot } from "./leaf-tree.ts";
import { HASH_BYTES, equalBytes } from "./merkle.ts";
import { parseNote } from "./note.ts";
import { formatLogProof, parseLogProof } from "./proof.ts";
import { malformed } from "./read.ts";
import { SALT_BYTES, leafMembers, saltedLeafHash } from "./snapshot.ts";
import type { SnapshotLeaf } from "./snapshot.ts";
import { STATEMENT_PAYLOAD_TYPE, encodeStatement, parseStatement } from "./statement.ts";
import type { FrontierHead, SnapshotStatement } from "./statement.ts";

/** A leaf with its place in the snapshot's tree. */
export interface ProvenLeaf extends SnapshotLeaf {
  /** From 0, in the order of the leaves. */
  readonly index: number;
  /** Audit path, from the leaf's sibling up. */
  readonly hashes: readonly Uint8Array[];
}

/** A fact proof in parts. */
export interface FactProof {
  /** Exact envelope bytes of the seal. */
  readonly envelope: Uint8Array;
  /** Text of the tlog-proof. */
  readonly proof: string;
  /** Every candidate of the key, in the order of the leaves. */
  readonly facts: readonly ProvenLeaf[];
}

/** A tree of 2^53 leaves is the largest that can be named. */
const MAX_PATH = 53;
/** Candidates of one key: writers, and retractions by as many. */
const MAX_FACTS = 1_024;
const KEYID_BYTES = 32;

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function splitHashes(bytes: Uint8Array, what: string): Uint8Array[] {
  const count = bytes.length / HASH_BYTES;
  if (!Number.isInteger(count) || count > MAX_PATH) malformed(`${what} is no list of hashes`);
  return Array.from({ length: count }, (_, i) => bytes.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES));
}

/** The bytes of a fact proof. Throws `FORMAT_INVALID` for an envelope or proof that is not canonical, `LIMIT_EXCEEDED`. */
export function encodeFactProof({ envelope, proof, facts }: FactProof): Uint8Array {
  const { payload, keyid, signature } = parseEnvelope(envelope);
  const { root, leaves, hub, space, sequence, previous, frontier, policyEpoch, asOf, sealedAt } =
    parseStatement(payload);
  const log = parseLogProof(proof);
  const note = parseNote(log.checkpoint);
  const bytes = encodeCbor({
    v: 1,
    facts: facts.map(({ index, salt, leaf, hashes }) => ({
      index,
      salt,
      leaf,
      hashes: joined(hashes),
    })),
    seal: {
      root: fromHex(root),
      leaves,
      hub: fromHex(hub),
      space: fromHex(space),
      sequence,
      previous: previous === null ? null : fromHex(previous),
      frontier: frontier.map((head) => [
        fromHex(head.replica),
        fromHex(head.incarnation),
        head.seq,
        fromHex(head.hash),
      ]),
      policyEpoch,
      asOf,
      sealedAt,
      keyid: fromBase64Url(keyid),
      sig: signature,
    },
    log: {
      index: log.index,
      hashes: joined(log.hashes),
      text: note.text,
      lines: note.signatures.map((line) => [line.name, joined([line.keyId, line.signature])]),
    },
  });
  const again = parseFactProof(bytes);
  if (!equalBytes(again.envelope, envelope) || again.proof !== proof) {
    malformed("the envelope or the proof of the bundle is not in canonical form");
  }
  return bytes;
}

const HEAD_ITEMS = 4;

function readHead(item: CborValue): FrontierHead {
  const [replica, incarnation, seq, hash, ...more] = Array.isArray(item)
    ? (item as readonly CborValue[])
    : [];
  const areBytes =
    replica instanceof Uint8Array &&
    incarnation instanceof Uint8Array &&
    hash instanceof Uint8Array;
  if (!areBytes || typeof seq !== "number" || more.length > 0) {
    return malformed(`a chain head of the fact proof is not its ${String(HEAD_ITEMS)} parts`);
  }
  return {
    replica: parseDeviceKey(toHex(replica)),
    incarnation: parseIncarnationId(toHex(incarnation)),
    seq,
    hash: parseHeaderHash(toHex(hash)),
  };
}

const SEAL_NAMES = ["root", "leaves", "hub", "space", "sequence", "previous", "frontier"] as const;
const MORE_SEAL_NAMES = ["policyEpoch", "asOf", "sealedAt", "keyid", "sig"] as const;

function readSeal(value: CborValue): Uint8Array {
  const read = new MapReader(value, [...SEAL_NAMES, ...MORE_SEAL_NAMES], "fact proof seal");
  const previous = read.bytesOrNull("previous", HASH_BYTES);
  const asOf = read.uint("asOf");
  const statement: SnapshotStatement = {
    root: toHex(read.bytes("root", HASH_BYTES)),
    leaves: read.uint("leaves"),
    hub: parseDeviceKey(toHex(read.bytes("hub", 32))),
    space: parseSpaceId(toHex(read.bytes("space", 32))),
    sequence: read.uint("sequence"),
    previous: previous === null ? null : toHex(previous),
    frontier: read.array("frontier", LIMITS.frontierHeads).map(readHead),
    policyEpoch: read.uint("policyEpoch"),
    asOf: isHlc(asOf) ? asOf : malformed("fact proof seal.asOf is not an HLC"),
    sealedAt: read.uint("sealedAt"),
  };
  const payload = encodeStatement(statement);
  // Two orders of the heads would be two files of one seal.
  const ordered = parseStatement(payload).frontier.every(
    ({ hash }, i) => hash === statement.frontier[i]?.hash,
  );
  if (!ordered) malformed("the chain heads of the fact proof are not in order");
  return formatEnvelope({
    payload,
    payloadType: STATEMENT_PAYLOAD_TYPE,
    keyid: toBase64Url(read.bytes("keyid", KEYID_BYTES)),
    signature: read.byteString("sig"),
  });
}

function readLog(value: CborValue): string {
  const read = new MapReader(value, ["index", "hashes", "text", "lines"], "fact proof log");
  const lines = read.array("lines", 64).map((item) => {
    const [name, bytes, ...more] = Array.isArray(item) ? (item as readonly CborValue[]) : [];
    if (typeof name !== "string" || !(bytes instanceof Uint8Array) || more.length > 0) {
      return malformed("a signature line of the fact proof is not a name and bytes");
    }
    return `— ${name} ${toBase64(bytes)}\n`;
  });
  const checkpoint = `${read.text("text")}\n${lines.join("")}`;
  // What reads otherwise than it was put together would be a second file of one proof.
  const { text, signatures } = parseNote(checkpoint);
  if (text !== read.text("text") || signatures.length !== lines.length) {
    malformed("the checkpoint of the fact proof is no signed note");
  }
  const hashes = splitHashes(read.byteString("hashes"), "fact proof log.hashes");
  return formatLogProof({ index: read.uint("index"), hashes, checkpoint });
}

function readFact(value: CborValue): ProvenLeaf {
  const read = new MapReader(value, ["index", "salt", "leaf", "hashes"], "fact proof fact");
  return {
    index: read.uint("index"),
    salt: read.bytes("salt", SALT_BYTES),
    leaf: read.text("leaf"),
    hashes: splitHashes(read.byteString("hashes"), "fact proof fact.hashes"),
  };
}

/** Whether a file is meant as a fact proof: a CBOR map, where a bundle begins with a brace. */
export const isFactProof = (bytes: Uint8Array): boolean => ((bytes[0] ?? 0) & 0xe0) === 0xa0;

/**
 * Parses an untrusted fact proof; what does not encode to the same bytes again is refused. Throws
 * `LIMIT_EXCEEDED` over `LIMITS.factProofBytes`, `FORMAT_INVALID` or `INPUT_INVALID`.
 */
export function parseFactProof(bytes: Uint8Array): FactProof {
  const value = decodeCbor(bytes, LIMITS.factProofBytes, "fact proof", 8);
  const read = new MapReader(value, ["v", "facts", "seal", "log"], "fact proof");
  if (read.uint("v") !== 1) malformed("fact proof v is not 1");
  const facts = read.array("facts", MAX_FACTS).map(readFact);
  if (facts.length === 0) malformed("fact proof has no fact");
  if (facts.some(({ index }, i) => index <= (facts[i - 1]?.index ?? -1))) {
    malformed("the facts of the fact proof are not in order, each once");
  }
  const member = (name: "seal" | "log"): CborValue =>
    (value as Readonly<Record<string, CborValue>>)[name] ?? null;
  return { facts, envelope: readSeal(member("seal")), proof: readLog(member("log")) };
}

/** Makes proofs of facts of one bundle. */
export interface FactProver {
  /** The proof of every candidate of a key, and of what was ruled about it. Throws `NOT_FOUND`. */
  prove(doc: string, key: string): FactProof;
}

/**
 * Reads a bundle's leaves once, and makes proofs of single keys from then on. Nothing is verified but that
 * the leaves hash to the root that was sealed, without which no proof would be valid. Throws `PROOF_INVALID`,
 * and what a malformed envelope is refused with.
 */
export function createFactProver({ leaves, envelope, proof }: Bundle): FactProver {
  const levels = treeLevels(leaves.map(saltedLeafHash));
  const { root } = parseStatement(parseEnvelope(envelope).payload);
  if (toHex(treeRoot(levels)) !== root) {
    throw new MeshError("PROOF_INVALID", "the facts of the bundle are not those that were sealed");
  }
  const places = new Map<string, number[]>();
  leaves.forEach(({ leaf }, index) => {
    const { doc, key } = leafMembers(leaf);
    if (typeof doc !== "string" || typeof key !== "string") return;
    const name = nameOf(doc, key);
    const found = places.get(name);
    if (found === undefined) places.set(name, [index]);
    else found.push(index);
  });
  return {
    prove(doc, key) {
      const facts = places.get(nameOf(doc, key))?.map((index): ProvenLeaf => {
        const { salt, leaf } = leaves[index] as SnapshotLeaf;
        return { index, salt, leaf, hashes: treePath(levels, index) };
      });
      if (facts !== undefined) return { envelope, proof, facts };
      throw new MeshError("NOT_FOUND", `the bundle has no fact ${JSON.stringify(key)} of ${doc}`);
    },
  };
}

/** Neither names of documents nor keys have a line break. */
const nameOf = (doc: string, key: string): string => `${doc}\n${key}`;
