// SPDX-License-Identifier: Apache-2.0
/** The shared map of an engine as a `Store`, for what the holder of the lease seals. */
import { LIMITS } from "@ctxmesh/model";
import type { Engine, Fence, SpaceId, Store, StoreChange, StoreRange } from "@ctxmesh/model";

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const sizeOf = ({ value }: StoreChange): number => value?.length ?? 0;

/** The value of a key by which it is noticed that somebody else has written. */
export interface Guard {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/**
 * A store of one lease. Each write is fenced: it is made only while the lease is held, or fails with `ENGINE_FENCED`. One that is larger
 * than an engine takes at a time is made in several steps, whose last has the last changes: what is to be found only when everything is there goes
 * to the end. With a guard each write also fails so unless the guard's key has the value that it was opened with, or that was written there last: of a write
 * that was given up for lost it is not known whether it is made yet, and under the same lease.
 */
export class EngineStore implements Store {
  readonly #engine: Engine;
  readonly #space: SpaceId;
  readonly #fence: Fence;
  #guard: Guard | undefined;

  constructor(engine: Engine, space: SpaceId, fence: Fence, guard?: Guard) {
    this.#engine = engine;
    this.#space = space;
    this.#fence = fence;
    this.#guard = guard;
  }

  async write(changes: readonly StoreChange[]): Promise<void> {
    for (const part of inCalls(changes)) {
      const guard = this.#guard;
      const expect = guard === undefined ? {} : { expect: [guard] };
      await this.#engine.write(this.#space, this.#fence, { changes: part, ...expect });
      const written = part.find(({ key }) => guard !== undefined && isSame(key, guard.key));
      if (written !== undefined) this.#guard = { key: written.key, value: written.value };
    }
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#engine.get(this.#space, key);
  }

  scan(range: StoreRange): AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]> {
    return this.#engine.scan(this.#space, range);
  }

  /** The engine stays open. */
  async close(): Promise<void> {
    await Promise.resolve();
  }
}

/**
 * Changes in parts that an engine takes. The last one is as full as it can be: what a seal is found by, and the log's new checkpoint, stand at
 * the end of its changes and so are there together or not at all.
 */
function inCalls(changes: readonly StoreChange[]): StoreChange[][] {
  const parts: StoreChange[][] = [];
  let part: StoreChange[] = [];
  let bytes = 0;
  for (const change of changes.toReversed()) {
    const size = sizeOf(change);
    const isFull =
      part.length >= LIMITS.engineEntries || (part.length > 0 && bytes + size > LIMITS.engineBytes);
    if (isFull) {
      parts.push(part.toReversed());
      [part, bytes] = [[], 0];
    }
    part.push(change);
    bytes += size;
  }
  return [...parts, part.toReversed()].toReversed();
}
