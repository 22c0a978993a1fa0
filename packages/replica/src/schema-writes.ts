// SPDX-License-Identifier: Apache-2.0
/** Local writes under the schemas of their document: checked, and completed with what the entries say beside. */
import type { DocumentName, FactInput, Priority } from "@ctxmesh/model";
import { moreUrgent } from "@ctxmesh/schema";
import type { DocumentSchemas } from "@ctxmesh/schema";
import { preparePut } from "./local-batch.ts";
import type { PreparedWrite } from "./local-batch.ts";

/** What a put has besides its facts. */
export interface PutContext {
  readonly priority?: Priority | undefined;
  /** This writer's own number under a key: what an increment is added to. */
  readonly number: (key: string) => number;
}

/**
 * Validates a put. A fact without a `ttlMs` gets that of its key's entry, a put without a priority the most urgent one. An increment is judged by the number
 * that it comes to now: of several under way at the same time the last may still come to another one, which is then kept, and not shown. Throws `INPUT_INVALID`,
 * `SCHEMA_INVALID`, `LIMIT_EXCEEDED`.
 */
export function prepareUnder(
  schemas: DocumentSchemas,
  doc: DocumentName,
  facts: readonly FactInput[],
  { priority, number }: PutContext,
): PreparedWrite {
  if (schemas.isEmpty || !Array.isArray(facts)) return preparePut(doc, facts, priority);
  let urgency = priority;
  const completed = (facts as readonly FactInput[]).map((fact) => {
    const { ttlMs, priority: usual } = schemas.defaults(fact.key);
    if (priority === undefined) urgency = moreUrgent(urgency, usual);
    return fact.ttlMs === undefined && ttlMs !== undefined ? { ...fact, ttlMs } : fact;
  });
  // First, since it sees to it that the values are JSON.
  const write = preparePut(doc, completed, urgency);
  for (const { key, value, increment } of completed) {
    const stated = increment === true && typeof value === "number" ? number(key) + value : value;
    schemas.assert(key, stated);
  }
  return write;
}
