// SPDX-License-Identifier: Apache-2.0
import type {
  ChainFrame,
  ChangedKeys,
  FactStore,
  KeyRange,
  KeySlots,
  Summary,
} from "./fact-store.ts";
import type { FactFrame } from "./frame.ts";
import type { PackedFrame } from "./packed-frame.ts";
import { SlotStore } from "./slot-store.ts";
import type { ChainId } from "./slot.ts";

const EVERYTHING: Summary = new Map();
/** Of a state of so many bytes, a store is larger: it counts an overhead for each slot. */
const ENCODED_SHARE = 2;

/**
 * A store in JavaScript that moves into another engine once it holds more than some bytes. A small document takes less there than the least
 * that an instance of WebAssembly takes, and most documents are small; a large one takes less there, and merges sooner. To move is to be loaded: what is known
 * beyond a gap of a chain, and has no slots, is forgotten.
 */
export class GrowingStore implements FactStore {
  #store: FactStore = new SlotStore();
  readonly #growBytes: number;
  /** Undefined once it was called. */
  #makeLarge: (() => FactStore) | undefined;

  /** `growBytes`: up to so many bytes ({@link FactStore.bytes}) the store stays small. */
  constructor(growBytes: number, makeLarge: () => FactStore) {
    this.#growBytes = growBytes;
    this.#makeLarge = makeLarge;
  }

  #grow(): void {
    if (this.#makeLarge === undefined || this.#store.bytes <= this.#growBytes) return;
    const large = this.#makeLarge();
    large.merge(this.#store.encodeDiff(EVERYTHING));
    this.#store = large;
    this.#makeLarge = undefined;
  }

  get keyCount(): number {
    return this.#store.keyCount;
  }

  get slotCount(): number {
    return this.#store.slotCount;
  }

  get bytes(): number {
    return this.#store.bytes;
  }

  get gaps(): number {
    return this.#store.gaps;
  }

  applyFrame(chain: ChainId, frame: FactFrame): readonly string[] {
    const changed = this.#store.applyFrame(chain, frame);
    this.#grow();
    return changed;
  }

  applyPacked(chain: ChainId, frame: PackedFrame): ChangedKeys {
    const changed = this.#store.applyPacked(chain, frame);
    this.#grow();
    return changed;
  }

  merge(frames: Uint8Array): readonly string[] {
    const isLarge = frames.length > this.#growBytes / ENCODED_SHARE;
    if (this.#makeLarge !== undefined && isLarge && this.#store.slotCount === 0) {
      const large = this.#makeLarge();
      const changed = large.merge(frames);
      this.#store = large;
      this.#makeLarge = undefined;
      return changed;
    }
    const changed = this.#store.merge(frames);
    this.#grow();
    return changed;
  }

  slots(key: string): KeySlots {
    return this.#store.slots(key);
  }

  expires(afterMs: number, upToMs: number): boolean {
    return this.#store.expires(afterMs, upToMs);
  }

  keys(range?: KeyRange): Iterable<string> {
    return this.#store.keys(range);
  }

  keysBySource(model: string): Iterable<string> {
    return this.#store.keysBySource(model);
  }

  keysByTag(tag: string): Iterable<string> {
    return this.#store.keysByTag(tag);
  }

  summary(): Summary {
    return this.#store.summary();
  }

  diff(known: Summary): readonly ChainFrame[] {
    return this.#store.diff(known);
  }

  encodeDiff(known: Summary): Uint8Array {
    return this.#store.encodeDiff(known);
  }
}
