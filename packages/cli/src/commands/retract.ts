// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import type { Candidate } from "@ctxmesh/model";
import { ackOptionsOf, createOutput, printable, shortId } from "../output.ts";
import type { AckOptions } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh retract`. */
export interface RetractOptions extends AckOptions {
  readonly socket?: string;
  readonly json?: boolean;
  /** Device key in hex, or the start of it. */
  readonly writer: string;
  readonly reason: string;
}

/** Rules that what a writer has said about a key so far does not count. Throws `USAGE`, `NOT_FOUND`, and what the node throws. */
export async function runRetract(doc: string, key: string, options: RetractOptions): Promise<void> {
  const ack = ackOptionsOf(options);
  const { writer, receipt } = await withClient(options.socket, "agent", async (client) => {
    const { candidates } = await client.candidates(doc, key);
    const found = findWriter(options.writer, candidates, `${JSON.stringify(key)} in ${doc}`);
    return { writer: found, receipt: await client.retract(doc, key, found, options.reason, ack) };
  });
  const output = createOutput(options);
  if (output.json) await output.line(JSON.stringify({ ...receipt, writer }));
  else {
    await output.line(
      `retracted what ${shortId(writer)} has said about ${printable(key)} (${receipt.acknowledged}); what it says from now on counts again`,
    );
  }
}

/** The one writer among a key's candidates whose device key starts with `prefix`. Throws `USAGE` or `NOT_FOUND`. */
export function findWriter(
  prefix: string,
  candidates: readonly Pick<Candidate, "writer">[],
  what: string,
): string {
  const start = prefix.toLowerCase();
  if (!/^[0-9a-f]{1,64}$/u.test(start)) {
    throw new MeshError("USAGE", `--writer ${JSON.stringify(prefix)} is not a device key`, {
      remedy: "give its hex digits, or the first few; ctxmesh get DOC KEY --all shows them",
    });
  }
  const [writer, ...more] = candidates
    .map((candidate) => candidate.writer)
    .filter((device) => device.startsWith(start));
  if (writer === undefined) {
    const known = candidates.map((candidate) => shortId(candidate.writer)).join(", ");
    throw new MeshError("NOT_FOUND", `no writer ${prefix} has said anything about ${what}`, {
      remedy: known === "" ? "nobody has said anything about it" : `those who have are ${known}`,
    });
  }
  if (more.length > 0) {
    const all = [writer, ...more].map((device) => device.slice(0, Math.max(16, start.length + 4)));
    throw new MeshError("USAGE", `--writer ${prefix} fits ${String(all.length)} writers`, {
      remedy: `give more digits: ${all.join(", ")}`,
    });
  }
  return writer;
}
