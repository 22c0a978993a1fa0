// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import type { Clock, RandomSource } from "@ctxmesh/model";

/** The machine's wall clock. */
export const systemClock: Clock = { now: () => Date.now() };

/** The operating system's random numbers. */
export const systemRandom: RandomSource = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
};
