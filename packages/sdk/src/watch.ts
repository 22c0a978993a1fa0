// SPDX-License-Identifier: Apache-2.0
/** The receiving end of a watch: changes as an async iterable. */
import { MeshError } from "@ctxmesh/model";
import type { ChangeEvent, WatchQuery } from "@ctxmesh/model";
import { problemToError, transportError } from "./connection.ts";
import type { Connection } from "./connection.ts";
import { parseEventStream } from "./event-stream.ts";
import { isPassing } from "./retry.ts";
import type { NodeResponse } from "./transport.ts";

/** Three keep-alive comments of the node. */
const SILENCE_MS = 45_000;

/**
 * Changes in order, until the signal aborts (the iteration then simply ends) or the loop is left.
 * Throws the node's error (`LIMIT_EXCEEDED` for a reader that was too slow, `CLOSED` when the node
 * stops), `UNREACHABLE` when it is gone, or `ABORTED` when it says nothing: a watch does not go on by itself, since a change has no
 * position to go on from, and the error says what does. Iterate once.
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
  let isOpen = false;
  try {
    // Leaving this loop in any way also ends the response.
    const response = await opening;
    isOpen = true;
    for await (const item of parseEventStream(response)) {
      if (item === undefined) continue;
      if (item.event === "change") yield JSON.parse(item.data) as ChangeEvent;
      else if (item.event === "error") throw errorOf(item.data);
    }
    if (signal?.aborted !== true) throw new MeshError("UNREACHABLE", "it said nothing more");
  } catch (error) {
    if (signal?.aborted === true) return;
    const failure = transportError(error, place, { signal });
    throw isOpen && isPassing(failure) ? endOf(failure, place) : failure;
  }
}

const errorOf = (data: string): MeshError =>
  problemToError(JSON.parse(data)) ??
  new MeshError("PROTOCOL_VIOLATION", "the node ended the watch without a reason");

/** The end of a watch that was in place. Its changes have no positions to go on from. */
const endOf = (failure: MeshError, place: string): MeshError =>
  new MeshError(failure.code, `the watch of the node at ${place} has ended: ${failure.message}`, {
    remedy:
      "watch again, and list the facts once for what changed meanwhile; view() does that by itself, and events() with follow goes on without a gap",
    cause: failure,
  });
