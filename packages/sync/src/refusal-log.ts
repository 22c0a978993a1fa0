// SPDX-License-Identifier: Apache-2.0
/** Who sends what has to be refused: one line a minute about each device, and a bar for those that go on. */
import type { Logger, Refusal } from "@ctxmesh/model";

/** A device is named in the log this often. */
export const REFUSALS_LOGGED_EVERY_MS = 60_000;
/** Sessions closed for refusals within {@link BAR_MS} after which the device is barred. */
export const MAX_CLOSINGS = 3;
/** How long it is barred, and how far back closings count. */
export const BAR_MS = 600_000;
/** Devices remembered; past it the one that was first noticed is forgotten. */
const MAX_DEVICES = 1_024;

/** Refusals that are no fault of the sender: its records may be older or newer than ours, and it may keep only a part. */
const BLAMELESS: ReadonlySet<string> = new Set<Refusal>([
  "grant",
  "revoked",
  "equivocation",
  "omitted",
]);

/** Whether a refusal counts against whoever sent the batch. */
export const isBlamed = (stage: Refusal): boolean => !BLAMELESS.has(stage);

/** Sets an entry as the newest one, and makes room for it. */
function remember<T>(table: Map<string, T>, key: string, entry: T): void {
  table.delete(key);
  const [oldest] = table.keys();
  if (table.size >= MAX_DEVICES && oldest !== undefined) table.delete(oldest);
  table.set(key, entry);
}

/** A refusal as it is logged. */
export interface Refused {
  /** `batch.refused`, `record.refused` or `peer.useless`. */
  readonly event: string;
  readonly device: string;
  /** The code. */
  readonly stage: string;
  readonly detail: string;
  /** Whether it counts against the device: then it is a warning. */
  readonly blamed: boolean;
}

interface Noted {
  readonly loggedMs: number;
  /** Refusals since, and the last of them. */
  count: number;
  last: Refused;
}

/** Logs refusals: the first of a device at once, then one line a minute with the number since. */
export class RefusalLog {
  readonly #logger: Logger;
  readonly #devices = new Map<string, Noted>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Writes the first refusal of a device; the others are counted. */
  note(refused: Refused, nowMs: number): void {
    const key = `${refused.event} ${String(refused.blamed)} ${refused.device}`;
    const noted = this.#devices.get(key);
    if (noted === undefined) {
      this.#write(key, refused, 1, nowMs);
      return;
    }
    noted.count++;
    noted.last = refused;
  }

  /** Writes what has been counted for a minute. Call about once a second. */
  flush(nowMs: number): void {
    for (const [key, noted] of this.#devices) {
      if (!isOver(noted, nowMs)) continue;
      if (noted.count > 0) this.#write(key, noted.last, noted.count, nowMs);
      else this.#devices.delete(key);
    }
  }

  #write(key: string, refused: Refused, count: number, nowMs: number): void {
    const { event, device, stage, detail, blamed } = refused;
    this.#logger[blamed ? "warn" : "info"](event, { device, stage, detail, count });
    remember(this.#devices, key, { loggedMs: nowMs, count: 0, last: refused });
  }
}

/** A clock that was set back ends the wait, too. */
const isOver = ({ loggedMs }: Noted, nowMs: number): boolean =>
  Math.abs(nowMs - loggedMs) >= REFUSALS_LOGGED_EVERY_MS;

/** Devices that may not connect for a while. */
export class Bars {
  /** Times of the latest closings by device, Unix milliseconds. */
  readonly #closings = new Map<string, readonly number[]>();

  /** A session of the device was closed for its refusals. */
  closed(device: string, nowMs: number): void {
    const recent = this.#recent(device, nowMs);
    remember(this.#closings, device, [...recent, nowMs].slice(-MAX_CLOSINGS));
  }

  /** Whether the device has used up its closings; until {@link BAR_MS} after the last. */
  isBarred(device: string, nowMs: number): boolean {
    const closings = this.#closings.get(device) ?? [];
    return closings.length === MAX_CLOSINGS && Math.abs(nowMs - (closings.at(-1) ?? 0)) < BAR_MS;
  }

  #recent(device: string, nowMs: number): readonly number[] {
    return (this.#closings.get(device) ?? []).filter((ms) => Math.abs(nowMs - ms) < BAR_MS);
  }
}
