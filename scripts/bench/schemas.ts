// SPDX-License-Identifier: Apache-2.0
/** What schemas cost writers: the same facts into documents of one agent for which there is a schema, and into others. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { canonicalJson } from "@ctxmesh/codec";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { publishSchema } from "@ctxmesh/membership";
import { systemClock } from "@ctxmesh/service";
import { aimed } from "./figure.ts";
import type { BenchOptions, Figure, Report } from "./figure.ts";
import { foundSpace } from "./space.ts";
import type { BenchSpace } from "./space.ts";
import { median } from "./stats.ts";
import { RowSource, openAgent } from "./store-rows.ts";
import type { Put } from "./store-rows.ts";

/** What validation may take away. */
const SHARE = 0.9;
const DOCS = 16;
const KEYS = 1_000;

interface Load {
  readonly name: string;
  readonly size: number;
  readonly writers: number;
}

const LOADS: readonly Load[] = [
  { name: "16 writers, puts of 50", size: 50, writers: 16 },
  { name: "1 writer, puts of 1", size: 1, writers: 1 },
];

/** All that can be said of the rows. */
const SCHEMA = {
  type: "object",
  required: ["celsius", "sensor", "status", "takenAt", "unit"],
  properties: {
    celsius: { type: "number", minimum: -273.15, maximum: 10_000 },
    id: { type: "string", pattern: "^[0-9a-f]{1,8}$" },
    sensor: { type: "string", maxLength: 64 },
    status: { enum: ["running", "warning", "stopped"] },
    takenAt: { type: "integer", minimum: 0 },
    unit: { anyOf: [{ const: "degC" }, { const: "degF" }] },
  },
};

function withSchema({ space, seeds }: BenchSpace): BenchSpace {
  const [seed] = seeds;
  if (seed === undefined) throw new Error("a space needs an agent");
  const entry = {
    docs: "judged/**",
    prefix: "press-7/",
    version: "1.0.0",
    compatibility: "backward",
    schema: SCHEMA,
  };
  const signer = createDeviceSigner(seed);
  return { space: publishSchema(space, signer, canonicalJson(entry), systemClock.now()), seeds };
}

type Round = readonly [rate: number, cpu: number];

/** Writes for `ms`, always as many at a time as there are writers. */
async function measureRound(
  put: Put,
  source: RowSource,
  { size, writers }: Load,
  ms: number,
): Promise<Round> {
  const [started, before] = [performance.now(), process.cpuUsage()];
  let acknowledged = 0;
  const write = async (): Promise<void> => {
    while (performance.now() - started < ms) {
      const { doc, rows } = source.take(size);
      await put(doc, rows);
      acknowledged += size;
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
  const { user, system } = process.cpuUsage(before);
  return [(acknowledged * 1_000) / (performance.now() - started), (user + system) / acknowledged];
}

function figuresOf(
  { name }: Load,
  bare: readonly Round[],
  judged: readonly Round[],
): readonly Figure[] {
  const of = (rounds: readonly Round[], at: 0 | 1): number =>
    median(rounds.map((round) => round[at]));
  const [rate, cpu] = [of(bare, 0), of(bare, 1)];
  const facts = `facts under a schema, ${name}, to none`;
  return [
    aimed(facts, { value: of(judged, 0), baseline: rate }, "facts/s", "higher", rate * SHARE),
    aimed(
      `processor time of ${facts}`,
      { value: of(judged, 1), baseline: cpu },
      "us/fact",
      "lower",
      cpu / SHARE,
    ),
  ];
}

/** Durable, signed and encrypted writes with a schema and without, in turn. Writes into `folder`. */
export async function measureSchemas(
  folder: string,
  { quick, signal, progress }: BenchOptions,
): Promise<Report> {
  const [rounds, ms] = quick ? [9, 150] : [21, 400];
  await mkdir(folder, { recursive: true });
  await using stack = new AsyncDisposableStack();
  const agent = stack.use(
    await openAgent(withSchema(foundSpace(1)), join(folder, "agent"), join(folder, "key")),
  );
  const sources = { bare: new RowSource(DOCS, KEYS), judged: new RowSource(DOCS, KEYS) };
  const found = LOADS.map(() => ({ bare: [] as Round[], judged: [] as Round[] }));
  // Round 0 warms up; every other round goes the other way.
  for (let round = 0; round <= rounds; round++) {
    progress(round === 0 ? "warming up" : `schemas, round ${String(round)} of ${String(rounds)}`);
    for (const [place, load] of LOADS.entries()) {
      const names = round % 2 === 0 ? (["bare", "judged"] as const) : (["judged", "bare"] as const);
      for (const name of names) {
        signal.throwIfAborted();
        const put: Put = async (doc, rows) => agent.put(`${name}/${doc}`, rows);
        const result = await measureRound(put, sources[name], load, ms);
        if (round > 0) found[place]?.[name].push(result);
      }
    }
  }
  return {
    figures: LOADS.flatMap((load, place) =>
      figuresOf(load, found[place]?.bare ?? [], found[place]?.judged ?? []),
    ),
    notes: [
      "The same readings (objects of six members) into two halves of one agent: for one there is a schema that says all of them, with bounds, a list, a pattern and alternatives.",
      `Medians of ${String(rounds)} rounds of ${String(ms)} ms, taken in turn.`,
    ],
  };
}
