// SPDX-License-Identifier: Apache-2.0
/** The report's figures as words and rows, the same for text and page. */
import { showBytes, showTime } from "../scenario/units.ts";
import type { ScenarioReport, Spread } from "./report.ts";

/** Rows under a heading. */
export interface Section {
  readonly title: string;
  /** What the figures mean, in a sentence or two. */
  readonly about: string;
  readonly head: readonly string[];
  /** Index of the first column of figures. */
  readonly figuresFrom: number;
  readonly rows: readonly (readonly string[])[];
  /** What is said when there are no rows. */
  readonly none: string;
}

/** `-` for what was not measured. */
const ms = (value: number | undefined): string => (value === undefined ? "-" : showTime(value));

const spreadOf = ({ p50Ms, p95Ms, maxMs }: Spread): readonly string[] =>
  [p50Ms, p95Ms, maxMs].map(ms);

/** A share as a percentage that is 0 or 100 only when it is. */
export function showShare(share: number): string {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${String(Number((share * 100).toFixed(1)))} %`;
}

/** A number with spaces between thousands. */
export const showCount = (count: number): string =>
  String(count).replaceAll(/\B(?=(?:[0-9]{3})+$)/gu, "\u202f");

function propagation({ propagation: rows }: ScenarioReport): Section {
  return {
    title: "Propagation",
    about:
      "From being durable at the writer to being visible at a node of the other place; a fact counts once for each node there.",
    head: ["From", "To", "Facts", "p50", "p95", "Max", "Not arrived"],
    figuresFrom: 2,
    rows: rows.map((row) => [
      row.from,
      row.to,
      showCount(row.count),
      ...spreadOf(row),
      showCount(row.missing),
    ]),
    none: "Nothing was written.",
  };
}

function readers({ readers: rows }: ScenarioReport): Section {
  return {
    title: "Staleness seen by readers",
    about:
      "For how long a newer statement than the newest one at the reader's node had existed somewhere when it looked; 0 when there was none. Time-weighted over keys and looks. Fresh: share of the time in which nothing it read was stale.",
    head: ["Reader", "At", "Looks", "p50", "p95", "Max", "Fresh", "Contested reads", "No answer"],
    figuresFrom: 2,
    rows: rows.map((row) => [
      row.name,
      row.node,
      showCount(row.looks),
      ...spreadOf(row),
      showShare(row.freshShare),
      showShare(row.contestedShare),
      showCount(row.unanswered),
    ]),
    none: "The scenario has no readers.",
  };
}

const LEVELS = {
  local: "local: durable at the agent",
  hub: "hub: durable at a hub",
  sealed: "sealed: covered by a seal",
} as const;

function acknowledged({ writes }: ScenarioReport): Section {
  return {
    title: "Acknowledged writes",
    about:
      "How long facts waited for each level; local from the call, the others from being durable at the agent.",
    head: ["Level", "Facts", "p50", "p95", "Max", "Still waiting"],
    figuresFrom: 1,
    rows: writes.acknowledged.map((row) => [
      LEVELS[row.level],
      showCount(row.count),
      ...spreadOf(row),
      showCount(row.waiting),
    ]),
    none: "Nothing was written.",
  };
}

function rules({ contested }: ScenarioReport): Section {
  return {
    title: "Contested facts by resolver",
    about:
      "At the end. A fact is contested when statements that nothing makes irrelevant say different things, and the resolver had to pick.",
    head: ["Keys", "Resolver", "Facts", "Contested"],
    figuresFrom: 2,
    rows: contested.byRule.map(({ prefix, resolver, facts, contested: count }) => [
      prefix === "" ? "all others" : `${prefix}...`,
      resolver,
      showCount(facts),
      showCount(count),
    ]),
    none: "There are no facts.",
  };
}

function links({ links: rows }: ScenarioReport): Section {
  return {
    title: "Traffic",
    about: "Messages of the sync protocol that arrived, over all lines between two places.",
    head: [
      "Between",
      "And",
      "Lines",
      "Outages",
      "Down",
      "Messages",
      "Bytes to the first",
      "Bytes to the second",
    ],
    figuresFrom: 2,
    rows: rows.map(({ a, b, lines, outages, downShare, messages, bytesToA, bytesToB }) => [
      a,
      b,
      showCount(lines),
      showCount(outages),
      showShare(downShare),
      showCount(messages),
      showBytes(bytesToA),
      showBytes(bytesToB),
    ]),
    none: "There are no links.",
  };
}

function refused({ received, writes }: ScenarioReport): Section {
  const own = writes.refused.map(({ what, count }) => [`write refused: ${what}`, showCount(count)]);
  const down =
    writes.unavailable === 0
      ? []
      : [["write not possible: agent not running", showCount(writes.unavailable)]];
  return {
    title: "Accepted, held, refused",
    about: "What became of batches that nodes received, over all nodes, and of writes.",
    head: ["Outcome", "Times"],
    figuresFrom: 1,
    rows: [
      ...received.map(({ what, count }) => [`batch ${what}`, showCount(count)]),
      ...own,
      ...down,
    ],
    none: "Nothing was received.",
  };
}

/** All tables, in the order in which they are shown. */
export const sectionsOf = (report: ScenarioReport): readonly Section[] =>
  [readers, propagation, acknowledged, rules, links, refused].map((make) => make(report));

/** A figure that matters, and what it is. */
export interface Headline {
  readonly label: string;
  readonly value: string;
  readonly detail: string;
  readonly isBad: boolean;
}

function convergence({ convergence: { quietMs, tookMs, equal } }: ScenarioReport): Headline {
  if (!equal) {
    return {
      label: "Convergence",
      value: "no",
      detail: "nodes still differed at the end",
      isBad: true,
    };
  }
  if (quietMs === 0) {
    return {
      label: "Convergence",
      value: "yes",
      detail: "no outages; all nodes equal at the end",
      isBad: false,
    };
  }
  return {
    label: "Convergence",
    value: tookMs === undefined ? "yes" : showTime(tookMs),
    detail: `after the last outage or event, at ${showTime(quietMs)}; all nodes equal at the end`,
    isBad: false,
  };
}

function stalest({ readers: rows }: ScenarioReport): Headline {
  let worst: ScenarioReport["readers"][number] | undefined;
  for (const row of rows) {
    if (row.maxMs !== undefined && row.maxMs >= (worst?.maxMs ?? 0)) worst = row;
  }
  return {
    label: "Stalest read",
    value: ms(worst?.maxMs),
    detail: worst === undefined ? "nobody read" : `${worst.name} at ${worst.node}`,
    isBad: false,
  };
}

/** What a reader of the report wants to know first. */
export function headlinesOf(report: ScenarioReport): readonly Headline[] {
  const { writes, contested, links: rows, invariants } = report;
  const bytes = rows.reduce((sum, { bytesToA, bytesToB }) => sum + bytesToA + bytesToB, 0);
  const lost = report.propagation.reduce((sum, { missing }) => sum + missing, 0);
  const most = contested.most;
  const broken = invariants.violations.length;
  return [
    {
      label: "Facts written",
      value: showCount(writes.facts),
      detail: lost === 0 ? "all arrived everywhere" : `${showCount(lost)} did not arrive somewhere`,
      isBad: lost > 0,
    },
    convergence(report),
    stalest(report),
    {
      label: "Contested at the end",
      value: `${showCount(contested.atEnd)} of ${showCount(contested.facts)}`,
      detail:
        most === undefined
          ? "never any"
          : `most at once ${showCount(most.count)}, at ${most.node} after ${showTime(most.atMs)}`,
      isBad: false,
    },
    {
      label: "Traffic",
      value: showBytes(bytes),
      detail: `over ${showCount(rows.reduce((sum, { lines }) => sum + lines, 0))} lines`,
      isBad: false,
    },
    {
      label: "Invariants",
      value: broken === 0 ? "hold" : `${showCount(broken)} broken`,
      detail:
        invariants.checked.length === 0
          ? "convergence was checked"
          : `checked: ${invariants.checked.join(", ")}`,
      isBad: broken > 0,
    },
  ];
}
