// SPDX-License-Identifier: Apache-2.0
import type { Logger } from "@ctxmesh/model";
import type { BatchSource } from "./checks.ts";
import { fill } from "./fill.ts";
import type { FillContext, FillOutcome, LateBody } from "./fill.ts";
import { Listeners } from "./listeners.ts";
import type { RecordsChange } from "./tasks.ts";
import { WorkQueue } from "./work-queue.ts";
import type { Sized } from "./work-queue.ts";

/** Bodies that were handed in, and whom to tell. */
export interface FillTask extends Sized {
  readonly bodies: readonly LateBody[];
  readonly source: BatchSource | undefined;
  readonly resolve: (outcome: FillOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** What they work on. */
export interface FillsContext extends FillContext {
  readonly logger: Logger;
  /** Everything is to be worked out anew. */
  readonly rebuild: () => void;
  /** There is something to take. */
  readonly queued: () => void;
}

/** Bodies on their way into the replica; its one writer takes them, a task at a time. */
export class Fills {
  readonly #context: FillsContext;
  readonly #tasks = new WorkQueue<FillTask>();
  /** Those who hear which keys changed since bodies came. */
  readonly listeners: Listeners<RecordsChange>;

  constructor(context: FillsContext) {
    this.#context = context;
    this.listeners = new Listeners(context.logger);
  }

  /** Number of tasks that wait. */
  get length(): number {
    return this.#tasks.length;
  }

  /** Queues bodies; resolves once they are durable. Throws `LIMIT_EXCEEDED` when too many wait. */
  async add(bodies: readonly LateBody[], source?: BatchSource): Promise<FillOutcome> {
    const size = bodies.reduce((sum, { body }) => sum + body.length, 0);
    this.#tasks.assertRoom(size, "bodies");
    const { promise, resolve, reject } = Promise.withResolvers<FillOutcome>();
    this.#tasks.push({ bodies, source, size, resolve, reject });
    this.#context.queued();
    return promise;
  }

  /** Removes the next task. */
  take(): readonly FillTask[] {
    return this.#tasks.take(1);
  }

  /** Carries out a task. Rejects when the store fails. */
  async run({ bodies, source, resolve }: FillTask): Promise<void> {
    const { outcome, changed, rebuild } = await fill(bodies, source, this.#context);
    if (rebuild) this.#context.rebuild();
    if (changed.length > 0) this.listeners.tell({ changed, rebuilt: false });
    resolve(outcome);
  }

  /** Works out anew what the log amounts to, which opens what can be opened by now. */
  reopen(): void {
    this.#context.rebuild();
    this.#context.queued();
  }
}
