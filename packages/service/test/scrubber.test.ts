// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: every store is read as a whole once a day, not all of a fleet at once, and what is found is told until
 * the node is started again.
 * Method: waiting is a list of promises that the test resolves; the store is a list of answers.
 */
import { MeshError } from "@ctxmesh/model";
import { Scrubber } from "@ctxmesh/service";
import type { LevelStore } from "@ctxmesh/store-level";
import { createRecordingLogger, createVirtualClock, waitFor } from "@ctxmesh/testing";
import type { RecordingLogger, VirtualClock } from "@ctxmesh/testing";
import { expect, test } from "vitest";

type StoreScrub = Awaited<ReturnType<LevelStore["scrub"]>>;

const DAY_MS = 86_400_000;
const START_MS = 1_800_000_000_000;
const sound: StoreScrub = { tables: 3, records: 70, damaged: 0, findings: [], complete: true };
const damaged = (...findings: string[]): StoreScrub => ({
  ...sound,
  damaged: findings.length,
  findings,
});

interface Wait {
  readonly ms: number;
  readonly end: () => void;
}

/** The item at `n`, once it is there. */
async function nth<Item>(items: readonly Item[], n: number): Promise<Item> {
  await waitFor(() => items.length > n, { timeoutMs: 5_000, what: `item ${String(n)}` });
  const item = items[n];
  if (item === undefined) throw new Error("there is no such item");
  return item;
}

/** A scrubber whose random number is `share` of the whole range. */
function setUp(share: number): {
  readonly clock: VirtualClock;
  readonly logger: RecordingLogger;
  readonly scrubber: Scrubber;
  readonly scrubs: readonly unknown[];
  readonly wait: (n: number) => Promise<Wait>;
  readonly scrub: (n: number) => Promise<PromiseWithResolvers<StoreScrub>>;
} {
  const clock = createVirtualClock(START_MS);
  const logger = createRecordingLogger();
  const waits: Wait[] = [];
  const scrubs: PromiseWithResolvers<StoreScrub>[] = [];
  const scrubber = new Scrubber({
    clock,
    logger,
    random: {
      bytes: () => {
        const bytes = new Uint8Array(4);
        new DataView(bytes.buffer).setUint32(0, Math.floor(share * 2 ** 32));
        return bytes;
      },
    },
    store: {
      scrub: () => {
        const scrub = Promise.withResolvers<StoreScrub>();
        scrubs.push(scrub);
        return scrub.promise;
      },
    },
    wait: async (ms, signal) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      signal.addEventListener("abort", () => {
        reject(new Error("called off"));
      });
      waits.push({ ms, end: resolve });
      return promise;
    },
  });
  return {
    clock,
    logger,
    scrubber,
    scrubs,
    wait: async (n: number) => nth(waits, n),
    scrub: async (n: number) => nth(scrubs, n),
  };
}

test.each([0, 0.25, 0.999])(
  "the first check comes %d days after the start, each further one a day after the end of the last",
  async (share) => {
    const { scrubber, wait, scrub, scrubs, clock } = setUp(share);
    scrubber.start();
    const first = await wait(0);
    expect(first.ms).toBeCloseTo(share * DAY_MS, -2);
    expect(scrubs).toHaveLength(0);
    first.end();
    const begun = await scrub(0);
    expect(scrubber.report()).toEqual({ startedAt: START_MS, findings: [] });
    clock.advance(5_000);
    begun.resolve(sound);
    expect((await wait(1)).ms).toBe(DAY_MS);
    expect(scrubber.report()).toEqual({
      last: { endedAt: START_MS + 5_000, tables: 3, records: 70, damaged: 0 },
      findings: [],
    });
    scrubber.stop();
  },
);

test("what is found is logged with a remedy, and told until the end, also when a later check finds nothing", async () => {
  const { scrubber, scrub, logger, scrubs } = setUp(0.5);
  scrubber.run();
  // One at a time.
  expect(scrubber.run()).toEqual({ startedAt: START_MS, findings: [] });
  (await scrub(0)).resolve(damaged("000005.ldb: it is missing", "a record"));
  await waitFor(() => scrubber.report().startedAt === undefined, {
    timeoutMs: 5_000,
    what: "the end",
  });
  expect(logger.entries).toContainEqual(
    expect.objectContaining({ level: "error", event: "store.damage-found" }),
  );
  const findings = ["000005.ldb: it is missing", "a record"];
  expect(scrubber.report()).toMatchObject({ last: { damaged: 2 }, findings });
  scrubber.run();
  (await scrub(1)).resolve(sound);
  await waitFor(() => scrubber.report().startedAt === undefined, {
    timeoutMs: 5_000,
    what: "the end",
  });
  expect(scrubber.report()).toMatchObject({ last: { damaged: 0 }, findings });
  expect(scrubs).toHaveLength(2);
});

test("a check that fails says why, and the next day has another one", async () => {
  const { scrubber, scrub, wait, logger } = setUp(0);
  scrubber.start();
  (await wait(0)).end();
  (await scrub(0)).reject(new MeshError("STORE_FAILED", "can't read 000005.ldb"));
  expect((await wait(1)).ms).toBe(DAY_MS);
  expect(scrubber.report()).toMatchObject({
    last: { failure: "can't read 000005.ldb" },
    findings: [],
  });
  expect(logger.entries).toContainEqual(
    expect.objectContaining({ level: "warn", event: "store.scrub-failed" }),
  );
  scrubber.stop();
});

test("after a stop nothing is begun, and what the closed store says is no news", async () => {
  const { scrubber, scrub, wait, scrubs, logger } = setUp(0);
  scrubber.start();
  await wait(0);
  scrubber.run();
  const begun = await scrub(0);
  scrubber.stop();
  begun.reject(new MeshError("CLOSED", "the store is closed"));
  await waitFor(() => scrubber.report().startedAt === undefined, {
    timeoutMs: 5_000,
    what: "the end",
  });
  scrubber.run();
  expect(scrubs).toHaveLength(1);
  expect(logger.entries).toEqual([]);
});
