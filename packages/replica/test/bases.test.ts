// SPDX-License-Identifier: Apache-2.0
/** Bases: what they bring and leave, who makes them, and who is believed. */
import { revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, toHex } from "@ctxmesh/model";
import type { ReceiveOutcome, Vault } from "@ctxmesh/model";
import { salvageBase, salvageBatches, salvageRecords } from "@ctxmesh/replica";
import type { BasePiece, ChainSpan, Replica } from "@ctxmesh/replica";
import { createMemoryStore, silentLogger } from "@ctxmesh/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { signManifest } from "../src/base-format.ts";
import {
  DOCS,
  PRUNED,
  bringBase,
  clock,
  feed,
  fillHub,
  fresh,
  hub,
  hub2,
  newcomer,
  other,
  piecesOf,
  space,
} from "./base-kit.ts";
import type { Pieces } from "./base-kit.ts";
import {
  actsSince,
  DOC,
  START_MS,
  applied,
  creator,
  forge,
  forgeChain,
  open,
  us,
  writer,
} from "./mesh.ts";
import { readsOf, stateOf } from "./upheaval.ts";

const all = { upTo: () => Number.POSITIVE_INFINITY, beforeMs: Number.POSITIVE_INFINITY };

let source: Replica;
let from: Pieces;

beforeAll(async () => {
  source = await fillHub();
  from = await piecesOf(source);
});

const spansOf = (at: Replica): readonly ChainSpan[] =>
  at.heads().map(({ replica, incarnation, seq }) => ({ replica, incarnation, from: 1, to: seq }));

describe("a newcomer", () => {
  test("has what the hub has, counts it as pruned, and goes on from there", async () => {
    const to = await fresh();
    const changed: string[] = [];
    to.onRecords(({ changed: keys }) => changed.push(...keys.map(({ doc, key }) => doc + key)));
    expect(await feed(to, from.pieces)).toBe("installed");
    expect(stateOf(to)).toEqual(stateOf(source));
    expect(to.counters()).toMatchObject({ received: 0, accepted: 0 });
    expect(to.retention().prunedBatches).toBe(from.base.manifest.batches);
    expect(changed).toContain(`${DOCS[0] ?? ""}temperature`);
    await expect(to.getAt(DOC, "forged", START_MS - 1)).rejects.toMatchObject({
      code: "HISTORY_PRUNED",
    });
    // What comes behind it is taken, what it stands for is known.
    const later = forgeChain(13, { space })[12];
    expect(await to.receive(later?.bytes ?? new Uint8Array())).toEqual({ kind: "accepted" });
    const again = forgeChain(5, { space })[4];
    expect(await to.receive(again?.bytes ?? new Uint8Array())).toEqual({ kind: "duplicate" });
    const receipt = await to.put(DOC, [{ key: "mine", value: 1 }]);
    expect(receipt.seq).toBe(1);
    await to.edit(DOC, (roots) => roots.text("notes").insert(0, "re"));
    expect(to.content(DOC)[0]?.value).toEqual([{ insert: "rechecked" }]);
  });

  test("takes a batch that names any batch of the past", async () => {
    const [, second] = forgeChain(12, { space });
    const late = forge({ space, device: us, deps: [second?.hash ?? ("" as never)] });
    const to = await fresh();
    await feed(to, from.pieces);
    expect(await to.receive(late.bytes)).toEqual({ kind: "accepted" });
    const never = forge({ space, device: other, deps: [late.hash] });
    expect(await (await fresh()).receive(never.bytes)).toMatchObject({ kind: "held" });
  });

  test("keeps its own, void or not, and hands it on", async () => {
    const to = await fresh();
    const sent = applied(to, "local");
    await to.put(DOC, [{ key: "mine", value: 1 }]);
    for (const { bytes } of forgeChain(3, { space, device: other })) await to.receive(bytes);
    for (const { bytes } of forgeChain(7, { space })) await to.receive(bytes);
    expect(await feed(to, from.pieces)).toBe("installed");
    expect(to.get(DOC, "mine")?.value).toBe(1);
    expect(to.seqOf(other.key, forge().header.incarnation)).toBe(3);
    const spans = spansOf(to).filter(({ replica }) => replica === newcomer.key);
    const read: Uint8Array[] = [];
    for await (const { bytes } of to.read(spans)) read.push(bytes);
    expect(read).toEqual(sent);
  });

  test("is the same after a restart, a checkpoint, a prune, and with another base on top", async () => {
    const store = createMemoryStore();
    const at = await fillHub();
    const to = await fresh({ store });
    await feed(to, from.pieces);
    await to.put(DOC, [{ key: "mine", value: 1 }]);
    const before = readsOf(to);
    await to.close();
    let again = await fresh({ store: await store.reopen() });
    expect(readsOf(again)).toEqual(before);
    await again.verify();
    const known = forgeChain(5, { space })[4]?.bytes ?? new Uint8Array();
    expect(await again.receive(known)).toEqual({ kind: "duplicate" });
    await again.checkpoint();
    await again.prune({ ...all, upTo: ({ replica }) => (replica === newcomer.key ? 1 : 99) });
    expect(readsOf(again)).toEqual(before);
    // It has what the hub lacks, and that is pruned.
    expect(await bringBase(at, again)).toMatchObject({ kind: "useless" });
    expect(readsOf(again)).toEqual(before);
    await again.close();
    again = await fresh({ store: await (await store.reopen()).reopen() });
    expect(readsOf(again)).toEqual(before);
  });

  test("takes a newer base over an older one, and asks only for the parts that differ", async () => {
    const to = await fresh();
    await feed(to, from.pieces);
    const second = await open({ device: hub2, space, clock });
    for await (const { bytes } of source.read(spansOf(source))) await second.receive(bytes);
    await second.put(DOC, [{ key: "of the second", value: 1 }]);
    const newer = await piecesOf(second);
    let asked = 0;
    let progress = await to.bases.take(newer.pieces[0] as BasePiece, PRUNED);
    while (progress.kind === "more") {
      asked++;
      progress = await to.bases.take(newer.pieces[progress.part] as BasePiece, PRUNED);
    }
    expect(progress.kind).toBe("installed");
    expect(asked).toBeLessThan(newer.pieces.length - 3);
    expect(stateOf(to)).toEqual(stateOf(second));
    expect(to.get(DOC, "of the second")?.value).toBe(1);
  });

  test("hands on what a hub has signed, with no hub at hand", async () => {
    const [to, next] = [await fresh(), await open({ device: us, space, clock })];
    await feed(to, from.pieces);
    await to.put(DOC, [{ key: "mine", value: 1 }]);
    expect(await bringBase(to, next)).toEqual({ kind: "installed" });
    expect(stateOf(next)).toEqual(stateOf(source));
    expect(await bringBase(next, await fresh())).toEqual({ kind: "installed" });
  });

  test("with a base for a few batches does without", async () => {
    const to = await fresh();
    const need = { batches: LIMITS.baseFromBatches - 1, pruned: false };
    expect(await to.bases.take(from.pieces[0] as BasePiece, need)).toMatchObject({
      kind: "useless",
    });
    // As many, and they are small.
    const { name, bytes } = signManifest({ ...from.base.manifest, batchBytes: 1 }, hub.signer);
    const dear = { batches: LIMITS.baseFromBatches, pruned: false };
    expect(await to.bases.take({ name, part: 0, bytes }, dear)).toMatchObject({ kind: "useless" });
    const cheap = { batches: 100 * LIMITS.baseFromBatches, pruned: false };
    expect(await to.bases.take(from.pieces[0] as BasePiece, cheap)).toMatchObject({ kind: "more" });
  });
});

describe("who is no hub", () => {
  test("makes none", async () => {
    const at = await open({ space });
    await at.put(DOC, [{ key: "a", value: 1 }]);
    expect(await at.bases.offer()).toBeUndefined();
  });

  test("is not believed, nor is who was one", async () => {
    const by = (signer: typeof hub, named = signer): BasePiece => {
      const manifest = { ...from.base.manifest, hub: named.key };
      const { name, bytes } = signManifest(manifest, signer.signer);
      return { name, part: 0, bytes };
    };
    const to = await fresh();
    expect(await to.bases.take(by(us), PRUNED)).toMatchObject({ kind: "useless" });
    await expect(to.bases.take(by(us, hub), PRUNED)).rejects.toMatchObject({
      code: "SIGNATURE_INVALID",
    });
    const revoked: Space = revokeDevice(space, creator.signer, {
      device: hub.key,
      heads: [],
      reason: "x",
      now: START_MS,
    });
    const knows = await fresh({ space: revoked });
    expect(await knows.bases.take(from.pieces[0] as BasePiece, PRUNED)).toMatchObject({
      kind: "useless",
    });
  });
});

const noVault = async (): Promise<undefined> => Promise.resolve(undefined);
const mask = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 0x5a);

const EVERYTHING = { gte: Uint8Array.of(1), lt: Uint8Array.of(0xff) };

test("of a damaged store the base is kept with its hashes, and what is behind it follows", async () => {
  const store = createMemoryStore();
  const to = await fresh({ store });
  await feed(to, from.pieces);
  for (let i = 0; i < 3; i++) await to.put(DOC, [{ key: "mine", value: i }]);
  const before = readsOf(to);
  await to.close();
  const damaged = await store.reopen();
  const healed = createMemoryStore();
  await salvageRecords(damaged.scan(EVERYTHING), healed);
  expect(await salvageBase(damaged, healed, noVault)).toBe(true);
  const again = await fresh({ store: healed });
  const receive = async (bytes: Uint8Array): Promise<ReceiveOutcome> => again.receive(bytes);
  await salvageBatches(damaged.scan(EVERYTHING), undefined, receive, silentLogger);
  expect(readsOf(again)).toEqual(before);
  expect(again.degraded()).toEqual([]);
  const known = forgeChain(5, { space })[4]?.bytes ?? new Uint8Array();
  expect(await again.receive(known)).toEqual({ kind: "duplicate" });
});

test("in a store that is encrypted, parts are, too", async () => {
  const store = createMemoryStore();
  const vault: Vault = {
    seal: (_, __, plain) => mask(plain),
    open: (_, __, sealed) => mask(sealed),
    takeChanges: () => [],
  };
  const to = await fresh({ store, vault });
  expect(await feed(to, from.pieces)).toBe("installed");
  const parts = new Set(from.pieces.slice(1).map(({ bytes }) => toHex(bytes)));
  for await (const [, value] of store.scan(EVERYTHING)) {
    expect(parts.has(toHex(value))).toBe(false);
  }
  expect(await bringBase(to, await open({ device: us, space, clock }))).toMatchObject({
    kind: "installed",
  });
});

test("one that a revocation has overtaken is not handed on, and of no use to whoever has it", async () => {
  const [to, late] = [await fresh(), await fresh()];
  await feed(to, from.pieces);
  const revoked = revokeDevice(space, creator.signer, {
    device: other.key,
    heads: [],
    reason: "x",
    now: START_MS,
  });
  // It cuts into nothing of the base.
  await to.addRecords({ acts: actsSince(space, revoked) });
  expect(await to.bases.offer()).toBeDefined();
  const cut = revokeDevice(revoked, creator.signer, {
    device: writer.key,
    heads: [],
    reason: "x",
    now: START_MS,
  });
  await to.addRecords({ acts: actsSince(space, cut) });
  expect(await to.bases.offer()).toBeUndefined();
  expect(to.degraded()).toMatchObject([{ kind: "stale", replica: writer.key, limit: 0 }]);
  await late.addRecords({ acts: actsSince(space, cut) });
  expect(await feed(late, from.pieces)).toContain("does not count");
});
