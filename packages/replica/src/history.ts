// SPDX-License-Identifier: Apache-2.0
/**
 * The past, read from the log, and from what its pruned part amounts to. Every batch that touches the document is
 * opened, in it the section with the document's facts alone; the others are told by a look at their bytes. Nothing is
 * kept between two reads: the past is asked for rarely, and an index over all that was ever written would cost more
 * than what counts now. A read makes way for other work whenever the store reads on from the disk.
 */
import { encodeCbor } from "@ctxmesh/codec";
import { Resolvers } from "@ctxmesh/facts";
import type { ChainFrame, FactRecord } from "@ctxmesh/facts";
import { HLC_EPOCH_MS, LIMITS, MeshError, formatInstant, hlcFromMs, hlcToMs } from "@ctxmesh/model";
import type {
  CallOff,
  Clock,
  DocumentName,
  HistoryEntry,
  HistoryQuery,
  Hlc,
  KeyHistory,
  Store,
  Vault,
} from "@ctxmesh/model";
import type { Checkpoint } from "./checkpoint-format.ts";
import type { Core } from "./core.ts";
import { DocumentFacts, contentOf } from "./document-facts.ts";
import { chainKey, logKey, readU64 } from "./layout.ts";
import { corrupt, prunedBy } from "./log.ts";
import type { Pruned } from "./log.ts";
import type { VoidReason } from "./state.ts";
import { decodeStoredFacts } from "./stored-batch.ts";
import type { StoredFacts } from "./stored-batch.ts";
import { Turns, assertWanted } from "./turns.ts";

/** What the past is read from. */
export interface HistoryContext {
  readonly store: Store;
  readonly vault?: Vault;
  readonly clock: Clock;
  readonly core: () => Pick<Core, "checkpoints" | "records" | "state">;
}

/** A batch with facts of the document. */
interface Found extends StoredFacts {
  readonly position: number;
  /** Why it does not count; undefined when it does. */
  readonly void: VoidReason | undefined;
}

/** What a document was. */
export interface FactsAt {
  readonly facts: DocumentFacts;
  /** Something that was said of it by then may be left out here. */
  readonly incomplete: boolean;
}

/** A place in a document's history: a batch's position in the log, and a fact's number in its chain. */
interface Place {
  readonly position: number;
  readonly seq: number;
}

/** What is read of the log, in which direction. */
interface Span {
  /** What is gone; the batches up to there that did not count are left. */
  readonly pruned: Pruned;
  /** The last position, included. */
  readonly to: number;
  readonly reverse: boolean;
}

const MAX_PAGE = 1_000;
const DEFAULT_PAGE = 100;
const END: Place = { position: Number.MAX_SAFE_INTEGER, seq: Number.MAX_SAFE_INTEGER };
const CURSOR = /^([1-9]\d{0,14})\.([1-9]\d{0,14})$/u;

function parseCursor(text: string): Place {
  const [, position, seq] = CURSOR.exec(text) ?? [];
  if (position === undefined || seq === undefined) {
    throw new MeshError("INPUT_INVALID", `${JSON.stringify(text.slice(0, 80))} is no page's next`, {
      field: "before",
      remedy: "give it as the page before had it",
    });
  }
  return { position: Number(position), seq: Number(seq) };
}

function checkPage(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_PAGE) return;
  throw new MeshError("INPUT_INVALID", `limit must be 1 to ${String(MAX_PAGE)}`, {
    field: "limit",
  });
}

/** As every header names a document with facts or rich content: `"doc"`, and the name behind it. */
function needleOf(doc: DocumentName): Buffer {
  return Buffer.concat([encodeCbor("doc"), encodeCbor(doc)]);
}

const contains = (bytes: Uint8Array, needle: Buffer): boolean =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(needle);

function entryOf(found: Found, record: FactRecord): HistoryEntry {
  const { header, hash } = found;
  const { replica: writer, incarnation } = header;
  const said = {
    batch: { seq: header.seq, hash },
    counts: found.void === undefined,
    ...(found.void === undefined ? {} : { reason: found.void }),
  };
  const { seq, hlc, retract } = record;
  return retract === undefined
    ? { kind: "statement", ...contentOf({ ...record, writer, incarnation }), ...said }
    : { kind: "retraction", writer, incarnation, seq, hlc, retracts: { ...retract }, ...said };
}

/** Reads the past of a replica; two reads at a time, the others wait. */
export class History {
  readonly #context: HistoryContext;
  readonly #turns = new Turns(LIMITS.historyScans, LIMITS.queuedHistoryScans);

  constructor(context: HistoryContext) {
    this.#context = context;
  }

  /** One page of what was said about a key. Throws `INPUT_INVALID`, `ABORTED`, `STORE_CORRUPT`, `STORE_FAILED`, `CLOSED`. */
  async page(
    doc: DocumentName,
    key: string,
    { limit = DEFAULT_PAGE, before }: HistoryQuery,
    options: CallOff = {},
  ): Promise<KeyHistory> {
    checkPage(limit);
    const end = before === undefined ? END : parseCursor(before);
    return this.#turns.run(() => this.#page(doc, key, end, limit, options), options);
  }

  async #page(
    doc: DocumentName,
    key: string,
    end: Place,
    limit: number,
    options: CallOff,
  ): Promise<KeyHistory> {
    const { base } = this.#context.core().checkpoints;
    const reachesBack = base === undefined ? "all" : { sinceMs: prunedTo(base) + 1 };
    const entries: HistoryEntry[] = [];
    const span = { pruned: prunedBy(base), to: end.position, reverse: true };
    let left = 0;
    const page = (next?: string): KeyHistory => ({
      entries,
      ...(next === undefined ? {} : { next }),
      ...(left === 0 ? {} : { omitted: left }),
      reachesBack,
    });
    for await (const found of this.#found(doc, span, options)) {
      if (found.frame === undefined) left++;
      for (const record of found.frame?.records.toReversed() ?? []) {
        if (record.key !== key) continue;
        if (found.position === end.position && record.seq >= end.seq) continue;
        entries.push(entryOf(found, record));
        if (entries.length < limit) continue;
        return page(`${String(found.position)}.${String(record.seq)}`);
      }
    }
    return page();
  }

  /**
   * A document's facts as of a moment, or those of one key. Throws `INPUT_INVALID` for a moment to come, and
   * `HISTORY_PRUNED` for one before what is kept; else as {@link page}.
   */
  async factsAt(
    doc: DocumentName,
    key: string | undefined,
    atMs: number,
    options: CallOff = {},
  ): Promise<FactsAt> {
    this.#checkMoment(atMs);
    return this.#turns.run(() => this.#factsAt(doc, key, atMs, options), options);
  }

  async #factsAt(
    doc: DocumentName,
    key: string | undefined,
    atMs: number,
    options: CallOff,
  ): Promise<FactsAt> {
    const [base, frames] = await this.#base(doc, atMs);
    const { records: judging, state } = this.#context.core();
    const resolvers = new Resolvers(judging.space.policy, state.documents.modules);
    const facts = new DocumentFacts(doc, resolvers, state.documents.schemas.forDocument(doc));
    const upTo = (hlcFromMs(atMs + 1) - 1) as Hlc;
    const apply = ({ chain, frame }: ChainFrame): void => {
      const records = frame.records.filter(
        (record) => record.hlc <= upTo && (key === undefined || record.key === key),
      );
      if (records.length > 0) facts.apply(chain, { ...frame, records });
    };
    for (const each of frames) apply(each);
    const span = { pruned: prunedBy(base), to: END.position, reverse: false };
    let incomplete = base?.omitted?.some(([name]) => name === doc) === true;
    for await (const { header, frame, section, void: reason } of this.#found(doc, span, options)) {
      if (reason !== undefined) continue;
      const chain = { writer: header.replica, incarnation: header.incarnation };
      if (frame !== undefined) apply({ chain, frame });
      // What was said later says nothing of then, unless its batch also has what was said earlier: then it may.
      else incomplete ||= (section.until ?? Number.POSITIVE_INFINITY) >= atMs;
    }
    return { facts, incomplete };
  }

  /** What the pruned part of the log amounts to for a document. Throws `HISTORY_PRUNED` when the moment lies before its end. */
  async #base(
    doc: DocumentName,
    atMs: number,
  ): Promise<readonly [base: Checkpoint | undefined, facts: readonly ChainFrame[]]> {
    for (;;) {
      const { checkpoints } = this.#context.core();
      const { base } = checkpoints;
      if (base === undefined) return [base, []];
      assertKept(atMs, prunedTo(base));
      const facts = await checkpoints.baseFacts(doc).catch((error: unknown) => {
        // More was pruned meanwhile, and what this base had of the document with it.
        if (checkpoints.base === base) throw error;
        return [];
      });
      // What is read of the log has to begin where this ends.
      if (checkpoints.base === base) return [base, facts];
    }
  }

  #checkMoment(atMs: number): void {
    const wrong = !Number.isSafeInteger(atMs)
      ? "at must be a whole number of Unix milliseconds"
      : atMs < HLC_EPOCH_MS
        ? "at lies before 2020, where no mesh was"
        : atMs > this.#context.clock.now()
          ? "at lies in the future, by this node's clock"
          : undefined;
    if (wrong === undefined) return;
    throw new MeshError("INPUT_INVALID", wrong, {
      field: "at",
      ...(atMs < HLC_EPOCH_MS ? { remedy: "give Unix milliseconds, not seconds" } : {}),
    });
  }

  /**
   * The batches in a span of the log with facts of a document. What counts is as of the first step, and so is the
   * log: of a batch that is durable and not visible yet, nothing is told.
   */
  async *#found(doc: DocumentName, span: Span, { signal }: CallOff): AsyncGenerator<Found> {
    const { store, vault, core } = this.#context;
    const { frontier, voids } = core().state;
    const counted = new Map(
      frontier.heads().map((head) => [chainKey(head.replica, head.incarnation), head.seq]),
    );
    const needle = needleOf(doc);
    const { pruned } = span;
    for await (const [position, stored] of walk(store, span)) {
      assertWanted(signal);
      if (!contains(stored, needle)) continue;
      const facts = read(stored, position, doc, vault);
      if (facts === undefined) continue;
      const { replica, incarnation, seq } = facts.header;
      const chain = chainKey(replica, incarnation);
      if (position <= pruned.position && seq <= (pruned.heads.get(chain)?.seq ?? 0)) continue;
      const counts = seq <= (counted.get(chain) ?? 0);
      const reason = counts ? undefined : voids.get(chain)?.reason;
      if (counts || reason !== undefined) yield { ...facts, position, void: reason };
    }
  }
}

/** The records of a span of the log. Throws `STORE_CORRUPT` where one is missing: half the past must not pass for all of it. */
async function* walk(
  store: Store,
  { pruned: { position: gone }, to, reverse }: Span,
): AsyncGenerator<readonly [position: number, stored: Uint8Array]> {
  const range = { gte: logKey(1), lt: logKey(Math.min(to, END.position - 1) + 1), reverse };
  // Up to what is gone there are gaps; behind it, each position follows on the other.
  let last = reverse ? undefined : gone;
  for await (const [key, stored] of store.scan(range)) {
    const position = readU64(key, 1);
    if (position > gone) {
      if (last !== undefined && position !== last + (reverse ? -1 : 1)) hole(position, last);
      last = position;
    }
    yield [position, stored];
  }
  if (reverse && last !== undefined && last !== gone + 1) hole(gone + 1, last);
}

const hole = (one: number, other: number): never =>
  corrupt(`has a hole between the positions ${String(one)} and ${String(other)}`);

/** The time of the newest batch that is pruned, Unix milliseconds: all of what is behind it is here. */
const prunedTo = ({ heads }: Checkpoint): number =>
  heads.reduce((newest, { hlc }) => Math.max(newest, hlcToMs(hlc)), 0);

/** At the moment of the newest pruned batch, what was pruned comes to what it was then; before, nobody knows. */
function assertKept(atMs: number, prunedToMs: number): void {
  if (atMs >= prunedToMs) return;
  const since = formatInstant(prunedToMs);
  throw new MeshError("HISTORY_PRUNED", `what was written before ${since} is pruned`, {
    field: "at",
    remedy: `ask for a moment from ${since} on; older states are in the bundles of seals`,
  });
}

function read(
  stored: Uint8Array,
  position: number,
  doc: DocumentName,
  vault: Vault | undefined,
): StoredFacts | undefined {
  try {
    return decodeStoredFacts(stored, doc, vault);
  } catch (error) {
    if (error instanceof MeshError && error.code === "KEY_INVALID") throw error;
    return corrupt(`has no batch at position ${String(position)}`, error);
  }
}
