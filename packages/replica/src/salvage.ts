// SPDX-License-Identifier: Apache-2.0
/**
 * What can be saved of a damaged store. Its records are read one by one, those that still verify; they go
 * into a new store: keys and records as they are, batches through the checks that every foreign batch goes
 * through. The heads that the old store had recorded are kept as what is expected: until the mesh has brought
 * every chain that far, the replica is degraded. Checkpoints are made anew from the batches; but for the base, which
 * stands for batches that are gone: it is taken over when all of it is readable, and else is lost with them.
 */
import { toHex, toMeshError } from "@ctxmesh/model";
import type { Logger, ReceiveOutcome, Store, StoreChange, StoreRange, Vault } from "@ctxmesh/model";
import { decodeCheckpoint, encodeCheckpoint } from "./checkpoint-format.ts";
import type { Checkpoint } from "./checkpoint-format.ts";
import { openDocument } from "./checkpoints.ts";
import {
  baseHashesRange,
  baseHeadRange,
  baseKey,
  baseRange,
  documentRange,
  expectedChange,
  hashBlocksRange,
  hashRange,
  headChange,
  isBatchKey,
  isExpectedKey,
  isHeadKey,
  isKeptAsIs,
  readDocumentKey,
  readHashEntry,
  readU64,
} from "./layout.ts";
import { decodeStored } from "./stored-batch.ts";

/** What was saved. */
export interface SalvageReport {
  /** Records taken over as they were. */
  readonly records: number;
  /** Batches that were accepted again. */
  readonly batches: number;
  /** Batches that were readable and not accepted, for whatever reason. */
  readonly rejected: number;
}

/** What can be read of a damaged store. */
export interface DamagedEntries {
  scan(range: StoreRange): AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>;
}

type Entries = AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>;

const GROUP = 256;

/**
 * First half: everything but the batches, into a new store that no replica has opened yet. Call it before the
 * vault and the replica of the new store are opened.
 */
export async function salvageRecords(damaged: Entries, store: Store): Promise<number> {
  let records = 0;
  let changes: StoreChange[] = [];
  // A store that was damaged before may still expect more than it had.
  const expected = new Map<string, StoreChange & { readonly value: Uint8Array }>();
  const expect = (key: Uint8Array, value: Uint8Array): void => {
    const change = { ...expectedChange(key, value), value };
    const chain = toHex(change.key);
    const known = expected.get(chain);
    if (known === undefined || readU64(known.value, 0) < readU64(value, 0)) {
      expected.set(chain, change);
    }
  };
  const flush = async (): Promise<void> => {
    if (changes.length > 0) await store.write(changes);
    changes = [];
  };
  for await (const [key, value] of damaged) {
    if (isHeadKey(key) || isExpectedKey(key)) expect(key, value);
    else if (isKeptAsIs(key)) changes.push({ key, value });
    else continue;
    records++;
    if (changes.length >= GROUP) await flush();
  }
  changes.push(...expected.values());
  await flush();
  return records;
}

async function readBase(damaged: DamagedEntries): Promise<Checkpoint | undefined> {
  for await (const [, value] of damaged.scan(baseRange)) {
    try {
      return decodeCheckpoint(value);
    } catch {
      return undefined;
    }
  }
  return undefined;
}

/** The states of the documents that a checkpoint names. */
async function* statesOf(damaged: DamagedEntries, { documents }: Checkpoint): Entries {
  for await (const [key, value] of damaged.scan(documentRange)) {
    const { doc, position } = readDocumentKey(key);
    if (documents.get(doc) === position) yield [key, value];
  }
}

/** Where batches up to the base are, or were. */
async function* hashesOf(damaged: DamagedEntries, { position }: Checkpoint): Entries {
  for await (const [key, value] of damaged.scan(hashRange)) {
    if (readHashEntry(value) <= position) yield [key, value];
  }
}

/** What a base that was made elsewhere brought besides: its hashes, and the headers of its heads. */
async function* broughtWith(damaged: DamagedEntries): Entries {
  for await (const [key, value] of damaged.scan(baseHashesRange)) {
    yield* damaged.scan(hashBlocksRange(readU64(value, 0)));
    yield* damaged.scan(baseHeadRange);
    yield [key, value];
  }
}

const HASH_BYTES = 32;

/** Number of hashes that a base brought. */
async function broughtHashes(damaged: DamagedEntries): Promise<number> {
  let bytes = 0;
  for await (const [, generation] of damaged.scan(baseHashesRange)) {
    const blocks = damaged.scan(hashBlocksRange(readU64(generation, 0)));
    for await (const [, block] of blocks) bytes += block.length;
  }
  return bytes / HASH_BYTES;
}

async function isWhole(
  damaged: DamagedEntries,
  base: Checkpoint,
  vault: Vault | undefined,
): Promise<boolean> {
  let documents = 0;
  for await (const [key, sealed] of statesOf(damaged, base)) {
    try {
      openDocument(readDocumentKey(key).doc, key, sealed, vault);
    } catch {
      return false;
    }
    documents++;
  }
  // Those of before that one was installed may be among its own.
  let hashes = await broughtHashes(damaged);
  for await (const _ of hashesOf(damaged, base)) hashes++;
  const batches = base.heads.reduce((sum, { seq }) => sum + seq, 0);
  return documents === base.documents.size && hashes >= batches;
}

/**
 * Between the halves: what stands for the pruned part of the log, if there is one and all of it is readable. Call it
 * before the replica of the new store is opened; its vault is opened when it is needed. Returns whether it was taken over.
 */
export async function salvageBase(
  damaged: DamagedEntries,
  store: Store,
  openVault: () => Promise<Vault | undefined>,
): Promise<boolean> {
  const base = await readBase(damaged);
  if (base === undefined || !(await isWhole(damaged, base, await openVault()))) return false;
  let changes: StoreChange[] = [];
  const all = [statesOf(damaged, base), hashesOf(damaged, base), broughtWith(damaged)];
  for (const entries of all) {
    for await (const [key, value] of entries) {
      changes.push({ key, value });
      if (changes.length < GROUP) continue;
      await store.write(changes);
      changes = [];
    }
  }
  // The log begins behind it.
  changes.push({ key: baseKey, value: encodeCheckpoint(base) }, ...base.heads.map(headChange));
  await store.write(changes);
  return true;
}

/** Second half: the batches, through `receive` of the replica that was opened on the new store. */
export async function salvageBatches(
  damaged: Entries,
  vault: Vault | undefined,
  receive: (batch: Uint8Array) => Promise<ReceiveOutcome>,
  logger: Logger,
): Promise<Pick<SalvageReport, "batches" | "rejected">> {
  let batches = 0;
  let rejected = 0;
  for await (const [key, value] of damaged) {
    if (!isBatchKey(key)) continue;
    try {
      const { bytes } = decodeStored(value, vault);
      const { kind } = await receive(bytes);
      if (kind === "accepted") batches++;
      else rejected++;
    } catch (error) {
      rejected++;
      logger.warn("salvage.batch-unreadable", { error: toMeshError(error).message });
    }
  }
  return { batches, rejected };
}
