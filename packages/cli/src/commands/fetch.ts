// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import type { FetchReport } from "@ctxmesh/model";
import { counted, createOutput, shortId } from "../output.ts";
import { createProgress, formatBytes } from "../progress.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh fetch`. */
export interface FetchOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly key?: string;
}

const sections = (count: number): string => counted(count, "section");

/** Fetches what is left out of a document. Throws `UNREACHABLE` when some of it is not to be had from anybody who is connected. */
export async function runFetch(doc: string, { socket, json, key }: FetchOptions): Promise<void> {
  const output = createOutput({ json });
  const progress = createProgress();
  let sum: FetchReport = { filled: 0, bytes: 0, unwanted: 0, unavailable: 0, asked: [] };
  await withClient(socket, "agent", async (client) => {
    const what = { doc, ...(key === undefined ? {} : { key }) };
    for (let before: string | undefined; ;) {
      const report = await client.fetch({ ...what, ...(before === undefined ? {} : { before }) });
      sum = {
        filled: sum.filled + report.filled,
        bytes: sum.bytes + report.bytes,
        unwanted: sum.unwanted + report.unwanted,
        unavailable: sum.unavailable + report.unavailable,
        asked: [...new Set([...sum.asked, ...report.asked])],
      };
      progress.show(`${sections(sum.filled)}, ${formatBytes(sum.bytes)}`);
      before = report.next;
      if (before === undefined) break;
    }
  }).finally(() => {
    progress.clear();
  });
  if (output.json) await output.line(JSON.stringify({ doc, ...sum }));
  else {
    const other =
      sum.unwanted === 0 ? "" : `; ${sections(sum.unwanted)} without such a key stay left out`;
    await output.line(
      `fetched ${sections(sum.filled)} of ${doc}, ${formatBytes(sum.bytes)}${other}`,
    );
  }
  if (sum.unavailable > 0) throw unavailable(sum);
}

function unavailable({ unavailable: count, asked }: FetchReport): MeshError {
  const whom =
    asked.length === 0
      ? "no peer answered"
      : `not with ${asked.map(shortId).join(", ")}, who were asked`;
  return new MeshError("UNREACHABLE", `${sections(count)} could not be had: ${whom}`, {
    remedy:
      "connect to a hub or to an agent that keeps everything, or to the writer (ctxmesh missing)",
  });
}
