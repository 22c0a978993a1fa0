// SPDX-License-Identifier: Apache-2.0
/**
 * The engines side by side: random operations on pairs of stores, one of each engine. What one says the other has to say,
 * byte for byte where it says bytes, and word for word where it refuses.
 */
import { createHash } from "node:crypto";
import { SlotStore, WasmStore, decodeFrame, encodeFrame } from "@ctxmesh/facts";
import type { ChainId, FactFrame, FactRecord, FactStore, Slot, Summary } from "@ctxmesh/facts";
import { HLC_EPOCH_MS, fromHex, hlcFromMs, toMeshError } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import { deviceOf, incarnationOf } from "./arbitraries.ts";

/** Draws of a run, the same for the same seed (mulberry32). */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** A whole number below `end`. */
  below(end: number): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * end);
  }

  one(in_: number): boolean {
    return this.below(in_) === 0;
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

const LETTERS = ["a", "b", "é", "\u{1F980}", "\uFFFF", "\uE000", "\uD7FF", "0"];
const MODELS = ["m", "n", "\u{1F980}"];
const TAGS = ["x", "y", ""];
const TEXTS = ["r", "é", "\u{1F980}\u{1F980}", "long ".repeat(20)];

const keyOf = (dice: Dice): string =>
  Array.from({ length: 1 + dice.below(3) }, () => dice.of(LETTERS)).join("");

const chainOf = (dice: Dice): ChainId => ({
  writer: deviceOf(1 + dice.below(4)),
  incarnation: incarnationOf(1 + dice.below(3)),
});

function statementOf(dice: Dice): Partial<FactRecord> {
  return {
    ...(dice.one(6) ? {} : { valueJson: JSON.stringify(dice.of(TEXTS).repeat(dice.below(4))) }),
    ...(dice.one(4) ? { confidence: dice.below(5) / 4 } : {}),
    ...(dice.one(3) ? { source: { model: dice.of(MODELS), version: "é" } } : {}),
    ...(dice.one(4) ? { ttlMs: dice.one(9) ? Number.MAX_SAFE_INTEGER : dice.below(50) } : {}),
    ...(dice.one(3)
      ? { tags: Array.from({ length: 1 + dice.below(3) }, () => dice.of(TAGS)) }
      : {}),
    ...(dice.one(6) ? { basis: [dice.of(TEXTS)] } : {}),
    ...(dice.one(6) ? { correlation: dice.of(TEXTS) } : {}),
    ...(dice.one(6) ? { traceparent: `00-${"0a".repeat(16)}-${"0b".repeat(8)}-01` } : {}),
    ...(dice.one(6) ? { targets: [dice.of(MODELS)] } : {}),
  };
}

const retractionOf = (dice: Dice): Partial<FactRecord> => ({
  retract: {
    writer: deviceOf(1 + dice.below(4)),
    upTo: hlcFromMs(HLC_EPOCH_MS + dice.below(50)),
    reason: dice.of(TEXTS),
  },
});

/** A frame anywhere in its chain: intervals overlap, leave gaps, come late, and clocks fall behind. */
function frameOf(dice: Dice): FactFrame {
  const from = dice.below(40);
  let seq = from;
  let hlc = hlcFromMs(HLC_EPOCH_MS + dice.below(60)) as number;
  const records = Array.from({ length: 1 + dice.below(6) }, (): FactRecord => {
    seq += 1 + (dice.one(4) ? dice.below(4) : 0);
    hlc += 1 + (dice.one(3) ? 4_096 * dice.below(3) : 0);
    const content = dice.one(6) ? retractionOf(dice) : statementOf(dice);
    return { key: keyOf(dice), seq, hlc: hlc as Hlc, ...content };
  });
  return { from, to: seq + (dice.one(3) ? dice.below(4) : 0), records };
}

/** Bytes with a fault: a bit flipped, cut off, a part doubled or taken from elsewhere, a byte more. */
function damaged(dice: Dice, bytes: Uint8Array): Uint8Array {
  const at = dice.below(bytes.length);
  switch (dice.below(5)) {
    case 0: {
      const copy = bytes.slice();
      copy[at] = (copy[at] ?? 0) ^ (1 << dice.below(8));
      return copy;
    }
    case 1:
      return bytes.slice(0, at);
    case 2:
      return Uint8Array.of(...bytes.slice(0, at), ...bytes.slice(dice.below(at + 1)));
    case 3:
      return Uint8Array.of(...bytes, dice.below(256));
    default: {
      const copy = bytes.slice();
      copy.set(dice.bytes(Math.min(4, bytes.length - at)), at);
      return copy;
    }
  }
}

const nameOf = (slot: Slot): string => slot.writer + (slot.retract?.writer ?? "");
const sorted = (slots: readonly Slot[]): readonly Slot[] =>
  slots.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
const shown = (store: FactStore, key: string): unknown => {
  const { statements, retractions } = store.slots(key);
  return [sorted(statements), sorted(retractions)];
};

/** What a store says as plain data; of an error, its code and words. */
function said(ask: () => unknown): unknown {
  try {
    return ask();
  } catch (error) {
    const { code, message } = toMeshError(error);
    return { code, message };
  }
}

const sha256 = (...parts: readonly Uint8Array[]): Uint8Array => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** The leaves of a store by their definition: see `WasmStore.leaves`. */
export function leavesOf(store: FactStore): readonly Uint8Array[] {
  return [...store.keys()].flatMap((key) => {
    const { statements, retractions } = store.slots(key);
    return [...sorted(statements), ...sorted(retractions)].map((slot) => {
      const { writer, incarnation, seq } = slot;
      const frame = encodeFrame({ from: seq - 1, to: seq, records: [slot] });
      return sha256(Uint8Array.of(0), fromHex(writer), fromHex(incarnation), frame);
    });
  });
}

/** The tree hash of RFC 9162, section 2.1.1, as it is defined there. */
export function rootOf(leaves: readonly Uint8Array[]): Uint8Array {
  const [only] = leaves;
  if (only === undefined) return sha256();
  if (leaves.length === 1) return only;
  let half = 1;
  while (2 * half < leaves.length) half *= 2;
  return sha256(Uint8Array.of(1), rootOf(leaves.slice(0, half)), rootOf(leaves.slice(half)));
}

/** A document in both engines. */
class Pair {
  readonly js = new SlotStore();
  readonly wasm: WasmStore;

  constructor(seed: Uint8Array) {
    this.wasm = new WasmStore(seed);
  }
}

/** A difference between the engines, with all that it takes to see it again. */
export class EngineDifference extends Error {
  constructor(operation: string, at: number, seed: number, js: unknown, wasm: unknown) {
    const [a, b] = [js, wasm].map((value) => JSON.stringify(value)?.slice(0, 600) ?? "");
    super(`${operation}, operation ${String(at)} of seed ${String(seed)}: js ${a}, wasm ${b}`);
    this.name = "EngineDifference";
  }
}

/** Bytes as text, maps as entries in order: what can be compared as JSON. */
const plain = (value: unknown): unknown =>
  value instanceof Uint8Array
    ? Buffer.from(value).toString("base64")
    : value instanceof Map
      ? [...(value as Summary)].toSorted(([a], [b]) => (a < b ? -1 : 1))
      : (value ?? null);

type Ask = (store: FactStore) => unknown;

/** One random operation: its name, and what to ask of each engine. */
function operationOf(dice: Dice, pairs: readonly Pair[]): readonly [string, Ask, Ask?] {
  const key = keyOf(dice);
  const after = dice.one(2) ? keyOf(dice) : undefined;
  const other = dice.of(pairs);
  const model = dice.of(MODELS);
  switch (dice.below(14)) {
    case 0:
      return ["slots", (store) => shown(store, key)];
    case 1: {
      const range = {
        prefix: dice.of(["", key.slice(0, 1)]),
        ...(after === undefined ? {} : { after }),
      };
      return ["keys", (store) => [...store.keys(range)]];
    }
    case 2:
      return ["keysBySource", (store) => [...store.keysBySource(model)]];
    case 3:
      return ["keysByTag", (store) => [...store.keysByTag("x")]];
    case 4: {
      const from = HLC_EPOCH_MS + dice.below(100);
      const to = from + dice.below(40);
      return ["expires", (store) => store.expires(from, to)];
    }
    case 5:
      return ["summary", (store) => store.summary()];
    case 6:
      return ["encodeDiff", (store) => store.encodeDiff(other.js.summary())];
    case 7: {
      // Of two pairs, one takes over what it lacks.
      const frames = other.js.encodeDiff(new Map());
      const given = dice.one(3) ? damaged(dice, frames) : frames;
      return ["merge", (store) => store.merge(given)];
    }
    case 8: {
      const frames = other.js.diff(new Map());
      return [
        "applyFrame",
        (store) => frames.map(({ chain, frame }) => [...store.applyFrame(chain, frame)].toSorted()),
      ];
    }
    default: {
      const chain = chainOf(dice);
      const whole = encodeFrame(frameOf(dice));
      const bytes = dice.one(4) ? damaged(dice, whole) : whole;
      return [
        "apply",
        (store) => store.applyFrame(chain, decodeFrame(bytes)),
        (store) => (store as WasmStore).applyBytes(chain, bytes),
      ];
    }
  }
}

/** Everything that is said of a whole document. */
const figures: Ask = ({ keyCount, slotCount, bytes, gaps }) => [keyCount, slotCount, bytes, gaps];

/** Operations before the pairs are made anew. */
const LIFE = 250;

/** Plays operations on three pairs. Throws {@link EngineDifference}. */
export function compareEngines(operations: number, seed: number): void {
  const { stackTraceLimit } = Error;
  // Thousands of refusals are compared by their words; where each was made is of no use, and dear.
  Error.stackTraceLimit = 0;
  try {
    play(operations, seed);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function play(operations: number, seed: number): void {
  const dice = new Dice(seed);
  let pairs: readonly Pair[] = [];
  for (let i = 0; i < operations; i++) {
    if (i % LIFE === 0) pairs = [1, 2, 3].map(() => new Pair(dice.bytes(WasmStore.seedBytes)));
    const pair = dice.of(pairs);
    const [name, askJs, askWasm = askJs] = operationOf(dice, pairs);
    const compare = (what: string, js: unknown, wasm: unknown): void => {
      const [a, b] = [plain(js), plain(wasm)];
      if (JSON.stringify(a) !== JSON.stringify(b)) throw new EngineDifference(what, i, seed, a, b);
    };
    compare(
      name,
      said(() => askJs(pair.js)),
      said(() => askWasm(pair.wasm)),
    );
    compare(`figures after ${name}`, figures(pair.js), figures(pair.wasm));
    if (i % 32 === 0) {
      const everything: Summary = new Map();
      compare(
        `state after ${name}`,
        pair.js.encodeDiff(everything),
        pair.wasm.encodeDiff(everything),
      );
    }
    if (i % 128 === 0) compare("digest", rootOf(leavesOf(pair.js)), pair.wasm.digest());
  }
}
