// SPDX-License-Identifier: Apache-2.0
/**
 * The facts frame: what one incarnation wrote to one document, as a delta.
 *
 * ```
 * frame   = 0x01  from  to  count  record * count
 * record  = flags:u8  seq-delta  hlc-delta  key:text  [value:text]  [confidence:f64]
 *           [model:text version:text instance:text]  [ttlMs]  [n tag:text * n]  [n id:text * n]
 *           [more:u8  [correlation:text]  [trace:bytes(25)]  [n model:text * n]]
 *           [writer:bytes(32) upTo reason:text]
 * ```
 *
 * Numbers without a type are unsigned LEB128, in their shortest form; text is its UTF-8 length and
 * bytes. Deltas are against the record before (the first: `from` and 0) and at least 1, so seq and HLC
 * rise strictly. Flags: 1 deleted (no value), 2 confidence, 4 source, 8 ttl, 16 tags, 32 basis,
 * 64 retraction (then no other, and no value), 128 more; an
 * absent source part is the empty text. More, not 0: 1 correlation, 2 trace, 4 target models. A trace is what a `traceparent` of version 00
 * has in hex: trace id(16), parent id(8), flags(1). The frame covers `from < seq <= to`: numbers that are not
 * there were overwritten before the frame was made. `value` is the canonical JSON text (RFC 8785).
 */
import { LIMITS, fromHex, isHlc, isTraceparent, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { FactSource, Hlc } from "@ctxmesh/model";
import { ByteReader, ByteWriter } from "./bytes.ts";
import type { Retraction } from "./slot.ts";

/** One write as it travels. */
export interface FactRecord {
  readonly key: string;
  readonly seq: number;
  readonly hlc: Hlc;
  /** Canonical JSON text; absent for a delete. */
  readonly valueJson?: string;
  readonly confidence?: number;
  readonly source?: FactSource;
  readonly ttlMs?: number;
  readonly tags?: readonly string[];
  readonly basis?: readonly string[];
  readonly correlation?: string;
  /** Of version 00. */
  readonly traceparent?: string;
  readonly targets?: readonly string[];
  /** A ruling on another writer's statements; then there is no value and nothing else. */
  readonly retract?: Retraction;
}

/** A delta of one document by one incarnation. */
export interface FactFrame {
  readonly from: number;
  readonly to: number;
  readonly records: readonly FactRecord[];
}

/** The first byte of a frame. */
export const FRAME_VERSION = 1;
const DELETED = 1;
const CONFIDENCE = 2;
const SOURCE = 4;
const TTL = 8;
const TAGS = 16;
const BASIS = 32;
const RETRACT = 64;
const MORE = 128;
const KNOWN_FLAGS = DELETED | CONFIDENCE | SOURCE | TTL | TAGS | BASIS | MORE;
/** In the byte that {@link MORE} announces. */
const CORRELATION = 1;
const TRACE = 2;
const TARGETS = 4;
const KNOWN_MORE = CORRELATION | TRACE | TARGETS;
/** The flags of a record, for whoever reads frames as bytes. `known` are all but `retract`, which stands alone. */
export const FLAG: Readonly<
  Record<
    "deleted" | "confidence" | "source" | "ttl" | "tags" | "basis" | "retract" | "more" | "known",
    number
  >
> = {
  deleted: DELETED,
  confidence: CONFIDENCE,
  source: SOURCE,
  ttl: TTL,
  tags: TAGS,
  basis: BASIS,
  retract: RETRACT,
  more: MORE,
  known: KNOWN_FLAGS,
};
/** The flags in the byte that `more` announces. */
export const MORE_FLAG: Readonly<Record<"correlation" | "trace" | "targets" | "known", number>> = {
  correlation: CORRELATION,
  trace: TRACE,
  targets: TARGETS,
  known: KNOWN_MORE,
};
const TRACE_ID_BYTES = 16;
const PARENT_ID_BYTES = 8;
const WRITER_BYTES = 32;
/** The shortest record: flags, two deltas, a key of one byte, and no value. */
export const MIN_RECORD_BYTES = 5;

const moreOf = ({ correlation, traceparent, targets }: FactRecord): number =>
  (correlation === undefined ? 0 : CORRELATION) |
  (traceparent === undefined ? 0 : TRACE) |
  (targets === undefined ? 0 : TARGETS);

function flagsOf(record: FactRecord): number {
  if (record.retract !== undefined) return RETRACT;
  return (
    (record.valueJson === undefined ? DELETED : 0) |
    (record.confidence === undefined ? 0 : CONFIDENCE) |
    (record.source === undefined ? 0 : SOURCE) |
    (record.ttlMs === undefined ? 0 : TTL) |
    (record.tags === undefined ? 0 : TAGS) |
    (record.basis === undefined ? 0 : BASIS) |
    (moreOf(record) === 0 ? 0 : MORE)
  );
}

function writeTexts(writer: ByteWriter, texts: readonly string[]): void {
  writer.uvarint(texts.length);
  for (const text of texts) writer.text(text);
}

function writeRecord(writer: ByteWriter, record: FactRecord): void {
  writer.text(record.key);
  if (record.retract !== undefined) {
    writer.bytes(fromHex(record.retract.writer));
    writer.uvarint(record.retract.upTo);
    writer.text(record.retract.reason);
    return;
  }
  if (record.valueJson !== undefined) writer.text(record.valueJson);
  if (record.confidence !== undefined) writer.f64(record.confidence);
  if (record.source !== undefined) {
    writer.text(record.source.model);
    writer.text(record.source.version ?? "");
    writer.text(record.source.instance ?? "");
  }
  if (record.ttlMs !== undefined) writer.uvarint(record.ttlMs);
  if (record.tags !== undefined) writeTexts(writer, record.tags);
  if (record.basis !== undefined) writeTexts(writer, record.basis);
  writeMore(writer, record);
}

function writeMore(writer: ByteWriter, record: FactRecord): void {
  const more = moreOf(record);
  if (more === 0) return;
  writer.u8(more);
  if (record.correlation !== undefined) writer.text(record.correlation);
  if (record.traceparent !== undefined) {
    const [, trace = "", parent = "", flags = ""] = record.traceparent.split("-");
    writer.bytes(fromHex(trace + parent + flags));
  }
  if (record.targets !== undefined) writeTexts(writer, record.targets);
}

/** The bytes of a frame. The records must be in ascending seq and HLC order. */
export function encodeFrame(frame: FactFrame): Uint8Array {
  const writer = new ByteWriter();
  writeFrame(writer, frame);
  return writer.finish();
}

/** Appends the bytes of a frame. */
export function writeFrame(writer: ByteWriter, frame: FactFrame): void {
  writer.u8(FRAME_VERSION);
  writer.uvarint(frame.from);
  writer.uvarint(frame.to);
  writer.uvarint(frame.records.length);
  let seq = frame.from;
  let hlc = 0;
  for (const record of frame.records) {
    writer.u8(flagsOf(record));
    writer.uvarint(record.seq - seq);
    writer.uvarint(record.hlc - hlc);
    writeRecord(writer, record);
    seq = record.seq;
    hlc = record.hlc;
  }
}

function readConfidence(reader: ByteReader): number {
  const confidence = reader.f64();
  // Object.is: a negative zero would be a second spelling of zero.
  if (!(confidence >= 0 && confidence <= 1) || Object.is(confidence, -0)) {
    reader.fail("has a confidence outside 0 to 1");
  }
  return confidence;
}

function readSource(reader: ByteReader): FactSource {
  const model = reader.text(LIMITS.tagBytes, "source model");
  if (model === "") reader.fail("has an empty source model");
  const version = reader.text(LIMITS.tagBytes, "source version");
  const instance = reader.text(LIMITS.tagBytes, "source instance");
  return {
    model,
    ...(version === "" ? {} : { version }),
    ...(instance === "" ? {} : { instance }),
  };
}

function readTexts(reader: ByteReader, what: string): readonly string[] {
  const count = reader.uvarint();
  if (count === 0 || count > LIMITS.tagsPerFact) {
    reader.fail(`has not 1 to ${String(LIMITS.tagsPerFact)} ${what}s`);
  }
  return Array.from({ length: count }, () => reader.text(LIMITS.tagBytes, what));
}

function readTraceparent(reader: ByteReader): string {
  const [trace, parent, flags] = [TRACE_ID_BYTES, PARENT_ID_BYTES, 1].map((length) =>
    toHex(reader.bytes(length)),
  );
  const traceparent = `00-${trace ?? ""}-${parent ?? ""}-${flags ?? ""}`;
  return isTraceparent(traceparent) ? traceparent : reader.fail("has a trace of nothing but zeros");
}

function readCorrelation(reader: ByteReader): string {
  const correlation = reader.text(LIMITS.tagBytes, "correlation");
  return correlation === "" ? reader.fail("has an empty correlation") : correlation;
}

function readMore(reader: ByteReader): Pick<FactRecord, "correlation" | "traceparent" | "targets"> {
  const more = reader.u8();
  if (more === 0 || (more & ~KNOWN_MORE) !== 0) reader.fail("has an unknown flag");
  return {
    ...((more & CORRELATION) === 0 ? {} : { correlation: readCorrelation(reader) }),
    ...((more & TRACE) === 0 ? {} : { traceparent: readTraceparent(reader) }),
    ...((more & TARGETS) === 0 ? {} : { targets: readTexts(reader, "target model") }),
  };
}

function readRetraction(reader: ByteReader): Retraction {
  const writer = parseDeviceKey(toHex(reader.bytes(WRITER_BYTES)));
  const upTo = reader.uvarint();
  if (!isHlc(upTo)) return reader.fail("has a clock too large");
  const reason = reader.text(LIMITS.reasonBytes, "reason");
  return reason === ""
    ? reader.fail("has a retraction without a reason")
    : { writer, upTo, reason };
}

function readRecord(reader: ByteReader, seqBefore: number, hlcBefore: number): FactRecord {
  const flags = reader.u8();
  if ((flags & ~KNOWN_FLAGS) !== 0 && flags !== RETRACT) reader.fail("has an unknown flag");
  const seqDelta = reader.uvarint();
  const hlcDelta = reader.uvarint();
  if (seqDelta === 0 || hlcDelta === 0) reader.fail("has a seq or clock that does not rise");
  const seq = seqBefore + seqDelta;
  const hlc = hlcBefore + hlcDelta;
  if (!Number.isSafeInteger(seq) || !isHlc(hlc)) return reader.fail("has a seq or clock too large");
  const key = reader.text(LIMITS.keyBytes, "key");
  if (!isFactKey(key)) reader.fail("has an empty key or one with control characters");
  if (flags === RETRACT) return { key, seq, hlc, retract: readRetraction(reader) };
  // Nothing but a value, as most records: without the copies of the general case below.
  if (flags === 0) return { key, seq, hlc, valueJson: reader.text(LIMITS.valueBytes, "value") };
  return {
    key,
    seq,
    hlc,
    ...((flags & DELETED) === 0 ? { valueJson: reader.text(LIMITS.valueBytes, "value") } : {}),
    ...((flags & CONFIDENCE) === 0 ? {} : { confidence: readConfidence(reader) }),
    ...((flags & SOURCE) === 0 ? {} : { source: readSource(reader) }),
    ...((flags & TTL) === 0 ? {} : { ttlMs: reader.uvarint() }),
    ...((flags & TAGS) === 0 ? {} : { tags: readTexts(reader, "tag") }),
    ...((flags & BASIS) === 0 ? {} : { basis: readTexts(reader, "basis id") }),
    ...((flags & MORE) === 0 ? {} : readMore(reader)),
  };
}

/** Whether text can be a fact's key: not empty, no control characters. Length is checked where bytes are known. */
export function isFactKey(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || unit === 0x7f) return false;
  }
  return text.length > 0;
}

/**
 * Parses an untrusted frame. Checks shape, order and limits; that values are canonical JSON is the
 * caller's check. Throws `FORMAT_INVALID`.
 */
export function decodeFrame(bytes: Uint8Array): FactFrame {
  const reader = new ByteReader(bytes);
  const frame = readFrame(reader, LIMITS.factsPerFrame);
  if (frame.records.length === 0) reader.fail("has no records");
  if (reader.remaining > 0) reader.fail("has trailing bytes");
  return frame;
}

/** Reads one frame of at most `most` records; what follows it is left. Throws `FORMAT_INVALID`. */
export function readFrame(reader: ByteReader, most: number): FactFrame {
  if (reader.u8() !== FRAME_VERSION) reader.fail("has an unknown version");
  const from = reader.uvarint();
  const to = reader.uvarint();
  const count = reader.uvarint();
  if (count > most || count * MIN_RECORD_BYTES > reader.remaining) {
    reader.fail("has an impossible record count");
  }
  const records: FactRecord[] = [];
  let seq = from;
  let hlc = 0;
  for (let i = 0; i < count; i++) {
    const record = readRecord(reader, seq, hlc);
    records.push(record);
    ({ seq, hlc } = record);
  }
  if (seq > to) reader.fail("has a record past its interval");
  return { from, to, records };
}
