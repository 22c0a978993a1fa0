// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what counts is a function of the batches and the records, not of the order in which they came.
 * Method: replicas get the same batches and acts in different orders, with restarts between, and must end
 * with equal digests; and whatever an act voids, a replica that had applied it and one that never did agree.
 */
import { encodeSignedRecord } from "@ctxmesh/codec";
import { issueGrant, revokeDevice, setPolicy } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, toHex } from "@ctxmesh/model";
import type { DeviceKey } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
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
  stranger,
  unaccounted,
  us,
  writer,
} from "./mesh.ts";
import type { Forged } from "./mesh.ts";

const manager = deviceOf(6);
const [first, second, third] = forgeChain(3) as [Forged, Forged, Forged];

/** The acts that `after` has and `before` has not. */
const actsSince = (before: Space, after: Space): Uint8Array[] => {
  const known = new Set(before.acts.map(({ id }) => id));
  return after.acts
    .filter(({ id }) => !known.has(id))
    .map(({ record }) => encodeSignedRecord(record));
};

/** All that must be equal on replicas with the same batches and records. */
const stateOf = (replica: Replica): unknown => ({
  frontier: toHex(replica.frontierDigest()),
  records: toHex(replica.recordsDigest()),
  leaves: replica.snapshot().leaves,
});

/** Revokes the writer; of its chain in `forged` the first batch stands. */
const revokeBehindFirst = (from: Space, device: DeviceKey = writer.key): Space =>
  revokeDevice(from, creator.signer, {
    device,
    heads: [{ incarnation: first.header.incarnation, seq: 1, hash: first.hash }],
    reason: "stolen",
    now: START_MS + 10,
  });

const receiveAll = async (replica: Replica, batches: readonly Forged[]): Promise<string[]> => {
  const outcomes: string[] = [];
  for (const { bytes } of batches) {
    const outcome = await replica.receive(bytes);
    outcomes.push(outcome.kind === "refused" ? outcome.reason : outcome.kind);
  }
  return outcomes;
};

/** The signed headers of batches that a replica has. */
async function headersOf<T extends readonly Forged[]>(
  replica: Replica,
  ...batches: T
): Promise<{ [K in keyof T]: Uint8Array }> {
  const headers = batches.map(async ({ hash }) => (await replica.signedHeaders(hash))[0]);
  return (await Promise.all(headers)) as { [K in keyof T]: Uint8Array };
}

describe("a revocation", () => {
  const revoked = revokeBehindFirst(space);
  const acts = actsSince(space, revoked);

  test("voids what it does not let stand, whether it comes before or after the batches", async () => {
    const before = await open({ space: revoked });
    expect(await receiveAll(before, [first, second, third])).toEqual(
      ["accepted", "revoked", "missing"].map((kind) => (kind === "missing" ? "revoked" : kind)),
    );
    const after = await open();
    await receiveAll(after, [first, second, third]);
    expect(after.get(DOC, "forged")?.value).toBe(3);
    expect(await after.addRecords({ acts })).toEqual({ added: 1, refused: [] });
    expect(after.get(DOC, "forged")?.value).toBe(1);
    expect(stateOf(after)).toEqual(stateOf(before));
    expect(after.chains()).toEqual([
      expect.objectContaining({ seq: 1, limit: 1, void: 2, reason: "revoked" }),
    ]);
    expect(unaccounted(after.counters())).toBe(0);
  });

  test("and so it is after a restart", async () => {
    const store = createMemoryStore();
    const replica = await open({ store });
    await receiveAll(replica, [first, second, third]);
    await replica.addRecords({ acts });
    const before = stateOf(replica);
    await replica.close();
    const again = await open({ store: await store.reopen() });
    expect(stateOf(again)).toEqual(before);
    expect(again.space.revocations.get(writer.key)?.reason).toBe("stolen");
  });

  test("stops back-dated batches: the next of the chain, a new chain, another history below the cut", async () => {
    const replica = await open({ space: revoked });
    const backdated = [
      forge({ seq: 2, prev: first.hash, hlc: hlcAt(1.5) }),
      forge({ incarnation: incarnationOf(77), hlc: hlcAt(-DAY_MS) }),
      forge({ seq: 1, hlc: hlcAt(-500) }),
    ];
    expect(await receiveAll(replica, backdated)).toEqual(["revoked", "revoked", "revoked"]);
    expect(await receiveAll(replica, [first])).toEqual(["accepted"]);
  });

  test("tells listeners which keys have another answer now", async () => {
    const replica = await open();
    await receiveAll(replica, [first, second]);
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    const changes: unknown[] = [];
    replica.onRecords(({ changed }) => changes.push(changed));
    await replica.addRecords({ acts });
    expect(changes).toEqual([[{ doc: DOC, key: "forged" }]]);
  });

  test("of this device itself refuses its writes and says why", async () => {
    const replica = await open();
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    const ours = revokeDevice(space, creator.signer, {
      device: us.key,
      heads: [],
      reason: "decommissioned",
      now: START_MS,
    });
    await replica.addRecords({ acts: actsSince(space, ours) });
    expect(replica.get(DOC, "own")).toBeUndefined();
    await expect(replica.put(DOC, [{ key: "own", value: 2 }])).rejects.toMatchObject({
      code: "POLICY_REFUSED",
      message: expect.stringContaining("decommissioned") as string,
    });
  });

  test("that is filtered later, since its author had been removed, lets the batches count again", async () => {
    const withManager = spaceWith([
      [us, "write"],
      [writer, "append"],
      [manager, "manage"],
    ]);
    const batches = forgeChain(3, { space: withManager }) as [Forged, Forged, Forged];
    const byManager = revokeDevice(withManager, manager.signer, {
      device: writer.key,
      heads: [],
      reason: "spite",
      now: START_MS + 10,
    });
    const managerOut = revokeDevice(withManager, creator.signer, {
      device: manager.key,
      heads: [],
      reason: "fired",
      now: START_MS + 10,
    });
    const orders = [
      [byManager, managerOut],
      [managerOut, byManager],
    ];
    for (const order of orders) {
      const replica = await open({ space: withManager });
      await receiveAll(replica, batches);
      for (const each of order) {
        await replica.addRecords({ acts: actsSince(withManager, each) });
      }
      expect(replica.get(DOC, "forged")?.value).toBe(3);
      expect(replica.chains()).toEqual([expect.objectContaining({ seq: 3, void: 0 })]);
    }
  });
});

describe("a batch that names a void one", () => {
  const revoked = revokeBehindFirst(space);
  const acts = actsSince(space, revoked);
  const dependant = forge({ device: us, deps: [third.hash], incarnation: incarnationOf(3) });

  test("is held until the void header is here, and then applied", async () => {
    const knew = await open({ space: revoked });
    await receiveAll(knew, [first]);
    const learned = await open();
    await receiveAll(learned, [first, second, third, dependant]);
    await learned.addRecords({ acts });

    expect(await receiveAll(knew, [dependant])).toEqual(["held"]);
    expect(knew.missing(0)).toEqual([third.hash]);
    const headers = await learned.signedHeaders(third.hash);
    // The void one before it comes along: what it builds on may be void, too.
    expect(headers).toHaveLength(2);
    await knew.addHeaders(headers);
    await knew.put(DOC, [{ key: "own", value: 1 }]);
    expect(knew.counters()).toMatchObject({ held: 0, accepted: 2 });
    expect(knew.heads()).toHaveLength(3);
    expect(knew.missing(0)).toEqual([]);
  });

  test("is not let in by a header that counts, is forged, is not waited for, or is no header", async () => {
    const replica = await open({ space: revoked });
    await receiveAll(replica, [first, dependant]);
    const source = await open();
    await receiveAll(source, [first, second, third]);
    const [good, behind] = await headersOf(source, third, second);
    const forged = good.slice();
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    const [counts] = await headersOf(source, first);
    await replica.addHeaders([forged, counts, behind, new Uint8Array(9)]);
    expect(replica.counters().held).toBe(1);
    expect(replica.missing(0)).toEqual([third.hash]);
    await replica.addHeaders([good]);
    await replica.put(DOC, [{ key: "own", value: 0 }]);
    expect(replica.missing(0)).toEqual([second.hash]);
    await replica.addHeaders([behind]);
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    expect(replica.counters().held).toBe(0);
  });

  test("waits until all that counts of the void chain is here", async () => {
    const replica = await open({ space: revoked });
    await receiveAll(replica, [dependant]);
    const source = await open();
    await receiveAll(source, [first, second, third]);
    await replica.addHeaders(await headersOf(source, third, second));
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    expect(replica.counters().held).toBe(1);
    await receiveAll(replica, [first]);
    replica.retryTimed();
    await replica.put(DOC, [{ key: "own", value: 2 }]);
    expect(replica.counters().held).toBe(0);
  });

  test("stops counting when the void one counts again and is not here, and counts when it comes", async () => {
    const withManager = spaceWith([
      [us, "write"],
      [writer, "append"],
      [manager, "manage"],
    ]);
    const [one, two] = forgeChain(2, { space: withManager }) as [Forged, Forged];
    const byManager = revokeDevice(withManager, manager.signer, {
      device: writer.key,
      heads: [{ incarnation: one.header.incarnation, seq: 1, hash: one.hash }],
      reason: "spite",
      now: START_MS + 10,
    });
    const managerOut = revokeDevice(withManager, creator.signer, {
      device: manager.key,
      heads: [],
      reason: "fired",
      now: START_MS + 10,
    });
    const other = deviceOf(7);
    const late = forge({ space: withManager, device: us, deps: [two.hash] });
    const replica = await open({ space: byManager, device: other });
    const source = await open({ space: withManager });
    await receiveAll(source, [one, two]);
    expect(await receiveAll(replica, [one, late])).toEqual(["accepted", "held"]);
    await replica.addHeaders(await headersOf(source, two));
    await replica.addRecords({});
    expect(replica.heads()).toHaveLength(2);
    await replica.addRecords({ acts: actsSince(withManager, managerOut) });
    expect(replica.heads()).toHaveLength(1);
    expect(replica.chains().find(({ replica: device }) => device === us.key)).toMatchObject({
      seq: 0,
      void: 1,
      reason: "waiting",
    });
    expect(await receiveAll(replica, [two])).toEqual(["accepted"]);
    await replica.addRecords({});
    expect(replica.heads()).toHaveLength(2);
    expect(replica.chains().every((chain) => chain.void === 0)).toBe(true);
  });
});

const grant = (from: Space, device: DeviceKey, fromMs: number, days: number): Space =>
  issueGrant(from, creator.signer, {
    device,
    service: "agent",
    role: "append",
    notBefore: START_MS + fromMs,
    notAfter: START_MS + fromMs + days * DAY_MS,
  });

describe("a grant", () => {
  test("that arrives lets a stranger's batches in", async () => {
    const replica = await open();
    const batch = forge({ device: stranger });
    expect(await receiveAll(replica, [batch])).toEqual(["grant"]);
    const granted = grant(space, stranger.key, -DAY_MS, 30);
    await replica.addRecords({ acts: actsSince(space, granted) });
    expect(await receiveAll(replica, [batch])).toEqual(["accepted"]);
  });

  test("that is renewed applies what was held since the last one ended, with nothing lost", async () => {
    const clock = createVirtualClock(START_MS + 40 * DAY_MS);
    const replica = await open({ clock });
    const chain: Forged[] = [first];
    for (let seq = 2; seq <= 4; seq++) {
      const prev = chain.at(-1)?.hash ?? null;
      chain.push(forge({ seq, prev, hlc: hlcAt((28 + seq) * DAY_MS) }));
    }
    // Batch 2 is of the 30th day; the grant ends on the 29th.
    expect(await receiveAll(replica, chain)).toEqual(["accepted", "held", "held", "held"]);
    const renewed = grant(space, writer.key, 29 * DAY_MS, 30);
    await replica.addRecords({ acts: actsSince(space, renewed) });
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    expect(replica.get(DOC, "forged")?.value).toBe(4);
    expect(replica.counters()).toMatchObject({ accepted: 4, held: 0 });
  });

  test("that ended does not stop its device, whose batches are held elsewhere", async () => {
    const clock = createVirtualClock(START_MS + 60 * DAY_MS);
    const ours = await open({ clock });
    const theirs = await open({ clock, device: writer });
    const batches = applied(ours, "local");
    await ours.put(DOC, [{ key: "late", value: 1 }]);
    expect(ours.get(DOC, "late")?.value).toBe(1);
    expect(await theirs.receive(batches[0] ?? new Uint8Array())).toEqual({
      kind: "held",
      reason: "grant-time",
    });
    await theirs.addRecords({ acts: actsSince(space, grant(space, us.key, 0, 90)) });
    await theirs.put(DOC, [{ key: "own", value: 1 }]);
    expect(theirs.get(DOC, "late")?.value).toBe(1);
  });

  test("that stands no more voids what came under it, on every replica", async () => {
    const managed = spaceWith([
      [us, "write"],
      [writer, "append"],
      [manager, "manage"],
    ]);
    const granted = issueGrant(managed, manager.signer, {
      device: stranger.key,
      service: "agent",
      role: "append",
      notBefore: START_MS - DAY_MS,
      now: START_MS,
    });
    const managerOut = revokeDevice(managed, creator.signer, {
      device: manager.key,
      heads: [],
      reason: "fired",
      now: START_MS + 5,
    });
    const batch = forge({ space: managed, device: stranger });
    const had = await open({ space: granted });
    expect(await receiveAll(had, [batch])).toEqual(["accepted"]);
    await had.addRecords({ acts: actsSince(managed, managerOut) });
    expect(had.get(DOC, "forged")).toBeUndefined();
    const never = await open({ space: granted });
    await never.addRecords({ acts: actsSince(managed, managerOut) });
    expect(await receiveAll(never, [batch])).toEqual(["grant"]);
    expect(stateOf(never)).toEqual(stateOf(had));
  });
});

describe("records", () => {
  test("a policy that arrives takes effect at once", async () => {
    const replica = await open();
    await receiveAll(replica, [
      forge({ records: [{ key: "k", seq: 1, hlc: hlcAt(1), valueJson: "9" }] }),
    ]);
    await replica.put(DOC, [{ key: "k", value: 3 }]);
    expect(replica.get(DOC, "k")?.value).toBe(3);
    const policy = setPolicy(space, creator.signer, {
      epoch: 1,
      rules: [{ prefix: "", resolver: "max" }],
    });
    expect(await receiveAll(replica, [forge({ epoch: 1, incarnation: incarnationOf(5) })])).toEqual(
      ["held"],
    );
    await replica.addRecords({ acts: actsSince(space, policy) });
    expect(replica.get(DOC, "k")).toMatchObject({ value: 9, resolver: "max" });
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    expect(replica.counters().held).toBe(0);
  });

  test("bad ones are named and change nothing; the good ones beside them are taken", async () => {
    const replica = await open();
    const granted = issueGrant(space, creator.signer, {
      device: stranger.key,
      service: "agent",
      role: "append",
      notBefore: START_MS,
    });
    const [act] = actsSince(space, granted) as [Uint8Array];
    const forged = act.slice();
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    expect(await replica.addRecords({ acts: [forged] })).toMatchObject({
      added: 0,
      refused: [{ code: "SIGNATURE_INVALID" }],
    });
    const outcome = await replica.addRecords({
      acts: [new Uint8Array(3), new Uint8Array(LIMITS.actBytes + 200), act],
      proofs: [new Uint8Array(5)],
    });
    expect(outcome.added).toBe(1);
    expect(outcome.refused.map(({ code }) => code)).toHaveLength(3);
    expect(replica.space.grants.has(stranger.key)).toBe(true);
    expect(await replica.addRecords({ acts: [act] })).toEqual({ added: 0, refused: [] });
  });

  test("that were taken stay taken when the clock is set back before the next opening", async () => {
    const store = createMemoryStore();
    const replica = await open({ store });
    await replica.addRecords({ acts: actsSince(space, revokeBehindFirst(space)) });
    await replica.close();
    const clock = createVirtualClock(START_MS - DAY_MS);
    const again = await open({ store: await store.reopen(), clock });
    expect(again.space.revocations.has(writer.key)).toBe(true);
  });

  test("are told to whoever lacks them, parents first", async () => {
    const revoked = revokeBehindFirst(space);
    const has = await open({ space: revoked });
    const lacks = await open();
    const told = has.readRecords(lacks.recordIds());
    expect(told).toEqual({ acts: actsSince(space, revoked), proofs: [] });
    await lacks.addRecords(told);
    expect(lacks.recordsDigest()).toEqual(has.recordsDigest());
    expect(has.readRecords(lacks.recordIds())).toEqual({ acts: [], proofs: [] });
  });
});
