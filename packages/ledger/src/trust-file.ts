// SPDX-License-Identifier: Apache-2.0
/**
 * The file of a trust root, `ctxmesh-root/v2`:
 *
 * ```
 * { "signatures": [ { "keyid", "sig": base64 } ... ],
 *   "signed": {
 *     "expires": ms, "format": "ctxmesh-root/v2", "issued": ms,
 *     "keys": [ { "alg", "jwk", "keyid", "reason"?, "revokedAt"?: ms, "role", "scope": [ glob ... ],
 *                 "validFrom": ms, "validUntil": ms } ... ],
 *     "logs": [ { "ed25519": jwk, "mldsa44": jwk, "origin" } ... ],
 *     "minAlg": { "issuer": [ { "algs": [ alg ... ], "from": ms } ... ], "root": ..., "snapshot": ... },
 *     "roles": { "issuer": { "keyids": [ ... ], "threshold": 1 }, "root": ..., "snapshot": ... },
 *     "spaces": [ space id ... ], "version": uint from 1,
 *     "witnessThreshold": uint, "witnesses": [ { "ed25519"?: jwk, "mldsa44"?: jwk, "name" } ... ] } }
 * ```
 *
 * Members in order of name, indented by two spaces, one newline at the end: a file that does not come out the same when
 * written again is refused, so there is one text for one root. Times are Unix milliseconds. `roles` follows from `keys`, and is compared
 * with it; signatures are in order of key id, each key once.
 */
import { assertJsonValue, canonicalJson, toBase64 } from "@ctxmesh/codec";
import { parsePublicKey, toPublicJwk } from "@ctxmesh/crypto";
import type { Algorithm, PublicKey } from "@ctxmesh/crypto";
import { LIMITS, MeshError, parseSpaceId } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { malformed, readArray, readBase64, readInteger, readMembers, readText } from "./read.ts";
import { KEY_ROLES, MAX_TRUST_ENTRIES, createTrustRoot } from "./trust.ts";
import type {
  AlgorithmEpoch,
  KeyRole,
  TrustRoot,
  TrustedKey,
  TrustedLog,
  TrustedWitness,
} from "./trust.ts";

const FORMAT = "ctxmesh-root/v2";

/** A signature over a trust root, as `trust-signatures.ts` makes it. */
export interface RootSignature {
  /** Of the key that is said to have signed. */
  readonly keyid: string;
  readonly signature: Uint8Array;
}

/** What a file says; nothing is verified yet. */
export interface RootCandidate {
  readonly root: TrustRoot;
  /** In order of key id, each once. */
  readonly signatures: readonly RootSignature[];
}

const jwk = (key: PublicKey): JsonValue => ({ ...toPublicJwk(key) });

const byRole = (of: (role: KeyRole) => JsonValue): JsonValue =>
  Object.fromEntries(KEY_ROLES.map((role) => [role, of(role)]));

/** The part of the file that is signed. */
export function signedPart(root: TrustRoot): JsonValue {
  const { version, issued, expires, spaces, roles, keys, minAlg, logs, witnesses } = root;
  const { witnessThreshold } = root;
  return {
    format: FORMAT,
    version,
    issued,
    expires,
    spaces: [...spaces],
    roles: byRole((role) => ({ ...roles[role], keyids: [...roles[role].keyids] })),
    keys: keys.map(({ key, scope, ...entry }) => ({
      ...entry,
      scope: [...scope],
      alg: key.alg,
      keyid: key.keyid,
      jwk: jwk(key),
    })),
    minAlg: byRole((role) => minAlg[role].map(({ from, algs }) => ({ from, algs: [...algs] }))),
    logs: logs.map(({ origin, ed25519, mldsa44 }) => ({
      origin,
      ed25519: jwk(ed25519),
      mldsa44: jwk(mldsa44),
    })),
    witnesses: witnesses.map(({ name, ed25519, mldsa44 }) => ({
      name,
      ...(ed25519 && { ed25519: jwk(ed25519) }),
      ...(mldsa44 && { mldsa44: jwk(mldsa44) }),
    })),
    witnessThreshold,
  };
}

const indent = (value: JsonValue): string =>
  `${JSON.stringify(JSON.parse(canonicalJson(value)), undefined, 2)}\n`;

/** The text of a trust root file. */
export const formatRootCandidate = ({ root, signatures }: RootCandidate): string =>
  indent({
    signed: signedPart(root),
    signatures: signatures
      .toSorted((a, b) => (a.keyid < b.keyid ? -1 : 1))
      .map(({ keyid, signature }) => ({ keyid, sig: toBase64(signature) })),
  });

type Members = Readonly<Record<string, JsonValue>>;

/** An object with the required members and any of the others. */
function readSome(
  value: JsonValue | undefined,
  required: readonly string[],
  optional: readonly string[],
  what: string,
): Members {
  const present =
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? optional.filter((name) => Object.hasOwn(value, name))
      : [];
  return readMembers(value, [...required, ...present], what);
}

const KEY_MEMBERS = ["alg", "jwk", "keyid", "role", "scope", "validFrom", "validUntil"] as const;

function readKey(item: JsonValue, what: string): TrustedKey {
  const entry = readSome(item, KEY_MEMBERS, ["reason", "revokedAt"], what);
  const { reason, revokedAt } = entry;
  const named = readText(entry["role"], `${what}.role`);
  const role = KEY_ROLES.find((known) => known === named);
  if (role === undefined) {
    return malformed(`${what}.role ${JSON.stringify(named.slice(0, 40))} is not known`);
  }
  const key = parsePublicKey(entry["jwk"]);
  if (entry["keyid"] !== key.keyid) malformed(`${what}.keyid is not the thumbprint of its jwk`);
  if (entry["alg"] !== key.alg) malformed(`${what}.alg is not the algorithm of its jwk`);
  return {
    role,
    key,
    scope: readArray(entry["scope"], MAX_TRUST_ENTRIES, `${what}.scope`).map((glob) =>
      readText(glob, `${what}.scope`),
    ),
    validFrom: readInteger(entry["validFrom"], 0, `${what}.validFrom`),
    validUntil: readInteger(entry["validUntil"], 1, `${what}.validUntil`),
    ...(revokedAt !== undefined && { revokedAt: readInteger(revokedAt, 0, `${what}.revokedAt`) }),
    ...(reason !== undefined && { reason: readText(reason, `${what}.reason`) }),
  };
}

function readLog(item: JsonValue, what: string): TrustedLog {
  const entry = readMembers(item, ["ed25519", "mldsa44", "origin"], what);
  return {
    origin: readText(entry.origin, `${what}.origin`),
    ed25519: parsePublicKey(entry.ed25519),
    mldsa44: parsePublicKey(entry.mldsa44),
  };
}

function readWitness(item: JsonValue, what: string): TrustedWitness {
  const entry = readSome(item, ["name"], ["ed25519", "mldsa44"], what);
  const { ed25519, mldsa44 } = entry;
  return {
    name: readText(entry["name"], `${what}.name`),
    ...(ed25519 !== undefined && { ed25519: parsePublicKey(ed25519) }),
    ...(mldsa44 !== undefined && { mldsa44: parsePublicKey(mldsa44) }),
  };
}

function readEpoch(item: JsonValue, what: string): AlgorithmEpoch {
  const { algs, from } = readMembers(item, ["algs", "from"], what);
  return {
    from: readInteger(from, 0, `${what}.from`),
    // That the names are known is checked with the rest of the root.
    algs: readArray(algs, 16, `${what}.algs`).map(
      (alg) => readText(alg, `${what}.algs`) as Algorithm,
    ),
  };
}

const listOf = <Item>(
  value: JsonValue,
  what: string,
  read: (item: JsonValue, what: string) => Item,
): readonly Item[] =>
  readArray(value, MAX_TRUST_ENTRIES, what).map((item, i) => read(item, `${what}[${String(i)}]`));

const ROOT_MEMBERS =
  "expires format issued keys logs minAlg roles spaces version witnessThreshold witnesses".split(
    " ",
  );

function readSigned(value: JsonValue): TrustRoot {
  const what = "trust root";
  // Another format has other members: that it is another one is what helps.
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const { format } = value as Members;
    if (format !== FORMAT) malformed(`${what} format is not ${FORMAT}`);
  }
  const signed = readMembers<string>(value, ROOT_MEMBERS, what);
  const part = (name: string): JsonValue => signed[name] ?? null;
  const epochs = readMembers(part("minAlg"), KEY_ROLES, `${what} minAlg`);
  const roles = readMembers(part("roles"), KEY_ROLES, `${what} roles`);
  const { threshold } = readMembers(roles.root, ["keyids", "threshold"], `${what} roles.root`);
  const epochsOf = (role: KeyRole): readonly AlgorithmEpoch[] =>
    listOf(epochs[role], `${what} minAlg.${role}`, readEpoch);
  return createTrustRoot({
    version: readInteger(part("version"), 1, `${what} version`),
    issued: readInteger(part("issued"), 0, `${what} issued`),
    expires: readInteger(part("expires"), 1, `${what} expires`),
    spaces: listOf(part("spaces"), `${what} spaces`, (item, which) =>
      parseSpaceId(readText(item, which)),
    ),
    keys: listOf(part("keys"), `${what} keys`, readKey),
    minAlg: {
      issuer: epochsOf("issuer"),
      root: epochsOf("root"),
      snapshot: epochsOf("snapshot"),
    },
    rootThreshold: readInteger(threshold, 1, `${what} roles.root.threshold`),
    logs: listOf(part("logs"), `${what} logs`, readLog),
    witnesses: listOf(part("witnesses"), `${what} witnesses`, readWitness),
    witnessThreshold: readInteger(part("witnessThreshold"), 0, `${what} witnessThreshold`),
  });
}

function readSignature(item: JsonValue, what: string): RootSignature {
  const { keyid, sig } = readMembers(item, ["keyid", "sig"], what);
  return { keyid: readText(keyid, `${what}.keyid`), signature: readBase64(sig, `${what}.sig`) };
}

function parseJson(text: string): JsonValue {
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
  return value;
}

/**
 * Parses a trust root file without looking at its signatures. Throws `LIMIT_EXCEEDED`, `FORMAT_INVALID`,
 * `INPUT_INVALID` or `KEY_INVALID` for a malformed one, `POLICY_REFUSED` as {@link createTrustRoot} does.
 */
export function parseRootCandidate(text: string): RootCandidate {
  const value = parseJson(text);
  const members = readMembers(value, ["signatures", "signed"], "trust root");
  const root = readSigned(members.signed);
  const signatures = listOf(members.signatures, "trust root signatures", readSignature);
  signatures.forEach(({ keyid }, i) => {
    const before = signatures[i - 1];
    if (before !== undefined && before.keyid >= keyid) {
      malformed("trust root signatures are not in order of key id, each once");
    }
  });
  // Layout, order and roles: all that was not read, or follows from what was.
  if (formatRootCandidate({ root, signatures }) !== text) {
    throw new MeshError("FORMAT_INVALID", "trust root is not in the form that ctxmesh writes", {
      remedy: "use the file as it was made, without reformatting or editing it",
    });
  }
  return { root, signatures };
}
