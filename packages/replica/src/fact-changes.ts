// SPDX-License-Identifier: Apache-2.0
/** What each record of a batch changed: the visible value before it and after it. */
import { SlotStore, counting, decodeState, resolve } from "@ctxmesh/facts";
import type { ChainId, FactRecord, KeySlots, Resolvers } from "@ctxmesh/facts";
import { hlcToMs } from "@ctxmesh/model";
import type { DeviceKey, DocumentName, HeaderHash, IncarnationId, Priority } from "@ctxmesh/model";
import type { Header } from "@ctxmesh/codec";
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
  of(doc: DocumentName, key: string): SlotStore;
}

/** Facts that are taken up from the states of a checkpoint, and followed through the log behind it. */
export class FollowedFacts implements FactsBefore {
  readonly #encoded: Map<DocumentName, Uint8Array>;
  readonly #stores = new Map<DocumentName, SlotStore>();

  /** Takes the states over: each is dropped once it is decoded. */
  constructor(encoded: Map<DocumentName, Uint8Array>) {
    this.#encoded = encoded;
  }

  of(doc: DocumentName): SlotStore {
    let store = this.#stores.get(doc);
    if (store === undefined) {
      const encoded = this.#encoded.get(doc);
      store = encoded === undefined ? new SlotStore() : decodeState(encoded);
      this.#encoded.delete(doc);
      this.#stores.set(doc, store);
    }
    return store;
  }
}

/** The facts of documents that stay as they are: keys are copied as they are asked for. */
export class CopiedFacts implements FactsBefore {
  readonly #slots: (doc: DocumentName, key: string) => KeySlots | undefined;
  readonly #stores = new Map<string, SlotStore>();

  constructor(slots: (doc: DocumentName, key: string) => KeySlots | undefined) {
    this.#slots = slots;
  }

  of(doc: DocumentName, key: string): SlotStore {
    const name = `${doc}\n${key}`;
    let store = this.#stores.get(name);
    if (store === undefined) {
      store = new SlotStore();
      const { statements = [], retractions = [] } = this.#slots(doc, key) ?? {};
      for (const slot of [...statements, ...retractions]) applyRecord(store, slot, slot);
      this.#stores.set(name, store);
    }
    return store;
  }
}

const applyRecord = (store: SlotStore, chain: ChainId, record: FactRecord): void => {
  const { writer, incarnation } = chain;
  // From 0, since what is passed over must not leave gaps, which would be remembered.
  store.applyFrame({ writer, incarnation }, { from: 0, to: record.seq, records: [record] });
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

function shownAt(
  store: SlotStore,
  key: string,
  resolvers: Resolvers,
  atMs: number,
): string | undefined {
  const { statements, retractions } = store.slots(key);
  return resolve(resolvers.for(key), counting(statements, retractions, atMs))?.valueJson;
}

/**
 * The changes of a batch, in order. Every wanted record is applied to `facts`, so that the next one finds it; the others are
 * passed over.
 */
export function* changesOf(
  { position, header, hash, frames }: ChangingBatch,
  facts: FactsBefore,
  resolvers: Resolvers,
  isWanted?: (key: string) => boolean,
): Generator<FactChange> {
  const chain = { writer: header.replica, incarnation: header.incarnation };
  const of = { position, hash, ...chain, priority: header.lane ?? "normal" } as const;
  for (const { section, doc, frame } of frames) {
    for (const record of frame.records) {
      const { key, hlc } = record;
      if (isWanted?.(key) === false) continue;
      const store = facts.of(doc, key);
      const previousJson = shownAt(store, key, resolvers, hlcToMs(hlc));
      applyRecord(store, chain, record);
      const currentJson = shownAt(store, key, resolvers, hlcToMs(hlc));
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
