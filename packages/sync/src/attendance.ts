// SPDX-License-Identifier: Apache-2.0
import type { Pulling, SessionState } from "./session-state.ts";

/** Looks, about one a second, after which a remote that has said nothing and may lack something is asked. */
const ASKED_AFTER = 15;
/** And looks within which it answers. */
const SPEAKS_WITHIN = 10;
/** Looks within which a remote greets. */
const GREETS_WITHIN = 10;
/** Looks within which a pull is answered: even a thin link carries 256 KiB in eight, and has other things to carry. */
const ANSWERS_WITHIN = 60;
/** Looks in a row in which a remote has used up its budget and brought nothing. */
const FLOODS_FOR = 20;

/** What a look at a session comes to. */
export type Absence =
  | "ask"
  | "no greeting came"
  | "the peer says nothing"
  | "a pull was not answered"
  | "its budget is used up, and nothing new came";

/**
 * Notices a remote that does not do its part: it takes what it is sent and says nothing, or it keeps us busy with what is of no use. Time is
 * counted in looks, so that neither a clock that jumps nor a pause of our own process counts against it.
 */
export class Attendance {
  #quiet = 0;
  /** How long it had been quiet when it was asked; 0: it was not. */
  #asked = 0;
  #listens = true;
  #pulling: Pulling | undefined;
  #unanswered = 0;
  #flooded = 0;
  #overdrawn = false;
  #brought = false;

  /** The remote has said something; while that is dealt with, we don't listen. */
  heard(): void {
    this.#quiet = 0;
    this.#asked = 0;
    this.#listens = false;
  }

  /** It has to wait, since its budget is used up. */
  overdrawn(): void {
    this.#overdrawn = true;
  }

  /** It has brought a batch that was new. */
  brought(): void {
    this.#brought = true;
  }

  /** We listen again. */
  listens(): void {
    this.#listens = true;
  }

  /**
   * Looks once more. `mayLack`: whether the remote may lack something, or has something that we lack; else it has nothing to say.
   * `readsAll`: whether nothing waits for it to read it.
   */
  look(
    { phase, pulling }: SessionState,
    mayLack: () => boolean,
    readsAll: boolean,
  ): Absence | undefined {
    this.#flooded = this.#overdrawn && !this.#brought ? this.#flooded + 1 : 0;
    [this.#overdrawn, this.#brought] = [false, false];
    if (this.#flooded >= FLOODS_FOR) return "its budget is used up, and nothing new came";
    if (!this.#listens) return undefined;
    this.#quiet++;
    if (phase === "greeting") return this.#quiet < GREETS_WITHIN ? undefined : "no greeting came";
    this.#unanswered =
      pulling !== undefined && pulling === this.#pulling ? this.#unanswered + 1 : 0;
    this.#pulling = pulling;
    if (this.#unanswered >= ANSWERS_WITHIN) return "a pull was not answered";
    if (this.#quiet < ASKED_AFTER) return undefined;
    if (!mayLack()) {
      this.#quiet = 0;
      return undefined;
    }
    if (!readsAll) return undefined;
    if (this.#asked > 0) {
      return this.#quiet - this.#asked < SPEAKS_WITHIN ? undefined : "the peer says nothing";
    }
    this.#asked = this.#quiet;
    return "ask";
  }
}
