// SPDX-License-Identifier: Apache-2.0
/** The single checks of a bundle. Each returns what it found with a word about it, or throws a `MeshError`. */
import { decodeHeader, headerSigningInput } from "@ctxmesh/codec";
import { createDeviceVerifier, sha256 } from "@ctxmesh/crypto";
import type { Verifier } from "@ctxmesh/crypto";
import { MeshError, formatInstant, fromHex, toHex } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import type { AuditPolicy } from "./audit-policy.ts";
import { parseBundle } from "./bundle.ts";
import type { Bundle, SignedHeader } from "./bundle.ts";
import { parseEnvelope, preAuthEncoding } from "./dsse.ts";
import type { Envelope } from "./dsse.ts";
import { parseFactProof } from "./fact-proof.ts";
import type { FactProof } from "./fact-proof.ts";
import { verifyInclusion } from "./merkle.ts";
import { deriveLeaves } from "./provenance.ts";
import type { Provenance } from "./provenance.ts";
import { malformed } from "./read.ts";
import { assertLeaf, leafMembers, saltedLeafHash, snapshotRoot, textMember } from "./snapshot.ts";
import type { SnapshotLeaf } from "./snapshot.ts";
import { STATEMENT_PAYLOAD_TYPE, parseStatement } from "./statement.ts";
import type { FrontierHead, SnapshotStatement } from "./statement.ts";
import { assertCurrent, trustedVerifier } from "./trust-use.ts";
import type { TrustRoot } from "./trust.ts";

/** What a check found, and a word about it for people. */
export type Checked<T> = readonly [found: T, detail: string];

function fail(
  code: "SIGNATURE_INVALID" | "PROOF_INVALID" | "POLICY_REFUSED",
  message: string,
): never {
  throw new MeshError(code, message);
}

/** Size, canonical JSON, exact members. */
export function readBundle(bytes: Uint8Array): Checked<Bundle> {
  const bundle = parseBundle(bytes);
  return [bundle, `${String(bytes.length)} bytes, ${String(bundle.leaves.length)} leaves`];
}

/** Size, deterministic CBOR, exact members, an envelope and a proof that are canonical. */
export function readFactProof(bytes: Uint8Array): Checked<FactProof> {
  return [parseFactProof(bytes), `${String(bytes.length)} bytes`];
}

/** The trust root has not expired. */
export function checkCurrent(root: TrustRoot, now: number): Checked<void> {
  assertCurrent(root, now);
  return [undefined, `version ${String(root.version)}, not expired`];
}

/** One signature, over an in-toto statement. */
export function readEnvelope(bytes: Uint8Array): Checked<Envelope> {
  const envelope = parseEnvelope(bytes);
  if (envelope.payloadType !== STATEMENT_PAYLOAD_TYPE) {
    malformed(`envelope.payloadType is not ${STATEMENT_PAYLOAD_TYPE}`);
  }
  return [envelope, STATEMENT_PAYLOAD_TYPE];
}

/** A well-formed statement about a space that the trust root names. */
export function readStatement(envelope: Envelope, root: TrustRoot): Checked<SnapshotStatement> {
  const statement = parseStatement(envelope.payload);
  const { space, sequence, frontier } = statement;
  if (!root.spaces.includes(space)) {
    fail("POLICY_REFUSED", `trust root does not name space ${space}`);
  }
  return [
    statement,
    `space ${space}, seal ${String(sequence)}, ${String(frontier.length)} chain heads`,
  ];
}

/** The trust root had the key for sealing this space when the seal was logged; the algorithm is the root's. */
export function findKey(
  root: TrustRoot,
  { keyid }: Envelope,
  { space }: SnapshotStatement,
  { atMs, crossCheck }: { readonly atMs: number; readonly crossCheck: boolean },
): Checked<Verifier> {
  const verifier = trustedVerifier(root, "snapshot", keyid, { atMs, space, crossCheck });
  const { key } = verifier;
  return [verifier, `${key.alg} ${key.keyid}, good at ${formatInstant(atMs)}`];
}

/** Both halves of the composite signature. */
export function checkSignature(verifier: Verifier, envelope: Envelope): Checked<void> {
  const message = preAuthEncoding(envelope.payloadType, envelope.payload);
  if (!verifier.verify(message, envelope.signature)) {
    fail("SIGNATURE_INVALID", `the seal's ${verifier.key.alg} signature does not verify`);
  }
  return [undefined, `both halves of the ${verifier.key.alg} signature verify`];
}

/** The leaves hash to the sealed root. */
export function checkSnapshotRoot({ leaves }: Bundle, statement: SnapshotStatement): Checked<void> {
  if (leaves.length !== statement.leaves) {
    fail(
      "PROOF_INVALID",
      `bundle has ${String(leaves.length)} leaves, ${String(statement.leaves)} were sealed`,
    );
  }
  const root = toHex(snapshotRoot(leaves));
  if (root !== statement.root) {
    fail("PROOF_INVALID", `the facts hash to ${root}, but ${statement.root} was sealed`);
  }
  return [undefined, root];
}

/** Every leaf is a canonical fact candidate, in order, once. */
export function checkLeaves({ leaves }: Bundle): Checked<void> {
  leaves.forEach(({ leaf }, i) => {
    assertLeaf(leaf);
    const before = leaves[i - 1];
    if (before !== undefined && before.leaf >= leaf) {
      malformed(`leaf ${String(i)} does not sort after the one before it`);
    }
  });
  return [undefined, `${String(leaves.length)} canonical facts, sorted, each once`];
}

function checkHead(head: FrontierHead, signed: SignedHeader, { space }: SnapshotStatement): void {
  if (toHex(sha256(signed.header)) !== head.hash) {
    fail("PROOF_INVALID", `the header of replica ${head.replica} has not the sealed hash`);
  }
  const header = decodeHeader(signed.header);
  const same =
    header.space === space &&
    header.replica === head.replica &&
    header.incarnation === head.incarnation &&
    header.seq === head.seq;
  if (!same) fail("PROOF_INVALID", `the header of replica ${head.replica} is of another chain`);
}

/** Each frontier head's header has the sealed hash, chain and space, and its device signed it. */
export function checkFrontier({ headers }: Bundle, statement: SnapshotStatement): Checked<void> {
  const { frontier } = statement;
  if (headers.length !== frontier.length) {
    fail(
      "PROOF_INVALID",
      `bundle has ${String(headers.length)} headers for ${String(frontier.length)} chain heads`,
    );
  }
  const device = createDeviceVerifier();
  frontier.forEach((head, i) => {
    const signed = headers[i] as SignedHeader;
    checkHead(head, signed, statement);
    const message = headerSigningInput(signed.header);
    if (!device.verify(fromHex(head.replica), message, signed.signature)) {
      fail("SIGNATURE_INVALID", `the header of replica ${head.replica} is not signed by it`);
    }
  });
  return [undefined, `${String(headers.length)} chain heads signed by their devices`];
}

/** Facts are derived again from the batches that are enclosed. Where none are, that is what is said. */
export function checkBatches(
  { leaves, batches }: Bundle,
  statement: SnapshotStatement,
  isAsked: boolean,
): Checked<Provenance | undefined> {
  if (batches === undefined) {
    if (isAsked) fail("POLICY_REFUSED", "the bundle has no batches to derive the facts from");
    return [undefined, "none enclosed: the hub vouches for what its replicas said"];
  }
  const found = deriveLeaves(leaves, batches, statement);
  const { replicas, derived, uncovered, rich } = found;
  if (isAsked && uncovered > 0) {
    fail("POLICY_REFUSED", `${String(uncovered)} facts are in none of the enclosed batches`);
  }
  const rest = [
    ...(uncovered === 0 ? [] : [`${String(uncovered)} in no enclosed batch`]),
    ...(rich === 0 ? [] : [`${String(rich)} rich roots not derived`]),
  ];
  const by = `${String(batches.length)} batches of ${String(replicas.length)} replicas`;
  return [
    found,
    [`${String(derived)} facts as their replicas signed them, in ${by}`, ...rest].join("; "),
  ];
}

/** Every proven leaf is a canonical fact of one key, and in the snapshot that was sealed. */
export function checkFactInclusion(
  { facts }: FactProof,
  { root, leaves }: SnapshotStatement,
): Checked<void> {
  const names = new Set<string>();
  for (const fact of facts) {
    assertLeaf(fact.leaf);
    const members = leafMembers(fact.leaf);
    if (typeof members["key"] !== "string") malformed("the fact proof is of no fact");
    names.add(`${textMember(members, "doc")} ${members["key"]}`);
    const claim = { leafHash: saltedLeafHash(fact), index: fact.index, size: leaves };
    if (!verifyInclusion({ ...claim, proof: fact.hashes, root: fromHex(root) })) {
      fail("PROOF_INVALID", `leaf ${String(fact.index)} is not in the snapshot that was sealed`);
    }
  }
  if (names.size > 1) malformed("the fact proof is of more than one key");
  const count = `${String(facts.length)} ${facts.length === 1 ? "candidate" : "candidates"}`;
  return [undefined, `${count} of ${String(leaves)} sealed leaves: ${[...names].join("")}`];
}

/** A fact that was looked for, as it was sealed. */
export interface FoundFact {
  readonly members: Readonly<Record<string, JsonValue>>;
  /** Id of the batch in which its replica signed it, where that is enclosed. */
  readonly batch?: string;
}

/** The candidates of a key, in one document or in all. Throws `NOT_FOUND`. */
export function findFacts(
  leaves: readonly SnapshotLeaf[],
  { doc, key }: { readonly doc?: string | undefined; readonly key: string },
  provenance: Provenance | undefined,
): Checked<readonly FoundFact[]> {
  const found: FoundFact[] = [];
  for (const [i, { leaf }] of leaves.entries()) {
    const members = leafMembers(leaf);
    if (members["key"] !== key || (doc !== undefined && members["doc"] !== doc)) continue;
    const batch = provenance?.sources[i];
    found.push({ members, ...(batch === undefined ? {} : { batch }) });
  }
  if (found.length === 0) {
    const where = doc === undefined ? "" : ` of ${doc}`;
    throw new MeshError("NOT_FOUND", `no fact ${JSON.stringify(key)}${where} was sealed`);
  }
  const docs = new Set(found.map(({ members }) => textMember(members, "doc")));
  return [found, `${String(found.length)} sealed in ${[...docs].join(", ")}`];
}

/** The seal is as new as the policy asks. */
export function checkPolicy(
  policy: AuditPolicy,
  { sequence }: SnapshotStatement,
  { loggedMs, nowMs }: { readonly loggedMs: number; readonly nowMs: number },
): Checked<void> {
  const { maxAgeMs, minSequence } = policy;
  if (minSequence !== undefined && sequence < minSequence) {
    fail(
      "POLICY_REFUSED",
      `seal ${String(sequence)} is older than seal ${String(minSequence)}, which is asked for`,
    );
  }
  if (maxAgeMs !== undefined && nowMs - loggedMs > maxAgeMs) {
    const logged = formatInstant(loggedMs);
    fail("POLICY_REFUSED", `stale: logged ${logged}, more than ${String(maxAgeMs)} ms before`);
  }
  const asked = Object.keys(policy);
  return [undefined, asked.length === 0 ? "asks for nothing more" : asked.join(", ")];
}
