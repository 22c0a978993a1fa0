// SPDX-License-Identifier: Apache-2.0
/**
 * Which acts each revocation strikes: those of the revoked key that the revocation does not have among its
 * ancestors.
 *
 * There may be millions of such pairs, so they are kept as bits. Acts of revoked keys are numbered with
 * *slots* and revocations with *shots*, those of one key side by side. Ancestors are found for 32 slots at
 * a time and descendants for 32 shots at a time, which takes (slots + shots) / 32 passes over the graph.
 */
import type { DeviceKey } from "@ctxmesh/model";
import type { ActGraph } from "./graph.ts";

/** Bits of a long row of numbers, from `32 * firstBlock` on; all others are 0. */
export interface Bits {
  readonly firstBlock: number;
  readonly words: Uint32Array;
}

/** What strikes what. */
export interface Attacks {
  readonly slots: Numbering;
  readonly shots: Numbering;
  /** By act: the slots that it strikes; undefined for acts that can't strike. */
  readonly strikes: readonly (Bits | undefined)[];
  /** By act: the shots that strike it; undefined for acts that can't be struck. */
  readonly struckBy: readonly (Bits | undefined)[];
}

interface Range {
  readonly from: number;
  readonly to: number;
}

/** Consecutive numbers for some of the acts, those that belong to one key side by side. */
export interface Numbering {
  /** By number. */
  readonly acts: Int32Array;
  /** By act; -1 for those without one. */
  readonly numberOf: Int32Array;
  readonly ranges: ReadonlyMap<DeviceKey, Range>;
}

/** Numbers the acts for which `keyOf` names one of `keys`. */
function numbering(
  graph: ActGraph,
  keys: ReadonlySet<DeviceKey>,
  keyOf: (act: number) => DeviceKey | undefined,
): Numbering {
  const byKey = new Map<DeviceKey, number[]>();
  for (let i = 0; i < graph.acts.length; i++) {
    const key = keyOf(i);
    if (key === undefined || !keys.has(key)) continue;
    const own = byKey.get(key);
    if (own === undefined) byKey.set(key, [i]);
    else own.push(i);
  }
  const acts = Int32Array.from([...byKey.values()].flat());
  const numberOf = new Int32Array(graph.acts.length).fill(-1);
  for (const [number, act] of acts.entries()) numberOf[act] = number;
  const ranges = new Map<DeviceKey, Range>();
  let from = 0;
  for (const [key, own] of byKey) {
    ranges.set(key, { from, to: from + own.length });
    from += own.length;
  }
  return { acts, numberOf, ranges };
}

/** The numbers of a block that lie within a range, as bits. */
function blockMask(block: number, { from, to }: Range): number {
  const low = Math.max(from - 32 * block, 0);
  const high = Math.min(to - 32 * block, 32);
  if (low >= high) return 0;
  return (high === 32 ? -1 : (1 << high) - 1) & ~((1 << low) - 1);
}

const ownBit = (number: number, block: number): number =>
  number >= 0 && number >>> 5 === block ? 1 << (number & 31) : 0;

/** For each act the numbers of a block that its ancestors have, and its own. */
function gatherAncestors(
  { parents: { start, items } }: ActGraph,
  numberOf: Int32Array,
  block: number,
  bits: Int32Array,
): void {
  for (let i = 0; i < bits.length; i++) {
    let gathered = ownBit(numberOf[i] ?? -1, block);
    const end = start[i + 1] ?? 0;
    for (let at = start[i] ?? 0; at < end; at++) gathered |= bits[items[at] ?? 0] ?? 0;
    bits[i] = gathered;
  }
}

/** For each act the numbers of a block that its descendants have, and its own. */
function gatherDescendants(
  { parents: { start, items } }: ActGraph,
  numberOf: Int32Array,
  block: number,
  bits: Int32Array,
): void {
  bits.fill(0);
  for (let i = bits.length - 1; i >= 0; i--) {
    const gathered = (bits[i] ?? 0) | ownBit(numberOf[i] ?? -1, block);
    bits[i] = gathered;
    if (gathered === 0) continue;
    const end = start[i + 1] ?? 0;
    for (let at = start[i] ?? 0; at < end; at++) {
      const parent = items[at] ?? 0;
      bits[parent] = (bits[parent] ?? 0) | gathered;
    }
  }
}

type Gather = typeof gatherAncestors;

/** For each act of `from` the numbers in `to` of its key that it has no path to by `gather`. */
function unrelated(
  graph: ActGraph,
  from: Numbering,
  to: Numbering,
  gather: Gather,
): readonly (Bits | undefined)[] {
  const found: (Bits | undefined)[] = Array.from({ length: graph.acts.length });
  const bits = new Int32Array(graph.acts.length);
  const ranges = [...to.ranges].map(([key, range]) => ({ range, own: from.ranges.get(key) }));
  for (const { range, own } of ranges) {
    const firstBlock = range.from >>> 5;
    const length = ((range.to - 1) >>> 5) - firstBlock + 1;
    for (let number = own?.from ?? 0; number < (own?.to ?? 0); number++) {
      found[from.acts[number] ?? 0] = { firstBlock, words: new Uint32Array(length) };
    }
  }
  let gathered = -1;
  for (const { range, own } of ranges) {
    for (let block = range.from >>> 5; block <= (range.to - 1) >>> 5; block++) {
      if (block !== gathered) gather(graph, to.numberOf, block, bits);
      gathered = block;
      const mask = blockMask(block, range);
      for (let number = own?.from ?? 0; number < (own?.to ?? 0); number++) {
        const act = from.acts[number] ?? 0;
        const row = found[act];
        if (row !== undefined) row.words[block - row.firstBlock] = mask & ~(bits[act] ?? 0);
      }
    }
  }
  return found;
}

/** Finds out which acts each revocation strikes; undefined when no revoked key has authored any. */
export function findAttacks(graph: ActGraph): Attacks | undefined {
  const revoked = new Set<DeviceKey>();
  for (const { act } of graph.acts) if (act.kind === "revoke") revoked.add(act.device);
  const slots = numbering(graph, revoked, (i) => graph.acts[i]?.act.author);
  if (slots.acts.length === 0) return undefined;
  const shots = numbering(graph, new Set(slots.ranges.keys()), (i) => {
    const act = graph.acts[i]?.act;
    return act?.kind === "revoke" ? act.device : undefined;
  });
  return {
    slots,
    shots,
    strikes: unrelated(graph, shots, slots, gatherAncestors),
    struckBy: unrelated(graph, slots, shots, gatherDescendants),
  };
}

/** The first number that is in both `bits` and `among`, from `32 * fromBlock` on; or -1. */
export function nextCommon(
  { firstBlock, words }: Bits,
  among: Uint32Array,
  fromBlock: number,
): number {
  const end = firstBlock + words.length;
  for (let block = Math.max(fromBlock, firstBlock); block < end; block++) {
    const word = (words[block - firstBlock] ?? 0) & (among[block] ?? 0);
    if (word !== 0) return 32 * block + 31 - Math.clz32(word & -word);
  }
  return -1;
}
