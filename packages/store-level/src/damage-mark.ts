// SPDX-License-Identifier: Apache-2.0
/**
 * The mark of a damage that a scrub found: a file beside LevelDB's own, which leaves it alone. What a scrub sees, the
 * checks of the next opening may not: a record that was damaged before it got its place in a table whose checksums are right.
 * A store with the mark is refused, so that it is healed. Content: what was found, a line each, for people.
 */
import { open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { MeshError } from "@ctxmesh/model";
import { codeOf, textOf } from "./database.ts";
import { sync } from "./files.ts";

/** The name of the file. */
export const DAMAGE_MARK = "DAMAGED";

/** Writes the mark into the folder `path`: aside, synced, renamed. Throws `STORE_FAILED`. */
export async function writeDamageMark(path: string, findings: readonly string[]): Promise<void> {
  const aside = join(path, `${DAMAGE_MARK}.new`);
  try {
    const handle = await open(aside, "w");
    try {
      await handle.writeFile(`${findings.join("\n")}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(aside, join(path, DAMAGE_MARK));
    await sync(path);
  } catch (error) {
    throw new MeshError("STORE_FAILED", `can't write ${aside}: ${textOf(error)}`, { cause: error });
  }
}

/** Throws `STORE_CORRUPT`, with the first finding, when the folder `path` has the mark. */
export async function refuseMarked(path: string): Promise<void> {
  let text: string;
  try {
    text = await readFile(join(path, DAMAGE_MARK), "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    text = textOf(error);
  }
  const [first = ""] = text.split("\n", 1);
  throw new MeshError("STORE_CORRUPT", `an earlier check found damage: ${first}`);
}
