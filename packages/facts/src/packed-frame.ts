// SPDX-License-Identifier: Apache-2.0
/**
 * A frame as the bytes that it came as: checked to their end, with what every receiver has to know of it, and without an
 * object or a text for any of its records until somebody reads them.
 */
import { LIMITS, hlcToMs, isHlc } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import { FLAG, FRAME_VERSION, MIN_RECORD_BYTES, MORE_FLAG, decodeFrame } from "./frame.ts";
import type { FactFrame, FactRecord } from "./frame.ts";
import { isUtf8 } from "./utf8.ts";

/** Whether `bytes` from `from` to `to`, which are UTF-8, are surely a value as it has to be; where it says no, the value is looked at as a text. */
export type ValueScan = (bytes: Uint8Array, from: number, to: number) => boolean;

/** What is told of a frame beside its bytes. */
interface Outline {
  readonly from: number;
  readonly to: number;
  readonly count: number;
  readonly firstHlc: Hlc;
  readonly lastHlc: Hlc;
  readonly hasRulings: boolean;
  readonly texts: number;
  readonly lastsMs: number;
}

/** Of the keys and values in a frame, the ones that a {@link ValueScan} is not sure of: where each begins and ends. */
interface UnsureValue {
  readonly key: readonly [from: number, to: number];
  readonly value: readonly [from: number, to: number];
}

const ID_BYTES = 32;
const TRACE_BYTES = 16;
const PARENT_BYTES = 8;
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/** Thrown where bytes are no frame, or are not surely one. It has no stack: hostile frames throw it often. */
const STOP = Symbol("not surely a frame");

/** Walks over the bytes of a frame as `decodeFrame` does. Where it does not stop, that function takes the frame. */
class FrameScan {
  readonly #bytes: Uint8Array;
  readonly #isSure: ValueScan;
  #at = 0;
  #texts = 0;
  #lastsMs = 0;
  #hasRulings = false;
  /** Where the last text was. */
  #textFrom = 0;
  readonly unsure: UnsureValue[] = [];

  constructor(bytes: Uint8Array, isSure: ValueScan) {
    this.#bytes = bytes;
    this.#isSure = isSure;
  }

  #stop(): never {
    throw STOP;
  }

  #skip(length: number): number {
    const from = this.#at;
    if (length > this.#bytes.length - from) this.#stop();
    this.#at = from + length;
    return from;
  }

  #uvarint(): number {
    let byte = this.#bytes[this.#skip(1)] ?? 0;
    if (byte < 0x80) return byte;
    let value = 0;
    for (let scale = 1; Number.isSafeInteger(scale); scale *= 0x80) {
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 || !Number.isSafeInteger(value)) this.#stop();
        return value;
      }
      byte = this.#bytes[this.#skip(1)] ?? 0;
    }
    return this.#stop();
  }

  /** Passes over a text; returns its length in bytes. */
  #text(most: number, least = 0): number {
    const length = this.#uvarint();
    if (length < least || length > most) this.#stop();
    const from = this.#skip(length);
    this.#textFrom = from;
    if (!isUtf8(this.#bytes, from, from + length)) this.#stop();
    return length;
  }

  #key(): readonly [number, number] {
    const length = this.#text(LIMITS.keyBytes, 1);
    const from = this.#textFrom;
    const bytes = this.#bytes;
    for (let at = from; at < from + length; at++) {
      const byte = bytes[at] ?? 0;
      if (byte < 0x20 || byte === 0x7f) this.#stop();
    }
    return [from, from + length];
  }

  #value(key: readonly [number, number]): void {
    const length = this.#text(LIMITS.valueBytes);
    const from = this.#textFrom;
    if (!this.#isSure(this.#bytes, from, from + length)) {
      this.unsure.push({ key, value: [from, from + length] });
    }
  }

  #list(): void {
    const count = this.#uvarint();
    if (count === 0 || count > LIMITS.tagsPerFact) this.#stop();
    this.#texts += count;
    for (let i = 0; i < count; i++) this.#text(LIMITS.tagBytes);
  }

  #confidence(): void {
    const at = this.#skip(8);
    const { buffer, byteOffset } = this.#bytes;
    const confidence = new DataView(buffer, byteOffset).getFloat64(at, true);
    if (!(confidence >= 0 && confidence <= 1) || Object.is(confidence, -0)) this.#stop();
  }

  #id(length: number): void {
    const from = this.#skip(length);
    let any = 0;
    for (let at = from; at < from + length; at++) any |= this.#bytes[at] ?? 0;
    if (any === 0) this.#stop();
  }

  #more(): void {
    const more = this.#bytes[this.#skip(1)] ?? 0;
    if (more === 0 || (more & ~MORE_FLAG.known) !== 0) this.#stop();
    if ((more & MORE_FLAG.correlation) !== 0) this.#text(LIMITS.tagBytes, 1);
    if ((more & MORE_FLAG.trace) !== 0) {
      this.#id(TRACE_BYTES);
      this.#id(PARENT_BYTES);
      this.#skip(1);
    }
    if ((more & MORE_FLAG.targets) !== 0) this.#list();
  }

  /** What follows a key. */
  #content(flags: number, key: readonly [number, number], hlc: Hlc): void {
    if (flags === FLAG.retract) {
      this.#hasRulings = true;
      this.#lastsMs = Number.POSITIVE_INFINITY;
      this.#skip(ID_BYTES);
      this.#uvarint();
      this.#text(LIMITS.reasonBytes, 1);
      return;
    }
    if ((flags & FLAG.deleted) === 0) this.#value(key);
    if ((flags & FLAG.confidence) !== 0) this.#confidence();
    if ((flags & FLAG.source) !== 0) {
      this.#text(LIMITS.tagBytes, 1);
      this.#text(LIMITS.tagBytes);
      this.#text(LIMITS.tagBytes);
    }
    const ttlMs = (flags & FLAG.ttl) === 0 ? Number.POSITIVE_INFINITY : this.#uvarint();
    this.#lastsMs = Math.max(this.#lastsMs, hlcToMs(hlc) + ttlMs);
    if ((flags & FLAG.tags) !== 0) this.#list();
    if ((flags & FLAG.basis) !== 0) this.#list();
    if ((flags & FLAG.more) !== 0) this.#more();
  }

  frame(): Outline {
    if (this.#bytes[this.#skip(1)] !== FRAME_VERSION) this.#stop();
    const from = this.#uvarint();
    const to = this.#uvarint();
    const count = this.#uvarint();
    const rest = this.#bytes.length - this.#at;
    if (count === 0 || count > LIMITS.factsPerFrame || count * MIN_RECORD_BYTES > rest)
      this.#stop();
    let [seq, hlc, firstHlc] = [from, 0, 0];
    for (let i = 0; i < count; i++) {
      const flags = this.#bytes[this.#skip(1)] ?? 0;
      if ((flags & ~FLAG.known) !== 0 && flags !== FLAG.retract) this.#stop();
      const [seqs, ticks] = [this.#uvarint(), this.#uvarint()];
      seq += seqs;
      hlc += ticks;
      if (seqs === 0 || ticks === 0 || seq > to || !isHlc(hlc)) return this.#stop();
      if (i === 0) firstHlc = hlc;
      this.#content(flags, this.#key(), hlc);
    }
    if (this.#at !== this.#bytes.length) this.#stop();
    return {
      from,
      to,
      count,
      firstHlc: firstHlc as Hlc,
      lastHlc: hlc as Hlc,
      hasRulings: this.#hasRulings,
      texts: this.#texts,
      lastsMs: this.#lastsMs,
    };
  }
}

/** See the top of the file. */
export class PackedFrame implements FactFrame {
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly to: number;
  /** Number of records: 1 or more. */
  readonly count: number;
  /** Clocks of the first record and of the last one. */
  readonly firstHlc: Hlc;
  readonly lastHlc: Hlc;
  /** Whether one of them is a ruling on what another writer stated. */
  readonly hasRulings: boolean;
  /** Tags, basis ids and target models, taken together. */
  readonly texts: number;
  /** When the last of them expires, Unix milliseconds; Infinity where one never does. */
  readonly lastsMs: number;
  #records: readonly FactRecord[] | undefined;

  private constructor(
    bytes: Uint8Array,
    { from, to, count, firstHlc, lastHlc, hasRulings, texts, lastsMs }: Outline,
    records?: readonly FactRecord[],
  ) {
    this.bytes = bytes;
    this.from = from;
    this.to = to;
    this.count = count;
    this.firstHlc = firstHlc;
    this.lastHlc = lastHlc;
    this.hasRulings = hasRulings;
    this.texts = texts;
    this.lastsMs = lastsMs;
    this.#records = records;
  }

  /**
   * Checks an untrusted frame, whose bytes have to stay as they are: takes exactly what {@link decodeFrame} takes. Values of which `isSure` is not sure
   * go to `checkValue` as texts, in order. Throws `FORMAT_INVALID`, and what `checkValue` throws.
   */
  static check(
    bytes: Uint8Array,
    isSure: ValueScan,
    checkValue: (json: string, key: string) => void,
  ): PackedFrame {
    const scan = new FrameScan(bytes, isSure);
    let outline: Outline;
    try {
      outline = scan.frame();
    } catch (error) {
      if (error !== STOP) throw error;
      return PackedFrame.#decoded(bytes, checkValue);
    }
    for (const { key, value } of scan.unsure) {
      checkValue(DECODER.decode(bytes.subarray(...value)), DECODER.decode(bytes.subarray(...key)));
    }
    return new PackedFrame(bytes, outline);
  }

  /** What nearly always throws, since it says in words why a frame is none. */
  static #decoded(bytes: Uint8Array, checkValue: (json: string, key: string) => void): PackedFrame {
    const frame = decodeFrame(bytes);
    for (const { valueJson, key } of frame.records) {
      if (valueJson !== undefined) checkValue(valueJson, key);
    }
    return PackedFrame.of(bytes, frame);
  }

  /** A frame that is here as records, too: `bytes` is what `encodeFrame` makes of it. It has a record. */
  static of(bytes: Uint8Array, { from, to, records }: FactFrame): PackedFrame {
    const [firstHlc, lastHlc] = [records[0]?.hlc ?? 0, records.at(-1)?.hlc ?? 0] as [Hlc, Hlc];
    let [hasRulings, texts, lastsMs] = [false, 0, 0];
    for (const { hlc, ttlMs, tags, basis, targets, retract } of records) {
      hasRulings ||= retract !== undefined;
      texts += (tags?.length ?? 0) + (basis?.length ?? 0) + (targets?.length ?? 0);
      lastsMs = Math.max(lastsMs, ttlMs === undefined ? Infinity : hlcToMs(hlc) + ttlMs);
    }
    const { length: count } = records;
    const outline = { from, to, count, firstHlc, lastHlc, hasRulings, texts, lastsMs };
    return new PackedFrame(bytes, outline, records);
  }

  /** The records, decoded when they are first read. */
  get records(): readonly FactRecord[] {
    return (this.#records ??= decodeFrame(this.bytes).records);
  }
}
