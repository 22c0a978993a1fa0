// SPDX-License-Identifier: Apache-2.0
/** The port to what several hubs share: the log of record of a space, a lease, and a map for what is sealed. */
import type { SpaceId } from "./ids.ts";
import type { StoreChange, StoreRange } from "./ports.ts";

/** What a record of the shared log is. */
export type EngineRecordKind = "batch" | "act" | "proof" | "header";

/** A record before it has its place. */
export interface EngineEntry {
  readonly kind: EngineRecordKind;
  /** SHA-256 of what is signed in it, 32 bytes: of a batch its header's; of a proof, of all of it; of a header that stands alone, of its SHA-256. No two records of a space have the same. */
  readonly id: Uint8Array;
  readonly bytes: Uint8Array;
}

/** A record of the shared log. */
export interface EngineRecord extends EngineEntry {
  /** From 1, without a gap. */
  readonly position: number;
}

/** The right to seal a space, for a time. */
export interface Lease {
  /** Grows by 1 whenever another holder takes over, or the same one after its lease has ended. */
  readonly epoch: number;
  /** Milliseconds until it ends, by the engine's own clock, when this was asked. */
  readonly remainingMs: number;
}

/** Who holds a space's lease; {@link Engine.write} refuses whoever does not. */
export interface Fence {
  /** Text of at most 128 characters. */
  readonly holder: string;
  readonly epoch: number;
}

/** Changes of a space's shared map that are written together. */
export interface EngineWrite {
  readonly changes: readonly StoreChange[];
  /** Keys and the values that they must have, for the write to be made; undefined: none. */
  readonly expect?: readonly { readonly key: Uint8Array; readonly value: Uint8Array | undefined }[];
}

/**
 * What several hubs share. Whatever a call promised survives the loss of every hub, and of the engine's power.
 *
 * Errors: `ENGINE_UNAVAILABLE` when the engine can't be reached, is too slow or fails: what was under way may have been done, or be done
 * yet, so append it again; `ENGINE_FENCED` from {@link write}; `LIMIT_EXCEEDED` over `LIMITS.engineEntries` or `LIMITS.engineBytes` in one call; `STORE_FORMAT` when
 * its data is of a newer version; `CLOSED` after `close`.
 */
export interface Engine {
  /**
   * Appends records in their order, all or none, and resolves with their positions once they are durable. Of a record whose id is there
   * already nothing is written: it keeps its position.
   */
  append(space: SpaceId, entries: readonly EngineEntry[]): Promise<readonly number[]>;
  /**
   * Appends records as {@link append} does, unless one of those behind position `after` is against it: the look at them and the append are one, so that nothing
   * comes between. Resolves with undefined, and has appended nothing, if so, and also when there are more of them than one answer of {@link read} has, or the log does not reach to `after`. Records
   * that are all there already keep their positions, whatever is behind `after`. `isAgainst` may be called several times.
   */
  appendUnless(
    space: SpaceId,
    entries: readonly EngineEntry[],
    after: number,
    isAgainst: (record: EngineRecord) => boolean,
  ): Promise<readonly number[] | undefined>;
  /**
   * Records behind a position, in order: `limit` at most, one at least where there is one, and no more than
   * `LIMITS.engineBytes` unless one alone has more. Sees every record whose append has resolved, anywhere; what one call has not skipped over never appears later.
   */
  read(space: SpaceId, after: number, limit: number): Promise<readonly EngineRecord[]>;
  /** Those of the ids that are there, `LIMITS.engineFinds` at most, in the order of their positions; of answers past `LIMITS.engineBytes` the later ones are left out. */
  find(space: SpaceId, ids: readonly Uint8Array[]): Promise<readonly EngineRecord[]>;
  /** The position of the newest record; 0 when there is none. */
  head(space: SpaceId): Promise<number>;
  /** Takes a space's lease for `termMs` if nobody else holds it, or renews it; undefined while somebody else does. */
  acquire(space: SpaceId, holder: string, termMs: number): Promise<Lease | undefined>;
  /** Ends a lease, if this is still its holder. */
  release(space: SpaceId, fence: Fence): Promise<void>;
  /**
   * Changes a space's shared map, all or nothing. Throws `ENGINE_FENCED` unless the fence's lease is held at this moment, or when a value is not
   * as expected. Values are limited to `LIMITS.engineBytes` together.
   */
  write(space: SpaceId, fence: Fence, write: EngineWrite): Promise<void>;
  /** A value of the shared map. */
  get(space: SpaceId, key: Uint8Array): Promise<Uint8Array | undefined>;
  /** Entries of the shared map, in the order of unsigned bytes. */
  scan(
    space: SpaceId,
    range: StoreRange,
  ): AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>;
  /** The engine's own clock, Unix milliseconds; it is asked. */
  now(): Promise<number>;
  /** Waits for calls under way, then lets go. Idempotent. */
  close(): Promise<void>;
}
