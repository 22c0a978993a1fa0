// SPDX-License-Identifier: Apache-2.0
/** The single checks of a bundle. Each returns what it found with a word about it, or throws a `MeshError`. */
import { decodeHeader, headerSigningInput } from "@ctxmesh/codec";
import { createDeviceVerifier, createVerifier, sha256 } from "@ctxmesh/crypto";
import type { Verifier } from "@ctxmesh/crypto";
import { MeshError, fromHex, toHex } from "@ctxmesh/model";
import { parseBundle } from "./bundle.ts";
import type { Bundle, SignedHeader } from "./bundle.ts";
import { parseEnvelope, preAuthEncoding } from "./dsse.ts";
import type { Envelope } from "./dsse.ts";
import { snapshotEntry } from "./log.ts";
import { leafHash, verifyInclusion } from "./merkle.ts";
import { parseCheckpoint, verifyEd25519Line, verifyMlDsaLine } from "./note.ts";
import type { Checkpoint } from "./note.ts";
import { parseLogProof } from "./proof.ts";
import type { LogProof } from "./proof.ts";
import { malformed } from "./read.ts";
import { assertLeaf, snapshotRoot } from "./snapshot.ts";
import { STATEMENT_PAYLOAD_TYPE, parseStatement } from "./statement.ts";
import type { FrontierHead, SnapshotStatement } from "./statement.ts";
import { assertCurrent, trustedLog, trustedVerifier } from "./trust.ts";
import type { TrustRoot, TrustedLog } from "./trust.ts";

/** What a check found, and a word about it for people. */
export type Checked<T> = readonly [found: T, detail: string];

/** A proof with the checkpoint inside it. */
export interface Logged {
  readonly proof: LogProof;
  readonly checkpoint: Checkpoint;
}

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

/** The trust root has not expired. */
export function checkCurrent(root: TrustRoot, now: number): Checked<void> {
  assertCurrent(root, now);
  return [undefined, `version ${String(root.version)}, not expired`];
}

/** One signature, over an in-toto statement. */
export function readEnvelope(bundle: Bundle): Checked<Envelope> {
  const envelope = parseEnvelope(bundle.envelope);
  if (envelope.payloadType !== STATEMENT_PAYLOAD_TYPE) {
    malformed(`envelope.payloadType is not ${STATEMENT_PAYLOAD_TYPE}`);
  }
  return [envelope, STATEMENT_PAYLOAD_TYPE];
}

/** The trust root has the key for sealing; the algorithm is the root's. */
export function findKey(root: TrustRoot, envelope: Envelope): Checked<Verifier> {
  const verifier = trustedVerifier(root, "snapshot", envelope.keyid);
  return [verifier, `${verifier.key.alg} ${verifier.key.keyid}`];
}

/** Both halves of the composite signature. */
export function checkSignature(verifier: Verifier, envelope: Envelope): Checked<void> {
  const message = preAuthEncoding(envelope.payloadType, envelope.payload);
  if (!verifier.verify(message, envelope.signature)) {
    fail("SIGNATURE_INVALID", `the seal's ${verifier.key.alg} signature does not verify`);
  }
  return [undefined, "the ML-DSA-65 and the Ed25519 half verify"];
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

/** A well-formed proof and checkpoint. */
export function readProof(bundle: Bundle): Checked<Logged> {
  const proof = parseLogProof(bundle.proof);
  const checkpoint = parseCheckpoint(proof.checkpoint);
  return [{ proof, checkpoint }, `${String(proof.hashes.length)} hashes and a checkpoint`];
}

/** The trust root names the log. */
export const findLog = (root: TrustRoot, { checkpoint }: Logged): Checked<TrustedLog> => [
  trustedLog(root, checkpoint.origin),
  checkpoint.origin,
];

/** The checkpoint's tree includes the entry of exactly these envelope bytes. */
export function checkInclusion(bundle: Bundle, { proof, checkpoint }: Logged): Checked<void> {
  const { size, root } = checkpoint;
  const included = verifyInclusion({
    leafHash: leafHash(snapshotEntry(bundle.envelope)),
    index: proof.index,
    size,
    proof: proof.hashes,
    root,
  });
  if (!included) fail("PROOF_INVALID", "the log's checkpoint does not include this envelope");
  return [undefined, `entry ${String(proof.index)} of ${String(size)}`];
}

/** The log's Ed25519 line. */
export function checkEd25519Line({ checkpoint }: Logged, log: TrustedLog): Checked<void> {
  verifyEd25519Line(checkpoint.note, log.origin, createVerifier(log.ed25519));
  return [undefined, log.ed25519.keyid];
}

/** The log's ML-DSA-44 line. */
export function checkMlDsaLine({ checkpoint }: Logged, log: TrustedLog): Checked<void> {
  const time = verifyMlDsaLine(checkpoint, createVerifier(log.mldsa44));
  return [undefined, `${log.mldsa44.keyid}, POSIX time ${String(time)}`];
}
