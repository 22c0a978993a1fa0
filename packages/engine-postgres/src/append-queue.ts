// SPDX-License-Identifier: Apache-2.0
/** Appends that come while one is under way go together in the next transaction. */
import { LIMITS, fromHex, toHex } from "@ctxmesh/model";
import type { EngineEntry, EngineRecord, EngineRecordKind, SpaceId } from "@ctxmesh/model";
import { checkSize } from "./database.ts";
import type { Database, Query } from "./database.ts";

/** The kinds by their numbers in the table. */
export const KINDS: readonly EngineRecordKind[] = ["batch", "act", "proof", "header"];
const PARAMETERS_PER_ENTRY = 4;

interface Waiting {
  readonly entries: readonly EngineEntry[];
  readonly bytes: number;
  readonly done: PromiseWithResolvers<readonly number[]>;
}

const sizeOf = (entries: readonly EngineEntry[]): number =>
  entries.reduce((sum, { bytes }) => sum + bytes.length, 0);

/** The newest position of a space, whose row stays locked until the transaction ends: so positions become visible in their order. */
async function lockHead(query: Query, space: Uint8Array): Promise<number> {
  const select = "SELECT position FROM ctxmesh_head WHERE space = $1 FOR UPDATE";
  const rows = await query<{ position: string }>(select, [space]);
  if (rows[0] !== undefined) return Number(rows[0].position);
  await query("INSERT INTO ctxmesh_head VALUES ($1, 0) ON CONFLICT DO NOTHING", [space]);
  const [made] = await query<{ position: string }>(select, [space]);
  return Number(made?.position ?? 0);
}

async function positionsOf(
  query: Query,
  space: Uint8Array,
  entries: readonly EngineEntry[],
): Promise<Map<string, number>> {
  const ids = entries.map((_, i) => `$${String(i + 2)}`).join(", ");
  const rows = await query<{ id: Uint8Array; position: string }>(
    `SELECT id, position FROM ctxmesh_log WHERE space = $1 AND id IN (${ids})`,
    [space, ...entries.map(({ id }) => id)],
  );
  return new Map(rows.map(({ id, position }) => [toHex(id), Number(position)]));
}

async function insert(
  query: Query,
  space: Uint8Array,
  first: number,
  entries: readonly EngineEntry[],
): Promise<void> {
  const rows = entries.map((_, i) => {
    const at = PARAMETERS_PER_ENTRY * i + 2;
    return `($1, $${String(at)}, $${String(at + 1)}, $${String(at + 2)}, $${String(at + 3)})`;
  });
  const values = entries.flatMap(({ id, kind, bytes }, i) => [
    first + i,
    id,
    KINDS.indexOf(kind),
    bytes,
  ]);
  await query(
    `INSERT INTO ctxmesh_log (space, position, id, kind, bytes) VALUES ${rows.join(", ")}`,
    [space, ...values],
  );
  await query("UPDATE ctxmesh_head SET position = $2 WHERE space = $1", [
    space,
    first + entries.length - 1,
  ]);
}

/** Appends to the log of one space, one transaction at a time. */
export class AppendQueue {
  readonly #database: Database;
  readonly #space: Uint8Array;
  #waiting: Waiting[] = [];
  #isRunning = false;

  constructor(database: Database, space: SpaceId) {
    this.#database = database;
    this.#space = fromHex(space);
  }

  /** See `Engine.append`. */
  async append(entries: readonly EngineEntry[]): Promise<readonly number[]> {
    const bytes = sizeOf(entries);
    checkSize("records", entries.length, bytes);
    if (entries.length === 0) return [];
    const done = Promise.withResolvers<readonly number[]>();
    this.#waiting.push({ entries, bytes, done });
    if (!this.#isRunning) void this.#run();
    return done.promise;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    for (let group = this.#take(); group.length > 0; group = this.#take()) {
      try {
        const positions = await this.#write(group.flatMap(({ entries }) => entries));
        for (const { entries, done } of group) {
          done.resolve(entries.map(({ id }) => positions.get(toHex(id)) ?? 0));
        }
      } catch (error) {
        for (const { done } of group) done.reject(error);
      }
    }
    this.#isRunning = false;
  }

  /** As many of the waiting calls, from the front, as fit into one transaction. */
  #take(): Waiting[] {
    let count = 0;
    let bytes = 0;
    const end = this.#waiting.findIndex((call) => {
      count += call.entries.length;
      bytes += call.bytes;
      return count > LIMITS.engineEntries || bytes > LIMITS.engineBytes;
    });
    const group = end === -1 ? this.#waiting : this.#waiting.slice(0, end);
    this.#waiting = this.#waiting.slice(group.length);
    return group;
  }

  /** See `Engine.appendUnless`; `behind` reads what is behind the position with the statements of the transaction. */
  async appendUnless(
    entries: readonly EngineEntry[],
    after: number,
    behind: (query: Query) => Promise<readonly EngineRecord[]>,
    isAgainst: (record: EngineRecord) => boolean,
  ): Promise<readonly number[] | undefined> {
    checkSize("records", entries.length, sizeOf(entries));
    if (entries.length === 0) return [];
    const positions = await this.#write(entries, async (query, head) => {
      const records = head > after ? await behind(query) : [];
      return after + records.length === head && !records.some(isAgainst);
    });
    return positions && entries.map(({ id }) => positions.get(toHex(id)) ?? 0);
  }

  async #write(entries: readonly EngineEntry[]): Promise<ReadonlyMap<string, number>>;
  async #write(
    entries: readonly EngineEntry[],
    mayWrite: (query: Query, head: number) => Promise<boolean>,
  ): Promise<ReadonlyMap<string, number> | undefined>;
  async #write(
    entries: readonly EngineEntry[],
    mayWrite?: (query: Query, head: number) => Promise<boolean>,
  ): Promise<ReadonlyMap<string, number> | undefined> {
    const unique = [...new Map(entries.map((entry) => [toHex(entry.id), entry])).values()];
    return this.#database.transaction(async (query) => {
      const head = await lockHead(query, this.#space);
      const positions = await positionsOf(query, this.#space, unique);
      if (positions.size === unique.length) return positions;
      if (mayWrite !== undefined && !(await mayWrite(query, head))) return undefined;
      const fresh = unique.filter(({ id }) => !positions.has(toHex(id)));
      if (fresh.length > 0) await insert(query, this.#space, head + 1, fresh);
      for (const [i, { id }] of fresh.entries()) positions.set(toHex(id), head + 1 + i);
      return positions;
    });
  }
}
