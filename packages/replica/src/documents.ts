// SPDX-License-Identifier: Apache-2.0
/** The documents of a space: what their slots resolve to, and their canonical leaves. */
import { canonicalJson } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { FactStore, isNewer, resolve } from "@ctxmesh/facts";
import type { Resolution, Slot } from "@ctxmesh/facts";
import { hlcToMs, toHex } from "@ctxmesh/model";
import type {
  Candidate,
  DocumentName,
  Hlc,
  JsonValue,
  ListQuery,
  VisibleFact,
} from "@ctxmesh/model";
import type { CheckedBatch } from "./checks.ts";

/** A key whose slots changed. */
export interface ChangedKey {
  readonly doc: DocumentName;
  readonly key: string;
}

const DEFAULT_LIST_LIMIT = 1000;
const VERSION_BYTES = 16;

/** Drops the members that are undefined, so that absent stays absent. */
type Present<T> = { [K in keyof T]: Exclude<T[K], undefined> };
const present = <T extends object>(members: T): Partial<Present<T>> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Partial<
    Present<T>
  >;

const parseValue = (json: string): JsonValue => JSON.parse(json) as JsonValue;

/** First half of SHA-256 over the undominated candidates' writers and clocks, hex. */
function versionOf({ undominated }: Resolution): string {
  const ids = undominated.map((slot) => `${slot.writer}:${slot.incarnation}:${String(slot.hlc)}`);
  return toHex(sha256(Buffer.from(ids.join("\n"))).subarray(0, VERSION_BYTES));
}

function toCandidate(slot: Slot): Candidate {
  const { valueJson, confidence, source, ttlMs, tags, basis } = slot;
  return {
    writer: slot.writer,
    incarnation: slot.incarnation,
    seq: slot.seq,
    hlc: slot.hlc,
    deleted: valueJson === undefined,
    ...(valueJson === undefined ? {} : { value: parseValue(valueJson) }),
    ...present({ confidence, source, ttlMs, tags, basis }),
  };
}

/**
 * The canonical text of one candidate (RFC 8785): what a seal covers. Members: doc, key, writer,
 * incarnation, seq, hlc, and value or deleted, and confidence, source, ttlMs, tags, basis where given.
 */
function leafOf(doc: DocumentName, key: string, slot: Slot): string {
  // Built from JSON texts and plain data only, so it is JSON by construction.
  const leaf = { doc, key, ...toCandidate(slot) };
  const { deleted, ...rest } = leaf;
  return canonicalJson((deleted ? leaf : rest) as unknown as JsonValue);
}

/** All documents of one space. */
export class Documents {
  readonly #factsByDoc = new Map<DocumentName, FactStore>();

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
    const { replica, incarnation, sections } = batch.header;
    const changed: ChangedKey[] = [];
    for (const [i, { doc }] of sections.entries()) {
      let facts = this.#factsByDoc.get(doc);
      if (facts === undefined) {
        facts = new FactStore();
        this.#factsByDoc.set(doc, facts);
      }
      for (const record of batch.frames[i]?.records ?? []) {
        if (facts.apply(replica, incarnation, record)) changed.push({ doc, key: record.key });
      }
    }
    return changed;
  }

  #visible(
    doc: DocumentName,
    facts: FactStore,
    key: string,
    nowMs: number,
  ): VisibleFact | undefined {
    const resolution = resolve(facts.slots(key), nowMs);
    if (resolution?.winner.valueJson === undefined) return undefined;
    const { winner, contested } = resolution;
    const { confidence, source, tags } = winner;
    return {
      doc,
      key,
      value: parseValue(winner.valueJson ?? "null"),
      writer: winner.writer,
      hlc: winner.hlc,
      version: versionOf(resolution),
      ageMs: Math.max(0, nowMs - hlcToMs(winner.hlc)),
      contested,
      ...present({ confidence, source, tags }),
    };
  }

  /** The answer to reading a key; undefined when nothing is visible. */
  get(doc: DocumentName, key: string, nowMs: number): VisibleFact | undefined {
    const facts = this.#factsByDoc.get(doc);
    return facts === undefined ? undefined : this.#visible(doc, facts, key, nowMs);
  }

  /** Every writer's candidate, newest first, dominated and expired ones included. */
  candidates(doc: DocumentName, key: string): readonly Candidate[] {
    const slots = this.#factsByDoc.get(doc)?.slots(key) ?? [];
    return slots.toSorted((a, b) => (isNewer(a, b) ? -1 : 1)).map(toCandidate);
  }

  /** Visible facts in document and key order. */
  list(query: ListQuery, nowMs: number): readonly VisibleFact[] {
    const limit = query.limit ?? DEFAULT_LIST_LIMIT;
    const found: VisibleFact[] = [];
    const docs = [...this.#factsByDoc].toSorted(([a], [b]) => (a < b ? -1 : 1));
    for (const [doc, facts] of docs) {
      if (query.doc !== undefined && query.doc !== doc) continue;
      for (const key of facts.keys(query.prefix, query.after)) {
        if (found.length >= limit) return found;
        const fact = this.#visible(doc, facts, key, nowMs);
        if (fact !== undefined) found.push(fact);
      }
    }
    return found;
  }

  /** Number of visible facts, and how many of them are contested. */
  count(nowMs: number): { facts: number; contested: number } {
    let total = 0;
    let contested = 0;
    for (const facts of this.#factsByDoc.values()) {
      for (const key of facts.keys()) {
        const resolution = resolve(facts.slots(key), nowMs);
        if (resolution?.winner.valueJson === undefined) continue;
        total++;
        if (resolution.contested) contested++;
      }
    }
    return { facts: total, contested };
  }

  /**
   * The canonical leaves of the undominated, unexpired candidates as of an HLC, sorted: a function of
   * the applied batches alone when `asOf` is the frontier's own time.
   */
  leaves(asOf: Hlc): readonly string[] {
    const leaves: string[] = [];
    for (const [doc, facts] of this.#factsByDoc) {
      for (const key of facts.keys()) {
        const resolution = resolve(facts.slots(key), hlcToMs(asOf));
        for (const slot of resolution?.undominated ?? []) leaves.push(leafOf(doc, key, slot));
      }
    }
    return leaves.toSorted((a, b) => (a < b ? -1 : 1));
  }
}
