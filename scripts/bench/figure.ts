// SPDX-License-Identifier: Apache-2.0
/** What a benchmark reports, and how it is shown. */

/** One measured figure beside its baseline from the same run. */
export interface Figure {
  readonly figure: string;
  readonly value: number;
  /** `ms`, `facts/s` or `%`. */
  readonly unit: string;
  readonly baseline: number;
  /** `value / baseline`. */
  readonly ratio: number;
  /** Null as long as there is none. */
  readonly target: number | null;
  readonly better: "higher" | "lower";
  /** Whether the target is reached; null without one. */
  readonly holds: boolean | null;
}

/** What one benchmark found. */
export interface Report {
  readonly figures: readonly Figure[];
  /** What the reader has to know to read the figures; for the table. */
  readonly notes: readonly string[];
}

/** What a benchmark is given. */
export interface BenchOptions {
  /** 20 seconds at most instead of 90. */
  readonly quick: boolean;
  /** Writes per second of the open-loop benchmarks. */
  readonly rates: readonly number[];
  /** Ends the run early, with everything cleaned up. */
  readonly signal: AbortSignal;
  /** Says what is being done. */
  readonly progress: (text: string) => void;
}

/** A benchmark. */
export interface Bench {
  /** One line for `--list`. */
  readonly summary: string;
  run(options: BenchOptions): Promise<Report>;
}

/** A figure without a target. */
export const measured = (
  figure: string,
  { value, baseline }: { readonly value: number; readonly baseline: number },
  unit: string,
  better: Figure["better"],
): Figure => ({
  figure,
  value,
  unit,
  baseline,
  ratio: value / baseline,
  target: null,
  better,
  holds: null,
});

const shown = (value: number): string =>
  value >= 1000
    ? Math.round(value).toLocaleString("en-US")
    : value.toFixed(value >= 100 ? 1 : value >= 10 ? 2 : 3);

/** Columns of numbers, which are set right. */
const NUMBERS = [1, 2, 4];

/** The figures as one JSON object per line. */
export const toJsonLines = ({ figures }: Report): string =>
  figures.map((figure) => `${JSON.stringify(figure)}\n`).join("");

/** The figures as aligned text, and the notes below. */
export function toTable({ figures, notes }: Report): string {
  const rows = [
    ["figure", "value", "baseline", "unit", "ratio", "better"],
    ...figures.map(({ figure, value, baseline, unit, ratio, better }) => [
      figure,
      shown(value),
      shown(baseline),
      unit,
      `${ratio.toFixed(2)}x`,
      better,
    ]),
  ];
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, column) =>
        NUMBERS.includes(column)
          ? cell.padStart(widths[column] ?? 0)
          : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  const [head = "", ...body] = lines;
  return `${[head, rule, ...body, "", ...notes.map((note) => `- ${note}`)].join("\n")}\n`;
}
