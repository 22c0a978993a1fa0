// SPDX-License-Identifier: Apache-2.0
import { HOLDS, LIMITS, parseDocumentName } from "@ctxmesh/model";
import type { DocumentName, Hlc, Hold, ReceiveOutcome } from "@ctxmesh/model";
import { issueGrant } from "@ctxmesh/membership";
import { createMemoryStore, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import {
  DAY_MS,
  DOC,
  START_MS,
  applied,
  creator,
  deviceOf,
  forge,
  forgeChain,
  hlcAt,
  incarnationOf,
  open,
  space,
  spaceWith,
  stateOf,
  unaccounted,
  unknownHash,
  us,
  writer,
} from "./mesh.ts";
import type { Forged } from "./mesh.ts";

const [first, second, third, fourth] = forgeChain(4);
const none = new Uint8Array();
const accepted = { kind: "accepted" };
const held = (reason: Hold): unknown => ({ kind: "held", reason });

describe("a batch is held, and nothing changes or is announced", () => {
  const cases: Readonly<Record<Hold, readonly (readonly [string, Uint8Array])[]>> = {
    missing: [
      ["its predecessor is missing", second?.bytes ?? none],
      ["a dependency is missing", forge({ deps: [unknownHash()] }).bytes],
    ],
    "clock-ahead": [
      ["its clock is over a minute ahead", forge({ hlc: hlcAt(LIMITS.clockAheadMs + 1) }).bytes],
    ],
    "grant-time": [
      ["it is from after the grant", forge({ hlc: hlcAt(30 * DAY_MS) }).bytes],
      ["it is from before the grant", forge({ hlc: (hlcAt(-DAY_MS) - 1) as Hlc }).bytes],
    ],
    epoch: [["its writer has seen a policy that we have not", forge({ epoch: 1 }).bytes]],
    // Takes 16 MiB of content first: see below.
    quota: [],
  };

  test.each(
    HOLDS.flatMap((reason) => cases[reason].map(([what, bytes]) => ({ reason, what, bytes }))),
  )("$reason: $what", async ({ reason, bytes }) => {
    const replica = await open();
    const announced = applied(replica);
    const before = stateOf(replica);
    expect(await replica.receive(bytes)).toEqual(held(reason));
    expect(await replica.receive(bytes)).toEqual({ kind: "duplicate" });
    expect(stateOf(replica)).toEqual({ ...(before as object), held: 1 });
    expect(announced).toEqual([]);
    expect(replica.counters()).toMatchObject({ received: 2, duplicate: 1, accepted: 0 });
    expect(unaccounted(replica.counters())).toBe(0);
  });

  test("a batch exactly a minute ahead, or at either end of its grant, is not held", async () => {
    const replica = await open();
    const early = forge({ hlc: hlcAt(-DAY_MS), incarnation: incarnationOf(1) });
    const ahead = forge({ hlc: hlcAt(LIMITS.clockAheadMs), incarnation: incarnationOf(2) });
    for (const { bytes } of [early, ahead]) expect(await replica.receive(bytes)).toEqual(accepted);
    const late = await open({ clock: createVirtualClock(START_MS + 60 * DAY_MS) });
    const last = forge({ hlc: hlcAt(29 * DAY_MS) });
    expect(await late.receive(last.bytes)).toEqual(accepted);
  });
});

describe("a held batch is applied", () => {
  test("with all that wait behind it, once what is missing arrives", async () => {
    const replica = await open();
    const announced = applied(replica);
    const chain = [first, second, third, fourth].map((batch) => batch?.bytes ?? none);
    for (const bytes of chain.slice(1).toReversed()) {
      expect(await replica.receive(bytes)).toEqual(held("missing"));
    }
    expect(await replica.receive(chain[0] ?? none)).toEqual(accepted);
    await replica.close();
    expect(announced).toEqual(chain);
    expect(replica.counters()).toMatchObject({ received: 4, accepted: 4, held: 0 });
  });

  test("only after the last of its dependencies", async () => {
    const replica = await open();
    const announced = applied(replica);
    const others = [1, 2, 3].map((n) => forge({ incarnation: incarnationOf(n) }));
    const deps = others.map(({ hash }) => hash).toSorted();
    const last = forge({ deps, device: us });
    expect(await replica.receive(last.bytes)).toEqual(held("missing"));
    for (const { bytes } of others) {
      expect(announced).not.toContainEqual(last.bytes);
      expect(await replica.receive(bytes)).toEqual(accepted);
    }
    await replica.close();
    expect(announced.at(-1)).toEqual(last.bytes);
  });

  test("when time has come and retryTimed is called, not before", async () => {
    const clock = createVirtualClock(START_MS);
    const replica = await open({ clock });
    const announced = applied(replica);
    const ahead = forge({ hlc: hlcAt(LIMITS.clockAheadMs + 500) }).bytes;
    expect(await replica.receive(ahead)).toEqual(held("clock-ahead"));
    replica.retryTimed();
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    expect(replica.counters()).toMatchObject({ received: 1, held: 1 });
    clock.advance(500);
    replica.retryTimed();
    await replica.close();
    expect(announced.slice(1)).toEqual([ahead]);
    expect(replica.counters()).toMatchObject({ received: 1, accepted: 1, held: 0 });
  });

  test("after a reopen with a renewed grant that covers its time", async () => {
    const store = createMemoryStore();
    const late = forge({ hlc: hlcAt(40 * DAY_MS) }).bytes;
    const clock = createVirtualClock(START_MS + 40 * DAY_MS);
    const replica = await open({ store, clock });
    expect(await replica.receive(late)).toEqual(held("grant-time"));
    await replica.close();
    const renewed = issueGrant(space, creator.signer, {
      device: writer.key,
      service: "agent",
      role: "append",
      notBefore: START_MS - DAY_MS,
      notAfter: START_MS + 60 * DAY_MS,
    });
    const again = await open({ store: await store.reopen(), clock, space: renewed });
    expect(await again.receive(late)).toEqual(accepted);
  });

  test("or refused, when it turns out to be bad, and counted so", async () => {
    const replica = await open();
    const bad = forge({ seq: 2, prev: first?.hash ?? null, payload: Uint8Array.of(9) }).bytes;
    expect(await replica.receive(bad)).toEqual(held("missing"));
    expect(await replica.receive(first?.bytes ?? none)).toEqual(accepted);
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    expect(replica.counters()).toMatchObject({
      received: 2,
      accepted: 1,
      held: 0,
      refused: { facts: 1 },
    });
    expect(await replica.receive(second?.bytes ?? none)).toEqual(accepted);
  });
});

describe("the hold can't be used against others", () => {
  test("an unsigned batch is refused, not held", async () => {
    const replica = await open();
    const unsigned = forge({ seq: 2, prev: first?.hash ?? null, signer: us.signer }).bytes;
    expect(await replica.receive(unsigned)).toMatchObject({ kind: "refused", reason: "signature" });
  });

  test("a true header with another body is refused, and so does not keep the true batch out", async () => {
    const replica = await open();
    const spoiled = forge({ seq: 2, prev: first?.hash ?? null, sentBody: Uint8Array.of(0) });
    expect(spoiled.hash).toBe(second?.hash);
    expect(await replica.receive(spoiled.bytes)).toMatchObject({ kind: "refused", reason: "body" });
    expect(await replica.receive(second?.bytes ?? none)).toEqual(held("missing"));
    expect(await replica.receive(first?.bytes ?? none)).toEqual(accepted);
    await replica.close();
    expect(replica.get(DOC, "forged")?.value).toBe(2);
  });
});

describe("the hold is bounded", () => {
  test("by the number of a device's batches; past it they are dropped and counted, and come back later", async () => {
    const replica = await open();
    const waiting = Array.from({ length: LIMITS.heldBatchesPerDevice + 2 }, (_, i) =>
      forge({ seq: 2, prev: unknownHash(i), incarnation: incarnationOf(i + 100) }),
    );
    const outcomes = await Promise.all(waiting.map(({ bytes }) => replica.receive(bytes)));
    expect(outcomes.filter(({ kind }) => kind === "held")).toHaveLength(
      LIMITS.heldBatchesPerDevice,
    );
    expect(outcomes.slice(-2)).toEqual([{ kind: "dropped" }, { kind: "dropped" }]);
    expect(replica.counters()).toMatchObject({ held: LIMITS.heldBatchesPerDevice, dropped: 2 });
    expect(unaccounted(replica.counters())).toBe(0);
    // In causal order everything still goes through.
    for (const batch of [first, second, third]) {
      expect(await replica.receive(batch?.bytes ?? none)).toEqual(accepted);
    }
  });

  test("by their bytes, and room comes back when batches leave", async () => {
    const replica = await open();
    const random = createSeededRandom(1);
    const size = 250_000;
    const [root, other] = [forge(), forge({ incarnation: incarnationOf(10) })];
    const big = (i: number, dep: typeof root): Uint8Array =>
      forge({
        incarnation: incarnationOf(i + 100),
        deps: [dep.hash],
        body: random.bytes(size),
      }).bytes;
    const fits = Math.floor(LIMITS.heldBytesPerDevice / big(0, root).length);
    for (let i = 1; i <= fits; i++) {
      expect(await replica.receive(big(i, i === 1 ? other : root))).toEqual(held("missing"));
    }
    expect(await replica.receive(big(fits + 1, root))).toEqual({ kind: "dropped" });
    // One is let go (its body is noise, so it is refused), which makes room for one.
    expect(await replica.receive(other.bytes)).toEqual(accepted);
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    expect(await replica.receive(big(fits + 2, root))).toEqual(held("missing"));
    expect(await replica.receive(big(fits + 3, root))).toEqual({ kind: "dropped" });
    expect(replica.counters()).toMatchObject({ held: fits, dropped: 2, refused: { body: 1 } });
    expect(unaccounted(replica.counters())).toBe(0);
  });
});

test("when the whole hold is full, whoever has most of it makes room for the others", async () => {
  const flooders = Array.from({ length: 9 }, (_, i) => deviceOf(20 + i));
  const crowd = spaceWith([us, writer, ...flooders].map((device) => [device, "append"] as const));
  const replica = await open({ space: crowd });
  const noise = createSeededRandom(2);
  const perDevice = Math.floor(LIMITS.heldBytesPerDevice / 250_400);
  for (const device of flooders) {
    for (let i = 0; i < perDevice; i++) {
      const body = noise.bytes(250_000);
      const batch = forge({ device, incarnation: incarnationOf(i), deps: [unknownHash()], body });
      const outcome = await replica.receive(batch.bytes);
      expect(["held", "dropped"]).toContain(outcome.kind);
    }
  }
  const others = [2, 3].map((n) =>
    forge({ incarnation: incarnationOf(n), deps: [unknownHash(n)], body: noise.bytes(250_000) }),
  );
  for (const { bytes } of others) expect(await replica.receive(bytes)).toEqual(held("missing"));
  const counters = replica.counters();
  expect(counters.dropped).toBeGreaterThan(0);
  expect(counters.held).toBe(9 * perDevice + 2 - counters.dropped);
  expect(unaccounted(counters)).toBe(0);
  for (const { bytes } of others) {
    expect(await replica.receive(bytes)).toEqual({ kind: "duplicate" });
  }
});

test("a batch that would take a document past LIMITS.documentHoldBytes is held, and others are not", async () => {
  const replica = await open();
  const value = "x".repeat(60_000);
  const chain: Forged[] = [];
  const append = async (doc: DocumentName): Promise<ReceiveOutcome> => {
    const seq = chain.length + 1;
    const records = Array.from({ length: 16 }, (_, i) => ({
      key: `k${String(16 * seq + i)}`,
      seq: 16 * seq + i,
      hlc: hlcAt(100 * seq + i),
      valueJson: JSON.stringify(value),
    }));
    const batch = forge({
      seq,
      prev: chain.at(-1)?.hash ?? null,
      hlc: hlcAt(100 * seq + 99),
      records,
      section: { doc },
    });
    const outcome = await replica.receive(batch.bytes);
    if (outcome.kind === "accepted") chain.push(batch);
    return outcome;
  };
  let outcome = await append(DOC);
  while (outcome.kind === "accepted" && chain.length < 40) outcome = await append(DOC);
  expect(outcome).toEqual(held("quota"));
  expect(chain.length * 16 * 60_000).toBeGreaterThan(LIMITS.documentHoldBytes - 1_000_000);
  expect(await append(parseDocumentName("other"))).toEqual(accepted);
});

test("received batches past LIMITS.queuedBatches that wait for the store are dropped and counted", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let syncs = 0;
  const beforeSync = (): Promise<void> => (syncs++ === 0 ? Promise.resolve() : promise);
  const replica = await open({ store: createMemoryStore({ faults: { beforeSync } }) });
  const underWay = replica.put(DOC, [{ key: "own", value: 1 }]);
  const bytes = first?.bytes ?? none;
  const outcomes = Array.from({ length: LIMITS.queuedBatches + 600 }, () => replica.receive(bytes));
  resolve();
  const kinds = (await Promise.all(outcomes)).map(({ kind }) => kind);
  await underWay;
  const counters = replica.counters();
  expect(counters.dropped).toBeGreaterThan(0);
  expect(counters.accepted).toBe(1);
  expect(kinds.filter((kind) => kind === "dropped")).toHaveLength(counters.dropped);
  expect(unaccounted(counters)).toBe(0);
});
