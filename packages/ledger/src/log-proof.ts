// SPDX-License-Identifier: Apache-2.0
/** Proofs with the lines of witnesses, for what was sealed before they answered. */
import { canonicalJson, utf8Encode } from "@ctxmesh/codec";
import type { Store } from "@ctxmesh/model";
import { corrupt, hashRanges, layout, nodeReader, readCheckpoint } from "./log-store.ts";
import type { ReadNode } from "./log-store.ts";
import { equalBytes, inclusionRanges, verifyInclusion } from "./merkle.ts";
import type { TreeHead } from "./note.ts";
import { formatLogProof } from "./proof.ts";
import { malformed } from "./read.ts";

/** The tlog-proof of an entry in a tree. It is checked before it is handed out: a bad one means damaged tree nodes. Throws `INPUT_INVALID`, `STORE_CORRUPT`. */
export async function proveEntry(
  read: ReadNode,
  index: number,
  { origin, size, root }: TreeHead,
  checkpoint: string,
): Promise<string> {
  const proof = await hashRanges(read, inclusionRanges(index, size));
  if (!verifyInclusion({ index, size, proof, root, leafHash: await read(0, index) })) {
    throw corrupt(origin, `the tree nodes do not prove entry ${String(index)}`);
  }
  return formatLogProof({ index, hashes: proof, checkpoint });
}

/** The tlog-proof of an entry under the newest checkpoint that witnesses cosigned, of the log under a prefix; undefined where none covers it. Throws `STORE_CORRUPT`. */
export async function cosignedProof(
  store: Pick<Store, "get">,
  prefix: Uint8Array,
  index: number,
): Promise<string | undefined> {
  const keys = layout(prefix);
  const stored = await store.get(keys.cosigned);
  if (stored === undefined) return undefined;
  const head = readCheckpoint("in the store", stored);
  if (index >= head.size) return undefined;
  return proveEntry(nodeReader(store, keys, head.origin), index, head, head.text);
}

const [QUOTE, BACKSLASH, OPEN, CLOSE] = [0x22, 0x5c, [0x7b, 0x5b], [0x7d, 0x5d]] as const;
const MEMBER = utf8Encode('"proof":');

/** Where the string that begins at `from` (its quote) ends, just behind its quote. */
function stringEnd(bytes: Uint8Array, from: number): number {
  for (let i = from + 1; i < bytes.length; i++) {
    if (bytes[i] === BACKSLASH) i += 1;
    else if (bytes[i] === QUOTE) return i + 1;
  }
  return malformed("bundle ends within a string");
}

/** Where the value of the outermost member `proof` begins and ends. What stands behind it, most of a bundle, is not looked at. */
function findProof(bytes: Uint8Array): readonly [from: number, to: number] {
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    if (byte === QUOTE) {
      const end = stringEnd(bytes, i);
      const from = i + MEMBER.length;
      if (depth === 1 && equalBytes(bytes.subarray(i, from), MEMBER)) {
        return [from, stringEnd(bytes, from)];
      }
      i = end - 1;
    } else if (byte === OPEN[0] || byte === OPEN[1]) depth += 1;
    else if (byte === CLOSE[0] || byte === CLOSE[1]) depth -= 1;
  }
  return malformed("bundle has no proof");
}

/** A bundle of our own (canonical JSON) with another proof, without taking all of it apart. Throws `FORMAT_INVALID`. */
export function replaceProof(bundle: Uint8Array, proof: string): Uint8Array {
  const [from, to] = findProof(bundle);
  const text = utf8Encode(canonicalJson(proof));
  const bytes = new Uint8Array(from + text.length + bundle.length - to);
  bytes.set(bundle.subarray(0, from));
  bytes.set(text, from);
  bytes.set(bundle.subarray(to), from + text.length);
  return bytes;
}
