// SPDX-License-Identifier: Apache-2.0
/** Changes as events: CloudEvents 1.0 in the order of a node's log, with positions to go on from. */
import type { Priority } from "./facts.ts";
import type { CallOff } from "./history.ts";
import type { JsonValue } from "./json.ts";

/** The kinds of events: what a writer stated, took back, or ruled of another's statements. */
export const EVENT_TYPES = [
  "dev.ctxmesh.fact.put",
  "dev.ctxmesh.fact.deleted",
  "dev.ctxmesh.fact.retracted",
] as const;

/** One of {@link EVENT_TYPES}. */
export type EventType = (typeof EVENT_TYPES)[number];

/** What was said, and what it changed. */
export interface EventData {
  readonly doc: string;
  readonly key: string;
  /** What was stated; absent for a deletion and a retraction. */
  readonly value?: JsonValue;
  /** The visible value on this node before and after, as of the event's time; absent where nothing was visible. */
  readonly previous?: JsonValue;
  readonly current?: JsonValue;
  readonly tags?: readonly string[];
  readonly basis?: readonly string[];
  /** The models that it is for; absent for all. */
  readonly targets?: readonly string[];
  /** Of a retraction: whose statements (device key, hex), up to which clock, and why. */
  readonly retracts?: { readonly writer: string; readonly upTo: number; readonly reason: string };
}

/**
 * An event in the JSON form of CloudEvents 1.0.2. Its extension attributes have names of lower-case letters and digits and
 * values of the types that the specification has; whatever is a list or a fraction is a text there, or in `data`.
 */
export interface FactEvent {
  readonly specversion: "1.0";
  /** The same on every node: `<hash of the batch's header, hex>/<section of the batch>/<number of the fact in its chain>`. */
  readonly id: string;
  /** `urn:ctxmesh:device:<space id>:<device key of the writer>`. */
  readonly source: string;
  readonly type: EventType;
  /** `<document>/<key>`. */
  readonly subject: string;
  /** RFC 3339, of the writer's clock. */
  readonly time: string;
  readonly datacontenttype: "application/json";
  readonly data: EventData;
  /** Where the event is in the log of the node that tells it, to go on from: `since`, `Last-Event-ID`. Every node has its own. */
  readonly position: string;
  /** The clock of the fact (an `Hlc`), in decimal digits: a CloudEvents integer has 32 bits. */
  readonly hlc: string;
  /** Process life of the writer. */
  readonly incarnation: string;
  readonly priority: Priority;
  /** Of the source that the writer named. */
  readonly model?: string;
  readonly modelversion?: string;
  readonly modelinstance?: string;
  /** A decimal fraction from 0 to 1. */
  readonly confidence?: string;
  /** Milliseconds in decimal digits. */
  readonly ttl?: string;
  /** When it stops counting, RFC 3339; absent after the year 9999. As in the expiry time extension of CloudEvents. */
  readonly expirytime?: string;
  /** As in the correlation extension of CloudEvents. */
  readonly correlationid?: string;
  /** W3C Trace Context, as in the distributed tracing extension of CloudEvents. */
  readonly traceparent?: string;
}

/** Which events. Those that match all of it are told. */
export interface EventQuery {
  /**
   * Where to begin: behind an event, by its `position`; or with what was written at a moment (Unix milliseconds) or later. Without it, with the
   * first event that is kept; a stream that goes on begins with what comes next.
   */
  readonly since?: string | number;
  /** Where to end: with an event, by its `position`, or with what was written at a moment, both included. */
  readonly until?: string | number;
  readonly doc?: string;
  readonly prefix?: string;
  /** Keys that match: `*` is any text within a segment between slashes, `**` any text. */
  readonly pattern?: string;
  /** The model that the writer named as its source. */
  readonly source?: string;
  /** At least as sure; what has no confidence counts as 1. */
  readonly minConfidence?: number;
  readonly priority?: Priority;
  /** What is for all, and what is for this model. */
  readonly model?: string;
}

/** How events are told. */
export interface EventStreamOptions extends CallOff {
  /** Whether to go on with what comes, and not to end with what there is. */
  readonly follow?: boolean;
}

/** What a stream has besides events: what counts has changed, so earlier events may count no more, and others do. */
export interface RejudgedNote {
  readonly rejudged: true;
}

/** The first that a stream has that goes on and began at no place: the position behind which it begins. */
export interface BeginNote {
  readonly begin: string;
}

/** What a stream tells. */
export type EventItem = FactEvent | RejudgedNote | BeginNote;

/** What a node offers of its changes as events. */
export interface EventService {
  /**
   * The events of a query in the order of the log, a few hundred at most at a time. The first part has none: the query is accepted with it, and
   * who follows misses nothing from then on. The past is read from the log, `LIMITS.eventReplays` readers at a time, while the others wait.
   *
   * Throws at the first step `INPUT_INVALID` for a bad query, and for a position of another node or of a store that was replaced;
   * `HISTORY_PRUNED` when what is asked for is not kept any more; later `LIMIT_EXCEEDED` for a reader that follows and has fallen too far
   * behind, which may go on from its last position; `STORE_CORRUPT`, `STORE_FAILED`, `CLOSED`, and why it was called off.
   */
  events(
    query: EventQuery,
    options?: EventStreamOptions,
  ): AsyncGenerator<readonly EventItem[], void, undefined>;
}

/** `00-` trace id `-` parent id `-` flags, of which neither id is nothing but zeros (W3C Trace Context, section 3.2). */
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/u;

/** Whether a text is a `traceparent` of version 00 (W3C Trace Context). */
export const isTraceparent = (text: string): boolean => TRACEPARENT.test(text);
