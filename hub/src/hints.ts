// SPDX-License-Identifier: Apache-2.0
/** What a hub says and hears on a bus of hints: often enough to be quick, and never so often as to be in the way. */
import { setTimeout as sleep } from "node:timers/promises";
import type { HintBus, SpaceId } from "@ctxmesh/model";
import type { EngineLink } from "./engine-link.ts";

/** Between two hints that are said, and between two looks, in milliseconds. */
const APART_MS = 5;

/** One hub's end of the bus; without a bus, all it does is to wait. */
export class Hints {
  readonly #bus: HintBus | undefined;
  readonly #space: SpaceId;
  readonly #stopListening: () => void;
  /** The newest position that is to be said, and whether that will be. */
  #told = 0;
  #isTelling = false;
  /** What was heard last; of a position that was looked for in vain nothing more is expected. */
  #heard = 0;
  #looked = 0;
  #lookedMs = 0;
  #wake: (() => void) | undefined;

  constructor(bus: HintBus | undefined, space: SpaceId) {
    this.#bus = bus;
    this.#space = space;
    this.#stopListening =
      bus?.listen(space, (position) => {
        this.#heard = position;
        this.#wake?.();
      }) ?? ((): void => undefined);
  }

  /** There is something up to a position, as somebody knows who needs it: it is looked for at once. */
  expect(position: number): void {
    this.#heard = Math.max(this.#heard, position);
    this.#looked = 0;
    this.#wake?.();
  }

  /** Says that there is something new; of several in quick succession the last. */
  tell(position: number): void {
    if (this.#bus === undefined || position <= this.#told) return;
    this.#told = position;
    if (!this.#isTelling) void this.#tellAll();
  }

  async #tellAll(): Promise<void> {
    this.#isTelling = true;
    for (let said = 0; said < this.#told;) {
      said = this.#told;
      this.#bus?.tell(this.#space, said);
      await sleep(APART_MS);
    }
    this.#isTelling = false;
  }

  /** Waits; not longer than until the link is stopped, or something is said of a position behind `read`. */
  async wait(link: EngineLink, ms: number, read: number): Promise<void> {
    const news = new AbortController();
    const look = (): void => {
      if (this.#heard > read && this.#heard !== this.#looked) news.abort();
    };
    this.#wake = look;
    look();
    await link.pause(ms, news.signal);
    this.#wake = undefined;
    this.#looked = this.#heard;
    const restMs = this.#lookedMs + APART_MS - performance.now();
    if (news.signal.aborted && restMs > 0) await link.pause(restMs);
    this.#lookedMs = performance.now();
  }

  /** Hears nothing more. */
  stop(): void {
    this.#stopListening();
  }
}
