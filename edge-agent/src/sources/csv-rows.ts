// SPDX-License-Identifier: Apache-2.0
/** Rows of a CSV file (RFC 4180 fields, one line per row), streamed. */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { MeshError } from "@ctxmesh/model";
import { readLines } from "./lines.ts";
import type { Line } from "./lines.ts";

/** A row of the file. */
export interface CsvRow {
  readonly timestamp: string;
  /** One per value column. */
  readonly values: readonly number[];
}

const MAX_TIMESTAMP_LENGTH = 64;

/** The fields of one line (RFC 4180), or undefined for a misplaced or open quote. */
export function splitFields(line: string): readonly string[] | undefined {
  const fields: string[] = [];
  const field = /(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/uy;
  for (;;) {
    const found = field.exec(line);
    if (found === null) return undefined;
    fields.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? "");
    if (found[3] === "") return fields;
  }
}

const NUMBER = /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/u;

/** A row of `columns` value columns, or undefined when it is not one. */
export function parseRow(line: string | undefined, columns: number): CsvRow | undefined {
  const [timestamp, ...cells] = (line === undefined ? undefined : splitFields(line)) ?? [];
  if (timestamp === undefined || timestamp === "" || timestamp.length > MAX_TIMESTAMP_LENGTH) {
    return undefined;
  }
  if (cells.length !== columns || !cells.every((cell) => NUMBER.test(cell.trim())))
    return undefined;
  const values = cells.map(Number);
  return values.every(Number.isFinite) ? { timestamp, values } : undefined;
}

const linesOf = (path: string): AsyncGenerator<Line> => readLines(createReadStream(path));

/** The value columns of the header. Throws `FILE_UNAVAILABLE` or `CONFIG_INVALID`. */
export async function readColumns(path: string): Promise<readonly string[]> {
  try {
    const file = await open(path, "r");
    const isFile = (await file.stat()).isFile();
    await file.close();
    if (!isFile) throw new MeshError("FILE_UNAVAILABLE", `${path} is not a file`);
  } catch (error) {
    if (error instanceof MeshError) throw error;
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new MeshError("FILE_UNAVAILABLE", `can't read the CSV file ${path}: ${reason}`, {
      field: "path",
      remedy: "check the path and its permissions",
      cause: error,
    });
  }
  const first = await linesOf(path).next();
  const header = first.done === true ? undefined : first.value.text;
  const [timestamp, ...columns] = (header === undefined ? undefined : splitFields(header)) ?? [];
  const names = columns.map((column) => column.trim());
  const unique = new Set(names).size === names.length && !names.includes("");
  if (timestamp?.trim() !== "timestamp" || names.length === 0 || !unique) {
    throw new MeshError(
      "CONFIG_INVALID",
      `${path} does not start with a header "timestamp,<column>,..."`,
      { field: "path", remedy: 'name the first column "timestamp" and each other column once' },
    );
  }
  return names;
}

/** Rows in order, over and over with `loop`; bad ones are counted. */
export class RowReader {
  readonly #path: string;
  readonly #columns: number;
  readonly #loop: boolean;
  readonly #onBadRow: (line: number) => void;
  #lines: AsyncGenerator<Line> | undefined;
  #rowsThisPass = 0;

  constructor(path: string, columns: number, loop: boolean, onBadRow: (line: number) => void) {
    this.#path = path;
    this.#columns = columns;
    this.#loop = loop;
    this.#onBadRow = onBadRow;
  }

  /** The next row; undefined at the end, and when a whole pass had no row. */
  async next(): Promise<CsvRow | undefined> {
    for (;;) {
      this.#lines ??= linesOf(this.#path);
      const { done, value: line } = await this.#lines.next();
      if (done === true) {
        this.#lines = undefined;
        if (!this.#loop || this.#rowsThisPass === 0) return undefined;
        this.#rowsThisPass = 0;
        continue;
      }
      if (line.number === 1 || line.text === "") continue;
      const row = parseRow(line.text, this.#columns);
      if (row !== undefined) {
        this.#rowsThisPass++;
        return row;
      }
      this.#onBadRow(line.number);
    }
  }

  async close(): Promise<void> {
    await this.#lines?.return(undefined);
  }
}
