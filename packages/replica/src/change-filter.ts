// SPDX-License-Identifier: Apache-2.0
import { MeshError, hlcToMs, parseDocumentName } from "@ctxmesh/model";
import type { DocumentName, EventQuery } from "@ctxmesh/model";
import type { FactChange } from "./fact-changes.ts";
import { Glob } from "./glob.ts";

const PRIORITIES: readonly unknown[] = ["high", "normal", "low"];

function invalid(field: string, message: string): never {
  throw new MeshError("INPUT_INVALID", message, { field });
}

function checkTime(field: "since" | "until", time: string | number | undefined): void {
  if (typeof time === "number" && !(Number.isSafeInteger(time) && time >= 0)) {
    invalid(field, `${field} must be a position, or a whole number of Unix milliseconds`);
  }
}

/** Which changes a query asks for, but for the places between which they are. */
export class ChangeFilter {
  readonly doc: DocumentName | undefined;
  readonly #query: EventQuery;
  readonly #glob: Glob | undefined;
  /** Whether every key is wanted. */
  readonly isAllKeys: boolean;

  /** Throws `INPUT_INVALID`, `LIMIT_EXCEEDED` for a bad query. */
  constructor(query: EventQuery) {
    const { doc, prefix, pattern, minConfidence, priority, since, until } = query;
    this.#query = query;
    this.doc = doc === undefined ? undefined : parseDocumentName(doc);
    this.#glob = pattern === undefined ? undefined : new Glob(pattern);
    this.isAllKeys = prefix === undefined && pattern === undefined;
    if (minConfidence !== undefined && !(minConfidence >= 0 && minConfidence <= 1)) {
      invalid("minConfidence", "minConfidence must be a number from 0 to 1");
    }
    if (priority !== undefined && !PRIORITIES.includes(priority)) {
      invalid("priority", `priority must be ${PRIORITIES.join(", ")}`);
    }
    checkTime("since", since);
    checkTime("until", until);
  }

  /** Whether anything of a document may be wanted. */
  wantsDoc(doc: DocumentName): boolean {
    return this.doc === undefined || this.doc === doc;
  }

  /** Whether anything of a key may be wanted, in a document that may be. */
  wantsKey(key: string): boolean {
    const { prefix = "" } = this.#query;
    return key.startsWith(prefix) && this.#glob?.matches(key) !== false;
  }

  /** Whether a change is wanted. */
  wants({ doc, record, priority }: FactChange): boolean {
    const query = this.#query;
    const { key, hlc, source, confidence = 1, targets } = record;
    const ms = hlcToMs(hlc);
    return (
      this.wantsDoc(doc) &&
      this.wantsKey(key) &&
      (query.source === undefined || source?.model === query.source) &&
      confidence >= (query.minConfidence ?? 0) &&
      (query.priority === undefined || priority === query.priority) &&
      (query.model === undefined || targets === undefined || targets.includes(query.model)) &&
      !(typeof query.since === "number" && ms < query.since) &&
      !(typeof query.until === "number" && ms > query.until)
    );
  }
}
