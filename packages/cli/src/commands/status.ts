// SPDX-License-Identifier: Apache-2.0
import type { AckProgress, ChannelSecurity, EngineReport, NodeStatus } from "@ctxmesh/model";
import {
  counted,
  createOutput,
  formatAge,
  formatTable,
  formatTime,
  printable,
  shortId,
} from "../output.ts";
import type { Output } from "../output.ts";
import { formatBytes } from "../progress.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh status`. */
export interface StatusOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly digest?: boolean;
}

/** The engine that a hub shares with others, in words. */
function engineOf({ reachable, failure, head, applied, sealingEpoch }: EngineReport): string {
  const state = reachable
    ? `reachable, ${String(applied)} of ${String(head)} records here`
    : `away: ${failure ?? "no answer"}; nothing new is acknowledged`;
  return sealingEpoch === undefined
    ? `${state}; another hub seals`
    : `${state}; this hub seals (lease ${String(sealingEpoch)})`;
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
    ["member", grantOf(status, output)],
    ["listening", status.addresses.join(" ") || "nowhere"],
    [
      "facts",
      `${String(status.facts)} in ${String(status.documents)} documents, ${String(status.contested)} contested; engine ${status.factEngine}`,
    ],
    ["since start", `${String(status.written)} written here, ${String(status.applied)} received`],
    ...acknowledgedOf(status, output),
    ...prunedOf(status),
    ...partialOf(status),
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
  rows.push(...transportOf(status, output));
  rows.push(["membership", membershipOf(status)]);
  for (const warning of warningsOf(status)) rows.push(["warning", output.style("yellow", warning)]);
  if (status.seals !== undefined) rows.push(["seals", String(status.seals)]);
  if (status.engine !== undefined) rows.push(["engine", engineOf(status.engine)]);
  if (status.digest !== undefined) rows.push(["digest", digestOf(status.digest, status)]);
  for (const peer of status.peers) {
    const state = peer.inSync ? output.style("green", "in sync") : output.style("yellow", "behind");
    const security = peer.security === undefined ? "" : `, ${securityOf(peer.security)}`;
    rows.push([
      "peer",
      `${peer.leaf === true ? "leaf" : peer.role} ${shortId(peer.device)} ${state} ${peer.address}${security}`,
    ]);
  }
  return rows;
}

/** Relays, and who was refused, where there is something to say. */
function transportOf({ transport }: NodeStatus, output: Output): readonly string[][] {
  if (transport === undefined) return [];
  const { relays = [], relaying, refusals } = transport;
  const rows = relays.map(({ address, connected, reserved }) => {
    const state = reserved
      ? output.style("green", "reachable through it")
      : output.style("yellow", connected ? "no reservation" : "not connected");
    return ["relay", `${address} ${state}`];
  });
  if (relaying !== undefined) {
    const { reservations, circuits } = relaying;
    const agents = counted(reservations, "reachable agent");
    rows.push(["relay", `${agents}, ${counted(circuits, "circuit")} between two of them`]);
  }
  const refused = Object.entries(refusals).filter(([, count]) => count > 0);
  if (refused.length > 0) {
    rows.push(["refusals", refused.map(([kind, count]) => `${String(count)} ${kind}`).join(", ")]);
  }
  return rows;
}

/** Such as `TLS 1.3 with X25519MLKEM768`. */
const securityOf = ({ protocol, keyExchange }: ChannelSecurity): string =>
  `${protocol} with ${keyExchange}`;

/** How far what was written here has got. */
function acknowledgedOf({ acknowledged }: NodeStatus, output: Output): readonly string[][] {
  if (acknowledged === undefined) return [];
  const { local, hub, sealed } = acknowledged;
  const levelOf = ({ batches, waiting }: AckProgress): string => {
    if (waiting === undefined) return "all";
    const rest = `${String(waiting.batches)} not yet, oldest ${formatAge(waiting.oldestMs)}`;
    return `${String(batches)}, ${output.style("yellow", rest)}`;
  };
  if (local === 0) return [["acknowledged", "nothing written here yet"]];
  const own = counted(local, "batch", "batches");
  return [
    ["acknowledged", `${own} written here; at a hub: ${levelOf(hub)}; sealed: ${levelOf(sealed)}`],
  ];
}

/** What the log does not hold any more. */
const prunedOf = ({ pruned: { batches, beforeMs } }: NodeStatus): readonly string[][] =>
  beforeMs === undefined
    ? []
    : [["pruned", `${counted(batches, "batch", "batches")}; kept since ${formatTime(beforeMs)}`]];

/** What is left out. */
function partialOf({ partial }: NodeStatus): readonly string[][] {
  if (partial === undefined) return [];
  const { subscription, documents, sections, bytes, expired } = partial;
  const kept = subscription === undefined ? "everything" : subscription.join(" ");
  const left = `${counted(sections, "section")} of ${counted(documents, "document")}, ${formatBytes(bytes)}`;
  const passed = expired === 0 ? "" : `; ${String(expired)} expired`;
  return [["partial", `keeps ${kept}; left out: ${left}${passed}`]];
}

const digestOf = (digest: string, { partial }: NodeStatus): string =>
  partial === undefined || partial.documents === 0
    ? digest
    : `${digest} (of the part that is here: compares only with nodes that lack the same)`;

function grantOf({ membership: { grant } }: NodeStatus, output: Output): string {
  if (grant === undefined)
    return output.style("red", "no grant: what this device writes is refused");
  switch (grant.state) {
    case "revoked":
      return output.style("red", "revoked, for ever");
    case "expired":
      return output.style("red", `${grant.role}, ended ${formatTime(grant.until)}`);
    case "upcoming":
      return output.style("yellow", `${grant.role}, has yet to begin`);
    case "expiring":
      return output.style("yellow", `${grant.role} until ${formatTime(grant.until)}`);
    case "active":
      return `${grant.role} until ${formatTime(grant.until)}`;
  }
}

function membershipOf({ membership }: NodeStatus): string {
  const { members, revoked, forks, voidBatches, digest } = membership;
  const parts = [counted(members, "member"), `${String(revoked)} revoked`];
  if (forks > 0) parts.push(counted(forks, "forked chain"));
  if (voidBatches > 0) parts.push(counted(voidBatches, "void batch", "void batches"));
  return `${parts.join(", ")}; acts and forks ${digest.slice(0, 16)}`;
}

/** Slow calls of a module that are worth a word. */
const MANY_SLOW = 10;

/** What somebody should do something about. */
function warningsOf({
  device,
  membership,
  degraded,
  recovered,
  scrub,
  modules = [],
}: NodeStatus): readonly string[] {
  const { grant, forks, ownFork } = membership;
  const warnings: string[] = [];
  const behind = degraded.filter((chain) => chain.kind === "behind");
  if (behind.length > 0) {
    const batches = behind.reduce((sum, { seq, expected }) => sum + expected - seq, 0);
    warnings.push(
      `the store was damaged: ${String(batches)} batches of ${String(behind.length)} chains are still to come from peers; if none has them, start once with --accept-loss`,
    );
  }
  const stale = degraded.length - behind.length;
  if (stale > 0) {
    warnings.push(
      `${counted(stale, "chain")} said things that must not count any more, and were pruned before that was known; move the store's folder aside and start again: the mesh brings back what counts`,
    );
  }
  for (const finding of scrub.findings) {
    warnings.push(`damage in the store: ${finding}; restart the daemon, which heals it`);
  }
  for (const { module, name, calls, failures, slow, last } of modules) {
    const which = `the module ${name === "" ? "" : `${printable(name)}, `}${module.slice(0, 17)},`;
    if (last !== undefined) {
      warnings.push(
        `${which} was cut off ${counted(failures, "time")} of ${String(calls)}, last at ${printable(last.doc)} ${printable(last.key)}: ${printable(last.problem)}`,
      );
    }
    // The first call compiles, and others may meet a busy machine.
    if (slow >= MANY_SLOW) warnings.push(`${which} took over 1 ms ${counted(slow, "time")}`);
  }
  if (recovered > 0) {
    warnings.push(
      `${counted(recovered, "batch", "batches")} that this device wrote were not in its store any more, and came back from peers`,
    );
  }
  const renew = `ctxmesh space renew ${shortId(device)} --key KEY`;
  if (grant?.state === "expiring") {
    warnings.push(`this device's grant ends in ${formatAge(grant.until - Date.now())}: ${renew}`);
  }
  if (grant?.state === "expired") {
    warnings.push(`this device's grant has ended: others hold what it writes until ${renew}`);
  }
  if (grant?.state === "revoked") {
    warnings.push(
      "this device was revoked: it can't write any more; to come back, join anew with an invite",
    );
  }
  if (ownFork) {
    warnings.push("two processes wrote as this device: find the clone or the restored copy");
  } else if (forks > 0) {
    warnings.push("a device signed two histories: ctxmesh evidence");
  }
  return warnings;
}
