// SPDX-License-Identifier: Apache-2.0
/** Local writes: validated when called, stamped and signed once when their group is written. */
import {
  assertJsonValue,
  canonicalJson,
  encodeBatch,
  encodeBody,
  encodeHeader,
  headerSigningInput,
} from "@ctxmesh/codec";
import type { Header, Section } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { PackedFrame, encodeFrame, isFactKey } from "@ctxmesh/facts";
import type { FactRecord, HlcClock, Retraction } from "@ctxmesh/facts";
import { LIMITS, MeshError, fromHex, isTraceparent, parseHeaderHash, toHex } from "@ctxmesh/model";
import type {
  DeviceSigner,
  DocumentName,
  FactInput,
  FactSource,
  HeaderHash,
  Hlc,
  Priority,
} from "@ctxmesh/model";
import type { RichUpdate } from "@ctxmesh/rich";
import type { CheckedBatch } from "./checks.ts";
import type { Part } from "./parts.ts";

/** A record before it is stamped. */
type Draft = Omit<FactRecord, "seq" | "hlc"> & {
  /** The clock of a statement that is made again; otherwise it gets the next one. */
  readonly hlc?: Hlc;
  /** To be added to the writer's own number when the write is stamped; then there is no `valueJson` yet. */
  readonly increment?: number;
};

/** One validated local write call: drafts of facts, or a staged rich update and no drafts. */
export interface PreparedWrite {
  readonly doc: DocumentName;
  /** Absent: normal, as rich updates and retractions are. */
  readonly priority?: Priority;
  readonly drafts: readonly Draft[];
  readonly update?: RichUpdate;
  /** Never less than the encoded size of its records. */
  readonly bytes: number;
}

/** Most bytes of a record besides its texts, their own length prefixes in lists not counted (see `frame.ts`). */
const DRAFT_OVERHEAD = 40;
/** Most bytes that a retraction has besides: the writer and how far it reaches. */
const RETRACT_OVERHEAD = 40;
/** Most bytes of the length prefix of a tag, basis id or target model. */
const LIST_ITEM_OVERHEAD = 2;
/** Most bytes of a section besides its document name and records: header entry, body prefix, frame head. */
const SECTION_OVERHEAD = 192;
const utf8Length = (text: string): number => Buffer.byteLength(text);

function limit(field: string, size: number, most: number, unit: string): void {
  if (size <= most) return;
  throw new MeshError(
    "LIMIT_EXCEEDED",
    `${field} has ${String(size)} ${unit}, the limit is ${String(most)}`,
    { field },
  );
}

function invalid(field: string, problem: string): never {
  throw new MeshError("INPUT_INVALID", `${field} ${problem}`, { field });
}

function checkText(field: string, text: unknown): void {
  if (typeof text !== "string" || text.length === 0 || !text.isWellFormed()) {
    invalid(field, "must be a non-empty, well-formed string");
  }
  limit(field, utf8Length(text), LIMITS.tagBytes, "bytes");
}

// What is kept is a copy with the known members only: the caller may change its own object later, and
// this replica must hold exactly what the others will decode.
function checkSource(source: FactSource): FactSource {
  if (typeof source !== "object" || source === null) invalid("source", "must be an object");
  const { model, version, instance } = source;
  checkText("source.model", model);
  if (version !== undefined) checkText("source.version", version);
  if (instance !== undefined) checkText("source.instance", instance);
  return {
    model,
    ...(version === undefined ? {} : { version }),
    ...(instance === undefined ? {} : { instance }),
  };
}

function checkTexts(field: string, texts: readonly string[]): readonly string[] {
  if (!Array.isArray(texts)) invalid(field, "must be an array of strings");
  limit(field, texts.length, LIMITS.tagsPerFact, "items");
  for (const text of texts) checkText(field, text);
  return [...texts];
}

function checkKey(key: unknown): string {
  if (typeof key !== "string" || !isFactKey(key) || !key.isWellFormed()) {
    return invalid("key", "must be a non-empty string without control characters");
  }
  limit("key", utf8Length(key), LIMITS.keyBytes, "bytes");
  return key;
}

/** The parts of a fact that say what it belongs to, and whom it is for. */
function draftRoute({
  correlation,
  traceparent,
  targets,
}: FactInput): Pick<Draft, "correlation" | "traceparent" | "targets"> {
  if (correlation !== undefined) checkText("correlation", correlation);
  if (traceparent !== undefined) checkText("traceparent", traceparent);
  if (traceparent !== undefined && !isTraceparent(traceparent)) {
    invalid("traceparent", "must be one of version 00, as W3C Trace Context has it");
  }
  return {
    ...(correlation === undefined ? {} : { correlation }),
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(targets === undefined || targets.length === 0
      ? {}
      : { targets: checkTexts("targets", targets) }),
  };
}

function draftFact(input: FactInput): Draft {
  const { confidence, source, ttlMs, tags, basis } = input;
  const sure = confidence === undefined || (confidence >= 0 && confidence <= 1);
  if (!sure || !["number", "undefined"].includes(typeof confidence)) {
    invalid("confidence", "must be a number between 0 and 1");
  }
  if (ttlMs !== undefined && !(Number.isSafeInteger(ttlMs) && ttlMs > 0)) {
    invalid("ttlMs", "must be a positive whole number of milliseconds");
  }
  assertJsonValue(input.value, "value");
  const valueJson = canonicalJson(input.value);
  limit("value", utf8Length(valueJson), LIMITS.valueBytes, "bytes");
  const { value } = input;
  if (input.increment === true && typeof value !== "number") {
    invalid("value", "must be a number to increment by");
  }
  return {
    key: checkKey(input.key),
    ...(input.increment === true && typeof value === "number"
      ? { increment: value }
      : { valueJson }),
    // Adding zero turns -0, which has no canonical place in a frame, into 0.
    ...(confidence === undefined ? {} : { confidence: confidence + 0 }),
    ...(source === undefined ? {} : { source: checkSource(source) }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(tags === undefined || tags.length === 0 ? {} : { tags: checkTexts("tags", tags) }),
    ...(basis === undefined || basis.length === 0 ? {} : { basis: checkTexts("basis", basis) }),
    ...draftRoute(input),
  };
}

/** The longest canonical number. */
const NUMBER_BYTES = 25;

const textBytes = (texts: readonly string[] = [], overhead = 0): number =>
  texts.reduce((sum, text) => sum + utf8Length(text) + overhead, 0);

/** Of correlation, trace and target models, with the flags and lengths before them. */
const routeBytes = ({ correlation = "", traceparent = "", targets }: Draft): number =>
  LIST_ITEM_OVERHEAD * 2 +
  textBytes([correlation, traceparent]) +
  textBytes(targets, LIST_ITEM_OVERHEAD);

/** Never less than the encoded size of a record. */
export const recordBytes = (draft: Draft): number =>
  DRAFT_OVERHEAD +
  textBytes([draft.key, draft.valueJson ?? "", draft.retract?.reason ?? ""]) +
  (draft.increment === undefined ? 0 : NUMBER_BYTES) +
  (draft.retract === undefined ? 0 : RETRACT_OVERHEAD) +
  textBytes(Object.values(draft.source ?? {})) +
  textBytes(draft.tags, LIST_ITEM_OVERHEAD) +
  textBytes(draft.basis, LIST_ITEM_OVERHEAD) +
  routeBytes(draft);

const sizeOf = (drafts: readonly Draft[]): number =>
  drafts.reduce((sum, draft) => sum + recordBytes(draft), 0);

const PRIORITIES: readonly Priority[] = ["high", "normal", "low"];

function prepare(
  doc: DocumentName,
  drafts: readonly Draft[],
  priority: Priority = "normal",
): PreparedWrite {
  if (!PRIORITIES.includes(priority)) invalid("priority", `must be ${PRIORITIES.join(", ")}`);
  if (drafts.length === 0) invalid("facts", "is empty");
  limit("facts", drafts.length, LIMITS.factsPerWrite, "facts");
  const bytes = sizeOf(drafts);
  limit("facts", bytes, LIMITS.writeBytes, "bytes in one write");
  return { doc, priority, drafts, bytes };
}

/** Validates a put. Throws `INPUT_INVALID` or `LIMIT_EXCEEDED` naming the field; nothing is written then. */
export const preparePut = (
  doc: DocumentName,
  facts: readonly FactInput[],
  priority?: Priority,
): PreparedWrite => prepare(doc, facts.map(draftFact), priority);

/** Validates a delete. Throws like {@link preparePut}. */
export const prepareDelete = (
  doc: DocumentName,
  keys: readonly string[],
  priority?: Priority,
): PreparedWrite =>
  prepare(
    doc,
    keys.map((key) => ({ key: checkKey(key) })),
    priority,
  );

/** Prepared writes of facts of one document as one; more urgent as the most urgent. Throws like {@link preparePut}. */
export function joinWrites(doc: DocumentName, writes: readonly PreparedWrite[]): PreparedWrite {
  const urgent = PRIORITIES.find((priority) => writes.some((write) => write.priority === priority));
  return prepare(
    doc,
    writes.flatMap(({ drafts }) => drafts),
    urgent,
  );
}

/** Validates a retraction of what a writer stated up to an HLC. Throws like {@link preparePut}. */
export function prepareRetract(doc: DocumentName, key: string, retract: Retraction): PreparedWrite {
  if (retract.reason.length === 0 || !retract.reason.isWellFormed()) {
    invalid("reason", "must be a non-empty, well-formed string");
  }
  limit("reason", utf8Length(retract.reason), LIMITS.reasonBytes, "bytes");
  return prepare(doc, [{ key: checkKey(key), retract }]);
}

/** Records of an earlier life as a write that states them again, at their own clocks. */
export const prepareRecords = (
  doc: DocumentName,
  records: readonly FactRecord[],
): PreparedWrite => ({ doc, drafts: records, bytes: sizeOf(records) });

/** A staged rich update as a write. */
export const prepareUpdate = (doc: DocumentName, update: RichUpdate): PreparedWrite => ({
  doc,
  drafts: [],
  update,
  bytes: update.bytes.length,
});

/** Splits writes into runs whose batch stays under `LIMITS.batchBytes` whatever they hold; a write is never divided. */
export function packWrites<T extends PreparedWrite>(writes: readonly T[]): T[][] {
  const packs: T[][] = [];
  let pack: T[] = [];
  let bytes = 0;
  let sections = new Set<string>();
  for (const write of writes) {
    const section = `${write.update === undefined ? "facts" : "rich"} ${write.doc}`;
    const isNew = !sections.has(section);
    const size = write.bytes + (isNew ? SECTION_OVERHEAD + write.doc.length : 0);
    const full =
      bytes + size > LIMITS.writeBytes ||
      (isNew && sections.size >= LIMITS.sectionsPerBatch) ||
      // Facts of two writes become one frame; rich updates stay as they are, one per section.
      (!isNew && write.update !== undefined);
    if (pack.length > 0 && full) {
      packs.push(pack);
      pack = [];
      bytes = 0;
      sections = new Set();
    }
    pack.push(write);
    bytes += write.bytes + (sections.has(section) ? 0 : SECTION_OVERHEAD + write.doc.length);
    sections.add(section);
  }
  if (pack.length > 0) packs.push(pack);
  return packs;
}

/** The part of a header that does not depend on the writes. */
export type ChainPosition = Pick<
  Header,
  "space" | "replica" | "incarnation" | "seq" | "prev" | "deps" | "client" | "lane"
>;

function numberIn(valueJson: string | undefined): number {
  const value: unknown = valueJson === undefined ? undefined : JSON.parse(valueJson);
  return typeof value === "number" ? value : 0;
}

/** Whether a write holds an increment, which needs {@link OwnNumbers}. */
export const hasIncrement = ({ drafts }: PreparedWrite): boolean =>
  drafts.some(({ increment }) => increment !== undefined);

/**
 * This writer's own numbers within one group: increments add to what the group's earlier writes left,
 * or else to what is stored.
 */
export class OwnNumbers {
  readonly #stored: (doc: DocumentName, key: string) => number;
  /** The JSON text of the last write of a key; undefined for a delete. */
  readonly #written = new Map<string, string | undefined>();

  /** `stored` tells the number under a key before the group. */
  constructor(stored: (doc: DocumentName, key: string) => number) {
    this.#stored = stored;
  }

  /** The draft as a record's content, with an increment turned into the new number. */
  settle(doc: DocumentName, draft: Draft): Omit<FactRecord, "seq" | "hlc"> {
    const { increment, ...content } = draft;
    const name = `${doc}\n${draft.key}`;
    if (increment === undefined) {
      if (draft.retract === undefined) this.#written.set(name, draft.valueJson);
      return content;
    }
    const base = this.#written.has(name)
      ? numberIn(this.#written.get(name))
      : this.#stored(doc, draft.key);
    const sum = Math.min(Number.MAX_VALUE, Math.max(-Number.MAX_VALUE, base + increment));
    const valueJson = canonicalJson(sum);
    this.#written.set(name, valueJson);
    return { ...content, valueJson };
  }
}

/** A local batch holds all of its content, and nothing void. */
type LocalPart = Extract<Part, { readonly kind: "facts" } | { readonly kind: "rich" }>;

function sectionOf(part: LocalPart, body: Uint8Array, until: number | undefined): Section {
  const { from, to } = part.kind === "facts" ? part.frame : part.update;
  const { client = 0, by } = part.kind === "rich" ? part.update : {};
  return {
    doc: part.doc,
    gen: 0,
    kind: part.kind,
    from,
    to,
    bodyHash: sha256(body),
    bodyLen: body.length,
    keyId: null,
    ...(until === undefined ? {} : { until }),
    ...(by === undefined ? {} : { alias: client, by: fromHex(by) }),
  };
}

/** When the last fact of a document's writes expires; undefined if one of them must not be missed. */
const untilOf = (writes: readonly StampedWrite[], part: LocalPart): number | undefined =>
  part.kind === "facts"
    ? writes
        .filter(({ doc, update }) => doc === part.doc && update === undefined)
        .map(({ until }) => until)
        .reduce((a, b) => (a === undefined || b === undefined ? undefined : Math.max(a, b)), 0)
    : undefined;

/** A write with its clocks. */
export interface StampedWrite extends PreparedWrite {
  /** As it was before. */
  readonly made: PreparedWrite;
  /** Its facts, without their positions among those of a chain; none with a rich update. */
  readonly records: readonly Omit<FactRecord, "seq">[];
  /** Of its last fact. */
  readonly hlc: Hlc;
  /** See {@link OwnExpiry.settle}. */
  readonly until?: number | undefined;
}

/**
 * Stamps writes in the order in which they were made, whatever their lanes: so a later one wins in a slot of both. `numbers`
 * is needed where a write has an increment.
 */
export const stampWrites = (
  writes: readonly PreparedWrite[],
  clock: HlcClock,
  numbers: OwnNumbers | undefined,
): StampedWrite[] =>
  writes.map((write) => {
    const records = write.drafts.map((draft) => ({
      ...(numbers?.settle(write.doc, draft) ?? draft),
      hlc: draft.hlc ?? clock.tick(),
    }));
    return { ...write, made: write, records, hlc: records.at(-1)?.hlc ?? clock.tick() };
  });

/** Encodes and signs writes as the next batch of a chain. `seqs` (last fact seq per document) moves on. */
export function buildBatch(
  writes: readonly StampedWrite[],
  position: ChainPosition,
  seqs: Map<DocumentName, number>,
  { signer, epoch }: { readonly signer: DeviceSigner; readonly epoch: number },
): CheckedBatch {
  const recordsByDoc = new Map<DocumentName, FactRecord[]>();
  const from = new Map(seqs);
  const rich: LocalPart[] = [];
  for (const { doc, records: stamped, update } of writes) {
    if (update !== undefined) {
      rich.push({ kind: "rich", doc, update });
      continue;
    }
    const records = recordsByDoc.get(doc) ?? [];
    recordsByDoc.set(doc, records);
    for (const record of stamped) {
      const seq = (seqs.get(doc) ?? 0) + 1;
      seqs.set(doc, seq);
      records.push({ ...record, seq });
    }
  }
  const facts = [...recordsByDoc].map(([doc, records]): LocalPart => {
    const frame = { from: from.get(doc) ?? 0, to: seqs.get(doc) ?? 0, records };
    return { kind: "facts", doc, frame: PackedFrame.of(encodeFrame(frame), frame) };
  });
  const parts: LocalPart[] = [...facts, ...rich];
  const bodies = parts.map((part) =>
    encodeBody(part.kind === "facts" ? part.frame.bytes : part.update.bytes),
  );
  const sections = parts.map((part, i) =>
    sectionOf(part, bodies[i] ?? new Uint8Array(), untilOf(writes, part)),
  );
  const hlc = writes.at(-1)?.hlc ?? (0 as Hlc);
  const header: Header = { ...position, hlc, epoch, sections };
  const headerBytes = encodeHeader(header);
  const signature = signer.sign(headerSigningInput(headerBytes));
  const bytes = encodeBatch({ headerBytes, signature, bodies });
  const hash: HeaderHash = parseHeaderHash(toHex(sha256(headerBytes)));
  return { header, headerBytes, signature, bodies, bytes, hash, parts };
}
