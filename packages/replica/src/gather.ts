// SPDX-License-Identifier: Apache-2.0
/**
 * Local writes that wait for more to share a batch with, since links are busy: a batch costs some 300 bytes of header and signature
 * whatever is in it. They are not stamped, stored or acknowledged before; what is urgent never waits.
 */
import { LIMITS } from "@ctxmesh/model";
import type { Priority } from "@ctxmesh/model";
import type { WriteTask } from "./tasks.ts";

/** How long writes may wait, in milliseconds; 0 while links have time. */
export interface GatherWindows {
  readonly normalMs: number;
  readonly lowMs: number;
  /** How long those that come in quick succession wait for each other while links have time: see `WritePace`. */
  readonly briefMs: number;
}

/** Those that wait in one lane. */
interface Gathered {
  tasks: WriteTask[];
  bytes: number;
  /** Of the first, Unix milliseconds. */
  sinceMs: number;
}

/** With so many bytes of writes a batch is worth its header. */
const WORTH_BYTES: number = LIMITS.writeBytes / 2;

/** Of a write; rich content has none. */
export const priorityOf = ({ write }: WriteTask): Priority =>
  "drafts" in write ? (write.priority ?? "normal") : "normal";

/** Keeps writes back for a while. */
export class Gatherer {
  readonly #lanes = new Map<Priority, Gathered>();
  #windows: GatherWindows = { normalMs: 0, lowMs: 0, briefMs: 0 };

  #windowOf(priority: Priority): number {
    const { normalMs, lowMs } = this.#windows;
    return priority === "high" ? 0 : priority === "low" ? lowMs : normalMs;
  }

  /** The windows from now on. */
  open(windows: GatherWindows): void {
    this.#windows = windows;
  }

  /** Keeps a write, or says that it may go on. What came before it in its lane goes on before it. */
  keep(task: WriteTask, nowMs: number): boolean {
    const priority = priorityOf(task);
    const lane = this.#lanes.get(priority) ?? { tasks: [], bytes: 0, sinceMs: nowMs };
    if (this.#windowOf(priority) === 0 && lane.tasks.length === 0) return false;
    lane.tasks.push(task);
    lane.bytes += task.size;
    this.#lanes.set(priority, lane);
    return true;
  }

  /** Takes out what has waited long enough, or is enough for a batch. */
  takeDue(nowMs: number): readonly WriteTask[] {
    const due: WriteTask[] = [];
    for (const [priority, { tasks, bytes, sinceMs }] of this.#lanes) {
      const waits = bytes < WORTH_BYTES && tasks.length < LIMITS.writesPerGroup;
      // A clock that was set back must not keep anybody waiting.
      if (waits && Math.abs(nowMs - sinceMs) < this.#windowOf(priority)) continue;
      this.#lanes.delete(priority);
      due.push(...tasks);
    }
    return due;
  }

  /** Takes out everything. */
  takeAll(): readonly WriteTask[] {
    const all = [...this.#lanes.values()].flatMap(({ tasks }) => tasks);
    this.#lanes.clear();
    return all;
  }
}
