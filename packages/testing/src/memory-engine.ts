// SPDX-License-Identifier: Apache-2.0
/** The `Engine` port in memory: the model that drivers are compared with, and what a simulator gives its hubs. */
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
  StoreRange,
} from "@ctxmesh/model";
import { SortedTable } from "./sorted-table.ts";

/** What one space has in it. */
interface Contents {
  readonly log: EngineRecord[];
  readonly positions: Map<string, number>;
  readonly shared: SortedTable;
  lease: { holder: string; epoch: number; endsAt: number };
}

/** What engines in memory share: give the same to all that are to be hubs of one mesh. */
export class MemoryEngineData {
  readonly #spaces = new Map<SpaceId, Contents>();

  /** Forgets the records of a space from a position on, as a database does that is restored from a backup. */
  lose(space: SpaceId, from: number): void {
    const { log, positions } = this.of(space);
    for (const { id } of log.splice(from - 1)) positions.delete(toHex(id));
  }

  /** @internal */
  of(space: SpaceId): Contents {
    let contents = this.#spaces.get(space);
    if (contents === undefined) {
      const lease = { holder: "", epoch: 0, endsAt: 0 };
      contents = { log: [], positions: new Map(), shared: new SortedTable(), lease };
      this.#spaces.set(space, contents);
    }
    return contents;
  }
}

const copyOf = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes);

function checkSize(count: number, bytes: number): void {
  if (count <= LIMITS.engineEntries && bytes <= LIMITS.engineBytes) return;
  throw new MeshError("LIMIT_EXCEEDED", "one call of the engine has too much in it");
}

/** The first of them, as far as their bytes fit into an answer; one at least. */
function withinBytes(records: readonly EngineRecord[]): readonly EngineRecord[] {
  let bytes = 0;
  const end = records.findIndex((record, i) => {
    bytes += record.bytes.length;
    return i > 0 && bytes > LIMITS.engineBytes;
  });
  return end === -1 ? records : records.slice(0, end);
}

/** An engine on `data`, with the time of `clock`. */
export function createMemoryEngine(data: MemoryEngineData, clock: Clock): Engine {
  return new MemoryEngine(data, clock);
}

class MemoryEngine implements Engine {
  readonly #data: MemoryEngineData;
  readonly #clock: Clock;
  #closed = false;

  constructor(data: MemoryEngineData, clock: Clock) {
    this.#data = data;
    this.#clock = clock;
  }

  #of(space: SpaceId): Contents {
    if (this.#closed) throw new MeshError("CLOSED", "the engine is closed");
    return this.#data.of(space);
  }

  async append(space: SpaceId, entries: readonly EngineEntry[]): Promise<readonly number[]> {
    const { log, positions } = this.#of(space);
    checkSize(
      entries.length,
      entries.reduce((sum, { bytes }) => sum + bytes.length, 0),
    );
    return entries.map(({ kind, id, bytes }) => {
      const known = positions.get(toHex(id));
      if (known !== undefined) return known;
      const position = log.length + 1;
      log.push({ position, kind, id: copyOf(id), bytes: copyOf(bytes) });
      positions.set(toHex(id), position);
      return position;
    });
  }

  async appendUnless(
    space: SpaceId,
    entries: readonly EngineEntry[],
    after: number,
    isAgainst: (record: EngineRecord) => boolean,
  ): Promise<readonly number[] | undefined> {
    const { log, positions } = this.#of(space);
    const isThere = entries.every(({ id }) => positions.has(toHex(id)));
    const behind = await this.read(space, after, LIMITS.engineEntries);
    const isAll = after + behind.length === log.length;
    if (!isThere && (!isAll || behind.some(isAgainst))) return undefined;
    return this.append(space, entries);
  }

  async read(space: SpaceId, after: number, limit: number): Promise<readonly EngineRecord[]> {
    const { log } = this.#of(space);
    const page = log.slice(after, after + Math.min(limit, LIMITS.engineEntries));
    return withinBytes(page).map((record) => ({
      ...record,
      id: copyOf(record.id),
      bytes: copyOf(record.bytes),
    }));
  }

  async find(space: SpaceId, ids: readonly Uint8Array[]): Promise<readonly EngineRecord[]> {
    const { log, positions } = this.#of(space);
    if (ids.length > LIMITS.engineFinds) {
      throw new MeshError("LIMIT_EXCEEDED", "one call of the engine has too many ids");
    }
    const where = new Set(ids.map((id) => positions.get(toHex(id)) ?? 0));
    const records = log.filter(({ position }) => where.has(position));
    return withinBytes(records).map((record) => ({ ...record }));
  }

  async head(space: SpaceId): Promise<number> {
    return this.#of(space).log.length;
  }

  async acquire(space: SpaceId, holder: string, termMs: number): Promise<Lease | undefined> {
    const contents = this.#of(space);
    if (holder.length === 0 || holder.length > LIMITS.engineHolder) {
      throw new MeshError("INPUT_INVALID", "a holder has 1 to 128 characters", { field: "holder" });
    }
    const { lease } = contents;
    const nowMs = this.#clock.now();
    const isRunning = lease.endsAt > nowMs;
    if (isRunning && lease.holder !== holder) return undefined;
    const epoch = isRunning ? lease.epoch : lease.epoch + 1;
    contents.lease = { holder, epoch, endsAt: nowMs + termMs };
    return { epoch, remainingMs: termMs };
  }

  #holds({ lease }: Contents, fence: Fence): boolean {
    return (
      lease.holder === fence.holder &&
      lease.epoch === fence.epoch &&
      lease.endsAt > this.#clock.now()
    );
  }

  async release(space: SpaceId, fence: Fence): Promise<void> {
    const contents = this.#of(space);
    if (this.#holds(contents, fence)) contents.lease.endsAt = this.#clock.now();
  }

  async write(space: SpaceId, fence: Fence, { changes, expect }: EngineWrite): Promise<void> {
    const contents = this.#of(space);
    checkSize(
      changes.length,
      changes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0),
    );
    if (!this.#holds(contents, fence)) throw new MeshError("ENGINE_FENCED", "the lease has ended");
    for (const { key, value } of expect ?? []) {
      const found = contents.shared.get(key)?.value;
      const isSame =
        found === undefined || value === undefined
          ? found === value
          : Buffer.compare(found, value) === 0;
      if (!isSame) throw new MeshError("ENGINE_FENCED", "what is there is not what was expected");
    }
    contents.shared.apply(
      changes.map(({ key, value }) => ({
        key: copyOf(key),
        ...(value === undefined ? {} : { value: copyOf(value) }),
      })),
    );
  }

  async get(space: SpaceId, key: Uint8Array): Promise<Uint8Array | undefined> {
    const found = this.#of(space).shared.get(key);
    return found && copyOf(found.value);
  }

  async *scan(
    space: SpaceId,
    range: StoreRange,
  ): AsyncGenerator<readonly [key: Uint8Array, value: Uint8Array]> {
    for (const { key, value } of this.#of(space).shared.range(range)) {
      yield [copyOf(key), copyOf(value)];
    }
  }

  async now(): Promise<number> {
    if (this.#closed) throw new MeshError("CLOSED", "the engine is closed");
    return this.#clock.now();
  }

  async close(): Promise<void> {
    this.#closed = true;
  }
}
