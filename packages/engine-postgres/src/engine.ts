// SPDX-License-Identifier: Apache-2.0
/** The `Engine` port on PostgreSQL 13 or later, or what speaks its protocol: plain SQL, no LISTEN, no advisory lock, no extension. */
import { LIMITS, MeshError, fromHex } from "@ctxmesh/model";
import type {
  Engine,
  EngineEntry,
  EngineRecord,
  EngineWrite,
  Fence,
  Lease,
  SpaceId,
  StoreRange,
} from "@ctxmesh/model";
import { AppendQueue, KINDS } from "./append-queue.ts";
import { Database, checkSize } from "./database.ts";
import type { Query } from "./database.ts";
import { migrate } from "./schema.ts";

/** What a PostgreSQL engine is made of. */
export interface PostgresEngineOptions {
  /** `postgres://user:password@host:port/database`, with the parameters of libpq, such as `sslmode`. */
  readonly url: string;
  /** In place of one in the URL. */
  readonly password?: string;
}

/** Entries of the shared map in one answer of the database. */
const PAGE = 64;

/**
 * Connects, and makes the tables or brings them up to date. Throws `CONFIG_INVALID` for an address that is none, `ENGINE_UNAVAILABLE`,
 * and `STORE_FORMAT` when the tables are of a newer version.
 */
export async function openPostgresEngine(options: PostgresEngineOptions): Promise<Engine> {
  const database = new Database(options);
  try {
    await migrate(database);
  } catch (error) {
    await database.close();
    throw error;
  }
  return new PostgresEngine(database);
}

const sameBytes = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;

/** What the driver hands over is a view of what it has received. */
const copyOf = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes);

const fenced = (message: string): MeshError => new MeshError("ENGINE_FENCED", message);

/** A row of the log. */
interface Row {
  readonly position: string;
  readonly kind: number;
  readonly id: Uint8Array;
  readonly bytes: Uint8Array;
}

const recordOf = ({ position, kind, id, bytes }: Row): EngineRecord => ({
  position: Number(position),
  kind: KINDS[kind] ?? "batch",
  id: copyOf(id),
  bytes: copyOf(bytes),
});

class PostgresEngine implements Engine {
  readonly #database: Database;
  readonly #queues = new Map<SpaceId, AppendQueue>();

  constructor(database: Database) {
    this.#database = database;
  }

  #queue(space: SpaceId): AppendQueue {
    let queue = this.#queues.get(space);
    if (queue === undefined) {
      queue = new AppendQueue(this.#database, space);
      this.#queues.set(space, queue);
    }
    return queue;
  }

  async append(space: SpaceId, entries: readonly EngineEntry[]): Promise<readonly number[]> {
    return this.#queue(space).append(entries);
  }

  async appendUnless(
    space: SpaceId,
    entries: readonly EngineEntry[],
    after: number,
    isAgainst: (record: EngineRecord) => boolean,
  ): Promise<readonly number[] | undefined> {
    const behind = async (query: Query): Promise<readonly EngineRecord[]> =>
      readBehind(query, space, after, LIMITS.engineEntries);
    return this.#queue(space).appendUnless(entries, after, behind, isAgainst);
  }

  async read(space: SpaceId, after: number, limit: number): Promise<readonly EngineRecord[]> {
    return readBehind(this.#database.query, space, after, limit);
  }

  async find(space: SpaceId, ids: readonly Uint8Array[]): Promise<readonly EngineRecord[]> {
    if (ids.length > LIMITS.engineFinds) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `one call of the engine has ${String(ids.length)} ids, the limit is ${String(LIMITS.engineFinds)} (engineFinds)`,
      );
    }
    if (ids.length === 0) return [];
    const places = ids.map((_, i) => `$${String(i + 3)}`).join(", ");
    const rows = await this.#database.query<Row>(
      `SELECT position, kind, id, bytes FROM (
         SELECT position, kind, id, bytes, row_number() OVER (ORDER BY position) AS number,
                sum(octet_length(bytes)) OVER (ORDER BY position) AS total
         FROM ctxmesh_log WHERE space = $1 AND id IN (${places})
       ) AS summed
       WHERE total <= $2 OR number = 1 ORDER BY position`,
      [fromHex(space), LIMITS.engineBytes, ...ids],
    );
    return rows.map(recordOf);
  }

  async head(space: SpaceId): Promise<number> {
    const [row] = await this.#database.query<{ position: string }>(
      "SELECT position FROM ctxmesh_head WHERE space = $1",
      [fromHex(space)],
    );
    return Number(row?.position ?? 0);
  }

  async acquire(space: SpaceId, holder: string, termMs: number): Promise<Lease | undefined> {
    if (holder.length === 0 || holder.length > LIMITS.engineHolder) {
      throw new MeshError("INPUT_INVALID", "a holder has 1 to 128 characters", { field: "holder" });
    }
    const [row] = await this.#database.query<{ epoch: string; remaining: string }>(
      `INSERT INTO ctxmesh_lease AS lease (space, holder, epoch, ends_at)
       VALUES ($1, $2, 1, clock_timestamp() + $3 * INTERVAL '1 millisecond')
       ON CONFLICT (space) DO UPDATE SET
         epoch = CASE WHEN lease.holder = excluded.holder AND lease.ends_at > clock_timestamp()
                      THEN lease.epoch ELSE lease.epoch + 1 END,
         holder = excluded.holder,
         ends_at = clock_timestamp() + $3 * INTERVAL '1 millisecond'
       WHERE lease.holder = excluded.holder OR lease.ends_at <= clock_timestamp()
       RETURNING epoch, extract(epoch FROM ends_at - clock_timestamp()) * 1000 AS remaining`,
      [fromHex(space), holder, termMs],
    );
    return row && { epoch: Number(row.epoch), remainingMs: Number(row.remaining) };
  }

  async release(space: SpaceId, { holder, epoch }: Fence): Promise<void> {
    await this.#database.query(
      "UPDATE ctxmesh_lease SET ends_at = clock_timestamp() WHERE space = $1 AND holder = $2 AND epoch = $3",
      [fromHex(space), holder, epoch],
    );
  }

  async write(space: SpaceId, fence: Fence, write: EngineWrite): Promise<void> {
    const { changes, expect = [] } = write;
    const bytes = changes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    checkSize("changes", changes.length, bytes);
    const id = fromHex(space);
    await this.#database.transaction(async (query) => {
      // Its row stays locked: nobody takes over between this look and the end of the transaction.
      const held = await query(
        `SELECT 1 FROM ctxmesh_lease
         WHERE space = $1 AND holder = $2 AND epoch = $3 AND ends_at > clock_timestamp() FOR UPDATE`,
        [id, fence.holder, fence.epoch],
      );
      if (held.length === 0) throw fenced("the lease has ended, or another hub holds it");
      for (const { key, value } of expect) {
        if (sameBytes(await valueOf(query, id, key), value)) continue;
        throw fenced("what is there is not what was expected");
      }
      for (const { key, value } of changes) {
        await (value === undefined
          ? query("DELETE FROM ctxmesh_shared WHERE space = $1 AND key = $2", [id, key])
          : query(
              `INSERT INTO ctxmesh_shared VALUES ($1, $2, $3)
               ON CONFLICT (space, key) DO UPDATE SET value = excluded.value`,
              [id, key, value],
            ));
      }
    });
  }

  async get(space: SpaceId, key: Uint8Array): Promise<Uint8Array | undefined> {
    return valueOf(this.#database.query, fromHex(space), key);
  }

  async *scan(
    space: SpaceId,
    range: StoreRange,
  ): AsyncGenerator<readonly [key: Uint8Array, value: Uint8Array]> {
    const { reverse = false, limit = Number.POSITIVE_INFINITY } = range;
    let { gte, lt } = range;
    let isBeyond = false;
    for (let left = limit; left > 0;) {
      const from = isBeyond && !reverse ? ">" : ">=";
      const rows = await this.#database.query<{ key: Uint8Array; value: Uint8Array }>(
        `SELECT key, value FROM ctxmesh_shared WHERE space = $1 AND key ${from} $2 AND key < $3
         ORDER BY key ${reverse ? "DESC" : "ASC"} LIMIT $4`,
        [fromHex(space), gte, lt, Math.min(left, PAGE)],
      );
      for (const { key, value } of rows) yield [copyOf(key), copyOf(value)];
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE) return;
      left -= rows.length;
      isBeyond = true;
      if (reverse) lt = copyOf(last.key);
      else gte = copyOf(last.key);
    }
  }

  async now(): Promise<number> {
    const [row] = await this.#database.query<{ now: string }>(
      "SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now",
    );
    return Math.floor(Number(row?.now));
  }

  async close(): Promise<void> {
    await this.#database.close();
  }
}

async function readBehind(
  query: Query,
  space: SpaceId,
  after: number,
  limit: number,
): Promise<readonly EngineRecord[]> {
  const rows = await query<Row>(
    `SELECT position, kind, id, bytes FROM (
         SELECT position, kind, id, bytes,
                sum(octet_length(bytes)) OVER (ORDER BY position) AS total, $2::BIGINT + 1 AS first
         FROM (SELECT * FROM ctxmesh_log WHERE space = $1 AND position > $2 ORDER BY position LIMIT $3) AS page
       ) AS summed
       WHERE total <= $4 OR position = first ORDER BY position`,
    [fromHex(space), after, Math.min(limit, LIMITS.engineEntries), LIMITS.engineBytes],
  );
  return rows.map(recordOf);
}

async function valueOf(
  query: Query,
  space: Uint8Array,
  key: Uint8Array,
): Promise<Uint8Array | undefined> {
  const [row] = await query<{ value: Uint8Array }>(
    "SELECT value FROM ctxmesh_shared WHERE space = $1 AND key = $2",
    [space, key],
  );
  return row && copyOf(row.value);
}
