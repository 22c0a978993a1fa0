// SPDX-License-Identifier: Apache-2.0
import type { VisibleFact } from "@ctxmesh/model";
import { createOutput, formatAge, formatTable, printable, shortId, shorten } from "../output.ts";
import type { Output } from "../output.ts";
import { withClient } from "../socket.ts";
import { levelOf } from "./levels.ts";
import type { LevelCommandOptions } from "./levels.ts";

/** Options of `ctxmesh ls`. */
export interface LsOptions extends LevelCommandOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly prefix?: string;
  readonly pattern?: string;
  readonly source?: string;
  readonly tag?: string;
}

const PAGE = 1_000;
/** The most that one answer over all documents can hold. */
const MAX_LISTED = 10_000;
const MAX_VALUE_LENGTH = 60;

/** Lists the facts of a document page by page, or of all documents in one answer. */
export async function runLs(doc: string | undefined, options: LsOptions): Promise<void> {
  const output = createOutput(options);
  const { prefix, pattern, source, tag } = options;
  const filters = {
    ...(prefix === undefined ? {} : { prefix }),
    ...(pattern === undefined ? {} : { pattern }),
    ...(source === undefined ? {} : { source }),
    ...(tag === undefined ? {} : { tag }),
    ...levelOf(options),
  };
  await withClient(options.socket, "agent", async (client) => {
    if (doc === undefined) {
      const facts = await client.list({ ...filters, limit: MAX_LISTED });
      await printFacts(output, facts);
      if (facts.length === MAX_LISTED) {
        process.stderr.write(
          `ctxmesh: stopped at ${String(MAX_LISTED)} facts; name a document to see all of it\n`,
        );
      }
      return;
    }
    let after: string | undefined;
    for (;;) {
      const page = await client.list({
        doc,
        ...filters,
        ...(after === undefined ? {} : { after }),
        limit: PAGE,
      });
      await printFacts(output, page);
      after = page.at(-1)?.key;
      if (page.length < PAGE) return;
    }
  });
}

async function printFacts(output: Output, facts: readonly VisibleFact[]): Promise<void> {
  if (output.json) {
    for (const fact of facts) await output.line(JSON.stringify(fact));
    return;
  }
  const rows = facts.map((fact) => [
    fact.doc,
    printable(fact.key),
    shorten(printable(JSON.stringify(fact.value)), MAX_VALUE_LENGTH),
    formatAge(fact.ageMs),
    shortId(fact.writer),
    fact.contested ? output.style("yellow", "contested") : "",
  ]);
  for (const text of formatTable(rows)) await output.line(text.trimEnd());
}
