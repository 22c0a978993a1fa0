// SPDX-License-Identifier: Apache-2.0
/**
 * I3: what a node has applied is causally closed. The graph is that of the batches as they were written: a batch comes after
 * its predecessor and all that it names.
 */
import type { DeviceKey, HeaderHash, IncarnationId } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { Checker, World } from "../world.ts";
import { chainOf } from "./chronicle.ts";
import type { Chronicle, Written } from "./chronicle.ts";

/** A node's heads, by chain. */
type Heads = Map<string, { readonly seq: number; readonly hash: HeaderHash }>;

interface AtHead {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
  readonly hash: HeaderHash;
}

/** Makes the checker. */
export function createCausalityChecker(chronicle: Chronicle): Checker {
  const headsByNode = new Map<string, Heads>();

  /** Whether the batch is at or below the head of its chain; undefined when too little of the chain is known to tell. */
  const isApplied = (heads: Heads, { header, hash }: Written): boolean | undefined => {
    const head = heads.get(chainOf(header.replica, header.incarnation));
    if (head === undefined || head.seq < header.seq) return false;
    let at = chronicle.get(head.hash);
    while (at !== undefined && at.header.seq > header.seq && at.header.prev !== null) {
      at = chronicle.get(at.header.prev);
    }
    return at === undefined ? undefined : at.hash === hash;
  };
  const check = (node: string, replica: Replica, heads: Heads, batch: Written): void => {
    const { prev, deps } = batch.header;
    for (const name of prev === null ? deps : [prev, ...deps]) {
      const parent = chronicle.get(name);
      if (parent === undefined || isApplied(heads, parent) !== false) continue;
      const { replica: device, incarnation, seq } = parent.header;
      // Of what is void the header is enough.
      if (seq > replica.limitOf(device, incarnation)) continue;
      throw new Error(`${node} has applied ${batch.hash.slice(0, 16)} without ${name.slice(0, 16)}`);
    }
  };
  const step = (heads: Heads, { replica, incarnation, seq, hash }: AtHead): void => {
    heads.set(chainOf(replica, incarnation), { seq, hash });
  };
  const lookAt = (id: string, world: World): void => {
    const replica = world.node(id)?.process?.replica;
    if (replica === undefined) return;
    const heads: Heads = new Map();
    for (const head of replica.heads()) step(heads, head);
    headsByNode.set(id, heads);
    for (const { hash } of heads.values()) {
      for (let at = chronicle.get(hash); at !== undefined; ) {
        check(id, replica, heads, at);
        at = at.header.prev === null ? undefined : chronicle.get(at.header.prev);
      }
    }
  };

  return {
    name: "I3",
    onEvent(event, world) {
      if (event.type === "opened" || event.type === "records") lookAt(event.node, world);
      if (event.type !== "applied") return;
      const replica = world.node(event.node)?.process?.replica;
      const heads = headsByNode.get(event.node);
      const { head } = event.batch;
      const batch = chronicle.get(head.hash);
      if (replica === undefined || heads === undefined || batch === undefined) return;
      check(event.node, replica, heads, batch);
      step(heads, head);
    },
    atEnd(world) {
      for (const { id } of world.nodes) lookAt(id, world);
    },
  };
}
