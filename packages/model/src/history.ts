// SPDX-License-Identifier: Apache-2.0
/** The past of a node's facts: what was said about a key, and what an answer would have been. */
import type { Candidate, VisibleFact } from "./facts.ts";
import type { Hlc } from "./hlc.ts";
import type { DeviceKey, HeaderHash, IncarnationId } from "./ids.ts";
import type { ListQuery } from "./service.ts";

/** Which part of a key's history. */
export interface HistoryQuery {
  /** Entries of one page, 1 to 1,000; default 100. */
  readonly limit?: number;
  /** Where a page goes on: `next` of the one before it. */
  readonly before?: string;
}

/** What every entry of a history has. */
interface Said {
  /** Who said it, in which process life. */
  readonly writer: DeviceKey;
  readonly incarnation: IncarnationId;
  /** Position among the facts that this incarnation wrote to the document, from 1. */
  readonly seq: number;
  readonly hlc: Hlc;
  /** The signed batch that carries it: position in its chain, and SHA-256 of its header. */
  readonly batch: { readonly seq: number; readonly hash: HeaderHash };
  /** Whether the batch counts now. */
  readonly counts: boolean;
  /** Why it does not. */
  readonly reason?: "revoked" | "equivocation" | "grant" | "content" | "waiting";
}

/** A statement about a key, or its withdrawal by its own writer (`deleted`). */
export interface StatementEntry
  extends Said, Omit<Candidate, "standing" | "retraction" | keyof Said> {
  readonly kind: "statement";
}

/** A ruling that what a writer had said up to a clock does not count. */
export interface RetractionEntry extends Said {
  readonly kind: "retraction";
  readonly retracts: { readonly writer: DeviceKey; readonly upTo: Hlc; readonly reason: string };
}

/** One entry of a history. */
export type HistoryEntry = StatementEntry | RetractionEntry;

/** How far back a node can tell the past: to the beginning, or from a moment on (Unix milliseconds). */
export type Reach = "all" | { readonly sinceMs: number };

/** One page of what was said about a key. */
export interface KeyHistory {
  /** In the order in which it reached this node, newest first; nobody's later word stands behind an earlier one of the same incarnation. */
  readonly entries: readonly HistoryEntry[];
  /** Where the next page goes on; absent when this one was not full, and so the last. */
  readonly next?: string;
  /** Batches in the part of the past that was read of which what they say of the document is left out on this node; absent for none. */
  readonly omitted?: number;
  readonly reachesBack: Reach;
}

/** What is used of an `AbortSignal` (DOM, section 3.2). */
export interface CancelSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** How to call off an operation that may take long. */
export interface CallOff {
  /** What it was aborted with is what the operation rejects with when that is a `MeshError`, else with `ABORTED`. */
  readonly signal?: CancelSignal | undefined;
}

/**
 * What a node knows of the past. A moment's answer is what had been said by then (clocks up to it), as far as it is
 * known here and counts today, under today's policy, with time-to-live and retractions as of then. What a hub knew
 * and signed at a moment is in its seals.
 *
 * Each call reads the log, a few at a time (`LIMITS.historyScans`); while too many wait it rejects with `ABORTED`. All reject with
 * `INPUT_INVALID` for bad arguments, and with `CLOSED` while shutting down.
 */
export interface HistoryService {
  /** The answer to reading a key at a moment, Unix milliseconds. `INPUT_INVALID` when it is to come, `HISTORY_PRUNED`. */
  getAt(
    doc: string,
    key: string,
    atMs: number,
    options?: CallOff,
  ): Promise<VisibleFact | undefined>;
  /** The visible facts of one document at a moment; the query needs `doc`. Errors as {@link getAt}. */
  listAt(query: ListQuery, atMs: number, options?: CallOff): Promise<readonly VisibleFact[]>;
  /** What was said about a key, newest first, whether it counts or not. */
  history(doc: string, key: string, query?: HistoryQuery, options?: CallOff): Promise<KeyHistory>;
}
