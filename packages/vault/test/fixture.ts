// SPDX-License-Identifier: Apache-2.0
/** What the tests of this package share. */
import type { DocumentName, Store, StoreChange, VaultScope } from "@ctxmesh/model";
import type { MemoryStore } from "@ctxmesh/testing";
import { createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import type { KeyProvider, StoreVault } from "@ctxmesh/vault";
import { openVault } from "@ctxmesh/vault";
import { localKeyProvider } from "../src/provider.ts";

export const START_MS = 1_800_000_000_000;

/** The key of {@link provider}. */
export const keyBytes = (fill = 7): Uint8Array => new Uint8Array(32).fill(fill);

/** A provider whose key is 32 times the byte `fill`. */
export const provider = (fill = 7, id = `test:${String(fill)}`): KeyProvider =>
  localKeyProvider(id, () => Promise.resolve(keyBytes(fill)));

export const scope = (doc = "line-2/press-7", gen = 0): VaultScope => ({
  doc: doc as DocumentName,
  gen,
});

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Opens a vault with the operating system's randomness. */
export const openOn = (
  store: Store,
  options: {
    readonly clock?: VirtualClock;
    readonly key?: KeyProvider;
    readonly acceptPlain?: boolean;
  } = {},
): Promise<StoreVault> =>
  openVault({
    store,
    provider: options.key ?? provider(),
    clock: options.clock ?? createVirtualClock(START_MS),
    acceptPlain: options.acceptPlain ?? false,
  });

/** A store key under which a test keeps sealed bytes. */
export const place = (n: number): Uint8Array => Uint8Array.of(0x02, n >>> 16, n >>> 8, n);

/** Seals a text for each document, and writes all in one write with the changes of the vault. */
export async function writeSealed(
  store: Store,
  vault: StoreVault,
  documents: readonly string[],
): Promise<void> {
  const sealed = documents.map((doc, n) => ({
    key: place(n),
    value: vault.seal(scope(doc), place(n), bytes(`text of ${doc}`)),
  }));
  await store.write([...vault.takeChanges(), ...sealed]);
}

/** The documents whose text, sealed by {@link writeSealed}, does not open. */
export async function unreadable(
  store: Store,
  vault: StoreVault,
  documents: readonly string[],
): Promise<string[]> {
  const wrong: string[] = [];
  for (const [n, doc] of documents.entries()) {
    const sealed = await store.get(place(n));
    try {
      const plain = vault.open(scope(doc), place(n), sealed ?? new Uint8Array(0));
      if (new TextDecoder().decode(plain) !== `text of ${doc}`) wrong.push(doc);
    } catch {
      wrong.push(doc);
    }
  }
  return wrong;
}

/** `count` document names. */
export const documents = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `doc-${String(i)}`);

/** Every entry of a store under the tags from `tag` to `last`. */
export async function entries(
  store: Store,
  tag: number,
  last = tag,
): Promise<(readonly [key: Uint8Array, value: Uint8Array])[]> {
  const found: (readonly [key: Uint8Array, value: Uint8Array])[] = [];
  const range = { gte: Uint8Array.of(tag), lt: Uint8Array.of(last + 1) };
  for await (const entry of store.scan(range)) found.push(entry);
  return found;
}

/** The entry at `n` of {@link entries}. */
export async function entryAt(
  store: Store,
  tag: number,
  n: number,
): Promise<readonly [key: Uint8Array, value: Uint8Array]> {
  const entry = (await entries(store, tag))[n];
  if (entry === undefined) throw new Error(`no entry ${String(n)} under ${String(tag)}`);
  return entry;
}

/** A store whose write number `n` (from 0) fails: `lost` without a trace, or `kept` and found after a reopen. */
export function failAt(
  store: MemoryStore,
  n: number,
  outcome: "lost" | "kept",
): Store & { readonly writes: () => number } {
  let writes = 0;
  return {
    write(changes: readonly StoreChange[]) {
      if (writes++ === n) store.failNextWrite(outcome);
      return store.write(changes);
    },
    get: (key) => store.get(key),
    scan: (range) => store.scan(range),
    close: () => store.close(),
    writes: () => writes,
  };
}

/** Seeded randomness that remembers what it gave out. */
export function recordingRandom(): {
  readonly random: { bytes(length: number): Uint8Array };
  readonly given: Uint8Array[];
} {
  const seeded = createSeededRandom(1);
  const given: Uint8Array[] = [];
  const random = {
    bytes(length: number) {
      const drawn = seeded.bytes(length);
      given.push(drawn.slice());
      return drawn;
    },
  };
  return { random, given };
}
