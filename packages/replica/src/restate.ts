// SPDX-License-Identifier: Apache-2.0
/**
 * A device whose chain was forked (a resumed snapshot of its machine, a cloned process) has batches that
 * count nowhere any more. What they stated is stated again in a new incarnation, at the original clocks, so
 * that no acknowledged fact is lost. Rich edits can't be: they name operations that are void.
 */
import type { FactRecord } from "@ctxmesh/facts";
import { allows, roleAt } from "@ctxmesh/membership";
import { LIMITS, hlcToMs } from "@ctxmesh/model";
import type { DeviceKey, DocumentName, Hlc, IncarnationId, Logger } from "@ctxmesh/model";
import type { Core } from "./core.ts";
import { prepareRecords, recordBytes } from "./local-batch.ts";
import type { PreparedWrite } from "./local-batch.ts";
import { chainKey } from "./layout.ts";
import type { BatchLog } from "./log.ts";
import { clientOf, openParts } from "./parts.ts";
import type { Records } from "./records.ts";
import type { Chain } from "./void-content.ts";

/** A record that has to be stated again. */
interface Restatement {
  readonly doc: DocumentName;
  readonly record: FactRecord;
}

/** Whether a chain of our own goes on elsewhere: what comes next in it would be void, or behind what waits. */
export const isClosed = (
  { replica, incarnation }: Chain,
  { records, state: { voids, documents } }: Pick<Core, "records" | "state">,
): boolean =>
  Number.isFinite(records.limitOf(replica, incarnation)) ||
  voids.has(chainKey(replica, incarnation)) ||
  documents.voids.hasPartOf(clientOf(replica, incarnation));

/** Says that this device goes on as another incarnation; since the one before is forked, or what it wrote does not count. */
export function logRenewal(
  logger: Logger,
  before: IncarnationId,
  now: IncarnationId,
  isForked: boolean,
): void {
  if (!isForked) {
    logger.info("replica.renewed", { incarnation: before, now });
    return;
  }
  logger.warn("replica.forked", {
    incarnation: before,
    now,
    remedy: "two processes have run on copies of one state; find the other one and stop it",
  });
}

/** What has to be written again, and the documents with rich edits that can't be. */
export interface Restatements {
  readonly writes: readonly PreparedWrite[];
  readonly lostEdits: readonly DocumentName[];
}

/** Bytes of one write's records; with one more of the largest it still fits a batch. */
const RUN_BYTES = LIMITS.writeBytes / 2;

/** Runs of the same document, each a write of its own, in clock order. */
function toWrites(restatements: readonly Restatement[]): readonly PreparedWrite[] {
  const writes: PreparedWrite[] = [];
  let run: FactRecord[] = [];
  let bytes = 0;
  let doc: DocumentName | undefined;
  const flush = (): void => {
    if (doc !== undefined && run.length > 0) writes.push(prepareRecords(doc, run));
    run = [];
    bytes = 0;
  };
  for (const { doc: next, record } of restatements) {
    if (next !== doc || bytes > RUN_BYTES) flush();
    doc = next;
    run.push(record);
    bytes += recordBytes(record);
  }
  flush();
  return writes;
}

/**
 * Those that would count if they were stated again: by grants that stand, at their own clocks. A ruling also at the
 * clocks of all behind it, which its batch may have.
 */
function thatMayCount(
  ordered: readonly Restatement[],
  records: Records,
  self: DeviceKey,
): readonly Restatement[] {
  const kept: Restatement[] = [];
  let manages = true;
  for (const restatement of ordered.toReversed()) {
    const { hlc, retract } = restatement.record;
    // Of a chain that nobody has said anything about.
    const chain = { replica: self, incarnation: "" as IncarnationId, seq: 1 };
    if (records.standing({ ...chain, hlc }, "").kind === "void") continue;
    const role = roleAt(records.space, self, hlcToMs(hlc));
    manages &&= role === undefined || allows(role, "manage");
    if (retract === undefined || manages) kept.push(restatement);
  }
  return kept.toReversed();
}

/**
 * The statements and rulings in the batches at these log positions that may count and that there is nothing newer for:
 * of each key the newest, in clock order.
 */
export async function restatementsOf(
  log: BatchLog,
  positions: readonly number[],
  self: DeviceKey,
  { records, state: { documents } }: Pick<Core, "records" | "state">,
): Promise<Restatements> {
  const newest = new Map<string, Restatement>();
  const lostEdits = new Set<DocumentName>();
  for (const position of positions) {
    const { header, bodies } = await log.at(position);
    const opened = openParts(header, bodies, 0 as Hlc, (doc) => {
      lostEdits.add(doc);
      return { kind: "void" };
    });
    if (opened.kind !== "parts") continue;
    for (const part of opened.parts) {
      if (part.kind !== "facts") continue;
      for (const record of part.frame.records) {
        if (documents.hasStated(part.doc, self, record)) continue;
        const about = record.retract === undefined ? "" : record.retract.writer;
        const name = `${part.doc}\n${record.key}\n${about}`;
        const known = newest.get(name);
        if (known === undefined || known.record.hlc < record.hlc) {
          newest.set(name, { doc: part.doc, record });
        }
      }
    }
  }
  const ordered = [...newest.values()].toSorted((a, b) => a.record.hlc - b.record.hlc);
  const restated = thatMayCount(ordered, records, self);
  return { writes: toWrites(restated), lostEdits: [...lostEdits] };
}
