// SPDX-License-Identifier: Apache-2.0
/** What a verifier asks of a trust root. Every refusal is `POLICY_REFUSED`. */
import { createVerifier } from "@ctxmesh/crypto";
import type { Algorithm, Verifier, VerifierOptions } from "@ctxmesh/crypto";
import { formatInstant } from "@ctxmesh/model";
import type { DocumentName, SpaceId } from "@ctxmesh/model";
import { isInScope } from "./trust-scope.ts";
import { trustRootDigest } from "./trust-signatures.ts";
import { algorithmsAt, refuse } from "./trust.ts";
import type { KeyRole, TrustRoot, TrustedKey, TrustedLog } from "./trust.ts";
import type { WitnessKey } from "./witness-cosignature.ts";

const DAY_MS = 86_400_000;

/** Refuses a root that has expired at `now` (Unix milliseconds). */
export function assertCurrent(root: TrustRoot, now: number): void {
  if (now >= root.expires) {
    const days = Math.floor((now - root.expires) / DAY_MS);
    refuse(
      `trust root version ${String(root.version)} expired ${String(days)} days ago`,
      "pin the current trust root",
    );
  }
}

/**
 * Refuses a root that is older than one which was seen before, or another one of the same version. `known` is that one's version
 * and {@link trustRootDigest}.
 */
export function assertNotRolledBack(
  root: TrustRoot,
  known: { readonly version: number; readonly digest: string },
): void {
  const version = String(root.version);
  if (root.version < known.version) {
    refuse(
      `trust root version ${version} is older than version ${String(known.version)}, seen before`,
    );
  }
  if (root.version === known.version && trustRootDigest(root) !== known.digest) {
    refuse(
      `trust root version ${version} differs from the version ${version} that was seen before`,
    );
  }
}

/** What a signature is about. */
export interface SignatureContext extends VerifierOptions {
  /** The moment by which it is judged, Unix milliseconds: when a log recorded it, which its signer can't choose. */
  readonly atMs: number;
  readonly space: SpaceId;
  /** The document, for what is not about the space as a whole. */
  readonly doc?: DocumentName;
  /** The algorithm that the signed artefact claims, where it claims one: it must be the key's. */
  readonly alg?: Algorithm;
}

/** The end of what {@link formatInstant} can write: the year 9999. */
const LAST_INSTANT_MS = 253_402_300_799_999;
const when = (ms: number): string => (ms > LAST_INSTANT_MS ? "for ever" : formatInstant(ms));

function assertTimely(
  { role, key, validFrom, validUntil, revokedAt, reason }: TrustedKey,
  atMs: number,
): void {
  const what = `${role} key ${key.keyid}`;
  if (atMs < validFrom)
    refuse(`${what} was not valid yet at ${when(atMs)}, only from ${when(validFrom)}`);
  if (atMs >= validUntil)
    refuse(`${what} was valid until ${when(validUntil)}, not at ${when(atMs)}`);
  if (revokedAt !== undefined && atMs >= revokedAt) {
    refuse(
      `${what} is revoked from ${when(revokedAt)} on (${reason ?? ""}), and signed at ${when(atMs)}`,
    );
  }
}

/** The entry of a key in a role, whenever and wherever it is good; refuses an unknown one, or one of another role. */
export function trustedKey(root: TrustRoot, role: KeyRole, keyid: string): TrustedKey {
  const found = root.keys.find(({ key }) => key.keyid === keyid);
  return found?.role === role
    ? found
    : refuse(`trust root has no ${role} key ${JSON.stringify(keyid.slice(0, 60))}`);
}

/**
 * The verifier of a key in a role, for one signature. Refuses a key that is unknown, of another role, out of scope, not valid yet or no longer,
 * revoked by then, or of an algorithm that did not count in the role at that time. OpenSSL and noble both have to accept, unless `crossCheck` is false.
 */
export function trustedVerifier(
  root: TrustRoot,
  role: KeyRole,
  keyid: string,
  { atMs, space, doc, alg, crossCheck = true }: SignatureContext,
): Verifier {
  const found = trustedKey(root, role, keyid);
  const { key, scope } = found;
  if (alg !== undefined && alg !== key.alg) {
    refuse(`${role} key ${keyid} is for ${key.alg}, and the signature claims ${alg}`);
  }
  if (!root.spaces.includes(space)) refuse(`trust root does not name space ${space}`);
  if (!scope.some((glob) => isInScope(glob, space, doc))) {
    refuse(
      `${role} key ${keyid} may not sign for ${doc === undefined ? "" : `${doc} in `}space ${space}`,
    );
  }
  assertTimely(found, atMs);
  const algs = algorithmsAt(root, role, atMs);
  if (!algs.includes(key.alg)) {
    refuse(
      `a ${key.alg} signature does not count in role "${role}" at ${when(atMs)}; the trust root asks for ${algs.join(" or ") || "nothing that there was by then"}`,
    );
  }
  return createVerifier(key, { crossCheck });
}

/** The log with an origin; refuses an unknown one. */
export function trustedLog(root: TrustRoot, origin: string): TrustedLog {
  const found = root.logs.find((log) => log.origin === origin);
  return found ?? refuse(`trust root has no log ${JSON.stringify(origin)}`);
}

/** Who may cosign checkpoints, and how many names of them have to. */
export interface WitnessPolicy {
  /** A witness with two keys is there twice, under one name. */
  readonly witnesses: readonly WitnessKey[];
  readonly threshold: number;
}

/** The witnesses of a root. */
export const trustedWitnesses = ({ witnesses, witnessThreshold }: TrustRoot): WitnessPolicy => ({
  witnesses: witnesses.flatMap(({ name, ed25519, mldsa44 }) =>
    [ed25519, mldsa44].filter((key) => key !== undefined).map((key) => ({ name, key })),
  ),
  threshold: witnessThreshold,
});
