// SPDX-License-Identifier: Apache-2.0
/** A report as one HTML page that needs nothing else: no script, no font, no image, no request. */
import { canonicalJson } from "@ctxmesh/codec";
import { showTime } from "../scenario/units.ts";
import { timelineSvg } from "./chart.ts";
import { headlinesOf, sectionsOf, showCount, showShare } from "./figures.ts";
import type { Section } from "./figures.ts";
import { element, escapeText, table } from "./markup.ts";
import type { ContestedFact, ScenarioReport } from "./report.ts";
import { STYLE } from "./style.ts";
import { ageOf } from "./text.ts";

/** Rows of the table that says what the timeline shows. */
const TABLE_ROWS = 24;
const LONGEST_VALUE = 120;

function tiles(report: ScenarioReport): string {
  const items = headlinesOf(report).map(({ label, value, detail, isBad }) =>
    element(
      "li",
      isBad ? { class: "bad" } : {},
      [
        element("span", { class: "label" }, escapeText(label)),
        element("span", { class: "value" }, escapeText(value)),
        element("span", { class: "detail" }, escapeText(detail)),
      ].join(" "),
    ),
  );
  return element("ul", { class: "tiles" }, items.join("\n"));
}

function section({ title, about, head, figuresFrom, rows, none }: Section): string {
  const cells = rows.map((row) =>
    row.map((cell, i) => (i >= figuresFrom ? { figure: cell } : cell)),
  );
  const content =
    rows.length === 0 ? element("p", {}, escapeText(none)) : table(title, head, cells);
  return [
    element("h2", {}, escapeText(title)),
    element("p", { class: "about" }, escapeText(about)),
    content,
  ].join("\n");
}

/** The greatest of the values of each of some equal parts of a series. */
function thinned(values: readonly (number | null)[], parts: number): readonly (number | null)[] {
  return Array.from({ length: parts }, (_, i) => {
    const from = Math.floor((i * values.length) / parts);
    const to = Math.floor(((i + 1) * values.length) / parts);
    return values
      .slice(from, to)
      .reduce<number | null>(
        (most, value) => (value === null ? most : Math.max(most ?? 0, value)),
        null,
      );
  });
}

/** The timeline for who would rather read it. */
function timelineTable({ timeline, durationMs }: ScenarioReport): string {
  const shown = (
    values: readonly (number | null)[],
    show: (value: number) => string,
  ): readonly string[] =>
    thinned(values, TABLE_ROWS).map((value) => (value === null ? "-" : show(value)));
  const columns = [
    ...timeline.links.map(({ name, down }) => [`${name}: down`, shown(down, showShare)] as const),
    ...timeline.readers.map(({ name, ms }) => [`${name}: stale`, shown(ms, showTime)] as const),
    ...timeline.backlog.map(
      ({ name, facts }) => [`${name}: not arrived`, shown(facts, showCount)] as const,
    ),
    ...timeline.contested.map(
      ({ name, facts }) => [`${name}: contested`, shown(facts, showCount)] as const,
    ),
  ];
  const rows = Array.from({ length: TABLE_ROWS }, (_, i) => [
    `from ${showTime((i * durationMs) / TABLE_ROWS)}`,
    ...columns.map(([, cells]) => ({ figure: cells[i] ?? "-" })),
  ]);
  const head = ["Time", ...columns.map(([name]) => name)];
  const summary = element("summary", {}, "The timeline as a table (greatest in each part)");
  return element("details", {}, summary + table("Timeline", head, rows));
}

const valueOf = (value: ContestedFact["value"] | undefined): string => {
  if (value === undefined) return "(deleted)";
  const text = canonicalJson(value);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE - 3)}...` : text;
};

function contestedFacts({ contested }: ScenarioReport): string {
  const rows = contested.shown.flatMap(({ doc, key, resolver, candidates }) =>
    candidates.map((candidate, i) => [
      i === 0 ? `${doc} ${key}` : "",
      i === 0 ? resolver : "",
      candidate.node,
      valueOf(candidate.value),
      candidate.standing,
      { figure: candidate.confidence === undefined ? "-" : String(candidate.confidence) },
      { figure: ageOf(candidate.ageMs) },
      candidate.source ?? "-",
    ]),
  );
  const head = ["Fact", "Resolver", "Said by", "Value", "Standing", "Confidence", "Age", "Source"];
  const left = contested.atEnd - contested.shown.length;
  return [
    element("h2", {}, "Contested facts at the end"),
    rows.length === 0
      ? element("p", {}, "None.")
      : element(
          "details",
          contested.shown.length <= 12 ? { open: "" } : {},
          element(
            "summary",
            {},
            `${showCount(contested.shown.length)} facts with their candidates`,
          ) + table("Contested facts", head, rows),
        ),
    left > 0 ? element("p", {}, `And ${showCount(left)} more.`) : "",
  ].join("\n");
}

function invariants({ invariants: { violations } }: ScenarioReport): string {
  if (violations.length === 0) return "";
  const items = violations.map(({ name, atMs, message }) =>
    element("li", { class: "violation" }, escapeText(`${name} at ${showTime(atMs)}: ${message}`)),
  );
  return element("h2", {}, "Violations") + element("ul", {}, items.join(""));
}

function events({ timeline }: ScenarioReport): string {
  if (timeline.events.length === 0) return "";
  const items = timeline.events.map(({ atMs, text }) =>
    element("li", {}, escapeText(`${showTime(atMs)}: ${text}`)),
  );
  return element("ol", { class: "events" }, items.join("\n"));
}

/** The page of a report. */
export function renderReportHtml(report: ScenarioReport): string {
  const { name, description, seed, durationMs, nodes, traceHash, convergence } = report;
  const meta = `Simulated ${showTime(durationMs)} of ${String(nodes.length)} nodes with seed ${String(seed)}.`;
  const body = [
    element("h1", {}, escapeText(name)),
    element("p", {}, escapeText(description)),
    element("p", { class: "meta" }, escapeText(meta)),
    tiles(report),
    invariants(report),
    element("h2", {}, "Timeline"),
    element("div", { class: "scroll" }, timelineSvg(report)),
    events(report),
    timelineTable(report),
    ...sectionsOf(report).map(section),
    contestedFacts(report),
    element("h2", {}, "Fingerprints"),
    element(
      "p",
      { class: "meta" },
      `Content at the end <code>${escapeText(convergence.digest)}</code><br>Trace of the run <code>${escapeText(traceHash)}</code>`,
    ),
  ];
  const policy = "default-src 'none'; style-src 'unsafe-inline'";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${element("meta", { "http-equiv": "Content-Security-Policy", content: policy })}
<title>${escapeText(name)}: simulation report</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${body.join("\n")}
</main>
</body>
</html>
`;
}
