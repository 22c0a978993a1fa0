// SPDX-License-Identifier: Apache-2.0
/** A log's tiles in a folder (C2SP tlog-tiles), for proofs that a bundle does not have. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { openTileLog } from "@ctxmesh/ledger";
import type { FetchTile, TreeHead } from "@ctxmesh/ledger";
import { LIMITS } from "@ctxmesh/model";
import { readBounded } from "./files.ts";

const HASH_BYTES = 32;
const PARTIAL = /^(?<folder>.*\.p)\/(?<width>[0-9]{1,3})$/u;

/** Reads tiles from a folder. A partial one may be there only in a wider form, if the log grew before it was exported: that begins with it. */
const tilesIn =
  (folder: string): FetchTile =>
  (path) => {
    const read = (name: string): Uint8Array =>
      readBounded("tile", join(folder, name), LIMITS.smallFileBytes);
    if (existsSync(join(folder, path))) return Promise.resolve(read(path));
    const groups = PARTIAL.exec(path)?.groups;
    const parent = groups?.["folder"];
    if (parent === undefined || !existsSync(join(folder, parent)))
      return Promise.resolve(undefined);
    const wanted = Number(groups?.["width"]);
    const wider = readdirSync(join(folder, parent))
      .filter((name) => /^[0-9]{1,3}$/u.test(name) && Number(name) > wanted)
      .toSorted((a, b) => Number(a) - Number(b))[0];
    const bytes = wider === undefined ? undefined : read(`${parent}/${wider}`);
    return Promise.resolve(bytes?.subarray(0, wanted * HASH_BYTES));
  };

/** The consistency proof between two heads of a log, from its tiles. Throws `PROOF_INVALID` when they are not of the newer head. */
export async function proveGrowth(
  folder: string,
  older: TreeHead,
  newer: TreeHead,
): Promise<readonly Uint8Array[]> {
  const log = await openTileLog(tilesIn(folder), newer);
  return log.consistency(older.size);
}
