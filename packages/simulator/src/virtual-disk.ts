// SPDX-License-Identifier: Apache-2.0
/**
 * A machine's disk with one store on it: the `Store` port over a durable image and the writes that are on their way to it.
 * Its faults are what comes out of real ones above the port: a write is atomic, so a torn sector is a write that is lost, or
 * a record that does not match its hash.
 */
import { MeshError, toHex } from "@ctxmesh/model";
import type { Store, StoreChange } from "@ctxmesh/model";
import { DiskImage, bytesOfKey, keyOf } from "./disk-image.ts";
import type { Dice } from "./dice.ts";
import type { DiskEntry } from "./disk-image.ts";

/** What drives a disk. */
export interface DiskHost {
  /** Has the machine do something later; not while it stands still. */
  after(delayMs: number, run: () => void): void;
  /** Simulated milliseconds. */
  nowMs(): number;
}

/** A write that is not durable yet. */
interface Pending {
  readonly changes: readonly StoreChange[];
  readonly settle: (error?: MeshError) => void;
}

/** What becomes of the writes under way when the machine stops: none, all, or some from the front had reached the disk. */
export type Tail = "lost" | "kept" | "part";

/** How many of the writes under way were kept and lost when the machine stopped. */
export interface Stopped {
  readonly kept: number;
  readonly lost: number;
}

/** When a machine is struck while it writes: before the write is durable. */
const STRIKE_MS = 0.1;
/** Typical time of a synced write, in milliseconds, and how much more it can be. */
const SYNC_MS = 0.4;
const SYNC_SPREAD_MS = 2;

const closed = (): MeshError => new MeshError("CLOSED", "the store is closed");
const failed = (message: string): MeshError => new MeshError("STORE_FAILED", message);

function copyOf({ key, value }: StoreChange): StoreChange {
  const copy = key.slice();
  return value === undefined ? { key: copy } : { key: copy, value: value.slice() };
}

function checkKey(key: Uint8Array): void {
  if (key.length > 0 && key[0] !== 0) return;
  throw new MeshError("INPUT_INVALID", "a store key is not empty and does not begin with 0x00", {
    field: "key",
  });
}

function intact(entry: DiskEntry): Uint8Array {
  if (!entry.damaged) return entry.value;
  const name = toHex(entry.key.subarray(0, 16));
  throw new MeshError("STORE_CORRUPT", `the record under key ${name} does not match its hash`);
}

/** A disk; at most one store is open on it. */
export class VirtualDisk {
  readonly #host: DiskHost;
  readonly #dice: Dice;
  #image = new DiskImage();
  #open: VirtualStore | undefined;
  #nextFailure: "lost" | "kept" | undefined;
  /** Writes that had reached the disk when it failed to say so; seen after the store is opened again. */
  #unacknowledged: StoreChange[] = [];
  #strike: (() => void) | undefined;
  #full = false;
  #slowUntilMs = 0;
  #slowMs = 0;

  constructor(host: DiskHost, dice: Dice) {
    this.#host = host;
    this.#dice = dice;
  }

  /** What is durable now. Not to be changed by others. */
  get image(): DiskImage {
    return this.#image;
  }

  /** Whether something on it can't be read. */
  get isDamaged(): boolean {
    return this.#image.damaged > 0;
  }

  /** Opens the store; one that was open before is dead. Throws `STORE_CORRUPT` when any record is damaged, as the real one reads every byte first. */
  open(): Store {
    this.#stop("lost");
    if (this.isDamaged) {
      throw new MeshError("STORE_CORRUPT", `${String(this.#image.damaged)} records are damaged`);
    }
    this.#open = new VirtualStore({
      image: this.#image,
      sync: (settle) => {
        this.#beginSync(settle);
      },
      takeFailure: (changes) => this.#takeFailure(changes),
    });
    return this.#open;
  }

  #latencyMs(): number {
    const slow = this.#host.nowMs() < this.#slowUntilMs ? this.#slowMs * this.#dice.float() : 0;
    return SYNC_MS + SYNC_SPREAD_MS * this.#dice.float() ** 4 + slow;
  }

  #takeFailure(changes: readonly StoreChange[]): MeshError | undefined {
    if (this.#full) return failed("no space left on the device");
    const failure = this.#nextFailure;
    this.#nextFailure = undefined;
    if (failure === undefined) return undefined;
    if (failure === "kept") this.#unacknowledged.push(...changes);
    return failed("the disk could not sync");
  }

  /** The machine stops. Whoever used the store never hears of it again. */
  crash(tail: Tail): Stopped {
    return this.#stop(tail);
  }

  /** Has something happen while the next write is under way. */
  atNextWrite(run: () => void): void {
    this.#strike = run;
  }

  #beginSync(settle: () => void): void {
    const strike = this.#strike;
    this.#strike = undefined;
    if (strike !== undefined) this.#host.after(STRIKE_MS, strike);
    this.#host.after(this.#latencyMs(), settle);
  }

  #stop(tail: Tail): Stopped {
    const pending = this.#open?.kill() ?? [];
    this.#open = undefined;
    const kept =
      tail === "lost" ? 0 : tail === "kept" ? pending.length : this.#dice.int(0, pending.length);
    this.#image.apply([...this.#unacknowledged, ...pending.slice(0, kept).flat()]);
    this.#unacknowledged = [];
    return { kept, lost: pending.length - kept };
  }

  /** The next write is rejected with `STORE_FAILED`, whether it reached the disk or not. */
  failNextSync(outcome: "lost" | "kept"): void {
    this.#nextFailure = outcome;
  }

  /** Until it is freed, every write is rejected with `STORE_FAILED`. */
  setFull(full: boolean): void {
    this.#full = full;
  }

  /** For a time, each write takes up to `slowMs` longer. */
  slowDown(forMs: number, slowMs: number): void {
    this.#slowUntilMs = this.#host.nowMs() + forMs;
    this.#slowMs = slowMs;
  }

  /** Flips a bit in one of the records, not of those whose keys begin with a character of `spared`; returns its key, if there is one. */
  flipBit(dice: Dice, spared: ReadonlySet<string> = new Set()): Uint8Array | undefined {
    const keys = this.#image.keys.filter((key) => !spared.has(key.charAt(0)));
    if (keys.length === 0) return undefined;
    const key = dice.pick(keys);
    this.#image.damage(key);
    return bytesOfKey(key);
  }

  /** Gives the machine another disk, with this content. The store must not be in use. */
  replace(image: DiskImage): void {
    this.#stop("lost");
    this.#image = image.copy();
    this.#nextFailure = undefined;
  }

  /** Adds a record to the disk's content while no store is open on it. */
  mark(change: StoreChange): void {
    this.#image.apply([copyOf(change)]);
  }

  /** Heals all but damage that was done. */
  repair(): void {
    this.#strike = undefined;
    this.#full = false;
    this.#nextFailure = undefined;
    this.#slowUntilMs = 0;
  }
}

/** What an open store needs of its disk. */
interface StoreParts {
  readonly image: DiskImage;
  readonly sync: (settle: () => void) => void;
  readonly takeFailure: (changes: readonly StoreChange[]) => MeshError | undefined;
}

class VirtualStore implements Store {
  readonly #parts: StoreParts;
  readonly #pending: Pending[] = [];
  #syncing = false;
  #failed = false;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(parts: StoreParts) {
    this.#parts = parts;
  }

  async write(changes: readonly StoreChange[]): Promise<void> {
    if (this.#closed) throw closed();
    for (const { key } of changes) checkKey(key);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const settle = (error?: MeshError): void => {
      if (error === undefined) resolve();
      else reject(error);
    };
    this.#pending.push({ changes: changes.map(copyOf), settle });
    this.#next();
    return promise;
  }

  /** Syncs the oldest write; the others wait, as they do on one disk. */
  #next(): void {
    if (this.#syncing || this.#pending.length === 0) return;
    this.#syncing = true;
    this.#parts.sync(() => {
      this.#syncing = false;
      const write = this.#pending.shift();
      // The machine has stopped meanwhile.
      if (write === undefined) return;
      write.settle(this.#applied(write.changes));
      if (this.#pending.length > 0) this.#next();
      else for (const wake of this.#idle.splice(0)) wake();
    });
  }

  #applied(changes: readonly StoreChange[]): MeshError | undefined {
    if (this.#failed) return failed("an earlier write failed; reopen the store");
    const failure = this.#parts.takeFailure(changes);
    if (failure === undefined) this.#parts.image.apply(changes);
    else this.#failed = true;
    return failure;
  }

  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      if (this.#closed) throw closed();
      checkKey(key);
      const entry = this.#parts.image.get(keyOf(key));
      return Promise.resolve(entry === undefined ? undefined : intact(entry).slice());
    } catch (error) {
      return Promise.reject(error);
    }
  }

  scan(
    range: Parameters<Store["scan"]>[0],
  ): AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]> {
    if (this.#closed) throw closed();
    const { limit } = range;
    if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 0)) {
      throw new MeshError("INPUT_INVALID", `scan limit ${String(limit)} is not a count`, {
        field: "limit",
      });
    }
    return this.#walk(this.#parts.image.range(range));
  }

  async *#walk(
    entries: readonly DiskEntry[],
  ): AsyncGenerator<readonly [key: Uint8Array, value: Uint8Array], void, undefined> {
    for (const entry of entries) {
      if (this.#closed) throw closed();
      yield [entry.key.slice(), intact(entry).slice()];
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    while (this.#pending.length > 0) {
      await new Promise<void>((resolve) => {
        this.#idle.push(resolve);
      });
    }
  }

  /** Never settles anything again; returns the writes under way, oldest first. */
  kill(): readonly (readonly StoreChange[])[] {
    this.#closed = true;
    const pending = this.#failed ? [] : this.#pending.map(({ changes }) => changes);
    this.#pending.length = 0;
    return pending;
  }
}
