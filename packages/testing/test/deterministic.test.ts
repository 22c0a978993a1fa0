// SPDX-License-Identifier: Apache-2.0
import { readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createRecordingLogger,
  createSeededRandom,
  createVirtualClock,
  tempDir,
  waitFor,
} from "@ctxmesh/testing";

const draw = (seed: bigint): string => createSeededRandom(seed).bytes(64).toString();

describe("seeded random", () => {
  test("one seed gives one sequence, other seeds others", () => {
    const seeds = fc.uniqueArray(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { minLength: 2 });
    const property = fc.property(seeds, (distinct) => {
      expect(distinct.map(draw)).toEqual(distinct.map(draw));
      expect(new Set(distinct.map(draw)).size).toBe(distinct.length);
    });
    fc.assert(property);
    expect(createSeededRandom(7).bytes(16)).toEqual(createSeededRandom(7n).bytes(16));
  });

  test("every length is answered, and byte values are spread evenly", () => {
    const random = createSeededRandom(1);
    for (let length = 0; length < 20; length++) expect(random.bytes(length)).toHaveLength(length);
    const counts = new Uint32Array(256);
    for (const byte of random.bytes(256_000)) counts[byte] = (counts[byte] ?? 0) + 1;
    expect(Math.min(...counts)).toBeGreaterThan(800);
    expect(Math.max(...counts)).toBeLessThan(1_200);
  });
});

test("a virtual clock moves only when told, either way", () => {
  const clock = createVirtualClock(1_000);
  expect(clock.now()).toBe(1_000);
  clock.advance(500);
  clock.advance(-200);
  expect(clock.now()).toBe(1_300);
});

test("a recording logger keeps its entries in call order", () => {
  const logger = createRecordingLogger();
  logger.warn("peer.lost", { peer: "x" });
  logger.debug("peer.dialled");
  expect(logger.entries).toEqual([
    { level: "warn", event: "peer.lost", fields: { peer: "x" } },
    { level: "debug", event: "peer.dialled", fields: {} },
  ]);
});

describe("waitFor", () => {
  test("polls until the condition holds", async () => {
    let polls = 0;
    await waitFor(() => (polls += 1) === 3, { timeoutMs: 10_000, what: "three polls" });
    expect(polls).toBe(3);
  });

  test("a wait in vain names what it waited for", async () => {
    const wait = waitFor(() => Promise.resolve(false), { timeoutMs: 0, what: "the moon" });
    await expect(wait).rejects.toThrow("waited 0 ms in vain for the moon");
  });
});

test("a temporary folder is empty at first and gone with all in it after its block", async () => {
  let path = "";
  {
    await using dir = await tempDir();
    path = dir.path;
    expect(await readdir(path)).toEqual([]);
    await writeFile(join(path, "file"), "x");
  }
  await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
});
