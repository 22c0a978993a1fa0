// SPDX-License-Identifier: Apache-2.0
/** The receiving end of a watch: changes as an async iterable. */
import { MeshError } from "@ctxmesh/model";
import type { ChangeEvent, WatchQuery } from "@ctxmesh/model";
import { problemToError, transportError } from "./connection.ts";
import type { Connection } from "./connection.ts";
import { parseEventStream } from "./event-stream.ts";
import type { NodeResponse } from "./transport.ts";

/** Three keep-alive comments of the node. */
const SILENCE_MS = 45_000;

/**
 * Changes in order, until the signal aborts (the iteration then simply ends) or the loop is left.
 * Throws the node's error (`LIMIT_EXCEEDED` for a reader that was too slow, `CLOSED` when the node
 * stops) or `UNREACHABLE`. Iterate once.
 */
export interface Watch extends AsyncIterable<ChangeEvent> {
  /** Resolves when the watch is in place: what is written after that is seen. */
  readonly ready: Promise<void>;
}

/** Starts a watch at once; `signal` ends it. */
export function createWatch(
  connection: Connection,
  query: WatchQuery,
  signal: AbortSignal | undefined,
): Watch {
  const call = { query: { ...query }, signal, timeoutMs: SILENCE_MS };
  const opening = connection.open("GET", "/v1/watch", call);
  const ready = opening.then(() => undefined);
  // Whoever iterates gets the error; `ready` need not be looked at.
  ready.catch(() => undefined);
  return { ready, [Symbol.asyncIterator]: () => changes(opening, connection.place, signal) };
}

async function* changes(
  opening: Promise<NodeResponse>,
  place: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<ChangeEvent, void, undefined> {
  try {
    // Leaving this loop in any way also ends the response.
    const response = await opening;
    for await (const item of parseEventStream(response)) {
      if (item === undefined) continue;
      if (item.event === "change") yield JSON.parse(item.data) as ChangeEvent;
      else if (item.event === "error") throw endOf(item.data);
    }
  } catch (error) {
    if (signal?.aborted === true) return;
    throw transportError(error, place, { signal });
  }
  if (signal?.aborted !== true) {
    throw new MeshError("UNREACHABLE", `the node at ${place} ended the watch`, {
      remedy: "is the daemon running? watch again once it is",
    });
  }
}

function endOf(data: string): MeshError {
  const error = problemToError(JSON.parse(data));
  return error ?? new MeshError("PROTOCOL_VIOLATION", "the node ended the watch without a reason");
}
