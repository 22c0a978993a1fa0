// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import type { IncarnationId, Logger, StoreChange } from "@ctxmesh/model";
import type { CheckedBase } from "./base-check.ts";
import { installBase, lostHere } from "./base-install.ts";
import type { BaseInstallContext } from "./base-install.ts";
import type { Checkpointer } from "./checkpointer.ts";
import type { BaseTask } from "./tasks.ts";

/** What bases are installed with. */
export interface BaseInstallsOptions extends Omit<BaseInstallContext, "upheaval"> {
  readonly logger: Logger;
  readonly checkpointer: Checkpointer;
  /** There is something to do. */
  readonly wake: () => void;
  /** The store and the log have another base; makes the state anew. It had more of these incarnations of ours than was here. */
  readonly installed: (recovered: readonly IncarnationId[]) => Promise<void>;
}

/** Bases that wait to take the place of the pruned part of the log; installed between two groups, one at a time. */
export class BaseInstalls {
  readonly #options: BaseInstallsOptions;
  readonly #tasks: BaseTask[] = [];

  constructor(options: BaseInstallsOptions) {
    this.#options = options;
  }

  /** Number of those that wait. */
  get length(): number {
    return this.#tasks.length;
  }

  /** Queues a checked base; resolves once it is durable and in effect. Throws `POLICY_REFUSED` when it does not go together with what is here. */
  async add(checked: CheckedBase): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#tasks.push({ checked, resolve, reject });
    this.#options.wake();
    return promise;
  }

  /** Removes and returns the next one. */
  take(): readonly BaseTask[] {
    return this.#tasks.splice(0, 1);
  }

  /** Installs one. What the store throws is final. */
  async run({ checked, resolve, reject }: BaseTask): Promise<void> {
    const { checkpointer, logger, installed } = this.#options;
    const upheaval = (): readonly StoreChange[] => checkpointer.recordsChange(true);
    const context = { ...this.#options, upheaval };
    const lost = lostHere(checked, context);
    try {
      await checkpointer.alone(async () => installBase(checked, context));
    } catch (error) {
      if (!(error instanceof MeshError) || error.code !== "POLICY_REFUSED") throw error;
      reject(error);
      return;
    }
    for (const { incarnation, seq } of lost) {
      logger.warn("replica.recovered", { incarnation, seq });
    }
    await installed(lost.map(({ incarnation }) => incarnation));
    resolve();
  }
}
