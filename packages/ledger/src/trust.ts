// SPDX-License-Identifier: Apache-2.0
/**
 * The trust root in memory: the one pinned source from which a verifier takes keys, algorithms and roles (after The
 * Update Framework 1.0, section 5.3). `trust-file.ts` is its file, `trust-signatures.ts` who signs it, and
 * `trust-use.ts` what a verifier asks of it.
 */
import { ALGORITHMS, SUITES } from "@ctxmesh/crypto";
import type { Algorithm, PublicKey } from "@ctxmesh/crypto";
import { MeshError, parseSpaceId, toHex } from "@ctxmesh/model";
import type { SpaceId } from "@ctxmesh/model";
import { assertOrigin } from "./note.ts";
import { malformed, readInteger } from "./read.ts";
import { assertScope } from "./trust-scope.ts";

/** What a key may sign: `issuer` the decisions of agents, `root` trust roots, `snapshot` the seals of a space. */
export const KEY_ROLES = ["issuer", "root", "snapshot"] as const;

/** One of {@link KEY_ROLES}. */
export type KeyRole = (typeof KEY_ROLES)[number];

/** Entries of each list of a trust root. */
export const MAX_TRUST_ENTRIES = 256;
/** Latest moment of a key that is good for ever: the last one that a Date can hold. */
export const FOR_EVER_MS = 8.64e15;

/** A key with the role that it has. Times are Unix milliseconds. */
export interface TrustedKey {
  readonly role: KeyRole;
  readonly key: PublicKey;
  /** Where it may sign, as in `trust-scope.ts`; a root key is not bound by it. */
  readonly scope: readonly string[];
  readonly validFrom: number;
  /** The first moment at which it is no longer good. */
  readonly validUntil: number;
  /** The first moment whose signatures can't be believed any more, by the time at which a log recorded them. */
  readonly revokedAt?: number;
  /** Why; there whenever `revokedAt` is. */
  readonly reason?: string;
}

/** From a moment on, these algorithms and no others count in a role. */
export interface AlgorithmEpoch {
  readonly from: number;
  readonly algs: readonly Algorithm[];
}

/** The keys of a role that are in force, and how many of them have to sign. */
export interface RootRole {
  readonly threshold: number;
  /** Sorted: those of the role's keys that are neither revoked nor at their end when the root is issued. */
  readonly keyids: readonly string[];
}

/** A log that may witness seals. Its keys don't change: a log with other keys has another origin. */
export interface TrustedLog {
  readonly origin: string;
  readonly ed25519: PublicKey;
  readonly mldsa44: PublicKey;
}

/** A witness with one key or two. */
export interface TrustedWitness {
  /** A URL without its scheme. */
  readonly name: string;
  readonly ed25519?: PublicKey;
  readonly mldsa44?: PublicKey;
}

/** A trust root in memory; made by {@link createTrustRoot} and the parsers only. Times are Unix milliseconds. */
export interface TrustRoot {
  /** From 1; raised by one with every change. */
  readonly version: number;
  readonly issued: number;
  /** The moment from which the root is no longer good. */
  readonly expires: number;
  readonly spaces: readonly SpaceId[];
  readonly roles: Readonly<Record<KeyRole, RootRole>>;
  /** All keys, former ones too: what they signed while they were good stays good. */
  readonly keys: readonly TrustedKey[];
  readonly minAlg: Readonly<Record<KeyRole, readonly AlgorithmEpoch[]>>;
  readonly logs: readonly TrustedLog[];
  readonly witnesses: readonly TrustedWitness[];
  /** How many witnesses have to cosign a checkpoint. */
  readonly witnessThreshold: number;
}

/** A key to be entered; what is left out is: every space, from the root's issue on, for ever. */
export type TrustedKeyDraft = Pick<TrustedKey, "key" | "role"> &
  Partial<Omit<TrustedKey, "key" | "role">>;

/** What {@link createTrustRoot} makes a root of. */
export interface TrustRootDraft extends Omit<
  TrustRoot,
  "keys" | "minAlg" | "roles" | "witnessThreshold" | "witnesses"
> {
  readonly keys: readonly TrustedKeyDraft[];
  /** Default: {@link HYBRID_FROM_THE_START}. */
  readonly minAlg?: TrustRoot["minAlg"];
  /** How many root keys have to sign. Default: 1. */
  readonly rootThreshold?: number;
  readonly witnesses?: readonly TrustedWitness[];
  readonly witnessThreshold?: number;
}

const COMPOSITES = ["ML-DSA-65-Ed25519", "ML-DSA-44-Ed25519"] as const;

/** Only hybrid signatures count, but for decisions, which become hybrid by the log and the seals that cover them. */
export const HYBRID_FROM_THE_START: TrustRoot["minAlg"] = {
  issuer: [{ from: 0, algs: [...COMPOSITES, "Ed25519"] }],
  root: [{ from: 0, algs: COMPOSITES }],
  snapshot: [{ from: 0, algs: COMPOSITES }],
};

/** Refuses with `POLICY_REFUSED`. */
export function refuse(message: string, remedy?: string): never {
  throw new MeshError("POLICY_REFUSED", message, remedy === undefined ? {} : { remedy });
}

/** Whether a key of a role may sign from now on, `issued` being the root's time. */
export const isInForce = ({ revokedAt, validUntil }: TrustedKey, issued: number): boolean =>
  revokedAt === undefined && validUntil > issued;

/** The algorithms that count in a role at a moment: none before the first epoch. */
export function algorithmsAt(root: TrustRoot, role: KeyRole, atMs: number): readonly Algorithm[] {
  return root.minAlg[role].findLast(({ from }) => from <= atMs)?.algs ?? [];
}

function assertAlgorithm(key: PublicKey, alg: Algorithm, what: string): void {
  if (key.alg !== alg) refuse(`${what} must be ${alg}, and is ${key.alg}`);
}

/** No primitive key may occur twice, alone or inside a composite, in whatever role (Composite ML-DSA, "Key Reuse"). */
function assertNoReuse(keys: readonly PublicKey[]): void {
  const seen = new Set<string>();
  for (const key of keys) {
    for (const component of SUITES[key.alg].components(key.publicKey)) {
      const id = toHex(component);
      if (seen.has(id)) {
        refuse(`trust root holds the same key twice, in ${key.alg} key ${key.keyid}`);
      }
      seen.add(id);
    }
  }
}

function assertUnique(names: readonly string[], what: string): void {
  if (new Set(names).size !== names.length) malformed(`trust root names a ${what} twice`);
}

function assertKey(entry: TrustedKey, root: TrustRoot): void {
  const { role, key, scope, validFrom, validUntil, revokedAt, reason } = entry;
  const what = `${role} key ${key.keyid}`;
  for (const glob of scope) assertScope(glob);
  if (scope.length === 0) malformed(`${what} has an empty scope`);
  assertUnique(scope, "scope of one key");
  readInteger(validFrom, 0, `${what}: validFrom`);
  readInteger(validUntil, validFrom + 1, `${what}: validUntil`);
  if ((revokedAt === undefined) !== (reason === undefined)) {
    malformed(`${what} has one of revokedAt and reason, and not both`);
  }
  if (revokedAt !== undefined) readInteger(revokedAt, 0, `${what}: revokedAt`);
  if (reason !== undefined && !/^\P{Cc}{1,200}$/v.test(reason)) {
    malformed(`${what}: reason is not 1 to 200 characters without control characters`);
  }
  if (!root.minAlg[role].some(({ algs }) => algs.includes(key.alg))) {
    refuse(`trust root never lets a ${key.alg} key sign in role "${role}", and enters ${what}`);
  }
}

function assertEpochs(role: KeyRole, epochs: readonly AlgorithmEpoch[]): void {
  if (epochs.length === 0) malformed(`minAlg.${role} is empty`);
  epochs.forEach(({ from, algs }, i) => {
    const least = (epochs[i - 1]?.from ?? -1) + 1;
    readInteger(from, least, `minAlg.${role}[${String(i)}].from`);
    const unknown = algs.find((alg) => !ALGORITHMS.includes(alg));
    if (unknown !== undefined) malformed(`minAlg.${role} names an algorithm that is not known`);
    if (algs.length === 0) malformed(`minAlg.${role} has an epoch without algorithms`);
    assertUnique(algs, `minAlg.${role} algorithm`);
  });
}

function assertRole(role: KeyRole, { threshold, keyids }: RootRole): void {
  readInteger(threshold, 1, `roles.${role}.threshold`);
  // An envelope has exactly one signature.
  if (role !== "root" && threshold !== 1) malformed(`roles.${role}.threshold is not 1`);
  if (role === "root" && keyids.length > 0 && threshold > keyids.length) {
    refuse(
      `roles.root asks for ${String(threshold)} signatures and has ${String(keyids.length)} keys`,
    );
  }
}

function assertLogsAndWitnesses({ logs, witnesses, witnessThreshold }: TrustRoot): void {
  for (const { origin, ed25519, mldsa44 } of logs) {
    assertOrigin(origin);
    assertAlgorithm(ed25519, "Ed25519", `the ed25519 key of log ${origin}`);
    assertAlgorithm(mldsa44, "ML-DSA-44", `the mldsa44 key of log ${origin}`);
  }
  for (const { name, ed25519, mldsa44 } of witnesses) {
    assertOrigin(name);
    if (ed25519 === undefined && mldsa44 === undefined) malformed(`witness ${name} has no key`);
    if (ed25519) assertAlgorithm(ed25519, "Ed25519", `the ed25519 key of witness ${name}`);
    if (mldsa44) assertAlgorithm(mldsa44, "ML-DSA-44", `the mldsa44 key of witness ${name}`);
  }
  const origins = logs.map(({ origin }) => origin);
  assertUnique(origins, "log");
  assertUnique([...origins, ...witnesses.map(({ name }) => name)], "witness");
  readInteger(witnessThreshold, 0, "witnessThreshold");
  if (witnessThreshold > witnesses.length) {
    refuse(
      `trust root asks for ${String(witnessThreshold)} witnesses and names ${String(witnesses.length)}`,
    );
  }
}

const publicKeysOf = ({ keys, logs, witnesses }: TrustRoot): readonly PublicKey[] => [
  ...keys.map(({ key }) => key),
  ...logs.flatMap(({ ed25519, mldsa44 }) => [ed25519, mldsa44]),
  ...witnesses.flatMap(({ ed25519, mldsa44 }) =>
    [ed25519, mldsa44].filter((key) => key !== undefined),
  ),
];

/**
 * Checks and makes a trust root; nothing is signed yet. Throws `POLICY_REFUSED` for an algorithm that the role never
 * allows, a key that occurs twice, or a threshold that can't be met; `FORMAT_INVALID` or `INPUT_INVALID` for anything
 * malformed.
 */
export function createTrustRoot(draft: TrustRootDraft): TrustRoot {
  const { keys: drafts, minAlg = HYBRID_FROM_THE_START, rootThreshold = 1, ...rest } = draft;
  const { issued } = draft;
  readInteger(draft.version, 1, "trust root version");
  readInteger(issued, 0, "trust root issued");
  readInteger(draft.expires, issued + 1, "trust root expires");
  const keys = drafts.map((key) => ({
    scope: ["*"],
    validFrom: issued,
    validUntil: FOR_EVER_MS,
    ...key,
  }));
  const roleOf = (role: KeyRole): RootRole => ({
    threshold: role === "root" ? rootThreshold : 1,
    keyids: keys
      .filter((key) => key.role === role && isInForce(key, issued))
      .map(({ key }) => key.keyid)
      .toSorted(),
  });
  const root: TrustRoot = {
    witnesses: [],
    witnessThreshold: 0,
    ...rest,
    minAlg,
    keys,
    roles: { issuer: roleOf("issuer"), root: roleOf("root"), snapshot: roleOf("snapshot") },
  };
  for (const space of root.spaces) parseSpaceId(space);
  assertUnique(root.spaces, "space");
  for (const role of KEY_ROLES) {
    assertEpochs(role, minAlg[role]);
    assertRole(role, root.roles[role]);
  }
  for (const key of keys) assertKey(key, root);
  assertLogsAndWitnesses(root);
  assertNoReuse(publicKeysOf(root));
  return root;
}
