// SPDX-License-Identifier: Apache-2.0
/**
 * Harness A: processes are killed. A writer, and every tenth time the whole agent, is killed with SIGKILL at a random
 * moment; the ledger of what it acknowledged is kept here. After each kill the store must open and show exactly what the first so many
 * operations leave: no acknowledged one missing, none done in part.
 *
 * The operating system survives a kill, and with it what was written without a sync: that is for harness B.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Dice } from "../fuzz/dice.ts";
import { AgentUnderTest } from "./agent.ts";
import type { Fault } from "./faults.ts";
import { scratchFolder } from "./harness.ts";
import type { HarnessOptions, HarnessReport, Scratch, Violation } from "./harness.ts";
import { checkFacts, refusal, withReplica } from "./inspect.ts";
import type { Breach, Broken } from "./inspect.ts";
import { acknowledgedIn, createWorld, startWriter } from "./world.ts";
import type { World, Writer } from "./world.ts";
import type { Stream } from "./workload.ts";

/** What to do. */
export interface KillOptions extends HarnessOptions {
  readonly kills: number;
  readonly fault?: Fault;
}

/** Of so many kills one is of the whole agent. */
const AGENT_EVERY = 10;
/** A new store after so many kills of a writer. */
const STORE_EVERY = 10;
const LANES = 4;
/** So many of 100 operations are large, for LevelDB to begin new logs and merge tables. */
const BIG_PERCENT = 3;
/** Of 100 kills, those that come while the process starts. */
const EARLY_PERCENT = 10;
/** Of 100 kills, those that come after more than a second of writing. */
const LATE_PERCENT = 5;
const START_MS = 300;
const WRITE_MS = 250;
const LATE_MS = 1_500;

/** When to kill, in milliseconds after the start, or after the store is open. */
function killTime(dice: Dice): { readonly early: boolean; readonly ms: number } {
  if (dice.chance(EARLY_PERCENT)) return { early: true, ms: dice.roll(START_MS) };
  return { early: false, ms: dice.roll(dice.chance(LATE_PERCENT) ? LATE_MS : WRITE_MS) };
}

async function killWithin(
  { child, ready, ended }: Writer,
  { early, ms }: ReturnType<typeof killTime>,
): Promise<void> {
  if (!early) await Promise.race([ready, ended]);
  await Promise.race([sleep(ms), ended]);
  child.kill("SIGKILL");
  await ended;
}

/** Kills of writers that continue one another's work. */
class WriterRounds {
  readonly #world: World;
  readonly #options: KillOptions;
  readonly #folder: string;
  #rounds = 0;
  #acknowledged: Record<Stream, number> = { own: 0, other: 0 };
  #operations = 0;

  constructor(folder: string, options: KillOptions) {
    this.#folder = folder;
    this.#options = options;
    this.#world = createWorld(join(folder, "world"));
  }

  /** Operations that were acknowledged. */
  get operations(): number {
    return this.#operations;
  }

  async round(dice: Dice): Promise<Broken | undefined> {
    if (this.#rounds % STORE_EVERY === 0) this.#acknowledged = { own: 0, other: 0 };
    const storePath = join(
      this.#folder,
      `store-${String(Math.floor(this.#rounds++ / STORE_EVERY))}`,
    );
    const { seed, fault } = this.#options;
    const { spacePath, keyPath, deviceSeeds } = this.#world;
    const writer = startWriter({
      storePath,
      spacePath,
      keyPath,
      deviceSeeds,
      seed,
      lanes: LANES,
      bigPercent: BIG_PERCENT,
      end: "close",
      ...(fault === undefined ? {} : { fault }),
    });
    try {
      await killWithin(writer, killTime(dice));
    } catch (error) {
      // It did not open the store, or stopped by itself.
      return refusal(error);
    }
    const { last, operations } = acknowledgedIn(writer.lines());
    this.#operations += operations;
    for (const stream of ["own", "other"] as const) {
      this.#acknowledged[stream] = Math.max(this.#acknowledged[stream], last[stream]);
    }
    return this.#check(storePath);
  }

  async #check(storePath: string): Promise<Broken | undefined> {
    try {
      const found = await withReplica(this.#world, storePath, async (replica) =>
        Promise.resolve(
          checkFacts(replica.list({ limit: 10_000 }), this.#options.seed, this.#acknowledged),
        ),
      );
      if ("breach" in found) return found;
      // What was found once must be found again, acknowledged or not.
      this.#acknowledged = { ...found };
      return undefined;
    } catch (error) {
      return refusal(error);
    }
  }
}

/** Runs harness A. */
export async function killWriters(options: KillOptions): Promise<HarnessReport> {
  const { seed, kills, progress } = options;
  using scratch: Scratch = scratchFolder();
  const writers = new WriterRounds(scratch.path, options);
  await using agents = new AsyncDisposableStack();
  let agent: AgentUnderTest | undefined;
  const breaches: Record<Breach, number> = { refused: 0, lost: 0, torn: 0, "other content": 0 };
  const violations: Violation[] = [];
  let [done, agentKills] = [0, 0];
  for (; done < kills && violations.length === 0; done++) {
    progress(`kill ${String(done + 1)} of ${String(kills)}`);
    const dice = new Dice(seed, done);
    const isAgent = options.fault === undefined && done % AGENT_EVERY === AGENT_EVERY - 1;
    if (isAgent) agentKills++;
    if (isAgent)
      agent ??= agents.use(await AgentUnderTest.create(join(scratch.path, "mesh"), seed));
    const broken = await (isAgent && agent !== undefined ? agent : writers).round(dice);
    if (broken === undefined) continue;
    breaches[broken.breach]++;
    violations.push({
      problem: `after kill ${String(done + 1)}${isAgent ? ", of the agent" : ""}: ${broken.breach}: ${broken.problem}`,
      again: `npm run torture -- --only A --seed ${String(seed)} --kills ${String(done + 1)}; what is left is in ${scratch.path}`,
    });
    scratch.keep();
  }
  const acknowledged = writers.operations + (agent?.operations ?? 0);
  return {
    figures: { kills: done, "of the whole agent": agentKills, acknowledged, ...breaches },
    violations,
  };
}
