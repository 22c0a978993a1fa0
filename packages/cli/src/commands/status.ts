// SPDX-License-Identifier: Apache-2.0
import type { NodeStatus } from "@ctxmesh/model";
import { createOutput, formatAge, formatTable, shortId } from "../output.ts";
import type { Output } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh status`. */
export interface StatusOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly digest?: boolean;
}

/** Prints a node's state. */
export async function runStatus(options: StatusOptions): Promise<void> {
  const output = createOutput(options);
  const status = await withClient(options.socket, "agent", (client) =>
    client.status({ digest: options.digest === true }),
  );
  if (output.json) {
    await output.line(JSON.stringify(status));
    return;
  }
  for (const text of formatTable(rowsOf(status, output))) await output.line(text);
}

function rowsOf(status: NodeStatus, output: Output): string[][] {
  const { batches, propagation } = status;
  const refused = Object.values(batches.refused).reduce((sum, count) => sum + count, 0);
  const ready = status.ready ? output.style("green", "ready") : output.style("red", "not ready");
  const uptime = formatAge(Date.now() - status.startedAt);
  const rows = [
    [status.service, `${ready}, up ${uptime}, version ${status.version}`],
    ["space", `${status.spaceName} (${shortId(status.space)})`],
    ["device", status.device],
    ["listening", status.addresses.join(" ") || "nowhere"],
    [
      "facts",
      `${String(status.facts)} in ${String(status.documents)} documents, ${String(status.contested)} contested`,
    ],
    ["since start", `${String(status.written)} written here, ${String(status.applied)} received`],
    [
      "batches",
      `${String(batches.accepted)} accepted, ${String(batches.duplicate)} duplicate, ${String(batches.held)} held, ${String(batches.dropped)} dropped, ${String(refused)} refused`,
    ],
    [
      "propagation",
      propagation.count === 0
        ? "nothing received yet"
        : `p50 ${String(propagation.p50Ms)} ms, p95 ${String(propagation.p95Ms)} ms, max ${String(propagation.maxMs)} ms`,
    ],
    ["frontier", `${status.frontier} (${String(status.chains)} chains)`],
  ];
  if (status.seals !== undefined) rows.push(["seals", String(status.seals)]);
  if (status.digest !== undefined) rows.push(["digest", status.digest]);
  for (const peer of status.peers) {
    const state = peer.inSync ? output.style("green", "in sync") : output.style("yellow", "behind");
    rows.push(["peer", `${peer.role} ${shortId(peer.device)} ${state} ${peer.address}`]);
  }
  return rows;
}
