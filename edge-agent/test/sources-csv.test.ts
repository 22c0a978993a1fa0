// SPDX-License-Identifier: Apache-2.0
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createRecordingLogger, createVirtualClock, tempDir } from "@ctxmesh/testing";
import type { RecordingLogger, TempDir, VirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseRow, splitFields } from "../src/sources/csv-rows.ts";
import { createCsvSource } from "../src/sources/csv.ts";
import type { CsvSourceOptions } from "../src/sources/csv.ts";
import { MAX_LINE_LENGTH, readLines } from "../src/sources/lines.ts";
import type { Line } from "../src/sources/lines.ts";
import { Pacer } from "../src/sources/pacer.ts";
import type { SourceWrite } from "../src/sources/source.ts";

const HEADER = "timestamp,value\n";

let dir: TempDir;
let clock: VirtualClock;
let logger: RecordingLogger;

beforeEach(async () => {
  dir = await tempDir();
  clock = createVirtualClock(1_000_000);
  logger = createRecordingLogger();
});

afterEach(() => dir.remove());

async function csvFile(text: string): Promise<string> {
  const path = join(dir.path, "oven-3.csv");
  await writeFile(path, text);
  return path;
}

/** Replays until the file ends or `maxWrites` writes were made; every wait moves the clock by what was asked. */
async function replay(
  options: CsvSourceOptions,
  maxWrites = Infinity,
): Promise<{ writes: SourceWrite[]; waits: number[] }> {
  const writes: SourceWrite[] = [];
  const waits: number[] = [];
  const { promise: done, resolve } = Promise.withResolvers<void>();
  const finished = { ...logger, info: () => resolve() };
  const source = await createCsvSource(options, {
    clock,
    logger: finished,
    async wait(ms) {
      waits.push(ms);
      clock.advance(ms);
      if (writes.length >= maxWrites) resolve();
    },
  });
  source.start(async (write) => {
    if (writes.length < maxWrites) writes.push(write);
  });
  await done;
  await source.stop();
  return { writes, waits };
}

const valuesIn = (writes: readonly SourceWrite[]): unknown[] =>
  writes.flatMap(({ facts }) => facts.map(({ value }) => value));

describe("replay", () => {
  test("each row becomes a fact with its timestamp, at the chosen rate", async () => {
    const path = await csvFile(`${HEADER}2014-01-01 00:00:00,1.5\n2014-01-01 00:05:00,-2e3\n`);
    const { writes, waits } = await replay({ path, rate: 4 });
    expect(writes).toEqual(
      [
        { timestamp: "2014-01-01 00:00:00", value: 1.5 },
        { timestamp: "2014-01-01 00:05:00", value: -2_000 },
      ].map((value) => ({
        doc: "telemetry",
        facts: [
          {
            key: "oven-3/value",
            value,
            confidence: 1,
            source: { model: "csv", version: "1", instance: "oven-3.csv" },
          },
        ],
      })),
    );
    expect(waits).toEqual([250, 250]);
  });

  test("every value column has its own key", async () => {
    const path = await csvFile('timestamp,"heat, inner",outer\nt1,1,2\n');
    const { writes } = await replay({ path, name: "oven", doc: "line-2/oven" });
    expect(writes[0]?.doc).toBe("line-2/oven");
    expect(writes[0]?.facts.map(({ key }) => key)).toEqual(["oven/heat, inner", "oven/outer"]);
  });

  test("rows that are due together go out in one write, none lost, in order", async () => {
    const count = 2_000;
    const rows = Array.from({ length: count }, (_, i) => `t${String(i)},${String(i)}\n`).join("");
    const path = await csvFile(HEADER + rows);
    const { writes } = await replay({ path, rate: 2_000 });
    expect(writes.length).toBeLessThan(count / 5);
    expect(valuesIn(writes)).toEqual(
      Array.from({ length: count }, (_, i) => ({ timestamp: `t${String(i)}`, value: i })),
    );
  });

  test("a shared key gets the newest row of each group, with its own confidence", async () => {
    const path = await csvFile(`timestamp,a,b\nt1,1,10\nt2,2,20\n`);
    const also = [{ key: "site/latest", from: "b", confidence: 0.6 }];
    const { writes } = await replay({ path, confidence: 0.9, also });
    const shared = writes.map(({ facts }) => facts.find(({ key }) => key === "site/latest"));
    expect(shared).toMatchObject([
      { value: { timestamp: "t1", value: 10 }, confidence: 0.6 },
      { value: { timestamp: "t2", value: 20 }, confidence: 0.6 },
    ]);
    expect(writes[0]?.facts[0]).toMatchObject({ key: "oven-3/a", confidence: 0.9 });
  });

  test("with loop the file starts again after its last row", async () => {
    const path = await csvFile(`${HEADER}t1,1\nt2,2\n`);
    const { writes } = await replay({ path, loop: true }, 5);
    expect(valuesIn(writes).map((value) => (value as { value: number }).value)).toEqual([
      1, 2, 1, 2, 1,
    ]);
  });

  test("with loop a file without one good row ends", async () => {
    const path = await csvFile(`${HEADER}t1,x\n`);
    expect((await replay({ path, loop: true })).writes).toEqual([]);
  });

  test("bad rows are skipped and the first is logged with its line", async () => {
    const path = await csvFile(
      `${HEADER}t1,1\nt2,broken\n,3\nt4,4,4\nt5\n"t6,6\nt7,NaN\nt8,0x10\n${"x".repeat(70_000)},1\n\nt9,9\n`,
    );
    const { writes } = await replay({ path });
    expect(valuesIn(writes)).toEqual([
      { timestamp: "t1", value: 1 },
      { timestamp: "t9", value: 9 },
    ]);
    expect(logger.entries).toEqual([
      { level: "warn", event: "source.bad-row", fields: { source: "csv:oven-3", path, line: 3 } },
    ]);
  });

  test("a replay that fell behind by an hour goes on from now", async () => {
    const rows = Array.from({ length: 100 }, (_, i) => `t${String(i)},1\n`).join("");
    const path = await csvFile(HEADER + rows);
    const writes: SourceWrite[] = [];
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const source = await createCsvSource(
      { path, rate: 10 },
      { clock, logger, wait: async () => clock.advance(writes.length === 1 ? 3_600_000 : 100) },
    );
    source.start(async (write) => {
      writes.push(write);
      if (writes.length === 3) resolve();
    });
    await done;
    await source.stop();
    expect(writes.slice(0, 3).map(({ facts }) => facts.length)).toEqual([1, 1, 1]);
  });
});

const create = (path: string, also: CsvSourceOptions["also"] = []): Promise<unknown> =>
  createCsvSource({ path, also }, { clock, logger });

describe("a file that is not what it should be, when the source is made", () => {
  test("missing", async () => {
    await expect(create(join(dir.path, "none.csv"))).rejects.toMatchObject({
      code: "FILE_UNAVAILABLE",
      message: expect.stringContaining("none.csv: ENOENT") as string,
    });
  });

  test("a folder", async () => {
    await mkdir(join(dir.path, "folder.csv"));
    const code = "FILE_UNAVAILABLE";
    await expect(create(join(dir.path, "folder.csv"))).rejects.toMatchObject({ code });
  });

  test.each([
    "",
    "time,value\n",
    "timestamp\n",
    "timestamp,a,a\n",
    "timestamp,\n",
    '"timestamp,a\n',
  ])("the header %j", async (header) => {
    const code = "CONFIG_INVALID";
    await expect(create(await csvFile(`${header}t,1\n`))).rejects.toMatchObject({ code });
  });

  test("a shared key from a column that is not there", async () => {
    const path = await csvFile(HEADER);
    await expect(create(path, [{ key: "k", from: "heat" }])).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining('"heat"') as string,
      remedy: "its columns are value",
    });
  });

  test("gone by the time it starts: that is logged, and the source stops cleanly", async () => {
    const path = await csvFile(`${HEADER}t1,1\n`);
    const source = await createCsvSource({ path }, { clock, logger, wait: async () => undefined });
    await rm(path);
    source.start(async () => undefined);
    while (logger.entries.length === 0) await new Promise(setImmediate);
    await source.stop();
    expect(logger.entries[0]).toMatchObject({ event: "source.failed" });
  });
});

describe("rows", () => {
  test("what RFC 4180 quotes comes back", () => {
    const field = fc.string({ unit: "grapheme" }).filter((text) => !/[\r\n]/u.test(text));
    fc.assert(
      fc.property(fc.array(field, { minLength: 1 }), (fields) => {
        const line = fields.map((text) => `"${text.replaceAll('"', '""')}"`).join(",");
        expect(splitFields(line)).toEqual(fields);
      }),
    );
  });

  test("any text is a row of finite numbers or none", () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 3 }), (line, columns) => {
        const values = parseRow(line, columns)?.values ?? [];
        expect(values.every(Number.isFinite)).toBe(true);
      }),
    );
  });
});

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
}

async function linesOf(text: string, size: number): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const line of readLines(cut(Buffer.from(text), size))) lines.push(line);
  return lines;
}

describe("lines", () => {
  test("they do not depend on the chunks, nor on LF or CR LF", async () => {
    const line = fc.string({ unit: "grapheme" }).filter((text) => !/[\r\n\uFEFF]/u.test(text));
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { minLength: 1 }),
        fc.constantFrom("\n", "\r\n"),
        fc.integer({ min: 1, max: 9 }),
        async (lines, end, size) => {
          const text = `\uFEFF${lines.map((item) => item + end).join("")}`;
          const found = await linesOf(text, size);
          expect(found).toEqual(lines.map((item, i) => ({ number: i + 1, text: item })));
        },
      ),
    );
  });

  test("a line without end costs a bounded amount and does not hide the next one", async () => {
    const text = `${"x".repeat(10 * MAX_LINE_LENGTH)}\nshort`;
    const found = await linesOf(text, 1_000);
    expect(found).toEqual([
      { number: 1, text: undefined },
      { number: 2, text: "short" },
    ]);
  });
});

test("a pacer never gives more rows than the rate allows, whatever the clock does", () => {
  const steps = fc.array(fc.integer({ min: -5_000, max: 5_000 }), { maxLength: 50 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000 }), steps, (rate, moves) => {
      const pacer = new Pacer(rate);
      let nowMs = 1_000_000;
      for (const move of moves) {
        nowMs += move;
        const due = pacer.due(nowMs);
        expect(due).toBeGreaterThanOrEqual(0);
        expect(due).toBeLessThanOrEqual(rate + 1);
        pacer.take(due);
        expect(pacer.waitMs(nowMs)).toBeLessThanOrEqual(1_000);
      }
    }),
  );
});
