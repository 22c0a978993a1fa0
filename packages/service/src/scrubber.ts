// SPDX-License-Identifier: Apache-2.0
/** Checks a store once a day for what rots while nobody reads it, and keeps what it found. */
import { toMeshError } from "@ctxmesh/model";
import type { Clock, Logger, RandomSource, ScrubReport } from "@ctxmesh/model";
import type { LevelStore } from "@ctxmesh/store-level";
import { systemWait } from "./system.ts";
import type { Wait } from "./system.ts";

const DAY_MS = 86_400_000;
/** Findings that are kept. */
const MAX_FINDINGS = 100;

/** What a {@link Scrubber} works with. */
export interface ScrubberOptions {
  readonly store: Pick<LevelStore, "scrub">;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Waits; rejects when `signal` is aborted. The system's timer when absent. */
  readonly wait?: Wait;
}

/**
 * Scrubs a store: first at a random moment within a day, so that a fleet that was started at once does not
 * read all its disks at once, then a day after the end of each. Damage is logged, and stays in the report
 * until the node is started again, which heals the store.
 */
export class Scrubber {
  readonly #options: ScrubberOptions;
  readonly #stop = new AbortController();
  readonly #findings = new Set<string>();
  #startedAt: number | undefined;
  #last: ScrubReport["last"];
  #running: Promise<void> | undefined;

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  /** Begins the daily checks. */
  start(): void {
    void this.#daily();
  }

  async #daily(): Promise<void> {
    const { random, wait = systemWait } = this.#options;
    const bytes = random.bytes(4);
    const share = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) / 2 ** 32;
    const { signal } = this.#stop;
    try {
      for (let pause = share * DAY_MS; ; pause = DAY_MS) {
        await wait(pause, signal);
        this.run();
        await this.#running;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** Begins a check unless one is under way. */
  run(): ScrubReport {
    if (this.#running === undefined && !this.#stop.signal.aborted) {
      this.#startedAt = this.#options.clock.now();
      this.#running = this.#scrub().finally(() => {
        this.#startedAt = undefined;
        this.#running = undefined;
      });
    }
    return this.report();
  }

  async #scrub(): Promise<void> {
    const { store, clock, logger } = this.#options;
    try {
      const { tables, records, damaged, findings, complete } = await store.scrub();
      for (const finding of findings) {
        if (this.#findings.size < MAX_FINDINGS) this.#findings.add(finding);
      }
      const counts = { tables, records, damaged };
      const failure = complete ? {} : { failure: "the store was closed" };
      this.#last = { endedAt: clock.now(), ...counts, ...failure };
      if (damaged > 0) {
        const remedy = "restart the daemon: it heals its store, with what its peers have";
        logger.error("store.damage-found", { ...counts, findings, remedy });
      } else if (complete) logger.info("store.scrubbed", counts);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const { message } = toMeshError(error);
      const none = { tables: 0, records: 0, damaged: 0 };
      this.#last = { endedAt: clock.now(), ...none, failure: message };
      logger.warn("store.scrub-failed", { error: message });
    }
  }

  /** How it stands. */
  report(): ScrubReport {
    return {
      ...(this.#startedAt === undefined ? {} : { startedAt: this.#startedAt }),
      ...(this.#last === undefined ? {} : { last: this.#last }),
      findings: [...this.#findings],
    };
  }

  /** Ends the daily checks. One that is under way ends with its store. */
  stop(): void {
    this.#stop.abort();
  }
}
