// SPDX-License-Identifier: Apache-2.0
/** I1: nodes that have applied the same batches under the same records have the same content, at every step. */
import { sha256 } from "@ctxmesh/crypto";
import { toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { Checker, World } from "../world.ts";
import { membersOf } from "./chronicle.ts";

/** Working a content out costs a millisecond: done for one frontier of so many, the same ones at all nodes. */
const ONE_OF = 32;
/** Or when all have the same, this often. */
const QUIET_EVERY_MS = 300_000;

const stateOf = (replica: Replica): string =>
  toHex(replica.frontierDigest()) + toHex(replica.recordsDigest());

const contentOf = (replica: Replica): string =>
  toHex(sha256(new TextEncoder().encode(replica.snapshot().leaves.join("\n"))));

const isQuiet = (world: World): boolean =>
  new Set(membersOf(world).map(({ replica }) => stateOf(replica))).size === 1;

/** Makes the checker. */
export function createConvergenceChecker(): Checker {
  /** Content by state, and who had it first. */
  const known = new Map<string, { readonly node: string; readonly content: string }>();
  const changed = new Set<string>();
  let quietMs = 0;

  const compare = (node: string, replica: Replica): void => {
    const state = stateOf(replica);
    const content = contentOf(replica);
    const before = known.get(state);
    if (before === undefined) known.set(state, { node, content });
    else if (before.content !== content) {
      throw new Error(
        `${node} and ${before.node} have the frontier ${state.slice(0, 16)}, and not the same content`,
      );
    }
  };
  const compareAll = (world: World): void => {
    for (const { node, replica } of membersOf(world)) compare(node.id, replica);
  };

  return {
    name: "I1",
    onEvent(event, world) {
      if (event.type === "applied" || event.type === "records" || event.type === "opened") {
        changed.add(event.node);
        return;
      }
      if (event.type !== "settled" || changed.size === 0) return;
      for (const id of changed) {
        const replica = world.node(id)?.process?.replica;
        if (replica !== undefined && (replica.frontierDigest()[0] ?? 0) % ONE_OF === 0) {
          compare(id, replica);
        }
      }
      changed.clear();
      if (world.nowMs - quietMs < QUIET_EVERY_MS || !isQuiet(world)) return;
      quietMs = world.nowMs;
      compareAll(world);
    },
    atEnd: compareAll,
  };
}
