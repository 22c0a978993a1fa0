// SPDX-License-Identifier: Apache-2.0
/**
 * Reads by level of consistency, and writes with a condition.
 *
 * ```
 * GET  /v1/fact, /v1/facts              as ever, and &consistency=eventual|bounded|strong &maxStalenessMs &timeoutMs; the answer has `from` and `asOf`
 * POST /v1/facts/compare-and-set        {doc, fact: FactInput, expect: string|null, consistency?, timeoutMs?} -> CompareReceipt, or 412 VERSION_CONFLICT
 * ```
 */
import type { CompareOptions, FactInput, LevelService, ReadLevel } from "@ctxmesh/model";
import type { FastifyInstance, FastifyReply } from "fastify";
import { etagOf } from "./preconditions.ts";
import { readFact, readNumber, readObject, readString, refuse } from "./requests.ts";
import type { LevelTexts } from "./requests.ts";

/** Body of `POST /v1/facts/compare-and-set`. */
export interface CompareRequest extends Pick<CompareOptions, "consistency" | "timeoutMs"> {
  readonly doc: string;
  readonly fact: FactInput;
  /** The version to replace; null: nothing is visible. */
  readonly expect: string | null;
}

function readMs(text: string | undefined, at: string): number | undefined {
  if (text === undefined) return undefined;
  return /^[1-9][0-9]{0,8}$/u.test(text)
    ? Number(text)
    : refuse(at, `query parameter ${at} must be a positive whole number`);
}

/** Reads them; undefined when none is there. Which levels there are, the service knows. Throws `INPUT_INVALID`. */
export function parseLevel(texts: LevelTexts = {}): ReadLevel | undefined {
  if (Object.keys(texts).length === 0) return undefined;
  const maxStalenessMs = readMs(texts.maxStalenessMs, "maxStalenessMs");
  const timeoutMs = readMs(texts.timeoutMs, "timeoutMs");
  return {
    ...(texts.consistency === undefined
      ? {}
      : { consistency: texts.consistency as NonNullable<ReadLevel["consistency"]> }),
    ...(maxStalenessMs === undefined ? {} : { maxStalenessMs }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
}

/** Parses the body of a write with a condition. Throws `INPUT_INVALID`, `LIMIT_EXCEEDED`. */
export function parseCompareRequest(body: unknown): CompareRequest {
  const fields = readObject(body, "body", ["doc", "fact", "expect", "consistency", "timeoutMs"]);
  const { doc, fact, expect, consistency, timeoutMs } = fields;
  return {
    doc: readString(doc, "doc"),
    fact: readFact(fact, "fact"),
    expect: expect === null ? null : readString(expect, "expect"),
    ...(consistency === undefined
      ? {}
      : { consistency: readString(consistency, "consistency") as "eventual" | "strong" }),
    ...(timeoutMs === undefined ? {} : { timeoutMs: readNumber(timeoutMs, "timeoutMs") }),
  };
}

/** The operation for writes with a condition; `callOff` says what ends one. */
export function installLevelRoutes(
  app: FastifyInstance,
  levels: LevelService | undefined,
  callOff: (reply: FastifyReply) => Pick<CompareOptions, "signal">,
): void {
  if (levels === undefined) return;
  app.post("/v1/facts/compare-and-set", async (request, reply) => {
    const { doc, fact, expect, ...options } = parseCompareRequest(request.body);
    const how = { ...options, ...callOff(reply) };
    const receipt = await levels.compareAndSet(doc, fact, expect, how);
    reply.header("etag", etagOf(receipt.version));
    return receipt;
  });
}
