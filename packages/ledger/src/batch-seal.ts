// SPDX-License-Identifier: Apache-2.0
/**
 * Batch seals: one composite signature for many statements. The tree is that of RFC 6962, and its leaves
 * are the pre-authentication encodings of the statements, so that each says of which type it is.
 *
 * ```
 * root    = RFC 6962 root over PAE(payloadType, payload) of each statement, in order
 * payload = {"_type":"https://in-toto.io/Statement/v1","predicateType":"https://ctxmesh.dev/batch/v1",
 *            "subject":[{"name":"ctxmesh://batch@<first>-<last>","digest":{"sha256":"<hex of root>"}}],
 *            "predicate":{"count":uint,"first":uint,"last":uint,"sealedAt":Unix ms,"formatVersion":1}}   RFC 8785
 * seal    = DSSE envelope over it, one ML-DSA-65-Ed25519 signature
 * item    = the statement with index, count and audit path; an item needs nothing of the others
 * ```
 *
 * `first` and `last` are numbers of the signer's own, such as counters of decisions; `last = first + count - 1`.
 */
import { canonicalJson, parseCanonicalJson, utf8Decode, utf8Encode } from "@ctxmesh/codec";
import type { Signer, Verifier } from "@ctxmesh/crypto";
import { MeshError, fromHex, toHex } from "@ctxmesh/model";
import { parseEnvelope, preAuthEncoding, signEnvelope } from "./dsse.ts";
import type { Envelope } from "./dsse.ts";
import { treeLevels, treePath, treeRoot } from "./leaf-tree.ts";
import { leafHash, verifyInclusion } from "./merkle.ts";
import { malformed, readArray, readInteger, readMembers, readText } from "./read.ts";
import { STATEMENT_PAYLOAD_TYPE } from "./statement.ts";

const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE = "https://ctxmesh.dev/batch/v1";
const FORMAT_VERSION = 1;
const HEX_64 = /^[0-9a-f]{64}$/u;
/** One tree of this many leaves takes about a second; nobody waits that long for a signature. */
const MAX_STATEMENTS = 1_048_576;

/** A statement to be sealed with others. */
export interface BatchStatement {
  readonly payloadType: string;
  readonly payload: Uint8Array;
}

/** What a batch seal states. */
export interface BatchSealStatement {
  /** 64 hex digits. */
  readonly root: string;
  readonly count: number;
  readonly first: number;
  readonly last: number;
  /** Unix milliseconds by the signer's clock. */
  readonly sealedAt: number;
}

/** Where a statement is in a batch. */
export interface BatchPosition {
  /** From 0. */
  readonly index: number;
  /** Audit path, from the sibling up. */
  readonly hashes: readonly Uint8Array[];
}

/** A batch seal: the envelope, and the place of each statement, in their order. */
export interface BatchSeal {
  readonly envelope: Uint8Array;
  readonly positions: readonly BatchPosition[];
}

const leafOf = ({ payloadType, payload }: BatchStatement): Uint8Array =>
  leafHash(preAuthEncoding(payloadType, payload));

const nameOf = ({ first, last }: Pick<BatchSealStatement, "first" | "last">): string =>
  `ctxmesh://batch@${String(first)}-${String(last)}`;

/**
 * Seals statements with one signature. Throws `KEY_INVALID` for another suite than `ML-DSA-65-Ed25519`,
 * `INPUT_INVALID` for no statement or more than 1,048,576.
 */
export function sealBatch(
  statements: readonly BatchStatement[],
  signer: Signer,
  { sealedAt, first = 0 }: { readonly sealedAt: number; readonly first?: number },
): BatchSeal {
  if (signer.key.alg !== "ML-DSA-65-Ed25519") {
    const message = `batches are sealed with ML-DSA-65-Ed25519, not ${signer.key.alg}`;
    throw new MeshError("KEY_INVALID", message);
  }
  const count = statements.length;
  if (count < 1 || count > MAX_STATEMENTS) {
    const message = `a batch seal is over 1 to ${String(MAX_STATEMENTS)} statements, not ${String(count)}`;
    throw new MeshError("INPUT_INVALID", message, { field: "statements" });
  }
  const levels = treeLevels(statements.map(leafOf));
  const root = toHex(treeRoot(levels));
  const range = { first, last: first + count - 1 };
  const payload = canonicalJson({
    _type: STATEMENT_TYPE,
    predicateType: PREDICATE_TYPE,
    subject: [{ name: nameOf(range), digest: { sha256: root } }],
    predicate: { count, ...range, sealedAt, formatVersion: FORMAT_VERSION },
  });
  return {
    envelope: signEnvelope(signer, STATEMENT_PAYLOAD_TYPE, utf8Encode(payload)),
    positions: statements.map((_, index) => ({ index, hashes: treePath(levels, index) })),
  };
}

/** Parses the payload of a batch seal. Throws `FORMAT_INVALID` or `INPUT_INVALID`. */
export function parseBatchStatement({ payloadType, payload }: Envelope): BatchSealStatement {
  if (payloadType !== STATEMENT_PAYLOAD_TYPE) malformed("batch seal has another payloadType");
  const value = parseCanonicalJson(utf8Decode(payload), "batch seal");
  const top = readMembers(value, ["_type", "predicate", "predicateType", "subject"], "batch seal");
  if (top["_type"] !== STATEMENT_TYPE || top.predicateType !== PREDICATE_TYPE) {
    malformed(`batch seal is not a statement of ${PREDICATE_TYPE}`);
  }
  const names = ["count", "first", "formatVersion", "last", "sealedAt"] as const;
  const predicate = readMembers(top.predicate, names, "batch seal predicate");
  if (predicate.formatVersion !== FORMAT_VERSION) malformed("batch seal formatVersion is not 1");
  const [subjectItem] = readArray(top.subject, 1, "batch seal subject");
  const subject = readMembers(subjectItem, ["digest", "name"], "batch seal subject");
  const { sha256 } = readMembers(subject.digest, ["sha256"], "batch seal digest");
  const root = readText(sha256, "batch seal digest");
  const statement = {
    root: HEX_64.test(root) ? root : malformed("batch seal digest is not 64 hex digits"),
    count: readInteger(predicate.count, 1, "batch seal count"),
    first: readInteger(predicate.first, 0, "batch seal first"),
    last: readInteger(predicate.last, 0, "batch seal last"),
    sealedAt: readInteger(predicate.sealedAt, 0, "batch seal sealedAt"),
  };
  const { first, last, count } = statement;
  if (last !== first + count - 1 || subject.name !== nameOf(statement)) {
    malformed("batch seal first, last, count and name do not agree");
  }
  return statement;
}

/**
 * Verifies one statement of a batch: the seal is signed by the verifier's key, and its root includes the
 * statement at that place. Returns what was sealed. Throws `SIGNATURE_INVALID`, `PROOF_INVALID`, and
 * `FORMAT_INVALID` or `INPUT_INVALID` for a malformed seal.
 */
export function verifyBatchItem(
  statement: BatchStatement,
  { index, hashes }: BatchPosition,
  envelope: Uint8Array,
  verifier: Verifier,
): BatchSealStatement {
  const sealed = parseEnvelope(envelope);
  const { alg } = verifier.key;
  const signed = preAuthEncoding(sealed.payloadType, sealed.payload);
  if (alg !== "ML-DSA-65-Ed25519" || !verifier.verify(signed, sealed.signature)) {
    throw new MeshError(
      "SIGNATURE_INVALID",
      `the batch seal's signature does not verify by ${alg}`,
    );
  }
  const stated = parseBatchStatement(sealed);
  const included = verifyInclusion({
    leafHash: leafOf(statement),
    index,
    size: stated.count,
    proof: hashes,
    root: fromHex(stated.root),
  });
  if (!included)
    throw new MeshError("PROOF_INVALID", "the batch seal does not include the statement");
  return stated;
}
