// SPDX-License-Identifier: Apache-2.0
import type { ReceiveOutcome } from "@ctxmesh/model";
import { unpackedOf } from "./checks.ts";
import type { CheckResult, ParsedBatch } from "./checks.ts";
import type { Glimpses } from "./glimpses.ts";
import type { HoldBuffer } from "./hold.ts";
import { itemsOf } from "./parts.ts";
import type { RecordsQueue } from "./records-queue.ts";

/** Where what comes of a batch goes. */
export interface ReceivedContext {
  readonly hold: HoldBuffer;
  readonly records: RecordsQueue;
  readonly glimpses: Glimpses;
  readonly nowMs: number;
}

/** What the result of the checks means for whoever handed a batch in: charges for it, holds it, and hands in a proof that it shows. */
export function outcomeOf(
  result: CheckResult,
  batch: ParsedBatch,
  { hold, records, glimpses, nowMs }: ReceivedContext,
): ReceiveOutcome {
  const isOmitted = result.kind === "refused" && result.reason === "omitted";
  const shown =
    isOmitted || result.kind === "accept" ? glimpses.look(batch, !isOmitted) : undefined;
  if (shown !== undefined) records.pushProof(batch.header, shown);
  switch (result.kind) {
    case "accept":
      batch.source?.charge({ bytes: 0, items: itemsOf(result.batch.parts) });
      return { kind: "accepted" };
    case "hold":
      // It was opened in vain, and will be opened again.
      if (typeof result.missing === "object") {
        batch.source?.charge({ bytes: unpackedOf(batch), items: 0 });
      }
      return hold.add(result.batch, result.missing, nowMs)
        ? { kind: "held", reason: result.reason }
        : { kind: "dropped" };
    case "duplicate":
      return result;
    case "refused":
      if (result.proof !== undefined) records.pushProof(batch.header, result.proof);
      return { kind: "refused", reason: result.reason, detail: result.detail };
  }
}
