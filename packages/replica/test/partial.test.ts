// SPDX-License-Identifier: Apache-2.0
/** What a replica with a subscription keeps, tells and gets later; and what nobody may leave out. */
import { decodeBatch } from "@ctxmesh/codec";
import { hlcToMs, parseDocumentName, toHex } from "@ctxmesh/model";
import type { DocumentName, Subscription, Vault } from "@ctxmesh/model";
import { salvageBase, salvageBatches, salvageRecords } from "@ctxmesh/replica";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock, silentLogger } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { decodeCheckpoint, encodeCheckpoint } from "../src/checkpoint-format.ts";
import {
  DOC,
  START_MS,
  applied,
  forge,
  forgeChain,
  hlcAt,
  open as openPlain,
  reader,
  space,
  spaceWith,
  unaccounted,
  us,
  verifier,
  writer,
} from "./mesh.ts";
import { heldOf, omittedOf, without } from "./partial-support.ts";

const [A, B] = [parseDocumentName("a/1"), parseDocumentName("b/1")];
const ONLY_A: Subscription = { docs: ["a/"] };
const ALWAYS = Number.POSITIVE_INFINITY;
const EVERYTHING = { gte: Uint8Array.of(0), lt: Uint8Array.of(255) };
const writers = spaceWith([
  [us, "write"],
  [writer, "write"],
]);

/** Tells of a place for each key, so that what is sealed for another is noticed. */
const vault: Vault = {
  seal: ({ doc }, place, plain) => Uint8Array.of(doc.length, place.at(-1) ?? 0, ...plain),
  open: ({ doc }, place, sealed) => {
    expect([...sealed.subarray(0, 2)]).toEqual([doc.length, place.at(-1)]);
    return sealed.subarray(2);
  },
  takeChanges: () => [],
};

/** A full replica of the writer, and what it wrote. */
async function full(): Promise<{ replica: Replica; sent: readonly Uint8Array[] }> {
  const replica = await openPlain({ device: writer, space: writers });
  return { replica, sent: applied(replica, "local") };
}

const open = (
  options: Parameters<typeof openPlain>[0] = {},
  subscription: Subscription = ONLY_A,
): Promise<Replica> => openPlain({ space: writers, subscription, ...options });

const write = async (replica: Replica, count: number): Promise<void> => {
  for (let n = 0; n < count; n++) {
    for (const doc of [A, B]) await replica.put(doc, [{ key: `k${String(n)}`, value: n }]);
  }
};

async function deliver(replica: Replica, sent: readonly Uint8Array[]): Promise<void> {
  for (const bytes of sent) expect(await replica.receive(bytes)).toEqual({ kind: "accepted" });
}

const shown = (replica: Replica, doc: DocumentName): unknown =>
  replica.list({ doc }).map(({ key, value }) => [key, value]);

describe("a replica with a subscription", () => {
  test("keeps of whole batches what it wants, and passes on what it got", async () => {
    const { replica, sent } = await full();
    await write(replica, 2);
    const store = createMemoryStore();
    const partial = await open({ store });
    const announced: unknown[] = [];
    partial.onApplied(({ bytes, whole }) => announced.push([toHex(bytes), whole]));
    await deliver(partial, sent);
    expect(announced).toEqual(sent.map((bytes) => [toHex(bytes), true]));
    expect(partial.frontierDigest()).toEqual(replica.frontierDigest());
    expect([shown(partial, A), shown(partial, B)]).toEqual([shown(replica, A), []]);
    const span = { replica: writer.key, incarnation: replica.incarnation, from: 1, to: 4 };
    const stored: Uint8Array[] = [];
    for await (const { bytes } of partial.read([span])) stored.push(bytes);
    expect(stored.map((bytes) => decodeBatch(bytes).bodies[0] === null)).toEqual([
      false,
      true,
      false,
      true,
    ]);
    expect(unaccounted(partial.counters())).toBe(0);
  });

  test("tells what it leaves out, which the signed headers prove", async () => {
    const { replica, sent } = await full();
    await write(replica, 2);
    const partial = await open();
    await deliver(partial, sent);
    const left = await omittedOf(partial);
    expect(left.map(({ doc, seq, kind }) => [doc, seq, kind])).toEqual([
      [B, 4, "facts"],
      [B, 2, "facts"],
    ]);
    const bytes = left.reduce((sum, section) => sum + section.bytes, 0);
    expect(partial.omitted.summary()).toEqual({ documents: 1, sections: 2, bytes, expired: 0 });
    expect(partial.omitted.documents()).toEqual([
      { doc: B, sections: 2, bytes, rich: false, pruned: 0 },
    ]);
    const [first] = left;
    const rest: unknown[] = [];
    for await (const { seq } of partial.omitted.sections(B, first)) rest.push(seq);
    expect(rest).toEqual([2]);
    await heldOf(partial, replica, verifier);
    expect(partial.omitted.summary()).toEqual({ documents: 0, sections: 0, bytes: 0, expired: 0 });
    expect(partial.snapshot()).toEqual(replica.snapshot());
  });

  test("says of a fact when there may be more to know", async () => {
    const { replica, sent } = await full();
    const partial = await open({}, { keys: ["k0"] });
    await replica.put(A, [{ key: "k0", value: 1 }]);
    await deliver(partial, sent);
    expect(partial.get(A, "k0")).not.toHaveProperty("incomplete");
    await replica.put(A, [{ key: "k1", value: 1 }]);
    await deliver(partial, sent.slice(1));
    expect(partial.get(A, "k0")).toMatchObject({ incomplete: true });
    expect(partial.list({ doc: A })).toMatchObject([{ incomplete: true }]);
    expect(await partial.getAt(A, "k0", START_MS)).toMatchObject({ incomplete: true });
    expect(await partial.history(A, "k1")).toMatchObject({ entries: [], omitted: 1 });
    expect((await replica.history(A, "k1")).omitted).toBeUndefined();
  });

  test("names nobody's batches that others may not get", async () => {
    const { replica, sent } = await full();
    const partial = await open();
    await write(replica, 1);
    const own = applied(partial, "local");
    await deliver(partial, sent.slice(0, 1));
    await partial.put(A, [{ key: "x", value: 1 }]);
    await deliver(partial, sent.slice(1));
    await partial.put(A, [{ key: "x", value: 2 }]);
    await write(replica, 1);
    await deliver(partial, sent.slice(2));
    await partial.put(A, [{ key: "x", value: 3 }]);
    const named = own.map((bytes) => decodeBatch(bytes).header.deps.length);
    expect(named).toEqual([1, 0, 0]);
    await heldOf(partial, replica, verifier);
    await partial.put(A, [{ key: "x", value: 4 }]);
    expect(decodeBatch(own.at(-1) ?? new Uint8Array()).header.deps).toHaveLength(1);
  });

  test("keeps its own batches whole, those of an earlier life too", async () => {
    const device = us;
    const before = await openPlain({ device, space: writers });
    const sent = applied(before, "local");
    await write(before, 1);
    const partial = await open({ device });
    for (const bytes of sent) {
      expect(await partial.receive(without(bytes))).toMatchObject({ reason: "omitted" });
    }
    await deliver(partial, sent);
    expect(partial.snapshot().leaves).toEqual(before.snapshot().leaves);
    expect(partial.omitted.isNone).toBe(true);
  });

  test.each<readonly [string, Vault | undefined]>([
    ["as it is", undefined],
    ["sealed", vault],
  ])("is the same after a restart, with the log %s, and after a fetch", async (_, sealing) => {
    const { replica, sent } = await full();
    await write(replica, 3);
    const sealed = sealing === undefined ? {} : { vault: sealing };
    let store = createMemoryStore();
    let partial = await open({ store, ...sealed });
    await deliver(partial, sent);
    const before = partial.omitted.documents();
    for (const checkpoint of [true, false]) {
      if (checkpoint) await partial.checkpoint();
      await partial.close();
      store = await store.reopen();
      partial = await open({ store, ...sealed });
      expect(partial.omitted.documents()).toEqual(before);
      expect(shown(partial, A)).toEqual(shown(replica, A));
    }
    // One of them after a checkpoint that lacks it, then a crash at once.
    await partial.checkpoint();
    const [wanted] = await omittedOf(partial);
    if (wanted === undefined) throw new Error("nothing is left out");
    const [found] = await replica.omitted.find([wanted]);
    const { body } = found ?? {};
    if (!(body instanceof Uint8Array)) throw new Error("it is not there");
    expect(await partial.omitted.add([{ ...wanted, body }])).toMatchObject({ filled: 1, wrong: 0 });
    expect(await partial.omitted.add([{ ...wanted, body }])).toMatchObject({ filled: 0, wrong: 0 });
    const after = shown(partial, B);
    expect(after).toEqual([["k2", 2]]);
    partial = await open({ store: store.crash(), ...sealed });
    expect(shown(partial, B)).toEqual(after);
    expect(partial.omitted.documents()).toMatchObject([{ doc: B, sections: 2 }]);
    await partial.verify();
  });

  test("may prune; what was left out then stays so, and is told", async () => {
    const { replica, sent } = await full();
    await write(replica, 2);
    let store = createMemoryStore();
    let partial = await open({ store });
    await deliver(partial, sent.slice(0, 2));
    await partial.prune({ upTo: () => ALWAYS, beforeMs: ALWAYS });
    await deliver(partial, sent.slice(2));
    const check = async (): Promise<void> => {
      expect(partial.omitted.documents()).toMatchObject([{ doc: B, sections: 2, pruned: 1 }]);
      expect((await omittedOf(partial)).map(({ seq }) => seq)).toEqual([4]);
      expect(shown(partial, A)).toEqual(shown(replica, A));
    };
    await check();
    await partial.checkpoint();
    await partial.close();
    store = await store.reopen();
    partial = await open({ store });
    await check();
    await heldOf(partial, replica, verifier);
    expect(partial.omitted.summary()).toMatchObject({ documents: 1, sections: 1 });
    expect(partial.get(B, "k1")).toMatchObject({ value: 1, incomplete: true });
  });

  test("is healed like any other: what a damaged store left out stays left out", async () => {
    const { replica, sent } = await full();
    await write(replica, 2);
    const store = createMemoryStore();
    const before = await open({ store });
    await deliver(before, sent);
    const target = createMemoryStore();
    await salvageRecords(store.scan(EVERYTHING), target);
    await salvageBase(store, target, async () => Promise.resolve(undefined));
    const partial = await open({ store: target });
    const receive = async (batch: Uint8Array): ReturnType<Replica["receive"]> =>
      partial.receive(batch);
    const scan = store.scan(EVERYTHING);
    expect(await salvageBatches(scan, undefined, receive, silentLogger)).toEqual({
      batches: 4,
      rejected: 0,
    });
    expect(partial.omitted.documents()).toEqual(before.omitted.documents());
    expect(partial.degraded()).toEqual([]);
  });

  test("that wants everything again is told apart from one that always did, until it has fetched", async () => {
    const { replica, sent } = await full();
    await write(replica, 1);
    let store = createMemoryStore();
    const partial = await open({ store });
    await deliver(partial, sent);
    await partial.close();
    store = await store.reopen();
    const whole = await openPlain({ store, space: writers });
    expect(whole.omitted.isNone).toBe(false);
    await heldOf(whole, replica, verifier);
    expect(whole.snapshot()).toEqual(replica.snapshot());
  });
});

const edit = async (replica: Replica, doc: DocumentName, text: string): Promise<void> => {
  await replica.edit(doc, (roots) => roots.text("notes").insert(0, text));
};

describe("rich content", () => {
  test("behind what is left out stays closed, and opens in order once all is here", async () => {
    const { replica, sent } = await full();
    await edit(replica, B, "one ");
    await edit(replica, B, "two ");
    await edit(replica, A, "seen ");
    let store = createMemoryStore();
    const partial = await open({ store });
    await deliver(partial, sent);
    expect([partial.content(A), partial.content(B)]).toEqual([replica.content(A), []]);
    await expect(edit(partial, B, "mine ")).rejects.toMatchObject({ code: "POLICY_REFUSED" });
    await partial.close();
    store = await store.reopen();
    // It wants all of it now: what comes is stored, and waits.
    const wider = await open({ store }, { docs: ["a/", "b/"] });
    await edit(replica, B, "three ");
    await deliver(wider, sent.slice(3));
    expect(wider.content(B)).toEqual([]);
    const [newest, oldest] = await omittedOf(wider);
    for (const wanted of [newest, oldest]) {
      if (wanted === undefined) throw new Error("nothing is left out");
      expect(wider.content(B)).toEqual([]);
      const [found] = await replica.omitted.find([wanted]);
      await wider.omitted.add([{ ...wanted, body: found?.body ?? new Uint8Array() }]);
    }
    await wider.addRecords({});
    expect(wider.content(B)).toEqual(replica.content(B));
    await edit(wider, B, "mine ");
    expect(wider.omitted.isNone).toBe(true);
  });
});

describe("bodies that come late", () => {
  test("and are not those that were signed change nothing", async () => {
    const { replica, sent } = await full();
    await write(replica, 1);
    const store = createMemoryStore();
    const partial = await open({ store });
    await deliver(partial, sent);
    const [wanted] = await omittedOf(partial);
    if (wanted === undefined) throw new Error("nothing is left out");
    const records = async (): Promise<unknown> => {
      const found: unknown[] = [];
      for await (const [key, value] of store.scan(EVERYTHING))
        found.push([toHex(key), toHex(value)]);
      return found;
    };
    const before = await records();
    const wrong = [
      { ...wanted, body: Uint8Array.of(1) },
      { ...wanted, body: new Uint8Array(wanted.bytes) },
      { ...wanted, section: 9, body: Uint8Array.of(1) },
      { ...wanted, hash: forge().hash, body: Uint8Array.of(1) },
    ];
    expect(await partial.omitted.add(wrong)).toEqual({ filled: 0, bytes: 0, wrong: 2 });
    expect(await records()).toEqual(before);
  });

  test("and are what no honest writer makes end what counts of their chain, as for whoever had them at once", async () => {
    const bad = forge({ space: writers, docs: [B], payload: Uint8Array.of(7) });
    const next = forge({ space: writers, docs: [A], seq: 2, prev: bad.hash, hlc: hlcAt(5) });
    const whole = await openPlain({ space: writers });
    expect(await whole.receive(bad.bytes)).toMatchObject({ reason: "facts" });
    const partial = await open();
    await deliver(partial, [without(bad.bytes), next.bytes]);
    expect(shown(partial, A)).toHaveLength(1);
    const [body] = decodeBatch(bad.bytes).bodies;
    await partial.omitted.add([{ hash: bad.hash, section: 0, body: body ?? new Uint8Array() }]);
    await partial.addRecords({});
    expect(shown(partial, A)).toEqual([]);
    expect(partial.chains()).toMatchObject([{ seq: 0, void: 2, reason: "content" }]);
  });
});

test("both sides of a fork whose bodies are nowhere are proof of it all the same", async () => {
  const sides = [1, 2].map((ms) => forge({ hlc: hlcAt(ms) }));
  const replica = await openPlain();
  for (const { bytes } of sides) {
    expect(await replica.receive(without(bytes))).toMatchObject({ reason: "omitted" });
  }
  await replica.addRecords({});
  expect(replica.evidence()).toMatchObject([{ replica: writer.key, seq: 1 }]);
  const other = await openPlain();
  const [first, second] = sides;
  await other.receive(without(first?.bytes ?? new Uint8Array()));
  await deliver(other, [second?.bytes ?? new Uint8Array()]);
  await other.addRecords({});
  expect(other.evidence()).toHaveLength(1);
  expect(other.heads()).toEqual([]);
});

describe("what has expired", () => {
  const until = START_MS + 1_000;
  const expiring = forge({
    records: [{ key: "k", seq: 1, hlc: hlcAt(1), valueJson: "1", ttlMs: 999 }],
    section: { until: hlcToMs(hlcAt(1)) + 999 },
  });
  const later = forge({ device: us, hlc: hlcAt(2_000) });

  test("for everybody may be left out wherever something is, and then all is as with it", async () => {
    const clock = createVirtualClock(START_MS + 5_000);
    const device = reader;
    const replica = await openPlain({ device, clock, space, subscription: { docs: [DOC] } });
    const bare = without(expiring.bytes);
    // By our clock it has; by the time of what is here it has not.
    expect(await replica.receive(bare)).toMatchObject({ reason: "omitted" });
    await deliver(replica, [later.bytes, bare]);
    const other = await openPlain({ device, clock, space });
    await deliver(other, [expiring.bytes, later.bytes]);
    expect(replica.snapshot()).toEqual(other.snapshot());
    expect(replica.list({ doc: DOC })).toEqual(other.list({ doc: DOC }));
    expect(replica.omitted.summary()).toEqual({ documents: 0, sections: 0, bytes: 0, expired: 1 });
    expect(replica.get(DOC, "forged")).not.toHaveProperty("incomplete");
    expect(until).toBeLessThan(clock.now());
  });

  test("by the time of others alone, not by our clock, is wanted", async () => {
    const replica = await openPlain({ device: reader, clock: createVirtualClock(START_MS + 500) });
    await deliver(replica, [later.bytes]);
    expect(await replica.receive(without(expiring.bytes))).toMatchObject({ reason: "omitted" });
  });
});

describe("a checkpoint", () => {
  const plain = {
    position: 3,
    heads: [],
    unnamed: [],
    voids: [],
    ownVoid: [],
    voidParts: [],
    arrived: [],
    documents: new Map(),
  };

  test("with nothing left out has the bytes that it always had, and is read", () => {
    const bytes = encodeCheckpoint(plain);
    expect(decodeCheckpoint(bytes)).toEqual(plain);
    expect(toHex(bytes)).not.toContain(toHex(new TextEncoder().encode("omitted")));
  });

  test("keeps what is left out", () => {
    const counts = { sections: 2, bytes: 9, rich: 1, passing: 3, passingBytes: 4, untilMs: 5 };
    const chain = forgeChain(1)[0]?.header ?? forge().header;
    const checkpoint = {
      ...plain,
      omitted: [[A, { ...counts, closed: true }] as const],
      lacking: [[chain.replica + chain.incarnation, { sections: 1, untilMs: 2 }] as const],
    };
    expect(decodeCheckpoint(encodeCheckpoint(checkpoint))).toEqual(checkpoint);
  });
});
