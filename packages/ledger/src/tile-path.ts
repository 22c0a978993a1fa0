// SPDX-License-Identifier: Apache-2.0
/**
 * Paths of C2SP tlog-tiles, relative to a log's prefix and without a slash in front:
 *
 * ```
 * tile/<L>/<N>[.p/<W>]          hashes: W of them, 256 in a full tile, 32 bytes each
 * tile/entries/<N>[.p/<W>]      entries: each u16 length || bytes
 * L = 0 ... 63, W = 1 ... 255, both without leading zeroes
 * N in elements of three digits, all but the last with an "x" in front and none that only leads with zeroes: 1234067 is x001/x234/067
 * ```
 */

/** Hashes in a full tile, and entries in a full bundle. */
export const TILE_WIDTH = 256;

/** Which tile, or bundle of entries. */
export interface TilePath {
  /** Level of the hashes, 0 for those of entries; or `entries`. */
  readonly level: number | "entries";
  /** Index within the level: a safe integer. */
  readonly index: number;
  /** Hashes or entries in it: 256, or fewer in a partial one. */
  readonly width: number;
}

const SHAPE =
  /^tile\/(entries|0|[1-5]?[0-9]|6[0-3])\/((?:x[0-9]{3}\/)*)([0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/u;
/** Longer ones name no safe integer. */
const MAX_LENGTH = 64;

/** The path of a tile. */
export function formatTilePath({ level, index, width }: TilePath): string {
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.{3}/gu) ?? [];
  const last = groups.length - 1;
  const elements = groups.map((group, i) => (i === last ? group : `x${group}`));
  const partial = width === TILE_WIDTH ? "" : `.p/${String(width)}`;
  return `tile/${String(level)}/${elements.join("/")}${partial}`;
}

/** Parses an untrusted path; undefined unless it is exactly the one that {@link formatTilePath} makes. */
export function parseTilePath(path: string): TilePath | undefined {
  if (path.length > MAX_LENGTH) return undefined;
  const [, level = "", leading = "", last = "", partial] = SHAPE.exec(path) ?? [];
  if (level === "") return undefined;
  const index = Number(`${leading.replaceAll(/[x/]/gu, "")}${last}`);
  const width = partial === undefined ? TILE_WIDTH : Number(partial);
  const isSound = Number.isSafeInteger(index) && (partial === undefined || width < TILE_WIDTH);
  const tile = { level: level === "entries" ? level : Number(level), index, width } as const;
  return isSound && formatTilePath(tile) === path ? tile : undefined;
}
