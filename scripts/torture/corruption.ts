// SPDX-License-Identifier: Apache-2.0
/**
 * Harness C: the corruption matrix. A closed store is copied, damaged in one way, and opened by the real
 * code. Whatever is damaged must be found on opening or in the first full read, or must not matter:
 * every record reads back right and none is missing. What is left is then read with `openDamaged`.
 */
import { cpSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { MeshErrorCode, Store } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import { openDamaged, openLevelStore } from "@ctxmesh/store-level";
import { Dice } from "../fuzz/dice.ts";
import { DAMAGES } from "./corruption-kinds.ts";
import { contentAfter, makeSpecimens, nameOf } from "./corruption-world.ts";
import type { Content, Specimens } from "./corruption-world.ts";
import { scratchFolder } from "./harness.ts";
import type { HarnessOptions, HarnessReport, Violation } from "./harness.ts";

/** What to do. */
export interface CorruptionOptions extends HarnessOptions {
  /** How often each kind of damage is done; the default form has 10. */
  readonly runs: number;
  /** About how many keys the store has; the default form has 3,000. */
  readonly keys: number;
  /** Only the kinds of damage with this in their name. */
  readonly only?: string;
}

/** What became of the runs of one kind of damage. */
export interface KindReport {
  readonly kind: string;
  /** Refused on opening, with `STORE_CORRUPT` or `STORE_FORMAT`. */
  opening: number;
  /** Opened, but the first full read reported it. */
  reading: number;
  /** Opened, and nothing is wrong with any record. */
  harmless: number;
  /** Opened as the sound store that it was at an earlier time: nothing inside tells, only peers can. */
  earlier: number;
  /** Anything else. */
  violations: number;
  /** Of the records of the store, the part that `openDamaged` still had, in percent, over the runs that were refused. */
  salvaged: number;
}

/** What {@link runCorruption} found; plain data. */
export interface CorruptionReport extends HarnessReport {
  readonly kinds: readonly KindReport[];
}

type Outcome = "opening" | "reading" | "harmless" | "earlier" | { readonly problem: string };

const ALL = { gte: new Uint8Array(0), lt: new Uint8Array(64).fill(0xff) };
const DETECTED: readonly MeshErrorCode[] = ["STORE_CORRUPT", "STORE_FORMAT"];
const MOST_VIOLATIONS = 20;

/** Runs the matrix. The same options give the same damage. */
export async function runCorruption(options: CorruptionOptions): Promise<CorruptionReport> {
  using scratch = scratchFolder(true);
  const { seed, runs, keys, only = "", progress } = options;
  progress(`making a store of ${String(keys)} keys`);
  const specimens = await makeSpecimens(scratch.path, seed, keys);
  const kinds: KindReport[] = [];
  const violations: Violation[] = [];
  const names = Object.keys(DAMAGES).filter((name) => name.includes(only));
  for (const [place, kind] of names.entries()) {
    progress(`${String(place + 1)} of ${String(names.length)}: ${kind}`);
    const report = await runKind(kind, { specimens, seed, runs, folder: scratch.path }, violations);
    kinds.push(report);
  }
  return {
    figures: figuresOf(kinds, runs),
    kinds,
    violations: violations.slice(0, MOST_VIOLATIONS),
  };
}

function figuresOf(kinds: readonly KindReport[], runs: number): Record<string, number> {
  const sum = (name: "opening" | "reading" | "harmless" | "earlier"): number =>
    kinds.reduce((total, report) => total + report[name], 0);
  return {
    kinds: kinds.length,
    damaged: kinds.length * runs,
    "refused on opening": sum("opening"),
    "reported on reading": sum("reading"),
    harmless: sum("harmless"),
    "rolled back as a whole": sum("earlier"),
  };
}

interface Stage {
  readonly specimens: Specimens;
  readonly seed: number;
  readonly runs: number;
  readonly folder: string;
}

async function runKind(kind: string, stage: Stage, violations: Violation[]): Promise<KindReport> {
  const report = {
    kind,
    opening: 0,
    reading: 0,
    harmless: 0,
    earlier: 0,
    violations: 0,
    salvaged: 0,
  };
  const salvaged: number[] = [];
  for (let run = 0; run < stage.runs; run++) {
    const folder = join(stage.folder, "damaged");
    cpSync(stage.specimens.store.folder, folder, { recursive: true });
    const dice = new Dice(stage.seed, Object.keys(DAMAGES).indexOf(kind) * 1_000_003 + run);
    const where = DAMAGES[kind]?.apply({ folder, dice, specimens: stage.specimens }) ?? "";
    const outcome = await outcomeOf(folder, kind, stage.specimens);
    const problem = typeof outcome === "string" ? undefined : outcome.problem;
    if (typeof outcome === "string") report[outcome] += 1;
    const rest = await salvage(folder, stage.specimens);
    if (outcome === "opening" || outcome === "reading") salvaged.push(rest.percent);
    for (const found of [problem, rest.problem]) {
      if (found === undefined) continue;
      report.violations += 1;
      const again = `seed ${String(stage.seed)}, kind "${kind}", run ${String(run)}`;
      violations.push({ problem: `${kind} (${where}): ${found}`, again });
    }
    rmSync(folder, { recursive: true });
  }
  report.salvaged = salvaged.reduce((sum, percent) => sum + percent, 0) / (salvaged.length || 1);
  return report;
}

async function outcomeOf(folder: string, kind: string, specimens: Specimens): Promise<Outcome> {
  const anchored = numberIn(folder);
  let store: Store;
  try {
    store = await openLevelStore({ path: folder });
  } catch (error) {
    return isDetection(error) ? "opening" : { problem: `on opening: ${String(error)}` };
  }
  let found: Content | string | undefined;
  try {
    found = await readAll(store, specimens);
  } finally {
    await store.close();
  }
  if (typeof found === "string") return { problem: found };
  if (found === undefined) return "reading";
  const { writes } = specimens.store;
  const expected = contentAfter(writes);
  if (areEqual(found, expected)) return "harmless";
  const newest = numberIn(folder);
  const isEarlier = newest >= anchored && areEqual(found, contentAfter(writes, newest));
  return DAMAGES[kind]?.rollsBack === true && isEarlier
    ? "earlier"
    : { problem: differenceOf(found, expected) };
}

const isDetection = (error: unknown): boolean =>
  error instanceof MeshError && DETECTED.includes(error.code);

/** The number of the write that the anchor names, 0 without an anchor. */
function numberIn(folder: string): number {
  const path = join(folder, "ANCHOR");
  return existsSync(path) ? Number(readFileSync(path, "latin1").split(" ")[3]) : 0;
}

function differenceOf(found: Content, expected: Content): string {
  const lost = [...expected].filter(([key, value]) => found.get(key) !== value).length;
  const more = [...found].filter(([key]) => !expected.has(key)).length;
  return `silently lost or changed ${String(lost)} records, ${String(more)} came back`;
}

/** All entries; undefined when damage was reported; a problem when what was served is not what was written. */
async function readAll(
  store: Store,
  { versions }: Specimens,
): Promise<Content | string | undefined> {
  const entries: (readonly [key: Uint8Array, value: string])[] = [];
  try {
    for await (const [key, value] of store.scan(ALL)) {
      const name = nameOf(value);
      if (versions.get(nameOf(key))?.has(name) !== true) return `wrong bytes under ${shown(key)}`;
      entries.push([key, name]);
    }
    const gets = await Promise.all(entries.map(async ([key]) => store.get(key)));
    for (const [place, [key, name]] of entries.entries()) {
      const got = gets[place];
      if (got === undefined || nameOf(got) !== name) return `no right get of ${shown(key)}`;
    }
    return new Map(entries.map(([key, name]) => [nameOf(key), name]));
  } catch (error) {
    return isDetection(error) ? undefined : `on reading: ${String(error)}`;
  }
}

/** How much of the store `openDamaged` still has, and whether it serves anything that was never written. */
async function salvage(
  folder: string,
  specimens: Specimens,
): Promise<{ percent: number; problem?: string }> {
  const expected = contentAfter(specimens.store.writes);
  let right = 0;
  const damaged = await openDamaged(folder);
  try {
    for await (const [key, value] of damaged.scan(ALL)) {
      const [name, text] = [nameOf(key), nameOf(value)];
      if (specimens.versions.get(name)?.has(text) !== true) {
        return { percent: 0, problem: `openDamaged served wrong bytes under ${shown(key)}` };
      }
      if (expected.get(name) === text) right += 1;
    }
  } catch (error) {
    return { percent: 0, problem: `openDamaged threw ${String(error)}` };
  } finally {
    await damaged.close();
  }
  return { percent: (100 * right) / expected.size };
}

const shown = (key: Uint8Array): string => Buffer.from(key).toString("hex");

function areEqual(a: Content, b: Content): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (b.get(key) !== value) return false;
  return true;
}
