// SPDX-License-Identifier: Apache-2.0
/** Changes as an async iterable, with what has not been read yet in a queue of bounded length. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { ChangeEvent } from "@ctxmesh/model";
import type { Watch } from "@ctxmesh/sdk";

/** Makes a listener hear of changes; returns what ends that. */
export type Subscribe = (listener: (event: ChangeEvent) => void) => () => void;

/** Watches of a page: all end with it. */
export class Watches {
  readonly #open = new Set<PageWatch>();

  /** Starts one at once. What `subscribe` throws, whoever iterates gets. */
  start(subscribe: Subscribe, signal: AbortSignal | undefined): Watch {
    const watch = new PageWatch(signal, () => this.#open.delete(watch));
    this.#open.add(watch);
    watch.begin(subscribe);
    return watch;
  }

  /** Ends all with `CLOSED`. */
  close(): void {
    for (const watch of this.#open) watch.end(new MeshError("CLOSED", "the replica is closed"));
  }
}

class PageWatch implements Watch {
  ready: Promise<void> = Promise.resolve();
  readonly #signal: AbortSignal | undefined;
  readonly #onEnd: () => void;
  readonly #queue: ChangeEvent[] = [];
  #unsubscribe: (() => void) | undefined;
  #wake: (() => void) | undefined;
  #failure: unknown;
  #ended = false;

  constructor(signal: AbortSignal | undefined, onEnd: () => void) {
    this.#signal = signal;
    this.#onEnd = onEnd;
  }

  begin(subscribe: Subscribe): void {
    if (this.#signal?.aborted === true) {
      this.end();
      return;
    }
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    try {
      this.#unsubscribe = subscribe((event) => {
        this.#push(event);
      });
    } catch (error) {
      this.ready = Promise.reject(error);
      // It need not be looked at.
      this.ready.catch(() => undefined);
      this.end(error);
    }
  }

  readonly #onAbort = (): void => {
    this.#queue.length = 0;
    this.end();
  };

  #push(event: ChangeEvent): void {
    this.#queue.push(event);
    if (this.#queue.length > LIMITS.watchQueueEvents) this.end(tooSlow());
    this.#wake?.();
  }

  /** Ends it once what is queued has been read: quietly, or with an error. Idempotent. */
  end(failure?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#unsubscribe?.();
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#onEnd();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ChangeEvent, void, undefined> {
    try {
      for (;;) {
        const event = this.#queue.shift();
        if (event !== undefined) yield event;
        else if (this.#ended) break;
        else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.end();
    }
    if (this.#failure !== undefined) throw this.#failure as Error;
  }
}

const tooSlow = (): MeshError =>
  new MeshError(
    "LIMIT_EXCEEDED",
    `more than ${String(LIMITS.watchQueueEvents)} changes wait to be read (watchQueueEvents)`,
    { remedy: "read faster, or watch less; list what there is, and watch again" },
  );
