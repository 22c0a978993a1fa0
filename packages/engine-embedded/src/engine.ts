// SPDX-License-Identifier: Apache-2.0
/** The `Engine` port on the `Store` port, for the hubs of one process: what several hubs share, without a server. */
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import type {
  Clock,
  Engine,
  EngineEntry,
  EngineRecord,
  EngineWrite,
  Fence,
  Lease,
  SpaceId,
  Store,
  StoreChange,
  StoreRange,
} from "@ctxmesh/model";
import {
  TAGS,
  decodeLease,
  decodeRecord,
  encodeLease,
  encodeRecord,
  keyOf,
  readU64,
  u64,
} from "./layout.ts";
import type { StoredLease } from "./layout.ts";

/** What an embedded engine is made of. */
export interface EmbeddedEngineOptions {
  /** Closed with the engine. Its keys from 0x40 to 0x44 are the engine's. */
  readonly store: Store;
  readonly clock: Clock;
}

/** An engine on a store. */
export function createEmbeddedEngine(options: EmbeddedEngineOptions): Engine {
  return new EmbeddedEngine(options);
}

const fenced = (message: string): MeshError => new MeshError("ENGINE_FENCED", message);

function checkSize(what: string, count: number, bytes: number): void {
  if (count <= LIMITS.engineEntries && bytes <= LIMITS.engineBytes) return;
  throw new MeshError(
    "LIMIT_EXCEEDED",
    `one call of the engine has ${String(count)} ${what} and ${String(bytes)} bytes; the limits are ${String(LIMITS.engineEntries)} (engineEntries) and ${String(LIMITS.engineBytes)} (engineBytes)`,
  );
}

const sizeOf = (values: readonly (Uint8Array | undefined)[]): number =>
  values.reduce((sum, value) => sum + (value?.length ?? 0), 0);

const sameBytes = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;

class EmbeddedEngine implements Engine {
  readonly #store: Store;
  readonly #clock: Clock;
  /** Changes one after the other: each looks at what is there before it writes. */
  #tail: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor({ store, clock }: EmbeddedEngineOptions) {
    this.#store = store;
    this.#clock = clock;
  }

  async #inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    this.#assertOpen();
    const turn = this.#tail.then(act);
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new MeshError("CLOSED", "the engine is closed");
  }

  async append(space: SpaceId, entries: readonly EngineEntry[]): Promise<readonly number[]> {
    const append = this.#appending(space, entries);
    return this.#inTurn(append);
  }

  async appendUnless(
    space: SpaceId,
    entries: readonly EngineEntry[],
    after: number,
    isAgainst: (record: EngineRecord) => boolean,
  ): Promise<readonly number[] | undefined> {
    const append = this.#appending(space, entries);
    const ids = entries.map(({ id }) => keyOf(TAGS.id, space, id));
    return this.#inTurn(async () => {
      const known = await Promise.all(ids.map(async (id) => this.#store.get(id)));
      if (known.every((position) => position !== undefined)) return append();
      const behind = await this.#page(space, after, LIMITS.engineEntries);
      const isAll = after + behind.length === (await this.#head(space));
      return isAll && !behind.some(isAgainst) ? append() : undefined;
    });
  }

  /** What appends entries as they are now, in its turn. */
  #appending(space: SpaceId, entries: readonly EngineEntry[]): () => Promise<readonly number[]> {
    checkSize("records", entries.length, sizeOf(entries.map(({ bytes }) => bytes)));
    const own = entries.map((entry) => ({
      id: new Uint8Array(entry.id),
      stored: encodeRecord(entry),
    }));
    return async () => {
      let head = await this.#head(space);
      const changes: StoreChange[] = [];
      const fresh = new Map<string, number>();
      const positions: number[] = [];
      for (const { id, stored } of own) {
        const where = keyOf(TAGS.id, space, id);
        const known = await this.#store.get(where);
        let position = known === undefined ? fresh.get(toHex(id)) : readU64(known);
        if (position === undefined) {
          position = ++head;
          fresh.set(toHex(id), position);
          changes.push(
            { key: keyOf(TAGS.record, space, u64(position)), value: stored },
            { key: where, value: u64(position) },
          );
        }
        positions.push(position);
      }
      if (changes.length > 0) {
        await this.#store.write([...changes, { key: keyOf(TAGS.head, space), value: u64(head) }]);
      }
      return positions;
    };
  }

  async read(space: SpaceId, after: number, limit: number): Promise<readonly EngineRecord[]> {
    this.#assertOpen();
    return this.#page(space, after, limit);
  }

  async #page(space: SpaceId, after: number, limit: number): Promise<readonly EngineRecord[]> {
    const range = {
      gte: keyOf(TAGS.record, space, u64(after + 1)),
      lt: keyOf(TAGS.record, space, u64(Number.MAX_SAFE_INTEGER)),
      limit: Math.min(limit, LIMITS.engineEntries),
    };
    const records: EngineRecord[] = [];
    let bytes = 0;
    for await (const [, stored] of this.#store.scan(range)) {
      const record = decodeRecord(after + 1 + records.length, stored);
      bytes += record.bytes.length;
      if (records.length > 0 && bytes > LIMITS.engineBytes) break;
      records.push(record);
    }
    return records;
  }

  async find(space: SpaceId, ids: readonly Uint8Array[]): Promise<readonly EngineRecord[]> {
    this.#assertOpen();
    if (ids.length > LIMITS.engineFinds) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `one call of the engine has ${String(ids.length)} ids, the limit is ${String(LIMITS.engineFinds)} (engineFinds)`,
      );
    }
    const where = new Set<number>();
    for (const id of ids) {
      const known = await this.#store.get(keyOf(TAGS.id, space, id));
      if (known !== undefined) where.add(readU64(known));
    }
    const records: EngineRecord[] = [];
    let bytes = 0;
    for (const position of [...where].toSorted((a, b) => a - b)) {
      const stored = await this.#store.get(keyOf(TAGS.record, space, u64(position)));
      if (stored === undefined) continue;
      bytes += stored.length;
      if (records.length > 0 && bytes > LIMITS.engineBytes) break;
      records.push(decodeRecord(position, stored));
    }
    return records;
  }

  async head(space: SpaceId): Promise<number> {
    this.#assertOpen();
    return this.#head(space);
  }

  async #head(space: SpaceId): Promise<number> {
    const stored = await this.#store.get(keyOf(TAGS.head, space));
    return stored === undefined ? 0 : readU64(stored);
  }

  async #lease(space: SpaceId): Promise<StoredLease> {
    const stored = await this.#store.get(keyOf(TAGS.lease, space));
    return stored === undefined ? { epoch: 0, endsAt: 0, holder: "" } : decodeLease(stored);
  }

  async #writeLease(space: SpaceId, lease: StoredLease): Promise<void> {
    await this.#store.write([{ key: keyOf(TAGS.lease, space), value: encodeLease(lease) }]);
  }

  async acquire(space: SpaceId, holder: string, termMs: number): Promise<Lease | undefined> {
    if (holder.length === 0 || holder.length > LIMITS.engineHolder) {
      throw new MeshError("INPUT_INVALID", "a holder has 1 to 128 characters", { field: "holder" });
    }
    return this.#inTurn(async () => {
      const lease = await this.#lease(space);
      const nowMs = this.#clock.now();
      const isRunning = lease.endsAt > nowMs;
      if (isRunning && lease.holder !== holder) return undefined;
      const epoch = isRunning ? lease.epoch : lease.epoch + 1;
      await this.#writeLease(space, { epoch, endsAt: nowMs + termMs, holder });
      return { epoch, remainingMs: termMs };
    });
  }

  async #holds(space: SpaceId, fence: Fence): Promise<boolean> {
    const { epoch, endsAt, holder } = await this.#lease(space);
    return holder === fence.holder && epoch === fence.epoch && endsAt > this.#clock.now();
  }

  async release(space: SpaceId, fence: Fence): Promise<void> {
    await this.#inTurn(async () => {
      if (!(await this.#holds(space, fence))) return;
      await this.#writeLease(space, { ...fence, endsAt: this.#clock.now() });
    });
  }

  async write(space: SpaceId, fence: Fence, { changes, expect = [] }: EngineWrite): Promise<void> {
    checkSize("changes", changes.length, sizeOf(changes.map(({ value }) => value)));
    await this.#inTurn(async () => {
      if (!(await this.#holds(space, fence))) {
        throw fenced("the lease has ended, or another hub holds it");
      }
      for (const { key, value } of expect) {
        const found = await this.#store.get(keyOf(TAGS.shared, space, key));
        if (!sameBytes(found, value)) throw fenced("what is there is not what was expected");
      }
      if (changes.length === 0) return;
      await this.#store.write(
        changes.map((change) => ({ ...change, key: keyOf(TAGS.shared, space, change.key) })),
      );
    });
  }

  async get(space: SpaceId, key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#assertOpen();
    return this.#store.get(keyOf(TAGS.shared, space, key));
  }

  async *scan(
    space: SpaceId,
    range: StoreRange,
  ): AsyncGenerator<readonly [key: Uint8Array, value: Uint8Array]> {
    this.#assertOpen();
    const prefix = keyOf(TAGS.shared, space);
    const own = {
      ...range,
      gte: keyOf(TAGS.shared, space, range.gte),
      lt: keyOf(TAGS.shared, space, range.lt),
    };
    for await (const [key, value] of this.#store.scan(own)) yield [key.slice(prefix.length), value];
  }

  async now(): Promise<number> {
    this.#assertOpen();
    return this.#clock.now();
  }

  async close(): Promise<void> {
    this.#closing ??= this.#tail.then(async () => this.#store.close());
    await this.#closing;
  }
}
