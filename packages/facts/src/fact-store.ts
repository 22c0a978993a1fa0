// SPDX-License-Identifier: Apache-2.0
/**
 * The facts of one document: a map from key to slots, one slot per writer, last write wins inside a
 * slot. Merging frames is idempotent and commutative, so they apply in any order; the state is bounded
 * by the live slots, not by the number of writes.
 */
import type { DeviceKey, FactSource, IncarnationId } from "@ctxmesh/model";
import type { FactRecord } from "./frame.ts";
import { isNewer } from "./resolver.ts";
import type { Slot } from "./resolver.ts";

/** Overhead counted per slot besides its texts, so that `bytes` tracks the encoded size. */
const SLOT_BYTES = 96;

const lengthOf = (texts: readonly string[] | undefined): number =>
  texts?.reduce((sum, text) => sum + text.length, 0) ?? 0;

const sourceLength = ({ model, version = "", instance = "" }: FactSource): number =>
  model.length + version.length + instance.length;

const slotBytes = (key: string, slot: Slot): number =>
  SLOT_BYTES +
  key.length +
  (slot.valueJson?.length ?? 0) +
  (slot.source === undefined ? 0 : sourceLength(slot.source)) +
  lengthOf(slot.tags) +
  lengthOf(slot.basis);

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

/** The slots of one document. */
export class FactStore {
  readonly #slotsByKey = new Map<string, Slot[]>();
  /** All keys in code-unit order; undefined after a key was added, rebuilt by the next scan. */
  #sortedKeys: string[] | undefined = [];
  #bytes = 0;

  /** Number of keys that have a slot. */
  get keyCount(): number {
    return this.#slotsByKey.size;
  }

  /** About the encoded size of the state: text lengths in UTF-16 code units, and an overhead per slot. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Merges one write; returns whether it is now its writer's slot (false: an older one came late). */
  apply(writer: DeviceKey, incarnation: IncarnationId, record: FactRecord): boolean {
    const slot: Slot = {
      writer,
      incarnation,
      seq: record.seq,
      hlc: record.hlc,
      valueJson: record.valueJson,
      confidence: record.confidence,
      source: record.source,
      ttlMs: record.ttlMs,
      tags: record.tags,
      basis: record.basis,
    };
    const slots = this.#slotsByKey.get(record.key);
    if (slots === undefined) {
      this.#slotsByKey.set(record.key, [slot]);
      this.#sortedKeys = undefined;
      this.#bytes += slotBytes(record.key, slot);
      return true;
    }
    const index = slots.findIndex((other) => other.writer === writer);
    const current = slots[index];
    if (current === undefined) {
      slots.push(slot);
    } else {
      if (!isNewer(slot, current)) return false;
      slots[index] = slot;
      this.#bytes -= slotBytes(record.key, current);
    }
    this.#bytes += slotBytes(record.key, slot);
    return true;
  }

  /** The slots of a key, one per writer, in no particular order; empty when nobody wrote it. */
  slots(key: string): readonly Slot[] {
    return this.#slotsByKey.get(key) ?? [];
  }

  /** Keys that start with `prefix` and come after `after`, in code-unit order. */
  *keys(prefix = "", after?: string): Generator<string> {
    const sorted = (this.#sortedKeys ??= [...this.#slotsByKey.keys()].toSorted((a, b) =>
      a < b ? -1 : 1,
    ));
    let index = lowerBound(sorted, after !== undefined && after > prefix ? after : prefix);
    while (sorted[index]?.startsWith(prefix) === true) {
      const key = sorted[index++] ?? "";
      if (key !== after) yield key;
    }
  }
}
