// SPDX-License-Identifier: Apache-2.0
/** Tests of an engine's lease and shared map. */
import { expect, test } from "vitest";
import { LIMITS } from "@ctxmesh/model";
import {
  KEY,
  TERM_MS,
  WAIT_MS,
  bytesOf,
  freshSpace,
  lease,
  pairs,
  refusal,
  upTo,
} from "./engine-suite-tools.ts";
import type { Subject } from "./engine-suite-tools.ts";
import { waitFor } from "./wait.ts";

/** Short enough to wait for its end. */
const SHORT_TERM_MS = 50;
const ALL = { gte: new Uint8Array(0), lt: new Uint8Array(40).fill(255) };

/** Tests of the lease. */
export function leaseTests(its: () => Subject): void {
  test("whoever comes first has it, with epoch 1", async () => {
    const { engine, space } = its();
    const taken = await engine.acquire(space, "hub-1", TERM_MS);
    expect(taken?.epoch).toBe(1);
    expect(taken?.remainingMs).toBeGreaterThan(TERM_MS - 5_000);
    expect(taken?.remainingMs).toBeLessThanOrEqual(TERM_MS);
  });

  test("nobody else gets it meanwhile", async () => {
    const { engine, space } = its();
    await engine.acquire(space, "hub-1", TERM_MS);
    expect(await engine.acquire(space, "hub-2", TERM_MS)).toBeUndefined();
  });

  test("its holder renews it, and keeps the epoch", async () => {
    const { engine, space } = its();
    await engine.acquire(space, "hub-1", SHORT_TERM_MS * 100);
    expect((await engine.acquire(space, "hub-1", TERM_MS))?.epoch).toBe(1);
    expect(await engine.acquire(space, "hub-2", TERM_MS)).toBeUndefined();
  });

  test("once it has ended the next one gets it, with the next epoch", async () => {
    const { engine, space } = its();
    await engine.acquire(space, "hub-1", SHORT_TERM_MS);
    let taken: { readonly epoch: number } | undefined;
    await waitFor(
      async () => {
        taken = await engine.acquire(space, "hub-2", TERM_MS);
        return taken !== undefined;
      },
      { timeoutMs: WAIT_MS, what: "the end of the lease" },
    );
    expect(taken?.epoch).toBe(2);
    expect(await engine.acquire(space, "hub-1", TERM_MS)).toBeUndefined();
  });

  test("whoever lets it end gets the next epoch, too", async () => {
    const { engine, space } = its();
    let epoch = 0;
    await waitFor(
      async () => {
        epoch = (await engine.acquire(space, "hub-1", 1))?.epoch ?? 0;
        return epoch !== 1;
      },
      { timeoutMs: WAIT_MS, what: "the next epoch" },
    );
    expect(epoch).toBe(2);
  });

  releaseTests(its);
}

function releaseTests(its: () => Subject): void {
  test("a released one is free at once", async () => {
    const { engine, space } = its();
    const fence = await lease(its());
    await engine.release(space, fence);
    expect((await engine.acquire(space, "hub-2", TERM_MS))?.epoch).toBe(2);
  });

  test.each([
    ["by another holder", { holder: "hub-2", epoch: 1 }],
    ["with another epoch", { holder: "hub-1", epoch: 2 }],
  ])("a release %s changes nothing", async (_, fence) => {
    const { engine, space } = its();
    await lease(its());
    await engine.release(space, fence);
    expect(await engine.acquire(space, "hub-3", TERM_MS)).toBeUndefined();
  });

  boundTests(its);
}

function boundTests(its: () => Subject): void {
  test("of many at once exactly one gets it", async () => {
    const { engine, space } = its();
    const taken = await Promise.all(
      upTo(16).map(async (i) => engine.acquire(space, `hub-${String(i)}`, TERM_MS)),
    );
    expect(taken.filter((one) => one !== undefined)).toHaveLength(1);
  });

  test("each space has its own", async () => {
    const { engine, space } = its();
    await engine.acquire(space, "hub-1", TERM_MS);
    expect((await engine.acquire(freshSpace(), "hub-2", TERM_MS))?.epoch).toBe(1);
  });

  test.each(["", "x".repeat(LIMITS.engineHolder + 1)])(
    "a holder named %j is refused",
    async (holder) => {
      const { engine, space } = its();
      await expect(engine.acquire(space, holder, TERM_MS)).rejects.toThrow(
        refusal("INPUT_INVALID"),
      );
    },
  );

  test("it lasts over opening again", async () => {
    const subject = its();
    const { space } = subject;
    const fence = await lease(subject);
    const other = await subject.again();
    expect(await other.acquire(space, "hub-2", TERM_MS)).toBeUndefined();
    expect((await other.acquire(space, fence.holder, TERM_MS))?.epoch).toBe(fence.epoch);
  });
}

/** Tests of the shared map, and of its fence. */
export function sharedTests(its: () => Subject): void {
  test("what is written is there", async () => {
    const { engine, space } = its();
    const fence = await lease(its());
    expect(await engine.get(space, KEY)).toBeUndefined();
    await engine.write(space, fence, { changes: [{ key: KEY, value: bytesOf("one") }] });
    expect(await engine.get(space, KEY)).toEqual(bytesOf("one"));
    await engine.write(space, fence, { changes: [{ key: KEY, value: bytesOf("two") }] });
    expect(await engine.get(space, KEY)).toEqual(bytesOf("two"));
    await engine.write(space, fence, { changes: [{ key: KEY }] });
    expect(await engine.get(space, KEY)).toBeUndefined();
  });

  fenceTests(its);
  expectationTests(its);
  scanTests(its);
}

function fenceTests(its: () => Subject): void {
  test("without a lease nothing is written", async () => {
    const { engine, space } = its();
    const changes = [{ key: KEY, value: bytesOf("x") }];
    await expect(engine.write(space, { holder: "hub-1", epoch: 1 }, { changes })).rejects.toThrow(
      refusal("ENGINE_FENCED"),
    );
    expect(await engine.get(space, KEY)).toBeUndefined();
  });

  test.each([
    ["another holder's name", { holder: "hub-2", epoch: 1 }],
    ["an older epoch", { holder: "hub-1", epoch: 0 }],
    ["a later epoch", { holder: "hub-1", epoch: 2 }],
  ])("with %s nothing is written", async (_, fence) => {
    const { engine, space } = its();
    await lease(its());
    const changes = [{ key: KEY, value: bytesOf("x") }];
    await expect(engine.write(space, fence, { changes })).rejects.toThrow(refusal("ENGINE_FENCED"));
    expect(await engine.get(space, KEY)).toBeUndefined();
  });

  test("a holder whose lease has ended writes nothing, even while nobody has taken it", async () => {
    const { engine, space } = its();
    const taken = await engine.acquire(space, "hub-1", 1);
    const fence = { holder: "hub-1", epoch: taken?.epoch ?? 0 };
    const changes = [{ key: KEY, value: bytesOf("late") }];
    await waitFor(
      async () => {
        try {
          await engine.write(space, fence, { changes: [] });
          return false;
        } catch {
          return true;
        }
      },
      { timeoutMs: WAIT_MS, what: "the end of the lease" },
    );
    await expect(engine.write(space, fence, { changes })).rejects.toThrow(refusal("ENGINE_FENCED"));
    expect(await engine.get(space, KEY)).toBeUndefined();
  });

  test("a former holder writes nothing once another has taken over", async () => {
    const { engine, space } = its();
    const first = await lease(its());
    await engine.release(space, first);
    const second = await lease(its(), "hub-2");
    const changes = [{ key: KEY, value: bytesOf("mine") }];
    await engine.write(space, second, { changes });
    const stale = [{ key: KEY, value: bytesOf("stale") }];
    await expect(engine.write(space, first, { changes: stale })).rejects.toThrow(
      refusal("ENGINE_FENCED"),
    );
    expect(await engine.get(space, KEY)).toEqual(bytesOf("mine"));
  });
}

function expectationTests(its: () => Subject): void {
  test.each([
    ["a value that is another", bytesOf("other"), bytesOf("here")],
    ["a value where there is none", bytesOf("other"), undefined],
    ["none where there is a value", undefined, bytesOf("here")],
    ["a shorter value", bytesOf("her"), bytesOf("here")],
  ])("nothing is written when it expects %s", async (_, expected, found) => {
    const { engine, space } = its();
    const fence = await lease(its());
    if (found !== undefined) {
      await engine.write(space, fence, { changes: [{ key: KEY, value: found }] });
    }
    const other = Uint8Array.of(9);
    const write = {
      changes: [{ key: other, value: bytesOf("x") }],
      expect: [{ key: KEY, value: expected }],
    };
    await expect(engine.write(space, fence, write)).rejects.toThrow(refusal("ENGINE_FENCED"));
    expect(await engine.get(space, other)).toBeUndefined();
  });

  test.each([
    ["a value", bytesOf("here"), bytesOf("here")],
    ["an empty value", new Uint8Array(0), new Uint8Array(0)],
    ["none", undefined, undefined],
  ])("it is written when %s is as expected", async (_, expected, found) => {
    const { engine, space } = its();
    const fence = await lease(its());
    if (found !== undefined) {
      await engine.write(space, fence, { changes: [{ key: KEY, value: found }] });
    }
    const write = {
      changes: [{ key: KEY, value: bytesOf("next") }],
      expect: [{ key: KEY, value: expected }],
    };
    await engine.write(space, fence, write);
    expect(await engine.get(space, KEY)).toEqual(bytesOf("next"));
  });

  test("of two that expect the same, one writes", async () => {
    const { engine, space } = its();
    const fence = await lease(its());
    const outcomes = await Promise.allSettled(
      upTo(6).map(async (i) =>
        engine.write(space, fence, {
          changes: [{ key: KEY, value: bytesOf(String(i)) }],
          expect: [{ key: KEY, value: undefined }],
        }),
      ),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  test("changes are made in their order", async () => {
    const { engine, space } = its();
    const fence = await lease(its());
    await engine.write(space, fence, {
      changes: [{ key: KEY, value: bytesOf("1") }, { key: KEY }, { key: KEY, value: bytesOf("2") }],
    });
    expect(await engine.get(space, KEY)).toEqual(bytesOf("2"));
  });
}

function scanTests(its: () => Subject): void {
  const keys = [[0], [0, 0], [1], [1, 255], [127], [128], [195, 169], [255], [255, 0]].map((key) =>
    Uint8Array.from(key),
  );
  const hexes = keys.map((key) => Buffer.from(key).toString("hex"));

  test.each([
    ["all", ALL, hexes],
    ["from the first key on", { ...ALL, gte: Uint8Array.of(1) }, hexes.slice(2)],
    ["up to a key, without it", { ...ALL, lt: Uint8Array.of(128) }, hexes.slice(0, 5)],
    ["backwards", { ...ALL, reverse: true }, hexes.toReversed()],
    ["the first three", { ...ALL, limit: 3 }, hexes.slice(0, 3)],
    ["the last two", { ...ALL, limit: 2, reverse: true }, hexes.slice(-2).toReversed()],
    ["none", { ...ALL, limit: 0 }, []],
    ["nothing in an empty range", { gte: Uint8Array.of(5), lt: Uint8Array.of(5) }, []],
  ])("a scan goes in the order of bytes: %s", async (_, range, expected) => {
    const { engine, space } = its();
    const fence = await lease(its());
    const changes = keys.toReversed().map((key) => ({ key, value: bytesOf("v") }));
    await engine.write(space, fence, { changes });
    expect((await pairs(engine, space, range)).map(([key]) => key)).toEqual(expected);
  });

  test.each([false, true])(
    "a scan of many entries is complete (backwards: %s)",
    async (reverse) => {
      const { engine, space } = its();
      const fence = await lease(its());
      const many = upTo(300).map((i) => Uint8Array.of(i >> 8, i & 255));
      await engine.write(space, fence, {
        changes: many.map((key) => ({ key, value: bytesOf("v") })),
      });
      const found = (await pairs(engine, space, { ...ALL, reverse })).map(([key]) => key);
      const sorted = many.map((key) => Buffer.from(key).toString("hex"));
      expect(found).toEqual(reverse ? sorted.toReversed() : sorted);
    },
  );

  test("what is written is there after opening again", async () => {
    const subject = its();
    const { engine, space } = subject;
    const fence = await lease(its());
    await engine.write(space, fence, { changes: [{ key: KEY, value: bytesOf("kept") }] });
    expect(await (await subject.again()).get(space, KEY)).toEqual(bytesOf("kept"));
  });

  test("spaces have maps of their own", async () => {
    const { engine, space } = its();
    const fence = await lease(its());
    await engine.write(space, fence, { changes: [{ key: KEY, value: bytesOf("mine") }] });
    const other = freshSpace();
    expect(await engine.get(other, KEY)).toBeUndefined();
    expect(await pairs(engine, other, ALL)).toEqual([]);
  });
}
