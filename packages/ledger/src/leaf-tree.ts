// SPDX-License-Identifier: Apache-2.0
/** An RFC 6962 tree with all its levels, for as many audit paths as there are leaves. */
import { sha256 } from "@ctxmesh/crypto";
import { nodeHash } from "./merkle.ts";

/** Every level of the tree, the leaves' first, the root's last. A node without a sibling goes up as it is, which is how RFC 6962 splits. */
export type TreeLevels = readonly (readonly Uint8Array[])[];

/** The levels over leaf hashes; of nothing, one level with SHA-256 of nothing. */
export function treeLevels(leaves: readonly Uint8Array[]): TreeLevels {
  if (leaves.length === 0) return [[sha256()]];
  const levels = [leaves];
  for (let level = leaves; level.length > 1;) {
    const next: Uint8Array[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const [left, right] = [level[i] as Uint8Array, level[i + 1]];
      next.push(right === undefined ? left : nodeHash(left, right));
    }
    levels.push(next);
    level = next;
  }
  return levels;
}

/** The root of a tree. */
export const treeRoot = (levels: TreeLevels): Uint8Array => levels.at(-1)?.[0] as Uint8Array;

/** The audit path of a leaf, from its sibling up. */
export function treePath(levels: TreeLevels, index: number): Uint8Array[] {
  const path: Uint8Array[] = [];
  let at = index;
  for (const level of levels) {
    const sibling = level[at % 2 === 0 ? at + 1 : at - 1];
    if (sibling !== undefined) path.push(sibling);
    at = Math.floor(at / 2);
  }
  return path;
}
