// SPDX-License-Identifier: Apache-2.0
/** What `ctxmesh top` shows, as lines that fit a terminal. */
import type { AckProgress, LinkReport, NodeStatus, VisibleFact } from "@ctxmesh/model";
import { counted, formatAge, formatTable, printable, shortId, shorten } from "./output.ts";
import type { Style } from "./output.ts";
import { formatBytes } from "./progress.ts";

/** What a frame is made of. */
export interface TopView {
  readonly status: NodeStatus;
  readonly links: readonly LinkReport[];
  /** The contested facts, as far as they were listed. */
  readonly contested: readonly VisibleFact[];
  /** Unix milliseconds. */
  readonly now: number;
}

/** A line, and the style of all of it. */
export interface FrameLine {
  readonly text: string;
  readonly style?: Style;
}

/** Columns and rows of a terminal. */
export interface FrameSize {
  readonly columns: number;
  readonly rows: number;
}

const MAX_VALUE_LENGTH = 40;
/** A title, headings, and one line between two parts. */
const PART_LINES = 3;

/** A frame: never more lines, nor longer ones, than there is room for. */
export function frameOf(view: TopView, { columns, rows }: FrameSize): readonly FrameLine[] {
  const head = headOf(view);
  const room = Math.max(0, rows - head.length - 2 * PART_LINES);
  const { links, contested } = view;
  // Peers get half of it, or what contested facts leave over.
  const peers = Math.max(Math.floor(room / 2), room - contested.length);
  const peerPart = partOf(
    `peers (${String(links.length)})`,
    PEER_HEADINGS,
    links.map(peerRow),
    peers,
  );
  const left = room - Math.min(links.length, peers);
  const factPart = partOf(
    `contested (${String(view.status.contested)})`,
    FACT_HEADINGS,
    contested.map(factRow),
    left,
  );
  return [...head, ...peerPart, ...factPart]
    .slice(0, rows)
    .map((line) => ({ ...line, text: shorten(line.text, Math.max(4, columns)) }));
}

function headOf({ status, now }: TopView): readonly FrameLine[] {
  const { service, device, spaceName, ready, propagation, acknowledged } = status;
  const lag =
    propagation.count === 0
      ? "nothing received yet"
      : `p50 ${String(propagation.p50Ms)} ms, p95 ${String(propagation.p95Ms)} ms, max ${String(propagation.maxMs)} ms`;
  const waiting =
    acknowledged === undefined
      ? ""
      : `; at a hub: ${waitingOf(acknowledged.hub)}; sealed: ${waitingOf(acknowledged.sealed)}`;
  return [
    {
      text: `${service} ${shortId(device)} of ${printable(spaceName)}, ${ready ? "ready" : "not ready"}, up ${formatAge(now - status.startedAt)}`,
      style: ready ? "green" : "red",
    },
    {
      text: `facts    ${String(status.facts)} in ${counted(status.documents, "document")}; ${String(status.written)} written here, ${String(status.applied)} received`,
    },
    { text: `lag      ${lag}${waiting}` },
    { text: "" },
  ];
}

const waitingOf = ({ waiting }: AckProgress): string =>
  waiting === undefined
    ? "all"
    : `${String(waiting.batches)} not yet, oldest ${formatAge(waiting.oldestMs)}`;

interface Row {
  readonly cells: readonly string[];
  readonly style?: Style;
}

/** A title and a table with so many rows; the last of them says how many there are besides. */
function partOf(
  title: string,
  headings: readonly string[],
  rows: readonly Row[],
  room: number,
): readonly FrameLine[] {
  const shown = rows.length > room ? rows.slice(0, Math.max(0, room - 1)) : rows;
  const table = formatTable([headings, ...shown.map(({ cells }) => cells)]);
  const lines = table.map((text, i): FrameLine => {
    const style = i === 0 ? "dim" : shown[i - 1]?.style;
    return style === undefined ? { text } : { text, style };
  });
  const more = rows.length - shown.length;
  return [
    { text: title, style: "bold" },
    ...(rows.length === 0 ? [{ text: "none" }] : lines),
    ...(more > 0 && room > 0 ? [{ text: `and ${String(more)} more` }] : []),
    { text: "" },
  ];
}

const PEER_HEADINGS = ["PEER", "STATE", "OUT", "IN", "QUEUED", "LATER", "DRAINED IN", "ADDRESS"];

function peerRow({ device, role, leaf, address, inSync, pulling, traffic }: LinkReport): Row {
  const { queue, deferred, drainMs } = traffic;
  const queued = Object.values(queue).reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    cells: [
      `${leaf === true ? "leaf" : role} ${shortId(device)}`,
      pulling ? "pulling" : inSync ? "in sync" : "behind",
      `${formatBytes(traffic.out.perSecond)}/s`,
      `${formatBytes(traffic.in.perSecond)}/s`,
      queued === 0 ? "-" : formatBytes(queued),
      deferred.bytes === 0 ? "-" : formatBytes(deferred.bytes),
      drainMs === 0 ? "-" : formatAge(drainMs),
      printable(address),
    ],
    style: inSync && !pulling ? "green" : "yellow",
  };
}

const FACT_HEADINGS = ["DOCUMENT", "KEY", "SHOWN", "BY", "WRITER", "AGE"];

const factRow = ({ doc, key, value, resolver, writer, ageMs }: VisibleFact): Row => ({
  cells: [
    printable(doc),
    printable(key),
    shorten(printable(JSON.stringify(value)), MAX_VALUE_LENGTH),
    resolver,
    shortId(writer),
    formatAge(ageMs),
  ],
  style: "yellow",
});
