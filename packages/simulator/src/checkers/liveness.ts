// SPDX-License-Identifier: Apache-2.0
/**
 * I12: within a minute after the faults are over all members are equal, and after ten seconds writes are acknowledged again. Where
 * somebody's clock was ahead it takes until that time has come: batches and acts of the future are held.
 */
import { LIMITS, hlcToMs } from "@ctxmesh/model";
import { START_MS } from "../node-clock.ts";
import type { Checker, NodeView, World } from "../world.ts";
import { membersOf, upOf } from "./chronicle.ts";
import type { Chronicle } from "./chronicle.ts";

const CONVERGE_MS = 60_000;
const RESUME_MS = 10_000;
/** Who was cut off dials again after this at most: the back-off, and a dial that got no answer. */
const RECONNECT_MS = 35_000;

/** How far ahead what was written is, in simulated time. */
function lookAhead(world: World, chronicle: Chronicle): number {
  let ahead = 0;
  for (const { header } of chronicle.all()) {
    ahead = Math.max(ahead, hlcToMs(header.hlc) - LIMITS.clockAheadMs);
  }
  for (const { replica } of upOf(world)) {
    for (const { act } of replica.space.acts) ahead = Math.max(ahead, act.time);
  }
  return ahead - START_MS;
}

/** When a node's oldest connection to a hub was made, in simulated time. */
function hubConnectedMs({ process }: NodeView): number | undefined {
  const hubs = process?.sync.peers().filter(({ role }) => role === "hub") ?? [];
  if (hubs.length === 0) return undefined;
  return Math.min(...hubs.map(({ connectedSinceMs }) => connectedSinceMs)) - START_MS;
}

/** Makes the checker. */
export function createLivenessChecker(chronicle: Chronicle): Checker {
  let healingMs: number | undefined;
  /** From this time on nothing on any disk is of the future any more. */
  let presentMs = 0;
  let lossMs: number | undefined;
  /** Nodes whose writes are acknowledged again. */
  const resumed = new Set<string>();
  /** Until when they have time. */
  const dueByNode = new Map<string, number>();
  let dueMs = Number.POSITIVE_INFINITY;

  /** While they heal they are not equal, or the run would go on to its end. */
  const converge = (world: World): void => {
    if (world.phase !== "healing" || healingMs === undefined) return;
    const sinceMs = Math.max(healingMs, presentMs, lossMs ?? 0);
    if (world.nowMs - sinceMs <= CONVERGE_MS) return;
    throw new Error(`not equal ${String(CONVERGE_MS)} ms after everything was healed`);
  };
  const resume = (world: World): void => {
    dueMs = Number.POSITIVE_INFINITY;
    for (const { node, replica } of membersOf(world)) {
      if (node.kind !== "agent" || resumed.has(node.id)) continue;
      if (replica.degraded().length > 0 || node.lostMediaMs !== undefined) continue;
      const connectedMs = hubConnectedMs(node) ?? presentMs + RECONNECT_MS;
      const ownDueMs = Math.max(dueByNode.get(node.id) ?? 0, connectedMs + RESUME_MS);
      if (world.nowMs < ownDueMs) {
        dueMs = Math.min(dueMs, ownDueMs);
        continue;
      }
      throw new Error(`${node.id} gets no acknowledgement after healing`);
    }
  };

  return {
    name: "I12",
    onEvent(event, world) {
      if (event.type === "healing") {
        healingMs = world.nowMs;
        presentMs = Math.max(healingMs, lookAhead(world, chronicle));
        dueMs = presentMs + RESUME_MS;
      } else if (event.type === "acknowledged" && healingMs !== undefined) {
        const { acknowledged } = event.write.receipt;
        if (acknowledged !== "local") resumed.add(event.node);
      } else if (event.type === "records" && healingMs !== undefined) {
        // A device may find out only by its first write that a copy of it has written: it goes on in another chain then.
        const node = world.node(event.node);
        const forks = node?.process?.replica.evidence() ?? [];
        if (forks.some(({ replica }) => replica === node?.device)) {
          dueByNode.set(event.node, world.nowMs + RESUME_MS);
        }
      } else if (event.type === "settled") {
        if (healingMs === undefined) return;
        if (world.counts.has("accepted loss")) lossMs ??= world.nowMs;
        if (world.nowMs >= dueMs) resume(world);
        converge(world);
      }
    },
  };
}
