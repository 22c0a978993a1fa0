// SPDX-License-Identifier: Apache-2.0
/** What the harnesses of the torture have in common. */
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Something that must not be. */
export interface Violation {
  readonly problem: string;
  /** A command that shows it again, or where to look. */
  readonly again: string;
}

/** What became of a harness. */
export interface HarnessReport {
  /** Why it did not run. */
  readonly skipped?: string;
  /** What was done and found, by name. */
  readonly figures: Readonly<Record<string, number>>;
  readonly violations: readonly Violation[];
}

/** What every harness is told. */
export interface HarnessOptions {
  readonly seed: number;
  /** Called with how far it is. */
  readonly progress: (text: string) => void;
}

/** A temporary folder, gone at the end of the block unless it is kept. */
export interface Scratch extends Disposable {
  readonly path: string;
  /** Leaves it there. */
  keep(): void;
}

/** Memory where the system offers it as a folder: for what need not survive. */
const MEMORY = "/dev/shm";

/** A folder on disk, or with `memory` in memory where there is such a folder. */
export function scratchFolder(memory = false): Scratch {
  let parent = tmpdir();
  if (memory) {
    try {
      accessSync(MEMORY, constants.W_OK);
      parent = MEMORY;
    } catch {
      // The disk does as well.
    }
  }
  const path = mkdtempSync(join(parent, "ctxmesh-torture-"));
  let kept = false;
  return {
    path,
    keep() {
      kept = true;
    },
    [Symbol.dispose]() {
      if (!kept) rmSync(path, { recursive: true, force: true });
    },
  };
}
