// SPDX-License-Identifier: Apache-2.0
import { MeshError, formatInstant, hlcToMs } from "@ctxmesh/model";
import type { HistoryEntry, KeyHistory } from "@ctxmesh/model";
import { createOutput, formatTable, originOf, printable, shortId, shorten } from "../output.ts";
import type { Output } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh history`. */
export interface HistoryCommandOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly limit?: number;
  readonly before?: string;
}

const MAX_VALUE_LENGTH = 60;
const HEAD = ["time", "writer", "value", "confidence", "source", "counts"];

/** Prints a page of what was said about a key, newest first. Throws `NOT_FOUND` when nobody has said anything. */
export async function runHistory(
  doc: string,
  key: string,
  { socket, json, ...query }: HistoryCommandOptions,
): Promise<void> {
  const output = createOutput({ json });
  const history = await withClient(socket, "agent", (client) => client.history(doc, key, query));
  if (history.entries.length === 0 && query.before === undefined) throw nothing(doc, key, history);
  if (output.json) await output.line(JSON.stringify(history));
  else await printHistory(output, history);
}

function nothing(doc: string, key: string, { reachesBack }: KeyHistory): MeshError {
  const since = reachesBack === "all" ? "" : ` since ${formatInstant(reachesBack.sinceMs)}`;
  return new MeshError(
    "NOT_FOUND",
    `nobody has said anything about ${JSON.stringify(key)}${since}`,
    {
      remedy: `ctxmesh ls ${doc} lists what there is`,
    },
  );
}

function saidIn(entry: HistoryEntry): string {
  if (entry.kind === "retraction") {
    const { writer, upTo, reason } = entry.retracts;
    const until = formatInstant(hlcToMs(upTo));
    return `(retracts ${shortId(writer)} up to ${until}: ${printable(reason)})`;
  }
  return entry.deleted
    ? "(deleted)"
    : shorten(printable(JSON.stringify(entry.value)), MAX_VALUE_LENGTH);
}

function rowOf(entry: HistoryEntry): string[] {
  const { hlc, writer, counts, reason = "" } = entry;
  const said = entry.kind === "statement" ? entry : {};
  return [
    formatInstant(hlcToMs(hlc)),
    shortId(writer),
    saidIn(entry),
    entry.kind === "statement" ? String(entry.confidence ?? 1) : "-",
    originOf(said) || "-",
    counts ? "yes" : `no: ${reason}`,
  ];
}

async function printHistory(
  output: Output,
  { entries, next, reachesBack }: KeyHistory,
): Promise<void> {
  const [head = "", ...lines] = formatTable([HEAD, ...entries.map(rowOf)]);
  await output.line(output.style("dim", head));
  for (const [index, text] of lines.entries()) {
    await output.line(entries[index]?.counts === true ? text : output.style("dim", text));
  }
  if (next !== undefined) {
    await output.line(`older ones: the same with --before ${next}`);
  } else if (reachesBack !== "all") {
    await output.line(`what was written before ${formatInstant(reachesBack.sinceMs)} is pruned`);
  }
}
