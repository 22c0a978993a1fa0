// SPDX-License-Identifier: Apache-2.0
/**
 * Changes in the order of the log: from a place in it to its end, and then as they come. The past is worked out from the newest
 * checkpoint that is not behind the place, or else from all that there is of the log, since what a change replaced depends on all before it; what
 * comes is worked out once for all who follow ({@link ChangeTail}).
 */
import { LIMITS, MeshError, formatInstant, hlcToMs } from "@ctxmesh/model";
import type {
  CancelSignal,
  DocumentName,
  EventQuery,
  EventStreamOptions,
  Store,
  Vault,
} from "@ctxmesh/model";
import { ChangeFilter } from "./change-filter.ts";
import {
  comparePlaces,
  endOf,
  formatEnd,
  isEnd,
  parsePosition,
  placeOfChange,
  shortHex,
} from "./change-position.ts";
import type { ChangePlace, ParsedPosition } from "./change-position.ts";
import { isRejudged } from "./change-tail.ts";
import type { ChangeTail, TailItem, TailReader } from "./change-tail.ts";
import type { Core } from "./core.ts";
import { FollowedFacts, changesOf, followBatch } from "./fact-changes.ts";
import type { ChangingBatch, FactChange } from "./fact-changes.ts";
import { chainKey, logKey, logRange, readU64 } from "./layout.ts";
import { corrupt } from "./log.ts";
import type { Pruned } from "./log.ts";
import { decodeStoredFrames } from "./stored-batch.ts";
import { Turns, assertWanted } from "./turns.ts";

/** What changes are read from. */
export interface ChangesContext {
  readonly store: Store;
  readonly vault?: Vault;
  readonly core: () => Pick<Core, "checkpoints" | "log" | "state">;
  readonly tail: ChangeTail;
  /** The name of the log, hex. */
  readonly name: string;
}

/** The first that is told to who follows and began at no place. */
export interface Begins {
  readonly kind: "begins";
  /** See `formatEnd`. */
  readonly position: string;
}

/** What is told. */
export type ChangeItem = TailItem | Begins;

/** Whether an item says where the changes begin. */
export const isBegins = (item: object): item is Begins => "kind" in item && item.kind === "begins";

/** Where to begin: all up to a position is known, and of the batch behind it all up to a place. */
interface Start {
  readonly position: number;
  readonly after?: ChangePlace;
}

/** Batches, and about how many bytes of them, that are read at once. */
const CHUNK_BATCHES = 256;
const CHUNK_BYTES = 1_048_576;
/** Items of a part. */
const PART = 256;

type ReadBatch = ChangingBatch & { readonly counts: boolean };

const pruned = (field: string, since?: string): MeshError =>
  new MeshError(
    "HISTORY_PRUNED",
    `what ${field} names is not kept any more${since === undefined ? "" : `: all before ${since} is pruned`}`,
    {
      field,
      remedy: "leave since out to begin with the first event that is kept",
    },
  );

const foreign = (field: string): MeshError =>
  new MeshError(
    "INPUT_INVALID",
    `${field} is a position of another node, or of a store that this node's has replaced`,
    { field, remedy: "read the facts once, and follow without a position, or give a time" },
  );

/** No section has to be opened to know which batch it is. */
const NOTHING: Pick<ChangeFilter, "wantsDoc"> = { wantsDoc: () => false };

const closed = (): MeshError => new MeshError("CLOSED", "the node is shutting down");

/** Reads the changes of a replica. */
export class Changes {
  readonly #context: ChangesContext;
  readonly #turns = new Turns(LIMITS.eventReplays, LIMITS.queuedHistoryScans);

  constructor(context: ChangesContext) {
    this.#context = context;
  }

  /** The name of the log, hex. */
  get name(): string {
    return this.#context.name;
  }

  /**
   * The changes that a query asks for, part by part. The first part has none, and says that the query is a good one and that nothing is missed
   * from then on. Throws as `EventService.events`.
   */
  async *read(
    query: EventQuery,
    { follow = false, signal }: EventStreamOptions = {},
  ): AsyncGenerator<readonly ChangeItem[], void, undefined> {
    const filter = new ChangeFilter(query);
    if (follow && query.until !== undefined) {
      throw new MeshError("INPUT_INVALID", "what goes on has no end: until or follow", {
        field: "until",
      });
    }
    const { core, tail } = this.#context;
    const reader = follow ? tail.join(core().log.position) : undefined;
    try {
      const start = await this.#start(query, follow);
      const until = await this.#until(query);
      yield follow && query.since === undefined ? [await this.#begins(start)] : [];
      const last = Math.min(core().log.position, until?.position ?? Infinity);
      const isAtEnd = (position: number): boolean =>
        reader === undefined ? position >= last : tail.has(position);
      let { position } = start;
      if (!isAtEnd(position)) {
        position = yield* this.#replay(start, filter, { until, isAtEnd, signal });
      }
      if (reader === undefined) return;
      tail.seek(reader, endOf(position));
      yield* this.#live(reader, filter, signal);
    } finally {
      if (reader !== undefined) tail.leave(reader);
    }
  }

  async #start({ since }: EventQuery, follow: boolean): Promise<Start> {
    const { log, checkpoints } = this.#context.core();
    const gone = log.pruned.position;
    if (since === undefined) return { position: follow ? log.position : gone };
    if (typeof since === "number") {
      const newest = checkpoints.base?.heads.reduce((ms, { hlc }) => Math.max(ms, hlcToMs(hlc)), 0);
      if (newest !== undefined && since <= newest) throw pruned("since", formatInstant(newest + 1));
      return { position: gone };
    }
    const place = parsePosition(since, "since");
    if (isEnd(place) && place.position === gone) {
      if (place.log !== shortHex(this.name)) throw foreign("since");
      return { position: gone };
    }
    const batch = await this.#batchAt(place, "since");
    if (batch === undefined) throw pruned("since");
    if (isEnd(place)) return { position: place.position };
    const last = batch.frames.at(-1);
    const isLast = place.section === last?.section && place.seq === last.frame.records.at(-1)?.seq;
    return isLast ? { position: place.position } : { position: place.position - 1, after: place };
  }

  async #begins({ position }: Start): Promise<Begins> {
    const stored = await this.#context.store.get(logKey(position));
    const hash = stored && this.#decode(position, stored, NOTHING).hash;
    return { kind: "begins", position: formatEnd(this.name, position, hash) };
  }

  async #until({ until }: EventQuery): Promise<ChangePlace | undefined> {
    if (typeof until !== "string") return undefined;
    const place = parsePosition(until, "until");
    if ((await this.#batchAt(place, "until")) === undefined) throw pruned("until");
    return isEnd(place) ? endOf(place.position) : place;
  }

  /** The batch of a position; undefined when it is not kept any more. Throws `INPUT_INVALID` when it is none of this log. */
  async #batchAt(place: ParsedPosition, field: string): Promise<ReadBatch | undefined> {
    const { core, store, name } = this.#context;
    const { log } = core();
    if (place.log !== shortHex(name) || place.position > log.position) throw foreign(field);
    if (place.position <= log.pruned.position) return undefined;
    const stored = await store.get(logKey(place.position));
    if (stored === undefined) return undefined;
    const batch = this.#decode(place.position, stored, new ChangeFilter({}));
    if (shortHex(batch.hash) !== place.hash) throw foreign(field);
    return batch;
  }

  #decode(position: number, stored: Uint8Array, filter: Pick<ChangeFilter, "wantsDoc">): ReadBatch {
    const { vault, core } = this.#context;
    const { state } = core();
    try {
      const batch = decodeStoredFrames(stored, vault, (doc) => filter.wantsDoc(doc));
      const { replica, incarnation, seq } = batch.header;
      const counts = seq <= (state.frontier.head(replica, incarnation)?.seq ?? 0);
      return { position, ...batch, counts };
    } catch (error) {
      if (error instanceof MeshError && error.code === "KEY_INVALID") throw error;
      return corrupt(`has no batch at position ${String(position)}`, error);
    }
  }

  /** Reads on from a start until the end is reached; returns the position up to which all is told. */
  async *#replay(
    { position: known, after }: Start,
    filter: ChangeFilter,
    how: {
      readonly until: ChangePlace | undefined;
      readonly isAtEnd: (position: number) => boolean;
      readonly signal: CancelSignal | undefined;
    },
  ): AsyncGenerator<readonly FactChange[], number, undefined> {
    const { core } = this.#context;
    const end = await this.#turns.begin(how);
    try {
      const { state, log } = core();
      const { pruned: gone } = log;
      const wants = filter.isAllKeys ? undefined : (key: string) => filter.wantsKey(key);
      // What is read and told is judged alike from the first change to the last.
      const assertSame = (): void => {
        if (core().state !== state) throw rejudgedMeanwhile();
      };
      const { facts, position: from } = await this.#factsBefore(known, filter);
      let position = from;
      let part: FactChange[] = [];
      while (position < known || !how.isAtEnd(position)) {
        assertWanted(how.signal);
        const chunk = await this.#chunk(position, gone, filter);
        assertSame();
        ({ position } = chunk);
        for (const batch of chunk.batches) {
          if (!batch.counts) continue;
          if (batch.position <= known) {
            followBatch(batch, facts, wants);
            continue;
          }
          for (const change of changesOf(batch, facts, wants)) {
            const place = placeOfChange(change);
            if (after !== undefined && comparePlaces(place, after) <= 0) continue;
            if (how.until !== undefined && comparePlaces(place, how.until) > 0) break;
            if (filter.wants(change)) part.push(change);
          }
          if (part.length < PART) continue;
          yield part;
          assertSame();
          part = [];
        }
        if (part.length > 0) yield part;
        assertSame();
        part = [];
      }
      return position;
    } finally {
      end();
    }
  }

  /** The facts as of a checkpoint at a position or before, as they are without one. */
  async #factsBefore(
    position: number,
    { doc }: ChangeFilter,
  ): Promise<{ readonly facts: FollowedFacts; readonly position: number }> {
    for (;;) {
      const { checkpoints, state } = this.#context.core();
      const { base, latest } = checkpoints;
      const usable = latest !== undefined && latest.position <= position ? latest : base;
      const encoded =
        usable === undefined
          ? new Map<DocumentName, Uint8Array>()
          : await checkpoints.facts(usable, doc);
      if (encoded === undefined) continue;
      // What a base does not stand for stays in front of its position.
      const from = usable !== undefined && usable !== base ? usable.position : 0;
      return { facts: new FollowedFacts(encoded, state.documents), position: from };
    }
  }

  /**
   * The next batches behind a position, without those that `gone` stands for, and the position that is reached with them. Throws
   * `HISTORY_PRUNED` when more is pruned by now.
   */
  async #chunk(
    after: number,
    gone: Pruned,
    filter: ChangeFilter,
  ): Promise<{ readonly batches: readonly ReadBatch[]; readonly position: number }> {
    const { store, core } = this.#context;
    const last = core().log.position;
    const batches: ReadBatch[] = [];
    let [position, bytes, count] = [after, 0, 0];
    for await (const [key, stored] of store.scan({
      ...logRange(after + 1),
      limit: CHUNK_BATCHES,
    })) {
      const at = readU64(key, 1);
      if (core().log.pruned.position > Math.max(position, gone.position)) throw pruned("since");
      if (at > gone.position && at !== Math.max(position, gone.position) + 1) {
        corrupt(`has a hole in front of position ${String(at)}`);
      }
      const batch = this.#decode(at, stored, filter);
      const { replica, incarnation, seq } = batch.header;
      const isGone = seq <= (gone.heads.get(chainKey(replica, incarnation))?.seq ?? 0);
      if (at > gone.position || !isGone) batches.push(batch);
      position = at;
      bytes += stored.length;
      count++;
      if (at >= last || bytes > CHUNK_BYTES) break;
    }
    // Nothing is there but what is gone.
    if (count === 0) position = Math.min(last, gone.position);
    if (position === after) throw pruned("since");
    return { batches, position };
  }

  async *#live(
    reader: TailReader,
    filter: ChangeFilter,
    signal: CancelSignal | undefined,
  ): AsyncGenerator<readonly TailItem[], never, undefined> {
    const { tail } = this.#context;
    for (;;) {
      assertWanted(signal);
      const items = tail.take(reader, PART);
      const wanted = items.filter((item) => isRejudged(item) || filter.wants(item));
      if (wanted.length > 0) yield wanted;
      if (items.length > 0) continue;
      if (tail.isClosed) throw closed();
      const { news, stop } = tail.wait();
      signal?.addEventListener("abort", stop);
      try {
        await news;
      } finally {
        signal?.removeEventListener("abort", stop);
      }
    }
  }
}

const rejudgedMeanwhile = (): MeshError =>
  new MeshError("ABORTED", "what counts has changed while the log was read", {
    remedy: "go on from the position of the last event that was read",
  });
