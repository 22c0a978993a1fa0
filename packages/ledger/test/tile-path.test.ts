// SPDX-License-Identifier: Apache-2.0
import { formatTilePath, parseTilePath } from "@ctxmesh/ledger";
import type { TilePath } from "@ctxmesh/ledger";
import * as fc from "fast-check";
import { expect, test } from "vitest";

const tiles = fc.record<TilePath>({
  level: fc.oneof(fc.integer({ min: 0, max: 63 }), fc.constant("entries" as const)),
  index: fc.oneof(fc.nat(2_000_000), fc.maxSafeNat()),
  width: fc.integer({ min: 1, max: 256 }),
});

test("the paths of C2SP tlog-tiles", () => {
  const known: [TilePath, string][] = [
    [{ level: 0, index: 1_234_067, width: 256 }, "tile/0/x001/x234/067"],
    [{ level: 0, index: 273, width: 112 }, "tile/0/273.p/112"],
    [{ level: 63, index: 0, width: 1 }, "tile/63/000.p/1"],
    [{ level: "entries", index: 1_000, width: 256 }, "tile/entries/x001/000"],
  ];
  for (const [tile, path] of known) {
    expect(formatTilePath(tile)).toBe(path);
    expect(parseTilePath(path)).toEqual(tile);
  }
});

test("every tile has one path, and that path is of no other", () => {
  fc.assert(
    fc.property(tiles, (tile) => {
      expect(parseTilePath(formatTilePath(tile))).toEqual(tile);
    }),
  );
});

test("whatever text is read as a path is the only spelling of it", () => {
  const alphabet = [
    "x",
    "0",
    "1",
    "9",
    "/",
    ".",
    "p",
    "-",
    "%",
    "\n",
    "000",
    "x00",
    "tile/",
    "entries",
    ".p/",
  ];
  const texts = fc
    .array(fc.constantFrom(...alphabet), { maxLength: 12 })
    .map((all) => all.join(""));
  const edits = fc
    .tuple(tiles, fc.nat(40), fc.constantFrom(...alphabet, ""), fc.nat(3))
    .map(([tile, at, text, cut]) => {
      const path = formatTilePath(tile);
      return `${path.slice(0, at)}${text}${path.slice(at + cut)}`;
    });
  expect.assertions(0);
  fc.assert(
    fc.property(fc.oneof(texts, edits), (path) => {
      const tile = parseTilePath(path);
      return tile === undefined || formatTilePath(tile) === path;
    }),
    { numRuns: 2_000 },
  );
});

test("other spellings are no paths", () => {
  for (const path of [
    "",
    "checkpoint",
    "/tile/0/000",
    "tile/0/000/",
    "tile/00/000",
    "tile/64/000",
    "tile/-1/000",
    "tile/0/0",
    "tile/0/0000",
    "tile/0/x000/001",
    "tile/0/001/x234",
    "tile/0/001/234",
    "tile/0/X001/234",
    "tile/0/000.p/0",
    "tile/0/000.p/01",
    "tile/0/000.p/256",
    "tile/0/000.p/",
    "tile/0/000.p/1/",
    "tile/0/000.p/1\n",
    "tile/entries/000.p/300",
    "tile/Entries/000",
    "tile/0/../0/000",
    "tile/0/%30%30%30",
    "tile/0/x009/x007/x199/x254/x740/992",
    "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/x999/x999/x999/x999/999",
  ]) {
    expect(parseTilePath(path), path).toBeUndefined();
  }
});
