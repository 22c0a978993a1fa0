// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { Clock, Logger, ModuleStatus } from "@ctxmesh/model";

/** Where a module was called, and what came of it. */
export interface ModuleCall {
  readonly module: string;
  readonly name: string;
  readonly doc: string;
  readonly key: string;
  /** Unix milliseconds. */
  readonly startedAt: number;
  /** Why it gave no answer; undefined when it gave one. */
  readonly failed: Pick<NonNullable<ModuleStatus["last"]>, "reason" | "problem"> | undefined;
}

/** A call that takes longer is slow. */
const SLOW_MS = 1;
/** A module that goes on failing is named so often in the log. */
const LOG_EVERY_MS = 60_000;

type Mutable = { -readonly [K in keyof ModuleStatus]: ModuleStatus[K] };

/** Counts what modules do at this node, and names in the log those that are cut off. Nothing that they decide depends on it. */
export class ModuleWatch {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #counts = new Map<string, Mutable>();
  readonly #logged = new Map<string, number>();

  constructor({ clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = clock;
    this.#logger = logger;
  }

  now(): number {
    return this.#clock.now();
  }

  called({ module, name, doc, key, startedAt, failed }: ModuleCall): void {
    const counts = this.#countsOf(module, name);
    counts.calls++;
    const at = this.#clock.now();
    if (at - startedAt > SLOW_MS) counts.slow++;
    if (failed === undefined) return;
    counts.failures++;
    counts.last = { doc, key, ...failed, at };
    if (at - (this.#logged.get(module) ?? -Infinity) < LOG_EVERY_MS) return;
    this.#logged.set(module, at);
    this.#logger.warn("replica.module-cut-off", {
      module,
      name,
      doc,
      key,
      ...failed,
      failures: counts.failures,
    });
  }

  #countsOf(module: string, name: string): Mutable {
    const known = this.#counts.get(module);
    if (known !== undefined) return known;
    // Rules may name as many modules, which need not be there; then those of before are forgotten.
    if (this.#counts.size >= LIMITS.modules + LIMITS.policyRules) {
      this.#counts.clear();
      this.#logged.clear();
    }
    const fresh = { module, name, calls: 0, failures: 0, slow: 0 };
    this.#counts.set(module, fresh);
    return fresh;
  }

  /** By module, those that were called. */
  status(): readonly ModuleStatus[] {
    return [...this.#counts.values()]
      .map((counts) => ({ ...counts }))
      .toSorted((a, b) => (a.module < b.module ? -1 : 1));
  }
}
