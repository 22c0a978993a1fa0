// SPDX-License-Identifier: Apache-2.0
/** Clock, randomness and log of a test: virtual, seeded, recorded. */
import type { Clock, Logger, RandomSource } from "@ctxmesh/model";
import { stateFromSeed, xoshiro128StarStar } from "./xoshiro.ts";

/** A clock that stands still until it is told to move. */
export interface VirtualClock extends Clock {
  /** Moves the clock by `ms` milliseconds, which may be negative. */
  advance(ms: number): void;
}

/** A {@link VirtualClock} that shows `startMs` Unix milliseconds. */
export function createVirtualClock(startMs: number): VirtualClock {
  let nowMs = startMs;
  return {
    now: () => nowMs,
    advance(ms) {
      nowMs += ms;
    },
  };
}

/**
 * Reproducible randomness: xoshiro128** seeded through SplitMix64 with an integer. Each 32-bit
 * output gives four bytes, low byte first; a call starts with a fresh output. Never for real keys.
 */
export function createSeededRandom(seed: number | bigint): RandomSource {
  const state = stateFromSeed(BigInt(seed));
  return {
    bytes(length) {
      const bytes = new Uint8Array(length);
      let word = 0;
      for (let i = 0; i < length; i++) {
        word = i % 4 === 0 ? xoshiro128StarStar(state) : word >>> 8;
        bytes[i] = word;
      }
      return bytes;
    },
  };
}

/** One call of a {@link RecordingLogger}. */
export interface LogEntry {
  readonly level: keyof Logger;
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A logger that keeps its entries, in call order. */
export interface RecordingLogger extends Logger {
  readonly entries: readonly LogEntry[];
}

/** A {@link RecordingLogger} without entries. */
export function createRecordingLogger(): RecordingLogger {
  const entries: LogEntry[] = [];
  const at =
    (level: keyof Logger): Logger["info"] =>
    (event, fields = {}) => {
      entries.push({ level, event, fields });
    };
  return { entries, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

const ignore = (): void => undefined;

/** A logger that drops everything. */
export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
