// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever an engine lets be written at a time, and wherever that stops, a log in it shows no checkpoint without the seal that it is about.
 * Method: a log on the model of an engine, with changes as large as those of a big seal; each call in turn is the last one.
 */
import { openLog, snapshotEntry, verifyCheckpoint } from "@ctxmesh/ledger";
import type { Log } from "@ctxmesh/ledger";
import { LIMITS, MeshError, parseSpaceId } from "@ctxmesh/model";
import type { Engine, StoreChange } from "@ctxmesh/model";
import { systemClock } from "@ctxmesh/service";
import { MemoryEngineData, createMemoryEngine } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { EngineStore } from "../src/engine-store.ts";
import { sealKeys } from "./fixture.ts";

const space = parseSpaceId("5a".repeat(32));
const MARK = Uint8Array.of(0x26);
const { origin, signers } = sealKeys.log;
const keys = { origin, ed25519: signers.ed25519.key, mldsa44: signers.mldsa44.key };

/** An engine whose writes end after some. */
class Ending {
  readonly calls: (readonly StoreChange[])[] = [];
  left = Number.POSITIVE_INFINITY;
  readonly engine: Engine;

  constructor(engine: Engine) {
    this.engine = new Proxy(engine, {
      get: (target, member) => {
        const value: unknown = Reflect.get(target, member, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          if (member === "write") {
            if (this.left-- <= 0) return Promise.reject(new MeshError("ENGINE_UNAVAILABLE", "cut"));
            this.calls.push((args[2] as { readonly changes: readonly StoreChange[] }).changes);
          }
          return Reflect.apply(value, target, args) as unknown;
        };
      },
    });
  }
}

/** What is left in the second call by {@link largeSeal}, in bytes: room for the mark, an entry and a node, and for no checkpoint. */
const ROOM = 120;
/** Parts of a large bundle that would fill two calls but for {@link ROOM}, and the mark of the newest seal behind them. */
const largeSeal = (sequence: number): readonly StoreChange[] => [
  ...Array.from({ length: 16 }, (_, i) => ({
    key: Uint8Array.of(0x21, sequence, i),
    value: new Uint8Array(LIMITS.bundlePartBytes - (i === 15 ? ROOM : 0)),
  })),
  { key: MARK, value: Uint8Array.of(sequence) },
];

async function begin(): Promise<{
  ending: Ending;
  open: () => Promise<Log>;
  store: () => Promise<EngineStore>;
}> {
  const ending = new Ending(createMemoryEngine(new MemoryEngineData(), systemClock));
  const { engine } = ending;
  const store = async (): Promise<EngineStore> => {
    const lease = await engine.acquire(space, "hub", 60_000);
    const value = await engine.get(space, MARK);
    return new EngineStore(
      engine,
      space,
      { holder: "hub", epoch: lease?.epoch ?? 0 },
      { key: MARK, value },
    );
  };
  const open = async (): Promise<Log> =>
    openLog({
      store: await store(),
      prefix: Uint8Array.of(0x20),
      clock: systemClock,
      ...sealKeys.log,
    });
  return { ending, open, store };
}

test("a seal that is cut after any call leaves no checkpoint behind, and the next one forks nothing", async () => {
  for (let cut = 0; cut < 3; cut++) {
    const { ending, open, store } = await begin();
    const log = await open();
    const first = await log.append(snapshotEntry(Uint8Array.of(1)), () => largeSeal(1));
    expect(ending.calls.length).toBe(3);
    ending.left = cut;
    const lost = log.append(snapshotEntry(Uint8Array.of(2)), () => largeSeal(2));
    await expect(lost).rejects.toMatchObject({ code: "ENGINE_UNAVAILABLE" });
    ending.left = Number.POSITIVE_INFINITY;
    expect(await (await store()).get(MARK)).toEqual(Uint8Array.of(1));
    const again = await open();
    expect([again.size, again.checkpoint]).toEqual([1, first.checkpoint]);
    await again.append(snapshotEntry(Uint8Array.of(3)), () => largeSeal(2));
    const page = await again.pages.page("checkpoint");
    const { head } = verifyCheckpoint(new TextDecoder().decode(page?.bytes), keys);
    expect(head.size).toBe(2);
  }
});

test("the log's part of a large seal, and the mark, are one call; none has more than an engine takes", async () => {
  const { ending, open } = await begin();
  await (await open()).append(snapshotEntry(Uint8Array.of(1)), () => largeSeal(1));
  const last = ending.calls.at(-1) ?? [];
  expect(last.slice(-4).map(({ key }) => [...key.subarray(0, 2)])).toEqual([
    [0x26],
    [0x20, 0x65],
    [0x20, 0x6e],
    [0x20, 0x63],
  ]);
  for (const call of ending.calls) {
    const bytes = call.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    expect(bytes).toBeLessThanOrEqual(LIMITS.engineBytes);
    expect(call.length).toBeLessThanOrEqual(LIMITS.engineEntries);
  }
  const parts = ending.calls
    .flat()
    .slice(0, 16)
    .map(({ key }) => key[2]);
  expect(parts).toEqual(Array.from({ length: 16 }, (_, i) => i));
});
