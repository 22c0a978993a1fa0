// SPDX-License-Identifier: Apache-2.0
/**
 * The seals that hubs share, in an engine's map: the keys of a hub's own store, without encryption, as a sealer that leads finds them. The envelope
 * of the newest is written with the last change of a seal, so without it there is none.
 */
import { parseBundle } from "@ctxmesh/ledger";
import type { Store, StoreChange, Vault } from "@ctxmesh/model";
import { bundleChanges, readBundle } from "./bundle-store.ts";
import { NEWEST_KEY, readNewestSeal } from "./sealer.ts";

/** The log of seals, and the bundles. */
const LOG = { gte: Uint8Array.of(0x20), lt: Uint8Array.of(0x21) };
const BUNDLE_TAG = 0x21;
const ALL = { gte: LOG.gte, lt: Uint8Array.of(BUNDLE_TAG + 1) };
const DELETED_AT_A_TIME = 1_024;

/** The store of this hub. */
export interface OwnSeals {
  readonly store: Store;
  readonly vault: Vault;
}

const sequenceOf = async (store: Store): Promise<number> =>
  (await readNewestSeal(store))?.sequence ?? 0;

async function deleteAll(shared: Store, range: typeof ALL): Promise<void> {
  let changes: StoreChange[] = [];
  for await (const [key] of shared.scan(range)) {
    changes.push({ key });
    if (changes.length < DELETED_AT_A_TIME) continue;
    await shared.write(changes);
    changes = [];
  }
  if (changes.length > 0) await shared.write(changes);
}

/** Deletes what a seal that was not finished has left. */
async function deleteUnfinished(shared: Store): Promise<void> {
  const sequence = await sequenceOf(shared);
  const gte = new Uint8Array(9);
  gte[0] = BUNDLE_TAG;
  new DataView(gte.buffer).setBigUint64(1, BigInt(sequence + 1));
  await deleteAll(shared, sequence === 0 ? ALL : { gte, lt: ALL.lt });
}

/** Copies the seals that a hub made before it was given an engine. */
async function copySeals(shared: Store, { store, vault }: OwnSeals): Promise<void> {
  const newest = await store.get(NEWEST_KEY);
  if (newest === undefined) return;
  const count = await sequenceOf(store);
  if ((await readBundle(store, count, vault)) === undefined) return;
  for (let sequence = 1; sequence <= count; sequence++) {
    // One that was lost with a damaged store stays so.
    const bundle = await readBundle(store, sequence, vault);
    if (bundle !== undefined) await shared.write(bundleChanges(sequence, bundle, undefined));
  }
  const log: StoreChange[] = [];
  for await (const [key, value] of store.scan(LOG)) log.push({ key, value });
  await shared.write([...log, { key: NEWEST_KEY, value: newest }]);
}

/**
 * Makes the shared seals ready for a sealer: what was left unfinished is deleted, and if there are none, those of this hub are taken. Resolves
 * with why it would not be safe to go on from there, if so: this hub knows of a seal that is not among them.
 */
export async function prepareSeals(shared: Store, own: OwnSeals): Promise<string | undefined> {
  await deleteUnfinished(shared);
  if ((await sequenceOf(shared)) === 0) await copySeals(shared, own);
  const known = await own.store.get(NEWEST_KEY);
  if (known === undefined) return undefined;
  const sequence = await sequenceOf(own.store);
  const bundle = await readBundle(shared, sequence, undefined);
  const envelope = bundle && parseBundle(bundle).envelope;
  if (envelope !== undefined && Buffer.compare(envelope, known) === 0) return undefined;
  return `this hub knows of seal ${String(sequence)}, which is not among the ${String(await sequenceOf(shared))} of the engine`;
}

/** Keeps the newest seal in mind, so that it is noticed when the engine loses it. */
export async function rememberNewest(
  shared: Pick<Store, "get">,
  { store }: OwnSeals,
): Promise<void> {
  const value = await shared.get(NEWEST_KEY);
  if (value !== undefined) await store.write([{ key: NEWEST_KEY, value }]);
}
