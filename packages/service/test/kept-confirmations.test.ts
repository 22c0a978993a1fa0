// SPDX-License-Identifier: Apache-2.0
/** Goal: what was confirmed is known after a restart, as far as it was written, and nothing else is. */
import { fromHex, parseDeviceKey, parseIncarnationId } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import { keepConfirmations } from "@ctxmesh/service";
import { Confirmations } from "@ctxmesh/sync";
import type { ChainHead } from "@ctxmesh/sync";
import {
  createMemoryStore,
  createRecordingLogger,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import * as fc from "fast-check";
import { expect, test, vi } from "vitest";

const head = (n: number, seq: number): ChainHead => ({
  replica: parseDeviceKey("ab".repeat(32)),
  incarnation: parseIncarnationId(n.toString(16).padStart(32, "0")),
  seq,
  hash: "0".repeat(32),
});

/** Confirmations of a replica that has long chains with the same hash everywhere. */
const confirmationsOf = (limit = Number.POSITIVE_INFINITY): Confirmations =>
  new Confirmations({
    clock: createVirtualClock(0),
    headOf: ({ incarnation }) => ({ ...head(0, 2 ** 40), incarnation }),
    replica: {
      limitOf: () => limit,
      hashAt: async () => Promise.resolve("0".repeat(64) as HeaderHash),
    },
  });

test("a restart knows what was known, whatever was confirmed in whatever order", async () => {
  const word = fc.tuple(
    fc.constantFrom("hub" as const, "sealed" as const),
    fc.integer({ min: 0, max: 5 }),
    fc.integer({ min: 1, max: 2 ** 33 }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(word, { maxLength: 8 }), { maxLength: 4 }),
      async (lives) => {
        const store = createMemoryStore();
        let known: unknown[] = Array.from({ length: 6 }, () => ({ hub: 0, sealed: 0 }));
        for (const words of lives) {
          const confirmations = confirmationsOf();
          const kept = await keepConfirmations(store, confirmations, silentLogger);
          const now = (): unknown[] => known.map((_, n) => confirmations.confirmed(head(n, 1)));
          expect(now()).toEqual(known);
          for (const [level, n, seq] of words) await confirmations.claim(level, [head(n, seq)]);
          known = now();
          await kept.stop();
        }
      },
    ),
  );
});

test("it is written every five seconds, and nothing is written when there is no news", async () => {
  vi.useFakeTimers();
  try {
    const store = createMemoryStore();
    const write = vi.spyOn(store, "write");
    const confirmations = confirmationsOf();
    const kept = await keepConfirmations(store, confirmations, silentLogger);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(write).not.toHaveBeenCalled();
    await confirmations.claim("hub", [head(1, 3), head(2, 4)]);
    await confirmations.claim("hub", [head(1, 9)]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(write).toHaveBeenCalledTimes(1);
    expect(write.mock.calls[0]?.[0].map(({ key }) => key[0])).toEqual([0x23, 0x23]);
    await vi.advanceTimersByTimeAsync(60_000);
    await kept.stop();
    expect(write).toHaveBeenCalledTimes(1);
    const value = await store.get(
      Uint8Array.of(0x23, ...fromHex(head(1, 9).replica), ...fromHex(head(1, 9).incarnation)),
    );
    expect(value).toEqual(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0));
  } finally {
    vi.useRealTimers();
  }
});

test("a store that fails ends the writing, is named, and does not keep the node from stopping", async () => {
  const store = createMemoryStore();
  const logger = createRecordingLogger();
  const confirmations = confirmationsOf();
  const kept = await keepConfirmations(store, confirmations, logger);
  store.failNextWrite("lost");
  await confirmations.claim("hub", [head(1, 3)]);
  await kept.stop();
  expect(logger.entries.map(({ event }) => event)).toEqual(["confirmations.unkept"]);
});

test("what is known from an earlier life counts no further than the chain does", async () => {
  const store = createMemoryStore();
  const first = confirmationsOf();
  const kept = await keepConfirmations(store, first, silentLogger);
  await first.claim("sealed", [head(1, 9)]);
  await kept.stop();
  const next = confirmationsOf(4);
  await (await keepConfirmations(store, next, silentLogger)).stop();
  expect(next.confirmed(head(1, 1))).toEqual({ hub: 4, sealed: 4 });
});
