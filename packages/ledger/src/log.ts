// SPDX-License-Identifier: Apache-2.0
/**
 * The append-only log of seals. One append is one atomic store write of entry, tree nodes and the
 * new checkpoint, before anything of it leaves this module: so no published checkpoint can be
 * forgotten by a crash, and no two can disagree.
 */
import { fromBase64, toBase64, utf8Decode, utf8Encode } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { MeshError, toHex } from "@ctxmesh/model";
import type { StoreChange } from "@ctxmesh/model";
import { corrupt, hashRanges, layout, loadLog, rangeHash } from "./log-store.ts";
import type { LogLayout, LogOptions, ReadNode } from "./log-store.ts";
import {
  appendLeaf,
  consistencyRanges,
  edgeRoot,
  inclusionRanges,
  leafHash,
  verifyConsistency,
  verifyInclusion,
} from "./merkle.ts";
import type { TreeEdge, TreeNode } from "./merkle.ts";
import { assertOrigin, signCheckpoint } from "./note.ts";
import { formatLogProof } from "./proof.ts";

const ENTRY_TAG = "ctxmesh.dev/snapshot/v1\n";
/** C2SP tlog-tiles: an entry is below 64 KiB. */
const MAX_ENTRY_BYTES = 65_535;

/** The log entry of an envelope: `"ctxmesh.dev/snapshot/v1\n" + base64(SHA-256(envelope)) + "\n"`. No content, so a log can be public. */
export const snapshotEntry = (envelope: Uint8Array): Uint8Array =>
  utf8Encode(`${ENTRY_TAG}${toBase64(sha256(envelope))}\n`);

/** The SHA-256 of the envelope that an entry of {@link snapshotEntry} is of, in hex; undefined for another entry. Throws `FORMAT_INVALID`. */
export function sealedEnvelopeHash(entry: Uint8Array): string | undefined {
  const text = utf8Decode(entry);
  if (!text.startsWith(ENTRY_TAG)) return undefined;
  return toHex(fromBase64(text.slice(ENTRY_TAG.length, -1)));
}

/** The answer to an append. */
export interface Appended {
  readonly index: number;
  /** Text of the checkpoint that covers the entry. */
  readonly checkpoint: string;
  /** Text of the tlog-proof, with that checkpoint inside. */
  readonly proof: string;
}

/** Further store changes that belong to an append, outside the log's prefix. */
export type AlsoWrite = (appended: Appended) => readonly StoreChange[];

/** An open log. Appends are carried out one after the other. */
export interface Log {
  /** Number of entries on stable storage. */
  readonly size: number;
  /** The newest checkpoint's text; undefined while the log is empty. */
  readonly checkpoint: string | undefined;
  /**
   * Appends an entry of 65,535 bytes at most and signs the new tree. What `also` returns goes into the
   * same atomic write, so that a seal and its place in the log can't be parted. Throws
   * `LIMIT_EXCEEDED`, or what the store throws: then only a reopen can tell whether it was appended.
   */
  append(entry: Uint8Array, also?: AlsoWrite): Promise<Appended>;
  /** The bytes of an entry; undefined for an index that is not there. */
  entry(index: number): Promise<Uint8Array | undefined>;
  /** The tlog-proof of an entry under the newest checkpoint. Throws `INPUT_INVALID` for an index that is not there. */
  proof(index: number): Promise<string>;
  /** The consistency proof from `size1` to the newest checkpoint. Throws `INPUT_INVALID`. */
  consistency(size1: number): Promise<Uint8Array[]>;
}

class StoredLog implements Log {
  readonly #options: LogOptions;
  readonly #keys: LogLayout;
  #edge: TreeEdge;
  #checkpoint: string | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: LogOptions, edge: TreeEdge, checkpoint: string | undefined) {
    this.#options = options;
    this.#keys = layout(options.prefix);
    this.#edge = edge;
    this.#checkpoint = checkpoint;
  }

  get size(): number {
    return this.#edge.size;
  }

  get checkpoint(): string | undefined {
    return this.#checkpoint;
  }

  append(entry: Uint8Array, also: AlsoWrite = () => []): Promise<Appended> {
    const result = this.#queue.then(() => this.#append(entry, also));
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #append(entry: Uint8Array, also: AlsoWrite): Promise<Appended> {
    if (entry.length > MAX_ENTRY_BYTES) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `log entry of ${String(entry.length)} bytes is over ${String(MAX_ENTRY_BYTES)}`,
      );
    }
    const { store, origin, signers, clock } = this.#options;
    const keys = this.#keys;
    const index = this.#edge.size;
    const { edge, made } = appendLeaf(this.#edge, leafHash(entry));
    const time = Math.max(1, Math.floor(clock.now() / 1000));
    const head = { origin, size: edge.size, root: edgeRoot(edge) };
    const checkpoint = signCheckpoint(head, signers, time);
    const proof = await this.#proof(index, edge, checkpoint, made);
    const appended: Appended = { index, checkpoint, proof };
    await store.write([
      { key: keys.entry(index), value: entry },
      ...made.map((node) => ({ key: keys.node(node.level, node.index), value: node.hash })),
      { key: keys.checkpoint, value: utf8Encode(checkpoint) },
      ...also(appended),
    ]);
    this.#edge = edge;
    this.#checkpoint = checkpoint;
    return appended;
  }

  async entry(index: number): Promise<Uint8Array | undefined> {
    return index < this.size ? this.#options.store.get(this.#keys.entry(index)) : undefined;
  }

  async proof(index: number): Promise<string> {
    return this.#proof(index, this.#edge, this.#checkpoint ?? "", []);
  }

  /** A proof is checked before it is handed out: a bad one means damaged tree nodes. */
  async #proof(
    index: number,
    edge: TreeEdge,
    checkpoint: string,
    fresh: readonly TreeNode[],
  ): Promise<string> {
    const read = this.#reader(fresh);
    const proof = await hashRanges(read, inclusionRanges(index, edge.size));
    const claim = { index, size: edge.size, proof, root: edgeRoot(edge) };
    if (!verifyInclusion({ ...claim, leafHash: await read(0, index) })) {
      throw corrupt(this.#options.origin, `the tree nodes do not prove entry ${String(index)}`);
    }
    return formatLogProof({ index, hashes: proof, checkpoint });
  }

  async consistency(size1: number): Promise<Uint8Array[]> {
    const [read, edge] = [this.#reader([]), this.#edge];
    const proof = await hashRanges(read, consistencyRanges(size1, edge.size));
    const root1 = await rangeHash(read, [0, size1]);
    if (!verifyConsistency({ size1, size2: edge.size, root1, root2: edgeRoot(edge), proof })) {
      throw corrupt(this.#options.origin, `the tree nodes do not extend size ${String(size1)}`);
    }
    return proof;
  }

  /** Reads tree nodes, those of an append under way first. */
  #reader(fresh: readonly TreeNode[]): ReadNode {
    return async (level, index) => {
      const made = fresh.find((node) => node.level === level && node.index === index);
      const hash = made?.hash ?? (await this.#options.store.get(this.#keys.node(level, index)));
      if (hash !== undefined) return hash;
      const name = `${String(level)}/${String(index)}`;
      throw corrupt(this.#options.origin, `tree node ${name} is missing`);
    };
  }
}

/**
 * Opens or starts a log. Reads every entry back. Throws `STORE_CORRUPT` when the entries are not the
 * tree of the stored checkpoint, `KEY_INVALID` when that was signed with other keys, `INPUT_INVALID`
 * for another origin.
 */
export async function openLog(options: LogOptions): Promise<Log> {
  assertOrigin(options.origin);
  const { edge, checkpoint } = await loadLog(options);
  return new StoredLog(options, edge, checkpoint);
}
