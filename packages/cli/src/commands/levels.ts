// SPDX-License-Identifier: Apache-2.0
/** What the options of reads and writes that say how sure they are to be ask for. */
import { MeshError } from "@ctxmesh/model";
import type { CompareReceipt, FactInput, ReadOrigin } from "@ctxmesh/model";
import type { ContextClient, LevelOptions } from "@ctxmesh/sdk";
import { formatAge, parseDuration } from "../output.ts";

/** Options of a read. */
export interface LevelCommandOptions {
  readonly consistency?: "eventual" | "bounded" | "strong";
  readonly maxStaleness?: string;
}

/** Options of a write. */
export interface ConditionOptions {
  readonly ifVersion?: string;
  readonly consistency?: "eventual" | "strong";
}

/** The level of a read; with a staleness alone it is bounded. Throws `USAGE`. */
export function levelOf({ consistency, maxStaleness }: LevelCommandOptions): LevelOptions {
  if (maxStaleness === undefined) return consistency === undefined ? {} : { consistency };
  if (consistency !== undefined && consistency !== "bounded") {
    throw new MeshError("USAGE", `--max-staleness does not go with --consistency ${consistency}`);
  }
  return { consistency: "bounded", maxStalenessMs: parseDuration(maxStaleness) };
}

/** Where an answer comes from, in words; empty where nothing is to be said. */
export function originText({ from, asOf }: Partial<ReadOrigin>, nowMs: number): string {
  if (from === "hub") return "from the hub";
  return asOf === undefined
    ? ""
    : `in step with the hub ${formatAge(Math.max(0, nowMs - asOf))} ago`;
}

/** Throws `USAGE` for what a write with a condition can't have, and for a level without a condition. */
export function checkCondition(
  { ifVersion, consistency }: ConditionOptions,
  others: Readonly<Record<string, boolean>>,
): void {
  if (ifVersion === undefined && consistency !== undefined) {
    throw new MeshError("USAGE", "--consistency of a write goes with --if-version");
  }
  const [other] = Object.entries(others).flatMap(([name, isGiven]) => (isGiven ? [name] : []));
  if (ifVersion !== undefined && other !== undefined) {
    throw new MeshError("USAGE", `--if-version does not go with ${other}`);
  }
}

/** Writes a fact with a condition. */
export const putIf = async (
  client: ContextClient,
  doc: string,
  fact: FactInput,
  { ifVersion = "none", consistency = "eventual" }: ConditionOptions,
): Promise<CompareReceipt> =>
  client.compareAndSet(doc, fact, ifVersion === "none" ? null : ifVersion, { consistency });
