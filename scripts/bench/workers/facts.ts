// SPDX-License-Identifier: Apache-2.0
/**
 * One engine of the `facts` benchmark as a process: plays the trace and says what that cost, in CPU
 * time of the main thread, as others may use the machine at the same time.
 */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Trace } from "../facts-trace.ts";
import { serveCalls } from "./calls.ts";
import type { Engine, EngineDocument } from "./facts-contract.ts";
import { PEER_ENGINES } from "./facts-peers.ts";

/** How a process is started. */
export interface FactsStart {
  readonly engine: string;
  readonly keys: number;
}

/** Writes of one size for some time. */
export interface SliceLoad {
  readonly size: number;
  readonly ms: number;
}

/** Facts per CPU second. */
export interface SliceResult {
  readonly set: number;
  readonly apply: number;
}

/** Writes that went from process to process. */
export interface Recorded {
  readonly writer: number;
  readonly update: Uint8Array;
}

/** Microseconds of CPU per read. */
export interface ReadResult {
  /** The first read of each key. */
  readonly first: number;
  /** The others. */
  readonly again: number;
}

/** What reconciling takes. */
export interface DiffResult {
  readonly checkBytes: number;
  /** What a document is sent that lacks nothing. */
  readonly inSyncBytes: number;
  /** What a document is sent that lacks 100 facts, and the CPU milliseconds to make it. */
  readonly bytes: number;
  readonly ms: number;
  /** What was sent of the 100 facts when they were written. */
  readonly ownBytes: number;
}

/** What a document takes. */
export interface SizeResult {
  readonly heapBytes: number;
  readonly encodedBytes: number;
}

const FILL = 10_000;
const MISSING = 100;
const READS = 50_000;
/** CPU time may advance in steps of some milliseconds; as many calls between two readings as take this long. */
const CHUNK_MS = 50;
/** CPU time spent on one figure, where one call takes less. */
const REPEAT_MS = 200;
const COLLECTIONS = 5;
const SETTLE_MS = 10;

const cpuMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
};

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes that live, in the heap and outside: the least of some readings, as buffers are let go in the background. */
async function liveBytes(): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < COLLECTIONS; i++) {
    collect();
    await sleep(SETTLE_MS);
    const { heapUsed, external } = process.memoryUsage();
    least = Math.min(least, heapUsed + external);
  }
  return least;
}

/** Milliseconds of CPU for one call, and what it returned. */
function timed<T>(run: () => T): { readonly ms: number; readonly result: T } {
  const start = cpuMs();
  const result = run();
  return { ms: cpuMs() - start, result };
}

/** Milliseconds of CPU of one call on average, over as many as take `REPEAT_MS`. */
function repeated(run: () => unknown): number {
  let [calls, total] = [0, 0];
  while (total < REPEAT_MS) {
    const next = total === 0 ? calls + 1 : Math.ceil(((REPEAT_MS - total) * calls) / total);
    total += timed(() => {
      for (let i = 0; i < next; i++) run();
    }).ms;
    calls += next;
  }
  return total / calls;
}

class Player {
  readonly #engine: Engine;
  readonly #trace: Trace;
  /** Where writes are made. */
  readonly #writer: EngineDocument;
  /** Where they arrive. */
  #reader: EngineDocument;
  #fresh = new Uint8Array();
  #position = 0;
  #liveBefore = 0;

  constructor(engine: Engine, keys: number) {
    this.#engine = engine;
    this.#trace = new Trace(keys);
    this.#writer = this.#engine.create();
    this.#reader = this.#engine.create();
  }

  /** To be called once, before anything else. */
  async begin(): Promise<void> {
    this.#liveBefore = await liveBytes();
  }

  /** Gives both documents every key once. */
  fill(): void {
    const { length } = this.#trace.keys;
    for (; this.#position < length; this.#position += FILL) {
      const rows = this.#trace.rows(this.#position, Math.min(FILL, length - this.#position));
      this.#writer.set(rows, 0);
    }
    this.#position = length;
    this.#fresh = new Uint8Array(this.#writer.encode());
    this.#reader = this.#engine.load(this.#fresh);
  }

  /** Overwrites random keys, and applies the recorded updates to the other document. */
  slice({ size, ms }: SliceLoad): SliceResult {
    const updates: Uint8Array[] = [];
    let spent = 0;
    for (let calls = 1; spent < ms;) {
      const chunks = Array.from({ length: calls }, () => {
        const rows = this.#trace.rows(this.#position, size);
        this.#position += size;
        return rows;
      });
      const { ms: took } = timed(() => {
        for (const rows of chunks) updates.push(this.#writer.set(rows, 0));
      });
      spent += took;
      if (took < CHUNK_MS / 2) calls *= 2;
    }
    const applied = timed(() => {
      for (const update of updates) this.#reader.apply(update, 0);
    });
    const facts = updates.length * size;
    return { set: (facts * 1_000) / spent, apply: (facts * 1_000) / applied.ms };
  }

  /** Milliseconds of CPU to load the document as it was before any key was overwritten. */
  load(): number {
    return repeated(() => this.#engine.load(this.#fresh));
  }

  async read(contested: boolean): Promise<ReadResult> {
    const { keys } = this.#trace;
    const read = await this.#reader.reader(this.#trace.rows(0, keys.length), contested);
    const sample = this.#trace.sample(READS);
    const missing = (of: readonly string[]): number =>
      of.filter((key) => read(key) === undefined).length;
    const first = timed(() => missing(keys));
    const again = repeated(() => missing(sample));
    if (first.result + missing(sample) > 0) throw new Error("a key is missing");
    return { first: (first.ms * 1_000) / keys.length, again: (again * 1_000) / READS };
  }

  diff(): DiffResult {
    const inSyncBytes = this.#writer.diff(this.#reader.have()).length;
    const update = this.#writer.set(this.#trace.rows(this.#position, MISSING), 0);
    const have = this.#reader.have();
    return {
      checkBytes: this.#writer.check().length,
      inSyncBytes,
      bytes: this.#writer.diff(have).length,
      ms: repeated(() => this.#writer.diff(have)),
      ownBytes: update.length,
    };
  }

  /** Writes that many writers make in turn, not applied here to another document. */
  record({ from, count, size, writers }: RecordLoad): readonly Recorded[] {
    return Array.from({ length: count / size }, (_, i) => {
      const at = from + i * size;
      const writer = (at / size) % writers;
      return { writer, update: this.#writer.set(this.#trace.rows(at, size), writer) };
    });
  }

  /** The writes of a trace that nothing replaced, each once: by key, or by key and writer. */
  recordLast({ count, size, writers, candidates }: LastLoad): readonly Recorded[] {
    const last = new Map<string, { writer: number; row: ReturnType<Trace["rows"]>[number] }>();
    for (let at = 0; at < count; at += size) {
      const writer = (at / size) % writers;
      for (const row of this.#trace.rows(at, size)) {
        last.set(candidates ? `${row.key} ${String(writer)}` : row.key, { writer, row });
      }
    }
    const byWriter = Map.groupBy(last.values(), ({ writer }) => writer);
    return [...byWriter].map(([writer, writes]) => ({
      writer,
      update: this.#writer.set(
        writes.map(({ row }) => row),
        writer,
      ),
    }));
  }

  receive(writes: readonly Recorded[]): void {
    for (const { writer, update } of writes) this.#reader.apply(update, writer);
  }

  /** What the receiving document takes; the process must have done nothing but receive. */
  async size(): Promise<SizeResult> {
    const heapBytes = (await liveBytes()) - this.#liveBefore;
    return { heapBytes, encodedBytes: this.#reader.encode().length };
  }
}

/** Writes of many writers. */
export interface RecordLoad {
  readonly from: number;
  readonly count: number;
  readonly size: number;
  readonly writers: number;
}

/** What is left of writes of many writers. */
export interface LastLoad extends Omit<RecordLoad, "from"> {
  /** Whether every writer's last write of a key is left. */
  readonly candidates: boolean;
}

/** An engine by its name. Ours is not loaded with the others: it would bring a Yjs of its own. */
async function engineOf(name: string): Promise<Engine> {
  if (name === "ctxmesh") return (await import("./facts-engine.ts")).ctxmesh;
  if (name === "ctxmesh-wasm") return (await import("./facts-engine.ts")).ctxmeshWasm;
  const load = PEER_ENGINES[name];
  if (load === undefined) throw new Error(`no engine ${name}`);
  return load();
}

let player: Player | undefined;

function playing(): Player {
  if (player === undefined) throw new Error("not started");
  return player;
}

serveCalls(
  {
    start: async ({ engine, keys }: FactsStart) => {
      player = new Player(await engineOf(engine), keys);
      await player.begin();
    },
    fill: () => {
      playing().fill();
    },
    slice: (load: SliceLoad) => playing().slice(load),
    load: () => playing().load(),
    read: async (contested: boolean) => playing().read(contested),
    diff: () => playing().diff(),
    record: (load: RecordLoad) => playing().record(load),
    recordLast: (load: LastLoad) => playing().recordLast(load),
    receive: (writes: readonly Recorded[]) => {
      playing().receive(writes);
    },
    size: async () => playing().size(),
  },
  () => Promise.resolve(),
);
