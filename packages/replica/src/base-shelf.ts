// SPDX-License-Identifier: Apache-2.0
/**
 * The bases in a store: one that is being received, and whole ones that may be handed on. Manifests as they came, parts
 * by their hashes and sealed; so two bases share the parts that they have in common, and what a cut connection or a crash left is gone on with.
 *
 * ```
 * record of a base = CBOR [ whole: bool, since: uint, signed base: bstr ]      since: Unix milliseconds, when it came to be whole, or was begun
 * ```
 */
import { decodeCbor, encodeCbor } from "@ctxmesh/codec";
import { LIMITS, parseDocumentName, toHex } from "@ctxmesh/model";
import type { Store, StoreChange, Vault } from "@ctxmesh/model";
import { decodeManifest, isPart } from "./base-format.ts";
import type { PartRef, SignedManifest } from "./base-format.ts";
import { manifestKey, manifestRange, partKey, partRange } from "./layout.ts";

/** A base on the shelf. */
export interface ShelvedBase extends SignedManifest {
  /** Whether all of its parts are here. */
  readonly isWhole: boolean;
  readonly sinceMs: number;
}

/** What seals parts, which hold facts of many documents: a name that stands for none of them. */
const SCOPE = { doc: parseDocumentName("ctxmesh.base"), gen: 0 } as const;
/** Whole ones at most: the newest, and others that somebody may be half through. */
const MAX_WHOLE = 3;
/** Around a base in its record. */
const FRAME_BYTES = 64;

function decodeRecord(value: Uint8Array): ShelvedBase | undefined {
  const items = decodeCbor(value, LIMITS.basePartBytes + FRAME_BYTES, "base");
  const [isWhole, sinceMs, bytes]: readonly unknown[] = Array.isArray(items) ? items : [];
  if (typeof isWhole !== "boolean" || typeof sinceMs !== "number") return undefined;
  return bytes instanceof Uint8Array ? { ...decodeManifest(bytes), isWhole, sinceMs } : undefined;
}

/** See the top of the file. Loaded when it is first needed. */
export class BaseShelf {
  readonly #store: Store;
  readonly #vault: Vault | undefined;
  #bases: Promise<Map<string, ShelvedBase>> | undefined;
  /** Parts of one that is being made, and has no manifest yet. */
  readonly #pinned = new Set<string>();
  /** Parts that are known to be here, so that looking for them reads none. */
  readonly #present = new Set<string>();

  constructor(store: Store, vault: Vault | undefined) {
    this.#store = store;
    this.#vault = vault;
  }

  async #load(): Promise<Map<string, ShelvedBase>> {
    const bases = new Map<string, ShelvedBase>();
    for await (const [, value] of this.#store.scan(manifestRange)) {
      const base = decodeRecord(value);
      if (base !== undefined) bases.set(base.name, base);
    }
    return bases;
  }

  async #all(): Promise<Map<string, ShelvedBase>> {
    return (this.#bases ??= this.#load());
  }

  /** The base of a name. */
  async get(name: string): Promise<ShelvedBase | undefined> {
    return (await this.#all()).get(name);
  }

  /** The newest base that is whole. */
  async newest(): Promise<ShelvedBase | undefined> {
    return this.#newestOf((await this.#all()).values());
  }

  #newestOf(bases: Iterable<ShelvedBase>): ShelvedBase | undefined {
    return [...bases]
      .filter(({ isWhole }) => isWhole)
      .toSorted((a, b) => b.manifest.time - a.manifest.time)[0];
  }

  /** The base that is being received. */
  async begun(): Promise<ShelvedBase | undefined> {
    return [...(await this.#all()).values()].find(({ isWhole }) => !isWhole);
  }

  /** Puts a base there, before its parts; of those that are not whole there is one, and the one before leaves what this one needs. */
  async begin(base: SignedManifest, nowMs: number): Promise<void> {
    const bases = await this.#all();
    const gone = [...bases.values()].filter(({ isWhole }) => !isWhole);
    await this.#store.write([
      ...gone.map(({ name }) => ({ key: manifestKey(name) })),
      this.#record({ ...base, isWhole: false, sinceMs: nowMs }),
    ]);
    for (const { name } of gone) bases.delete(name);
    bases.set(base.name, { ...base, isWhole: false, sinceMs: nowMs });
    if (gone.length > 0) await this.tidy(nowMs);
  }

  #record({ isWhole, sinceMs, bytes, name }: ShelvedBase): StoreChange {
    return { key: manifestKey(name), value: encodeCbor([isWhole, sinceMs, bytes]) };
  }

  /** All parts of a base are here; it may be handed on from now on. Others that nobody needs any more go. */
  async finish(base: SignedManifest, nowMs: number): Promise<void> {
    const bases = await this.#all();
    const whole = { ...base, isWhole: true, sinceMs: nowMs };
    await this.#store.write([this.#record(whole)]);
    bases.set(base.name, whole);
    await this.tidy(nowMs);
  }

  /** Removes a base, whole or not. */
  async drop(name: string, nowMs: number): Promise<void> {
    const bases = await this.#all();
    if (!bases.delete(name)) return;
    await this.#store.write([{ key: manifestKey(name) }]);
    await this.tidy(nowMs);
  }

  /** Removes what nobody needs: bases that a newer one has replaced for a while, and parts of none. */
  async tidy(nowMs: number): Promise<void> {
    const bases = await this.#all();
    const newest = this.#newestOf(bases.values());
    const kept = [...bases.values()]
      .filter((base) => base.isWhole && base !== newest)
      .filter(() => newest !== undefined && nowMs - newest.sinceMs < LIMITS.baseServedMs)
      .toSorted((a, b) => b.manifest.time - a.manifest.time)
      .slice(0, MAX_WHOLE - 1);
    const gone = [...bases.values()].filter(
      (base) => base.isWhole && base !== newest && !kept.includes(base),
    );
    for (const { name } of gone) bases.delete(name);
    let changes: StoreChange[] = gone.map(({ name }) => ({ key: manifestKey(name) }));
    const needed = new Set(
      [...bases.values()].flatMap(({ manifest }) => manifest.parts.map(({ hash }) => hash)),
    );
    for await (const [key] of this.#store.scan(partRange)) {
      const hash = toHex(key.subarray(2));
      if (needed.has(hash) || this.#pinned.has(hash)) continue;
      this.#present.delete(hash);
      changes.push({ key });
      if (changes.length < LIMITS.prunesPerWrite) continue;
      await this.#store.write(changes);
      changes = [];
    }
    if (changes.length > 0) await this.#store.write(changes);
  }

  /** A part is about to be put there for a base that is being made. */
  pin({ hash }: PartRef): void {
    this.#pinned.add(hash);
  }

  /** The base that was being made is there, or never will be. */
  unpin(): void {
    this.#pinned.clear();
  }

  /** Whether a part is here, of whatever base. */
  async has({ hash }: PartRef): Promise<boolean> {
    if (!this.#present.has(hash) && (await this.#store.get(partKey(hash))) !== undefined) {
      this.#present.add(hash);
    }
    return this.#present.has(hash);
  }

  /** The bytes of a part; undefined when they are not here, or not what they should be. */
  async part(ref: PartRef): Promise<Uint8Array | undefined> {
    const key = partKey(ref.hash);
    const sealed = await this.#store.get(key);
    if (sealed === undefined) return undefined;
    const bytes = this.#vault === undefined ? sealed : this.#vault.open(SCOPE, key, sealed);
    return isPart(ref, bytes) ? bytes : undefined;
  }

  /** Puts a part there. */
  async put({ hash }: PartRef, bytes: Uint8Array): Promise<void> {
    const key = partKey(hash);
    const value = this.#vault === undefined ? bytes : this.#vault.seal(SCOPE, key, bytes);
    await this.#store.write([{ key, value }, ...(this.#vault?.takeChanges() ?? [])]);
    this.#present.add(hash);
  }

  /** The first part of a base that is not here, by its number; undefined when all are. */
  async firstMissing({ manifest }: SignedManifest, from = 0): Promise<number | undefined> {
    for (const [i, part] of manifest.parts.entries()) {
      if (i >= from && !(await this.has(part))) return i;
    }
    return undefined;
  }
}
