// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { DeviceKey, DocumentName, HeaderHash } from "@ctxmesh/model";
import type { ParsedBatch } from "./checks.ts";

/** An operation of a rich document that is not here, as {@link OpenResult} names it. */
export interface MissingOperation {
  readonly doc: DocumentName;
  readonly client: number;
  readonly clock: number;
}

/** What a batch waits for: a batch, a rich operation whose batch it does not name; undefined for time, an act, or room. */
export type Missing = HeaderHash | MissingOperation | undefined;

interface HeldBatch {
  readonly batch: ParsedBatch;
  readonly missing: Missing;
  /** By the local clock, Unix milliseconds. */
  readonly sinceMs: number;
}

/** What one device's held batches take. */
interface Share {
  readonly hashes: Set<HeaderHash>;
  bytes: number;
}

/**
 * Batches that are well signed but can't be applied yet, in memory and bounded: for each device that
 * signed them, and over all. A device over its own bound is turned away; when the whole is full, the
 * newest of whoever has most makes room, so that one flood can't push out what others wait for.
 * Anti-entropy brings back what was dropped, in causal order, so progress never depends on this buffer.
 */
export class HoldBuffer {
  readonly #held = new Map<HeaderHash, HeldBatch>();
  /** Hashes of batches by the hash that they wait for, oldest first. */
  readonly #byMissing = new Map<HeaderHash, Set<HeaderHash>>();
  readonly #shares = new Map<DeviceKey, Share>();
  readonly #evicted: (batch: ParsedBatch) => void;
  #bytes = 0;

  /** `evicted` hears of each batch that was dropped for another. */
  constructor(evicted: (batch: ParsedBatch) => void) {
    this.#evicted = evicted;
  }

  /** Number of held batches. */
  get size(): number {
    return this.#held.size;
  }

  /** Whether this batch is held. */
  has(hash: HeaderHash): boolean {
    return this.#held.has(hash);
  }

  /** Whether a held batch waits for this one. */
  isMissing(hash: HeaderHash): boolean {
    return this.#byMissing.has(hash);
  }

  /** What batches have waited for since `sinceMs` or longer, oldest first. */
  missing(sinceMs: number, most: number): readonly HeaderHash[] {
    const found = new Set<HeaderHash>();
    for (const { missing, sinceMs: since } of this.#held.values()) {
      if (found.size >= most) break;
      if (typeof missing === "string" && since <= sinceMs) found.add(missing);
    }
    return [...found];
  }

  /** Keeps a batch until the batch `missing` is applied, or until it is taken with the others. False when its device has no room. */
  add(batch: ParsedBatch, missing: Missing, nowMs: number): boolean {
    const size = batch.bytes.length;
    const share = this.#shares.get(batch.header.replica) ?? { hashes: new Set(), bytes: 0 };
    if (
      share.hashes.size >= LIMITS.heldBatchesPerDevice ||
      share.bytes + size > LIMITS.heldBytesPerDevice
    ) {
      return false;
    }
    while (this.#held.size >= LIMITS.heldBatches || this.#bytes + size > LIMITS.heldBytes) {
      if (!this.#makeRoom(share.bytes + size)) return false;
    }
    this.#held.set(batch.hash, { batch, missing, sinceMs: nowMs });
    this.#bytes += size;
    share.hashes.add(batch.hash);
    share.bytes += size;
    this.#shares.set(batch.header.replica, share);
    if (typeof missing === "string") {
      const waiting = this.#byMissing.get(missing);
      if (waiting === undefined) this.#byMissing.set(missing, new Set([batch.hash]));
      else waiting.add(batch.hash);
    }
    return true;
  }

  /** Drops the newest batch of the device with most bytes, if that are more than `than`. */
  #makeRoom(than: number): boolean {
    let largest: Share | undefined;
    for (const share of this.#shares.values()) {
      if (share.bytes > (largest?.bytes ?? than)) largest = share;
    }
    const newest = [...(largest?.hashes ?? [])].at(-1);
    if (newest === undefined) return false;
    const batch = this.#remove(newest);
    if (batch !== undefined) this.#evicted(batch);
    return true;
  }

  #remove(hash: HeaderHash): ParsedBatch | undefined {
    const held = this.#held.get(hash);
    if (held === undefined) return undefined;
    const { batch, missing } = held;
    this.#held.delete(hash);
    this.#bytes -= batch.bytes.length;
    const share = this.#shares.get(batch.header.replica);
    if (share !== undefined) {
      share.hashes.delete(hash);
      share.bytes -= batch.bytes.length;
      if (share.hashes.size === 0) this.#shares.delete(batch.header.replica);
    }
    if (typeof missing !== "string") return batch;
    const waiting = this.#byMissing.get(missing);
    waiting?.delete(hash);
    if (waiting?.size === 0) this.#byMissing.delete(missing);
    return batch;
  }

  #take(hashes: Iterable<HeaderHash>): readonly ParsedBatch[] {
    return [...hashes].flatMap((hash) => this.#remove(hash) ?? []);
  }

  /** Removes and returns the batches that waited for a hash, oldest first. */
  takeWaitingFor(hash: HeaderHash): readonly ParsedBatch[] {
    return this.#take(this.#byMissing.get(hash) ?? []);
  }

  /**
   * Removes and returns the batches that wait for time, an act, or room; and those that wait for a rich operation which is
   * here now, or never comes, as `isSettled` says. The others would only be opened in vain, and opening is dear.
   */
  takeTimed(isSettled: (operation: MissingOperation) => boolean): readonly ParsedBatch[] {
    const timed: HeaderHash[] = [];
    for (const [hash, { missing }] of this.#held) {
      if (typeof missing !== "string" && (missing === undefined || isSettled(missing))) {
        timed.push(hash);
      }
    }
    return this.#take(timed);
  }

  /** Removes and returns all, oldest first. */
  takeAll(): readonly ParsedBatch[] {
    return this.#take(this.#held.keys());
  }
}
