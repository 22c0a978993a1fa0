// SPDX-License-Identifier: Apache-2.0
/** The rows that `store` writes, and where it writes them: an agent's replica, or `level` itself. */
import { Level } from "level";
import type { FactInput } from "@ctxmesh/model";
import { NodeService, openReplica, systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger } from "@ctxmesh/testing";
import { fileKeyProvider } from "@ctxmesh/vault";
import type { BenchSpace } from "./space.ts";

/** Distinct values, so that compression finds what it would find in real readings. */
const VALUES = 10_007;

/** One write. */
export interface Row {
  readonly key: string;
  readonly value: FactInput["value"];
  /** The value's JSON text: the bytes that both sides store. */
  readonly json: string;
}

/** Writes rows of one document; resolves when they are durable. */
export type Put = (doc: string, rows: readonly Row[]) => Promise<unknown>;

/** A place to write to. Disposing it closes it. */
export interface Target extends AsyncDisposable {
  readonly put: Put;
}

const VALUE_TABLE: readonly Omit<Row, "key">[] = Array.from({ length: VALUES }, (_, i) => {
  const value = {
    celsius: Math.round((20 + Math.sin(i) * 9) * 1000) / 1000,
    id: ((i * 2_654_435_761) % 4_294_967_296).toString(16),
    sensor: `bearing-${String(i % 8)}`,
    status: i % 50 === 0 ? "warning" : "running",
    takenAt: 1_767_225_600_000 + i * 137,
    unit: "degC",
  };
  return { value, json: JSON.stringify(value) };
});

/** Rows in turn over `docs` documents, `keys` keys and all values. */
export class RowSource {
  readonly #docs: number;
  readonly #keys: number;
  #next = 0;

  constructor(docs: number, keys: number) {
    this.#docs = docs;
    this.#keys = keys;
  }

  /** The next `count` rows, which are of one document. */
  take(count: number): { readonly doc: string; readonly rows: readonly Row[] } {
    const doc = `bench/store-${String(Math.floor(this.#next / count) % this.#docs)}`;
    const rows = Array.from({ length: count }, () => {
      const { value, json } = VALUE_TABLE[this.#next % VALUES] ?? { value: null, json: "null" };
      return { key: `press-7/sensor-${String(this.#next++ % this.#keys)}`, value, json };
    });
    return { doc, rows };
  }
}

/** An agent's replica with its store in `folder`, encrypted with the key in the file `keyFile`, where one is given. */
export async function openAgent(
  { space, seeds }: BenchSpace,
  folder: string,
  keyFile?: string,
): Promise<Target> {
  await using stack = new AsyncDisposableStack();
  const protection =
    keyFile === undefined ? {} : { keyProvider: fileKeyProvider(keyFile, { create: true }) };
  const { replica } = await openReplica(
    { space, deviceSeed: seeds[0] ?? new Uint8Array(), storePath: folder, ...protection },
    { clock: systemClock, random: systemRandom, logger: silentLogger },
    stack,
  );
  const service = new NodeService({
    service: "agent",
    version: "0.0.0",
    replica,
    clock: systemClock,
    peers: () => [],
    addresses: () => [],
  });
  stack.defer(() => {
    service.close();
  });
  const open = stack.move();
  return {
    put: async (doc, rows) =>
      service.put(
        doc,
        rows.map(({ key, value }) => ({ key, value })),
      ),
    [Symbol.asyncDispose]: async () => open.disposeAsync(),
  };
}

/** `level` in `folder`; with `sync`, every write waits for the disk. */
export async function openRaw(folder: string, sync: boolean): Promise<Target> {
  const database = new Level(folder);
  await database.open();
  return {
    put: async (doc, rows) => {
      const [row] = rows;
      if (rows.length === 1 && row !== undefined) {
        return database.put(`${doc}/${row.key}`, row.json, { sync });
      }
      const puts = rows.map(({ key, json }) => ({
        type: "put" as const,
        key: `${doc}/${key}`,
        value: json,
      }));
      return database.batch(puts, { sync });
    },
    [Symbol.asyncDispose]: async () => database.close(),
  };
}
