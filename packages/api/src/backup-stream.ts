// SPDX-License-Identifier: Apache-2.0
/**
 * The answer to `GET /v1/backup`: bytes as they are made, as fast as the reader takes them. What goes wrong once
 * the answer has begun comes in the HTTP trailer {@link PROBLEM_TRAILER}: a problem as JSON in base64.
 */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { MeshError, toMeshError } from "@ctxmesh/model";
import { toProblem } from "./problem.ts";

/** Name of the trailer (RFC 9110, section 6.5). */
const PROBLEM_TRAILER = "ctxmesh-problem";
/** A reader that takes nothing for this long is cut: it keeps a snapshot of the store alive, and others waiting. */
const STALL_MS = 60_000;
/** How long an ended stream may take to hand over its last bytes before it is cut. */
const LINGER_MS = 5_000;

/**
 * Sends `first` and all that `rest` gives, and leaves `rest` when the reader has gone or `signal` aborts. Resolves
 * once the reader has everything or has gone, with what `rest` threw; never rejects.
 */
export async function sendBackup(
  response: ServerResponse,
  first: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<unknown> {
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  response.on("close", leave).on("error", leave);
  if (response.closed) leave();
  response.setTimeout(STALL_MS, () => response.destroy());
  const ended = AbortSignal.any([gone.signal, signal]);
  const send = async (bytes: Uint8Array): Promise<boolean> => {
    if (!ended.aborted && !response.write(bytes)) {
      await once(response, "drain", { signal: ended }).catch(() => undefined);
    }
    return !ended.aborted;
  };
  response.writeHead(200, {
    "content-type": "application/octet-stream",
    "cache-control": "no-store",
    trailer: PROBLEM_TRAILER,
  });
  let failure: unknown;
  try {
    let goesOn = await send(first);
    for await (const bytes of rest) {
      goesOn &&= await send(bytes);
      if (!goesOn) break;
    }
    if (!goesOn) addProblem(response, new MeshError("CLOSED", "the node is shutting down"));
  } catch (error) {
    failure = error;
    addProblem(response, error);
  }
  response.end();
  const cut = signal.aborted ? setTimeout(() => response.destroy(), LINGER_MS) : undefined;
  if (!gone.signal.aborted) await once(response, "close").catch(() => undefined);
  clearTimeout(cut);
  return failure;
}

function addProblem(response: ServerResponse, error: unknown): void {
  const problem = JSON.stringify(toProblem(toMeshError(error)));
  response.addTrailers({ [PROBLEM_TRAILER]: Buffer.from(problem).toString("base64") });
}
