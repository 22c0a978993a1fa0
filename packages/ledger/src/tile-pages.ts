// SPDX-License-Identifier: Apache-2.0
/** A log in a store as the static pages of C2SP tlog-tiles: its checkpoint, tiles, and bundles of entries. */
import { MeshError } from "@ctxmesh/model";
import type { Store } from "@ctxmesh/model";
import { corrupt, layout, readHead } from "./log-store.ts";
import type { LogLayout } from "./log-store.ts";
import { HASH_BYTES } from "./merkle.ts";
import { TILE_WIDTH, formatTilePath, parseTilePath } from "./tile-path.ts";
import type { TilePath } from "./tile-path.ts";

/** A page. */
export interface LogPage {
  readonly bytes: Uint8Array;
  /** The checkpoint changes; everything else stays as it is for ever. */
  readonly kind: "checkpoint" | "tile" | "entries";
}

/** The pages of a log. */
export interface LogPages {
  /** The page of a path such as `checkpoint` or `tile/0/000.p/7`; undefined where there is none. Throws what the store throws, `STORE_CORRUPT`. */
  page(path: string): Promise<LogPage | undefined>;
}

/** Bits of index in one tile: its height in the tree. */
const TILE_HEIGHT = 8;
/** The highest level that a tree of safe size has. */
const MAX_LEVEL = 6;

/** The hashes in a tree of `size` entries of the level above `256^level` entries each. */
export const hashesAt = (level: number, size: number): number =>
  Math.floor(size / TILE_WIDTH ** level);

/** The tiles that a tree of a size ends in, one for each level that does not end in a full one: the partial ones. */
export function partialTiles(size: number): TilePath[] {
  const tiles: TilePath[] = [];
  for (let level = 0; hashesAt(level, size) > 0; level++) {
    const hashes = hashesAt(level, size);
    const width = hashes % TILE_WIDTH;
    if (width > 0) tiles.push({ level, index: Math.floor(hashes / TILE_WIDTH), width });
  }
  return tiles;
}

class StoredPages implements LogPages {
  readonly #store: Pick<Store, "get" | "scan">;
  readonly #keys: LogLayout;

  constructor(store: Pick<Store, "get" | "scan">, prefix: Uint8Array) {
    this.#store = store;
    this.#keys = layout(prefix);
  }

  async page(path: string): Promise<LogPage | undefined> {
    const isCheckpoint = path === "checkpoint";
    const tile = isCheckpoint ? undefined : parseTilePath(path);
    // What is no path costs no look into the store.
    if (!isCheckpoint && tile === undefined) return undefined;
    const head = await readHead(this.#store, this.#keys);
    if (head === undefined) return undefined;
    if (tile === undefined) return { bytes: head.published, kind: "checkpoint" };
    const level = tile.level === "entries" ? 0 : tile.level;
    const end = tile.index * TILE_WIDTH + tile.width;
    if (level > MAX_LEVEL || end > hashesAt(level, head.size)) return undefined;
    return tile.level === "entries"
      ? { bytes: await this.#entries(tile), kind: "entries" }
      : { bytes: await this.#hashes(tile, tile.level), kind: "tile" };
  }

  async #hashes(tile: TilePath, level: number): Promise<Uint8Array> {
    const at = (index: number): Uint8Array => this.#keys.node(level * TILE_HEIGHT, index);
    const bytes = new Uint8Array(tile.width * HASH_BYTES);
    const hashes = await this.#read(tile, at);
    for (const [i, hash] of hashes.entries()) {
      if (hash.length !== HASH_BYTES) throw this.#damaged(tile);
      bytes.set(hash, i * HASH_BYTES);
    }
    return bytes;
  }

  async #entries(tile: TilePath): Promise<Uint8Array> {
    return bundleEntries(await this.#read(tile, (index) => this.#keys.entry(index)));
  }

  /** The values of a tile, which stand side by side in the store. */
  async #read(tile: TilePath, keyOf: (index: number) => Uint8Array): Promise<Uint8Array[]> {
    const first = tile.index * TILE_WIDTH;
    const range = { gte: keyOf(first), lt: keyOf(first + tile.width) };
    const values: Uint8Array[] = [];
    for await (const [, value] of this.#store.scan(range)) values.push(value);
    if (values.length !== tile.width) throw this.#damaged(tile);
    return values;
  }

  #damaged(tile: TilePath): MeshError {
    return corrupt("in the store", `${formatTilePath(tile)} is incomplete`);
  }
}

/** Entries as a bundle: each with its length, u16, in front. Throws `LIMIT_EXCEEDED` for one of more than 65,535 bytes. */
export function bundleEntries(entries: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(entries.reduce((sum, entry) => sum + 2 + entry.length, 0));
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const entry of entries) {
    if (entry.length > 0xffff) {
      throw new MeshError("LIMIT_EXCEEDED", `entry of ${String(entry.length)} bytes is over 65535`);
    }
    view.setUint16(offset, entry.length);
    bytes.set(entry, offset + 2);
    offset += 2 + entry.length;
  }
  return bytes;
}

/** The pages of the log under a prefix, as it is in the store at each call: nothing is shown before it is durable. */
export const openLogPages = (store: Pick<Store, "get" | "scan">, prefix: Uint8Array): LogPages =>
  new StoredPages(store, prefix);
