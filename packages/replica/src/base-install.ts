// SPDX-License-Identifier: Apache-2.0
/**
 * Putting a base that was made elsewhere in the place of the pruned part of the log. What it stands for is as good as pruned; what is
 * in the log and not in it stays behind it, and what both come to is worked out as after every opening. So nothing that was
 * here is lost, and no second way of merging is needed.
 *
 * Documents and hashes are written aside, where nothing names them. One write makes them count: before it there is the old
 * state, behind it the new one.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type {
  DeviceKey,
  DocumentName,
  HeaderHash,
  SignatureVerifier,
  Store,
  StoreChange,
  Vault,
} from "@ctxmesh/model";
import { documentsIn, hashesIn } from "./base-check.ts";
import type { CheckedBase } from "./base-check.ts";
import { BaseHashes, hashBlocks } from "./base-hashes.ts";
import { whyJudgedOtherwise } from "./base-records.ts";
import type { BaseShelf } from "./base-shelf.ts";
import { decodeDocument } from "./checkpoint-format.ts";
import type { Checkpoint } from "./checkpoint-format.ts";
import type { Core } from "./core.ts";
import { encodeSignedHeader } from "./evidence.ts";
import type { ParsedHeader } from "./evidence.ts";
import { Frontier } from "./frontier.ts";
import {
  baseHashesChange,
  baseHeadKey,
  baseHeadRange,
  chainKey,
  headChange,
  voidHeaderChange,
} from "./layout.ts";
import type { Head } from "./layout.ts";
import { headOf, prunedBy } from "./log.ts";
import { chainView } from "./state.ts";
import { factsOf, isVoid } from "./void-headers.ts";

/** What a base is installed into. */
export interface BaseInstallContext {
  readonly core: Core;
  readonly self: DeviceKey;
  readonly store: Store;
  readonly vault?: Vault;
  readonly shelf: BaseShelf;
  readonly verifier: SignatureVerifier;
  /** Other batches are about to count; returns what has to be written with that. */
  readonly upheaval: () => readonly StoreChange[];
}

const denied = (problem: string): never => {
  throw new MeshError("POLICY_REFUSED", `the base ${problem}`, { field: "base" });
};

/** What can be told before anything is written: it counts by the records that are here, and has all that was pruned here, and more. */
function assertFits(
  { base, heads }: CheckedBase,
  { core: { records, checkpoints, state }, verifier }: BaseInstallContext,
): void {
  const counted = new Set(heads.map(({ header }) => header.replica));
  const otherwise = whyJudgedOtherwise(base.manifest.acts, counted, records, verifier);
  if (otherwise !== undefined) denied(`can't be judged: ${otherwise}`);
  if (heads.some(({ header, hash }) => records.standing(header, hash).kind !== "counts")) {
    denied("has a head that does not count");
  }
  const seqs = new Map(
    heads.map(({ header, hash }) => [chainOf(header), { seq: header.seq, hash }]),
  );
  for (const head of checkpoints.base?.heads ?? []) {
    const its = seqs.get(chainOf(head));
    if (its === undefined || its.seq < head.seq) denied("lacks what is pruned here");
  }
  for (const { reason, ...chain } of state.voids.values()) {
    const its = seqs.get(chainOf(chain))?.seq ?? 0;
    const ours = state.frontier.head(chain.replica, chain.incarnation)?.seq ?? 0;
    if (reason !== "waiting" && its > ours) denied("has batches that do not count here");
  }
  const isNews = heads.some(
    ({ header: { replica, incarnation, seq } }) =>
      (state.frontier.head(replica, incarnation)?.seq ?? 0) < seq,
  );
  if (!isNews) denied("brings nothing");
}

const chainOf = ({ replica, incarnation }: Pick<Head, "replica" | "incarnation">): string =>
  chainKey(replica, incarnation);

/** Chains of our own of which it has more than is here: this store has lost that, or a copy of it wrote it. */
export const lostHere = (
  { heads }: CheckedBase,
  { core: { log }, self }: Pick<BaseInstallContext, "core" | "self">,
): readonly Pick<Head, "incarnation" | "seq">[] =>
  heads.flatMap(({ header: { replica, incarnation, seq } }) =>
    replica === self && seq > (log.head(replica, incarnation)?.seq ?? 0)
      ? [{ incarnation, seq }]
      : [],
  );

/** The chains that both have are of one branch each, as far as they go together. */
async function assertSameBranches(
  { heads }: CheckedBase,
  { core: { state, log } }: BaseInstallContext,
  hashes: BaseHashes,
): Promise<void> {
  for (const { header, hash } of heads) {
    const { replica, incarnation, seq } = header;
    const ours = state.frontier.head(replica, incarnation);
    if (ours === undefined) continue;
    const same =
      ours.seq <= seq
        ? await hashes.has(ours.hash)
        : ((await log.hashAt(replica, incarnation, seq)) ?? hash) === hash;
    if (!same) denied(`has another branch of the chain ${incarnation}`);
  }
}

/** Writes documents and hashes aside, under a position that no batch and no checkpoint has. Returns the documents' places. */
async function stage(
  { base }: CheckedBase,
  { core, store, vault, shelf }: BaseInstallContext,
  position: number,
): Promise<Checkpoint["documents"]> {
  const { log, checkpoints } = core;
  // What an installation left that never came to its end.
  for await (const changes of log.baseHashes.loose()) await store.write(changes);
  const documents = new Map<DocumentName, number>();
  let changes: StoreChange[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    if (changes.length > 0) await store.write([...changes, ...(vault?.takeChanges() ?? [])]);
    [changes, bytes] = [[], 0];
  };
  for await (const [doc, state] of documentsIn(base, shelf)) {
    changes.push(checkpoints.store(doc, position, decodeDocument(state)));
    documents.set(doc, position);
    bytes += state.length;
    if (bytes >= LIMITS.checkpointChunkBytes) await flush();
  }
  await flush();
  for await (const hashes of hashesIn(base, shelf)) await store.write(hashBlocks(position, hashes));
  return documents;
}

/** The void headers that the base brings and that are news: those that are void by what is here and by each other. */
function newVoids(
  { heads, voids }: CheckedBase,
  { core: { records, voidHeaders } }: BaseInstallContext,
): readonly ParsedHeader[] {
  const frontier = Frontier.of(heads.map(headOf), []);
  const view = chainView({ records, headers: voidHeaders, frontier, voidReason: () => undefined });
  return voids.filter((header) => {
    const isNews =
      voidHeaders.get(header.hash) === undefined &&
      voidHeaders.hasRoomFor(header) &&
      isVoid(records, view, factsOf(header));
    // Those behind it in its chain are judged by it.
    if (isNews) voidHeaders.add(header);
    return isNews;
  });
}

/** Headers that were here alone and whose batches the base stands for. */
async function arrivedWith(
  { core: { voidHeaders } }: BaseInstallContext,
  hashes: BaseHashes,
): Promise<HeaderHash[]> {
  const arrived: HeaderHash[] = [];
  for (const { hash } of voidHeaders.values()) if (await hashes.has(hash)) arrived.push(hash);
  return arrived;
}

async function headHeaders(
  heads: readonly ParsedHeader[],
  store: Store,
): Promise<readonly StoreChange[]> {
  const changes = new Map<string, StoreChange>();
  for await (const [key] of store.scan(baseHeadRange)) changes.set(key.join(), { key });
  for (const header of heads) {
    const key = baseHeadKey(header.hash);
    changes.set(key.join(), { key, value: encodeSignedHeader(header) });
  }
  return [...changes.values()];
}

/**
 * Installs a checked base. When it returns, store and log have it, and the state has to be made anew. Throws `POLICY_REFUSED`, without
 * having changed anything that counts, when it does not go together with what is here; what the store throws is final.
 */
export async function installBase(
  checked: CheckedBase,
  context: BaseInstallContext,
): Promise<void> {
  const { core, store } = context;
  const { log, checkpoints } = core;
  assertFits(checked, context);
  const position = log.position + 1;
  const documents = await stage(checked, context, position);
  const hashes = BaseHashes.of(store, position);
  await assertSameBranches(checked, context, hashes);
  const voids = newVoids(checked, context);
  const heads = checked.heads.map(headOf);
  const base: Checkpoint = {
    position,
    heads,
    unnamed: checked.marks.unnamed.flatMap((index) => heads[index] ?? []),
    voids: [],
    ownVoid: [],
    voidParts: checked.marks.voidParts,
    arrived: await arrivedWith(context, hashes),
    documents,
  };
  const further = heads.filter(
    ({ replica, incarnation, seq }) => (log.head(replica, incarnation)?.seq ?? 0) <= seq,
  );
  const headers = await headHeaders(checked.heads, store);
  const changes = [...context.upheaval(), ...checkpoints.setBase(base)];
  log.install(prunedBy(base), further);
  await store.write([
    ...changes,
    baseHashesChange(position),
    ...further.map(headChange),
    ...headers,
    ...voids.map((header) => voidHeaderChange(header.hash, encodeSignedHeader(header))),
  ]);
  // What this one has replaced.
  for await (const replaced of log.baseHashes.loose()) await store.write(replaced);
}
