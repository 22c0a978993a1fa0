// SPDX-License-Identifier: Apache-2.0
/** A report for a terminal. */
import { canonicalJson } from "@ctxmesh/codec";
import { showTime } from "../scenario/units.ts";
import { headlinesOf, sectionsOf } from "./figures.ts";
import type { Section } from "./figures.ts";
import type { ContestedFact, ScenarioReport } from "./report.ts";

/** Contested facts with their candidates; the others are in `--json` and the page. */
const MOST_FACTS = 5;
const LONGEST_VALUE = 60;
const WIDTH = 100;

/** How headings, what is wrong, and what comes from the scenario are shown. */
export interface TextStyle {
  readonly heading: (text: string) => string;
  readonly bad: (text: string) => string;
  /** Escapes what a terminal would take as more than text. */
  readonly plain: (text: string) => string;
}

const PLAIN: TextStyle = {
  heading: (text) => text,
  bad: (text) => text,
  plain: (text) => text,
};

/** Words in lines of a bounded width. */
function wrapped(text: string): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/u)) {
    const last = lines.at(-1);
    if (last === undefined || last.length + word.length + 1 > WIDTH) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** Rows as columns; figures stand to the right. */
function columns(rows: readonly (readonly string[])[], figuresFrom: number): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return rows.map((row) =>
    `  ${row
      .map((cell, i) =>
        i >= figuresFrom ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
      )
      .join("  ")}`.trimEnd(),
  );
}

function sectionLines(
  { title, head, figuresFrom, rows, none }: Section,
  style: TextStyle,
): readonly string[] {
  const shown = rows.map((row) => row.map(style.plain));
  const body = rows.length === 0 ? [`  ${none}`] : columns([head, ...shown], figuresFrom);
  return ["", style.heading(title), ...body];
}

/** By the clocks, which may have been set back since. */
export const ageOf = (ms: number): string =>
  ms < 0 ? `${showTime(-ms)} ahead` : `${showTime(ms)} old`;

const valueOf = (value: ContestedFact["value"] | undefined): string => {
  if (value === undefined) return "(deleted)";
  const text = canonicalJson(value);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE - 3)}...` : text;
};

function contestedLines({ contested }: ScenarioReport, style: TextStyle): readonly string[] {
  const facts = contested.shown.slice(0, MOST_FACTS);
  if (facts.length === 0) return [];
  const rows = facts.flatMap(({ doc, key, candidates }) =>
    candidates
      .filter(({ standing }) => standing === "shown" || standing === "undominated")
      .map(({ node, value, standing, ageMs, confidence }, i) =>
        [
          i === 0 ? `${doc} ${key}` : "",
          node,
          valueOf(value),
          standing,
          confidence === undefined ? "" : `confidence ${String(confidence)}`,
          ageOf(ageMs),
        ].map(style.plain),
      ),
  );
  const more = contested.atEnd - facts.length;
  return [
    "",
    style.heading("Contested facts at the end"),
    ...columns(rows, 9),
    ...(more > 0 ? [`  and ${String(more)} more`] : []),
  ];
}

/** The report as lines of text, without a newline at the end. */
export function renderReportText(report: ScenarioReport, style: TextStyle = PLAIN): string {
  const { name, description, seed, durationMs, nodes, invariants } = report;
  const headlines = headlinesOf(report).map(({ label, value, detail, isBad }) => [
    label,
    value,
    isBad ? style.bad(style.plain(detail)) : style.plain(detail),
  ]);
  const lines = [
    style.heading(style.plain(name)),
    ...(description === "" ? [] : wrapped(description).map(style.plain)),
    `${showTime(durationMs)} of ${String(nodes.length)} nodes, seed ${String(seed)}`,
    "",
    ...columns(headlines, 9),
    ...invariants.violations.map(
      ({ name: checker, atMs, message }) =>
        `  ${style.bad("violated")} ${style.plain(checker)} at ${showTime(atMs)}: ${style.plain(message)}`,
    ),
    ...sectionsOf(report).flatMap((section) => sectionLines(section, style)),
    ...contestedLines(report, style),
    "",
    `trace ${report.traceHash}`,
  ];
  return lines.join("\n");
}
