// SPDX-License-Identifier: Apache-2.0
/** What goes into the committer's queues, and what comes of it. */
import type { DocumentName, Hlc, ReceiveOutcome, StoreChange, WriteReceipt } from "@ctxmesh/model";
import { decodeBatch } from "@ctxmesh/codec";
import type { RichUpdate } from "@ctxmesh/rich";
import type { CheckedBase } from "./base-check.ts";
import { unpackedOf } from "./checks.ts";
import type { BatchSource, CheckedBatch, ParsedBatch } from "./checks.ts";
import type { ChangedKey } from "./documents.ts";
import type { ParsedHeader } from "./evidence.ts";
import type { Head } from "./layout.ts";
import type { LocalWrite, WriteStamp } from "./local-writer.ts";
import type { RecordBytes, RefusedRecord } from "./records.ts";
import type { Sized } from "./work-queue.ts";

/** A batch that became durable and visible. */
export interface AppliedBatch {
  /** As it came, which may be more than what is stored. */
  readonly bytes: Uint8Array;
  /** Whether they lack no body. */
  readonly whole: boolean;
  /** What was given to `receive` with it. */
  readonly source: BatchSource | undefined;
  readonly head: Head;
  readonly origin: "local" | "remote";
  /** Facts in the batch. */
  readonly facts: number;
  /** HLC of its first fact. */
  readonly firstHlc: Hlc;
  readonly changed: readonly ChangedKey[];
  /** Rich updates in the batch, in order. */
  readonly rich: readonly AppliedUpdate[];
}

/** A rich update that became visible. */
export interface AppliedUpdate {
  readonly doc: DocumentName;
  readonly update: RichUpdate;
}

/** What is told of a batch with its head, and with the keys that it changed, which are made when somebody asks for them. */
export function appliedOf(
  { bytes, received, bodies, source, parts }: CheckedBatch,
  head: Head,
  origin: AppliedBatch["origin"],
  changed: () => readonly ChangedKey[],
): AppliedBatch {
  const frames = parts.flatMap((part) => (part.kind === "facts" ? [part.frame] : []));
  const firstHlc = frames[0]?.firstHlc ?? head.hlc;
  // What was taken out here was there when it came, unless it came with less than was taken out.
  const came = received === undefined ? bodies : decodeBatch(received).bodies;
  const whole = came.every((body) => body !== null);
  const facts = frames.reduce((sum, { count }) => sum + count, 0);
  const rich = parts.filter((part) => part.kind === "rich");
  const applied = { bytes: received ?? bytes, whole, source, head, origin, facts, firstHlc, rich };
  return Object.defineProperty({ ...applied, changed: [] }, "changed", { get: changed });
}

/** Records took effect; `changed` are the keys whose answer is another one now, because what counts has changed. */
export interface RecordsChange {
  readonly changed: readonly ChangedKey[];
  /** Everything was worked out anew: rich content may be another one, too. */
  readonly rebuilt: boolean;
}

/** What became of records that were handed in. */
export interface RecordsOutcome {
  readonly added: number;
  readonly refused: readonly RefusedRecord[];
}

/** A local write, and whom to tell. */
export interface WriteTask extends Sized {
  readonly write: LocalWrite;
  readonly resolve: (receipt: WriteReceipt) => void;
  readonly reject: (error: unknown) => void;
}

/** A received batch, and whom to tell. */
export interface ReceiveTask extends Sized {
  readonly batch: ParsedBatch;
  readonly unpacked: number;
  /** A peer gave it as the answer to what was missing. */
  readonly wanted?: boolean;
  /** It came out of the hold: its signature is verified and nobody waits for its outcome. */
  readonly released: boolean;
  readonly resolve: (outcome: ReceiveOutcome) => void;
  readonly reject: (error: unknown) => void;
}

const ignore = (): void => undefined;

/** A batch that comes out of the hold. */
export const releasedTask = (batch: ParsedBatch): ReceiveTask => ({
  batch,
  size: batch.bytes.length,
  unpacked: unpackedOf(batch),
  released: true,
  resolve: ignore,
  reject: ignore,
});

/** A base that takes the place of the pruned part of the log, and whom to tell. */
export interface BaseTask {
  readonly checked: CheckedBase;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Records and headers that were handed in, and whom to tell. */
export interface RecordsTask extends RecordBytes {
  readonly headers: readonly ParsedHeader[];
  readonly resolve: (outcome: RecordsOutcome) => void;
  readonly reject: (error: unknown) => void;
}

const receiptOf = ({ write }: WriteTask, stamp: WriteStamp): WriteReceipt => ({
  acknowledged: "local",
  facts: "drafts" in write ? write.drafts.length : 0,
  ...stamp,
});

/** What is to be written to the store with local writes whose batches are made. */
export const changesWith = (
  writes: readonly WriteTask[],
  results: readonly (WriteStamp | Error | undefined)[],
): readonly StoreChange[] =>
  writes.flatMap((task, i) => {
    const result = results[i];
    if (task.write.also === undefined || result === undefined || result instanceof Error) return [];
    return task.write.also(receiptOf(task, result));
  });

/** Tells the writers what became of their writes: stamped, failed, or (undefined) without any change, as of `now`. */
export function settleWrites(
  writes: readonly WriteTask[],
  results: readonly (WriteStamp | Error | undefined)[],
  now: WriteStamp,
): void {
  for (const [i, task] of writes.entries()) {
    const result = results[i];
    if (result instanceof Error) task.reject(result);
    else task.resolve(receiptOf(task, result ?? now));
  }
}
