// SPDX-License-Identifier: Apache-2.0
import type { Logger } from "@ctxmesh/model";

/** Those who want to hear of something. One that throws keeps neither the others from it nor whoever tells from going on. */
export class Listeners<T> {
  readonly #logger: Logger;
  readonly #listeners = new Set<(event: T) => void>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Adds one. Returns how to stop. */
  add(listener: (event: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls all of them. */
  tell(event: T): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#logger.error("replica.listener-failed", { error });
      }
    }
  }
}
