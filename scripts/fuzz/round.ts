// SPDX-License-Identifier: Apache-2.0
import type { Replica } from "@ctxmesh/replica";
import type { Dice } from "./dice.ts";

/** What a number of inputs are played against, one after the other. */
export interface Round {
  /** The next input. */
  next(dice: Dice): Uint8Array;
  /** Plays an input; returns what became of it. Throws when a rule is broken. */
  play(bytes: Uint8Array): Promise<string> | string;
  /** Called after the last input; returns what the round came to. Throws when a rule is broken. */
  end(dice: Dice): Promise<string> | string;
}

/** Stands between the fuzzer and the replica; for planting faults. */
export type Wrap = (replica: Replica) => Replica;
