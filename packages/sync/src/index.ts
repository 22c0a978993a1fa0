// SPDX-License-Identifier: Apache-2.0
/** The sync protocol: messages, the session state machine, and its driver over channels. */
export { MAX_SPANS, decodeMessage, encodeMessage } from "./messages.ts";
export type { ChainSeq, SyncMessage } from "./messages.ts";
export { ASK_AFTER_HOLD_MS, DIGEST_EVERY_MS, initialState, isInSync, step } from "./session.ts";
export type {
  KnownHeads,
  LocalView,
  SessionEffect,
  SessionEvent,
  SessionState,
  Step,
} from "./session.ts";
export { SyncNode } from "./sync-node.ts";
export type { Broadcast, SyncNodeOptions } from "./sync-node.ts";
