// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: who has a log's tiles and a checkpoint that it trusts has the log; who gets other tiles has nothing.
 * Method: logs of random sizes, their pages read back; every single bit of pages changed; the tessera log's own tiles.
 */
import { fromBase64 } from "@ctxmesh/codec";
import {
  consistencyProof,
  inclusionProof,
  leafHash,
  merkleRoot,
  openTileLog,
  parseCheckpoint,
  parseEntries,
  verifyConsistency,
  verifyInclusion,
} from "@ctxmesh/ledger";
import type { FetchTile, TileLog } from "@ctxmesh/ledger";
import { LIMITS, MeshError } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { entriesOf, tiledLog, tilesOver } from "./tile-kit.ts";
import { haveVectors, readVector, skipNote } from "./vectors.ts";

const outcome = async (action: Promise<unknown>): Promise<string> =>
  action.then(
    () => "no error",
    (error: unknown) => (error instanceof MeshError ? error.code : String(error)),
  );

/** What a reader can be asked about one entry, by tiles of hashes alone. */
async function readAll(fetch: FetchTile, head: TileLog["head"], index: number): Promise<void> {
  const log = await openTileLog(fetch, head);
  await log.inclusion(index);
  await log.leafHash(index);
  await log.consistency(index + 1);
}

/** The bundle that has an entry. */
const readEntries = async (
  fetch: FetchTile,
  head: TileLog["head"],
  index: number,
): Promise<unknown> => (await openTileLog(fetch, head)).entries(Math.floor(index / 256));

test("proofs from tiles are the log's own, at every size", async () => {
  const sizes = fc.oneof(fc.integer({ min: 1, max: 700 }), fc.constantFrom(255, 256, 257, 512));
  await fc.assert(
    fc.asyncProperty(sizes, fc.nat(), fc.nat(), async (size, i, j) => {
      const { fetch, head, hashes, entries } = await tiledLog(entriesOf(size));
      const log = await openTileLog(fetch, head);
      const [index, size1] = [i % size, 1 + (j % size)];
      expect(await log.inclusion(index)).toEqual(inclusionProof(hashes, index));
      expect(await log.consistency(size1)).toEqual(consistencyProof(hashes, size1));
      expect(await log.rootAt(size1)).toEqual(merkleRoot(hashes.slice(0, size1)));
      expect(await log.leafHash(index)).toEqual(hashes[index]);
      const bundle = Math.floor(index / 256);
      expect(await log.entries(bundle)).toEqual(entries.slice(bundle * 256, bundle * 256 + 256));
    }),
    { numRuns: 30 },
  );
});

test("pages of a store are the tiles that the specification defines", async () => {
  const { hashes, fetch, head } = await tiledLog(entriesOf(700));
  const tiles = tilesOver(hashes);
  for (const path of ["tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"]) {
    expect(await fetch(path), path).toEqual(await tiles(path));
  }
  expect(head.root).toEqual(merkleRoot(hashes));
});

test("a log of three levels is read by a few tiles", async () => {
  const hashes = Array.from({ length: 66_000 }, (_, i) =>
    leafHash(Uint8Array.of(i, i >> 8, i >> 16)),
  );
  const head = { origin: "log", size: hashes.length, root: merkleRoot(hashes) };
  const fetch = tilesOver(hashes);
  const fetched: string[] = [];
  const log = await openTileLog(async (path) => {
    fetched.push(path);
    return fetch(path);
  }, head);
  expect(fetched).toEqual(["tile/0/257.p/208", "tile/1/001.p/1", "tile/2/000.p/1"]);
  const proof = await log.inclusion(40_000);
  const { size, root } = head;
  const claim = { leafHash: hashes[40_000] as Uint8Array, index: 40_000, size, proof, root };
  expect(verifyInclusion(claim)).toBe(true);
  expect(fetched.slice(3).toSorted()).toEqual(["tile/0/156", "tile/1/000"]);
  const older = await log.consistency(300);
  const root1 = merkleRoot(hashes.slice(0, 300));
  expect(verifyConsistency({ size1: 300, size2: size, root1, root2: root, proof: older })).toBe(
    true,
  );
  // More tiles than are kept, each of them checked.
  for (let i = 0; i < 257; i++) await log.leafHash(i * 256);
  const before = fetched.length;
  expect(before).toBeGreaterThan(LIMITS.checkedTiles);
  await log.leafHash(0);
  expect(fetched.length).toBe(before + 1);
});

test("no single changed bit of any page goes unnoticed", async () => {
  const { fetch, head } = await tiledLog(entriesOf(300));
  const paths = ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"];
  const pages = new Map(
    await Promise.all(
      paths.map(async (path) => [path, (await fetch(path)) ?? new Uint8Array()] as const),
    ),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...paths), fc.nat(), fc.nat(7), async (path, at, bit) => {
      const edited = pages.get(path)?.slice() ?? new Uint8Array();
      const offset = at % edited.length;
      edited[offset] = (edited[offset] ?? 0) ^ (1 << bit);
      const lie: FetchTile = async (asked) => (asked === path ? edited : fetch(asked));
      const index = path.includes("/001") ? 290 : 7;
      const read = path.startsWith("tile/entries") ? readEntries : readAll;
      expect(await outcome(read(lie, head, index))).toMatch(/^(?:PROOF|FORMAT)_INVALID$/u);
    }),
    { numRuns: 300 },
  );
});

test("tiles that are missing, cut, longer, exchanged, or of another log are refused", async () => {
  const { fetch, head } = await tiledLog(entriesOf(600));
  const other = await tiledLog(entriesOf(600).toReversed());
  const lies: [string, FetchTile][] = [
    ["missing", async (path) => (path === "tile/0/001" ? undefined : fetch(path))],
    ["missing edge", async (path) => (path.startsWith("tile/1") ? undefined : fetch(path))],
    ["cut", async (path) => (await fetch(path))?.subarray(32)],
    [
      "longer",
      async (path) => new Uint8Array([...((await fetch(path)) ?? []), ...new Uint8Array(32)]),
    ],
    ["exchanged", async (path) => fetch(path === "tile/0/001" ? "tile/0/000" : path)],
    ["another's", other.fetch],
    [
      "another's below",
      async (path) => (path.startsWith("tile/0/00") ? other.fetch(path) : fetch(path)),
    ],
  ];
  for (const [name, lie] of lies) {
    expect(await outcome(readAll(lie, head, 300)), name).toBe("PROOF_INVALID");
    expect(await outcome(readEntries(lie, head, 300)), name).toBe("PROOF_INVALID");
  }
  expect(await outcome(readAll(fetch, { ...head, size: 601 }, 300))).toBe("PROOF_INVALID");
  expect(await outcome(readAll(fetch, { ...head, root: other.head.root }, 300))).toBe(
    "PROOF_INVALID",
  );
});

test("a partial tile that was replaced by the full one is taken from that", async () => {
  const small = await tiledLog(entriesOf(300));
  const large = await tiledLog(entriesOf(600));
  const fetch: FetchTile = async (path) => (path.includes(".p/44") ? undefined : large.fetch(path));
  const log = await openTileLog(fetch, small.head);
  expect(await log.inclusion(290)).toEqual(inclusionProof(small.hashes, 290));
  expect(await log.entries(1)).toEqual(small.entries.slice(256));
});

test("what the tree does not have is refused", async () => {
  const { fetch, head, pages } = await tiledLog(entriesOf(300));
  const log = await openTileLog(fetch, head);
  for (const action of [
    log.inclusion(300),
    log.inclusion(-1),
    log.inclusion(0.5),
    log.inclusion(1, 301),
    log.leafHash(300),
    log.rootAt(301),
    log.consistency(0),
    log.consistency(301),
    log.consistency(1, 301),
    log.entries(2),
    log.entries(-1),
    log.tile(2, 0),
  ]) {
    expect(await outcome(action)).toBe("INPUT_INVALID");
  }
  for (const path of [
    "tile/0/001",
    "tile/0/001.p/45",
    "tile/0/002.p/1",
    "tile/1/000.p/2",
    "tile/2/000.p/1",
    "tile/63/000",
    "tile/entries/001",
    "tile/0/x000/001.p/44",
    "c",
  ]) {
    expect(await pages.page(path), path).toBeUndefined();
  }
  expect((await pages.page("tile/0/001.p/43"))?.bytes.length).toBe(43 * 32);
});

const nothing: FetchTile = () => Promise.resolve(undefined);

test("an empty log is the empty tree", async () => {
  const head = { origin: "log", size: 0, root: merkleRoot([]) };
  expect(await (await openTileLog(nothing, head)).rootAt(0)).toEqual(merkleRoot([]));
  const wrong = { ...head, root: new Uint8Array(32) };
  expect(await outcome(openTileLog(nothing, wrong))).toBe("PROOF_INVALID");
});

test("a bundle is exactly its entries", () => {
  const bytes = Uint8Array.of(0, 1, 7, 0, 0, 0, 2, 8, 9);
  expect(parseEntries(bytes, 3)).toEqual([
    Uint8Array.of(7),
    new Uint8Array(0),
    Uint8Array.of(8, 9),
  ]);
  for (const [cut, count] of [
    [bytes, 2],
    [bytes, 4],
    [bytes.subarray(0, 8), 3],
    [bytes.subarray(0, 6), 3],
  ] as const) {
    const read = (): unknown => parseEntries(cut, count);
    expect(read).toThrow(/not exactly/u);
    expect(read).toThrow(expect.objectContaining({ code: "PROOF_INVALID" }));
  }
});

describe.skipIf(!haveVectors)(`tiles of the tessera log${skipNote}`, () => {
  const log = haveVectors
    ? readVector<{ checkpoints: Record<string, string>; tiles: Record<string, string> }>(
        "tessera-testlog.json",
      )
    : { checkpoints: {}, tiles: {} };
  const fetch: FetchTile = (path) => {
    const page = log.tiles[path];
    return Promise.resolve(page === undefined ? undefined : fromBase64(page));
  };
  const heads = Object.values(log.checkpoints).map((text) => parseCheckpoint(text));

  test("every checkpoint opens by its tiles, with all entries, and goes on from the ones before", async () => {
    expect(heads.length).toBe(16);
    for (const head of heads) {
      const tiles = await openTileLog(fetch, head);
      expect(head.size === 0 ? 0 : (await tiles.entries(0)).length).toBe(head.size);
      for (const older of heads.filter(({ size }) => size > 0 && size <= head.size)) {
        const proof = await tiles.consistency(older.size);
        const [size1, size2] = [older.size, head.size];
        const claim = { size1, size2, root1: older.root, root2: head.root, proof };
        expect(verifyConsistency(claim)).toBe(true);
      }
    }
  });

  test("our pages of its entries are its own", async () => {
    const newest = await openTileLog(fetch, heads.at(-1) ?? (heads[0] as TileLog["head"]));
    const ours = await tiledLog(await newest.entries(0));
    for (const [path, page] of Object.entries(log.tiles)) {
      expect(await ours.fetch(path), path).toEqual(fromBase64(page));
    }
  });
});
