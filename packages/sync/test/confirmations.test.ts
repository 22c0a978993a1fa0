// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what is called confirmed is at a hub or sealed, whatever hubs say in whatever order.
 * Method: random words of hubs, true and false ones, against the chains that are here; waits on a virtual clock.
 */
import { LIMITS } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import { Confirmations } from "@ctxmesh/sync";
import type { Chain, ChainHead } from "@ctxmesh/sync";
import { createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NOW_MS, head } from "./kit.ts";

/** Chains by number with their lengths, which may grow, and limits. */
interface World {
  readonly clock: VirtualClock;
  readonly lengths: Map<number, number>;
  readonly limits: Map<number, number>;
  /** Positions below these are not here any more. */
  readonly pruned: Map<number, number>;
  readonly confirmations: Confirmations;
  /** The next batch of a chain comes. */
  grow(n: number, atHub?: boolean): void;
}

const numberOf = ({ replica }: Pick<Chain, "replica">): number => Number.parseInt(replica, 16);

function worldOf(chains: Readonly<Record<number, number>>): World {
  const clock = createVirtualClock(NOW_MS);
  const lengths = new Map(Object.entries(chains).map(([n, seq]) => [Number(n), seq]));
  const limits = new Map<number, number>();
  const pruned = new Map<number, number>();
  const headOf = (chain: Chain): ChainHead | undefined => {
    const seq = lengths.get(numberOf(chain)) ?? 0;
    return seq === 0 ? undefined : head(numberOf(chain), seq);
  };
  const confirmations = new Confirmations({
    clock,
    headOf,
    replica: {
      limitOf: (replica) => limits.get(numberOf({ replica })) ?? Number.POSITIVE_INFINITY,
      hashAt: async (replica, _, seq) => {
        const n = numberOf({ replica });
        await Promise.resolve();
        if (seq > (lengths.get(n) ?? 0) || seq < (pruned.get(n) ?? 1)) return undefined;
        return (head(n, seq).hash + "0".repeat(32)) as HeaderHash;
      },
    },
  });
  const grow: World["grow"] = (n, atHub = false) => {
    const seq = (lengths.get(n) ?? 0) + 1;
    lengths.set(n, seq);
    confirmations.applied(head(n, seq), atHub);
  };
  return { clock, lengths, limits, pruned, confirmations, grow };
}

const at = (n: number, seq: number): ChainHead => head(n, seq);

describe("a confirmation", () => {
  test("is the furthest true word about what is here, never less than before, and never past a limit", async () => {
    const word = fc.record({
      kind: fc.constant("word" as const),
      level: fc.constantFrom("hub" as const, "sealed" as const),
      n: fc.integer({ min: 1, max: 3 }),
      seq: fc.integer({ min: 1, max: 12 }),
      branch: fc.constantFrom(1, 1, 1, 2),
    });
    const growth = fc.record({
      kind: fc.constant("grow" as const),
      n: fc.integer({ min: 1, max: 3 }),
      atHub: fc.boolean(),
    });
    const limits = fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 1 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(word, growth), { maxLength: 60 }),
        limits,
        async (events, cut) => {
          const { confirmations, lengths, limits: cuts, grow } = worldOf({ 1: 4, 2: 1 });
          const told = { hub: [0, 0, 0, 0], sealed: [0, 0, 0, 0] };
          const before = [0, 0, 0, 0];
          for (const event of events) {
            if (event.kind === "grow") {
              grow(event.n, event.atHub);
              if (event.atHub) raise(told.hub, event.n, lengths.get(event.n) ?? 0);
            } else {
              const { level, n, seq, branch } = event;
              await confirmations.claim(level, [head(n, seq, branch)]);
              if (branch === 1 && seq <= (lengths.get(n) ?? 0)) raise(told[level], n, seq);
            }
            for (const n of [1, 2, 3]) {
              const { hub, sealed } = confirmations.confirmed(at(n, 1));
              expect(hub).toBeLessThanOrEqual(lengths.get(n) ?? 0);
              expect(hub).toBeGreaterThanOrEqual(Math.max(before[n] ?? 0, told.hub[n] ?? 0));
              expect(sealed).toBeGreaterThanOrEqual(told.sealed[n] ?? 0);
              expect(sealed).toBeLessThanOrEqual(hub);
              before[n] = hub;
            }
          }
          for (const n of cut) {
            cuts.set(n, 2);
            expect(confirmations.confirmed(at(n, 1)).hub).toBeLessThanOrEqual(2);
          }
        },
      ),
    );
  });

  test("is not lowered by a look-up that takes longer than the next word", async () => {
    const { confirmations } = worldOf({ 1: 9 });
    const slow = confirmations.claim("sealed", [head(1, 5)]);
    await confirmations.claim("sealed", [head(1, 9)]);
    await slow;
    expect(confirmations.confirmed(at(1, 1))).toEqual({ hub: 9, sealed: 9 });
  });

  test("of one branch of a forked chain is none of the other one", async () => {
    const { confirmations } = worldOf({ 1: 3 });
    await confirmations.claim("hub", [head(1, 3, 2), head(1, 2, 2)]);
    await confirmations.claim("sealed", [head(1, 2, 2)]);
    expect(confirmations.confirmed(at(1, 1))).toEqual({ hub: 0, sealed: 0 });
  });

  test("comes true when the chain has come as far as the word about it", async () => {
    const { confirmations, grow } = worldOf({});
    await confirmations.claim("sealed", [head(1, 2)]);
    grow(1);
    expect(confirmations.confirmed(at(1, 1))).toEqual({ hub: 0, sealed: 0 });
    grow(1);
    expect(confirmations.confirmed(at(1, 1))).toEqual({ hub: 2, sealed: 2 });
  });

  test("comes true when a rebuild takes the chain past it, and not for another branch", async () => {
    const { confirmations, lengths } = worldOf({});
    await confirmations.claim("hub", [head(1, 2), head(2, 2, 2)]);
    lengths.set(1, 5).set(2, 5);
    confirmations.recordsChanged();
    await Promise.resolve();
    await Promise.resolve();
    expect(confirmations.confirmed(at(1, 1)).hub).toBe(2);
    expect(confirmations.confirmed(at(2, 1)).hub).toBe(0);
  });

  test("of what was pruned here is believed: only what is sealed is pruned", async () => {
    const { confirmations, pruned } = worldOf({ 1: 9 });
    pruned.set(1, 6);
    await confirmations.claim("hub", [head(1, 4, 2)]);
    expect(confirmations.confirmed(at(1, 1)).hub).toBe(4);
  });

  test("follows from a batch that a hub sends though it is here, unless that is only held", () => {
    const { confirmations } = worldOf({ 1: 2 });
    confirmations.echoed(at(1, 2));
    confirmations.echoed(at(2, 7));
    expect([confirmations.confirmed(at(1, 1)).hub, confirmations.confirmed(at(2, 1)).hub]).toEqual([
      2, 0,
    ]);
  });

  test("is announced once, and the sealed frontier has every chain of which something is sealed", async () => {
    const { confirmations, limits } = worldOf({ 1: 4, 2: 3, 3: 3 });
    const heard: number[] = [];
    const stop = confirmations.onConfirmed((chain) => heard.push(numberOf(chain)));
    await confirmations.claim("sealed", [head(1, 4), head(2, 3)]);
    await confirmations.claim("sealed", [head(1, 3), head(2, 3)]);
    await confirmations.claim("hub", [head(3, 3), head(1, 4)]);
    stop();
    await confirmations.claim("sealed", [head(3, 3)]);
    expect(heard).toEqual([1, 2, 3]);
    limits.set(2, 1);
    limits.set(3, 0);
    expect(confirmations.sealedFrontier().map((chain) => [numberOf(chain), chain.seq])).toEqual([
      [1, 4],
      [2, 1],
    ]);
  });
});

describe("a wait", () => {
  test("ends when the level is reached, by that position or one after it", async () => {
    const { confirmations } = worldOf({ 1: 5 });
    const hub = confirmations.reached(at(1, 3), "hub", 1_000);
    const sealed = confirmations.reached(at(1, 5), "sealed", 1_000);
    await confirmations.claim("hub", [head(1, 2)]);
    await confirmations.claim("hub", [head(1, 4)]);
    expect(await hub).toBe("reached");
    await confirmations.claim("sealed", [head(1, 5)]);
    expect(await sealed).toBe("reached");
    expect(await confirmations.reached(at(1, 1), "sealed", 1_000)).toBe("reached");
  });

  test("ends when its time is over, also by a clock that was set back", async () => {
    const { confirmations, clock } = worldOf({ 1: 1 });
    const wait = confirmations.reached(at(1, 1), "hub", 1_000);
    let ended = false;
    void wait.then(() => (ended = true));
    clock.advance(999);
    confirmations.tick();
    await Promise.resolve();
    expect(ended).toBe(false);
    clock.advance(-3_600_000);
    confirmations.tick();
    clock.advance(1_000);
    confirmations.tick();
    expect(await wait).toBe("late");
  });

  test("ends at once when the batch does not count any more", async () => {
    const { confirmations, limits } = worldOf({ 1: 3 });
    const kept = confirmations.reached(at(1, 2), "hub", 1_000);
    const cut = confirmations.reached(at(1, 3), "hub", 1_000);
    limits.set(1, 2);
    confirmations.recordsChanged();
    expect(await cut).toBe("cut");
    expect(await confirmations.reached(at(1, 3), "sealed", 1_000)).toBe("cut");
    await confirmations.claim("hub", [head(1, 3)]);
    expect(await kept).toBe("reached");
  });

  test("ends when the node stops, and so does one that comes later", async () => {
    const { confirmations } = worldOf({ 1: 1 });
    const wait = confirmations.reached(at(1, 1), "hub", 1_000);
    confirmations.endWaits();
    expect(await wait).toBe("ended");
    expect(await confirmations.reached(at(1, 1), "hub", 1_000)).toBe("ended");
  });

  test("takes room, which comes back when it ends", async () => {
    const { confirmations, clock } = worldOf({ 1: 1 });
    const waits = Array.from({ length: LIMITS.ackWaits }, () =>
      confirmations.reached(at(1, 1), "hub", 1_000),
    );
    expect(() => {
      confirmations.assertRoom();
    }).toThrow(/writes wait for a hub already/u);
    clock.advance(1_000);
    confirmations.tick();
    expect(new Set(await Promise.all(waits))).toEqual(new Set(["late"]));
    confirmations.assertRoom();
  });
});

function raise(told: number[], n: number, seq: number): void {
  told[n] = Math.max(told[n] ?? 0, seq);
}
