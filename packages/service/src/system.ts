// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { setTimeout as timeout } from "node:timers/promises";
import type { Clock, RandomSource } from "@ctxmesh/model";

/** The machine's wall clock. */
export const systemClock: Clock = { now: () => Date.now() };

/** The operating system's random numbers. */
export const systemRandom: RandomSource = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
};

/** Waits; rejects when a signal is aborted. */
export type Wait = (ms: number, signal: AbortSignal) => Promise<void>;

/** The system's timer, which keeps no process alive. */
export const systemWait: Wait = async (ms, signal) =>
  timeout(ms, undefined, { ref: false, signal });
