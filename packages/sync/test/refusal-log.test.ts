// SPDX-License-Identifier: Apache-2.0
/** Goal: refusals cost one line a minute for each device, and the tables behind that stay small. */
import { REFUSALS } from "@ctxmesh/model";
import { BAR_MS, MAX_CLOSINGS, REFUSALS_LOGGED_EVERY_MS } from "@ctxmesh/sync";
import { createRecordingLogger } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Bars, RefusalLog, isBlamed } from "../src/refusal-log.ts";
import type { Refused } from "../src/refusal-log.ts";

const MINUTE = REFUSALS_LOGGED_EVERY_MS;
const refused = (device: string, detail = "why", blamed = true): Refused => ({
  event: "batch.refused",
  device,
  stage: "signature",
  detail,
  blamed,
});

describe("the log", () => {
  test("names the first refusal of a device at once, and all after it once a minute with their number", () => {
    const logger = createRecordingLogger();
    const log = new RefusalLog(logger);
    log.note(refused("a", "first"), 0);
    for (let ms = 1; ms < 500; ms++) log.note(refused("a", String(ms)), ms);
    log.flush(MINUTE - 1);
    log.flush(MINUTE);
    log.flush(MINUTE + 1);
    expect(logger.entries).toEqual([
      {
        level: "warn",
        event: "batch.refused",
        fields: { device: "a", stage: "signature", detail: "first", count: 1 },
      },
      {
        level: "warn",
        event: "batch.refused",
        fields: { device: "a", stage: "signature", detail: "499", count: 499 },
      },
    ]);
  });

  test("writes no line more than one a minute and device, and counts each refusal once", () => {
    const event = fc.record({ waitMs: fc.nat(20_000), device: fc.constantFrom("a", "b") });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), (events) => {
        const logger = createRecordingLogger();
        const log = new RefusalLog(logger);
        let ms = 0;
        for (const { waitMs, device } of events) {
          ms += waitMs;
          log.flush(ms);
          log.note(refused(device), ms);
        }
        log.flush(ms + MINUTE);
        const counts = logger.entries.map(({ fields }) => Number(fields["count"]));
        expect(counts.reduce((a, b) => a + b, 0)).toBe(events.length);
        expect(counts.length).toBeLessThanOrEqual(2 * (2 + ms / MINUTE));
      }),
    );
  });

  test("warns of what a device is to blame for; the rest is information, on a line of its own", () => {
    const logger = createRecordingLogger();
    const log = new RefusalLog(logger);
    log.note(refused("a", "not its fault", false), 0);
    log.note(refused("a"), 1);
    expect(logger.entries.map(({ level }) => level)).toEqual(["info", "warn"]);
  });

  test("forgets the device that it noticed first when there are too many", () => {
    const logger = createRecordingLogger();
    const log = new RefusalLog(logger);
    for (let n = 0; n < 5_000; n++) log.note(refused(String(n)), 0);
    log.note(refused("4999"), 1);
    expect(logger.entries).toHaveLength(5_000);
    log.note(refused("0"), 1);
    expect(logger.entries).toHaveLength(5_001);
  });
});

test("only what a grant, a revocation or a fork refuses, and what is left out, is not the sender's fault", () => {
  expect(REFUSALS.filter((code) => !isBlamed(code)).toSorted()).toEqual([
    "equivocation",
    "grant",
    "omitted",
    "revoked",
  ]);
});

const barredAfter = (closings: readonly number[], nowMs: number): boolean => {
  const bars = new Bars();
  for (const ms of closings) bars.closed("a", ms);
  return bars.isBarred("a", nowMs);
};

describe("a bar", () => {
  test.each([
    ["two closings", [0, 1], 2, false],
    ["three", [0, 1, 2], 2, true],
    ["a fourth of a session that was open still", [0, 1, 2, 3], 3 + BAR_MS - 1, true],
    ["three, to the end", [0, 1, 2], 2 + BAR_MS - 1, true],
    ["three, after the end", [0, 1, 2], 2 + BAR_MS, false],
    ["three over a longer time", [0, 1, BAR_MS], BAR_MS, false],
    ["three in just that time", [0, 1, BAR_MS - 1], BAR_MS - 1, true],
    ["another three after the end", [0, 1, 2, 2 + BAR_MS], 2 + BAR_MS, false],
  ] as const)("%s", (_, closings, nowMs, barred) => {
    expect(MAX_CLOSINGS).toBe(3);
    expect(barredAfter(closings, nowMs)).toBe(barred);
    expect(new Bars().isBarred("a", nowMs)).toBe(false);
  });

  test("of one device is not another's, and the table stays small", () => {
    const bars = new Bars();
    for (let n = 0; n < 5_000; n++) for (let i = 0; i < 3; i++) bars.closed(String(n), 0);
    const barred = Array.from({ length: 5_000 }, (_, n) => bars.isBarred(String(n), 1));
    expect(barred.filter((is) => is)).toHaveLength(1_024);
    expect(barred.at(-1)).toBe(true);
    expect(bars.isBarred("x", 1)).toBe(false);
  });
});
