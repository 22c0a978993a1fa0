// SPDX-License-Identifier: Apache-2.0
/** Local writes under the schemas of their document: checked, and completed with what the entries say beside. */
import { canonicalJson } from "@ctxmesh/codec";
import type {
  DeviceKey,
  DocumentName,
  FactInput,
  JsonValue,
  Priority,
  WriteOptions,
} from "@ctxmesh/model";
import { mostUrgent } from "@ctxmesh/schema";
import type { Defaults, DocumentSchemas, Statement } from "@ctxmesh/schema";
import type { Documents } from "./documents.ts";
import { preparePut } from "./local-batch.ts";
import type { PreparedWrite } from "./local-batch.ts";

/** What a caller says of a put besides its facts. */
export type PutOptions = Pick<WriteOptions, "priority">;

/** What a put has besides its facts. */
export interface PutContext extends PutOptions {
  /** Whose numbers increments are added to. */
  readonly device: DeviceKey;
  readonly nowMs: number;
}

/** What is no fact has none; it is refused with the rest. */
const defaultsOf = (schemas: DocumentSchemas, fact: FactInput): Defaults => {
  const key: unknown = (fact as FactInput | null | undefined)?.key;
  return typeof key === "string" ? schemas.defaults(key) : {};
};

/** Facts and priority with what their entries say. */
function complete(
  schemas: DocumentSchemas,
  facts: readonly FactInput[],
  priority: Priority | undefined,
): { readonly facts: readonly FactInput[]; readonly priority: Priority | undefined } {
  const usual = new Set<Priority | undefined>();
  const completed = facts.map((fact) => {
    const { ttlMs, priority: own } = defaultsOf(schemas, fact);
    usual.add(own);
    return ttlMs === undefined || fact.ttlMs !== undefined ? fact : { ...fact, ttlMs };
  });
  return { facts: completed, priority: priority ?? mostUrgent([...usual]) };
}

/** A fact as others will see it said. */
function statementOf(
  { confidence, source, tags }: FactInput,
  value: JsonValue,
  writer: DeviceKey,
): Statement {
  return {
    writer,
    valueJson: canonicalJson(value),
    ...(confidence === undefined ? {} : { confidence }),
    ...(source === undefined ? {} : { source }),
    ...(tags === undefined ? {} : { tags }),
  };
}

/**
 * Validates a put. A fact without a `ttlMs` gets that of its key's entry, a put without a priority the most urgent one. An increment is judged by the number
 * that it comes to now: of several under way at the same time the last may still come to another one, which is then kept, and not shown. Throws `INPUT_INVALID`,
 * `SCHEMA_INVALID`, `MODULE_FAILED`, `LIMIT_EXCEEDED`.
 */
export function prepareUnder(
  documents: Pick<Documents, "ownNumber" | "schemas">,
  doc: DocumentName,
  facts: readonly FactInput[],
  { priority, device, nowMs }: PutContext,
): PreparedWrite {
  const schemas = documents.schemas.forDocument(doc);
  if (schemas.isEmpty || !Array.isArray(facts)) return preparePut(doc, facts, priority);
  const completed = schemas.hasDefaults ? complete(schemas, facts, priority) : { facts, priority };
  // First, since it sees to it that the values are JSON.
  const write = preparePut(doc, completed.facts, completed.priority);
  for (const fact of completed.facts) {
    const { key, value, increment } = fact;
    const isSum = increment === true && typeof value === "number";
    const before = isSum ? documents.ownNumber(doc, key, device, nowMs) : 0;
    const said = isSum ? before + value : value;
    if (schemas.hasAdmission) schemas.assert(key, said, statementOf(fact, said, device));
    else schemas.assert(key, said);
  }
  return write;
}
