// SPDX-License-Identifier: Apache-2.0
/** A circuit breaker (Nygard, "Release It!"): calls to a node that does not answer fail at once, and one at a time finds out whether it does again. */
import { MeshError } from "@ctxmesh/model";

/** Failures in a row after which calls are refused. */
export const BREAKER_FAILURES = 5;
/** How long they are refused before one is tried, in milliseconds. */
export const BREAKER_OPEN_MS = 1_000;

/** Lets calls through, or not. */
export class Breaker {
  readonly #place: string;
  readonly #now: () => number;
  #failures = 0;
  #openUntilMs = 0;
  #probing = false;

  /** `now` in milliseconds, of a clock that never goes back. */
  constructor(place: string, now: () => number) {
    this.#place = place;
    this.#now = now;
  }

  /** Runs a call. Throws `UNREACHABLE` at once while the breaker is open. `isFailure`: whether an error says that the node does not answer. */
  async run<Answer>(
    call: () => Promise<Answer>,
    isFailure: (error: unknown) => boolean,
  ): Promise<Answer> {
    const isProbe = this.#failures >= BREAKER_FAILURES;
    if (isProbe) this.#assertMayProbe();
    this.#probing ||= isProbe;
    try {
      const answer = await call();
      this.#failures = 0;
      return answer;
    } catch (error) {
      if (!isFailure(error)) {
        // Called off says nothing of the node; any other answer of it does.
        if (!isCalledOff(error)) this.#failures = 0;
        throw error;
      }
      this.#failures++;
      this.#openUntilMs = this.#now() + BREAKER_OPEN_MS;
      throw error;
    } finally {
      if (isProbe) this.#probing = false;
    }
  }

  #assertMayProbe(): void {
    const waitMs = this.#openUntilMs - this.#now();
    if (waitMs <= 0 && !this.#probing) return;
    const when = waitMs > 0 ? `in ${String(Math.ceil(waitMs))} ms` : "right now";
    throw new MeshError(
      "UNREACHABLE",
      `the node at ${this.#place} did not answer ${String(this.#failures)} times in a row; the next try is ${when}`,
      { remedy: "is the daemon running? calls go through again once it answers" },
    );
  }
}

const isCalledOff = (error: unknown): boolean =>
  error instanceof MeshError && error.code === "ABORTED";
