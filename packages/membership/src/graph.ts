// SPDX-License-Identifier: Apache-2.0
/** The acts of a space as arrays of numbers: an act is its place in an order with parents before children. */
import type { Act } from "@ctxmesh/codec";
import type { ActId } from "@ctxmesh/model";

/** An act with its id. */
export interface ActWithId {
  readonly id: ActId;
  readonly act: Act;
}

/** Lists of numbers, one for each act: those of `n` are `items[start[n]]` up to and without `items[start[n + 1]]`. */
export interface Lists {
  readonly start: Int32Array;
  readonly items: Int32Array;
}

/** Acts and how they hang together. */
export interface ActGraph {
  readonly acts: readonly ActWithId[];
  /** Parents, the authority included; it may be there twice. */
  readonly parents: Lists;
  /** The authority, -1 for a creator's act. */
  readonly authority: Int32Array;
}

/** All ids that an act names as known before it. */
export const namedBy = ({ authority, parents }: Act): readonly ActId[] =>
  authority === null ? parents : [authority, ...parents];

/** The graph of acts, which have parents before children and no parent missing. */
export function buildGraph(acts: readonly ActWithId[]): ActGraph {
  const indexOf = new Map<ActId, number>();
  for (const [i, { id }] of acts.entries()) indexOf.set(id, i);
  const start = new Int32Array(acts.length + 1);
  for (const [i, { act }] of acts.entries()) {
    start[i + 1] = (start[i] ?? 0) + act.parents.length + (act.authority === null ? 0 : 1);
  }
  const items = new Int32Array(start[acts.length] ?? 0);
  const authority = new Int32Array(acts.length).fill(-1);
  let at = 0;
  for (const [i, { act }] of acts.entries()) {
    if (act.authority !== null) {
      authority[i] = indexOf.get(act.authority) ?? -1;
      items[at++] = authority[i] ?? -1;
    }
    for (const parent of act.parents) items[at++] = indexOf.get(parent) ?? -1;
  }
  return { acts, parents: { start, items }, authority };
}

/** The lists of those that name `n` in `targets`; -1 names none. */
export function invert(targets: Int32Array): Lists {
  const start = new Int32Array(targets.length + 1);
  for (const target of targets) if (target >= 0) start[target + 1] = (start[target + 1] ?? 0) + 1;
  for (let i = 0; i < targets.length; i++) start[i + 1] = (start[i + 1] ?? 0) + (start[i] ?? 0);
  const items = new Int32Array(start[targets.length] ?? 0);
  const next = start.slice();
  for (const [i, target] of targets.entries()) {
    if (target < 0) continue;
    const at = next[target] ?? 0;
    items[at] = i;
    next[target] = at + 1;
  }
  return { start, items };
}
