// SPDX-License-Identifier: Apache-2.0
/**
 * I13: each batch that a replica was handed has one outcome: received = accepted + duplicate + refused + held + dropped, and never
 * more were received than were handed over. When nothing moves any more, exactly as many.
 */
import type { Replica } from "@ctxmesh/replica";
import type { Checker } from "../world.ts";
import type { Chronicle } from "./chronicle.ts";

/** How many a replica says it has received. */
function received(id: string, replica: Replica): number {
  const { received: all, accepted, duplicate, dropped, held, refused } = replica.counters();
  const sum = Object.values(refused).reduce((total, count) => total + count, 0);
  const outcomes = accepted + duplicate + dropped + held + sum;
  if (all !== outcomes) {
    throw new Error(`${id} has received ${String(all)} batches, and counts ${String(outcomes)}`);
  }
  if (held < 0) throw new Error(`${id} holds ${String(held)} batches`);
  return all;
}

/** Makes the checker. */
export function createAccountingChecker(chronicle: Chronicle): Checker {
  let turn = 0;

  const look = (id: string, replica: Replica, atRest: boolean): void => {
    const is = received(id, replica);
    const handed = chronicle.handed(replica);
    if (handed === undefined || handed.isRefilled) return;
    const { answered, waiting } = handed;
    // An outcome is counted a moment before its caller hears of it.
    const isSound = atRest ? is === answered : is <= answered + waiting;
    if (isSound) return;
    throw new Error(`${id} counts ${String(is)} batches, and was handed ${String(answered)}`);
  };

  return {
    name: "I13",
    onEvent(event, { nodes }) {
      if (event.type !== "settled") return;
      turn += 1;
      const node = nodes[turn % nodes.length];
      const replica = node?.process?.replica;
      if (node !== undefined && replica !== undefined) look(node.id, replica, false);
    },
    atEnd({ nodes }) {
      for (const { id, process } of nodes) {
        if (process === undefined) continue;
        const isBusy = (chronicle.handed(process.replica)?.waiting ?? 0) > 0;
        look(id, process.replica, !isBusy);
      }
    },
  };
}
