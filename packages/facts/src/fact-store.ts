// SPDX-License-Identifier: Apache-2.0
/** The contract of an engine that keeps the facts of one document; `SlotStore` is the one in TypeScript, `WasmStore` the one in WebAssembly. */
import type { FactFrame } from "./frame.ts";
import type { PackedFrame } from "./packed-frame.ts";
import type { ChainId, Slot } from "./slot.ts";

/** How far each chain is known: by writer and incarnation (hex, concatenated), the seq up to which nothing is missing. */
export type Summary = ReadonlyMap<string, number>;

/** A frame with its chain. */
export interface ChainFrame {
  readonly chain: ChainId;
  readonly frame: FactFrame;
}

/** The slots of one key. */
export interface KeySlots {
  /** One per writer, in no particular order. */
  readonly statements: readonly Slot[];
  /** Rulings on statements, one per ruling writer and writer ruled on. */
  readonly retractions: readonly Slot[];
}

/** The keys whose slots a frame changed, each once per change. */
export interface ChangedKeys {
  readonly count: number;
  /** They are made when they are first asked for. */
  keys(): readonly string[];
}

/** Which keys to scan, in code-unit order. */
export interface KeyRange {
  readonly prefix?: string;
  /** Keys after this one. */
  readonly after?: string;
}

/**
 * The facts of one document: a delta-state CRDT. A slot is the newest statement of one writer about one
 * key; a frame is a delta of one chain. Applying frames is idempotent and commutative, so any order,
 * repetition or grouping of the same frames gives the same state, and the state is bounded by the slots,
 * not by the number of writes.
 */
export interface FactStore {
  /** Number of keys that have a slot. */
  readonly keyCount: number;
  /** Number of slots. */
  readonly slotCount: number;
  /** About the encoded size of the state: text lengths in UTF-16 code units, and an overhead per slot. */
  readonly bytes: number;
  /** Gaps in what is known of chains that have slots. Honest chains have none; to remember one takes some 100 bytes. */
  readonly gaps: number;
  /** Merges a frame of a chain; returns the keys whose slots changed, each once per change. */
  applyFrame(chain: ChainId, frame: FactFrame): readonly string[];
  /** Merges a frame of a chain that is there as bytes; what changed is made into texts only for who asks. */
  applyPacked(chain: ChainId, frame: PackedFrame): ChangedKeys;
  /** Merges frames as {@link encodeDiff} encodes them, all or, with `FORMAT_INVALID`, none; returns what {@link applyFrame} does for each. */
  merge(frames: Uint8Array): readonly string[];
  /** The slots of a key; both lists empty when nobody wrote it. */
  slots(key: string): KeySlots;
  /** Whether the ttl of a statement runs out after one time and up to another, Unix milliseconds; at once where none has a ttl. */
  expires(afterMs: number, upToMs: number): boolean;
  /** Keys that have a slot. Keys added while a scan is under way are not in it. */
  keys(range?: KeyRange): Iterable<string>;
  /** Keys with a statement from a source model, or with a tag. Built at the first call, then kept up to date. */
  keysBySource(model: string): Iterable<string>;
  /** See {@link keysBySource}. */
  keysByTag(tag: string): Iterable<string>;
  /** How far every chain is known that still has a slot. */
  summary(): Summary;
  /**
   * What a store with that summary lacks, as one frame per chain, in time proportional to what is missing
   * (amortized). It may hold slots that the other has, never too few; applying it twice is harmless.
   */
  diff(known: Summary): readonly ChainFrame[];
  /** The same as bytes, in the order of the chains: the same of every engine; `state.ts` specifies them. */
  encodeDiff(known: Summary): Uint8Array;
}
