// SPDX-License-Identifier: Apache-2.0
/** What each record of a batch changed: the visible value before it and after it. */
import type { ChainId, FactRecord } from "@ctxmesh/facts";
import { hlcToMs } from "@ctxmesh/model";
import type { DeviceKey, DocumentName, HeaderHash, IncarnationId, Priority } from "@ctxmesh/model";
import type { Header } from "@ctxmesh/codec";
import { DocumentFacts } from "./document-facts.ts";
import type { Documents } from "./documents.ts";
import type { StoredFrame } from "./stored-batch.ts";

/** A record of the log, and what it changed. */
export interface FactChange {
  /** The position of its batch in the log, and its section there. With the record's `seq` that is its place among all of the log. */
  readonly position: number;
  readonly section: number;
  /** Of the batch. */
  readonly hash: HeaderHash;
  readonly writer: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly priority: Priority;
  readonly doc: DocumentName;
  readonly record: FactRecord;
  /** Canonical JSON of the visible value before and after, judged at the record's own time; absent where nothing was visible. */
  readonly previousJson?: string;
  readonly currentJson?: string;
}

/** A batch of which the changes are told. */
export interface ChangingBatch {
  readonly position: number;
  readonly header: Header;
  readonly hash: HeaderHash;
  readonly frames: readonly StoredFrame[];
}

/** The facts before a batch, which {@link changesOf} brings up to date with it. */
export interface FactsBefore {
  /** The facts of a document with all that was said of a key. */
  of(doc: DocumentName, key: string): DocumentFacts;
}

/** What decides what is visible. */
export type FactRules = Pick<Documents, "resolvers" | "schemas">;

const factsOf = (doc: DocumentName, { resolvers, schemas }: FactRules, state?: Uint8Array) =>
  new DocumentFacts(doc, resolvers, schemas.forDocument(doc), state);

/** Facts that are taken up from the states of a checkpoint, and followed through the log behind it. */
export class FollowedFacts implements FactsBefore {
  readonly #encoded: Map<DocumentName, Uint8Array>;
  readonly #rules: FactRules;
  readonly #facts = new Map<DocumentName, DocumentFacts>();

  /** Takes the states over: each is dropped once it is decoded. */
  constructor(encoded: Map<DocumentName, Uint8Array>, rules: FactRules) {
    this.#encoded = encoded;
    this.#rules = rules;
  }

  of(doc: DocumentName): DocumentFacts {
    let facts = this.#facts.get(doc);
    if (facts === undefined) {
      facts = factsOf(doc, this.#rules, this.#encoded.get(doc));
      this.#encoded.delete(doc);
      this.#facts.set(doc, facts);
    }
    return facts;
  }
}

/** The facts of documents that stay as they are: keys are copied as they are asked for. */
export class CopiedFacts implements FactsBefore {
  readonly #documents: Pick<Documents, keyof FactRules | "slots">;
  readonly #facts = new Map<string, DocumentFacts>();

  constructor(documents: Pick<Documents, keyof FactRules | "slots">) {
    this.#documents = documents;
  }

  of(doc: DocumentName, key: string): DocumentFacts {
    const name = `${doc}\n${key}`;
    let facts = this.#facts.get(name);
    if (facts === undefined) {
      facts = factsOf(doc, this.#documents);
      const { statements = [], retractions = [] } = this.#documents.slots(doc, key) ?? {};
      for (const slot of [...statements, ...retractions]) applyRecord(facts, slot, slot);
      this.#facts.set(name, facts);
    }
    return facts;
  }
}

const applyRecord = (facts: DocumentFacts, chain: ChainId, record: FactRecord): void => {
  const { writer, incarnation } = chain;
  // From 0, since what is passed over must not leave gaps, which would be remembered.
  facts.apply({ writer, incarnation }, { from: 0, to: record.seq, records: [record] });
};

/** Applies the wanted records of a batch to `facts`, without looking at what they change. */
export function followBatch(
  { header, frames }: ChangingBatch,
  facts: FactsBefore,
  isWanted?: (key: string) => boolean,
): void {
  const chain = { writer: header.replica, incarnation: header.incarnation };
  for (const { doc, frame } of frames) {
    for (const record of frame.records) {
      if (isWanted?.(record.key) === false) continue;
      applyRecord(facts.of(doc, record.key), chain, record);
    }
  }
}

/**
 * The changes of a batch, in order. Every wanted record is applied to `facts`, so that the next one finds it; the others are
 * passed over.
 */
export function* changesOf(
  { position, header, hash, frames }: ChangingBatch,
  facts: FactsBefore,
  isWanted?: (key: string) => boolean,
): Generator<FactChange> {
  const chain = { writer: header.replica, incarnation: header.incarnation };
  const of = { position, hash, ...chain, priority: header.lane ?? "normal" } as const;
  for (const { section, doc, frame } of frames) {
    for (const record of frame.records) {
      const { key, hlc } = record;
      if (isWanted?.(key) === false) continue;
      const before = facts.of(doc, key);
      const previousJson = before.shownJson(key, hlcToMs(hlc));
      applyRecord(before, chain, record);
      const currentJson = before.shownJson(key, hlcToMs(hlc));
      yield {
        ...of,
        section,
        doc,
        record,
        ...(previousJson === undefined ? {} : { previousJson }),
        ...(currentJson === undefined ? {} : { currentJson }),
      };
    }
  }
}
