// SPDX-License-Identifier: Apache-2.0
/** The replica's log of applied batches in the store: opened and verified, extended, and read back. */
import { decodeBatch } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { MeshError, parseHeaderHash, toHex } from "@ctxmesh/model";
import type { DeviceKey, HeaderHash, IncarnationId, Store, StoreChange } from "@ctxmesh/model";
import type { ParsedBatch } from "./checks.ts";
import {
  batchChanges,
  chainEntryKey,
  chainKey,
  chainOfHeadKey,
  chainRange,
  hashKey,
  headChange,
  headRange,
  logKey,
  logRange,
  readChainEntry,
  readU64,
} from "./layout.ts";
import type { Head } from "./layout.ts";

/** Refuses the log. */
export const corrupt = (problem: string, cause?: unknown): never => {
  throw new MeshError("STORE_CORRUPT", `the store's log ${problem}`, {
    cause,
    remedy: "move the store's folder aside and start again: the mesh brings the batches back",
  });
};

/** The head that a batch makes of its chain. */
export const headOf = ({ header, hash }: Pick<ParsedBatch, "header" | "hash">): Head => ({
  replica: header.replica,
  incarnation: header.incarnation,
  seq: header.seq,
  hash,
  hlc: header.hlc,
});

/** Reads a batch of our own log; its record hash was verified by the store, its signature on receipt. */
function readStored(bytes: Uint8Array, position: number): ParsedBatch {
  try {
    const batch = decodeBatch(bytes);
    return {
      ...batch,
      bytes,
      hash: parseHeaderHash(toHex(sha256(batch.headerBytes))),
    };
  } catch (error) {
    return corrupt(`has no batch at position ${String(position)}`, error);
  }
}

const sameBytes = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a !== undefined && b !== undefined && toHex(a) === toHex(b);

/** A chain and the sequence numbers wanted of it, both ends included. */
export interface ChainSpan {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly from: number;
  readonly to: number;
}

/** A batch out of the log, with its place in its chain. */
export interface StoredBatch {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
  readonly bytes: Uint8Array;
}

/** The applied batches of one space in one store. */
export class BatchLog {
  readonly #store: Store;
  #count = 0;

  private constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Opens the log and hands every stored batch to `replay` in order. Throws `STORE_CORRUPT` when a
   * position is missing, a chain does not link, or the recorded heads disagree.
   */
  static async open(store: Store, replay: (batch: ParsedBatch) => void): Promise<BatchLog> {
    const log = new BatchLog(store);
    const heads = new Map<string, Head>();
    for await (const [key, value] of store.scan(logRange(1))) {
      log.#count++;
      if (readU64(key, 1) !== log.#count) corrupt(`has a hole at position ${String(log.#count)}`);
      const batch = readStored(value, log.#count);
      const chain = chainKey(batch.header.replica, batch.header.incarnation);
      if ((heads.get(chain)?.hash ?? null) !== batch.header.prev) {
        corrupt(`breaks a chain at position ${String(log.#count)}`);
      }
      heads.set(chain, headOf(batch));
      replay(batch);
    }
    let recorded = 0;
    for await (const [key, value] of store.scan(headRange)) {
      recorded++;
      const head = heads.get(chainOfHeadKey(key));
      if (head === undefined || !sameBytes(value, headChange(head).value)) {
        corrupt("does not lead to its recorded heads");
      }
    }
    if (recorded !== heads.size) corrupt("does not lead to its recorded heads");
    return log;
  }

  /** The changes that append batches, in order. They count only once {@link appended} is called. */
  changesFor(batches: readonly ParsedBatch[]): readonly StoreChange[] {
    const changes: StoreChange[] = [];
    const heads = new Map<string, Head>();
    let position = this.#count;
    for (const batch of batches) {
      const head = headOf(batch);
      position++;
      changes.push(...batchChanges(head, position, batch.bytes));
      heads.set(chainKey(head.replica, head.incarnation), head);
    }
    for (const head of heads.values()) changes.push(headChange(head));
    return changes;
  }

  /** The batches of {@link changesFor} are on disk. */
  appended(batches: number): void {
    this.#count += batches;
  }

  /** Whether a header was applied. */
  async has(hash: HeaderHash): Promise<boolean> {
    return (await this.#store.get(hashKey(hash))) !== undefined;
  }

  /** The header at a chain position, if applied. */
  async hashAt(
    replica: DeviceKey,
    incarnation: IncarnationId,
    seq: number,
  ): Promise<HeaderHash | undefined> {
    const value = await this.#store.get(chainEntryKey(replica, incarnation, seq));
    return value === undefined ? undefined : readChainEntry(value).hash;
  }

  /** The batches of the spans in log order, hence in causal order: a lazy merge of the chains. */
  async *read(spans: readonly ChainSpan[]): AsyncGenerator<StoredBatch> {
    const cursors: Cursor[] = [];
    try {
      for (const span of spans) {
        const { replica, incarnation, from, to } = span;
        const entries = this.#store.scan(chainRange(replica, incarnation, from, to));
        const cursor = new Cursor(span, entries[Symbol.asyncIterator]());
        cursors.push(cursor);
        await cursor.advance();
      }
      for (;;) {
        const live = cursors.filter((cursor) => cursor.position !== undefined);
        const [first, ...rest] = live;
        if (first === undefined) return;
        const next = rest.reduce((a, b) => ((a.position ?? 0) < (b.position ?? 0) ? a : b), first);
        yield await this.#storedAt(next);
        await next.advance();
      }
    } finally {
      await Promise.all(cursors.map(async (cursor) => cursor.close()));
    }
  }

  async #storedAt({ span, seq, position = 0 }: Cursor): Promise<StoredBatch> {
    const bytes = await this.#store.get(logKey(position));
    if (bytes === undefined) return corrupt(`has a hole at position ${String(position)}`);
    return { replica: span.replica, incarnation: span.incarnation, seq, bytes };
  }
}

/** A walk along the index entries of one span. */
class Cursor {
  readonly span: ChainSpan;
  /** Log position of the current entry; undefined past the end. */
  position: number | undefined;
  seq: number;
  readonly #entries: AsyncIterator<readonly [Uint8Array, Uint8Array]>;

  constructor(span: ChainSpan, entries: AsyncIterator<readonly [Uint8Array, Uint8Array]>) {
    this.span = span;
    this.seq = span.from - 1;
    this.#entries = entries;
  }

  async advance(): Promise<void> {
    const { done, value } = await this.#entries.next();
    this.position = done === true ? undefined : readChainEntry(value[1]).position;
    this.seq++;
  }

  async close(): Promise<void> {
    await this.#entries.return?.();
  }
}
