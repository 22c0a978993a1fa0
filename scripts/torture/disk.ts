// SPDX-License-Identifier: Apache-2.0
/** Files and folders as what was done to them, each change with its time, so that any moment can be shown. */

/** From when to when a call ran. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Bytes that were written, or without `data` a file cut to `offset` bytes. */
export interface FileChange extends Span {
  readonly offset: number;
  readonly data?: Uint8Array;
}

/** A file, whatever its name. */
export interface FileNode {
  readonly kind: "file";
  readonly changes: FileChange[];
  readonly syncs: Span[];
}

/** A name that now means `node`, or nothing; `from` in the same folder lost it in the same moment. */
export interface NameChange extends Span {
  readonly name: string;
  readonly node?: Node;
  readonly from?: string;
  /** Whether the node was new. */
  readonly creates: boolean;
}

/** A folder. */
export interface FolderNode {
  readonly kind: "folder";
  readonly changes: NameChange[];
  readonly syncs: Span[];
}

/** What a name can mean. */
export type Node = FileNode | FolderNode;

/** Something that the traced process said to the one that started it. */
export interface Said extends Span {
  readonly text: string;
}

/** The names of a folder after changes. */
export function namesAfter(changes: readonly NameChange[]): Map<string, Node> {
  const names = new Map<string, Node>();
  for (const { name, node, from } of changes) {
    if (from !== undefined) names.delete(from);
    if (node === undefined) names.delete(name);
    else names.set(name, node);
  }
  return names;
}

/** A file's bytes after changes, from those that it had before. */
export function bytesAfter(
  changes: readonly FileChange[],
  before: Uint8Array = new Uint8Array(),
): Uint8Array {
  let length = before.length;
  let bytes = new Uint8Array(
    changes.reduce(
      (most, { offset, data }) => Math.max(most, offset + (data?.length ?? 0)),
      length,
    ),
  );
  bytes.set(before);
  for (const { offset, data } of changes) {
    if (data === undefined) {
      bytes.fill(0, offset);
      length = offset;
    } else {
      bytes.set(data, offset);
      length = Math.max(length, offset + data.length);
    }
  }
  return bytes.subarray(0, length);
}

/** A folder and all that was ever in it, each once. */
export function nodesIn(folder: FolderNode, found: Set<Node> = new Set<Node>()): Set<Node> {
  found.add(folder);
  for (const { node } of folder.changes) {
    if (node === undefined || found.has(node)) continue;
    if (node.kind === "folder") nodesIn(node, found);
    else found.add(node);
  }
  return found;
}
