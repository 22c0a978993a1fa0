// SPDX-License-Identifier: Apache-2.0
/** Questions and answers on their way; what is in them is in `questions.ts`. */
import type { CborValue } from "@ctxmesh/codec";
import { bytesOf, uintOf } from "./message-parts.ts";

/** A question. */
export interface AskMessage {
  readonly type: "ask";
  /** From 1; the answer has the same. */
  readonly id: number;
  readonly question: Uint8Array;
}

/** The answer to a question. */
export interface AnswerMessage {
  readonly type: "answer";
  readonly id: number;
  readonly answer: Uint8Array;
}

/** The parts of a question behind its type. Throws `PROTOCOL_VIOLATION`. */
export const askOf = (id: CborValue | undefined, question: CborValue | undefined): AskMessage => ({
  type: "ask",
  id: uintOf(id, 1),
  question: bytesOf(question),
});

/** The parts of an answer behind its type. Throws `PROTOCOL_VIOLATION`. */
export const answerOf = (
  id: CborValue | undefined,
  answer: CborValue | undefined,
): AnswerMessage => ({ type: "answer", id: uintOf(id, 1), answer: bytesOf(answer) });
