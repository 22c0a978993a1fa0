// SPDX-License-Identifier: Apache-2.0
/** The documents of a space, their facts under the space's policy, and the canonical leaves. */
import { Resolvers } from "@ctxmesh/facts";
import type { Policy } from "@ctxmesh/facts";
import { hlcToMs } from "@ctxmesh/model";
import type {
  Candidate,
  DeviceKey,
  DocumentName,
  Hlc,
  ListQuery,
  VisibleFact,
} from "@ctxmesh/model";
import type { CheckedBatch } from "./checks.ts";
import { DocumentFacts } from "./document-facts.ts";

/** A key whose slots changed. */
export interface ChangedKey {
  readonly doc: DocumentName;
  readonly key: string;
}

const DEFAULT_LIST_LIMIT = 1000;

/** All documents of one space. */
export class Documents {
  readonly #factsByDoc = new Map<DocumentName, DocumentFacts>();
  readonly #resolvers: Resolvers;

  constructor(policy: Policy) {
    this.#resolvers = new Resolvers(policy);
  }

  /** Number of documents. */
  get size(): number {
    return this.#factsByDoc.size;
  }

  /** About the encoded size of a document. */
  bytesOf(doc: DocumentName): number {
    return this.#factsByDoc.get(doc)?.bytes ?? 0;
  }

  /** Merges a checked batch; returns the keys whose slots changed. */
  apply(batch: CheckedBatch): readonly ChangedKey[] {
    const { replica: writer, incarnation, sections } = batch.header;
    const changed: ChangedKey[] = [];
    for (const [i, { doc }] of sections.entries()) {
      let facts = this.#factsByDoc.get(doc);
      if (facts === undefined) {
        facts = new DocumentFacts(doc, this.#resolvers);
        this.#factsByDoc.set(doc, facts);
      }
      const frame = batch.frames[i];
      if (frame === undefined) continue;
      for (const key of facts.apply({ writer, incarnation }, frame)) changed.push({ doc, key });
    }
    return changed;
  }

  /** The answer to reading a key; undefined when nothing is visible. */
  get(doc: DocumentName, key: string, nowMs: number): VisibleFact | undefined {
    return this.#factsByDoc.get(doc)?.visible(key, nowMs);
  }

  /** Every writer's candidate, newest first, each with its standing. */
  candidates(doc: DocumentName, key: string, nowMs: number): readonly Candidate[] {
    return this.#factsByDoc.get(doc)?.candidates(key, nowMs) ?? [];
  }

  /** The clock of a writer's newest statement about a key, or undefined. */
  statedAt(doc: DocumentName, key: string, writer: DeviceKey): Hlc | undefined {
    return this.#factsByDoc.get(doc)?.statement(key, writer)?.hlc;
  }

  /** A writer's own number under a key: 0 when its newest statement is none, is deleted, or has expired. */
  ownNumber(doc: DocumentName, key: string, writer: DeviceKey, nowMs: number): number {
    return this.#factsByDoc.get(doc)?.ownNumber(key, writer, nowMs) ?? 0;
  }

  /** Visible facts in document and key order. */
  list(query: ListQuery, nowMs: number): readonly VisibleFact[] {
    const limit = query.limit ?? DEFAULT_LIST_LIMIT;
    const found: VisibleFact[] = [];
    const docs = [...this.#factsByDoc].toSorted(([a], [b]) => (a < b ? -1 : 1));
    for (const [doc, facts] of docs) {
      if (query.doc !== undefined && query.doc !== doc) continue;
      for (const key of facts.keys(query)) {
        if (found.length >= limit) return found;
        const fact = facts.visible(key, nowMs);
        if (fact !== undefined) found.push(fact);
      }
    }
    return found;
  }

  /** Number of visible facts, and how many of them are contested. */
  count(nowMs: number): { facts: number; contested: number } {
    let facts = 0;
    let contested = 0;
    for (const document of this.#factsByDoc.values()) {
      const count = document.count(nowMs);
      facts += count.facts;
      contested += count.contested;
    }
    return { facts, contested };
  }

  /**
   * The canonical leaves of the undominated, counting candidates and of all retractions as of an HLC,
   * sorted: a function of the applied batches and the policy alone when `asOf` is the frontier's own time.
   */
  leaves(asOf: Hlc): readonly string[] {
    const leaves = [...this.#factsByDoc.values()].flatMap((facts) => facts.leaves(hlcToMs(asOf)));
    return leaves.toSorted((a, b) => (a < b ? -1 : 1));
  }
}
