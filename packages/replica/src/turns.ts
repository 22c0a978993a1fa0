// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import type { CallOff, CancelSignal } from "@ctxmesh/model";

/** Why a signal was aborted: its reason, or `ABORTED`. */
const whyOf = ({ reason }: CancelSignal): MeshError =>
  reason instanceof MeshError
    ? reason
    : new MeshError("ABORTED", "the operation was called off", { cause: reason });

/** Throws why a signal was aborted, if it was. */
export function assertWanted(signal: CancelSignal | undefined): void {
  if (signal?.aborted === true) throw whyOf(signal);
}

/** Lets a few operations run at a time; the others wait in the order in which they came. */
export class Turns {
  readonly #most: number;
  readonly #mostWaiting: number;
  #running = 0;
  /** What gives each of those that wait its turn. */
  readonly #waiting = new Set<() => void>();

  constructor(most: number, mostWaiting: number) {
    this.#most = most;
    this.#mostWaiting = mostWaiting;
  }

  /** Runs an operation when its turn comes. Throws `ABORTED` when too many wait, or why it was called off while it waited. */
  async run<T>(operation: () => Promise<T>, { signal }: CallOff = {}): Promise<T> {
    assertWanted(signal);
    if (this.#running < this.#most) this.#running++;
    else await this.#wait(signal);
    try {
      return await operation();
    } finally {
      // Whoever is next takes this place over, so that nobody slips in between.
      const [next] = this.#waiting;
      if (next === undefined) this.#running--;
      else next();
    }
  }

  /** As {@link run}, of an operation that goes on until the returned function is called. */
  async begin(options: CallOff = {}): Promise<() => void> {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const { promise: begun, resolve, reject } = Promise.withResolvers<void>();
    this.run(async () => {
      resolve();
      await ended;
    }, options).catch(reject);
    await begun;
    return end;
  }

  async #wait(signal: CancelSignal | undefined): Promise<void> {
    if (this.#waiting.size >= this.#mostWaiting) {
      throw new MeshError("ABORTED", `${String(this.#mostWaiting)} others wait already`, {
        remedy: "try again when they are done",
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const turn = (): void => {
      this.#waiting.delete(turn);
      resolve();
    };
    const giveUp = (): void => {
      // Its turn may have come before; then it runs, and looks at the signal itself.
      if (signal !== undefined && this.#waiting.delete(turn)) reject(whyOf(signal));
    };
    this.#waiting.add(turn);
    signal?.addEventListener("abort", giveUp);
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }
}
