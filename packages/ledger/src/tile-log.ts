// SPDX-License-Identifier: Apache-2.0
/**
 * A log that is known by its tiles alone (C2SP tlog-tiles). The root of a checkpoint vouches for the partial tiles at the right edge, each hash in a tile
 * for the full tile below it, and the tiles of level 0 for the entries; what does not hash to what is vouched for is refused.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { hashRanges, rangeHash } from "./log-store.ts";
import type { ReadNode } from "./log-store.ts";
import {
  HASH_BYTES,
  consistencyRanges,
  equalBytes,
  inclusionRanges,
  leafHash,
  merkleRoot,
} from "./merkle.ts";
import type { TreeHead } from "./note.ts";
import { TILE_WIDTH, formatTilePath } from "./tile-path.ts";
import type { TilePath } from "./tile-path.ts";
import { hashesAt, partialTiles } from "./tile-pages.ts";

/** Fetches the page of a path such as `tile/0/x001/234`; undefined where there is none. At most 16 MiB are looked at. */
export type FetchTile = (path: string) => Promise<Uint8Array | undefined>;

/** A log behind its tiles. Everything that it answers follows from its head's root. All throw `PROOF_INVALID` for tiles that don't, or are missing, and what fetching throws. */
export interface TileLog {
  readonly head: TreeHead;
  /** The root that the log had with its first `size` entries. Throws `INPUT_INVALID` above the head's size. */
  rootAt(size: number): Promise<Uint8Array>;
  /** The hash of an entry. Throws `INPUT_INVALID` for an index that is not there. */
  leafHash(index: number): Promise<Uint8Array>;
  /** The inclusion proof of an entry in the tree of `size` entries, the head's by default. Throws `INPUT_INVALID`. */
  inclusion(index: number, size?: number): Promise<Uint8Array[]>;
  /** The consistency proof between two sizes, the second the head's by default. Throws `INPUT_INVALID`. */
  consistency(size1: number, size2?: number): Promise<Uint8Array[]>;
  /** The entries of one bundle (256, or fewer at the end), the first with the index `bundle * 256`. Throws `INPUT_INVALID` for a bundle that is not there. */
  entries(bundle: number): Promise<Uint8Array[]>;
  /** The bytes of a full or partial tile of hashes. Throws `INPUT_INVALID` for one that the tree does not have. */
  tile(level: number, index: number): Promise<Uint8Array>;
}

const TILE_HEIGHT = 8;

const unproven = (path: string, what: string): MeshError =>
  new MeshError("PROOF_INVALID", `${path} ${what}`);

const notThere = (message: string): MeshError => new MeshError("INPUT_INVALID", message);

const hashesOf = (tile: Uint8Array): Uint8Array[] =>
  Array.from({ length: tile.length / HASH_BYTES }, (_, i) =>
    tile.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
  );

/** Takes a bundle of entries apart. Throws `PROOF_INVALID` unless it is exactly `count` entries. */
export function parseEntries(bytes: Uint8Array, count: number): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const entries: Uint8Array[] = [];
  let offset = 0;
  while (entries.length < count && offset + 2 <= bytes.length) {
    const end = offset + 2 + view.getUint16(offset);
    if (end > bytes.length) break;
    entries.push(bytes.slice(offset + 2, end));
    offset = end;
  }
  if (entries.length === count && offset === bytes.length) return entries;
  throw unproven("bundle", `is not exactly ${String(count)} entries`);
}

class CheckedTiles implements TileLog {
  readonly head: TreeHead;
  readonly #fetch: FetchTile;
  /** Tiles that were checked, by path; the first is the one used longest ago. */
  readonly #checked = new Map<string, Uint8Array>();
  /** The partial ones, which stay. */
  readonly #edge = new Map<string, Uint8Array>();

  constructor(fetch: FetchTile, head: TreeHead) {
    this.#fetch = fetch;
    this.head = head;
  }

  /** Reads the right edge, which the root is made of. */
  async open(): Promise<this> {
    const { size, root } = this.head;
    for (const tile of partialTiles(size)) {
      const path = formatTilePath(tile);
      this.#edge.set(path, await this.#fetchWidth(tile));
    }
    const computed = size === 0 ? merkleRoot([]) : await rangeHash(this.#node, [0, size]);
    if (equalBytes(computed, root)) return this;
    throw unproven("the right edge", "does not hash to the checkpoint's root");
  }

  /** A tile's bytes, unchecked but for their number. A partial one may have been replaced by the full one. */
  async #fetchWidth(tile: TilePath): Promise<Uint8Array> {
    const path = formatTilePath(tile);
    const full = formatTilePath({ ...tile, width: TILE_WIDTH });
    let bytes = await this.#fetch(path);
    if (bytes === undefined && full !== path) {
      bytes = (await this.#fetch(full))?.subarray(0, tile.width * HASH_BYTES);
    }
    if (bytes === undefined) throw unproven(path, "is missing");
    if (bytes.length !== tile.width * HASH_BYTES) throw unproven(path, "has a wrong length");
    return bytes;
  }

  /** A checked tile. */
  async #tile(level: number, index: number): Promise<Uint8Array> {
    const width = Math.min(TILE_WIDTH, hashesAt(level, this.head.size) - index * TILE_WIDTH);
    const tile = { level, index, width };
    const path = formatTilePath(tile);
    const edge = this.#edge.get(path);
    if (edge !== undefined) return edge;
    const held = this.#checked.get(path);
    if (held !== undefined) {
      this.#keep(path, held);
      return held;
    }
    const bytes = await this.#fetchWidth(tile);
    // The level above has the hash of every full tile.
    const above = await this.#tile(level + 1, Math.floor(index / TILE_WIDTH));
    const at = (index % TILE_WIDTH) * HASH_BYTES;
    if (!equalBytes(merkleRoot(hashesOf(bytes)), above.subarray(at, at + HASH_BYTES))) {
      throw unproven(path, "does not hash to what the level above says");
    }
    this.#keep(path, bytes);
    return bytes;
  }

  /** Makes a tile the one used last. */
  #keep(path: string, bytes: Uint8Array): void {
    this.#checked.delete(path);
    const [oldest] = this.#checked.keys();
    if (this.#checked.size >= LIMITS.checkedTiles && oldest !== undefined) {
      this.#checked.delete(oldest);
    }
    this.#checked.set(path, bytes);
  }

  /** A complete subtree of `2^level` entries. */
  readonly #node: ReadNode = async (level, index) => {
    const tileLevel = Math.floor(level / TILE_HEIGHT);
    const count = 2 ** (level % TILE_HEIGHT);
    const first = index * count;
    const tile = await this.#tile(tileLevel, Math.floor(first / TILE_WIDTH));
    const at = first % TILE_WIDTH;
    return merkleRoot(hashesOf(tile.subarray(at * HASH_BYTES, (at + count) * HASH_BYTES)));
  };

  #assertSize(size: number): void {
    if (Number.isSafeInteger(size) && size >= 0 && size <= this.head.size) return;
    throw notThere(
      `the checkpoint of size ${String(this.head.size)} says nothing of ${String(size)}`,
    );
  }

  async rootAt(size: number): Promise<Uint8Array> {
    this.#assertSize(size);
    return size === 0 ? merkleRoot([]) : rangeHash(this.#node, [0, size]);
  }

  async leafHash(index: number): Promise<Uint8Array> {
    this.#assertSize(index + 1);
    return (await this.#node(0, index)).slice();
  }

  async inclusion(index: number, size: number = this.head.size): Promise<Uint8Array[]> {
    this.#assertSize(size);
    return hashRanges(this.#node, inclusionRanges(index, size));
  }

  async consistency(size1: number, size2: number = this.head.size): Promise<Uint8Array[]> {
    this.#assertSize(size2);
    return hashRanges(this.#node, consistencyRanges(size1, size2));
  }

  async tile(level: number, index: number): Promise<Uint8Array> {
    const isThere =
      Number.isSafeInteger(level) &&
      Number.isSafeInteger(index) &&
      level >= 0 &&
      index >= 0 &&
      index * TILE_WIDTH < hashesAt(level, this.head.size);
    if (!isThere) throw notThere(`no tile ${String(index)} of level ${String(level)}`);
    return (await this.#tile(level, index)).slice();
  }

  async entries(bundle: number): Promise<Uint8Array[]> {
    const hashes = hashesOf(await this.tile(0, bundle));
    const path = { level: "entries", index: bundle, width: hashes.length } as const;
    const name = formatTilePath(path);
    const bytes = await this.#fetch(name);
    const full = bytes ?? (await this.#fetch(formatTilePath({ ...path, width: TILE_WIDTH })));
    if (full === undefined) throw unproven(name, "is missing");
    const count = bytes === undefined ? TILE_WIDTH : hashes.length;
    const entries = parseEntries(full, count).slice(0, hashes.length);
    hashes.forEach((hash, i) => {
      if (equalBytes(leafHash(entries[i] as Uint8Array), hash)) return;
      throw unproven(name, `has another entry ${String(bundle * TILE_WIDTH + i)}`);
    });
    return entries;
  }
}

/**
 * Opens a log by its tiles, under a head whose checkpoint the caller has verified (`verifyCheckpoint`). `fetchTile` may be anything: a folder, a URL, a
 * hub's pages. Fetches the partial tiles at once and others as they are needed; 256 stay in memory. Throws `PROOF_INVALID`.
 */
export const openTileLog = async (fetchTile: FetchTile, head: TreeHead): Promise<TileLog> =>
  new CheckedTiles(fetchTile, head).open();
