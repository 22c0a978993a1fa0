// SPDX-License-Identifier: Apache-2.0
/** The background check of a whole store, for what rots while nobody reads it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { MeshError } from "@ctxmesh/model";
import type { Database } from "./database.ts";
import { codeOf, operationError } from "./database.ts";
import { checkTableFile, tablesOf } from "./files.ts";
import { decodeRecord } from "./record.ts";

const FIRST_KEY = Uint8Array.of(1);
const CHUNK = 256;
/** Resting time for each unit of working time: 4 % of one core. */
const REST = 24;
/** Findings that are described; more are counted. */
const MAX_FINDINGS = 100;

/** What a scrub saw. */
export interface ScrubReport {
  /** Tables and records that were checked. */
  readonly tables: number;
  readonly records: number;
  /** How many of them are damaged. */
  readonly damaged: number;
  /** The first 100 of those: the file, or the record's key in hex, and what is wrong. */
  readonly findings: readonly string[];
  /** False when the store was closed before the end. */
  readonly complete: boolean;
}

/** Checks the tables and records of the open `database` in `path` until `isEnded` says true. */
export async function scrub(
  path: string,
  database: Database,
  isEnded: () => boolean,
): Promise<ScrubReport> {
  const findings: string[] = [];
  const report = { tables: 0, records: 0, damaged: 0, findings, complete: false };
  const note = (error: unknown): void => {
    const known = operationError(path, error);
    if (known.code !== "STORE_CORRUPT" && !isUnreadable(known)) throw known;
    report.damaged += 1;
    if (findings.length < MAX_FINDINGS) findings.push(known.message);
  };
  try {
    await scrubTables(path, report, note, isEnded);
    await scrubRecords(database, report, note, isEnded);
  } catch (error) {
    if (!isEnded()) throw error;
  }
  return { ...report, complete: !isEnded() };
}

/** Rot that the disk itself has noticed: it gives an error instead of the wrong bytes. */
const isUnreadable = ({ code, cause }: MeshError): boolean =>
  code === "STORE_FAILED" && codeOf(cause) === "EIO";

async function scrubTables(
  path: string,
  report: { tables: number },
  note: (error: unknown) => void,
  isEnded: () => boolean,
): Promise<void> {
  const begun = new Set<string>();
  for (;;) {
    // Read anew for each table: one that a compaction has deleted meanwhile is not missing.
    const tables = await tablesOf(path);
    const next = [...tables].find(([name]) => !begun.has(name));
    if (next === undefined || isEnded()) return;
    begun.add(next[0]);
    const rest = startWork();
    try {
      await checkTableFile(path, ...next);
      report.tables += 1;
    } catch (error) {
      if ((await tablesOf(path)).has(next[0])) note(error);
    }
    await rest();
  }
}

async function scrubRecords(
  database: Database,
  report: { records: number },
  note: (error: unknown) => void,
  isEnded: () => boolean,
): Promise<void> {
  const iterator = database.iterator({ gte: FIRST_KEY, fillCache: false });
  try {
    while (!isEnded()) {
      const rest = startWork();
      const entries = await iterator.nextv(CHUNK);
      if (entries.length === 0) return;
      for (const [key, record] of entries) {
        report.records += 1;
        try {
          decodeRecord(key, record);
        } catch (error) {
          note(error);
        }
      }
      await rest();
    }
  } catch (error) {
    if (!isEnded()) note(error);
  } finally {
    await iterator.close();
  }
}

/** Notes the time; the function returned waits {@link REST} times as long as has passed since. */
function startWork(): () => Promise<void> {
  const start = performance.now();
  return async () => {
    await sleep((performance.now() - start) * REST, undefined, { ref: false });
  };
}
