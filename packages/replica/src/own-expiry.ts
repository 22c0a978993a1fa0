// SPDX-License-Identifier: Apache-2.0
import { hlcToMs } from "@ctxmesh/model";
import type { DocumentName, IncarnationId } from "@ctxmesh/model";
import type { FactRecord } from "@ctxmesh/facts";

/** A statement as far as it matters when the next one of its writer comes. */
export interface OwnStatement {
  /** Undefined for one of a chain that is about to begin. */
  readonly incarnation: IncarnationId | undefined;
  /** When it stops counting, Unix milliseconds; Infinity without a ttl. */
  readonly expiryMs: number;
}

/**
 * Says of new statements whether nobody will miss them once they have expired, so that they need not be sent any more: each replaces one of the
 * same chain that ends no later. Whoever has the new batch has that one, too, or was told the same of it; so nothing older,
 * of another lane or an earlier life, comes to light again without it.
 */
export class OwnExpiry {
  readonly #stored: (doc: DocumentName, key: string) => OwnStatement | undefined;
  /** The newest statements of the group, by document and key. */
  readonly #written = new Map<string, OwnStatement>();

  /** `stored` tells this writer's newest statement before the group. */
  constructor(stored: (doc: DocumentName, key: string) => OwnStatement | undefined) {
    this.#stored = stored;
  }

  /** When the last of a write's facts expires, Unix milliseconds; undefined when one must not be missed. Call it for each write, in order. */
  settle(
    doc: DocumentName,
    records: readonly Omit<FactRecord, "seq">[],
    incarnation: IncarnationId | undefined,
  ): number | undefined {
    let until: number | undefined = 0;
    for (const { key, hlc, ttlMs, retract } of records) {
      if (retract !== undefined) return undefined;
      const name = `${doc}\n${key}`;
      const before = this.#written.get(name) ?? this.#stored(doc, key);
      const expiryMs = ttlMs === undefined ? Number.POSITIVE_INFINITY : hlcToMs(hlc) + ttlMs;
      const isSafe =
        Number.isSafeInteger(expiryMs) &&
        before !== undefined &&
        incarnation !== undefined &&
        before.incarnation === incarnation &&
        before.expiryMs <= expiryMs;
      until = isSafe && until !== undefined ? Math.max(until, expiryMs) : undefined;
      this.#written.set(name, { incarnation, expiryMs });
    }
    return until;
  }
}
