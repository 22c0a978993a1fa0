// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh trust init`, `add`, `rotate` and `revoke`: a new version of a trust root, to be signed. */
import { ALGORITHMS } from "@ctxmesh/crypto";
import type { Algorithm } from "@ctxmesh/crypto";
import { KEY_ROLES, createTrustRoot } from "@ctxmesh/ledger";
import type { KeyRole, TrustRootDraft, TrustedKeyDraft, TrustedWitness } from "@ctxmesh/ledger";
import { MeshError, parseSpaceId } from "@ctxmesh/model";
import type { SpaceId } from "@ctxmesh/model";
import { systemClock } from "@ctxmesh/service";
import { existsSync } from "node:fs";
import { readPublicKey, readSpace } from "../files.ts";
import { parseMoment } from "../moment.ts";
import { createOutput, parseDuration } from "../output.ts";
import { changeRoot, expiryOf, issueTime, writeCandidate } from "../trust-candidate.ts";
import type { ChangeOptions } from "../trust-candidate.ts";

/** Options of `ctxmesh trust init`. */
export interface TrustInitOptions {
  readonly root: readonly string[];
  readonly threshold: number;
  readonly space?: readonly string[];
  readonly days: number;
  readonly json?: boolean;
}

/** Options of `ctxmesh trust add`. */
export interface TrustAddOptions extends ChangeOptions {
  readonly role?: KeyRole;
  readonly key?: string;
  readonly scope?: readonly string[];
  readonly from?: string;
  readonly until?: string;
  readonly space?: readonly string[];
  readonly log?: string;
  readonly witness?: string;
  readonly ed25519?: string;
  readonly mldsa44?: string;
  readonly threshold?: number;
  readonly witnessThreshold?: number;
  readonly minAlg?: string;
}

/** Options of `ctxmesh trust rotate`. */
export interface TrustRotateOptions extends ChangeOptions {
  readonly key: string;
  readonly to: string;
  readonly overlap?: string;
}

/** Options of `ctxmesh trust revoke`. */
export interface TrustRevokeOptions extends ChangeOptions {
  readonly key: string;
  readonly at?: string;
  readonly reason: string;
}

const usage = (message: string, remedy: string): MeshError =>
  new MeshError("USAGE", message, { remedy });

const momentOf = (text: string): number => parseMoment(text, systemClock.now());

/** Space ids, given as such or as space files. */
const spacesOf = async (texts: readonly string[] = []): Promise<readonly SpaceId[]> =>
  Promise.all(
    texts.map(async (text) => (existsSync(text) ? (await readSpace(text)).id : parseSpaceId(text))),
  );

/** Makes version 1 of a trust root, not signed, never in the place of another file. Throws `FILE_UNAVAILABLE`, `KEY_INVALID`, `POLICY_REFUSED`. */
export async function runTrustInit(path: string, options: TrustInitOptions): Promise<void> {
  if (existsSync(path)) {
    throw new MeshError("FILE_UNAVAILABLE", `${path} is there already`, {
      remedy: "choose another name; what a root has become is changed with ctxmesh trust add",
    });
  }
  const keys = await Promise.all(options.root.map(async (file) => readPublicKey(file)));
  const issued = issueTime();
  const root = createTrustRoot({
    version: 1,
    issued,
    expires: expiryOf(issued, options.days),
    spaces: await spacesOf(options.space),
    keys: keys.map((key) => ({ role: "root", key })),
    rootThreshold: options.threshold,
    logs: [],
  });
  await writeCandidate(path, { root, signatures: [] });
  const output = createOutput(options);
  await output.line(
    output.json
      ? JSON.stringify({ path, version: 1, threshold: options.threshold })
      : `wrote version 1 of the trust root to ${path}; nobody has signed it yet\nnext: ctxmesh trust add ${path} ..., then ctxmesh trust sign ${path} --key KEY, by ${String(options.threshold)} of ${String(keys.length)}`,
  );
}

type Edit = (draft: TrustRootDraft) => TrustRootDraft;

async function keyEdit({ role, key, scope, from, until }: TrustAddOptions): Promise<Edit> {
  if (role === undefined || key === undefined) {
    throw usage("a key needs a role, and a role a key", "give --role and --key");
  }
  const entry: TrustedKeyDraft = {
    role,
    key: await readPublicKey(key),
    ...(scope && { scope }),
    ...(from !== undefined && { validFrom: momentOf(from) }),
    ...(until !== undefined && { validUntil: momentOf(until) }),
  };
  return (draft) => ({ ...draft, keys: [...draft.keys, entry] });
}

async function logEdit(origin: string, { ed25519, mldsa44 }: TrustAddOptions): Promise<Edit> {
  if (ed25519 === undefined || mldsa44 === undefined) {
    throw usage("a log has two keys", "give --ed25519 and --mldsa44");
  }
  const log = {
    origin,
    ed25519: await readPublicKey(ed25519),
    mldsa44: await readPublicKey(mldsa44),
  };
  return (draft) => ({ ...draft, logs: [...draft.logs, log] });
}

async function witnessEdit(name: string, { ed25519, mldsa44 }: TrustAddOptions): Promise<Edit> {
  const witness: TrustedWitness = {
    name,
    ...(ed25519 !== undefined && { ed25519: await readPublicKey(ed25519) }),
    ...(mldsa44 !== undefined && { mldsa44: await readPublicKey(mldsa44) }),
  };
  return (draft) => ({ ...draft, witnesses: [...(draft.witnesses ?? []), witness] });
}

/** `role:alg,alg`, from a moment on: later epochs of the role give way to it. */
function epochEdit(text: string, from: number): Edit {
  const [name, list = ""] = text.split(":", 2);
  const role = KEY_ROLES.find((known) => known === name);
  const algs = list.split(",").map((alg) => ALGORITHMS.find((known) => known === alg));
  if (role === undefined || algs.includes(undefined)) {
    throw usage(
      `--min-alg ${JSON.stringify(text)} is not a role and algorithms`,
      `write it as snapshot:ML-DSA-65-Ed25519, with ${ALGORITHMS.join(", ")}`,
    );
  }
  const epoch = { from, algs: algs as Algorithm[] };
  return (draft) => {
    const { minAlg } = draft;
    if (minAlg === undefined) return draft;
    const before = minAlg[role].filter((other) => other.from < from);
    return { ...draft, minAlg: { ...minAlg, [role]: [...before, epoch] } };
  };
}

async function editsOf(options: TrustAddOptions): Promise<readonly Edit[]> {
  const { role, key, space, log, witness, threshold, witnessThreshold, minAlg, from } = options;
  const spaces = await spacesOf(space);
  return [
    ...(role !== undefined || key !== undefined ? [await keyEdit(options)] : []),
    ...(log === undefined ? [] : [await logEdit(log, options)]),
    ...(witness === undefined ? [] : [await witnessEdit(witness, options)]),
    ...(minAlg === undefined
      ? []
      : [epochEdit(minAlg, from === undefined ? issueTime() : momentOf(from))]),
    ...(spaces.length === 0
      ? []
      : [(draft: TrustRootDraft) => ({ ...draft, spaces: [...draft.spaces, ...spaces] })]),
    ...(threshold === undefined
      ? []
      : [(draft: TrustRootDraft) => ({ ...draft, rootThreshold: threshold })]),
    ...(witnessThreshold === undefined
      ? []
      : [(draft: TrustRootDraft) => ({ ...draft, witnessThreshold })]),
    // To renew it is a change, too.
    ...(options.days === undefined ? [] : [(draft: TrustRootDraft) => draft]),
  ];
}

/** Adds keys, a log, a witness, spaces, algorithms or thresholds. Throws `USAGE`, `KEY_INVALID`, `POLICY_REFUSED`. */
export async function runTrustAdd(path: string, options: TrustAddOptions): Promise<void> {
  const edits = await editsOf(options);
  if (edits.length === 0) throw usage("what shall be added?", "see ctxmesh trust add --help");
  if (options.log !== undefined && options.witness !== undefined) {
    throw usage("--log and --witness share their options for keys", "add one after the other");
  }
  await changeRoot(path, options, (draft) => edits.reduce((made, edit) => edit(made), draft));
}

/** The one key whose id begins so. Throws `NOT_FOUND`, `USAGE`. */
function findKey(draft: TrustRootDraft, id: string): TrustedKeyDraft {
  const found = draft.keys.filter(({ key }) => key.keyid.startsWith(id));
  const [only] = found;
  if (only === undefined || id === "") {
    throw new MeshError("NOT_FOUND", `the trust root has no key ${JSON.stringify(id)}`, {
      remedy: "see its keys: ctxmesh trust show",
    });
  }
  if (found.length > 1)
    throw usage(`${String(found.length)} keys begin with ${id}`, "give more of it");
  return only;
}

const replaced = (
  draft: TrustRootDraft,
  old: TrustedKeyDraft,
  ...by: TrustedKeyDraft[]
): TrustRootDraft => ({
  ...draft,
  keys: draft.keys.flatMap((entry) => (entry === old ? by : [entry])),
});

/** Puts a new key beside an old one, which is good for the overlap only. Throws `USAGE`, `KEY_INVALID`, `NOT_FOUND`, `POLICY_REFUSED`. */
export async function runTrustRotate(path: string, options: TrustRotateOptions): Promise<void> {
  const key = await readPublicKey(options.to);
  const overlap = options.overlap === undefined ? 0 : parseDuration(options.overlap);
  await changeRoot(path, options, (draft) => {
    const old = findKey(draft, options.key);
    const { role, scope } = old;
    const until = Math.min(old.validUntil ?? Infinity, draft.issued + overlap);
    return replaced(
      draft,
      old,
      { ...old, validUntil: until },
      { role, key, ...(scope && { scope }) },
    );
  });
}

/** Says from when on a key can't be believed. Throws `USAGE`, `NOT_FOUND`, `POLICY_REFUSED`. */
export async function runTrustRevoke(path: string, options: TrustRevokeOptions): Promise<void> {
  const { at, reason } = options;
  await changeRoot(path, options, (draft) => {
    const old = findKey(draft, options.key);
    const revokedAt = at === undefined ? draft.issued : momentOf(at);
    return replaced(draft, old, { ...old, revokedAt, reason });
  });
}
