// SPDX-License-Identifier: Apache-2.0
import type { FactSource } from "@ctxmesh/model";
import { ChainLog } from "./chain-log.ts";
import type { ChainFrame, FactStore, KeyRange, KeySlots, Summary } from "./fact-store.ts";
import type { FactFrame, FactRecord } from "./frame.ts";
import { KeyIndex } from "./key-index.ts";
import { isNewer } from "./slot.ts";
import type { ChainId, Slot } from "./slot.ts";

/** Overhead counted per slot besides its texts, so that `bytes` tracks the encoded size. */
const SLOT_BYTES = 96;
const NO_SLOTS: KeySlots = { statements: [], retractions: [] };

const lengthOf = (texts: readonly string[] | undefined): number =>
  texts?.reduce((sum, text) => sum + text.length, 0) ?? 0;

const sourceLength = ({ model, version = "", instance = "" }: FactSource): number =>
  model.length + version.length + instance.length;

const slotBytes = (slot: Slot): number =>
  SLOT_BYTES +
  slot.key.length +
  (slot.valueJson?.length ?? 0) +
  (slot.source === undefined ? 0 : sourceLength(slot.source)) +
  lengthOf(slot.tags) +
  lengthOf(slot.basis) +
  (slot.retract?.reason.length ?? 0);

/** First index in sorted `keys` whose key is not below `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] ?? "") < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

interface Entry {
  readonly statements: Slot[];
  readonly retractions: Slot[];
}

/** Whether two records speak for the same slot, given the same writer and key. */
const sameTarget = (a: FactRecord, b: FactRecord): boolean =>
  a.retract?.writer === b.retract?.writer;

/** The facts of one document in plain JavaScript; see {@link FactStore}. */
export class SlotStore implements FactStore {
  readonly #entries = new Map<string, Entry>();
  readonly #chains = new Map<string, ChainLog>();
  /** All keys in code-unit order; undefined after a key was added, rebuilt by the next scan. */
  #sortedKeys: string[] | undefined = [];
  #index: KeyIndex | undefined;
  #slotCount = 0;
  #bytes = 0;

  get keyCount(): number {
    return this.#entries.size;
  }

  get slotCount(): number {
    return this.#slotCount;
  }

  get bytes(): number {
    return this.#bytes;
  }

  applyFrame(id: ChainId, frame: FactFrame): readonly string[] {
    const name = id.writer + id.incarnation;
    let chain = this.#chains.get(name);
    if (chain === undefined) {
      chain = new ChainLog(id);
      this.#chains.set(name, chain);
    }
    const changed: string[] = [];
    for (const record of frame.records) {
      if (this.#apply({ ...record, ...chain.id }, chain)) changed.push(record.key);
    }
    chain.cover(frame.from, frame.to);
    if (chain.live === 0) this.#chains.delete(name);
    return changed;
  }

  #apply(slot: Slot, chain: ChainLog): boolean {
    let entry = this.#entries.get(slot.key);
    if (entry === undefined) {
      entry = { statements: [], retractions: [] };
      this.#entries.set(slot.key, entry);
      this.#sortedKeys = undefined;
    }
    const slots = slot.retract === undefined ? entry.statements : entry.retractions;
    const at = slots.findIndex((other) => other.writer === slot.writer && sameTarget(other, slot));
    const current = slots[at];
    if (current !== undefined && !isNewer(slot, current)) return false;
    chain.add(slot);
    this.#bytes += slotBytes(slot);
    this.#index?.add(slot);
    if (current === undefined) {
      slots.push(slot);
      this.#slotCount++;
    } else {
      slots[at] = slot;
      this.#bytes -= slotBytes(current);
      this.#index?.remove(current);
      // Last, so that a chain which replaces its only slot is never without one.
      this.#retire(current);
    }
    return true;
  }

  /** A slot was replaced. A chain without slots has nothing to tell anybody, and is forgotten. */
  #retire(slot: Slot): void {
    const name = slot.writer + slot.incarnation;
    const chain = this.#chains.get(name);
    chain?.remove(this.#isLive);
    if (chain?.live === 0) this.#chains.delete(name);
  }

  readonly #isLive = (slot: Slot): boolean => {
    const entry = this.#entries.get(slot.key);
    const slots = slot.retract === undefined ? entry?.statements : entry?.retractions;
    return slots?.includes(slot) === true;
  };

  slots(key: string): KeySlots {
    return this.#entries.get(key) ?? NO_SLOTS;
  }

  *keys({ prefix = "", after }: KeyRange = {}): Generator<string> {
    const sorted = (this.#sortedKeys ??= [...this.#entries.keys()].toSorted((a, b) =>
      a < b ? -1 : 1,
    ));
    let index = lowerBound(sorted, after !== undefined && after > prefix ? after : prefix);
    while (sorted[index]?.startsWith(prefix) === true) {
      const key = sorted[index++] ?? "";
      if (key !== after) yield key;
    }
  }

  keysBySource(model: string): Iterable<string> {
    return this.#indexed().bySource(model);
  }

  keysByTag(tag: string): Iterable<string> {
    return this.#indexed().byTag(tag);
  }

  #indexed(): KeyIndex {
    if (this.#index === undefined) {
      this.#index = new KeyIndex();
      for (const { statements } of this.#entries.values()) {
        for (const slot of statements) this.#index.add(slot);
      }
    }
    return this.#index;
  }

  summary(): Summary {
    return new Map([...this.#chains].map(([name, chain]) => [name, chain.known]));
  }

  diff(known: Summary): readonly ChainFrame[] {
    const frames: ChainFrame[] = [];
    for (const [name, log] of this.#chains) {
      const theirs = known.get(name) ?? 0;
      const { id: chain, known: to } = log;
      const newer = log.newerThan(theirs, this.#isLive);
      let next = 0;
      const takeUpTo = (last: number): readonly Slot[] => {
        const start = next;
        while ((newer[next]?.seq ?? Infinity) <= last) next++;
        return newer.slice(start, next);
      };
      const prefix = takeUpTo(to);
      // What lies beyond a gap comes first: a chain that has slots nowhere else would be forgotten
      // over the empty frame that says how far it is known.
      for (const island of log.islands) {
        const records = takeUpTo(island.to);
        if (records.length > 0) frames.push({ chain, frame: { ...island, records } });
      }
      if (to > theirs) frames.push({ chain, frame: { from: theirs, to, records: prefix } });
    }
    return frames;
  }
}
