// SPDX-License-Identifier: Apache-2.0
/**
 * The trust root: the one pinned file from which a verifier takes keys, algorithms and roles.
 *
 * ```
 * { "expires": Unix ms, "format": "ctxmesh-root/v1",
 *   "keys": [ { "alg", "jwk", "keyid", "role": "snapshot" } ... ],
 *   "logs": [ { "ed25519": jwk, "mldsa44": jwk, "origin" } ... ],
 *   "spaces": [ space id ... ], "version": uint from 1 }
 * ```
 *
 * Members in order of name, indented by two spaces, one newline at the end: a file that does not
 * come out the same when written again is refused, so there is one text for one root. A role fixes
 * the suite, so no key of a weaker suite can be entered for it. No primitive key may occur twice,
 * alone or inside a composite.
 */
import { assertJsonValue, canonicalJson } from "@ctxmesh/codec";
import { SUITES, createVerifier, parsePublicKey, toPublicJwk } from "@ctxmesh/crypto";
import type { Algorithm, PublicKey, Verifier } from "@ctxmesh/crypto";
import { LIMITS, MeshError, parseSpaceId, toHex } from "@ctxmesh/model";
import type { JsonValue, SpaceId } from "@ctxmesh/model";
import { assertOrigin } from "./note.ts";
import { malformed, readArray, readInteger, readMembers, readText } from "./read.ts";

const FORMAT = "ctxmesh-root/v1";
const MAX_ENTRIES = 256;

/** The suite of each role. */
const ROLE_ALGORITHMS = { snapshot: "ML-DSA-65-Ed25519" } as const;

/** What a key may sign: `snapshot` seals the snapshots of a space. */
export type KeyRole = keyof typeof ROLE_ALGORITHMS;

/** A key with the role that it has. */
export interface TrustedKey {
  readonly role: KeyRole;
  readonly key: PublicKey;
}

/** A log that may witness seals. */
export interface TrustedLog {
  readonly origin: string;
  readonly ed25519: PublicKey;
  readonly mldsa44: PublicKey;
}

/** A trust root in memory; made by {@link createTrustRoot} or {@link parseTrustRoot} only. */
export interface TrustRoot {
  /** From 1; raised with every change. */
  readonly version: number;
  /** Unix milliseconds from which the root is no longer good. */
  readonly expires: number;
  readonly spaces: readonly SpaceId[];
  readonly keys: readonly TrustedKey[];
  readonly logs: readonly TrustedLog[];
}

function assertAlgorithm(key: PublicKey, alg: Algorithm, what: string): void {
  if (key.alg !== alg) {
    throw new MeshError("POLICY_REFUSED", `${what} must be ${alg}, and is ${key.alg}`);
  }
}

function assertNoReuse(keys: readonly PublicKey[]): void {
  const seen = new Set<string>();
  for (const key of keys) {
    for (const component of SUITES[key.alg].components(key.publicKey)) {
      const id = toHex(component);
      if (seen.has(id)) {
        throw new MeshError(
          "POLICY_REFUSED",
          `trust root holds the same key twice, in ${key.alg} key ${key.keyid}`,
        );
      }
      seen.add(id);
    }
  }
}

/**
 * Checks and makes a trust root. Throws `POLICY_REFUSED` for a suite that the role does not allow or
 * a key that occurs twice, `FORMAT_INVALID` or `INPUT_INVALID` for anything malformed.
 */
export function createTrustRoot(root: TrustRoot): TrustRoot {
  readInteger(root.version, 1, "trust root version");
  readInteger(root.expires, 1, "trust root expires");
  for (const space of root.spaces) parseSpaceId(space);
  for (const { role, key } of root.keys) {
    assertAlgorithm(key, ROLE_ALGORITHMS[role], `a key of role "${role}"`);
  }
  for (const { origin, ed25519, mldsa44 } of root.logs) {
    assertOrigin(origin);
    assertAlgorithm(ed25519, "Ed25519", `the ed25519 key of log ${origin}`);
    assertAlgorithm(mldsa44, "ML-DSA-44", `the mldsa44 key of log ${origin}`);
  }
  const origins = root.logs.map((log) => log.origin);
  if (new Set(origins).size !== origins.length) malformed("trust root names a log twice");
  if (new Set(root.spaces).size !== root.spaces.length) malformed("trust root names a space twice");
  const logKeys = root.logs.flatMap((log) => [log.ed25519, log.mldsa44]);
  assertNoReuse([...root.keys.map(({ key }) => key), ...logKeys]);
  return root;
}

/** The text of a trust root file. */
export function formatTrustRoot(root: TrustRoot): string {
  const value = {
    format: FORMAT,
    version: root.version,
    expires: root.expires,
    spaces: [...root.spaces],
    keys: root.keys.map(({ role, key }) => ({
      role,
      alg: key.alg,
      keyid: key.keyid,
      jwk: { ...toPublicJwk(key) },
    })),
    logs: root.logs.map(({ origin, ed25519, mldsa44 }) => ({
      origin,
      ed25519: { ...toPublicJwk(ed25519) },
      mldsa44: { ...toPublicJwk(mldsa44) },
    })),
  };
  return indent(value);
}

const indent = (value: JsonValue): string =>
  `${JSON.stringify(JSON.parse(canonicalJson(value)), undefined, 2)}\n`;

function readKey(item: JsonValue, what: string): TrustedKey {
  const entry = readMembers(item, ["alg", "jwk", "keyid", "role"], what);
  const role = readText(entry.role, `${what}.role`);
  if (!Object.hasOwn(ROLE_ALGORITHMS, role)) {
    malformed(`${what}.role ${JSON.stringify(role.slice(0, 40))} is not known`);
  }
  const key = parsePublicKey(entry.jwk);
  if (entry.keyid !== key.keyid) malformed(`${what}.keyid is not the thumbprint of its jwk`);
  if (entry.alg !== key.alg) malformed(`${what}.alg is not the algorithm of its jwk`);
  return { role: role as KeyRole, key };
}

function readLog(item: JsonValue, what: string): TrustedLog {
  const entry = readMembers(item, ["ed25519", "mldsa44", "origin"], what);
  return {
    origin: readText(entry.origin, `${what}.origin`),
    ed25519: parsePublicKey(entry.ed25519),
    mldsa44: parsePublicKey(entry.mldsa44),
  };
}

/**
 * Parses a trust root file. Throws `LIMIT_EXCEEDED`, `FORMAT_INVALID`, `INPUT_INVALID` or
 * `KEY_INVALID` for a malformed one, `POLICY_REFUSED` as {@link createTrustRoot} does.
 */
export function parseTrustRoot(text: string): TrustRoot {
  if (text.length > LIMITS.smallFileBytes) {
    throw new MeshError("LIMIT_EXCEEDED", "trust root is longer than LIMITS.smallFileBytes");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new MeshError("FORMAT_INVALID", "trust root is not JSON", { cause: error });
  }
  assertJsonValue(value, "trust root");
  const names = ["expires", "format", "keys", "logs", "spaces", "version"] as const;
  const members = readMembers(value, names, "trust root");
  if (members.format !== FORMAT) malformed(`trust root format is not ${FORMAT}`);
  if (indent(value) !== text) {
    throw new MeshError("FORMAT_INVALID", "trust root is not in the form that ctxmesh writes", {
      remedy: "use the file as it was made, without reformatting it",
    });
  }
  const list = (name: "keys" | "logs" | "spaces"): readonly JsonValue[] =>
    readArray(members[name], MAX_ENTRIES, `trust root ${name}`);
  return createTrustRoot({
    version: readInteger(members.version, 1, "trust root version"),
    expires: readInteger(members.expires, 1, "trust root expires"),
    spaces: list("spaces").map((space) => parseSpaceId(readText(space, "trust root space"))),
    keys: list("keys").map((item, i) => readKey(item, `trust root keys[${String(i)}]`)),
    logs: list("logs").map((item, i) => readLog(item, `trust root logs[${String(i)}]`)),
  });
}

/** Throws `POLICY_REFUSED` when the root has expired at `now` (Unix milliseconds). */
export function assertCurrent(root: TrustRoot, now: number): void {
  if (now >= root.expires) {
    const days = Math.floor((now - root.expires) / 86_400_000);
    throw new MeshError(
      "POLICY_REFUSED",
      `trust root version ${String(root.version)} expired ${String(days)} days ago`,
      { remedy: "pin the current trust root" },
    );
  }
}

/** The verifier for a key id in a role. Throws `POLICY_REFUSED` for an unknown one. */
export function trustedVerifier(root: TrustRoot, role: KeyRole, keyid: string): Verifier {
  const found = root.keys.find((entry) => entry.role === role && entry.key.keyid === keyid);
  if (found === undefined) {
    const shown = JSON.stringify(keyid.slice(0, 60));
    throw new MeshError("POLICY_REFUSED", `trust root has no ${role} key ${shown}`);
  }
  return createVerifier(found.key);
}

/** The log with an origin. Throws `POLICY_REFUSED` for an unknown one. */
export function trustedLog(root: TrustRoot, origin: string): TrustedLog {
  const found = root.logs.find((log) => log.origin === origin);
  if (found === undefined) {
    throw new MeshError("POLICY_REFUSED", `trust root has no log ${JSON.stringify(origin)}`);
  }
  return found;
}
