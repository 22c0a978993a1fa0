// SPDX-License-Identifier: Apache-2.0
/** Rounds of inputs, and what is measured of each input. */
import process from "node:process";
import { getHeapStatistics } from "node:v8";
import { createParty } from "./devices.ts";
import type { Party } from "./devices.ts";
import { Dice } from "./dice.ts";
import { FormatRound } from "./format-round.ts";
import { ReceiveRound } from "./receive-round.ts";
import { RichRound } from "./rich-round.ts";
import type { Round, Wrap } from "./round.ts";

/** Inputs that are played against one replica. */
export const ROUND = 250;
/** Of 16 rounds one is played with real signatures, the others with quick ones. */
const REAL_EVERY = 16;
/** What one input may take of a processor, in milliseconds. */
export const MOST_MS = 250;
/** A rule that was broken. */
export interface Violation {
  /** Number of the input; of what is found at the end of a round, the number of the next. */
  readonly input: number;
  readonly problem: string;
  readonly hex: string;
}

/** What inputs came to. */
export interface Result {
  readonly inputs: number;
  /** By what became of them. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Of the slowest input: processor time of its thread. */
  readonly maxMs: number;
  readonly slowest: number;
  /** The most that was on the heap after an input. */
  readonly heapBytes: number;
  readonly violation: Violation | undefined;
}

/** What to run. */
export interface Plan {
  readonly seed: number;
  /** Inputs `from` up to and without `to`; `from` begins a round. */
  readonly from: number;
  readonly to: number;
  /** Of the rounds in it, those whose number leaves `part` when divided by `parts`. */
  readonly part: number;
  readonly parts: number;
  readonly wrap?: Wrap;
  /** Called before each input, with its number. */
  readonly onInput?: (input: number, bytes: Uint8Array) => void;
}

interface Tally {
  inputs: number;
  maxMs: number;
  slowest: number;
  heapBytes: number;
  readonly outcomes: Record<string, number>;
}

const newTally = (): Tally => ({ inputs: 0, maxMs: 0, slowest: 0, heapBytes: 0, outcomes: {} });

const parties = new Map<boolean, Party>();

function partyOf(real: boolean): Party {
  const party = parties.get(real) ?? createParty(real);
  parties.set(real, party);
  return party;
}

/** The round of a number: of 16, one against parsers, two against a rich document, the others against a replica. */
async function openRound(number: number, dice: Dice, wrap: Wrap): Promise<Round> {
  const party = partyOf(number % REAL_EVERY === 0);
  const kind = number % 16;
  if (kind === 5) return new FormatRound(party);
  if (kind === 7 || kind === 11) return new RichRound(dice);
  return ReceiveRound.open(party, dice, wrap);
}

const cpuMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

const messageOf = (error: unknown): string =>
  error instanceof Error
    ? `${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ""}`
    : String(error);

/** Plays one round; returns what was broken. */
async function playRound(
  { seed, to, wrap = (replica) => replica, onInput }: Plan,
  number: number,
  tally: Tally,
): Promise<Violation | undefined> {
  const first = number * ROUND;
  const dice = new Dice(seed, number);
  let input = first;
  let bytes = new Uint8Array();
  try {
    const round = await openRound(number, dice, wrap);
    for (; input < Math.min(first + ROUND, to); input++) {
      bytes = new Uint8Array(round.next(dice));
      onInput?.(input, bytes);
      const started = cpuMs();
      const outcome = await round.play(bytes);
      const ms = cpuMs() - started;
      tally.inputs++;
      tally.outcomes[outcome] = (tally.outcomes[outcome] ?? 0) + 1;
      if (ms > tally.maxMs) [tally.maxMs, tally.slowest] = [ms, input];
    }
    const verdict = await round.end(dice);
    tally.outcomes[verdict] = (tally.outcomes[verdict] ?? 0) + 1;
  } catch (error) {
    return { input, problem: messageOf(error), hex: Buffer.from(bytes).toString("hex") };
  }
  return undefined;
}

/** The least of what an input takes when its round is played again: the first time others may have been in the way. */
async function again(plan: Plan, input: number): Promise<number> {
  const number = Math.floor(input / ROUND);
  let least = Infinity;
  for (let times = 0; times < 3; times++) {
    const tally = newTally();
    await playRound({ ...plan, to: input + 1 }, number, tally);
    least = Math.min(least, tally.slowest === input ? tally.maxMs : 0);
  }
  return least;
}

/** Runs inputs until a rule is broken. */
export async function runInputs(plan: Plan): Promise<Result> {
  const tally = newTally();
  let violation: Violation | undefined;
  for (let number = Math.floor(plan.from / ROUND); number * ROUND < plan.to; number++) {
    if (number % plan.parts !== plan.part) continue;
    violation = await playRound(plan, number, tally);
    const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
    tally.heapBytes = Math.max(tally.heapBytes, heap + external);
    if (violation === undefined && tally.maxMs > MOST_MS) {
      tally.maxMs = await again(plan, tally.slowest);
      if (tally.maxMs > MOST_MS) {
        const problem = `an input takes ${tally.maxMs.toFixed(0)} ms of a processor`;
        violation = { input: tally.slowest, problem, hex: "" };
      }
    }
    if (violation !== undefined) break;
  }
  return { ...tally, violation };
}
