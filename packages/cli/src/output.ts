// SPDX-License-Identifier: Apache-2.0
/** What commands print: results on stdout, errors on stderr, colours on terminals only. */
import { styleText } from "node:util";
import { MeshError } from "@ctxmesh/model";
import type { AckLevel, FactSource, WriteOptions } from "@ctxmesh/model";

/** The options of a command that writes. */
export interface AckOptions {
  readonly ack?: AckLevel;
  readonly ackTimeout?: string;
}

/** Styles in use. */
export type Style = "bold" | "dim" | "green" | "yellow" | "red";

/** Where a command writes. */
export interface Output {
  /** Whether `--json` was given. */
  readonly json: boolean;
  /** Whether stdout shows colours: a terminal, and no NO_COLOR. */
  readonly color: boolean;
  /** Writes a line; resolves when there is room for more. */
  line(text: string): Promise<void>;
  /** `text` in a style where stdout shows colours. */
  style(style: Style, text: string): string;
}

/** An output on the process's stdout. */
export function createOutput(options: { readonly json?: boolean | undefined }): Output {
  const { stdout } = process;
  const color = stdout.isTTY && stdout.hasColors();
  return {
    json: options.json === true,
    color,
    line(text) {
      if (stdout.write(`${text}\n`)) return Promise.resolve();
      return new Promise((resolve) => stdout.once("drain", resolve));
    },
    style: (style, text) => (color ? styleText(style, text, { validateStream: false }) : text),
  };
}

/** One JSON object with everything a script needs to know about an error. */
const errorJson = (error: MeshError): string =>
  JSON.stringify({
    error: {
      code: error.code,
      message: error.message,
      ...(error.field === undefined ? {} : { field: error.field }),
      ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
      exit: error.exitCode,
    },
  });

/** `ctxmesh: <what>; <remedy>`; several problems of one file get a line each. */
export function formatError(error: MeshError, json: boolean): string {
  if (json) return errorJson(error);
  const text = error.remedy === undefined ? error.message : `${error.message}; ${error.remedy}`;
  return text
    .split("\n")
    .map((line) => `ctxmesh: ${line}`)
    .join("\n");
}

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
] as const;

/** Milliseconds for people: `350 ms`, `2.0 s`, `5 m`. */
export function formatAge(ms: number): string {
  if (ms < 1_000) return `${String(Math.max(0, Math.round(ms)))} ms`;
  const [unit, size] = UNITS.find(([, length]) => ms >= length) ?? UNITS[3];
  return `${unit === "s" ? (ms / size).toFixed(1) : String(Math.floor(ms / size))} ${unit}`;
}

/** A moment for people, in UTC: `2026-01-31 14:05 UTC`. */
export const formatTime = (ms: number): string =>
  ms > MAX_DATE_MS
    ? "for ever"
    : `${new Date(ms)
        .toISOString()
        .replace(/:[0-9.]+Z$/u, "")
        .replace("T", " ")} UTC`;

/** The last moment that a Date can hold (ECMA-262, 21.4.1.1). */
const MAX_DATE_MS = 8.64e15;

/** Parses `500ms`, `30s`, `10m`, `2h`, `7d` as milliseconds. Throws `USAGE`. */
export function parseDuration(text: string): number {
  const [, count, unit] = /^([0-9]{1,9})(ms|s|m|h|d)$/u.exec(text) ?? [];
  if (count === undefined || Number(count) === 0) {
    throw new MeshError("USAGE", `${JSON.stringify(text)} is not a duration`, {
      remedy: "write it as 500ms, 30s, 10m, 2h or 7d",
    });
  }
  const size = UNITS.find(([name]) => name === unit)?.[1] ?? 1;
  return Number(count) * size;
}

/** What the options `--ack` and `--ack-timeout` ask for. Throws `USAGE`. */
export const ackOptionsOf = ({ ack, ackTimeout }: AckOptions): WriteOptions => ({
  ...(ack === undefined ? {} : { ack }),
  ...(ackTimeout === undefined ? {} : { timeoutMs: parseDuration(ackTimeout) }),
});

/** Rows as aligned columns; the last column is not padded. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, cell.length);
    }
  }
  return rows.map((row) =>
    row
      .map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0)))
      .join("  "),
  );
}

/** `text` cut to so many characters, with dots for what is missing. */
export const shorten = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length - 3)}...` : text;

/** A number with its noun. */
export const counted = (n: number, noun: string, plural: string = `${noun}s`): string =>
  `${String(n)} ${n === 1 ? noun : plural}`;

/** A device key or hash, short enough to read. */
export const shortId = (id: string): string => id.slice(0, 8);

/** Control and direction characters: facts of others must not drive the terminal. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** Text from other devices with its control characters shown as escapes. */
export const printable = (text: string): string =>
  text.replaceAll(UNSAFE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Where a fact came from: model, version and instance; empty when it does not say. */
export const originOf = ({ source }: { readonly source?: FactSource }): string =>
  source === undefined
    ? ""
    : printable([source.model, source.version, source.instance].filter(Boolean).join(" "));
