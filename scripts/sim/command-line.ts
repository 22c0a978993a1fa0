// SPDX-License-Identifier: Apache-2.0
/** The command line of `npm run sim`. */
import { parseArgs } from "node:util";
import { MeshError, toMeshError } from "@ctxmesh/model";
import { FAULT_KINDS, INVARIANTS } from "@ctxmesh/simulator";
import type { FaultKind } from "@ctxmesh/simulator";
import { PLANTS, plantOf } from "./plants.ts";
import type { Plant } from "./plants.ts";
import type { SeedOptions } from "./simulate.ts";

const list = (names: readonly string[]): string => names.join(", ");

/** What `--help` prints. */
export const HELP = `Usage: npm run sim -- [options]

Runs whole meshes in virtual time, one for each seed: the code of agents and hubs over virtual clocks, disks and
lines, with clients, faults and hostile peers, then heals everything and waits until all are equal. Checkers hold it
to the invariants:

${Object.entries(INVARIANTS)
  .map(([name, what]) => `  ${name.padEnd(4)} ${what}`)
  .join("\n")}

The first violation ends it: what was seen is printed with the seed, the steps of its plan that are needed to see it
again, and the command that does so.

Options:
  --seeds N            how many (default: 10)
  --seed S             the first one; the next has S + 1 (default: 1)
  --hours H            simulated hours with faults, for each seed (default: 2)
  --agents A --hubs B  size of the mesh (default: 5 and 2; every fourth seed has one hub, which decides strong writes)
  --faults LIST        kinds of faults, by commas (default: all; or none):
                       ${list(FAULT_KINDS)}
  --real-signatures K  every K-th seed has real signatures, the others stubs that cost a hash (default: 16; 0: none)
  --calm C             everything is done, and goes wrong, C times more rarely (default: 1)
  --twice              carries each seed out twice and compares the traces (I14)
  --plant NAME         plants a bug for the checker to find: ${PLANTS[0]?.invariant ?? ""} to ${PLANTS.at(-1)?.invariant ?? ""}; its runs have faults and length of their own
  --trace FILE         writes the trace of one seed to a file (with --seeds 1)
  --minimise RUNS      bound on the runs of minimising (default: 200; 0: none)
  --workers W          threads (default: 2)
  --json               one JSON object
  --help               this text

Examples:
  npm run sim -- --seeds 100 --hours 2
  npm run sim -- --seeds 50 --hours 0.2 --twice
  npm run sim -- --seeds 1 --seed 77 --trace trace.txt
  npm run sim -- --seeds 20 --faults crash,partition --agents 9 --hubs 3
  npm run sim -- --seeds 100 --plant I7

Exit codes: 0 no violation, 1 there is one, 3 wrong command line, 130 interrupted.
`;

/** What is to be done. */
export interface Options {
  readonly help: boolean;
  readonly json: boolean;
  readonly workers: number;
  readonly mostRuns: number;
  readonly trace?: string;
  readonly seeds: readonly SeedOptions[];
  /** Those of the command line that are not the seed's, for the command that replays one. */
  readonly rest: readonly string[];
}

const usage = (problem: string): MeshError =>
  new MeshError("USAGE", problem, { remedy: "npm run sim -- --help" });

function parseCommandLine(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        seeds: { type: "string", default: "10" },
        seed: { type: "string", default: "1" },
        hours: { type: "string" },
        agents: { type: "string", default: "5" },
        hubs: { type: "string" },
        faults: { type: "string" },
        "real-signatures": { type: "string", default: "16" },
        calm: { type: "string", default: "1" },
        twice: { type: "boolean", default: false },
        plant: { type: "string" },
        trace: { type: "string" },
        minimise: { type: "string", default: "200" },
        workers: { type: "string", default: "2" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw usage(toMeshError(error).message);
  }
}

const MOST = 1_000_000;

function numberOf(name: string, text: string, least: number, most: number = MOST): number {
  const number = Number(text);
  if (!/^\d+$/u.test(text) || number < least || number > most) {
    throw usage(`--${name} must be a whole number from ${String(least)} to ${String(most)}`);
  }
  return number;
}

function hoursOf(text: string): number {
  const hours = Number(text);
  if (!/^\d+(?:\.\d+)?$/u.test(text) || hours <= 0 || hours > MOST) {
    throw usage("--hours must be a number above 0");
  }
  return hours;
}

function faultsOf(text: string): readonly FaultKind[] {
  if (text === "none") return [];
  return text.split(",").map((name) => {
    const kind = FAULT_KINDS.find((known) => known === name);
    if (kind === undefined) throw usage(`--faults: ${name} is none of ${list(FAULT_KINDS)}`);
    return kind;
  });
}

/** Several hubs without an engine in common decide nothing, and lose less; so some seeds have one. */
const hubsOf = (seed: number, plant: Plant | undefined): number =>
  plant?.hubs ?? (seed % 4 === 0 ? 1 : 2);

/** Parses arguments. Throws `USAGE`. */
export function parseOptions(args: readonly string[]): Options {
  const given = parseCommandLine(args);
  const plant = given.plant === undefined ? undefined : plantOf(given.plant);
  if (given.plant !== undefined && plant === undefined) {
    throw usage(`--plant must be one of ${list(PLANTS.map(({ invariant }) => invariant))}`);
  }
  const first = numberOf("seed", given.seed, 0);
  const count = numberOf("seeds", given.seeds, 1);
  const every = numberOf("real-signatures", given["real-signatures"], 0);
  const faults = given.faults === undefined ? plant?.faults : faultsOf(given.faults);
  const hours = given.hours === undefined ? (plant?.hours ?? 2) : hoursOf(given.hours);
  if (given.trace !== undefined && count !== 1) throw usage("--trace needs --seeds 1");
  const seeds = Array.from({ length: count }, (_, i): SeedOptions => {
    const seed = first + i;
    return {
      seed,
      hours,
      agents: numberOf("agents", given.agents, 1, 50),
      hubs: given.hubs === undefined ? hubsOf(seed, plant) : numberOf("hubs", given.hubs, 0, 10),
      signatures: every > 0 && seed % every === 0 ? "real" : "stub",
      calm: numberOf("calm", given.calm, 1, 1_000),
      twice: given.twice || plant?.invariant === "I14",
      ...(faults === undefined ? {} : { faults }),
      ...(plant === undefined ? {} : { plant: plant.invariant }),
    };
  });
  const kept = ["hours", "agents", "hubs", "faults", "real-signatures", "calm", "plant"] as const;
  return {
    help: given.help,
    json: given.json,
    workers: numberOf("workers", given.workers, 1, 64),
    mostRuns: numberOf("minimise", given.minimise, 0),
    seeds,
    rest: [
      ...kept.flatMap((name) => {
        const value = given[name];
        return value === undefined || !args.some((arg) => arg.split("=")[0] === `--${name}`)
          ? []
          : [`--${name}`, value];
      }),
      ...(given.twice ? ["--twice"] : []),
    ],
    ...(given.trace === undefined ? {} : { trace: given.trace }),
  };
}
