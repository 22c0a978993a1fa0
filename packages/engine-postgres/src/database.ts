// SPDX-License-Identifier: Apache-2.0
/** Connections to the database: bounded in number and time. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { Pool } from "pg";
import type { PoolClient, QueryResultRow } from "pg";
import { asEngineError, isTransient } from "./failures.ts";

/** Connections of one hub. */
const CONNECTIONS = 8;
const CONNECT_MS = 2_000;
/** The server ends a statement after this long, and this end waits a little longer for it to say so. */
const STATEMENT_MS = 5_000;
const ANSWER_MS = 6_000;
/** A program that stops in the midst of a transaction keeps the rows it has locked from all others. */
const IDLE_IN_TRANSACTION_MS = 2_000;
const LOCK_MS = 4_000;
const TRIES = 8;

/** Runs one statement. */
export type Query = <Row extends QueryResultRow>(
  text: string,
  values?: readonly unknown[],
) => Promise<readonly Row[]>;

/** Host and port, without the password. Throws `CONFIG_INVALID`. */
export function serverOf(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw invalidUrl("it is not a URL");
  }
  if (!["postgres:", "postgresql:"].includes(parsed.protocol)) {
    throw invalidUrl(`it begins with ${parsed.protocol}`);
  }
  // Without slashes all of it is a path, and the server would be the default one.
  if (!url.slice(parsed.protocol.length).startsWith("//")) throw invalidUrl("it lacks //");
  // A socket's folder may stand for the host, as in postgres:///name?host=/run/postgresql.
  const host =
    parsed.hostname === "" ? (parsed.searchParams.get("host") ?? "localhost") : parsed.hostname;
  return `${host}:${parsed.port === "" ? (parsed.searchParams.get("port") ?? "5432") : parsed.port}`;
}

const invalidUrl = (problem: string): MeshError =>
  // The text itself may hold a password.
  new MeshError("CONFIG_INVALID", `the engine's address can't be used: ${problem}`, {
    field: "engine",
    remedy: "write it as postgres://user:password@host:5432/database",
  });

const ignore = (): void => undefined;

/** A database that engines of one hub ask. */
export class Database {
  readonly #pool: Pool;
  readonly #where: string;
  #closing: Promise<void> | undefined;

  /** Connects to nothing yet. Throws `CONFIG_INVALID`. */
  constructor({ url, password }: { readonly url: string; readonly password?: string }) {
    this.#where = serverOf(url);
    const parsed = new URL(url);
    if (password !== undefined) parsed.password = encodeURIComponent(password);
    this.#pool = new Pool({
      connectionString: parsed.href,
      max: CONNECTIONS,
      connectionTimeoutMillis: CONNECT_MS,
      statement_timeout: STATEMENT_MS,
      query_timeout: ANSWER_MS,
      lock_timeout: LOCK_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
      application_name: "ctxmesh",
      keepAlive: true,
    });
    // An idle connection that breaks is replaced when the next is needed; whoever needs it then hears why it can't be.
    this.#pool.on("error", ignore);
  }

  /** Runs one statement by itself. */
  readonly query: Query = async <Row extends QueryResultRow>(
    text: string,
    values: readonly unknown[] = [],
  ) =>
    this.#with(async (client) => {
      const { rows } = await client.query<Row>(text, [...values]);
      return rows;
    });

  /** Runs statements as one transaction, again from the start where others were in the way. */
  async transaction<Result>(run: (query: Query) => Promise<Result>): Promise<Result> {
    return this.#with(async (client) => {
      const query: Query = async <Row extends QueryResultRow>(
        text: string,
        values: readonly unknown[] = [],
      ) => {
        const { rows } = await client.query<Row>(text, [...values]);
        return rows;
      };
      for (let attempt = 1; ; attempt++) {
        try {
          await client.query("BEGIN");
          const result = await run(query);
          await client.query("COMMIT");
          return result;
        } catch (error) {
          const mayRetry = isTransient(error) && attempt < TRIES;
          if (mayRetry || error instanceof MeshError) await client.query("ROLLBACK");
          if (!mayRetry) throw error;
        }
      }
    });
  }

  /** Lends a connection, which is not used again once anything but a refusal of ours went wrong with it. */
  async #with<Result>(use: (client: PoolClient) => Promise<Result>): Promise<Result> {
    if (this.#closing !== undefined) throw new MeshError("CLOSED", "the engine is closed");
    try {
      const client = await this.#pool.connect();
      // One that breaks while it is lent says so through its queries, too.
      client.on("error", ignore);
      let isSound = false;
      try {
        const result = await use(client);
        isSound = true;
        return result;
      } catch (error) {
        isSound = error instanceof MeshError;
        throw error;
      } finally {
        client.off("error", ignore);
        client.release(!isSound);
      }
    } catch (error) {
      throw asEngineError(error, this.#where);
    }
  }

  /** Waits for what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#closing ??= this.#pool.end();
    await this.#closing;
  }
}

/** Throws `LIMIT_EXCEEDED` for a call with too much in it. */
export function checkSize(what: string, count: number, bytes: number): void {
  const over =
    count > LIMITS.engineEntries
      ? `${String(count)} ${what}, the limit is ${String(LIMITS.engineEntries)} (engineEntries)`
      : bytes > LIMITS.engineBytes
        ? `${String(bytes)} bytes of ${what}, the limit is ${String(LIMITS.engineBytes)} (engineBytes)`
        : undefined;
  if (over !== undefined)
    throw new MeshError("LIMIT_EXCEEDED", `one call of the engine has ${over}`);
}
