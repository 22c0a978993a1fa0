// SPDX-License-Identifier: Apache-2.0
/** Asking the engine that several hubs share: again and again while it is away, and not at all once the hub stops. */
import { setTimeout as sleep } from "node:timers/promises";
import { MeshError, toMeshError } from "@ctxmesh/model";
import type { Clock, Engine, Logger, SpaceId } from "@ctxmesh/model";

/** Between two tries, in milliseconds. */
const RETRY_MS = 250;

/** What a link is made of. */
export interface EngineLinkOptions {
  readonly engine: Engine;
  readonly space: SpaceId;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Whether the engine answers. */
export interface EngineLinkStatus {
  /** Whether it did when it was last asked. */
  readonly reachable: boolean;
  /** Since when that is so, Unix milliseconds. */
  readonly sinceMs: number;
  /** Why it does not. */
  readonly failure?: string;
}

/** One hub's way to the engine. */
export class EngineLink {
  readonly engine: Engine;
  readonly space: SpaceId;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stopped = new AbortController();
  #failure: string | undefined;
  #sinceMs: number;

  constructor({ engine, space, clock, logger }: EngineLinkOptions) {
    this.engine = engine;
    this.space = space;
    this.#clock = clock;
    this.#logger = logger;
    this.#sinceMs = clock.now();
  }

  /** Whether it was stopped. */
  get isStopped(): boolean {
    return this.#stopped.signal.aborted;
  }

  /** How it stands. */
  status(): EngineLinkStatus {
    const failure = this.#failure;
    return {
      reachable: failure === undefined,
      sinceMs: this.#sinceMs,
      ...(failure === undefined ? {} : { failure }),
    };
  }

  /**
   * Asks until there is an answer, and once at least, so that what waits when the hub stops is still done where that can be. Rejects with
   * `CLOSED` when there was none and the link is stopped, and at once with anything but `ENGINE_UNAVAILABLE`.
   */
  async ask<Answer>(question: () => Promise<Answer>): Promise<Answer> {
    for (;;) {
      try {
        const answer = await question();
        this.#note(undefined);
        return answer;
      } catch (error) {
        const { code, message } = toMeshError(error);
        if (code !== "ENGINE_UNAVAILABLE") throw error;
        this.#note(message);
      }
      if (this.isStopped) throw new MeshError("CLOSED", "the hub stops");
      await this.pause(RETRY_MS);
    }
  }

  /** Waits; not longer than until it is stopped, or `signal` is aborted. */
  async pause(ms: number, signal?: AbortSignal): Promise<void> {
    const stopped = this.#stopped.signal;
    const either = signal === undefined ? stopped : AbortSignal.any([stopped, signal]);
    await sleep(ms, undefined, { signal: either }).catch(() => undefined);
  }

  /** Tells the operator that what is in the engine is not what was there. */
  sayReplaced(): void {
    this.#logger.error("engine.replaced", {
      meaning:
        "the shared log is not the one that this hub has read: it was restored from a backup, or is another one; everything that this hub has is appended again",
      remedy: "before the next seal find the newest one that anybody has: ctxmesh seal --after N",
    });
  }

  /** Nothing is taken from the engine any more, unless it is stopped anyway. */
  giveUp(error: unknown): void {
    if (this.isStopped) return;
    const { message } = toMeshError(error);
    this.#logger.error("engine.given-up", { error: message });
    this.#note(message);
  }

  #note(failure: string | undefined): void {
    const isOther = (failure === undefined) !== (this.#failure === undefined);
    this.#failure = failure;
    if (!isOther) return;
    this.#sinceMs = this.#clock.now();
    if (failure === undefined) this.#logger.info("engine.reachable");
    else this.#logger.warn("engine.unavailable", { error: failure });
  }

  /** Ends all waiting. The engine stays open. */
  stop(): void {
    this.#stopped.abort();
  }
}
