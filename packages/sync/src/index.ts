// SPDX-License-Identifier: Apache-2.0
/** The sync protocol: messages, the session state machine, and its driver over channels. */
export { ANNOUNCED_MS } from "./announcements.ts";
export { Asker } from "./asker.ts";
export type { Answers, AskOutcome, Askable, AskedBy } from "./asker.ts";
export type { Broadcast, BroadcastVerdict } from "./carriers.ts";
export { Confirmations } from "./confirmations.ts";
export type { Confirmed, ConfirmationsOptions } from "./confirmations.ts";
export type { WaitOutcome } from "./confirmation-waits.ts";
export { MAX_BODIES } from "./body-messages.ts";
export type { BodiesMessage, WantedMessage } from "./body-messages.ts";
export { Decider } from "./decider.ts";
export type { DeciderOptions, LogOfRecord } from "./decider.ts";
export { FETCH_WITHIN_MS } from "./fetcher.ts";
export type { FetchOutcome } from "./fetcher.ts";
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
export { decodeAnswer, decodeQuestion, encodeAnswer, encodeQuestion } from "./questions.ts";
export type { Answer, Question } from "./questions.ts";
export { MAX_RANGES, MAX_ROUNDS, rangeKey } from "./range-message.ts";
export type { Range, RangesMessage } from "./range-message.ts";
export { RangeIndex } from "./ranges.ts";
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
export { BROADCAST, RouteTable, passageOf, prefixOf } from "./relay-choice.ts";
export type { Bringer, Passage, Routes } from "./relay-choice.ts";
export { LATE_MS } from "./session-routes.ts";
export { isInSync } from "./session-heads.ts";
export { COMPARE_SOON_MS, step } from "./session.ts";
export { WANT_AT_LEAST_EVERY_MS, WANT_EVERY_MS } from "./session-wants.ts";
export { COMPARE_AT_LEAST_EVERY_MS, COMPARE_EVERY_MS } from "./schedule.ts";
export { SyncNode } from "./sync-node.ts";
export type { SyncNodeOptions } from "./sync-options.ts";
export type {
  RecordIds,
  Records,
  ReplicaHead,
  SyncReplica,
  SyncSpace,
  SyncedBatch,
} from "./sync-replica.ts";
