// SPDX-License-Identifier: Apache-2.0
/** What is alike for all who dial hubs, in Node and in pages: their URLs, and when to try again. */
import type { Channel, Clock, Logger, RandomSource } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";

/** The path of the sync endpoint. */
export const SYNC_PATH = "/v1/sync";

const BACKOFF_MIN_MS = 250;
const BACKOFF_MAX_MS = 30_000;
/** A channel that lived this long ends the back-off; one that dies at once does not. */
const STABLE_MS = 5_000;

/** The URL of a hub's sync endpoint; without a path, `/v1/sync` is meant. Throws `CONFIG_INVALID`. */
export function parseHubUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["ws:", "wss:"].includes(url.protocol) || url.hash !== "") {
    throw new MeshError("CONFIG_INVALID", `"${text.slice(0, 200)}" is not the URL of a hub`, {
      field: "hubs",
      remedy: "write it like ws://192.0.2.7:7400 or wss://hub.example.org",
    });
  }
  if (url.pathname === "/") url.pathname = SYNC_PATH;
  return url.href;
}

/** A channel that was dialled. */
export interface DialledChannel extends Channel {
  /** Resolves with the reason once it is closed. */
  readonly closed: Promise<string>;
  /** Once it is closed: in how many milliseconds the other end wants to be dialled again, if it said so. */
  readonly comeBackMs: number | undefined;
}

/** What {@link Redial} is made of. */
export interface RedialOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: RandomSource;
}

/**
 * When a URL is dialled again, and what is told of it. After a failure it waits a random part of 250 ms, and of twice that after each further
 * one, 30 s at most.
 */
export class Redial {
  readonly #url: string;
  readonly #options: RedialOptions;
  readonly #connect: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #lastFailure = "";
  #stopped = false;

  /** `connect` dials once more. */
  constructor(url: string, options: RedialOptions, connect: () => void) {
    this.#url = url;
    this.#options = options;
    this.#connect = connect;
  }

  /** Announces a channel; resolves when it is closed. */
  async during(channel: DialledChannel, announce: (channel: Channel) => void): Promise<void> {
    const { clock, logger } = this.#options;
    const fields = { device: channel.remote.device, address: this.#url };
    this.#lastFailure = "";
    const since = clock.now();
    logger.info("channel.opened", fields);
    announce(channel);
    const reason = await channel.closed;
    logger.info("channel.closed", { ...fields, reason });
    if (clock.now() - since >= STABLE_MS) this.#failures = 0;
  }

  /** No channel came about. */
  failed(code: "AUTH_FAILED" | "UNREACHABLE", reason: string): void {
    const { logger } = this.#options;
    const fields = { code, address: this.#url, reason };
    // Once per cause, not once per attempt.
    if (reason === this.#lastFailure || this.#stopped) logger.debug("hub.unavailable", fields);
    else logger.warn("hub.unavailable", fields);
    this.#lastFailure = reason;
    this.later();
  }

  /** Dials again after a part of the back-off, or when the other end has asked for it, which spreads those that it had. */
  later(askedMs?: number): void {
    if (this.#stopped) return;
    const limit = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(this.#failures, 16));
    const [a = 0, b = 0] = this.#options.random.bytes(2);
    this.#failures += 1;
    this.#timer = setTimeout(this.#connect, askedMs ?? (limit * (a * 256 + b)) / 65_536);
  }

  /** Forgets the failures, and when to dial next. */
  reset(): void {
    clearTimeout(this.#timer);
    this.#failures = 0;
  }

  /** Dials no more. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}
