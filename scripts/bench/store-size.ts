// SPDX-License-Identifier: Apache-2.0
/** What many overwrites of few facts leave on the disk. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { measured } from "./figure.ts";
import type { BenchOptions, Report } from "./figure.ts";
import { foundSpace } from "./space.ts";
import { RowSource, openAgent, openRaw } from "./store-rows.ts";
import type { Target } from "./store-rows.ts";

/** Live facts, all of one document. */
const KEYS = 1_000;
const IN_FLIGHT = 16;

async function overwrite(
  target: Target,
  count: number,
  size: number,
  inFlight: number,
  signal: AbortSignal,
): Promise<void> {
  const source = new RowSource(1, KEYS);
  let left = count;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      signal.throwIfAborted();
      left -= size;
      const { doc, rows } = source.take(size);
      await target.put(doc, rows);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
}

/** Bytes of the files in a folder. */
async function bytesIn(folder: string): Promise<number> {
  const sizes = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** Part three of `store`. Writes into `folder`. */
export async function measureSize(
  folder: string,
  { quick, signal, progress }: BenchOptions,
): Promise<Report> {
  const cases = [
    { size: 100, count: quick ? 100_000 : 1_000_000, inFlight: IN_FLIGHT },
    // One at a time, so that each is a batch with a signature of its own.
    { size: 1, count: quick ? 5_000 : 50_000, inFlight: 1 },
  ];
  const figures = [];
  for (const { size, count, inFlight } of cases) {
    const times = count.toLocaleString("en-US");
    progress(`${times} overwrites in puts of ${String(size)}`);
    const [ours, raw] = [
      join(folder, `agent-${String(size)}`),
      join(folder, `raw-${String(size)}`),
    ];
    {
      await using agent = await openAgent(foundSpace(1), ours, `${ours}.key`);
      await using level = await openRaw(raw, false);
      await overwrite(agent, count, size, inFlight, signal);
      await overwrite(level, count, size, inFlight, signal);
    }
    figures.push(
      measured(
        `disk for each of ${KEYS.toLocaleString("en-US")} facts after ${times} overwrites in puts of ${String(size)}, all kept`,
        { value: (await bytesIn(ours)) / KEYS, baseline: (await bytesIn(raw)) / KEYS },
        "bytes",
        "lower",
      ),
    );
  }
  return {
    figures,
    notes: [
      "Disk: all files of the store after it is closed. The agent keeps every signed batch; the baseline, level with the same overwrites, has what it has not compacted away yet.",
    ],
  };
}
