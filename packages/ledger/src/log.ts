// SPDX-License-Identifier: Apache-2.0
/**
 * The append-only log of seals. One append is one atomic store write of entry, tree nodes and the
 * new checkpoint, before anything of it leaves this module: so no published checkpoint can be
 * forgotten by a crash, and no two can disagree. What a crash takes back before that write was signed, and nobody saw it.
 * Witnesses come after it: a crash in between leaves a checkpoint without their lines, which are asked for again.
 */
import { fromBase64, toBase64, utf8Decode, utf8Encode } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { MeshError, toHex } from "@ctxmesh/model";
import type { StoreChange } from "@ctxmesh/model";
import { proveEntry } from "./log-proof.ts";
import { corrupt, hashRanges, layout, loadLog, nodeReader, rangeHash } from "./log-store.ts";
import type { KeptCheckpoint, LoadedLog, LogLayout, LogOptions, ReadNode } from "./log-store.ts";
import {
  appendLeaf,
  consistencyRanges,
  edgeRoot,
  equalBytes,
  leafHash,
  verifyConsistency,
} from "./merkle.ts";
import type { TreeEdge, TreeNode } from "./merkle.ts";
import { assertOrigin, parseCheckpoint, signCheckpoint } from "./note.ts";
import { openLogPages } from "./tile-pages.ts";
import type { LogPages } from "./tile-pages.ts";
import { addLines } from "./witness-cosignature.ts";

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
  /** The newest checkpoint's text, as the log signed it; undefined while the log is empty. */
  readonly checkpoint: string | undefined;
  /** The newest checkpoint that witnesses cosigned, with their lines: of this size or a smaller one. */
  readonly cosigned: string | undefined;
  /** The log as the pages of C2SP tlog-tiles. */
  readonly pages: LogPages;
  /**
   * Appends an entry of 65,535 bytes at most and signs the new tree. What `also` returns goes into the
   * same atomic write, before the rest, so that a seal and its place in the log can't be parted. Throws
   * `LIMIT_EXCEEDED`, or what the store throws: then only a reopen can tell whether it was appended.
   */
  append(entry: Uint8Array, also?: AlsoWrite): Promise<Appended>;
  /**
   * Keeps lines of witnesses, which the caller has verified (`acceptCosignatures`), with the checkpoint of this log that they are on. Those on
   * a smaller tree than the kept ones come too late. Throws `INPUT_INVALID` for a checkpoint that is not this log's, and what the store throws.
   */
  keepCosignatures(checkpoint: string, lines: string): Promise<void>;
  /** The bytes of an entry; undefined for an index that is not there. */
  entry(index: number): Promise<Uint8Array | undefined>;
  /** The tlog-proof of an entry: under the newest cosigned checkpoint if that has it, else under the newest. Throws `INPUT_INVALID` for an index that is not there. */
  proof(index: number): Promise<string>;
  /** The consistency proof from `size1` to `size2`, the newest checkpoint's by default. Throws `INPUT_INVALID`. */
  consistency(size1: number, size2?: number): Promise<Uint8Array[]>;
}

class StoredLog implements Log {
  readonly pages: LogPages;
  readonly #options: LogOptions;
  readonly #keys: LogLayout;
  #edge: TreeEdge;
  #checkpoint: string | undefined;
  #cosigned: KeptCheckpoint | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: LogOptions, { edge, checkpoint, cosigned }: LoadedLog) {
    this.#options = options;
    this.#keys = layout(options.prefix);
    this.pages = openLogPages(options.store, options.prefix);
    this.#edge = edge;
    this.#checkpoint = checkpoint;
    this.#cosigned = cosigned;
  }

  get size(): number {
    return this.#edge.size;
  }

  get checkpoint(): string | undefined {
    return this.#checkpoint;
  }

  get cosigned(): string | undefined {
    return this.#cosigned?.text;
  }

  append(entry: Uint8Array, also: AlsoWrite = () => []): Promise<Appended> {
    return this.#inTurn(async () => this.#append(entry, also));
  }

  keepCosignatures(checkpoint: string, lines: string): Promise<void> {
    return this.#inTurn(async () => this.#keepCosignatures(checkpoint, lines));
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(action);
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
    const proof = await proveEntry(this.#reader(made), index, head, checkpoint);
    const appended: Appended = { index, checkpoint, proof };
    // The checkpoint last: a store that makes large writes in steps shows none before all that it is about is there.
    await store.write([
      ...also(appended),
      { key: keys.entry(index), value: entry },
      ...made.map((node) => ({ key: keys.node(node.level, node.index), value: node.hash })),
      { key: keys.checkpoint, value: utf8Encode(checkpoint) },
    ]);
    this.#edge = edge;
    this.#checkpoint = checkpoint;
    return appended;
  }

  async #keepCosignatures(checkpoint: string, lines: string): Promise<void> {
    const { origin, size, root } = parseCheckpoint(checkpoint);
    const kept = this.#cosigned;
    if (kept !== undefined && size < kept.size) return;
    if (origin !== this.#options.origin || !equalBytes(root, await this.#rootAt(size))) {
      throw new MeshError("INPUT_INVALID", "the cosigned checkpoint is not of this log", {
        field: "checkpoint",
      });
    }
    // The newest lines first: of each key the first one stays.
    const older = kept?.size === size ? kept.text.slice(kept.text.indexOf("\n\n") + 2) : "";
    const text = addLines(addLines(checkpoint, lines), older);
    await this.#options.store.write([{ key: this.#keys.cosigned, value: utf8Encode(text) }]);
    this.#cosigned = { origin, size, root, text };
  }

  /** The root with the first `size` entries. */
  async #rootAt(size: number): Promise<Uint8Array> {
    if (size === this.size) return edgeRoot(this.#edge);
    if (size < 1 || size > this.size) return new Uint8Array(0);
    return rangeHash(this.#reader([]), [0, size]);
  }

  async entry(index: number): Promise<Uint8Array | undefined> {
    return index < this.size ? this.#options.store.get(this.#keys.entry(index)) : undefined;
  }

  async proof(index: number): Promise<string> {
    const cosigned = this.#cosigned;
    if (cosigned !== undefined && index < cosigned.size) {
      return proveEntry(this.#reader([]), index, cosigned, cosigned.text);
    }
    const { origin } = this.#options;
    const head = { origin, size: this.size, root: edgeRoot(this.#edge) };
    return proveEntry(this.#reader([]), index, head, this.#checkpoint ?? "");
  }

  async consistency(size1: number, size2: number = this.size): Promise<Uint8Array[]> {
    if (size2 > this.size) {
      throw new MeshError("INPUT_INVALID", `the log has ${String(this.size)} entries`, {
        field: "size2",
      });
    }
    const read = this.#reader([]);
    const proof = await hashRanges(read, consistencyRanges(size1, size2));
    const root2 = await this.#rootAt(size2);
    const root1 = await rangeHash(read, [0, size1]);
    if (!verifyConsistency({ size1, size2, root1, root2, proof })) {
      throw corrupt(this.#options.origin, `the tree nodes do not extend size ${String(size1)}`);
    }
    return proof;
  }

  /** Reads tree nodes, those of an append under way first. */
  #reader(fresh: readonly TreeNode[]): ReadNode {
    const { store, origin } = this.#options;
    const stored = nodeReader(store, this.#keys, origin);
    return async (level, index) => {
      const made = fresh.find((node) => node.level === level && node.index === index);
      return made?.hash ?? stored(level, index);
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
  return new StoredLog(options, await loadLog(options));
}
