// SPDX-License-Identifier: Apache-2.0
/** Leaves of the slots, and the root of the tree over them (RFC 9162, section 2.1.1). */
import { LIMIT } from "./check";
import { entryAt, keyCount, sortKeys } from "./keys";
import {
  beginOutput,
  cutOutput,
  outputEnd,
  outputFailed,
  outputFrom,
  outputLength,
  putByte,
  putBytes,
} from "./memory";
import { sha256 } from "./sha256";
import { Slot } from "./slots";
import { putSlot } from "./write";

const HASH_BYTES: usize = 32;
/** A hash per level; 2^32 slots have 32 levels. */
const stack = memory.data(1056);
/** What a node hashes: 1, left, right. */
const node = memory.data(65);
/** A leaf's hash. */
const hash = memory.data(32);

let depth: usize = 0;
let leaves: u64 = 0;

function stackAt(index: usize): usize {
  return stack + index * HASH_BYTES;
}

/** Joins the two hashes on top. */
function join(): void {
  store<u8>(node, 1);
  memory.copy(node + 1, stackAt(depth - 2), 2 * HASH_BYTES);
  depth--;
  sha256(node, 65, stackAt(depth - 1));
}

function push(): void {
  memory.copy(stackAt(depth), hash, HASH_BYTES);
  depth++;
  leaves++;
  for (let size = leaves; (size & 1) === 0; size >>= 1) join();
}

/** Hashes a slot's leaf: SHA-256 of 0, and the slot with its chain as a frame of its own. */
function hashLeaf(slot: Slot): void {
  const start = outputEnd();
  putByte(0);
  putSlot(slot);
  if (!outputFailed()) sha256(outputFrom(start), outputEnd() - start, hash);
  cutOutput(start);
}

/** Goes over all slots, by key, kind, writer and writer ruled on. The answer is their leaves, or the root of them. */
export function putDigests(isRoot: bool): i32 {
  beginOutput(0);
  depth = 0;
  leaves = 0;
  if (!sortKeys()) return LIMIT;
  for (let i: u32 = 0; i < keyCount(); i++) {
    for (let at = entryAt(i).first; at !== 0; at = changetype<Slot>(at).next) {
      hashLeaf(changetype<Slot>(at));
      if (isRoot) push();
      else putBytes(hash, HASH_BYTES);
      if (outputFailed()) return LIMIT;
    }
  }
  if (!isRoot) return <i32>outputLength();
  if (leaves === 0) sha256(stack, 0, stack);
  while (depth > 1) join();
  putBytes(stack, HASH_BYTES);
  return outputFailed() ? LIMIT : <i32>outputLength();
}
