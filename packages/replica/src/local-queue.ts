// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { Clock } from "@ctxmesh/model";
import { Gatherer, priorityOf } from "./gather.ts";
import type { GatherWindows } from "./gather.ts";
import type { WriteTask } from "./tasks.ts";
import { WorkQueue } from "./work-queue.ts";
import { WritePace } from "./write-pace.ts";

/** What a queue of local writes is made of. */
export interface LocalQueueOptions {
  readonly clock: Clock;
  /** See `ReplicaOptions.wait`. */
  readonly wait?: (ms: number) => Promise<void>;
}

/** Local writes that wait for the store, or for others to share a batch with. */
export class LocalQueue {
  readonly #clock: Clock;
  readonly #queue = new WorkQueue<WriteTask>();
  readonly #gatherer = new Gatherer();
  readonly #pace: WritePace;

  /** `ready` is called when writes that waited for others may be taken. */
  constructor({ clock, wait }: LocalQueueOptions, ready: () => void) {
    this.#clock = clock;
    this.#pace = new WritePace(clock, wait, ready);
  }

  /** Throws `LIMIT_EXCEEDED` when a write of this size has no room. */
  assertRoom(size: number): void {
    this.#queue.assertRoom(size, "writes");
  }

  /** Adds a write. */
  push(task: WriteTask): void {
    if (this.#gatherer.keep(task, this.#clock.now())) this.#goOn();
    else this.#enqueue([task]);
  }

  /** How long writes wait for others from now on; those that have waited long enough go on. */
  open(windows: GatherWindows): void {
    this.#gatherer.open(windows);
    this.#pace.open(windows.briefMs);
    this.#goOn();
  }

  #goOn(): void {
    this.#enqueue(this.#gatherer.takeDue(this.#clock.now()));
  }

  #enqueue(tasks: readonly WriteTask[]): void {
    for (const task of tasks) {
      this.#queue.push(task);
      if (priorityOf(task) === "high") this.#pace.hurry();
    }
  }

  /** Whether there are writes to be taken now. */
  isTurn(): boolean {
    return this.#pace.isTurn(this.#queue);
  }

  /** Takes the writes whose turn it is. */
  take(): readonly WriteTask[] {
    if (!this.isTurn()) return [];
    const tasks = this.#queue.take(LIMITS.writesPerGroup);
    this.#pace.taken(tasks.length);
    return tasks;
  }

  /** From now on no write waits for others. */
  stop(): void {
    this.#pace.stop();
    this.#enqueue(this.#gatherer.takeAll());
  }
}
