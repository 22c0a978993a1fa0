// SPDX-License-Identifier: Apache-2.0
/**
 * What a disk may hold after a power cut. What was synced is there. Of the rest of a file:
 *
 * | tail    | what is left of writes after the last sync                                              |
 * |---------|-----------------------------------------------------------------------------------------|
 * | prefix  | those before some byte, in order                                                        |
 * | nothing | none                                                                                    |
 * | sectors | any sectors of 512 bytes; where a sector is missing, what was there before, or zeros    |
 *
 * Of the rest of a folder: the changes of its names before some moment, in order (with `nothing`, none), and in any
 * case the names of new files that were synced themselves. That is what is common to ext4, XFS, Btrfs and F2FS
 * (Mohan et al., "Finding Crash-Consistency Bugs with Bounded Black-Box Crash Testing", OSDI 2018, section 3).
 * POSIX alone promises less: there a synced new file may have no name. LevelDB, which syncs no folder after it named a
 * new log, needs more than that.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Dice } from "../fuzz/dice.ts";
import { bytesAfter, namesAfter } from "./disk.ts";
import type { FileChange, FileNode, FolderNode, NameChange, Node, Span } from "./disk.ts";

/** What is left of what was not synced. */
export const TAILS = ["prefix", "nothing", "sectors"] as const;
/** One of {@link TAILS}. */
export type Tail = (typeof TAILS)[number];

const SECTOR_BYTES = 512;

/** A power cut. */
export interface Cut {
  /** In the time of the history. */
  readonly at: number;
  readonly tail: Tail;
}

/** Whether a sync that had ended before the cut began after a change had ended. */
const isSynced = (change: Span, syncs: readonly Span[], at: number): boolean =>
  syncs.some(({ start, end }) => end < at && change.end < start);

/** None, all, or anything between. */
function some(dice: Dice, all: number): number {
  const way = dice.roll(4);
  if (way === 0) return 0;
  return way === 1 ? all : dice.roll(all + 1);
}

function withPrefix(changes: readonly FileChange[], before: Uint8Array, dice: Dice): Uint8Array {
  // A change without bytes counts as one, so that it can be the last that is left.
  const sizes = changes.map(({ data }) => Math.max(1, data?.length ?? 0));
  let left = some(
    dice,
    sizes.reduce((sum, size) => sum + size, 0),
  );
  const kept = changes.flatMap((change, i): FileChange[] => {
    const size = sizes[i] ?? 0;
    const part = Math.min(left, size);
    left -= part;
    if (part === size) return [change];
    return part === 0 || change.data === undefined
      ? []
      : [{ ...change, data: change.data.subarray(0, part) }];
  });
  return bytesAfter(kept, before);
}

function withSectors(changes: readonly FileChange[], before: Uint8Array, dice: Dice): Uint8Array {
  const after = bytesAfter(changes, before);
  const bytes = new Uint8Array(after.length);
  bytes.set(before);
  let end = dice.chance(50) ? after.length : before.length;
  for (let from = 0; from < after.length; from += SECTOR_BYTES) {
    const part = after.subarray(from, from + SECTOR_BYTES);
    const isSame = Buffer.compare(part, before.subarray(from, from + SECTOR_BYTES)) === 0;
    if (isSame || dice.chance(50)) continue;
    bytes.set(part, from);
    end = Math.max(end, from + part.length);
  }
  return bytes.subarray(0, end);
}

function fileAfter(file: FileNode, { at, tail }: Cut, dice: Dice): Uint8Array {
  const begun = file.changes.filter(({ start }) => start < at);
  const synced = begun.filter((change) => isSynced(change, file.syncs, at));
  const before = bytesAfter(synced);
  const rest = begun.filter((change) => !synced.includes(change));
  if (rest.length === 0 || tail === "nothing") return before;
  const grows = rest.every(({ data }) => data !== undefined);
  return tail === "sectors" && grows
    ? withSectors(rest, before, dice)
    : withPrefix(rest, before, dice);
}

const isSyncedFile = ({ creates, node, ...span }: NameChange, at: number): boolean =>
  creates && node?.kind === "file" && isSynced(span, node.syncs, at);

function namesLeft(folder: FolderNode, { at, tail }: Cut, dice: Dice): Map<string, Node> {
  const begun = folder.changes.filter(({ start }) => start < at);
  const synced = begun.findLastIndex((change) => isSynced(change, folder.syncs, at)) + 1;
  const left = synced + (tail === "nothing" ? 0 : some(dice, begun.length - synced));
  return namesAfter(begun.filter((change, i) => i < left || isSyncedFile(change, at)));
}

/** Writes what is left of a folder into `path`, which must be an empty folder. */
export function writeCrashState(folder: FolderNode, cut: Cut, dice: Dice, path: string): void {
  for (const [name, node] of namesLeft(folder, cut, dice)) {
    const at = join(path, name);
    if (node.kind === "file") {
      writeFileSync(at, fileAfter(node, cut, dice));
    } else {
      mkdirSync(at);
      writeCrashState(node, cut, dice, at);
    }
  }
}
