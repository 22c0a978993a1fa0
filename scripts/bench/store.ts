// SPDX-License-Identifier: Apache-2.0
/** A node's store: durable writes, cold start, disk, newcomers. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Bench, BenchOptions, Report } from "./figure.ts";
import { benchFolder } from "./files.ts";
import { measureNewcomer } from "./store-newcomer.ts";
import { measureRates } from "./store-rates.ts";
import { measureSize } from "./store-size.ts";
import { measureStart } from "./store-start.ts";

const PARTS = [measureRates, measureStart, measureSize, measureNewcomer];

async function run(options: BenchOptions): Promise<Report> {
  await using folder = await benchFolder();
  const reports: Report[] = [];
  for (const [i, measure] of PARTS.entries()) {
    const part = join(folder.path, String(i));
    await mkdir(part);
    reports.push(await measure(part, options));
  }
  return {
    figures: reports.flatMap(({ figures }) => figures),
    notes: [...reports.flatMap(({ notes }) => notes), ...folder.notes],
  };
}

/** `store`: durable writes, cold start, disk, newcomers. */
export const storeBench: Bench = {
  summary: "durable signed facts per second, cold start, disk after overwrites, newcomers",
  run,
};
