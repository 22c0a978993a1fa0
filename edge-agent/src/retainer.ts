// SPDX-License-Identifier: Apache-2.0
/** Lets go, now and then, of batches that a seal covers and that are older than an operator wants to keep. */
import { toMeshError } from "@ctxmesh/model";
import type { Clock, Logger } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { systemWait } from "@ctxmesh/service";
import type { Wait } from "@ctxmesh/service";
import type { Confirmations } from "@ctxmesh/sync";

const EVERY_MS = 3_600_000;
/** After the start, when the hubs have had time to say what they sealed. */
const FIRST_MS = 60_000;

/** What a {@link Retainer} works with. */
export interface RetainerOptions {
  readonly replica: Pick<Replica, "prune" | "retention">;
  /** Says what is sealed. */
  readonly confirmations: Pick<Confirmations, "sealedFrontier">;
  /** Age from which on a sealed batch goes, in milliseconds. */
  readonly sealedForMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Waits; rejects when `signal` is aborted. The system's timer when absent. */
  readonly wait?: Wait;
}

/**
 * Prunes a replica's log every hour: what a hub has sealed, and was written longer ago than is to be kept. What
 * no seal covers stays, however old, so an agent without a hub prunes nothing.
 */
export class Retainer {
  readonly #options: RetainerOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: RetainerOptions) {
    this.#options = options;
  }

  /** Begins. */
  start(): void {
    this.#running = this.#hourly();
  }

  async #hourly(): Promise<void> {
    const { wait = systemWait } = this.#options;
    const { signal } = this.#stop;
    try {
      for (let pause = FIRST_MS; ; pause = EVERY_MS) {
        await wait(pause, signal);
        await this.#prune();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  async #prune(): Promise<void> {
    const { replica, confirmations, sealedForMs, clock, logger } = this.#options;
    const sealed = new Map(
      confirmations
        .sealedFrontier()
        .map(({ replica: device, incarnation, seq }) => [device + incarnation, seq]),
    );
    if (sealed.size === 0) return;
    try {
      const report = await replica.prune({
        upTo: ({ replica: device, incarnation }) => sealed.get(device + incarnation) ?? 0,
        beforeMs: clock.now() - sealedForMs,
      });
      if (report.batches > 0) logger.info("replica.pruned", { ...report });
    } catch (error) {
      // A replica that failed says so itself; one that is closing is nobody's trouble.
      if (this.#stop.signal.aborted) return;
      logger.warn("replica.prune-failed", { error: toMeshError(error).message });
    }
  }

  /** Ends; resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}
