// SPDX-License-Identifier: Apache-2.0
/** What checkpoints and bases have to remember of what does not count, waits, or is not named yet; one case for each. */
import { decodeBatch, encodeSignedRecord } from "@ctxmesh/codec";
import { revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, parseDocumentName } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { FullStore } from "./full-store.ts";
import {
  DAY_MS,
  DOC,
  START_MS,
  applied,
  deviceOf,
  creator,
  forge,
  forgeChain,
  incarnationOf,
  open,
  space as plain,
  spaceWith,
  us,
  writer,
} from "./mesh.ts";
import type { Device, Forged } from "./mesh.ts";
import { readsOf } from "./upheaval.ts";

const [manager, other, fifth] = [deviceOf(6), deviceOf(7), deviceOf(8)];
const space = spaceWith([
  [us, "write"],
  [writer, "write"],
  [other, "write"],
  [fifth, "write"],
  [manager, "manage"],
]);
const all = { upTo: () => Number.POSITIVE_INFINITY, beforeMs: Number.POSITIVE_INFINITY };

const ofOurs = ({ replica }: { readonly replica: string }): number => (replica === us.key ? 9 : 0);

const edit = async (replica: Replica, text: string): Promise<unknown> =>
  replica.edit(DOC, (roots) => roots.text("notes").insert(roots.text("notes").length, text));

const revoke = (author: Device, device: Device, standing: readonly Forged[] = []): Space =>
  revokeDevice(space, author.signer, {
    device: device.key,
    heads: standing.map(({ header: { incarnation, seq }, hash }) => ({ incarnation, seq, hash })),
    reason: "x",
    now: START_MS + 10,
  });

async function add(replica: Replica, after: Space): Promise<void> {
  const known = new Set(space.acts.map(({ id }) => id));
  const acts = after.acts.filter(({ id }) => !known.has(id));
  await replica.addRecords({ acts: acts.map(({ record }) => encodeSignedRecord(record)) });
}

const receive = async (replica: Replica, batches: readonly Uint8Array[]): Promise<string[]> => {
  const kinds: string[] = [];
  for (const bytes of batches) kinds.push((await replica.receive(bytes)).kind);
  return kinds;
};

/** The replica of a store, opened once more; and what it would be without checkpoints. */
async function again(
  store: FullStore,
  device = us,
): Promise<{ readonly store: FullStore; readonly replica: Replica; readonly full: Replica }> {
  const full = await open({ space, device, store: await store.withoutCheckpoints() });
  const next = await store.reopen();
  return { store: next, replica: await open({ space, device, store: next }), full };
}

describe("void batches", () => {
  const batches = forgeChain(3, { space }) as [Forged, Forged, Forged];

  test("are not pruned, and count again when whoever revoked their device had been removed", async () => {
    const first = new FullStore();
    const before = await open({ space, store: first });
    await receive(
      before,
      batches.map(({ bytes }) => bytes),
    );
    await add(before, revoke(manager, writer));
    await before.put(DOC, [{ key: "own", value: 1 }]);
    expect(await before.prune(all)).toMatchObject({ batches: 1 });
    expect(before.chains().find((chain) => chain.replica === writer.key)).toMatchObject({
      void: 3,
    });
    await before.close();
    const { store, replica, full } = await again(first);
    expect(readsOf(replica)).toEqual(readsOf(full));
    for (const each of [replica, full]) await add(each, revoke(creator, manager));
    expect(replica.get(DOC, "forged")?.value).toBe(3);
    expect(readsOf(replica)).toEqual(readsOf(full));
    await replica.verify();
    // They lie before the base, and go with what is behind it; but not before they may, and nothing before them.
    expect(await replica.prune(all)).toMatchObject({ batches: 0 });
    await replica.put(DOC, [{ key: "own", value: 2 }]);
    expect(await replica.prune({ ...all, upTo: ofOurs })).toMatchObject({ batches: 0 });
    expect(await replica.prune(all)).toMatchObject({ batches: 4 });
    expect(replica.retention()).toMatchObject({ prunedBatches: 5, stale: [] });
    await replica.close();
    const last = await again(store);
    expect(readsOf(last.replica)).toEqual(readsOf(last.full));
  });

  test("pass, whatever the caller says of them, and hold up nothing behind them", async () => {
    const store = new FullStore();
    const replica = await open({ space, store });
    await receive(
      replica,
      batches.map(({ bytes }) => bytes),
    );
    await add(replica, revoke(creator, writer));
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    expect(await replica.prune({ ...all, upTo: ofOurs })).toMatchObject({ batches: 1 });
    expect(await replica.prune({ ...all, upTo: ofOurs })).toMatchObject({ batches: 0 });
  });
});

describe("a batch that waits", () => {
  const [one, two] = forgeChain(2, { space }) as [Forged, Forged];
  const late = forge({ space, device: us, deps: [two.hash] });
  const later = forge({ space, device: us, incarnation: incarnationOf(8), deps: [two.hash] });

  /** The log of `one`, then `late`, which names a void header that counts again and is not here. */
  async function waiting(): Promise<{ store: FullStore; replica: Replica }> {
    const source = await open({ space });
    await receive(source, [one.bytes, two.bytes]);
    const store = new FullStore();
    const replica = await open({ space, store, device: other });
    await add(replica, revoke(manager, writer, [one]));
    await receive(replica, [one.bytes, late.bytes]);
    await replica.addHeaders(await source.signedHeaders(two.hash));
    await replica.addRecords({});
    expect(replica.heads()).toHaveLength(2);
    await replica.checkpoint();
    await add(replica, revoke(creator, manager));
    expect(replica.heads()).toHaveLength(1);
    return { store, replica };
  }

  test("is in no checkpoint and no base; nobody who asks for one waits for it", async () => {
    const { store, replica } = await waiting();
    await replica.checkpoint();
    expect(await replica.prune(all)).toEqual({ batches: 0, bytes: 0 });
    expect(replica.retention()).toMatchObject({ checkpoint: 0, prunedBatches: 0 });
    await replica.close();
    const { replica: next } = await again(store, other);
    expect(await receive(next, [two.bytes])).toEqual(["accepted"]);
    await next.addRecords({});
    expect(next.heads()).toHaveLength(2);
    await next.checkpoint();
    expect(next.retention().checkpoint).toBe(3);
  });

  test("is pruned together with what it waited for, and what comes later needs not wait", async () => {
    const { store, replica } = await waiting();
    await receive(replica, [two.bytes]);
    await replica.addRecords({});
    // Up to it, and without what stands behind it in the log.
    expect(await replica.prune({ ...all, upTo: () => 1 })).toMatchObject({ batches: 1 });
    await replica.checkpoint();
    await receive(replica, [later.bytes]);
    expect(replica.heads()).toHaveLength(3);
    await replica.close();
    const second = await again(store, other);
    expect(readsOf(second.replica)).toEqual(readsOf(second.full));
    expect(await second.replica.prune({ ...all, upTo: () => 2 })).toMatchObject({ batches: 3 });
    await second.replica.close();
    const third = await again(second.store, other);
    expect(third.replica.heads()).toHaveLength(3);
    expect(readsOf(third.replica)).toEqual(readsOf(third.full));
  });
});

test("what came though its header alone was here once is waited for by nobody, also when it lies before a checkpoint", async () => {
  const [one, two] = forgeChain(2, { space }) as [Forged, Forged];
  const source = await open({ space });
  await receive(source, [one.bytes, two.bytes]);
  const store = new FullStore();
  const replica = await open({ space, store, device: other });
  await add(replica, revoke(manager, writer, [one]));
  await receive(replica, [one.bytes, forge({ space, device: us, deps: [two.hash] }).bytes]);
  await replica.addHeaders(await source.signedHeaders(two.hash));
  await replica.addRecords({});
  // Whoever named it is void itself, so that nothing is rebuilt when it comes.
  await add(replica, revoke(creator, us));
  await add(replica, revoke(creator, manager));
  expect(await receive(replica, [two.bytes])).toEqual(["accepted"]);
  await replica.checkpoint();
  const names = forge({ space, device: fifth, deps: [two.hash] });
  expect(await receive(replica, [names.bytes])).toEqual(["accepted"]);
  const before = readsOf(replica);
  await replica.close();
  const next = await again(store, other);
  expect(readsOf(next.replica)).toEqual(before);
  expect(readsOf(next.full)).toEqual(before);
});

test("what builds on void content is void, also when it comes after a checkpoint, and so is what follows it", async () => {
  const author = await open({ space, device: writer });
  const follower = await open({ space, device: other });
  const [written, followed] = [applied(author, "local"), applied(follower, "local")];
  await edit(author, "void ");
  await receive(follower, written);
  for (const text of ["on it ", "and on ", "and on"]) await edit(follower, text);

  let store = new FullStore();
  let replica = await open({ space, store });
  await receive(replica, written);
  await add(replica, revoke(creator, writer));
  for (const batch of followed) {
    await replica.checkpoint();
    await replica.close();
    const next = await again(store);
    ({ store, replica } = next);
    const kinds = await Promise.all([replica, next.full].map((each) => receive(each, [batch])));
    expect(kinds).toEqual([["accepted"], ["accepted"]]);
    expect(replica.content(DOC)).toEqual([]);
    expect(readsOf(replica)).toEqual(readsOf(next.full));
  }
});

test("the next batch names the heads that no other names yet, also when they lie before the checkpoint", async () => {
  const store = new FullStore();
  const replica = await open({ space, store });
  const chains = [1, 2].map((n) => forge({ space, incarnation: incarnationOf(n) }));
  await receive(
    replica,
    chains.map(({ bytes }) => bytes),
  );
  await replica.prune({ ...all, upTo: () => 0 });
  await replica.checkpoint();
  await replica.close();
  const { replica: next } = await again(store);
  const sent = applied(next, "local");
  await next.put(DOC, [{ key: "own", value: 1 }]);
  const { deps } = decodeBatch(sent[0] ?? new Uint8Array()).header;
  expect(deps).toEqual(chains.map(({ hash }) => hash).toSorted());
});

test("a checkpoint under way is broken off by records that change what counts, and made anew for who waits for it", async () => {
  const store = new FullStore();
  const replica = await open({ space, store });
  const random = createSeededRandom(1);
  for (const { bytes } of forgeChain(3, { space })) await replica.receive(bytes);
  for (let i = 0; i < 16; i++) {
    const value = Buffer.from(random.bytes(LIMITS.valueBytes / 2)).toString("base64");
    await replica.put(parseDocumentName(`d-${String(i)}`), [{ key: "k", value }]);
  }
  const ended = replica.checkpoint();
  await add(replica, revoke(creator, writer));
  await ended;
  expect(replica.retention().checkpoint).toBe(19);
  const before = readsOf(replica);
  expect(replica.get(DOC, "forged")).toBeUndefined();
  await replica.close();
  const { replica: next, full } = await again(store);
  expect(readsOf(next)).toEqual(before);
  expect(readsOf(full)).toEqual(before);
});

test("what this device wrote past its grant is not stale here: it waits elsewhere", async () => {
  const clock = createVirtualClock(START_MS + 40 * DAY_MS);
  const replica = await open({ clock, space: plain });
  await replica.put(DOC, [{ key: "own", value: 1 }]);
  expect(await replica.prune(all)).toMatchObject({ batches: 1 });
  expect(replica.retention().stale).toEqual([]);
  expect(replica.degraded()).toEqual([]);
});
