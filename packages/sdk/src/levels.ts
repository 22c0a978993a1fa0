// SPDX-License-Identifier: Apache-2.0
/** Reads by level of consistency, and writes with a condition. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { CompareOptions, CompareReceipt, FactInput, ReadLevel } from "@ctxmesh/model";
import type { CallControl, JsonCaller } from "./client.ts";
import { wasNeverSent } from "./retry.ts";
import { isAway } from "./transport.ts";

/** How sure a read is to be; what that costs, and what it rejects with, is in `LevelService` of `@ctxmesh/model`. */
export type LevelOptions = Omit<ReadLevel, "signal">;

/** How a write with a condition is decided, and what ends the call. */
export interface CompareCallOptions extends Omit<CompareOptions, "signal">, CallControl {}

/** The calls about conditions. */
export interface LevelCalls {
  /**
   * Writes a fact if the key's version still is `expected`: the `version` of a read, or null while nothing is visible. Rejects with `VERSION_CONFLICT` when it is another
   * one; nothing is written then. With `consistency: "strong"` a hub decides, so that of all who expect the same version one succeeds at most; it then
   * rejects with `UNREACHABLE`, at once, when no hub is connected, and with `OUTCOME_UNKNOWN` when the hub did not say what became of it. So it does, at either level, when the
   * node went away before it answered.
   */
  compareAndSet(
    doc: string,
    fact: FactInput,
    expected: string | null,
    options?: CompareCallOptions,
  ): Promise<CompareReceipt>;
}

/** A node that has got the write and went away has not said what became of it; `UNREACHABLE` would say that it was not made. */
function throwOutcome(error: unknown): never {
  const isAsked = error instanceof MeshError && isAway(error) && !wasNeverSent(error);
  if (!isAsked || error.code !== "UNREACHABLE") throw error;
  throw new MeshError(
    "OUTCOME_UNKNOWN",
    `${error.message}: whether the write was made is not known`,
    {
      remedy: "read the key; to ask again with the same version is safe",
      cause: error,
    },
  );
}

/** The calls of a client about conditions. */
export const createLevels = (json: JsonCaller, timeoutMs: number): LevelCalls => ({
  compareAndSet: (doc, fact, expected, { signal, ...how } = {}) =>
    json<CompareReceipt>("POST", "/v1/facts/compare-and-set", {
      body: { doc, fact, expect: expected, ...how },
      // The node gives up first, since it knows what it has asked.
      timeoutMs: timeoutMs + (how.timeoutMs ?? LIMITS.askMs),
      signal,
    }).catch(throwOutcome),
});
