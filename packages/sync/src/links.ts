// SPDX-License-Identifier: Apache-2.0
/** What is told of all links of a node. */
import { LIMITS } from "@ctxmesh/model";
import type { LinkReport } from "@ctxmesh/model";
import type { LiveSession } from "./live-session.ts";
import { isInSync } from "./session-heads.ts";
import type { LocalView } from "./session-state.ts";

/** How long writes may wait for others to share a batch with, in milliseconds: see {@link gatheringOf}. */
export interface Gathering {
  readonly normalMs: number;
  readonly lowMs: number;
  readonly briefMs: number;
}

/** The links of sessions whose both ends have greeted. */
export const reportLinks = (
  sessions: Iterable<LiveSession>,
  view: LocalView,
): readonly LinkReport[] =>
  [...sessions]
    .filter(({ state }) => state.phase === "open")
    .map(({ channel: { remote }, openedMs, state, link }) => ({
      device: remote.device,
      address: remote.address,
      role: remote.role,
      ...(remote.leaf === true ? { leaf: true } : {}),
      connectedSinceMs: openedMs,
      ...(remote.security === undefined ? {} : { security: remote.security }),
      inSync: isInSync(state, view),
      pulling: state.pulling !== undefined,
      traffic: link.report(),
    }));

/** To about how many a batch goes: a hub passes it on to all that it knows, and each of them verifies it and syncs it to disk. */
function reachOf(sessions: ReadonlySet<LiveSession>): number {
  let reach = 0;
  for (const { isHub } of sessions) reach += isHub ? LIMITS.gatherBriefMs : 1;
  return reach;
}

/**
 * For how long what is written should wait to share batches with more: not at all, unless links with a budget are busy; then as
 * long as what is before it takes to be sent, up to a bound. And for how long writes in quick succession should wait for each
 * other: the more peers a batch goes to, the more it is worth to have few of them.
 */
export function gatheringOf(sessions: ReadonlySet<LiveSession>): Gathering {
  let drainMs = 0;
  for (const { link } of sessions) if (link.isBusy) drainMs = Math.max(drainMs, link.drainMs());
  return {
    normalMs: Math.min(drainMs, LIMITS.gatherNormalMs),
    lowMs: Math.min(drainMs, LIMITS.gatherLowMs),
    briefMs: Math.min(reachOf(sessions), LIMITS.gatherBriefMs),
  };
}
