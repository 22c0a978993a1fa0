// SPDX-License-Identifier: Apache-2.0
/**
 * I1: nodes that have applied the same batches under the same records have the same content, at every step. Nodes that keep only some
 * documents have those in common with each other, and with those that keep everything.
 */
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

/** The content of documents whose names begin so. */
function contentOf(replica: Replica, prefix: string): string {
  const leaves = replica
    .snapshot()
    .leaves.filter((leaf) => prefix === "" || (JSON.parse(leaf) as Leaf).doc.startsWith(prefix));
  return toHex(sha256(new TextEncoder().encode(leaves.join("\n"))));
}

interface Leaf {
  readonly doc: string;
}

/** The parts of the space that nodes of a run keep. */
const partsIn = (world: World): readonly string[] => [
  ...new Set(world.nodes.flatMap(({ process }) => process?.replica.subscription?.docs ?? [])),
];

const isQuiet = (world: World): boolean =>
  new Set(membersOf(world).map(({ replica }) => stateOf(replica))).size === 1;

/** Makes the checker. */
export function createConvergenceChecker(): Checker {
  /** Content by state, and who had it first. */
  const known = new Map<string, { readonly node: string; readonly content: string }>();
  const changed = new Set<string>();
  let quietMs = 0;

  const comparePart = (node: string, replica: Replica, prefix: string): void => {
    const state = stateOf(replica) + prefix;
    const content = contentOf(replica, prefix);
    const before = known.get(state);
    if (before === undefined) known.set(state, { node, content });
    else if (before.content !== content) {
      throw new Error(
        `${node} and ${before.node} have the frontier ${state.slice(0, 16)}, and not the same content ${prefix}`,
      );
    }
  };
  const compare = (node: string, replica: Replica, world: World): void => {
    const { subscription } = replica;
    if (subscription === undefined) comparePart(node, replica, "");
    for (const prefix of subscription?.docs ?? partsIn(world)) comparePart(node, replica, prefix);
  };
  const compareAll = (world: World): void => {
    for (const { node, replica } of membersOf(world)) compare(node.id, replica, world);
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
          compare(id, replica, world);
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
