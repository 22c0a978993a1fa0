// SPDX-License-Identifier: Apache-2.0
import { LIMITS, MeshError } from "@ctxmesh/model";
import { comparePlaces, placeOfChange } from "./change-position.ts";
import type { ChangePlace } from "./change-position.ts";
import type { CheckedBatch } from "./checks.ts";
import type { Documents } from "./documents.ts";
import { CopiedFacts, changesOf } from "./fact-changes.ts";
import type { FactChange } from "./fact-changes.ts";
import { isUnrunnable } from "./space-modules.ts";

/** What counts has changed: earlier changes may count no more, and others do. */
export interface Rejudged {
  readonly kind: "rejudged";
  /** The position of the log at which it became so. */
  readonly position: number;
  /** A base was taken over: there are changes that were never in this log one by one. */
  readonly isGap: boolean;
}

/** What is told to those who follow. */
export type TailItem = FactChange | Rejudged;

/** Whether an item says that what counts has changed. */
export const isRejudged = (item: object): item is Rejudged =>
  "kind" in item && item.kind === "rejudged";

const ITEM_BYTES = 512;
const bytesOf = (item: TailItem): number =>
  isRejudged(item)
    ? ITEM_BYTES
    : ITEM_BYTES +
      2 *
        ((item.record.valueJson?.length ?? 0) +
          (item.previousJson?.length ?? 0) +
          (item.currentJson?.length ?? 0));

const gap = (): MeshError =>
  new MeshError(
    "HISTORY_PRUNED",
    "this node has taken a base over, and what came with it was never here one by one",
    { remedy: "read the facts once, and follow without a position" },
  );

/** Where one of those who follow is. */
export interface TailReader {
  /** The number of its next item. */
  next: number;
}

/**
 * The newest changes of a replica, worked out once for all who follow them. While nobody does, nothing is worked out. Bounded: the oldest
 * go first, and who has not had them yet begins again from the log.
 */
export class ChangeTail {
  /** Items by number; those before `#first` are gone. */
  readonly #items = new Map<number, TailItem>();
  #first = 0;
  #end = 0;
  #bytes = 0;
  /** All changes of batches behind this position are here, or were. */
  #from = 0;
  readonly #readers = new Set<TailReader>();
  readonly #waiting = new Set<() => void>();
  #isClosed = false;

  /** Someone begins to follow, with what comes behind a position of the log, which is where it ends now. */
  join(position: number): TailReader {
    if (this.#readers.size === 0) this.#clear(position);
    const reader = { next: this.#end };
    this.#readers.add(reader);
    return reader;
  }

  /** Someone ends. */
  leave(reader: TailReader): void {
    this.#readers.delete(reader);
    if (this.#readers.size === 0) this.#clear(0);
  }

  #clear(from: number): void {
    this.#items.clear();
    this.#first = this.#end;
    this.#bytes = 0;
    this.#from = from;
  }

  /** A batch at a position is about to be applied to `documents`. */
  beforeApply({ header, hash, parts }: CheckedBatch, position: number, documents: Documents): void {
    if (this.#readers.size === 0) return;
    const frames = parts.flatMap((part, section) =>
      part.kind === "facts" ? [{ section, doc: part.doc, frame: part.frame }] : [],
    );
    if (frames.length === 0) return;
    const batch = { position, header, hash, frames };
    try {
      for (const change of changesOf(batch, new CopiedFacts(documents))) this.#push(change);
    } catch (error) {
      if (!isUnrunnable(error) && !frames.some(({ doc }) => documents.isLost(doc))) throw error;
      // What was visible before can't be told for now: those who follow read on in the log.
      this.#end++;
      this.#clear(position);
    }
    this.#wake();
  }

  /** What counts has changed. */
  rejudged(position: number, isGap: boolean): void {
    if (this.#readers.size === 0) return;
    this.#push({ kind: "rejudged", position, isGap });
    this.#wake();
  }

  #push(item: TailItem): void {
    this.#items.set(this.#end++, item);
    this.#bytes += bytesOf(item);
    while (this.#items.size > LIMITS.eventTailChanges || this.#bytes > LIMITS.eventTailBytes) {
      const oldest = this.#items.get(this.#first);
      if (oldest === undefined) break;
      this.#items.delete(this.#first++);
      this.#bytes -= bytesOf(oldest);
      // Only a part of its batch may be gone; whoever needs the rest reads all of it from the log.
      this.#from = Math.max(this.#from, oldest.position);
    }
  }

  /** Whether all that is behind a position is here, so that nothing has to be read from the log. */
  has(position: number): boolean {
    return position >= this.#from;
  }

  /**
   * Moves a reader that has taken nothing yet to the first item behind a place. All that is behind its batch has to be here ({@link has}). That what counts has
   * changed since it joined is behind the place as well, where nothing was appended meanwhile.
   */
  seek(reader: TailReader, place: ChangePlace): void {
    let next = this.#end;
    while (next > this.#first) {
      const item = this.#items.get(next - 1);
      const isBehind =
        item !== undefined &&
        (isRejudged(item)
          ? item.position > place.position ||
            (item.position === place.position && next > reader.next)
          : comparePlaces(placeOfChange(item), place) > 0);
      if (!isBehind) break;
      next--;
    }
    reader.next = next;
  }

  /**
   * The next items of a reader, `most` at most; none when there are no more for now. Throws `LIMIT_EXCEEDED` when some of them are gone,
   * `HISTORY_PRUNED` when some never come.
   */
  take(reader: TailReader, most: number): readonly TailItem[] {
    if (reader.next < this.#first) {
      const message = `the reader has fallen more than ${String(LIMITS.eventTailChanges)} events or ${String(LIMITS.eventTailBytes)} bytes behind`;
      throw new MeshError("LIMIT_EXCEEDED", message, {
        remedy: "go on from the position of the last event that was read",
      });
    }
    const items: TailItem[] = [];
    while (items.length < most && reader.next < this.#end) {
      const item = this.#items.get(reader.next);
      if (item === undefined) break;
      if (isRejudged(item) && item.isGap) {
        if (items.length > 0) break;
        throw gap();
      }
      items.push(item);
      reader.next++;
    }
    return items;
  }

  /** Resolves once there is something new; returns how to stop waiting. */
  wait(): { readonly news: Promise<void>; readonly stop: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => {
      this.#waiting.delete(wake);
      resolve();
    };
    this.#waiting.add(wake);
    return { news: promise, stop: wake };
  }

  /** Ends all waiting: there is nothing to come. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  /** Whether there is nothing to come. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}
