// SPDX-License-Identifier: Apache-2.0
/**
 * `ctxmesh missing`: what a node leaves out. The file of `--proof` is JSON:
 *
 * ```
 * {"format": "ctxmesh-omissions/v1", "space": <64 hex digits>, "headers": [<CBOR [header, signature], base64>, ...]}
 * ```
 *
 * A header names each section's document, length and SHA-256, and is signed by its writer.
 */
import { MeshError } from "@ctxmesh/model";
import type { OmissionReport, OmittedSectionReport } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";
import { writeWhole } from "../files.ts";
import { counted, createOutput, formatTable, formatTime, shortId } from "../output.ts";
import type { Output } from "../output.ts";
import { formatBytes } from "../progress.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh missing`. */
export interface MissingOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly proof?: string;
}

const FORMAT = "ctxmesh-omissions/v1";

/** Lists what is left out. Throws `NOT_FOUND` when there is nothing to prove. */
export async function runMissing(
  doc: string | undefined,
  { socket, json, proof }: MissingOptions,
): Promise<void> {
  const output = createOutput({ json });
  const { report, space } = await withClient(socket, "agent", async (client) => ({
    report: await gather(client, doc, proof !== undefined),
    space: proof === undefined ? "" : (await client.membership()).space,
  }));
  if (proof !== undefined) await save(proof, space, report.sections);
  const told = report.sections.map(({ header: _header, ...section }) => section);
  if (output.json) await output.line(JSON.stringify({ ...report, sections: told }));
  else await print(report, doc, output);
  if (proof !== undefined && !output.json) await output.line(`wrote ${proof}`);
}

/** All pages; for a proof of everything, those of each document. */
async function gather(
  client: Pick<ContextClient, "omissions">,
  doc: string | undefined,
  proof: boolean,
): Promise<OmissionReport> {
  const report = await client.omissions(doc === undefined ? {} : { doc, proof });
  const docs = doc === undefined ? (proof ? report.documents.map((each) => each.doc) : []) : [doc];
  const sections = [...report.sections];
  let before = report.next;
  for (const name of docs) {
    const isBegun = name === doc;
    if (isBegun && before === undefined) continue;
    do {
      const page = await client.omissions({
        doc: name,
        proof,
        ...(before === undefined ? {} : { before }),
      });
      sections.push(...page.sections);
      before = page.next;
    } while (before !== undefined);
  }
  const { summary, documents } = report;
  return { summary, documents, sections };
}

async function save(
  file: string,
  space: string,
  sections: readonly OmittedSectionReport[],
): Promise<void> {
  const headers = [...new Set(sections.flatMap(({ header }) => header ?? []))];
  if (headers.length === 0) {
    throw new MeshError("NOT_FOUND", "nothing is left out that can be proven");
  }
  await writeWhole(file, `${JSON.stringify({ format: FORMAT, space, headers }, undefined, 2)}\n`, {
    field: "--proof",
    remedy: "name a folder that exists and that you may write to",
  });
}

async function print(
  { summary, documents, sections }: OmissionReport,
  doc: string | undefined,
  output: Output,
): Promise<void> {
  if (documents.length === 0) {
    await output.line(doc === undefined ? "nothing is left out" : `nothing of ${doc} is left out`);
    return;
  }
  const { subscription } = summary;
  if (subscription !== undefined) await output.line(`kept is ${subscription.join(" ")}`);
  const rows = documents.map((each) => [
    each.doc,
    counted(each.sections, "section"),
    formatBytes(each.bytes),
    each.rich ? "rich content closed" : "",
    each.pruned === 0 ? "" : `${String(each.pruned)} pruned`,
  ]);
  for (const text of formatTable(rows)) await output.line(text);
  const lines = sections.map((section) => [
    formatTime(section.writtenMs),
    shortId(section.device),
    section.kind,
    formatBytes(section.bytes),
    section.untilMs === undefined ? "" : `expires ${formatTime(section.untilMs)}`,
    section.hash,
  ]);
  for (const text of formatTable(lines)) await output.line(text);
}
