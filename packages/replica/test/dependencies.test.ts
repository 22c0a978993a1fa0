// SPDX-License-Identifier: Apache-2.0
import { decodeBatch } from "@ctxmesh/codec";
import type { Header } from "@ctxmesh/codec";
import { LIMITS } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { DOC, applied, forge, forgeChain, incarnationOf, open } from "./mesh.ts";

/** Writes one fact and returns the header that it went out with. */
async function writeOne(replica: Replica): Promise<Header | undefined> {
  const local = applied(replica, "local");
  await replica.put(DOC, [{ key: "own", value: 1 }]);
  return local.map((bytes) => decodeBatch(bytes).header)[0];
}

describe("a local batch names the heads of other chains that no batch has named yet", () => {
  test("and never its own chain, which prev names", async () => {
    const replica = await open();
    const [first, second] = forgeChain(2);
    for (const batch of [first, second]) await replica.receive(batch?.bytes ?? new Uint8Array());
    const one = await writeOne(replica);
    expect(one).toMatchObject({ seq: 1, prev: null, deps: [second?.hash] });
    const head = replica.heads().find(({ incarnation }) => incarnation === replica.incarnation);
    expect(await writeOne(replica)).toMatchObject({ seq: 2, prev: head?.hash, deps: [] });
  });

  test("not those that a received batch named already", async () => {
    const replica = await open();
    const a = forge({ incarnation: incarnationOf(1) });
    const b = forge({ incarnation: incarnationOf(2), deps: [a.hash] });
    for (const { bytes } of [a, b]) await replica.receive(bytes);
    expect((await writeOne(replica))?.deps).toEqual([b.hash]);
  });

  test("at most 32 at a time, the rest in the next batch, all of them sorted", async () => {
    const replica = await open();
    const chains = Array.from({ length: LIMITS.depsPerBatch + 5 }, (_, n) =>
      forge({ incarnation: incarnationOf(n + 1) }),
    );
    await Promise.all(chains.map(({ bytes }) => replica.receive(bytes)));
    const named = [await writeOne(replica), await writeOne(replica), await writeOne(replica)].map(
      (header) => header?.deps ?? [],
    );
    expect(named.map((deps) => deps.length)).toEqual([LIMITS.depsPerBatch, 5, 0]);
    for (const deps of named) expect(deps).toEqual(deps.toSorted());
    expect(named.flat().toSorted()).toEqual(chains.map(({ hash }) => hash).toSorted());
  });

  test("also those received in the group that it is written with, and after a restart", async () => {
    const store = createMemoryStore();
    const replica = await open({ store });
    const local = applied(replica, "local");
    const other = forge();
    const outcomes = await Promise.all([
      replica.receive(other.bytes),
      replica.put(DOC, [{ key: "own", value: 1 }]),
    ]);
    expect(outcomes[0]).toEqual({ kind: "accepted" });
    const header = decodeBatch(local[0] ?? new Uint8Array()).header;
    expect(header.deps).toEqual([other.hash]);
    expect(header.hlc).toBeGreaterThan(other.header.hlc);
    const [own] = replica.heads().filter(({ incarnation }) => incarnation === replica.incarnation);
    await replica.close();
    const again = await open({ store: await store.reopen() });
    expect((await writeOne(again))?.deps).toEqual([own?.hash]);
  });
});

test("batches of one group may depend on each other, and all are accepted at once in causal order", async () => {
  const replica = await open();
  const announced = applied(replica);
  const a = forge({ incarnation: incarnationOf(1) });
  const b = forge({ incarnation: incarnationOf(2), deps: [a.hash] });
  const c = forge({ incarnation: incarnationOf(3), deps: [a.hash, b.hash].toSorted() });
  const outcomes = await Promise.all([a, b, c, a].map(({ bytes }) => replica.receive(bytes)));
  expect(outcomes.map(({ kind }) => kind)).toEqual([
    "accepted",
    "accepted",
    "accepted",
    "duplicate",
  ]);
  expect(announced).toEqual([a.bytes, b.bytes, c.bytes]);
});

test("two batches for one place in one group: the first is accepted, the other is an equivocation", async () => {
  const replica = await open();
  const [one, other] = [
    forge(),
    forge({ records: [{ key: "x", seq: 1, hlc: forge().header.hlc }] }),
  ];
  const outcomes = await Promise.all([one, other].map(({ bytes }) => replica.receive(bytes)));
  expect(outcomes).toMatchObject([
    { kind: "accepted" },
    { kind: "refused", reason: "equivocation" },
  ]);
});
