// SPDX-License-Identifier: Apache-2.0
/** What was said, as events (CloudEvents 1.0), with positions to go on from. */
import { MeshError } from "@ctxmesh/model";
import type { BeginNote, EventQuery, FactEvent } from "@ctxmesh/model";
import { problemToError, transportError } from "./connection.ts";
import type { Connection } from "./connection.ts";
import { parseEventStream } from "./event-stream.ts";
import { isPassing, pause, pauseMs } from "./retry.ts";
import type { NodeResponse } from "./transport.ts";

/** Three keep-alive comments of the node. */
const SILENCE_MS = 45_000;

/** How events are read. */
export interface EventOptions {
  /** Go on with what comes, and over again when the node was away; otherwise the iteration ends with the last event that there is. */
  readonly follow?: boolean;
  /** At most so many in a second. */
  readonly rate?: number;
  /** Ends the iteration. */
  readonly signal?: AbortSignal;
  /** Called when what counts has changed, by a revocation or a fork: the facts should be read again. */
  readonly onRejudged?: () => void;
}

/**
 * Events in the order of the node's log. One that follows goes on by itself behind the last event it has told whenever the node was away, or has
 * cut it off for being too slow: none is missed, none comes twice. Throws the node's error (`INPUT_INVALID`, `HISTORY_PRUNED`), and without `follow` also `CLOSED` when the node
 * stops, or `UNREACHABLE`: to go on, read again with the `position` of the last event as `since`. An aborted signal simply ends it. Iterate once.
 */
export interface EventFeed extends AsyncIterable<FactEvent> {
  /** Resolves when the node has accepted the query: what is written after that is seen by who follows. */
  readonly ready: Promise<void>;
}

/** The calls about events. */
export interface EventCalls {
  /** What was said: each accepted change of a fact as an event; starts at once. */
  events(query?: EventQuery, options?: EventOptions): EventFeed;
}

/** The event calls of a client. */
export function createEvents(connection: Connection): EventCalls {
  return {
    events(query = {}, options = {}) {
      const { follow = false, rate, signal } = options;
      const open = (since: EventQuery["since"]): Promise<NodeResponse> =>
        connection.open("GET", "/v1/events", {
          query: { ...query, since, ...(follow ? { follow: 1 } : { stream: 1 }), rate },
          signal,
          timeoutMs: SILENCE_MS,
        });
      const opening = open(query.since);
      const ready = opening.then(() => undefined);
      // Whoever iterates gets the error; `ready` need not be looked at.
      ready.catch(() => undefined);
      const { place } = connection;
      return {
        ready,
        [Symbol.asyncIterator]: () =>
          follow
            ? followed(opening, open, { ...options, since: query.since, place })
            : eventsOf(opening, place, options),
      };
    },
  };
}

/** The events of one stream after the other, each behind the last event of the one before. */
async function* followed(
  opening: Promise<NodeResponse>,
  open: (since: EventQuery["since"]) => Promise<NodeResponse>,
  options: EventOptions & { readonly since: EventQuery["since"]; readonly place: string },
): AsyncGenerator<FactEvent, void, undefined> {
  const { signal, place } = options;
  const isOver = (): boolean => signal?.aborted === true;
  let { since } = options;
  const onBegin = (position: string): void => {
    since ??= position;
  };
  let next = opening;
  // Whoever asks for what is refused, or asks a node that is not there to begin with, hears so.
  let isThere = false;
  for (let failures = 0; ;) {
    try {
      await next;
      isThere = true;
      for await (const event of eventsOf(next, place, { ...options, onBegin })) {
        since = event.position;
        failures = 0;
        yield event;
      }
      if (isOver()) return;
    } catch (error) {
      if (isOver()) return;
      if (!isThere || since === undefined || !isPassing(error)) throw error;
    }
    await pause(pauseMs(failures++, Math.random), signal);
    if (isOver()) return;
    next = open(since);
    // It is looked at in the next turn.
    next.catch(() => undefined);
  }
}

async function* eventsOf(
  opening: Promise<NodeResponse>,
  place: string,
  { signal, onRejudged, onBegin }: EventOptions & { readonly onBegin?: (position: string) => void },
): AsyncGenerator<FactEvent, void, undefined> {
  try {
    // Leaving this loop in any way also ends the response.
    const response = await opening;
    for await (const item of parseEventStream(response)) {
      if (item === undefined) continue;
      if (item.event === "message") yield JSON.parse(item.data) as FactEvent;
      else if (item.event === "begin") onBegin?.((JSON.parse(item.data) as BeginNote).begin);
      else if (item.event === "rejudged") onRejudged?.();
      else if (item.event === "error") throw errorOf(item.data);
      else if (item.event === "end") return;
    }
  } catch (error) {
    if (signal?.aborted === true) return;
    throw transportError(error, place, { signal });
  }
  if (signal?.aborted !== true) {
    throw new MeshError("UNREACHABLE", `the node at ${place} ended the events`, {
      remedy: "is the daemon running? go on from the position of the last event once it is",
    });
  }
}

const errorOf = (data: string): MeshError =>
  problemToError(JSON.parse(data)) ??
  new MeshError("PROTOCOL_VIOLATION", "the node ended the events without a reason");
