// SPDX-License-Identifier: Apache-2.0
/**
 * I11: what waits anywhere is bounded by `LIMITS`, and what is on a disk by what was written. One node is looked at after each event,
 * so each of them some times a second.
 */
import { LIMITS } from "@ctxmesh/model";
import type { Checker, NodeView, World } from "../world.ts";
import type { Chronicle } from "./chronicle.ts";

/** Bytes of a store for each byte of the batches in it: indexes, wrapped headers, and the two newest checkpoints. */
const SPACE_FACTOR = 8;
/** What a store has besides: acts, proofs, indexes of small batches. */
const SPACE_BYTES = 1_048_576;
/** A node and another one dial each other, and an end that died is noticed after a while. */
const CHANNELS_PER_PEER = 8;
const DISK_EVERY = 64;

function atMost(id: string, what: string, is: number, most: number): void {
  if (is > most) throw new Error(`${id} has ${String(is)} ${what}, the limit is ${String(most)}`);
}

/** Makes the checker. */
export function createBoundsChecker(chronicle: Chronicle): Checker {
  let turn = 0;
  let sealedBytes = 0;

  const look = (node: NodeView, world: World): void => {
    const { id, process } = node;
    if (process === undefined) return;
    const { replica } = process;
    const { held, unreadBytes, channels } = node.queues();
    atMost(id, "held batches", held, LIMITS.heldBatches);
    // A message may be over when it is let in.
    const perChannel = LIMITS.channelBufferBytes + LIMITS.syncMessageBytes;
    atMost(id, "bytes in its channels", unreadBytes, channels * 2 * perChannel);
    const peers = world.nodes.length + (world.counts.get("hostile") ?? 0);
    atMost(id, "channels", channels, peers * CHANNELS_PER_PEER);
    const handed = chronicle.handed(replica);
    const waiting = LIMITS.queuedBatches + channels;
    atMost(id, "batches on their way into the replica", handed?.waiting ?? 0, waiting);
    const waitingBytes = LIMITS.queuedBytes + channels * LIMITS.batchBytes;
    atMost(id, "bytes on their way into the replica", handed?.waitingBytes ?? 0, waitingBytes);
    atMost(id, "acts", replica.space.acts.length, LIMITS.acts);
  };
  const lookAtDisk = ({ id, image }: NodeView): void => {
    const most = SPACE_BYTES + SPACE_FACTOR * (chronicle.batchBytes + sealedBytes);
    atMost(id, "bytes on its disk", image.bytes, most);
  };

  return {
    name: "I11",
    onEvent(event, world) {
      if (event.type === "sealed") sealedBytes += event.seal.bundle.length;
      if (event.type !== "settled") return;
      turn += 1;
      const { nodes } = world;
      const node = nodes[turn % nodes.length];
      if (node === undefined) return;
      look(node, world);
      if (turn % DISK_EVERY === 0) lookAtDisk(node);
    },
    atEnd({ nodes }) {
      for (const { id, process } of nodes) {
        const forks = process?.replica.evidence() ?? [];
        atMost(id, "proofs", forks.length, LIMITS.proofs);
        for (const { replica } of forks) {
          const own = forks.filter((fork) => fork.replica === replica).length;
          atMost(id, "proofs about one device", own, LIMITS.proofsPerDevice);
        }
      }
    },
  };
}
