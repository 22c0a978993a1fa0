// SPDX-License-Identifier: Apache-2.0
/**
 * I7: a hub's log is only appended to. Every checkpoint that anybody ever saw is the root of a prefix of one list of entries. The
 * tree is worked out here, by RFC 6962 section 2.1, from the envelopes that were published.
 */
import { sha256 } from "@ctxmesh/crypto";
import type { Checker, World } from "../world.ts";
import { readSeal, sealsOf } from "./seals.ts";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** The hash of the log's entry for an envelope: its hash, base64, behind a line that says what it is of. */
function entryHash(envelopeHash: string): Uint8Array {
  const digest = Buffer.from(envelopeHash, "hex").toString("base64");
  return sha256(LEAF, new TextEncoder().encode(`ctxmesh.dev/snapshot/v1\n${digest}\n`));
}

/** The root over the entries from `from` up to and without `to`; at least one. */
function rootOf(entries: readonly Uint8Array[], from: number, to: number): Uint8Array {
  const size = to - from;
  const [first] = entries.slice(from, to);
  if (size === 1 && first !== undefined) return first;
  let left = 1;
  while (left * 2 < size) left *= 2;
  return sha256(NODE, rootOf(entries, from, from + left), rootOf(entries, from + left, to));
}

/** What was published of a hub's log. */
interface Seen {
  readonly entries: Uint8Array[];
  /** Roots, base64, by size. */
  readonly roots: Map<number, string>;
}

/** Makes the checker. */
export function createLogChecker(): Checker {
  const logs = new Map<string, Seen>();

  const note = (hub: string, bundle: Uint8Array): void => {
    const { envelopeHash, index, size, root } = readSeal(bundle);
    const log = logs.get(hub) ?? { entries: [], roots: new Map<number, string>() };
    logs.set(hub, log);
    const hash = entryHash(envelopeHash);
    const before = log.entries[index];
    if (before !== undefined && Buffer.compare(before, hash) !== 0) {
      throw new Error(`entry ${String(index)} of the log of ${hub} was another one`);
    }
    log.entries[index] = hash;
    if ((log.roots.get(size) ?? root) !== root) {
      throw new Error(`the log of ${hub} had another root at size ${String(size)}`);
    }
    log.roots.set(size, root);
  };
  const check = (hub: string, { entries, roots }: Seen): void => {
    for (const [size, root] of roots) {
      // Of a seal that nobody was told of, the entry is known once the hub has shown all of its bundles.
      const prefix = Array.from({ length: size }, (_, i) => entries[i]);
      if (prefix.includes(undefined)) continue;
      const made = Buffer.from(rootOf(entries, 0, size)).toString("base64");
      if (made !== root) {
        throw new Error(`the checkpoint of ${hub} for size ${String(size)} is not of its entries`);
      }
    }
  };

  return {
    name: "I7",
    onEvent(event) {
      if (event.type !== "sealed") return;
      note(event.node, event.seal.bundle);
    },
    async atEnd(world: World) {
      for (const { id } of world.nodes) {
        for (const bundle of await sealsOf(world, id)) note(id, bundle);
      }
      for (const [hub, seen] of logs) check(hub, seen);
    },
  };
}
