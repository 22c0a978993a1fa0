// SPDX-License-Identifier: Apache-2.0
/** What a session knows of bases; the rules are in `session-base.ts`. */
import type { BaseNeed } from "@ctxmesh/replica";

/** A base that is on its way. */
export interface BaseFetch {
  readonly need: BaseNeed;
  /** What was asked for last: its name, unless it is the newest, and which part. */
  readonly base: string | undefined;
  readonly part: number;
  /** That part came, and is being looked at. */
  readonly taking: boolean;
  /** How long it has been waited for, and when that was last looked at, Unix milliseconds; 0: not yet. */
  readonly waitedMs: number;
  readonly seenMs: number;
  /** It was asked for from the start, since the one before was gone. */
  readonly again: boolean;
}

/** What a session knows of bases. */
export interface BaseState {
  readonly fetch: BaseFetch | undefined;
  /** Another session of this node is fetching one. */
  readonly elsewhere: boolean;
  /** Not before this time is one asked for again, Unix milliseconds. */
  readonly afterMs: number;
  /** A part is being read for the remote. */
  readonly serving: boolean;
}

/** The state at the start. */
export const noBase: BaseState = {
  fetch: undefined,
  elsewhere: false,
  afterMs: 0,
  serving: false,
};
