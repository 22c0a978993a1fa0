// SPDX-License-Identifier: Apache-2.0
/**
 * The bundles in a hub's store. A bundle has every value of the space, so it is encrypted like any document's
 * content, with data keys of its own, in parts that are no larger than other records:
 *
 * ```
 * 0x21 || sequence(u64) || part(u32, from 0)   one part, sealed by the vault for the place
 * place = key || number of parts(u32)
 * ```
 *
 * The place has the number of parts, so that no part can go missing at the end.
 */
import { LIMITS } from "@ctxmesh/model";
import type { DocumentName, Store, StoreChange, Vault, VaultScope } from "@ctxmesh/model";

const TAG = 0x21;
const KEY_BYTES = 13;
/** No document has this name (`parseDocumentName`). */
const SCOPE: VaultScope = { doc: "/bundles" as DocumentName, gen: 0 };

function keyOf(sequence: number, part: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  key[0] = TAG;
  const view = new DataView(key.buffer);
  view.setBigUint64(1, BigInt(sequence));
  view.setUint32(9, part);
  return key;
}

function placeOf(key: Uint8Array, parts: number): Uint8Array {
  const place = new Uint8Array(KEY_BYTES + 4);
  place.set(key);
  new DataView(place.buffer).setUint32(KEY_BYTES, parts);
  return place;
}

/** The changes that store a bundle, those of the vault's keys included: to be written in the same turn. Throws what the vault throws. */
export function bundleChanges(
  sequence: number,
  bundle: Uint8Array,
  vault: Vault | undefined,
): readonly StoreChange[] {
  const parts = Math.max(1, Math.ceil(bundle.length / LIMITS.bundlePartBytes));
  const changes: StoreChange[] = [];
  for (let part = 0; part < parts; part++) {
    const key = keyOf(sequence, part);
    const from = part * LIMITS.bundlePartBytes;
    const plain = bundle.subarray(from, from + LIMITS.bundlePartBytes);
    changes.push({ key, value: vault?.seal(SCOPE, placeOf(key, parts), plain) ?? plain });
  }
  return [...changes, ...(vault?.takeChanges() ?? [])];
}

/** The bundle of a seal; undefined when nothing of it is here. Throws what the store and the vault throw: `STORE_CORRUPT`, `KEY_INVALID`. */
export async function readBundle(
  store: Store,
  sequence: number,
  vault: Vault | undefined,
): Promise<Uint8Array | undefined> {
  const range = { gte: keyOf(sequence, 0), lt: keyOf(sequence + 1, 0) };
  const stored: (readonly [key: Uint8Array, value: Uint8Array])[] = [];
  for await (const entry of store.scan(range)) stored.push(entry);
  if (stored.length === 0) return undefined;
  const parts = stored.map(([key, value]) =>
    vault === undefined ? value : vault.open(SCOPE, placeOf(key, stored.length), value),
  );
  return new Uint8Array(Buffer.concat(parts));
}
