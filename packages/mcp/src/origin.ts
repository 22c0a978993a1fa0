// SPDX-License-Identifier: Apache-2.0
/** One writer's statement, in terms that somebody who asks where a fact comes from needs. */
import { hlcToMs } from "@ctxmesh/model";
import type { AckLevel, AckProgress, Candidate, NodeStatus } from "@ctxmesh/model";

/** How far a statement of age `ageMs` by `writer` has got, as far as a node can tell; undefined where it can't. */
export type Reach = (writer: string, ageMs: number) => AckLevel | undefined;

/** A statement and its batch are stamped moments apart. */
const STAMPS_APART_MS = 1_000;

const isPast = ({ waiting }: AckProgress, ageMs: number): boolean =>
  waiting === undefined || ageMs > waiting.oldestMs + STAMPS_APART_MS;

/**
 * What an agent's status says of its own statements: whatever is older than the oldest batch that waits for a level has reached
 * that level. Of others' an agent does not know it; their hubs' seals do.
 */
export const reachOf =
  ({ device, acknowledged }: NodeStatus): Reach =>
  (writer, ageMs) => {
    if (acknowledged === undefined || writer !== device) return undefined;
    if (isPast(acknowledged.sealed, ageMs)) return "sealed";
    return isPast(acknowledged.hub, ageMs) ? "hub" : "local";
  };

/** A candidate with its times and how far it has got (`reached`). */
export function describeCandidate(
  candidate: Candidate,
  { nowMs, reach }: { readonly nowMs: number; readonly reach: Reach },
): { readonly [name: string]: unknown } {
  const { hlc, ttlMs, writer, ...said } = candidate;
  const writtenMs = hlcToMs(hlc);
  const ageMs = Math.max(0, nowMs - writtenMs);
  const reached = reach(writer, ageMs);
  return {
    writer,
    ...said,
    hlc,
    writtenAt: new Date(writtenMs).toISOString(),
    ageMs,
    ...(ttlMs === undefined
      ? {}
      : { ttlMs, expiresAt: new Date(Math.min(writtenMs + ttlMs, MAX_DATE_MS)).toISOString() }),
    ...(reached === undefined ? {} : { reached }),
  };
}

/** The last moment that a Date can hold (ECMA-262, 21.4.1.1). */
const MAX_DATE_MS = 8.64e15;
