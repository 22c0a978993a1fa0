// SPDX-License-Identifier: Apache-2.0
/**
 * The Merkle tree of RFC 6962 section 2.1 (RFC 9162 section 2.1): SHA-256, leaf = H(0x00 || data),
 * node = H(0x01 || left || right), the root of nothing = H(). Sizes and indices are safe integers.
 */
import { sha256 } from "@ctxmesh/crypto";
import { MeshError } from "@ctxmesh/model";

/** Bytes of every hash in a tree. */
export const HASH_BYTES = 32;

const LEAF_PREFIX = Uint8Array.of(0);

/** The hash of a leaf whose data is the concatenation of `parts`. */
export const leafHash = (...parts: Uint8Array[]): Uint8Array => sha256(LEAF_PREFIX, ...parts);

/** The hash of an inner node. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(1 + 2 * HASH_BYTES);
  bytes[0] = 1;
  bytes.set(left, 1);
  bytes.set(right, 1 + HASH_BYTES);
  return sha256(bytes);
}

/** The root over leaf hashes. */
export function merkleRoot(leafHashes: readonly Uint8Array[]): Uint8Array {
  let level = leafHashes;
  if (level.length === 0) return sha256();
  while (level.length > 1) {
    const next: Uint8Array[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const [left, right] = [level[i] as Uint8Array, level[i + 1]];
      next.push(right === undefined ? left : nodeHash(left, right));
    }
    level = next;
  }
  return level[0] as Uint8Array;
}

/** Leaves `from <= i < to`, a node of the tree. */
export type LeafRange = readonly [from: number, to: number];

/** The largest power of two below `size` (`size` at least 2): where RFC 6962 splits a tree. */
export function splitPoint(size: number): number {
  let k = 1;
  while (k * 2 < size) k *= 2;
  return k;
}

const isSize = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

/** The nodes of an inclusion proof, from the leaf's sibling up. Throws `INPUT_INVALID` unless `index < size`. */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  if (!isSize(index) || !isSize(size) || index >= size) {
    throw new MeshError(
      "INPUT_INVALID",
      `no leaf ${String(index)} in a tree of size ${String(size)}`,
    );
  }
  const ranges: LeafRange[] = [];
  let [from, to] = [0, size];
  while (to - from > 1) {
    const middle = from + splitPoint(to - from);
    if (index < middle) {
      ranges.push([middle, to]);
      to = middle;
    } else {
      ranges.push([from, middle]);
      from = middle;
    }
  }
  return ranges.toReversed();
}

/** The nodes of a consistency proof between two sizes. Throws `INPUT_INVALID` unless `0 < size1 <= size2`. */
export function consistencyRanges(size1: number, size2: number): LeafRange[] {
  if (!isSize(size1) || !isSize(size2) || size1 < 1 || size1 > size2) {
    throw new MeshError(
      "INPUT_INVALID",
      `no consistency proof from size ${String(size1)} to ${String(size2)}`,
    );
  }
  const ranges: LeafRange[] = [];
  let [from, to] = [0, size2];
  while (to > size1) {
    const middle = from + splitPoint(to - from);
    if (size1 <= middle) {
      ranges.push([middle, to]);
      to = middle;
    } else {
      ranges.push([from, middle]);
      from = middle;
    }
  }
  // The old tree itself is known to the verifier; any other subtree it ends in is not.
  if (from > 0) ranges.push([from, to]);
  return ranges.toReversed();
}

const hashRange = (leafHashes: readonly Uint8Array[], [from, to]: LeafRange): Uint8Array =>
  merkleRoot(leafHashes.slice(from, to));

/** The inclusion proof of one leaf, from its sibling up. Throws `INPUT_INVALID`. */
export const inclusionProof = (leafHashes: readonly Uint8Array[], index: number): Uint8Array[] =>
  inclusionRanges(index, leafHashes.length).map((range) => hashRange(leafHashes, range));

/** The consistency proof from the first `size1` leaves to all of them. Throws `INPUT_INVALID`. */
export const consistencyProof = (leafHashes: readonly Uint8Array[], size1: number): Uint8Array[] =>
  consistencyRanges(size1, leafHashes.length).map((range) => hashRange(leafHashes, range));

/** Whether two byte strings are equal. Not constant in time: for public values only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

const half = (value: number): number => Math.floor(value / 2);
const isOdd = (value: number): boolean => value % 2 === 1;

/** What an inclusion proof claims. */
export interface InclusionClaim {
  readonly leafHash: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly proof: readonly Uint8Array[];
  readonly root: Uint8Array;
}

/** Checks an inclusion proof (RFC 9162 section 2.1.3.2); false for anything malformed. */
export function verifyInclusion(claim: InclusionClaim): boolean {
  if (!isSize(claim.index) || !isSize(claim.size) || claim.index >= claim.size) return false;
  if (claim.leafHash.length !== HASH_BYTES) return false;
  let [index, last, hash] = [claim.index, claim.size - 1, claim.leafHash];
  for (const sibling of claim.proof) {
    if (last === 0 || sibling.length !== HASH_BYTES) return false;
    if (isOdd(index) || index === last) {
      hash = nodeHash(sibling, hash);
      while (!isOdd(index) && index !== 0) [index, last] = [half(index), half(last)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [index, last] = [half(index), half(last)];
  }
  return last === 0 && equalBytes(hash, claim.root);
}

/** What a consistency proof claims. */
export interface ConsistencyClaim {
  readonly size1: number;
  readonly size2: number;
  readonly root1: Uint8Array;
  readonly root2: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/**
 * Checks a consistency proof (RFC 9162 section 2.1.4.2); false for anything malformed. A proof from
 * size 0 says nothing about the new tree, so it is refused.
 */
export function verifyConsistency(claim: ConsistencyClaim): boolean {
  const { size1, size2, root1, root2, proof } = claim;
  if (!isSize(size1) || !isSize(size2) || size1 < 1 || size1 > size2) return false;
  if (proof.some((hash) => hash.length !== HASH_BYTES)) return false;
  if (size1 === size2) return proof.length === 0 && equalBytes(root1, root2);
  let [index, last] = [size1 - 1, size2 - 1];
  while (isOdd(index)) [index, last] = [half(index), half(last)];
  // `index` is 0 now exactly when size1 is a power of two; the old root then starts the path.
  const [start, ...path] = index === 0 ? [root1, ...proof] : proof;
  if (start === undefined) return false;
  let [hash1, hash2] = [start, start];
  for (const sibling of path) {
    if (last === 0) return false;
    if (isOdd(index) || index === last) {
      [hash1, hash2] = [nodeHash(sibling, hash1), nodeHash(sibling, hash2)];
      while (!isOdd(index) && index !== 0) [index, last] = [half(index), half(last)];
    } else {
      hash2 = nodeHash(hash2, sibling);
    }
    [index, last] = [half(index), half(last)];
  }
  return last === 0 && equalBytes(hash1, root1) && equalBytes(hash2, root2);
}

/** A complete subtree: leaves `index * 2^level` up to `(index + 1) * 2^level`. */
export interface TreeNode {
  readonly level: number;
  readonly index: number;
  readonly hash: Uint8Array;
}

/** The right edge of a growing tree: its size and its maximal complete subtrees, largest first. */
export interface TreeEdge {
  readonly size: number;
  readonly nodes: readonly TreeNode[];
}

/** The edge of the empty tree. */
export const EMPTY_EDGE: TreeEdge = { size: 0, nodes: [] };

/** Adds a leaf: the new edge, and every complete subtree that came to be, the leaf's own first. */
export function appendLeaf(edge: TreeEdge, hash: Uint8Array): { edge: TreeEdge; made: TreeNode[] } {
  let node: TreeNode = { level: 0, index: edge.size, hash };
  const made = [node];
  const nodes = [...edge.nodes];
  for (let left = nodes.at(-1); left?.level === node.level; left = nodes.at(-1)) {
    nodes.pop();
    node = { level: node.level + 1, index: left.index / 2, hash: nodeHash(left.hash, node.hash) };
    made.push(node);
  }
  nodes.push(node);
  return { edge: { size: edge.size + 1, nodes }, made };
}

/** The root of the tree that an edge belongs to. */
export function edgeRoot(edge: TreeEdge): Uint8Array {
  const [last, ...rest] = edge.nodes.toReversed();
  if (last === undefined) return sha256();
  return rest.reduce((right, left) => nodeHash(left.hash, right), last.hash);
}
