// SPDX-License-Identifier: Apache-2.0
/** The timeline of a report as one SVG: panels over one axis of time. */
import { showTime } from "../scenario/units.ts";
import { showCount, showShare } from "./figures.ts";
import { element, escapeText } from "./markup.ts";
import type { ScenarioReport, Timeline } from "./report.ts";

const WIDTH = 1_000;
/** Where the axis of time begins and ends. */
const LEFT = 170;
const RIGHT = 905;
const ROW = 18;
const CURVES = 150;
/** Colours of curves, by class. */
const COLOURS = 8;

/** Steps between marks of an axis of time. */
const STEPS = [
  1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000,
  14_400_000, 21_600_000, 43_200_000, 86_400_000, 172_800_000, 345_600_000,
];
/** Marks of an axis of staleness. */
const DELAYS = [1_000, 10_000, 60_000, 600_000, 3_600_000, 21_600_000, 86_400_000, 604_800_000];
/** What is less than this is drawn as nothing. */
const LEAST_DELAY_MS = 100;

interface Panel {
  readonly height: number;
  /** Drawn from y 0. */
  readonly svg: string;
}

type Scale = (value: number) => number;

const text = (x: number, y: number, content: string, name: string): string =>
  element("text", { x, y, class: name }, escapeText(content));

const line = (x1: number, y1: number, x2: number, y2: number, name: string): string =>
  element("line", { x1, y1, x2, y2, class: name });

const shortened = (name: string): string => (name.length > 24 ? `${name.slice(0, 22)}..` : name);

/** Runs of equal values: those that are not worth drawing are left out. */
function runs<T>(
  values: readonly T[],
  shown: (value: T) => boolean,
): readonly { readonly from: number; readonly to: number; readonly value: T }[] {
  const found: { from: number; to: number; value: T }[] = [];
  for (const [i, value] of values.entries()) {
    if (!shown(value)) continue;
    const last = found.at(-1);
    if (last !== undefined && last.to === i && last.value === value) last.to = i + 1;
    else found.push({ from: i, to: i + 1, value });
  }
  return found;
}

const xOf = (index: number, count: number): number => LEFT + ((RIGHT - LEFT) * index) / count;

/** A row of bars for each series, their strength from 0 to 1; null is a gap of its own look. */
function strips(
  title: string,
  rows: readonly {
    readonly name: string;
    readonly strength: readonly (number | null)[];
    readonly note: string;
  }[],
  name: string,
): Panel {
  const top = 26;
  const drawn = rows.map((row, i) => {
    const y = top + i * ROW;
    // Few shades, so that long runs are one bar.
    const shades = row.strength.map((value) =>
      value === null ? null : Math.ceil(value * 20) / 20,
    );
    const bars = runs(shades, (value) => value !== 0).map(({ from, to, value }) => {
      const x = xOf(from, shades.length);
      const width = xOf(to, shades.length) - x;
      const place = { x, y: y + 2, width, height: ROW - 5 };
      if (value === null) return element("rect", { ...place, class: "off" });
      return element("rect", {
        ...place,
        class: name,
        "fill-opacity": String(Number((0.2 + 0.8 * value).toFixed(2))),
      });
    });
    return [
      element("rect", { x: LEFT, y: y + 2, width: RIGHT - LEFT, height: ROW - 5, class: "track" }),
      ...bars,
      text(LEFT - 8, y + ROW - 6, shortened(row.name), "name"),
      text(RIGHT + 6, y + ROW - 6, row.note, "note"),
    ].join("");
  });
  return { height: top + rows.length * ROW, svg: text(0, 16, title, "title") + drawn.join("\n") };
}

/** A path through the values there are. */
function pathOf(values: readonly (number | null)[], y: Scale): string {
  const points: string[] = [];
  for (const [i, value] of values.entries()) {
    if (value === null) continue;
    const at = `${xOf(i + 0.5, values.length).toFixed(1)} ${y(value).toFixed(1)}`;
    points.push(`${points.length === 0 ? "M" : "L"}${at}`);
  }
  return points.join("");
}

interface Series {
  readonly name: string;
  readonly values: readonly (number | null)[];
}

/** Series that are the same all along, as one with all of their names. */
function merged(series: readonly Series[]): readonly Series[] {
  const found: { readonly names: string[]; readonly values: Series["values"] }[] = [];
  for (const { name, values } of series) {
    const same = found.find((one) => one.values.every((value, i) => value === values[i]));
    if (same === undefined) found.push({ names: [name], values });
    else same.names.push(name);
  }
  return found.map(({ names, values }) => ({ name: names.join(", "), values }));
}

/** Curves with a legend above them. */
function curves(
  title: string,
  all: readonly Series[],
  marks: readonly { readonly value: number; readonly label: string }[],
  scale: (height: number) => Scale,
): Panel {
  const series = merged(all);
  const perLine = 4;
  const legend = series.map(({ name }, i) => {
    const x = LEFT + (i % perLine) * 190;
    const y = 34 + Math.floor(i / perLine) * 16;
    return (
      line(x, y - 4, x + 18, y - 4, `curve c${String(i % COLOURS)}`) +
      text(x + 24, y, shortened(name), "legend")
    );
  });
  const top = 34 + Math.ceil(series.length / perLine) * 16;
  const up = scale(CURVES);
  const y: Scale = (value) => top + CURVES - up(value);
  const grid = marks.map(
    ({ value, label }) =>
      line(LEFT, y(value), RIGHT, y(value), "grid") + text(LEFT - 8, y(value) + 4, label, "name"),
  );
  const paths = series.map(({ name, values }, i) =>
    element(
      "path",
      { d: pathOf(values, y), class: `curve c${String(i % COLOURS)}` },
      element("title", {}, escapeText(name)),
    ),
  );
  const base = line(LEFT, top + CURVES, RIGHT, top + CURVES, "axis");
  return {
    height: top + CURVES + 4,
    svg: [text(0, 16, title, "title"), ...legend, ...grid, base, ...paths].join("\n"),
  };
}

const greatest = (values: readonly (number | null)[]): number =>
  values.reduce<number>((most, value) => Math.max(most, value ?? 0), 0);

function delays({ readers }: Timeline): Panel {
  const most = Math.max(10_000, ...readers.map(({ ms }) => greatest(ms)));
  const lowest = Math.log10(LEAST_DELAY_MS);
  const span = Math.log10(most) + 0.1 - lowest;
  const series = readers.map(({ name, ms }) => ({ name, values: ms }));
  const marks = DELAYS.filter((value) => value <= most * 1.2).map((value) => ({
    value,
    label: showTime(value),
  }));
  return curves(
    "Staleness of what was read (longest in each part, logarithmic)",
    series,
    [{ value: 0, label: "fresh" }, ...marks],
    (height) => (value) =>
      value <= LEAST_DELAY_MS ? 0 : ((Math.log10(value) - lowest) / span) * height,
  );
}

function contested({ contested: rows }: Timeline): Panel {
  const most = Math.max(4, ...rows.map(({ facts }) => greatest(facts)));
  const step =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000].find((size) => most / size <= 5) ??
    5_000;
  const marks = Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => ({
    value: i * step,
    label: String(i * step),
  }));
  return curves(
    "Contested facts",
    rows.map(({ name, facts }) => ({ name, values: facts })),
    marks,
    (height) => (value) => (value / (most * 1.05)) * height,
  );
}

function backlog({ backlog: rows }: Timeline): Panel {
  const most = Math.max(1, ...rows.map(({ facts }) => greatest(facts)));
  return strips(
    "Facts not yet arrived, by node (shade: logarithmic; hatched: not running)",
    rows.map(({ name, facts }) => ({
      name,
      strength: facts.map((value) =>
        value === null ? null : Math.log1p(value) / Math.log1p(most),
      ),
      note: `max ${showCount(greatest(facts))}`,
    })),
    "lack",
  );
}

function links({ links: rows }: Timeline): Panel {
  return strips(
    "Links (coloured: down; paler: part of its lines or of the time)",
    rows.map(({ name, down }) => ({
      name,
      strength: down,
      note: `${showShare(down.reduce((sum, share) => sum + share, 0) / down.length)} down`,
    })),
    "down",
  );
}

/** The axis of time, with lines through all panels above it. */
function axis(durationMs: number, height: number): string {
  const step = STEPS.find((size) => durationMs / size <= 12) ?? 604_800_000;
  const marks: string[] = [];
  for (let ms = 0; ms <= durationMs; ms += step) {
    const x = LEFT + ((RIGHT - LEFT) * ms) / durationMs;
    marks.push(
      line(x, 20, x, height, "grid"),
      text(x, height + 16, ms === 0 ? "0" : showTime(ms), "time"),
    );
  }
  return marks.join("");
}

function marksOf({ durationMs, timeline }: ScenarioReport, height: number): string {
  return timeline.events
    .map(({ atMs, text: what }, i) => {
      const x = LEFT + ((RIGHT - LEFT) * atMs) / durationMs;
      const number = element("text", { x, y: 13, class: "number" }, String(i + 1));
      const title = element("title", {}, escapeText(`${showTime(atMs)}: ${what}`));
      const circle = element("circle", { cx: x, cy: 9, r: 8, class: "mark" });
      return element("g", {}, title + line(x, 17, x, height, "event") + circle + number);
    })
    .join("");
}

function descriptionOf({ timeline, durationMs, nodes }: ScenarioReport): string {
  const down = timeline.links.map(({ name, down: shares }) => {
    const share = shares.reduce((sum, one) => sum + one, 0) / shares.length;
    return `${name} down ${showShare(share)} of the time`;
  });
  const stale = timeline.readers.map(
    ({ name, ms }) => `${name} at most ${showTime(greatest(ms))} stale`,
  );
  return `${showTime(durationMs)} of ${String(nodes.length)} nodes. ${[...down, ...stale].join("; ")}. The table below has the same figures.`;
}

/** The whole timeline; described for who can't see it. */
export function timelineSvg(report: ScenarioReport): string {
  const { timeline, name } = report;
  const panels = [
    links(timeline),
    ...(timeline.readers.length === 0 ? [] : [delays(timeline)]),
    backlog(timeline),
    contested(timeline),
  ];
  let y = 24;
  const drawn = panels.map(({ height, svg }) => {
    const group = element("g", { transform: `translate(0 ${String(y)})` }, svg);
    y += height + 18;
    return group;
  });
  const parts = [
    element("title", { id: "timeline-title" }, escapeText(`Timeline of ${name}`)),
    element("desc", { id: "timeline-desc" }, escapeText(descriptionOf(report))),
    HATCH,
    axis(report.durationMs, y),
    marksOf(report, y),
    ...drawn,
  ];
  return element(
    "svg",
    {
      viewBox: `0 0 ${String(WIDTH)} ${String(y + 26)}`,
      role: "img",
      "aria-labelledby": "timeline-title timeline-desc",
      class: "timeline",
    },
    parts.join("\n"),
  );
}

const HATCH = `<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2" height="6" class="hatch"/></pattern></defs>`;
