// SPDX-License-Identifier: Apache-2.0
/**
 * I3: what a node has applied is causally closed. The graph is that of the batches as they were written: a batch comes after
 * its predecessor and all that it names.
 */
import type { HeaderHash } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { Checker, World } from "../world.ts";
import { chainOf } from "./chronicle.ts";
import type { Chronicle, Written } from "./chronicle.ts";

/** What a node has applied. */
interface Applied {
  readonly hashes: Set<HeaderHash>;
  /** Chains of which a batch was never seen, since its writer died right after it was durable; it counts as there, and so does what is below it. */
  readonly unseen: Set<string>;
}

/** Makes the checker. */
export function createCausalityChecker(chronicle: Chronicle): Checker {
  const byNode = new Map<string, Applied>();

  const check = (node: string, replica: Replica, applied: Applied, batch: Written): void => {
    const { prev, deps } = batch.header;
    for (const name of prev === null ? deps : [prev, ...deps]) {
      const parent = chronicle.get(name)?.header;
      if (parent === undefined || applied.hashes.has(name)) continue;
      if (applied.unseen.has(chainOf(parent.replica, parent.incarnation))) continue;
      // Of what is void the header is enough.
      if (parent.seq > replica.limitOf(parent.replica, parent.incarnation)) continue;
      throw new Error(`${node} applied ${batch.hash.slice(0, 16)} without ${name.slice(0, 16)}`);
    }
  };
  const lookAt = (id: string, world: World): void => {
    const replica = world.node(id)?.process?.replica;
    if (replica === undefined) return;
    const applied: Applied = { hashes: new Set(), unseen: new Set() };
    byNode.set(id, applied);
    const batches: Written[] = [];
    for (const head of replica.heads()) {
      for (let hash: HeaderHash | null = head.hash; hash !== null;) {
        const batch = chronicle.get(hash);
        if (batch === undefined) applied.unseen.add(chainOf(head.replica, head.incarnation));
        else batches.push(batch);
        applied.hashes.add(hash);
        hash = batch?.header.prev ?? null;
      }
    }
    for (const batch of batches) check(id, replica, applied, batch);
  };

  return {
    name: "I3",
    onEvent(event, world) {
      if (event.type === "opened" || event.type === "records") lookAt(event.node, world);
      if (event.type !== "applied") return;
      const replica = world.node(event.node)?.process?.replica;
      const applied = byNode.get(event.node);
      const batch = chronicle.get(event.batch.head.hash);
      if (replica === undefined || applied === undefined || batch === undefined) return;
      check(event.node, replica, applied, batch);
      applied.hashes.add(batch.hash);
    },
    atEnd(world) {
      for (const { id } of world.nodes) lookAt(id, world);
    },
  };
}
