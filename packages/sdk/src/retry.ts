// SPDX-License-Identifier: Apache-2.0
/** What is tried again, and when: exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015). */
import { MeshError } from "@ctxmesh/model";
import { isAway, systemCode } from "./transport.ts";

/** The longest pause before the first repetition, in milliseconds; it doubles with each. */
const BASE_MS = 50;
/** The longest pause of all. */
const CAP_MS = 2_000;

/** A connection that was never made: nothing was asked for yet. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOENT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** The pause before repetition `n` (from 0), in milliseconds; `random` is in [0, 1). */
export const pauseMs = (n: number, random: () => number): number =>
  random() * Math.min(CAP_MS, BASE_MS * 2 ** n);

/** Whether an error came before anything was asked for. */
export const wasNeverSent = (error: unknown): boolean =>
  error instanceof MeshError && NEVER_SENT.has(systemCode(error.cause) ?? "");

/** Whether a call may be made again after an error; `isSafe`: the call may be made twice. */
export const mayRepeat = (error: unknown, isSafe: boolean): boolean =>
  isAway(error) && (isSafe || wasNeverSent(error));

/** Errors of a stream that may be opened again: the node was away or stopped, the log was judged anew, or we were too slow. */
const PASSING: ReadonlySet<string> = new Set([
  "UNREACHABLE",
  "CLOSED",
  "ABORTED",
  "LIMIT_EXCEEDED",
]);

/** Whether what ended a stream passes, so that it may be opened again. */
export const isPassing = (error: unknown): boolean =>
  error instanceof MeshError && PASSING.has(error.code);

/** Waits; resolves early when the signal aborts. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted === true) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const go = (): void => {
    resolve();
  };
  const timer = setTimeout(go, ms);
  signal?.addEventListener("abort", go);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", go);
  }
}
