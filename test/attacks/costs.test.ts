// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what costs a replica time is charged to whoever sent it, before or as it is done, and leaves others their turns.
 * Method: batches that are small to send and dear to open, against a real replica. What is counted is charges, turns and
 * order; never time.
 */
import { setImmediate } from "node:timers/promises";
import { LIMITS } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import type { BatchSource, Replica } from "@ctxmesh/replica";
import { beforeAll, describe, expect, test } from "vitest";
import { between, str, update } from "../../packages/rich/test/support.ts";
import { by, verdictOf } from "./support/attack.ts";
import { DOC, INCARNATION, clientOf, fact, factsOf, hlcAt, richOf } from "./support/forge.ts";
import type { Forged, SectionForgery } from "./support/forge.ts";
import { HONEST_CLOCKS, mallory, openReplica, prepareGround, us } from "./support/ground.ts";
import type { Ground } from "./support/ground.ts";

let ground: Ground;
beforeAll(async () => {
  ground = await prepareGround();
});

const FACTS = 9_000;

/** Thousands of the same record, which unpack to most of a megabyte and compress to nothing. */
const dear = (batch = 0): SectionForgery =>
  factsOf(
    Array.from({ length: FACTS }, (_, i) =>
      fact({
        seq: batch * FACTS + i + 1,
        hlc: (hlcAt(100 * batch) + i + 1) as ReturnType<typeof hlcAt>,
        tags: Array<string>(LIMITS.tagsPerFact).fill("abcd"),
      }),
    ),
  );

/** A chain of such batches. */
function dearChain(length: number): readonly Forged[] {
  const chain: Forged[] = [];
  for (let n = 0; n < length; n++) {
    const prev: HeaderHash | null = chain.at(-1)?.hash ?? null;
    chain.push(by(ground, { seq: n + 1, prev, hlc: hlcAt(100 * n + 50), sections: [dear(n)] }));
  }
  return chain;
}

/** Somebody who hands batches in, and what it was charged. */
function source(): BatchSource & { bytes: number; items: number; charges: number } {
  return {
    bytes: 0,
    items: 0,
    charges: 0,
    charge({ bytes, items }) {
      this.bytes += bytes;
      this.items += items;
      this.charges++;
    },
  };
}

describe("a batch of 500 bytes that unpacks to most of a megabyte", () => {
  test("is charged as that before anything else happens, and for its facts once they are counted", async () => {
    const replica = await openReplica(ground.space, us);
    const [batch] = dearChain(1);
    expect(batch?.bytes.length).toBeLessThan(1_000);
    const sender = source();
    const received = replica.receive(batch?.bytes ?? new Uint8Array(), sender);
    expect(sender.bytes).toBeGreaterThan(800_000);
    expect(sender.items).toBe(0);
    expect(await received).toEqual({ kind: "accepted" });
    expect(sender).toMatchObject({ items: FACTS * (1 + LIMITS.tagsPerFact / 8), charges: 2 });
  });

  test("keeps local writes waiting for one of its kind at a time, and the event loop goes round", async () => {
    const replica = await openReplica(ground.space, us, { rest: async () => setImmediate() });
    let turns = 0;
    const count = async (): Promise<void> => {
      for (; order.length < 9; turns++) await setImmediate();
    };
    const order: string[] = [];
    const batches = dearChain(8).map(async ({ bytes }) => {
      await replica.receive(bytes);
      order.push("batch");
    });
    const write = replica.put(DOC, [{ key: "own", value: 1 }]).then(() => order.push("write"));
    await Promise.all([...batches, write, count()]);
    expect(order.indexOf("write")).toBeLessThanOrEqual(1);
    expect(turns).toBeGreaterThanOrEqual(8);
  });
});

describe("a dear batch that waits for a rich operation which nobody has", () => {
  const ME = clientOf(mallory.key, INCARNATION);
  /** Names no batch, but text that the honest device types later. */
  const waiting = (): Forged => {
    const text = between(
      [ground.honestClient, HONEST_CLOCKS],
      [ground.honestClient, HONEST_CLOCKS + 1],
      str("x"),
    );
    return by(ground, {
      hlc: hlcAt(50),
      sections: [dear(), richOf(update(ME, 0, [text]), 1)],
    });
  };

  const hold = async (): Promise<{
    readonly replica: Replica;
    readonly sender: ReturnType<typeof source>;
  }> => {
    const replica = await openReplica(ground.space, us);
    for (const bytes of ground.base) await replica.receive(bytes);
    const sender = source();
    expect(verdictOf(await replica.receive(waiting().bytes, sender))).toBe("held missing");
    return { replica, sender };
  };

  test("is opened once, and not again each second", async () => {
    const { replica, sender } = await hold();
    const { bytes, charges } = sender;
    for (let second = 1; second <= 10; second++) {
      replica.retryTimed();
      await replica.put(DOC, [{ key: "own", value: second }]);
    }
    expect(sender).toMatchObject({ bytes, charges, items: 0 });
    expect(replica.counters()).toMatchObject({ held: 1 });
  });

  test("is charged for the next time, too, since it has to be opened again", async () => {
    const { sender } = await hold();
    expect(sender.charges).toBe(2);
    expect(sender.bytes).toBeGreaterThan(2 * 800_000);
  });

  test("is applied once that has come", async () => {
    const { replica, sender } = await hold();
    for (const bytes of ground.next) await replica.receive(bytes);
    replica.retryTimed();
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    expect(replica.counters()).toMatchObject({ held: 0, accepted: 7 });
    expect(sender.items).toBeGreaterThanOrEqual(FACTS);
  });

  test("is not looked into for its facts before that is known", async () => {
    const replica = await openReplica(ground.space, us);
    for (const bytes of ground.base) await replica.receive(bytes);
    const rich = richOf(update(ME, 0, [between([1, 0], [1, 1], str("x"))]), 1);
    const bad = by(ground, { sections: [{ payload: Uint8Array.of(9) }, rich] });
    expect(verdictOf(await replica.receive(bad.bytes))).toBe("held missing");
  });
});
