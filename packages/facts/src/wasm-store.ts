// SPDX-License-Identifier: Apache-2.0
import { LIMITS, fromHex, parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import { ByteReader, ByteWriter } from "./bytes.ts";
import { decodeFrames, encodeFrames, risingFrames } from "./chain-frames.ts";
import { nameOf } from "./chain-names.ts";
import type {
  ChainFrame,
  ChangedKeys,
  FactStore,
  KeyRange,
  KeySlots,
  Summary,
} from "./fact-store.ts";
import { decodeFrame } from "./frame.ts";
import type { FactFrame } from "./frame.ts";
import type { PackedFrame } from "./packed-frame.ts";
import type { ChainId, Slot } from "./slot.ts";
import { WasmCore } from "./wasm-core.ts";

const WRITER_BYTES = 32;
const INCARNATION_BYTES = 16;
const SEED_BYTES = 16;
/** Keys fetched from the core at a time. */
const PAGE = 256;
const NONE: readonly Slot[] = [];
const NO_SLOTS: KeySlots = { statements: NONE, retractions: NONE };
const NOTHING_CHANGED: ChangedKeys = { count: 0, keys: () => [] };
const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });
/** Figures of the core, by their numbers. */
const STAT = { keys: 0, slots: 1, bytes: 2, gaps: 3, used: 6 } as const;
/** Which keys a scan wants. */
const KIND = { any: 0, source: 1, tag: 2 } as const;

/** Lines, each ended by a line feed, which no key has in it. */
const linesOf = (bytes: Uint8Array): readonly string[] =>
  bytes.length === 0 ? [] : DECODER.decode(bytes.subarray(0, -1)).split("\n");

const slotsOf = ({ chain, frame }: ChainFrame): readonly Slot[] =>
  frame.records.map((record) => ({ ...record, ...chain }));

/**
 * The facts of one document in WebAssembly; see {@link FactStore}. Slots stay the bytes that they came as, until
 * somebody reads them. Answers that the core has no memory for throw `LIMIT_EXCEEDED`, and change nothing; when the core
 * itself fails, this call and all later ones throw `INTERNAL`, and other documents go on.
 */
export class WasmStore implements FactStore {
  /** Length of the seed, in bytes. */
  static readonly seedBytes: number = SEED_BYTES;
  readonly #core: WasmCore;
  /** The chain of the last frame, and its id as bytes: mostly that of the next. */
  #latest: { readonly chain: ChainId; readonly id: Uint8Array } | undefined;

  /** `seed`: random bytes that nobody else knows, so that nobody can choose keys that are slow to find. */
  constructor(seed: Uint8Array, limitBytes: number = LIMITS.wasmDocumentBytes) {
    this.#core = new WasmCore(seed, limitBytes);
  }

  get keyCount(): number {
    return this.#core.stat(STAT.keys);
  }

  get slotCount(): number {
    return this.#core.stat(STAT.slots);
  }

  get bytes(): number {
    return this.#core.stat(STAT.bytes);
  }

  get gaps(): number {
    return this.#core.stat(STAT.gaps);
  }

  /** Bytes of memory in use: slots, keys, tables and buffers. */
  get memoryBytes(): number {
    return this.#core.stat(STAT.used);
  }

  applyFrame(chain: ChainId, frame: FactFrame): readonly string[] {
    // What a diff has of a hostile chain may rise only in parts.
    return this.merge(encodeFrames(risingFrames({ chain, frame })));
  }

  /**
   * Merges a frame as it comes from another device, without making objects of it: what `decodeFrame` and {@link applyFrame} do
   * together. Throws `FORMAT_INVALID`.
   */
  applyBytes(chain: ChainId, frame: Uint8Array): readonly string[] {
    this.#apply(chain, frame);
    return linesOf(this.#core.answer());
  }

  applyPacked(chain: ChainId, frame: PackedFrame): ChangedKeys {
    const count = this.#apply(chain, frame.bytes);
    if (count === 0) return NOTHING_CHANGED;
    const lines = this.#core.answer().slice();
    let keys: readonly string[] | undefined;
    return { count, keys: () => (keys ??= linesOf(lines)) };
  }

  /** Returns how many slots changed. */
  #apply(chain: ChainId, frame: Uint8Array): number {
    const id = this.#idOf(chain);
    const length = id.length + frame.length;
    return this.#core.call(
      (core) => core.apply(length),
      [id, frame],
      () => decodeFrame(frame),
    );
  }

  merge(frames: Uint8Array): readonly string[] {
    this.#core.call(
      (core) => core.merge(frames.length),
      [frames],
      () => decodeFrames(frames),
    );
    return linesOf(this.#core.answer());
  }

  #idOf(chain: ChainId): Uint8Array {
    const latest = this.#latest;
    if (latest?.chain.incarnation === chain.incarnation && latest.chain.writer === chain.writer) {
      return latest.id;
    }
    const id = fromHex(nameOf(chain));
    this.#latest = { chain, id };
    return id;
  }

  slots(key: string): KeySlots {
    // No key has half a character in it, and none is to be found by what the encoder puts in its place. Nor may a question take the memory of a document.
    if (key.length > LIMITS.keyBytes || !key.isWellFormed()) return NO_SLOTS;
    const bytes = ENCODER.encode(key);
    if (this.#core.call((core) => core.get(bytes.length), [bytes]) === 0) return NO_SLOTS;
    const frames = decodeFrames(this.#core.answer());
    const slots = frames.flatMap(slotsOf);
    if (slots.length === 1 && slots[0]?.retract === undefined) {
      return { statements: slots, retractions: NONE };
    }
    return {
      statements: slots.filter(({ retract }) => retract === undefined),
      retractions: slots.filter(({ retract }) => retract !== undefined),
    };
  }

  expires(afterMs: number, upToMs: number): boolean {
    return this.#core.call((core) => core.expires(afterMs, upToMs)) === 1;
  }

  keys({ prefix = "", after }: KeyRange = {}): Iterable<string> {
    return this.#scan(KIND.any, "", prefix, after);
  }

  keysBySource(model: string): Iterable<string> {
    return this.#scan(KIND.source, model);
  }

  keysByTag(tag: string): Iterable<string> {
    return this.#scan(KIND.tag, tag);
  }

  *#scan(kind: number, term: string, prefix = "", after?: string): Generator<string> {
    if (term.length > LIMITS.tagBytes || !term.isWellFormed()) return;
    if (prefix.length > LIMITS.keyBytes) return;
    const upTo = this.keyCount;
    // The core compares UTF-8, which has no half characters.
    const asked = ENCODER.encode(prefix.isWellFormed() ? prefix : "");
    const wanted = ENCODER.encode(term);
    const isPlain = after !== undefined && after.length <= LIMITS.keyBytes && after.isWellFormed();
    let last = isPlain ? after : undefined;
    for (let count = PAGE; count === PAGE;) {
      const from = ENCODER.encode(last);
      const fromLength = last === undefined ? -1 : from.length;
      count = this.#core.call(
        (core) => core.scan(asked.length, fromLength, kind, wanted.length, upTo, PAGE),
        [asked, from, wanted],
      );
      const keys = linesOf(this.#core.answer());
      last = keys.at(-1);
      for (const key of keys) {
        if (key.startsWith(prefix) && (after === undefined || key > after)) yield key;
      }
    }
  }

  summary(): Summary {
    this.#core.call((core) => core.summary());
    const reader = new ByteReader(this.#core.answer());
    const count = reader.uvarint();
    const known = new Map<string, number>();
    for (let i = 0; i < count; i++) {
      const writer = parseDeviceKey(toHex(reader.bytes(WRITER_BYTES)));
      const incarnation = parseIncarnationId(toHex(reader.bytes(INCARNATION_BYTES)));
      known.set(nameOf({ writer, incarnation }), reader.uvarint());
    }
    return known;
  }

  diff(known: Summary): readonly ChainFrame[] {
    return decodeFrames(this.encodeDiff(known));
  }

  encodeDiff(known: Summary): Uint8Array {
    const writer = new ByteWriter();
    writer.uvarint(known.size);
    for (const name of [...known.keys()].toSorted()) {
      writer.bytes(fromHex(name));
      writer.uvarint(known.get(name) ?? 0);
    }
    const summary = writer.finish();
    this.#core.call((core) => core.diff(summary.length), [summary]);
    return this.#core.answer().slice();
  }

  /**
   * SHA-256 of each slot's leaf, 32 bytes each, by key, kind, writer and writer ruled on. A leaf is a zero byte, the ids of
   * writer and incarnation, and the slot as a frame of its own.
   */
  leaves(): Uint8Array {
    this.#core.call((core) => core.leaves());
    return this.#core.answer().slice();
  }

  /** The root of the tree over {@link leaves} (RFC 9162, section 2.1.1): equal where the slots are, whatever the order in which they came. */
  digest(): Uint8Array {
    this.#core.call((core) => core.digest());
    return this.#core.answer().slice();
  }
}
