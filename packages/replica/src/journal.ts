// SPDX-License-Identifier: Apache-2.0
/** A log that several replicas share, and that has first what becomes durable here. */
import { sha256 } from "@ctxmesh/crypto";
import { fromHex } from "@ctxmesh/model";
import type { EngineEntry, StoreChange } from "@ctxmesh/model";
import type { ParsedBatch } from "./checks.ts";
import { TAG } from "./layout.ts";

/**
 * What a replica hands over before it writes it to its own store. Others that share it apply the same, and whatever a replica
 * tells of, they have or will have.
 */
export interface Journal {
  /**
   * Resolves once all entries are durable in the shared log, however long that takes: until then nothing else is written here, and nothing
   * of it is told. Rejects with `CLOSED` when it was closed meanwhile: then it is not written here, either.
   */
  record(entries: readonly EngineEntry[]): Promise<void>;
  /**
   * As {@link record}, unless a record of the shared log that is not here yet is against it, or it can't be told: then nothing is recorded, nor will be,
   * and it resolves with false.
   */
  recordUnless(
    entries: readonly EngineEntry[],
    isAgainst: (record: EngineEntry) => boolean,
  ): Promise<boolean>;
}

/** Batches as entries. */
export const batchEntries = (
  batches: readonly Pick<ParsedBatch, "hash" | "bytes">[],
): readonly EngineEntry[] =>
  batches.map(({ hash, bytes }) => ({ kind: "batch", id: fromHex(hash), bytes }));

/** The id of the entry of a void batch's header, which stands alone: the SHA-256 of the header's hash. */
export const headerEntryId = (hash: Uint8Array): Uint8Array => sha256(hash);

/** The kinds of records by the first byte of their keys in the store. */
const KINDS: ReadonlyMap<number | undefined, EngineEntry["kind"]> = new Map([
  [TAG.act, "act"],
  [TAG.proof, "proof"],
  [TAG.voidHeader, "header"],
]);

/** The acts, proofs and headers among changes of a store, as entries. */
export function recordEntries(changes: readonly StoreChange[]): readonly EngineEntry[] {
  return changes.flatMap(({ key, value }) => {
    const kind = KINDS.get(key[0]);
    if (kind === undefined || value === undefined) return [];
    // The key of an act is its id. That of a proof is its chain, of which there may be another one later, and that of a header is
    // also the id of its whole batch, which may yet come.
    const id = { act: key.slice(1), proof: sha256(value), header: headerEntryId(key.slice(1)) };
    return kind === "batch" ? [] : { kind, id: id[kind], bytes: value };
  });
}
