// SPDX-License-Identifier: Apache-2.0
import { MeshError, hlcToMs } from "@ctxmesh/model";
import type { Candidate, VisibleFact } from "@ctxmesh/model";
import type { KeyCandidates } from "@ctxmesh/sdk";
import { createOutput, formatAge, formatTable, printable, shortId } from "../output.ts";
import type { Output } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh get`. */
export interface GetOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly all?: boolean;
}

/** Prints the visible fact, or with `--all` every candidate. Throws `NOT_FOUND`. */
export async function runGet(doc: string, key: string, options: GetOptions): Promise<void> {
  const output = createOutput(options);
  if (options.all === true) {
    const found = await withClient(options.socket, "agent", (client) =>
      client.candidates(doc, key),
    );
    if (found.candidates.length === 0) throw notFound(doc, key);
    if (output.json) await output.line(JSON.stringify(found));
    else await printCandidates(output, found);
    return;
  }
  const fact = await withClient(options.socket, "agent", (client) => client.get(doc, key));
  if (fact === undefined) throw notFound(doc, key);
  await output.line(output.json ? JSON.stringify(fact) : printable(JSON.stringify(fact.value)));
  if (!output.json && process.stdout.isTTY) {
    await output.line(output.style("dim", describe(fact)));
  }
}

const notFound = (doc: string, key: string): MeshError =>
  new MeshError("NOT_FOUND", `${doc} has no fact ${JSON.stringify(key)}`, {
    remedy: `ctxmesh ls ${doc} lists what there is`,
  });

const origin = ({ source }: Candidate | VisibleFact): string =>
  source === undefined
    ? ""
    : printable([source.model, source.version, source.instance].filter(Boolean).join(" "));

function describe(fact: VisibleFact): string {
  const parts = [`${formatAge(fact.ageMs)} old`, `writer ${shortId(fact.writer)}`];
  if (fact.confidence !== undefined) parts.push(`confidence ${String(fact.confidence)}`);
  if (fact.source !== undefined) parts.push(`source ${origin(fact)}`);
  if (fact.contested) parts.push("contested: --all shows every statement");
  return parts.join(", ");
}

const isWinner = (candidate: Candidate, fact: VisibleFact | undefined): boolean =>
  fact !== undefined && candidate.writer === fact.writer && candidate.hlc === fact.hlc;

async function printCandidates(output: Output, { fact, candidates }: KeyCandidates): Promise<void> {
  const nowMs = Date.now();
  const rows = candidates.map((candidate) => [
    isWinner(candidate, fact) ? "->" : "  ",
    candidate.deleted ? "(deleted)" : printable(JSON.stringify(candidate.value)),
    `confidence ${String(candidate.confidence ?? 1)}`,
    `${formatAge(nowMs - hlcToMs(candidate.hlc))} old`,
    `writer ${shortId(candidate.writer)}`,
    origin(candidate),
  ]);
  for (const [index, text] of formatTable(rows).entries()) {
    const candidate = candidates[index];
    const wins = candidate !== undefined && isWinner(candidate, fact);
    await output.line(wins ? output.style("green", text.trimEnd()) : text.trimEnd());
  }
  const verdict =
    fact === undefined
      ? "nothing visible"
      : fact.contested
        ? output.style("yellow", "contested: statements that no other one outweighs differ")
        : "not contested";
  await output.line(verdict);
}
