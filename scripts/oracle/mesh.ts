// SPDX-License-Identifier: Apache-2.0
/**
 * Runs a history on real replicas and holds each of them against the truth.
 *
 * Real: `Replica` with everything in it, from the check of a write to the log, over memory stores. Stubbed
 * through their ports, since a history is about what facts mean: clocks, randomness, and signatures
 * (a copy of the public key), which would take most of the time. Devices take turns in what keeps their facts: JavaScript and WebAssembly.
 */
import { factEngine } from "@ctxmesh/facts";
import { MeshError, parseDocumentName } from "@ctxmesh/model";
import type { DeviceKey, DeviceSigner, WriteReceipt } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import type { Space } from "@ctxmesh/membership";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import type { MemoryStore, VirtualClock } from "@ctxmesh/testing";
import { Comparison, Mismatch, expectSame } from "./compare.ts";
import type { Expected } from "./compare.ts";
import { orderOf } from "./history.ts";
import type { History, Step, Write } from "./history.ts";
import { MANAGERS, START_MS, VERIFIER, keyOf, signerOf, spaceOf } from "./stubs.ts";
import { Truth, clockAt, textOf } from "./truth.ts";
import type { Entry, Stated } from "./truth.ts";

/** A batch as it was made. */
interface Made {
  readonly bytes: Uint8Array;
  readonly chain: string;
  readonly seq: number;
  readonly hlc: number;
  readonly entries: readonly Entry[];
  /** Numbers of the batches that its maker had applied. */
  readonly past: ReadonlySet<number>;
}

/** One device: its replica, and what that has to have applied. */
interface Device {
  readonly n: number;
  readonly key: DeviceKey;
  readonly signer: DeviceSigner;
  readonly clock: VirtualClock;
  aheadMs: number;
  store: MemoryStore;
  replica: Replica;
  /** Numbers of batches. */
  applied: Set<number>;
  /** Delivered, and waiting for what they build on. */
  readonly waiting: Set<number>;
  /** Last seq of facts of this incarnation per document. */
  seqs: Map<string, number>;
  /** Batches that the replica announced since the last look. */
  readonly announced: Uint8Array[];
}

/** What a run did, for the figures. */
export interface Work {
  writes: number;
  deliveries: number;
  restarts: number;
  comparisons: number;
}

/** Keeps every document of every second device; the others have them in JavaScript. */
const WASM = factEngine("wasm", createSeededRandom(1));

/** Lists and counts are compared every so many times, since they read everything. */
const LISTS_EVERY = 4;

/** All microtasks have run: a replica over a memory store has nothing left to do. */
const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** The devices of one history. */
export class Mesh {
  readonly #history: History;
  readonly #space: Space;
  readonly #random;
  readonly #devices: Device[] = [];
  readonly #made: Made[] = [];
  readonly #comparison = new Comparison();
  #compared = 0;
  readonly #work: Work;

  private constructor(history: History, work: Work) {
    this.#history = history;
    this.#work = work;
    this.#space = spaceOf(history);
    this.#random = createSeededRandom(history.seed + 1);
  }

  /** Runs a history to its end. Throws {@link Mismatch}, or whatever a replica throws. */
  static async run(history: History, work: Work): Promise<void> {
    const mesh = new Mesh(history, work);
    for (let n = 0; n < history.devices; n++) await mesh.#join(n);
    for (const [i, step] of history.steps.entries()) {
      try {
        await mesh.#step(step);
      } catch (error) {
        throw at(`step ${String(i)}`, error);
      }
    }
    await mesh.#heal();
  }

  async #open(
    device: Pick<Device, "n" | "signer" | "clock" | "store">,
    announced: Uint8Array[],
  ): Promise<Replica> {
    const replica = await Replica.open({
      store: device.store,
      space: this.#space,
      signer: device.signer,
      verifier: VERIFIER,
      clock: device.clock,
      random: this.#random,
      logger: silentLogger,
      ...(device.n % 2 === 1 ? { factEngine: WASM } : {}),
    });
    replica.onApplied(({ bytes }) => {
      announced.push(bytes);
    });
    return replica;
  }

  async #join(n: number): Promise<void> {
    const signer = signerOf(n);
    const [clock, store] = [createVirtualClock(START_MS), createMemoryStore()];
    const announced: Uint8Array[] = [];
    this.#devices.push({
      n,
      key: keyOf(n),
      signer,
      clock,
      aheadMs: 0,
      store,
      replica: await this.#open({ n, signer, clock, store }, announced),
      applied: new Set(),
      waiting: new Set(),
      seqs: new Map(),
      announced,
    });
  }

  async #step(step: Step): Promise<void> {
    if (step.kind === "wait") {
      for (const { clock } of this.#devices) clock.advance(step.ms);
      return;
    }
    const device = this.#deviceAt(step.device);
    switch (step.kind) {
      case "write":
        await this.#write(device, step.writes);
        break;
      case "deliver":
        if (this.#made.length === 0) return;
        await this.#deliver(
          device,
          step.batches.map((n) => n % this.#made.length),
          step.atOnce,
        );
        break;
      case "restart":
        await this.#restart(device);
        break;
      case "clock":
        device.clock.advance(step.aheadMs - device.aheadMs);
        device.aheadMs = step.aheadMs;
        break;
    }
    this.#compare(device);
  }

  #deviceAt(n: number): Device {
    const device = this.#devices[n % this.#devices.length];
    if (device === undefined) throw new Error("a history has devices");
    return device;
  }

  #entriesOf(applied: ReadonlySet<number>): Entry[] {
    return [...applied].flatMap((n) => this.#made[n]?.entries ?? []);
  }

  #truthOf({ applied }: Device): Truth {
    return new Truth(this.#history.rules, this.#entriesOf(applied));
  }

  #maxHlc({ applied }: Device): number {
    return Math.max(0, ...[...applied].map((n) => this.#made[n]?.hlc ?? 0));
  }

  /** Calls made in one tick: what comes of them is worked out first, then looked for. */
  async #write(device: Device, writes: readonly Write[]): Promise<void> {
    const truth = this.#truthOf(device);
    const start = Math.max(clockAt(device.clock.now()), this.#maxHlc(device) + 1);
    const entries: Entry[] = [];
    const expected: string[] = [];
    for (const write of writes) {
      const refusal = this.#refusalOf(device, truth, write);
      if (refusal === undefined) {
        for (const entry of this.#entriesFor(device, truth, write, entries)) {
          entries.push({ ...entry, hlc: start + entries.length });
        }
      }
      expected.push(refusal ?? String(start + entries.length - 1));
    }
    const calls = writes.map((write) => this.#call(device, write));
    const results = await Promise.allSettled(calls);
    const actual = results.map((result) =>
      result.status === "fulfilled" ? String(result.value.hlc) : codeOf(result.reason),
    );
    expectSame("the receipts of a write", actual, expected);
    this.#work.writes += writes.length;
    const announced = device.announced.splice(0);
    expectSame("the number of batches announced", announced.length, entries.length > 0 ? 1 : 0);
    const [own] = announced;
    if (own === undefined) return;
    const chain = device.key + device.replica.incarnation;
    this.#made.push({
      bytes: own,
      chain,
      seq: 1 + [...device.applied].filter((n) => this.#made[n]?.chain === chain).length,
      hlc: start + entries.length - 1,
      entries,
      past: new Set(device.applied),
    });
    device.applied.add(this.#made.length - 1);
  }

  #call({ replica }: Device, write: Write): Promise<WriteReceipt> {
    const doc = parseDocumentName(write.doc);
    switch (write.kind) {
      case "put":
        return replica.put(doc, write.facts);
      case "delete":
        return replica.delete(doc, write.keys);
      case "retract":
        return replica.retract(doc, write.key, this.#deviceAt(write.target).key, write.reason);
    }
  }

  #refusalOf(device: Device, truth: Truth, write: Write): string | undefined {
    if (write.kind !== "retract") return undefined;
    const target = this.#deviceAt(write.target).key;
    if (truth.statement(write.doc, write.key, target) === undefined) return "NOT_FOUND";
    return device.n < MANAGERS ? undefined : "POLICY_REFUSED";
  }

  /** The entries of one call, but for their clocks. */
  #entriesFor(device: Device, truth: Truth, write: Write, before: readonly Entry[]): Entry[] {
    const place = (key: string) => {
      const seq = (device.seqs.get(write.doc) ?? 0) + 1;
      device.seqs.set(write.doc, seq);
      const { key: writer, replica } = device;
      return { doc: write.doc, key, writer, incarnation: replica.incarnation, seq, hlc: 0 };
    };
    switch (write.kind) {
      case "delete":
        return write.keys.map(place);
      case "retract": {
        const target = this.#deviceAt(write.target).key;
        const upTo = truth.statement(write.doc, write.key, target)?.hlc ?? 0;
        return [{ ...place(write.key), target, upTo, reason: write.reason }];
      }
      case "put": {
        const made: Stated[] = [];
        for (const { increment, ...fact } of write.facts) {
          const value =
            increment === true && typeof fact.value === "number"
              ? added(
                  fact.value,
                  this.#ownNumber(device, truth, write.doc, fact.key, [...before, ...made]),
                )
              : fact.value;
          made.push({ ...place(fact.key), ...fact, value });
        }
        return made;
      }
    }
  }

  /** What a writer's own number is after earlier facts of the same tick. */
  #ownNumber(
    { key: writer, clock }: Device,
    truth: Truth,
    doc: string,
    key: string,
    before: readonly Entry[],
  ): number {
    const last = before.findLast(
      (entry): entry is Stated => entry.doc === doc && entry.key === key && !("target" in entry),
    );
    if (last === undefined) return truth.ownNumber(doc, key, writer, clock.now());
    return typeof last.value === "number" ? last.value : 0;
  }

  async #deliver(device: Device, batches: readonly number[], atOnce: boolean): Promise<void> {
    const { replica } = device;
    this.#work.deliveries += batches.length;
    const receive = async (n: number): Promise<void> => {
      const outcome = await replica.receive(this.#made[n]?.bytes ?? new Uint8Array());
      const isTaken = ["accepted", "duplicate", "held"].includes(outcome.kind);
      if (!isTaken) throw new Mismatch(`a true batch was not taken: ${textOf(outcome)}`);
    };
    if (atOnce) await Promise.all(batches.map(receive));
    for (const n of batches) {
      if (!atOnce) {
        await receive(n);
        await settled();
      }
      device.waiting.add(n);
      this.#settle(device);
      if (!atOnce) this.#compare(device);
    }
    await settled();
  }

  /** What was delivered counts as soon as all that it builds on does. */
  #settle(device: Device): void {
    for (let before = -1; before !== device.applied.size;) {
      before = device.applied.size;
      for (const n of device.waiting) {
        const ready = [...(this.#made[n]?.past ?? [])].every((past) => device.applied.has(past));
        if (!ready) continue;
        device.applied.add(n);
        device.waiting.delete(n);
      }
    }
  }

  async #restart(device: Device): Promise<void> {
    const { incarnation } = device.replica;
    await device.replica.close();
    device.store = await device.store.reopen();
    device.replica = await this.#open(device, device.announced);
    if (device.replica.incarnation === incarnation) throw new Mismatch("an incarnation came twice");
    // What was held was held in memory, and has to come again.
    device.waiting.clear();
    device.seqs = new Map();
    this.#work.restarts++;
  }

  /** Everything that was lost comes after all, in any order, and all are alike. */
  async #heal(): Promise<void> {
    for (const device of this.#devices) {
      // What it has, it gets again now and then.
      const lost = orderOf(this.#made.length, this.#history.seed + device.n).filter(
        (n, i) => !device.applied.has(n) || i < 2,
      );
      const half = Math.ceil(lost.length / 2);
      try {
        await this.#deliver(device, lost.slice(0, half), true);
        this.#compare(device);
        await this.#deliver(device, lost.slice(half), true);
        this.#compare(device);
        expectSame("the number of applied batches", device.applied.size, this.#made.length);
        expectSame("the batches still held", device.replica.counters().held, 0);
        this.#comparison.lists(device.replica, this.#expected(device));
      } catch (error) {
        throw at(`healing device ${String(device.n)}`, error);
      }
    }
  }

  #expected(device: Device): Expected {
    const heads: Record<string, number> = {};
    for (const n of device.applied) {
      const { chain = "", seq = 0 } = this.#made[n] ?? {};
      heads[chain] = Math.max(seq, heads[chain] ?? 0);
    }
    const asOf = this.#maxHlc(device);
    return { truth: this.#truthOf(device), heads, asOf, nowMs: device.clock.now() };
  }

  #compare(device: Device): void {
    this.#work.comparisons++;
    device.announced.length = 0;
    try {
      const expected = this.#expected(device);
      this.#comparison.state(device.replica, expected);
      if (this.#compared++ % LISTS_EVERY === 0) this.#comparison.lists(device.replica, expected);
    } catch (error) {
      throw at(`device ${String(device.n)}`, error);
    }
  }
}

const added = (a: number, b: number): number =>
  Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, a + b));

const codeOf = (error: unknown): string =>
  error instanceof MeshError ? error.code : String(error);

function at(where: string, error: unknown): Error {
  if (error instanceof Mismatch) return new Mismatch(`${where}: ${error.message}`);
  return new Error(`${where}: ${String(error)}`, { cause: error });
}
