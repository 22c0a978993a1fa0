// SPDX-License-Identifier: Apache-2.0
/** The replica's log of accepted batches in the store: opened and verified, extended, and read back. Some may have become void. */
import { decodeBatch } from "@ctxmesh/codec";
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import type {
  DeviceKey,
  HeaderHash,
  IncarnationId,
  Store,
  StoreChange,
  Vault,
} from "@ctxmesh/model";
import { BaseHashes } from "./base-hashes.ts";
import type { ParsedBatch } from "./checks.ts";
import { decodeSignedHeader } from "./evidence.ts";
import type { ParsedHeader } from "./evidence.ts";
import {
  baseHeadKey,
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
import { STORED_BYTES, decodeStored, encodeStored } from "./stored-batch.ts";

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

const hole = (position: number): never => corrupt(`has a hole at position ${String(position)}`);

/** The header of a batch of our own log; its bodies stay as they are. */
function parseStored(stored: Uint8Array, position: number): ReturnType<typeof decodeBatch> {
  try {
    return decodeBatch(stored, STORED_BYTES);
  } catch (error) {
    return corrupt(`has no batch at position ${String(position)}`, error);
  }
}

/** Whether a batch at a position up to the pruned one is gone for good, or to go: it counted. */
const isPruned = (
  heads: ReadonlyMap<string, Head>,
  { header: { replica, incarnation, seq } }: Pick<ParsedBatch, "header">,
): boolean => seq <= (heads.get(chainKey(replica, incarnation))?.seq ?? 0);

/** The next batch of a log continues its chain. */
function link(heads: Map<string, Head>, batch: ParsedBatch, position: number): void {
  const chain = chainKey(batch.header.replica, batch.header.incarnation);
  if ((heads.get(chain)?.hash ?? null) !== batch.header.prev) {
    corrupt(`breaks a chain at position ${String(position)}`);
  }
  heads.set(chain, headOf(batch));
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

/** The part of the log that is gone, but for the batches of it that did not count. */
export interface Pruned {
  /** Its last position; 0 when nothing is gone. */
  readonly position: number;
  /** The newest batch of each chain that is gone, by chain; so is all before it. */
  readonly heads: ReadonlyMap<string, Head>;
}

/** Where reading begins. */
export interface LogStart {
  readonly pruned: Pruned;
  /** Everything up to there is known already, which may be more than what was pruned; 0 to read all that there is. */
  readonly position: number;
  /** The newest stored batch of each chain up to there. */
  readonly heads: Iterable<Head>;
}

/** A batch, and where it is in the log. */
export type Placed = readonly [batch: ParsedBatch, position: number];

const indexed = (heads: Iterable<Head>): Map<string, Head> =>
  new Map([...heads].map((head) => [chainKey(head.replica, head.incarnation), head]));

/** What a base checkpoint stands for. */
export const prunedBy = (
  base: { readonly position: number; readonly heads: readonly Head[] } | undefined,
): Pruned => ({ position: base?.position ?? 0, heads: indexed(base?.heads ?? []) });

/** The accepted batches of one space in one store. */
export class BatchLog {
  readonly #store: Store;
  readonly #vault: Vault | undefined;
  /** The newest batch of each chain, whether it counts or not. */
  readonly #heads: Map<string, Head>;
  #pruned: Pruned;
  /** The position of the newest batch. */
  #position: number;
  /** The hashes of batches that were never here one by one. */
  readonly baseHashes: BaseHashes;

  private constructor(
    store: Store,
    vault: Vault | undefined,
    { pruned, ...start }: LogStart,
    baseHashes: BaseHashes,
  ) {
    this.#store = store;
    this.baseHashes = baseHashes;
    this.#vault = vault;
    this.#pruned = pruned;
    this.#position = Math.max(start.position, pruned.position);
    this.#heads = indexed(start.heads);
  }

  /**
   * Opens the log and hands every stored batch behind the start to `replay` in order. Throws `STORE_CORRUPT` when a
   * position is missing, a chain does not link, or the recorded heads disagree; `KEY_INVALID` when the vault can't open a body.
   */
  static async open(
    store: Store,
    vault: Vault | undefined,
    start: LogStart,
    replay: (batch: ParsedBatch, position: number) => void,
  ): Promise<BatchLog> {
    const log = new BatchLog(store, vault, start, await BaseHashes.load(store));
    for await (const [batch, position] of log.#walk(start.position)) {
      link(log.#heads, batch, position);
      log.#position = Math.max(log.#position, position);
      replay(batch, position);
    }
    await log.#compareHeads(log.#heads);
    return log;
  }

  async #compareHeads(heads: ReadonlyMap<string, Head>): Promise<void> {
    let recorded = 0;
    for await (const [key, value] of this.#store.scan(headRange)) {
      recorded++;
      const head = heads.get(chainOfHeadKey(key));
      if (head === undefined || !sameBytes(value, headChange(head).value)) {
        corrupt("does not lead to its recorded heads");
      }
    }
    if (recorded !== heads.size) corrupt("does not lead to its recorded heads");
  }

  /** Reads all stored batches once more, link by link. Throws as {@link open}. */
  async verify(): Promise<void> {
    const last = this.#position;
    const expected = new Map(this.#heads);
    const heads = new Map(this.#pruned.heads);
    for await (const [batch, position] of this.#walk(0)) {
      if (position > last) break;
      link(heads, batch, position);
    }
    const leads = [...expected].every(([chain, { hash }]) => heads.get(chain)?.hash === hash);
    if (!leads) corrupt("does not lead to its recorded heads");
  }

  /** The position of the newest batch. */
  get position(): number {
    return this.#position;
  }

  /** What is gone. */
  get pruned(): Pruned {
    return this.#pruned;
  }

  /** The stored batches behind a position, in order; up to what was pruned, those that are left for good. */
  async *#walk(after: number): AsyncGenerator<Placed> {
    const { position: gone, heads } = this.#pruned;
    let last = Math.max(after, gone);
    for await (const [key, value] of this.#store.scan(logRange(after + 1))) {
      const position = readU64(key, 1);
      if (position > gone && position !== ++last) corrupt(`has a hole at position ${String(last)}`);
      const batch = readStored(value, position, this.#vault);
      if (position > gone || !isPruned(heads, batch)) yield [batch, position];
    }
  }

  /** The stored batches behind a position in order; all of them, unless told otherwise. */
  batches(after = 0): AsyncGenerator<Placed> {
    return this.#walk(after);
  }

  /**
   * What is pruned is another part now, which a base in the store stands for. It is as good as gone; {@link remove}
   * takes it out of the store.
   */
  prune(pruned: Pruned): void {
    this.#pruned = pruned;
  }

  /**
   * Takes what is pruned out of the store, in writes of `LIMITS.prunesPerWrite` batches; its hashes stay. May end early,
   * when it is not wanted any more, and be begun again.
   */
  async remove(isWanted: () => boolean): Promise<{ batches: number; bytes: number; all: boolean }> {
    const { position: gone, heads } = this.#pruned;
    const removed = { batches: 0, bytes: 0, all: false };
    let changes: StoreChange[] = [];
    const flush = async (): Promise<void> => {
      if (changes.length > 0) await this.#store.write(changes);
      changes = [];
    };
    for await (const [key, value] of this.#store.scan(logRange(1))) {
      if (!isWanted()) return removed;
      const position = readU64(key, 1);
      if (position > gone) break;
      const { header } = parseStored(value, position);
      if (!isPruned(heads, { header })) continue;
      const { replica, incarnation, seq } = header;
      changes.push({ key }, { key: chainEntryKey(replica, incarnation, seq) });
      removed.batches++;
      removed.bytes += value.length;
      if (changes.length >= 2 * LIMITS.prunesPerWrite) await flush();
    }
    await flush();
    return { ...removed, all: true };
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
    let position = this.#position;
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
    this.#position += batches.length;
    for (const batch of batches) {
      const { replica, incarnation } = batch.header;
      this.#heads.set(chainKey(replica, incarnation), headOf(batch));
    }
  }

  /** Whether a batch is stored, or the base stands for it. */
  async has(hash: HeaderHash): Promise<boolean> {
    return (await this.#store.get(hashKey(hash))) !== undefined || this.baseHashes.has(hash);
  }

  /**
   * A base that was made elsewhere is in the store now and takes one position: what it stands for is as good as pruned, what it
   * does not stays where it is. `heads` are those of the chains of which no more is here.
   */
  install(pruned: Pruned, heads: readonly Head[]): void {
    this.#pruned = pruned;
    this.#position = pruned.position;
    for (const head of heads) this.#heads.set(chainKey(head.replica, head.incarnation), head);
    this.baseHashes.use(pruned.position);
  }

  /** The batch under a header hash; undefined when it was never here, or is pruned. */
  async byHash(hash: HeaderHash): Promise<ParsedBatch | undefined> {
    return (await this.find(hash))?.[0];
  }

  /** As {@link byHash}, with its position. */
  async find(hash: HeaderHash): Promise<Placed | undefined> {
    const entry = await this.#store.get(hashKey(hash));
    if (entry === undefined) return undefined;
    const position = readHashEntry(entry);
    const stored = await this.#bytesAt(position);
    return stored && [readStored(stored, position, this.#vault), position];
  }

  /** The changes that put batches in their own places, with other bodies. */
  replaceAt(placed: readonly Placed[]): readonly StoreChange[] {
    const changes = placed.map(([batch, position]) => ({
      key: logKey(position),
      value: encodeStored(batch, this.#vault),
    }));
    return [...changes, ...(this.#vault?.takeChanges() ?? [])];
  }

  /** A stored header with its signature; undefined as {@link byHash}. */
  async header(hash: HeaderHash): Promise<ParsedHeader | undefined> {
    const entry = await this.#store.get(hashKey(hash));
    const position = entry === undefined ? undefined : readHashEntry(entry);
    const stored = position === undefined ? undefined : await this.#bytesAt(position);
    if (stored !== undefined) return { ...parseStored(stored, position ?? 0), hash };
    const brought = await this.#store.get(baseHeadKey(hash));
    return brought === undefined ? undefined : decodeSignedHeader(brought);
  }

  /** The batch at a position, which is not pruned. */
  async at(position: number): Promise<ParsedBatch> {
    const stored = await this.#bytesAt(position);
    return readStored(stored ?? hole(position), position, this.#vault);
  }

  /** What is at a position; undefined when it is pruned. */
  async #bytesAt(position: number): Promise<Uint8Array | undefined> {
    const stored = await this.#store.get(logKey(position));
    return stored === undefined && position > this.#pruned.position ? hole(position) : stored;
  }

  /** The highest seq of a chain that is pruned, as is all before it; 0 when nothing of it is. */
  prunedSeq(replica: DeviceKey, incarnation: IncarnationId): number {
    return this.#pruned.heads.get(chainKey(replica, incarnation))?.seq ?? 0;
  }

  /** The header at a chain position, whether it counts or not, unless it is pruned; a position that no chain has reached costs no look at the store. */
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

  /**
   * The batches of the spans in log order, hence in causal order: a lazy merge of the chains. Nothing of a span that begins
   * with what is pruned: whoever wants that can't use what comes behind it.
   */
  async *read(spans: readonly ChainSpan[]): AsyncGenerator<StoredBatch> {
    const cursors: Cursor[] = [];
    try {
      for (const span of spans) {
        const { replica, incarnation, from, to } = span;
        if (from <= this.prunedSeq(replica, incarnation)) continue;
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
        const stored = await this.#storedAt(next);
        if (stored === undefined) {
          await next.close();
          continue;
        }
        yield stored;
        await next.advance();
      }
    } finally {
      await Promise.all(cursors.map(async (cursor) => cursor.close()));
    }
  }

  /** What a cursor points at; undefined when it was pruned meanwhile. */
  async #storedAt({ span, seq, position = 0 }: Cursor): Promise<StoredBatch | undefined> {
    const { replica, incarnation } = span;
    const stored = await this.#bytesAt(position);
    if (stored === undefined) return undefined;
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
    this.position = undefined;
    await this.#entries.return?.();
  }
}
