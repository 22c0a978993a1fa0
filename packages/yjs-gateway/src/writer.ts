// SPDX-License-Identifier: Apache-2.0
/** What one connection writes, in its order: one write at a time, and what comes meanwhile becomes one more. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";
import type { MergeUpdates } from "./room.ts";

/** Updates joined into one write, unless one alone is larger. */
const WRITE_BYTES = 65_536;
const WRITE_UPDATES = 128;
/** What a joined write may fail with though some of its parts do not. */
const OF_CONTENT: readonly MeshErrorCode[] = ["FORMAT_INVALID", "INPUT_INVALID", "LIMIT_EXCEEDED"];

/** Makes the writes of a connection. */
export class Writer {
  readonly #write: (update: Uint8Array) => Promise<void>;
  readonly #merge: MergeUpdates;
  readonly #onFailed: (failure: unknown) => void;
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  #running: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #isOver = false;

  /** `onFailed` is called once, and nothing is written after it. */
  constructor(
    write: (update: Uint8Array) => Promise<void>,
    merge: MergeUpdates,
    onFailed: (failure: unknown) => void,
  ) {
    this.#write = write;
    this.#merge = merge;
    this.#onFailed = onFailed;
  }

  /** Takes an update in; resolves when there is room for another. */
  async add(update: Uint8Array): Promise<void> {
    if (this.#isOver) return;
    this.#waiting.push(update);
    this.#bytes += update.length;
    this.#running ??= this.#run();
    if (this.#bytes <= LIMITS.editorQueueBytes) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Resolves when all that was taken in is written, or nothing more will be. Never rejects. */
  async settle(): Promise<void> {
    await this.#running;
  }

  /** Writes no more than what is under way. */
  discard(): void {
    this.#isOver = true;
    this.#waiting = [];
    this.#bytes = 0;
    this.#wake?.();
  }

  async #run(): Promise<void> {
    try {
      while (this.#waiting.length > 0) await this.#writeAll(this.#next());
    } catch (failure) {
      this.discard();
      this.#onFailed(failure);
    }
    this.#running = undefined;
  }

  async #writeAll(updates: readonly Uint8Array[]): Promise<void> {
    if (updates.length > 1) {
      try {
        await this.#write(this.#merge(updates));
        return;
      } catch (failure) {
        if (!(failure instanceof MeshError && OF_CONTENT.includes(failure.code))) throw failure;
      }
    }
    for (const update of updates) if (!this.#isOver) await this.#write(update);
  }

  /** The updates of the next write. */
  #next(): readonly Uint8Array[] {
    let [count, bytes] = [0, 0];
    for (const { length } of this.#waiting) {
      if (count > 0 && (bytes + length > WRITE_BYTES || count === WRITE_UPDATES)) break;
      count += 1;
      bytes += length;
    }
    const part = this.#waiting.splice(0, count);
    this.#bytes -= bytes;
    if (this.#bytes <= LIMITS.editorQueueBytes) this.#wake?.();
    return part;
  }
}
