// SPDX-License-Identifier: Apache-2.0
/** What a benchmark reports, and how it is shown. */

/** One measured figure beside its baseline from the same run. */
export interface Figure {
  readonly figure: string;
  readonly value: number;
  /** Such as `ms`, `facts/s` or `%`. */
  readonly unit: string;
  /** Null where what it would have been measured on is not there. */
  readonly baseline: number | null;
  /** `value / baseline`. */
  readonly ratio: number | null;
  /** What the value has to reach, or stay below, in the same unit. Null as long as there is none. */
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
  /** 20 seconds at most instead of 90; `facts` and `store`: a minute instead of five; `mesh`: three instead of ten. */
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

/** A figure with a target, which the value has to reach when higher is better, and to stay below when lower is. */
export const aimed = (
  figure: string,
  { value, baseline }: { readonly value: number; readonly baseline: number | null },
  unit: string,
  better: Figure["better"],
  target: number | null,
): Figure => ({
  figure,
  value,
  unit,
  baseline,
  ratio: baseline === null ? null : value / baseline,
  target,
  better,
  holds: target === null ? null : better === "higher" ? value >= target : value < target,
});

/** A figure without a target. */
export const measured = (
  figure: string,
  pair: { readonly value: number; readonly baseline: number | null },
  unit: string,
  better: Figure["better"],
): Figure => aimed(figure, pair, unit, better, null);

const shown = (value: number): string =>
  value >= 1000
    ? Math.round(value).toLocaleString("en-US")
    : value.toFixed(value >= 100 ? 1 : value >= 10 ? 2 : 3);

/** Columns of numbers, which are set right. */
const NUMBERS = [1, 2, 4, 5];

/** The figures as one JSON object per line. */
export const toJsonLines = ({ figures }: Report): string =>
  figures.map((figure) => `${JSON.stringify(figure)}\n`).join("");

/** The figures as aligned text, and the notes below. */
export function toTable({ figures, notes }: Report): string {
  const rows = [
    ["figure", "value", "baseline", "unit", "ratio", "target", "better", "holds"],
    ...figures.map(({ figure, value, baseline, unit, ratio, target, better, holds }) => [
      figure,
      shown(value),
      baseline === null ? "" : shown(baseline),
      unit,
      ratio === null ? "" : `${ratio.toFixed(ratio < 0.1 ? 4 : 2)}x`,
      target === null ? "" : shown(target),
      better,
      holds === null ? "" : holds ? "yes" : "NO",
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
