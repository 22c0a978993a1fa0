// SPDX-License-Identifier: Apache-2.0
/**
 * The `csv` source: replays a file with the header `timestamp,<column>,...` as the facts
 * `<name>/<column>` with the value `{timestamp, value}`, at `rate` rows per second. Rows that are
 * due together go out in one write. The file is streamed. Fields may be quoted (RFC 4180), but a
 * row is one line. A row with the wrong number of fields, no timestamp or a value that is no number
 * is counted and skipped; the first one is logged with its line number.
 */
import { basename } from "node:path";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { FactInput } from "@ctxmesh/model";
import { RowReader, readColumns } from "./csv-rows.ts";
import type { CsvRow } from "./csv-rows.ts";
import { Pacer } from "./pacer.ts";
import { createLoop, writeTurn } from "./source.ts";
import type { AlsoKey, CommonSourceOptions, Source, SourceDeps, WriteFacts } from "./source.ts";

/** Options of the `csv` source. */
export interface CsvSourceOptions extends CommonSourceOptions {
  readonly path: string;
  /** The first part of the keys; default: the file's name without `.csv`. */
  readonly name?: string;
  /** Default `telemetry`. */
  readonly doc?: string;
  /** Rows per second, default 1. */
  readonly rate?: number;
  /** Start again at the end of the file; default false. */
  readonly loop?: boolean;
  /** Confidence of the facts `<name>/<column>`, default 1. */
  readonly confidence?: number;
  /** Shared keys, written once per group of rows with the newest row; `from` names a column. */
  readonly also?: readonly AlsoKey[];
}

const SOURCE_VERSION = "1";
const RETRY_MS = 1_000;

function checkAlso(also: readonly AlsoKey[], columns: readonly string[], path: string): void {
  for (const { from } of also) {
    if (from === undefined || columns.includes(from)) continue;
    throw new MeshError("CONFIG_INVALID", `${path} has no column ${JSON.stringify(from)}`, {
      field: "also.from",
      remedy: `its columns are ${columns.join(", ")}`,
    });
  }
}

/**
 * Opens the file, reads its header and creates the source. Throws `FILE_UNAVAILABLE` when the file
 * can't be read, `CONFIG_INVALID` when its header is not that of such a file.
 */
export async function createCsvSource(
  options: CsvSourceOptions,
  deps: SourceDeps,
): Promise<Source> {
  const { path, doc = "telemetry", rate = 1, loop = false, confidence = 1, also = [] } = options;
  const name = options.name ?? basename(path, ".csv");
  const label = `csv:${name}`;
  const columns = await readColumns(path);
  checkAlso(also, columns, path);
  const maxRows = Math.max(1, Math.floor((LIMITS.factsPerWrite - also.length) / columns.length));
  const source = { model: "csv", version: SOURCE_VERSION, instance: basename(path) };
  const pacer = new Pacer(rate);
  let rows = 0;
  let badRows = 0;
  const reader = new RowReader(path, columns.length, loop, (line) => {
    if (badRows++ === 0) deps.logger.warn("source.bad-row", { source: label, path, line });
  });

  const write = async (group: readonly CsvRow[], put: WriteFacts): Promise<void> => {
    const newest = group.at(-1);
    if (newest === undefined) return;
    const facts = group.flatMap(({ timestamp, values }) =>
      values.map((value, index): FactInput => {
        const key = `${name}/${columns[index] ?? ""}`;
        return { key, value: { timestamp, value }, confidence, source };
      }),
    );
    await writeTurn(put, { doc, also, source }, facts, (from) => {
      const value = newest.values[from === undefined ? 0 : columns.indexOf(from)];
      return value === undefined ? undefined : { timestamp: newest.timestamp, value };
    });
    rows += group.length;
  };

  const turn = async (put: WriteFacts, signal: AbortSignal): Promise<number | undefined> => {
    const group: CsvRow[] = [];
    const due = Math.min(pacer.due(deps.clock.now()), maxRows);
    let ended = false;
    while (group.length < due && !signal.aborted) {
      const row = await reader.next();
      ended = row === undefined;
      if (row === undefined) break;
      group.push(row);
    }
    pacer.take(group.length);
    await write(group, put);
    if (!ended) return pacer.waitMs(deps.clock.now());
    deps.logger.info("source.finished", { source: label, rows, badRows });
    return undefined;
  };
  const running = createLoop(label, deps, turn, { ...options, retryMs: RETRY_MS });
  return {
    ...running,
    async stop() {
      await running.stop();
      await reader.close();
    },
  };
}
