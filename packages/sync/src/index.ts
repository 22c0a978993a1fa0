// SPDX-License-Identifier: Apache-2.0
/** The sync protocol: messages, the session state machine, and its driver over channels. */
export { Confirmations } from "./confirmations.ts";
export type { Confirmed, ConfirmationsOptions } from "./confirmations.ts";
export type { WaitOutcome } from "./confirmation-waits.ts";
export { MAX_PROBES } from "./forks.ts";
export {
  MAX_HEADERS,
  MAX_HEADS,
  MAX_SPANS,
  MAX_WANTED,
  decodeMessage,
  encodeMessage,
} from "./messages.ts";
export type { Chain, ChainHead, ChainSeq, SyncMessage } from "./messages.ts";
export { BAR_MS, MAX_CLOSINGS, REFUSALS_LOGGED_EVERY_MS } from "./refusal-log.ts";
export { RECORDS_EVERY_MS } from "./session-records.ts";
export { initialState } from "./session-state.ts";
export type {
  ConfirmedLevel,
  LocalView,
  SessionEffect,
  SessionEvent,
  SessionState,
  Step,
} from "./session-state.ts";
export { isInSync } from "./session-heads.ts";
export { COMPARE_SOON_MS, DIGEST_EVERY_MS, WANT_EVERY_MS, step } from "./session.ts";
export { SyncNode } from "./sync-node.ts";
export type { Broadcast, SyncNodeOptions } from "./sync-node.ts";
export type {
  RecordIds,
  Records,
  ReplicaHead,
  SyncReplica,
  SyncSpace,
  SyncedBatch,
} from "./sync-replica.ts";
