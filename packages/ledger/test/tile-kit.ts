// SPDX-License-Identifier: Apache-2.0
/** Large logs quickly: the nodes of all appends, signed once. */
import { utf8Encode } from "@ctxmesh/codec";
import { leafHash, merkleRoot, openLogPages, parseTilePath } from "@ctxmesh/ledger";
import type { FetchTile, LogPages, TreeHead } from "@ctxmesh/ledger";
import type { StoreChange } from "@ctxmesh/model";
import { createMemoryStore } from "@ctxmesh/testing";
import { layout } from "../src/log-store.ts";
import { EMPTY_EDGE, appendLeaf } from "../src/merkle.ts";
import { signCheckpoint } from "../src/note.ts";
import { NOW, ORIGIN, logSigners } from "./fixture.ts";

export const PREFIX: Uint8Array = utf8Encode("log/");

/** A log with its pages. */
export interface TiledLog {
  readonly pages: LogPages;
  readonly entries: readonly Uint8Array[];
  readonly hashes: readonly Uint8Array[];
  readonly head: TreeHead;
  readonly fetch: FetchTile;
}

/** A log of these entries, as a store has it. */
export async function tiledLog(entries: readonly Uint8Array[]): Promise<TiledLog> {
  const keys = layout(PREFIX);
  const hashes = entries.map((entry) => leafHash(entry));
  const changes: StoreChange[] = entries.map((value, i) => ({ key: keys.entry(i), value }));
  let edge = EMPTY_EDGE;
  for (const hash of hashes) {
    const appended = appendLeaf(edge, hash);
    ({ edge } = appended);
    for (const node of appended.made) {
      changes.push({ key: keys.node(node.level, node.index), value: node.hash });
    }
  }
  const head = { origin: ORIGIN, size: entries.length, root: merkleRoot(hashes) };
  const text = signCheckpoint(head, logSigners, NOW / 1_000);
  const store = createMemoryStore();
  await store.write([...changes, { key: keys.checkpoint, value: utf8Encode(text) }]);
  const pages = openLogPages(store, PREFIX);
  return { pages, entries, hashes, head, fetch: async (path) => (await pages.page(path))?.bytes };
}

/** The tiles over these leaf hashes, as the specification defines them: each hash is the tree hash of a full tile of the level below. */
export function tilesOver(leafHashes: readonly Uint8Array[]): FetchTile {
  const levels = [leafHashes];
  for (let below = leafHashes; below.length >= 256; below = levels.at(-1) ?? []) {
    const full = Math.floor(below.length / 256);
    const hashes = Array.from({ length: full }, (_, i) =>
      merkleRoot(below.slice(i * 256, (i + 1) * 256)),
    );
    levels.push(hashes);
  }
  return (path) => {
    const { level, index, width } = parseTilePath(path) ?? { level: 0, index: 0, width: 0 };
    const first = index * 256;
    const hashes = levels[Number(level)]?.slice(first, first + width) ?? [];
    const isThere = width > 0 && hashes.length === width;
    return Promise.resolve(isThere ? new Uint8Array(Buffer.concat(hashes)) : undefined);
  };
}

/** Distinct entries of different lengths. */
export const entriesOf = (count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => utf8Encode(`entry ${String(i)}${"!".repeat(i % 7)}`));
