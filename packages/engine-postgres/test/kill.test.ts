// SPDX-License-Identifier: Apache-2.0
import { hash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { MeshError, parseSpaceId, toMeshError } from "@ctxmesh/model";
import type { Engine, EngineRecord, SpaceId } from "@ctxmesh/model";
import { openPostgresEngine } from "@ctxmesh/engine-postgres";
import { waitFor } from "@ctxmesh/testing";
import { PostgresServer, serverPrograms } from "./server.ts";

const programs = serverPrograms();
const KILLS = 4;
const WRITERS = 8;
const SLOW_MS = 60_000;
const WAIT_MS = 20_000;
const SPACE = parseSpaceId(hash("sha256", "kills"));

/** Whoever appends one record after the other, each until it is acknowledged. */
class Writer {
  /** What was acknowledged, by name, and where. */
  readonly acknowledged = new Map<string, number>();
  readonly #engine: Engine;
  readonly #name: string;

  constructor(engine: Engine, name: string) {
    this.#engine = engine;
    this.#name = name;
  }

  async run(isOver: () => boolean): Promise<void> {
    for (let i = 0; !isOver(); i++) {
      const text = `${this.#name} ${String(i)}`;
      const entry = {
        kind: "batch" as const,
        id: new Uint8Array(hash("sha256", text, "buffer")),
        bytes: new TextEncoder().encode(text),
      };
      await waitFor(
        async () => {
          const [position = 0] = (await this.#whileAway(this.#engine.append(SPACE, [entry]))) ?? [];
          if (position > 0) this.acknowledged.set(text, position);
          return position > 0;
        },
        { timeoutMs: WAIT_MS, what: "the server" },
      );
    }
  }

  /** An answer; none while the server is away. */
  async #whileAway<Answer>(asked: Promise<Answer>): Promise<Answer | undefined> {
    try {
      return await asked;
    } catch (error) {
      if (toMeshError(error).code !== "ENGINE_UNAVAILABLE") throw error;
      return undefined;
    }
  }
}

async function all(engine: Engine, space: SpaceId): Promise<EngineRecord[]> {
  const found: EngineRecord[] = [];
  for (;;) {
    const page = await engine.read(space, found.length, 1_000);
    if (page.length === 0) return found;
    found.push(...page);
  }
}

const needs = programs === undefined ? " (skipped: no PostgreSQL server is installed)" : "";
describe.skipIf(programs === undefined)(`a server that is killed under load${needs}`, () => {
  test("loses nothing that it has acknowledged, and has no gap", { timeout: SLOW_MS }, async () => {
    await using server = await PostgresServer.start(programs ?? "");
    const engine = await openPostgresEngine({ url: server.url });
    let isOver = false;
    const writers = Array.from(
      { length: WRITERS },
      (_, i) => new Writer(engine, `writer ${String(i)}`),
    );
    const count = (): number => writers.reduce((sum, writer) => sum + writer.acknowledged.size, 0);
    const running = Promise.all(writers.map(async (writer) => writer.run(() => isOver)));
    for (let kill = 0; kill < KILLS; kill++) {
      const before = count();
      await waitFor(() => count() > before + 100, { timeoutMs: WAIT_MS, what: "writes" });
      await server.stop("SIGKILL");
      await server.resume();
    }
    isOver = true;
    await running;
    const records = await all(engine, SPACE);
    expect(records.map(({ position }) => position)).toEqual(records.map((_, i) => i + 1));
    const texts = records.map(({ bytes }) => new TextDecoder().decode(bytes));
    expect(new Set(texts).size).toBe(texts.length);
    for (const { acknowledged } of writers) {
      for (const [text, position] of acknowledged) expect(texts[position - 1]).toBe(text);
    }
    await engine.close();
  });

  test(
    "is said to be away within seconds, with where it was, and without the password",
    { timeout: SLOW_MS },
    async () => {
      await using server = await PostgresServer.start(programs ?? "");
      const engine = await openPostgresEngine({ url: server.url });
      await server.stop("SIGKILL");
      // The process of its connection may outlive the server for a moment.
      let failure: unknown;
      await waitFor(
        async () => {
          failure = await engine.head(SPACE).catch((error: unknown) => error);
          return failure instanceof MeshError;
        },
        { timeoutMs: WAIT_MS, what: "the failure" },
      );
      const { code, message } = toMeshError(failure);
      expect(code).toBe("ENGINE_UNAVAILABLE");
      expect(message).toMatch(/127\.0\.0\.1:\d+ failed/u);
      expect(message).not.toMatch(/secret-password/u);
      await server.resume();
      expect(await engine.head(SPACE)).toBe(0);
      await engine.close();
    },
  );

  test(
    "a holder that stops in the midst of a write does not keep others from the lease",
    { timeout: SLOW_MS },
    async () => {
      await using server = await PostgresServer.start(programs ?? "");
      const engine = await openPostgresEngine({ url: server.url });
      expect((await engine.acquire(SPACE, "hub-1", 300))?.epoch).toBe(1);
      const space = `decode('${SPACE}', 'hex')`;
      // What a hub that is stopped between two statements leaves behind: a transaction that has the row.
      const stuck = server.sql(
        `SET idle_in_transaction_session_timeout = 2000; BEGIN; SELECT 1 FROM ctxmesh_lease WHERE space = ${space} FOR UPDATE; SELECT pg_sleep(1); COMMIT`,
      );
      let taken: { readonly epoch: number } | undefined;
      await waitFor(
        async () => {
          taken = await engine.acquire(SPACE, "hub-2", 10_000);
          return taken !== undefined;
        },
        { timeoutMs: 5_000, what: "the lease" },
      );
      expect(taken?.epoch).toBe(2);
      await stuck;
      await engine.close();
    },
  );
});
