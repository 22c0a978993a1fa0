// SPDX-License-Identifier: Apache-2.0
import type { FactSource } from "@ctxmesh/model";
import { decodeFrames, encodeDiffFrames } from "./chain-frames.ts";
import { ChainLog } from "./chain-log.ts";
import type {
  ChainFrame,
  ChangedKeys,
  FactStore,
  KeyRange,
  KeySlots,
  Summary,
} from "./fact-store.ts";
import type { FactFrame, FactRecord } from "./frame.ts";
import { nameOf, sharedChain } from "./chain-names.ts";
import { KeyIndex } from "./key-index.ts";
import type { PackedFrame } from "./packed-frame.ts";
import { expiryMs, isNewer } from "./slot.ts";
import type { ChainId, Slot } from "./slot.ts";

/** Overhead counted per slot besides its texts, so that `bytes` tracks the encoded size. */
const SLOT_BYTES = 96;
const NONE: readonly Slot[] = [];
const NO_SLOTS: KeySlots = { statements: NONE, retractions: NONE };

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
  (slot.correlation?.length ?? 0) +
  (slot.traceparent?.length ?? 0) +
  lengthOf(slot.targets) +
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

/** The slots of a key that has more than one statement, or a retraction. */
class Entry {
  readonly key: string;
  readonly statements: Slot[];
  readonly retractions: Slot[];

  constructor(key: string, statements: Slot[], retractions: Slot[]) {
    this.key = key;
    this.statements = statements;
    this.retractions = retractions;
  }
}

/** Where a record's slot is among slots of its key; -1 when it has none. */
function indexOfSlot(slots: readonly Slot[], { writer, retract }: Slot): number {
  // Not findIndex: this is the innermost loop.
  for (let i = 0; i < slots.length; i++) {
    const other = slots[i];
    if (other?.writer === writer && other.retract?.writer === retract?.writer) return i;
  }
  return -1;
}

/**
 * The slot of a record, with the text of the key that the store has already. A record of nothing but
 * a value, which most are, is copied member by member: that is quicker.
 */
function slotOf(record: FactRecord, key: string, { writer, incarnation }: ChainId): Slot {
  const { seq, hlc, valueJson } = record;
  const plain =
    valueJson !== undefined &&
    record.confidence === undefined &&
    record.source === undefined &&
    record.ttlMs === undefined &&
    record.tags === undefined &&
    record.basis === undefined &&
    record.correlation === undefined &&
    record.traceparent === undefined &&
    record.targets === undefined &&
    record.retract === undefined;
  return plain
    ? { key, seq, hlc, valueJson, writer, incarnation }
    : { ...record, key, writer, incarnation };
}

/** The facts of one document in plain JavaScript; see {@link FactStore}. */
export class SlotStore implements FactStore {
  /** By key; a key with one statement and nothing else, which most are, has that alone. */
  readonly #entries = new Map<string, Slot | Entry>();
  /** Those with slots. */
  readonly #chains = new Map<string, ChainLog>();
  /** The one that the last frame was of, which is mostly that of the next. */
  #latest: ChainLog | undefined;
  /** All keys in code-unit order; undefined after a key was added, rebuilt by the next scan. */
  #sortedKeys: string[] | undefined = [];
  #index: KeyIndex | undefined;
  #slotCount = 0;
  /** Slots with a ttl. */
  #expiring = 0;
  #bytes = 0;
  #gaps = 0;

  get keyCount(): number {
    return this.#entries.size;
  }

  get slotCount(): number {
    return this.#slotCount;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get gaps(): number {
    return this.#gaps;
  }

  applyFrame(id: ChainId, frame: FactFrame): readonly string[] {
    const chain = this.#chainOf(id) ?? new ChainLog(sharedChain(id));
    const changed: string[] = [];
    for (const record of frame.records) {
      if (this.#apply(record, chain)) changed.push(record.key);
    }
    const { length } = chain.islands;
    chain.cover(frame.from, frame.to);
    this.#gaps += chain.islands.length - length;
    // A chain without slots has nothing to tell anybody, and is forgotten.
    if (chain.live === 0) this.#forget(chain);
    else if (chain !== this.#latest) this.#chains.set(chain.id.name, chain);
    this.#latest = chain.live === 0 ? undefined : chain;
    return changed;
  }

  applyPacked(id: ChainId, frame: PackedFrame): ChangedKeys {
    const changed = this.applyFrame(id, frame);
    return { count: changed.length, keys: () => changed };
  }

  merge(frames: Uint8Array): readonly string[] {
    return decodeFrames(frames).flatMap(({ chain, frame }) => this.applyFrame(chain, frame));
  }

  #forget(chain: ChainLog): void {
    this.#chains.delete(chain.id.name);
    this.#gaps -= chain.islands.length;
  }

  #chainOf(id: ChainId): ChainLog | undefined {
    const latest = this.#latest;
    return latest?.id.incarnation === id.incarnation && latest.id.writer === id.writer
      ? latest
      : this.#chains.get(nameOf(id));
  }

  /** Whether the record came to count. */
  #apply(record: FactRecord, chain: ChainLog): boolean {
    const { key, retract } = record;
    const found = this.#entries.get(key);
    const slot = slotOf(record, found?.key ?? key, chain.id);
    if (found === undefined) {
      this.#entries.set(key, retract === undefined ? slot : new Entry(key, [], [slot]));
      this.#sortedKeys = undefined;
      this.#count(slot, chain);
      return true;
    }
    if (!(found instanceof Entry)) {
      if (retract === undefined && found.writer === slot.writer) {
        if (!isNewer(slot, found)) return false;
        this.#entries.set(key, slot);
        this.#replace(found, slot, chain);
        return true;
      }
      const entry = new Entry(found.key, [found], []);
      this.#entries.set(key, entry);
      return this.#applyTo(entry, slot, chain);
    }
    return this.#applyTo(found, slot, chain);
  }

  #applyTo(entry: Entry, slot: Slot, chain: ChainLog): boolean {
    const slots = slot.retract === undefined ? entry.statements : entry.retractions;
    const at = indexOfSlot(slots, slot);
    const current = slots[at];
    if (current === undefined) {
      slots.push(slot);
      this.#count(slot, chain);
      return true;
    }
    if (!isNewer(slot, current)) return false;
    slots[at] = slot;
    this.#replace(current, slot, chain);
    return true;
  }

  #count(slot: Slot, chain: ChainLog): void {
    chain.add(slot);
    this.#slotCount++;
    if (slot.ttlMs !== undefined) this.#expiring++;
    this.#bytes += slotBytes(slot);
    this.#index?.add(slot);
  }

  #replace(old: Slot, slot: Slot, chain: ChainLog): void {
    this.#count(slot, chain);
    this.#slotCount--;
    if (old.ttlMs !== undefined) this.#expiring--;
    this.#bytes -= slotBytes(old);
    this.#index?.remove(old);
    // Last, so that a chain which replaces its only slot is never without one.
    if (old.incarnation === chain.id.incarnation) {
      chain.remove(old);
      return;
    }
    const other = this.#chains.get(nameOf(old));
    other?.remove(old);
    if (other?.live === 0) {
      this.#forget(other);
      if (this.#latest === other) this.#latest = undefined;
    }
  }

  slots(key: string): KeySlots {
    const found = this.#entries.get(key);
    if (found === undefined) return NO_SLOTS;
    return found instanceof Entry ? found : { statements: [found], retractions: NONE };
  }

  expires(afterMs: number, upToMs: number): boolean {
    if (this.#expiring === 0) return false;
    for (const key of this.#entries.keys()) {
      const isOver = this.slots(key).statements.some((slot) => {
        const ms = expiryMs(slot);
        return afterMs < ms && ms <= upToMs;
      });
      if (isOver) return true;
    }
    return false;
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
      for (const key of this.#entries.keys()) {
        for (const slot of this.slots(key).statements) this.#index.add(slot);
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
      const newer = log.newerThan(theirs);
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

  encodeDiff(known: Summary): Uint8Array {
    return encodeDiffFrames(this.diff(known));
  }
}
