// SPDX-License-Identifier: Apache-2.0
import { MeshError, formatInstant, hlcToMs } from "@ctxmesh/model";
import type { Candidate, ReadOrigin, VisibleFact } from "@ctxmesh/model";
import type { KeyCandidates } from "@ctxmesh/sdk";
import { describeStanding, explain } from "../explain.ts";
import { parseMoment } from "../moment.ts";
import {
  createOutput,
  formatAge,
  formatTable,
  originOf,
  printable,
  shortId,
  shorten,
} from "../output.ts";
import type { Output } from "../output.ts";
import { withClient } from "../socket.ts";
import { levelOf, originText } from "./levels.ts";
import type { LevelCommandOptions } from "./levels.ts";

/** Options of `ctxmesh get`. */
export interface GetOptions extends LevelCommandOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly all?: boolean;
  /** A moment in the past. */
  readonly at?: string;
  /** The token of a write that the answer must know of. */
  readonly after?: string;
}

/** Prints the visible fact, or with `--all` every candidate and why which is shown. Throws `NOT_FOUND`. */
export async function runGet(doc: string, key: string, options: GetOptions): Promise<void> {
  const output = createOutput(options);
  if (options.all === true) {
    const found = await withClient(options.socket, "agent", (client) =>
      client.candidates(doc, key),
    );
    if (found.candidates.length === 0) throw notFound(doc, key);
    const explained = { ...found, explanation: explain(found) };
    if (output.json) await output.line(JSON.stringify(explained));
    else await printCandidates(output, `${doc} ${printable(key)}`, explained);
    return;
  }
  const at = options.at === undefined ? undefined : parseMoment(options.at, Date.now());
  const past = {
    ...(at === undefined ? {} : { at }),
    ...levelOf(options),
    ...(options.after === undefined ? {} : { covers: options.after }),
  };
  const fact = await withClient(options.socket, "agent", (client) => client.get(doc, key, past));
  if (fact === undefined) throw at === undefined ? notFound(doc, key) : notFoundAt(doc, key, at);
  await output.line(output.json ? JSON.stringify(fact) : printable(JSON.stringify(fact.value)));
  if (!output.json && process.stdout.isTTY) {
    await output.line(output.style("dim", describe(fact, at)));
  }
}

const notFound = (doc: string, key: string): MeshError =>
  new MeshError("NOT_FOUND", `${doc} has no fact ${JSON.stringify(key)}`, {
    remedy: `ctxmesh ls ${doc} lists what there is`,
  });

const notFoundAt = (doc: string, key: string, at: number): MeshError =>
  new MeshError("NOT_FOUND", `${doc} had no fact ${JSON.stringify(key)} at ${formatInstant(at)}`, {
    remedy: `ctxmesh history ${doc} ${key} lists what was said about it`,
  });

/** `at` is the moment that was asked for, if any. */
function describe(fact: VisibleFact & Partial<ReadOrigin>, at: number | undefined): string {
  const age = `${formatAge(fact.ageMs)} old${at === undefined ? "" : ` at ${formatInstant(at)}`}`;
  const parts = [age, `writer ${shortId(fact.writer)}`];
  if (fact.confidence !== undefined) parts.push(`confidence ${String(fact.confidence)}`);
  if (fact.source !== undefined) parts.push(`source ${originOf(fact)}`);
  if (fact.contested) {
    parts.push(at === undefined ? "contested: --all shows every statement" : "contested");
  }
  const origin = originText(fact, Date.now());
  if (origin !== "") parts.push(origin);
  return parts.join(", ");
}

const MAX_VALUE_LENGTH = 60;
const HEAD = ["", "value", "confidence", "writer", "source", "age", "ttl left", "standing"];

function rowOf(candidate: Candidate, fact: VisibleFact | undefined, nowMs: number): string[] {
  const { value, deleted, confidence = 1, writer, hlc, ttlMs, standing } = candidate;
  const writtenMs = hlcToMs(hlc);
  return [
    standing === "shown" && !deleted ? "->" : "",
    deleted ? "(deleted)" : shorten(printable(JSON.stringify(value)), MAX_VALUE_LENGTH),
    String(confidence),
    shortId(writer),
    originOf(candidate) || "-",
    formatAge(nowMs - writtenMs),
    ttlMs === undefined ? "-" : formatAge(writtenMs + ttlMs - nowMs),
    describeStanding(candidate, fact),
  ];
}

async function printCandidates(
  output: Output,
  name: string,
  { fact, candidates, explanation }: KeyCandidates & { readonly explanation: string },
): Promise<void> {
  const nowMs = Date.now();
  const resolver = fact === undefined ? "" : `, resolver ${printable(fact.resolver)}`;
  const number = candidates.length;
  await output.line(`${name}: ${String(number)} statement${number === 1 ? "" : "s"}${resolver}`);
  const rows = candidates.map((candidate) => rowOf(candidate, fact, nowMs));
  const [head = "", ...lines] = formatTable([HEAD, ...rows]);
  await output.line(output.style("dim", head.trimEnd()));
  for (const [index, text] of lines.entries()) {
    const shown = candidates[index]?.standing === "shown";
    await output.line(shown ? output.style("green", text) : text);
  }
  await output.line(fact?.contested === true ? output.style("yellow", explanation) : explanation);
}
