// SPDX-License-Identifier: Apache-2.0
/** Where a benchmark keeps its files. */
import { mkdtemp, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** File system types of `statfs` that keep files in memory, where a sync costs nothing: tmpfs and ramfs. */
const IN_MEMORY = [0x01021994, 0x858458f6];

/** A temporary folder that goes away with its scope. */
export interface BenchFolder extends AsyncDisposable {
  readonly path: string;
  /** A warning when the folder is in memory, where writes that wait for the disk do not wait. */
  readonly notes: readonly string[];
}

/** Makes a temporary folder (under `TMPDIR`). */
export async function benchFolder(): Promise<BenchFolder> {
  const path = await mkdtemp(join(tmpdir(), "ctxmesh-bench-"));
  const { type } = await statfs(path);
  return {
    path,
    notes: IN_MEMORY.includes(type)
      ? [`${tmpdir()} is in memory, so syncs cost nothing here: set TMPDIR to a folder on a disk`]
      : [],
    [Symbol.asyncDispose]: async () => rm(path, { recursive: true, force: true }),
  };
}
