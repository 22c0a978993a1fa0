// SPDX-License-Identifier: Apache-2.0
/**
 * Who signs a trust root. The signed bytes are the RFC 8785 form of `signed`, in the pre-authentication encoding of DSSE
 * 1.0.2 with payload type `application/vnd.ctxmesh.root+json`. Version N+1 is good when as many keys of N's root role as N asks for
 * have signed it, and as many of N+1's as N+1 asks for (The Update Framework 1.0, section 5.3.4).
 */
import { canonicalJson, utf8Encode } from "@ctxmesh/codec";
import { createVerifier, sha256 } from "@ctxmesh/crypto";
import type { Signer } from "@ctxmesh/crypto";
import { MeshError, toHex } from "@ctxmesh/model";
import { preAuthEncoding } from "./dsse.ts";
import { formatRootCandidate, parseRootCandidate, signedPart } from "./trust-file.ts";
import type { RootCandidate, RootSignature } from "./trust-file.ts";
import { algorithmsAt, refuse } from "./trust.ts";
import type { TrustRoot, TrustedKey } from "./trust.ts";

const PAYLOAD_TYPE = "application/vnd.ctxmesh.root+json";

const payloadOf = (root: TrustRoot): Uint8Array => utf8Encode(canonicalJson(signedPart(root)));

/** What tells one content of a root from another: SHA-256 of its `signed` part in RFC 8785 form, hex. */
export const trustRootDigest = (root: TrustRoot): string => toHex(sha256(payloadOf(root)));

/** How far one root's keys have signed a candidate. */
export interface RootApproval {
  readonly threshold: number;
  /** Key ids whose signatures count, each once, sorted. */
  readonly signed: readonly string[];
  /** Key ids that could still sign, sorted. */
  readonly open: readonly string[];
  readonly enough: boolean;
}

/** Whether a signature by this entry counts for a root of that time. */
const counts = (entry: TrustedKey, by: TrustRoot, issued: number): boolean =>
  by.roles.root.keyids.includes(entry.key.keyid) &&
  entry.validFrom <= issued &&
  issued < entry.validUntil &&
  algorithmsAt(by, "root", issued).includes(entry.key.alg);

const rootKeys = ({ keys }: TrustRoot): readonly TrustedKey[] =>
  keys.filter(({ role }) => role === "root");

/** Whether a signature is by this key. OpenSSL and noble are both asked: roots are few, and all else rests on them. */
function isSignedBy(
  { key }: TrustedKey,
  { root, signatures }: RootCandidate,
  message: Uint8Array,
): boolean {
  const made = signatures.find(({ keyid }) => keyid === key.keyid);
  if (made === undefined) return false;
  if (createVerifier(key, { crossCheck: true }).verify(message, made.signature)) return true;
  throw new MeshError(
    "SIGNATURE_INVALID",
    `the signature of root key ${key.keyid} on trust root version ${String(root.version)} does not verify`,
  );
}

/**
 * How far the keys in force of `by` have signed a candidate. Throws `SIGNATURE_INVALID` when a signature in the name of
 * one of its keys does not verify.
 */
export function rootApproval(candidate: RootCandidate, by: TrustRoot): RootApproval {
  const { root } = candidate;
  const message = preAuthEncoding(PAYLOAD_TYPE, payloadOf(root));
  const signed: string[] = [];
  const open: string[] = [];
  for (const entry of rootKeys(by)) {
    const made = isSignedBy(entry, candidate, message);
    if (counts(entry, by, root.issued)) (made ? signed : open).push(entry.key.keyid);
  }
  const { threshold } = by.roles.root;
  return {
    threshold,
    signed: signed.toSorted(),
    open: open.toSorted(),
    enough: signed.length >= threshold,
  };
}

/** Every signature in a file is by a root key of it, so that nothing in it goes unverified. */
function assertKnownSigners({ root, signatures }: RootCandidate): void {
  const known = new Set(rootKeys(root).map(({ key }) => key.keyid));
  for (const { keyid } of signatures) {
    if (known.has(keyid)) continue;
    throw new MeshError(
      "SIGNATURE_INVALID",
      `trust root has a signature by ${JSON.stringify(keyid.slice(0, 60))}, which is no root key of it`,
    );
  }
}

function assertApproved(candidate: RootCandidate, by: TrustRoot): void {
  const { enough, signed, threshold } = rootApproval(candidate, by);
  if (enough) return;
  const { version } = candidate.root;
  refuse(
    `trust root version ${String(version)} has ${String(signed.length)} of the ${String(threshold)} signatures that version ${String(by.version)} asks for`,
    "see who is missing: ctxmesh trust show",
  );
}

/**
 * Parses a trust root file and verifies the signatures of its own root role; that the result is the root which somebody
 * meant is for whoever pinned the file, or {@link updateTrustRoot}, to know. Throws as {@link parseRootCandidate} does,
 * `SIGNATURE_INVALID` for a signature that does not verify, `POLICY_REFUSED` when there are too few.
 */
export function parseTrustRoot(text: string): TrustRoot {
  const candidate = parseRootCandidate(text);
  assertKnownSigners(candidate);
  assertApproved(candidate, candidate.root);
  return candidate.root;
}

/**
 * The root that a file puts in the place of `old`: the next version, signed by both. Throws as {@link parseTrustRoot} does, and
 * `POLICY_REFUSED` for any other version, an issue that is not after the old one's, or too few signatures by the old one's keys.
 */
export function updateTrustRoot(old: TrustRoot, text: string): TrustRoot {
  const candidate = parseRootCandidate(text);
  const { root } = candidate;
  if (root.version !== old.version + 1) {
    const what = `trust root version ${String(root.version)} does not follow version ${String(old.version)}`;
    if (root.version <= old.version) refuse(what);
    refuse(
      `${what}: version ${String(old.version + 1)} is missing`,
      "take the versions in between first; verify takes their files in order: --trust FILE --trust FILE",
    );
  }
  // By this time of its own choice the old root's keys are judged: not by one at which that root was not yet there.
  if (root.issued <= old.issued) refuse("trust root was not issued after the one that it follows");
  assertKnownSigners(candidate);
  assertApproved(candidate, old);
  assertApproved(candidate, root);
  return root;
}

/** Signs a root. Throws `POLICY_REFUSED` unless the key is one of the root role of it, former ones included: those of the version before have to sign, too. */
export function signRoot(root: TrustRoot, signer: Signer): RootSignature {
  const { keyid } = signer.key;
  if (!rootKeys(root).some(({ key }) => key.keyid === keyid)) {
    refuse(`key ${keyid} is no root key of trust root version ${String(root.version)}`);
  }
  return { keyid, signature: signer.sign(preAuthEncoding(PAYLOAD_TYPE, payloadOf(root))) };
}

/** The text of a trust root file, signed. */
export const formatTrustRoot = (root: TrustRoot, signers: readonly Signer[]): string =>
  formatRootCandidate({ root, signatures: signers.map((signer) => signRoot(root, signer)) });
