// SPDX-License-Identifier: Apache-2.0
/** Bounded waiting and temporary folders for tests. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 5;

/**
 * Polls `condition` until it holds; rejects after `timeoutMs` with an error that names `what`. An
 * error thrown by the condition ends the wait at once.
 */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  bound: { readonly timeoutMs: number; readonly what: string },
): Promise<void> {
  const deadline = performance.now() + bound.timeoutMs;
  while (!(await condition())) {
    if (performance.now() >= deadline) {
      throw new Error(`waited ${String(bound.timeoutMs)} ms in vain for ${bound.what}`);
    }
    await sleep(POLL_MS);
  }
}

/** A folder of its own under the system's temporary one. `await using` removes it at the end of the block. */
export interface TempDir extends AsyncDisposable {
  readonly path: string;
  /** Removes the folder and all in it. Idempotent. */
  remove(): Promise<void>;
}

/** Creates an empty temporary folder. */
export async function tempDir(): Promise<TempDir> {
  const path = await mkdtemp(join(tmpdir(), "ctxmesh-test-"));
  const remove = (): Promise<void> => rm(path, { recursive: true, force: true });
  return { path, remove, [Symbol.asyncDispose]: remove };
}
