// SPDX-License-Identifier: Apache-2.0
/** The replica's log of accepted batches in the store: opened and verified, extended, and read back. Some may have become void. */
import { MeshError, toHex } from "@ctxmesh/model";
import type {
  DeviceKey,
  HeaderHash,
  IncarnationId,
  Store,
  StoreChange,
  Vault,
} from "@ctxmesh/model";
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
  readHashEntry,
  readU64,
} from "./layout.ts";
import type { Head } from "./layout.ts";
import { decodeStored, encodeStored } from "./stored-batch.ts";

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
function readStored(stored: Uint8Array, position: number, vault: Vault | undefined): ParsedBatch {
  try {
    return decodeStored(stored, vault);
  } catch (error) {
    if (error instanceof MeshError && error.code === "KEY_INVALID") throw error;
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

/** The accepted batches of one space in one store. */
export class BatchLog {
  readonly #store: Store;
  readonly #vault: Vault | undefined;
  /** The newest batch of each chain, whether it counts or not. */
  readonly #heads = new Map<string, Head>();
  #count = 0;

  private constructor(store: Store, vault: Vault | undefined) {
    this.#store = store;
    this.#vault = vault;
  }

  /**
   * Opens the log and hands every stored batch to `replay` in order. Throws `STORE_CORRUPT` when a
   * position is missing, a chain does not link, or the recorded heads disagree; `KEY_INVALID` when the vault can't open a body.
   */
  static async open(
    store: Store,
    vault: Vault | undefined,
    replay: (batch: ParsedBatch, position: number) => void,
  ): Promise<BatchLog> {
    const log = new BatchLog(store, vault);
    const heads = log.#heads;
    for await (const [key, value] of store.scan(logRange(1))) {
      log.#count++;
      if (readU64(key, 1) !== log.#count) corrupt(`has a hole at position ${String(log.#count)}`);
      const batch = readStored(value, log.#count, vault);
      const chain = chainKey(batch.header.replica, batch.header.incarnation);
      if ((heads.get(chain)?.hash ?? null) !== batch.header.prev) {
        corrupt(`breaks a chain at position ${String(log.#count)}`);
      }
      heads.set(chain, headOf(batch));
      replay(batch, log.#count);
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

  /** All stored batches in order. */
  async *batches(): AsyncGenerator<readonly [batch: ParsedBatch, position: number]> {
    for await (const [key, value] of this.#store.scan(logRange(1))) {
      const position = readU64(key, 1);
      yield [readStored(value, position, this.#vault), position];
    }
  }

  /** The chains, each with its newest stored batch. */
  heads(): Iterable<Head> {
    return this.#heads.values();
  }

  /** The newest stored batch of a chain. */
  head(replica: DeviceKey, incarnation: IncarnationId): Head | undefined {
    return this.#heads.get(chainKey(replica, incarnation));
  }

  /** The changes that append batches, in order. They count only once {@link appended} is called. */
  changesFor(batches: readonly ParsedBatch[]): readonly StoreChange[] {
    const changes: StoreChange[] = [];
    const heads = new Map<string, Head>();
    let position = this.#count;
    for (const batch of batches) {
      const head = headOf(batch);
      position++;
      changes.push(...batchChanges(head, position, encodeStored(batch, this.#vault)));
      heads.set(chainKey(head.replica, head.incarnation), head);
    }
    for (const head of heads.values()) changes.push(headChange(head));
    changes.push(...(this.#vault?.takeChanges() ?? []));
    return changes;
  }

  /** The batches of {@link changesFor} are on disk. */
  appended(batches: readonly ParsedBatch[]): void {
    this.#count += batches.length;
    for (const batch of batches) {
      const { replica, incarnation } = batch.header;
      this.#heads.set(chainKey(replica, incarnation), headOf(batch));
    }
  }

  /** Whether a batch is stored. */
  async has(hash: HeaderHash): Promise<boolean> {
    return (await this.#store.get(hashKey(hash))) !== undefined;
  }

  /** The batch under a header hash. */
  async byHash(hash: HeaderHash): Promise<ParsedBatch | undefined> {
    const entry = await this.#store.get(hashKey(hash));
    return entry === undefined ? undefined : this.at(readHashEntry(entry));
  }

  /** The batch at a position. */
  async at(position: number): Promise<ParsedBatch> {
    return readStored(await this.#bytesAt(position), position, this.#vault);
  }

  async #bytesAt(position: number): Promise<Uint8Array> {
    const stored = await this.#store.get(logKey(position));
    return stored ?? corrupt(`has a hole at position ${String(position)}`);
  }

  /** The header at a chain position, whether it counts or not; a position that no chain has reached costs no look at the store. */
  async hashAt(
    replica: DeviceKey,
    incarnation: IncarnationId,
    seq: number,
  ): Promise<HeaderHash | undefined> {
    const head = this.#heads.get(chainKey(replica, incarnation));
    if (head === undefined || seq > head.seq) return undefined;
    if (seq === head.seq) return head.hash;
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
    const { replica, incarnation } = span;
    const stored = await this.#bytesAt(position);
    const bytes =
      this.#vault === undefined ? stored : readStored(stored, position, this.#vault).bytes;
    return { replica, incarnation, seq, bytes };
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
