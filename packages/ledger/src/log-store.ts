// SPDX-License-Identifier: Apache-2.0
/**
 * A log in a `Store`: its keys, its tree nodes, and the check on opening.
 *
 * ```
 * prefix || "e" || u64 index              entry bytes
 * prefix || "n" || u8 level || u64 index  32-byte hash of a complete subtree of 2^level leaves
 * prefix || "c"                           the newest checkpoint's text, as the log signed it
 * prefix || "w"                           text of the newest checkpoint that witnesses cosigned, with their lines
 * ```
 */
import { utf8Decode, utf8Encode } from "@ctxmesh/codec";
import { createVerifier } from "@ctxmesh/crypto";
import { MeshError, toMeshError } from "@ctxmesh/model";
import type { Clock, Store } from "@ctxmesh/model";
import {
  EMPTY_EDGE,
  appendLeaf,
  edgeRoot,
  equalBytes,
  leafHash,
  nodeHash,
  splitPoint,
} from "./merkle.ts";
import type { LeafRange, TreeEdge } from "./merkle.ts";
import { parseCheckpoint, verifyEd25519Line, verifyMlDsaLine } from "./note.ts";
import type { Checkpoint, LogSigners, TreeHead } from "./note.ts";

/** What {@link openLog} needs. */
export interface LogOptions {
  readonly store: Store;
  /** The keys of this log; nothing else may use them. */
  readonly prefix: Uint8Array;
  /** Name of the log: a URL without its scheme. */
  readonly origin: string;
  readonly signers: LogSigners;
  readonly clock: Clock;
}

/** A `STORE_CORRUPT` error about a log. */
export const corrupt = (origin: string, message: string, cause?: unknown): MeshError =>
  new MeshError("STORE_CORRUPT", `log ${origin}: ${message}`, {
    remedy: "restore the store from a backup; a log must never be cut back or rewritten",
    cause,
  });

function u64(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(value));
  return new Uint8Array(view.buffer);
}

const join = (...parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]));

/** Store keys of a log. */
export interface LogLayout {
  entry(index: number): Uint8Array;
  node(level: number, index: number): Uint8Array;
  readonly checkpoint: Uint8Array;
  readonly cosigned: Uint8Array;
  /** Just above every entry. */
  readonly entriesEnd: Uint8Array;
}

/** The store keys under a prefix. */
export function layout(prefix: Uint8Array): LogLayout {
  const under = (tag: string, ...rest: readonly Uint8Array[]): Uint8Array =>
    join(prefix, utf8Encode(tag), ...rest);
  return {
    entry: (index) => under("e", u64(index)),
    node: (level, index) => under("n", Uint8Array.of(level), u64(index)),
    checkpoint: under("c"),
    cosigned: under("w"),
    entriesEnd: under("f"),
  };
}

/** Reads the hash of a complete subtree. */
export type ReadNode = (level: number, index: number) => Promise<Uint8Array>;

/** Reads tree nodes of a stored log. Throws `STORE_CORRUPT` for one that is missing. */
export const nodeReader =
  (store: Pick<Store, "get">, keys: LogLayout, origin: string): ReadNode =>
  async (level, index) => {
    const hash = await store.get(keys.node(level, index));
    if (hash !== undefined) return hash;
    throw corrupt(origin, `tree node ${String(level)}/${String(index)} is missing`);
  };

/** The hash over a range that RFC 6962 splitting produces: only its last part can be incomplete. */
export async function rangeHash(read: ReadNode, [from, to]: LeafRange): Promise<Uint8Array> {
  const length = to - from;
  const level = Math.round(Math.log2(length));
  if (2 ** level === length) return read(level, from / length);
  const middle = from + splitPoint(length);
  return nodeHash(await rangeHash(read, [from, middle]), await rangeHash(read, [middle, to]));
}

/** The hashes of several ranges. */
export async function hashRanges(
  read: ReadNode,
  ranges: readonly LeafRange[],
): Promise<Uint8Array[]> {
  const hashes: Uint8Array[] = [];
  for (const range of ranges) hashes.push(await rangeHash(read, range));
  return hashes;
}

/** A head with its text. */
export interface KeptCheckpoint extends TreeHead {
  readonly text: string;
}

/** A stored log, read back. */
export interface LoadedLog {
  readonly edge: TreeEdge;
  /** The newest checkpoint, as the log signed it; undefined while the log is empty. */
  readonly checkpoint?: string;
  /** The newest checkpoint that witnesses cosigned, with their lines. */
  readonly cosigned?: KeptCheckpoint;
}

/** A checkpoint in the store. Throws `STORE_CORRUPT`. */
export function readCheckpoint(origin: string, stored: Uint8Array): Checkpoint & KeptCheckpoint {
  try {
    const text = utf8Decode(stored);
    return { ...parseCheckpoint(text), text };
  } catch (error) {
    throw corrupt(origin, `checkpoint is unreadable: ${toMeshError(error).message}`, error);
  }
}

/** What a log in a store shows to others. */
export interface StoredHead {
  readonly size: number;
  /** Text of the newest checkpoint, with the lines of witnesses where there are some already. */
  readonly published: Uint8Array;
}

/** What a log in a store shows to others; undefined while it is empty. Throws `STORE_CORRUPT`. */
export async function readHead(
  store: Pick<Store, "get">,
  keys: LogLayout,
): Promise<StoredHead | undefined> {
  const stored = await store.get(keys.checkpoint);
  if (stored === undefined) return undefined;
  const { origin, size } = readCheckpoint("in the store", stored);
  const cosigned = await store.get(keys.cosigned);
  const isSame = cosigned !== undefined && readCheckpoint(origin, cosigned).size === size;
  return { size, published: isSame ? cosigned : stored };
}

/** Reads every entry back and checks that the stored checkpoints are of exactly that tree, under these keys. */
export async function loadLog(options: LogOptions): Promise<LoadedLog> {
  const { store, origin, signers } = options;
  const keys = layout(options.prefix);
  let edge = EMPTY_EDGE;
  for await (const [key, value] of store.scan({ gte: keys.entry(0), lt: keys.entriesEnd })) {
    if (!equalBytes(key, keys.entry(edge.size))) {
      throw corrupt(origin, `entry ${String(edge.size)} is missing`);
    }
    ({ edge } = appendLeaf(edge, leafHash(value)));
  }
  const stored = await store.get(keys.checkpoint);
  if (stored === undefined) {
    if (edge.size > 0) throw corrupt(origin, "entries without a checkpoint");
    return { edge };
  }
  const head = readCheckpoint(origin, stored);
  if (head.size !== edge.size || !equalBytes(head.root, edgeRoot(edge))) {
    throw corrupt(
      origin,
      `the checkpoint of size ${String(head.size)} is not of the ${String(edge.size)} stored entries`,
    );
  }
  assertOwnCheckpoint(head, origin, signers);
  const cosigned = await loadCosigned(options, keys, edge.size);
  return { edge, checkpoint: head.text, ...(cosigned === undefined ? {} : { cosigned }) };
}

/** The cosigned checkpoint, of a tree that the log really had. */
async function loadCosigned(
  { store, origin, signers }: LogOptions,
  keys: LogLayout,
  size: number,
): Promise<KeptCheckpoint | undefined> {
  const stored = await store.get(keys.cosigned);
  if (stored === undefined) return undefined;
  const head = readCheckpoint(origin, stored);
  const read = nodeReader(store, keys, origin);
  const isOurs =
    head.size >= 1 &&
    head.size <= size &&
    equalBytes(head.root, await rangeHash(read, [0, head.size]));
  if (!isOurs) throw corrupt(origin, "the cosigned checkpoint is of another tree");
  assertOwnCheckpoint(head, origin, signers);
  return { origin, size: head.size, root: head.root, text: head.text };
}

function assertOwnCheckpoint(head: Checkpoint, origin: string, signers: LogSigners): void {
  if (head.origin !== origin) {
    throw new MeshError("INPUT_INVALID", `the store holds log ${head.origin}, not ${origin}`, {
      field: "origin",
    });
  }
  try {
    verifyEd25519Line(head.note, origin, createVerifier(signers.ed25519.key));
    verifyMlDsaLine(head, createVerifier(signers.mldsa44.key));
  } catch (error) {
    throw new MeshError("KEY_INVALID", `log ${origin} was signed with other keys`, {
      remedy: "use the log keys that the store was made with",
      cause: error,
    });
  }
}
