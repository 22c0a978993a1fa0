// SPDX-License-Identifier: Apache-2.0
/** What was said, as events (CloudEvents 1.0), with positions to go on from. */
import type { IncomingMessage } from "node:http";
import { MeshError } from "@ctxmesh/model";
import type { EventQuery, FactEvent } from "@ctxmesh/model";
import { problemToError, transportError } from "./connection.ts";
import type { Connection } from "./connection.ts";
import { parseEventStream } from "./event-stream.ts";

/** Three keep-alive comments of the node. */
const SILENCE_MS = 45_000;

/** How events are read. */
export interface EventOptions {
  /** Go on with what comes; otherwise the iteration ends with the last event that there is. */
  readonly follow?: boolean;
  /** At most so many in a second. */
  readonly rate?: number;
  /** Ends the iteration. */
  readonly signal?: AbortSignal;
  /** Called when what counts has changed, by a revocation or a fork: the facts should be read again. */
  readonly onRejudged?: () => void;
}

/**
 * Events in the order of the node's log. To go on after an end of any kind, read again with the `position` of the last event as `since`:
 * none is missed, none comes twice. Throws the node's error (`INPUT_INVALID`, `HISTORY_PRUNED`, `LIMIT_EXCEEDED` for a reader that was too
 * slow, `CLOSED` when the node stops) or `UNREACHABLE`; an aborted signal simply ends it. Iterate once.
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
export function createEvents(connection: Connection, socketPath: string): EventCalls {
  return {
    events(query = {}, options = {}) {
      const { follow = false, rate, signal } = options;
      const opening = connection.open("GET", "/v1/events", {
        query: { ...query, ...(follow ? { follow: 1 } : { stream: 1 }), rate },
        signal,
        timeoutMs: SILENCE_MS,
      });
      const ready = opening.then(() => undefined);
      // Whoever iterates gets the error; `ready` need not be looked at.
      ready.catch(() => undefined);
      return {
        ready,
        [Symbol.asyncIterator]: () => eventsOf(opening, socketPath, options),
      };
    },
  };
}

async function* eventsOf(
  opening: Promise<IncomingMessage>,
  socketPath: string,
  { signal, onRejudged }: EventOptions,
): AsyncGenerator<FactEvent, void, undefined> {
  try {
    // Leaving this loop in any way also ends the response.
    const response = await opening;
    for await (const item of parseEventStream(response as AsyncIterable<Uint8Array>)) {
      if (item === undefined) continue;
      if (item.event === "message") yield JSON.parse(item.data) as FactEvent;
      else if (item.event === "rejudged") onRejudged?.();
      else if (item.event === "error") throw errorOf(item.data);
      else if (item.event === "end") return;
    }
  } catch (error) {
    if (signal?.aborted === true) return;
    throw transportError(error, socketPath, { signal });
  }
  if (signal?.aborted !== true) {
    throw new MeshError("UNREACHABLE", `the node at ${socketPath} ended the events`, {
      remedy: "is the daemon running? go on from the position of the last event once it is",
    });
  }
}

const errorOf = (data: string): MeshError =>
  problemToError(JSON.parse(data)) ??
  new MeshError("PROTOCOL_VIOLATION", "the node ended the events without a reason");
