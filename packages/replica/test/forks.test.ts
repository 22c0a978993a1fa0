// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a device that signs two histories gains nothing by it: the fork is proven, both branches stop
 * counting everywhere, and an honest device whose machine was cloned loses no fact.
 * Method: branches made by hand go to replicas in different orders; clones are two replicas that were given
 * the same randomness, hence the same incarnation, on stores of their own.
 */
import { decodeBatch } from "@ctxmesh/codec";
import { LIMITS, toHex } from "@ctxmesh/model";
import type { RandomSource } from "@ctxmesh/model";
import { verifyProof } from "@ctxmesh/replica";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeProof } from "../src/evidence.ts";
import {
  DOC,
  START_MS,
  applied,
  emptySpace,
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
  verifier,
  writer,
} from "./mesh.ts";
import type { Device, Forged } from "./mesh.ts";

const signed = ({ bytes }: Forged): ReturnType<typeof decodeBatch> => decodeBatch(bytes);

/** A chain of `length` that is the trunk up to `fork` (not included) and another one from there. */
function branch(trunk: readonly Forged[], fork: number, length: number): Forged[] {
  const chain = trunk.slice(0, fork - 1);
  for (let seq = fork; seq <= length; seq++) {
    const records = [{ key: "other", seq, hlc: hlcAt(seq), valueJson: String(seq) }];
    chain.push(forge({ seq, prev: chain.at(-1)?.hash ?? null, records }));
  }
  return chain;
}

async function receiveAll(replica: Replica, batches: readonly Forged[]): Promise<void> {
  for (const { bytes } of batches) await replica.receive(bytes);
  // Proofs take effect behind the group that found them.
  await replica.addRecords({});
}

const stateOf = (replica: Replica): unknown => ({
  frontier: toHex(replica.frontierDigest()),
  records: toHex(replica.recordsDigest()),
  leaves: replica.snapshot().leaves,
});

describe("a second history of a chain", () => {
  const trunk = forgeChain(6);

  test("is refused, proven, and ends the chain where it forks", async () => {
    const replica = await open();
    await receiveAll(replica, trunk);
    const other = branch(trunk, 4, 6);
    expect(await replica.receive(other[3]?.bytes ?? new Uint8Array())).toMatchObject({
      kind: "refused",
      reason: "equivocation",
    });
    await replica.addRecords({});
    expect(replica.get(DOC, "forged")?.value).toBe(3);
    expect(replica.chains()).toEqual([
      expect.objectContaining({ seq: 3, limit: 3, void: 3, reason: "equivocation" }),
    ]);
    const [fork] = replica.evidence();
    expect(fork).toMatchObject({ replica: writer.key, seq: 4 });
    expect(verifyProof(fork?.proof ?? new Uint8Array(), space.id, verifier)).toEqual(fork);
    expect(unaccounted(replica.counters())).toBe(0);
    // Neither branch goes on; other chains of the device do.
    const next = forge({ seq: 7, prev: trunk[5]?.hash ?? null });
    expect(await replica.receive(next.bytes)).toMatchObject({ reason: "equivocation" });
    const fresh = forge({ incarnation: incarnationOf(1) });
    expect(await replica.receive(fresh.bytes)).toEqual({ kind: "accepted" });
  });

  test("is proven by a successor alone, whose prev names what is not here", async () => {
    const replica = await open();
    await receiveAll(replica, trunk.slice(0, 4));
    const [, , , , fifth] = branch(trunk, 4, 6);
    expect(await replica.receive(fifth?.bytes ?? new Uint8Array())).toMatchObject({
      reason: "equivocation",
    });
    await replica.addRecords({});
    expect(replica.evidence()).toMatchObject([{ seq: 4 }]);
    expect(replica.chains()).toMatchObject([{ seq: 3, void: 1 }]);
  });

  test("ends the same way whatever came first, and after a restart", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 0, max: 1000 }),
        async (low, high, seed) => {
          const branches = [trunk, branch(trunk, low, 6), branch(trunk, high, 6)];
          const store = createMemoryStore();
          const replicas = [await open({ store }), await open(), await open()];
          for (const [i, replica] of replicas.entries()) {
            for (let k = 0; k < 3; k++) {
              await receiveAll(replica, branches[(i + k + seed) % 3] ?? []);
            }
          }
          for (const replica of replicas) {
            for (const other of replicas) {
              await replica.addRecords(other.readRecords(replica.recordIds()));
            }
            // What counts of the chain and was not taken yet is there for whoever asks.
            await receiveAll(replica, trunk.slice(0, Math.min(low, high) - 1));
          }
          const [one, ...rest] = replicas as [Replica, Replica, Replica];
          for (const other of rest) expect(stateOf(other)).toEqual(stateOf(one));
          const before = stateOf(one);
          await one.close();
          expect(stateOf(await open({ store: await store.reopen() }))).toEqual(before);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("that is held is found out when it is let go", async () => {
    const replica = await open();
    const other = branch(trunk, 2, 3);
    for (const batch of [trunk[1], other[1], trunk[2], other[2]]) {
      expect((await replica.receive(batch?.bytes ?? new Uint8Array())).kind).toBe("held");
    }
    await receiveAll(replica, trunk.slice(0, 1));
    await replica.addRecords({});
    expect(replica.evidence()).toMatchObject([{ seq: 2 }]);
    expect(replica.chains()).toMatchObject([{ seq: 1 }]);
    expect(replica.counters().held).toBe(0);
    expect(unaccounted(replica.counters())).toBe(0);
  });
});

const verify = (a: Forged, b: Forged): unknown =>
  verifyProof(encodeProof(signed(a), signed(b)), space.id, verifier);

/** The proof of a fork in a chain of a device. */
function forkOf(device: Device, n: number): Uint8Array {
  const incarnation = incarnationOf(1000 + n);
  const [a, b] = [1, 2].map((ms) => signed(forge({ device, incarnation, hlc: hlcAt(ms) })));
  if (a === undefined || b === undefined) throw new Error("no headers");
  return encodeProof(a, b);
}

describe("a proof", () => {
  const [first, second] = forgeChain(2) as [Forged, Forged];
  const other = forge({ seq: 1, hlc: hlcAt(9) });

  test("of another space, of two chains, of headers that go together, or unsigned is none", () => {
    expect(verify(first, other)).toMatchObject({ seq: 1 });
    const elsewhere = forge({ space: emptySpace(2) });
    const cases: readonly (readonly [Forged, Forged, string])[] = [
      [first, first, "FORMAT_INVALID"],
      [first, second, "FORMAT_INVALID"],
      [second, first, "FORMAT_INVALID"],
      [first, forge({ incarnation: incarnationOf(1) }), "FORMAT_INVALID"],
      [first, forge({ device: us }), "FORMAT_INVALID"],
      [elsewhere, forge({ space: emptySpace(2), hlc: hlcAt(9) }), "POLICY_REFUSED"],
      [first, forge({ hlc: hlcAt(9), signer: us.signer }), "SIGNATURE_INVALID"],
    ];
    for (const [a, b, code] of cases) {
      expect(() => verify(a, b)).toThrow(expect.objectContaining({ code }) as Error);
    }
  });

  test("about a device that nothing was ever granted is not kept, and of one device only so many", async () => {
    const replica = await open();
    expect(await replica.addRecords({ proofs: [forkOf(stranger, 1)] })).toMatchObject({ added: 0 });
    const many = Array.from({ length: LIMITS.proofsPerDevice + 3 }, (_, n) => forkOf(writer, n));
    expect(await replica.addRecords({ proofs: many })).toMatchObject({
      added: LIMITS.proofsPerDevice,
    });
    expect(await replica.addRecords({ proofs: [forkOf(us, 1)] })).toMatchObject({ added: 1 });
  });

  test("with any byte changed is none", () => {
    const proof = encodeProof(signed(first), signed(other));
    fc.assert(
      fc.property(fc.nat(proof.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = proof.slice();
        changed[at] = (changed[at] ?? 0) ^ flip;
        expect(() => verifyProof(changed, space.id, verifier)).toThrow(/./u);
      }),
    );
  });
});

/** The same first bytes for every copy, and other ones from then on. */
function clonedRandom(copy: number): RandomSource {
  const shared = createSeededRandom(4242);
  const own = createSeededRandom(copy);
  let drawn = 0;
  return { bytes: (length) => (drawn++ === 0 ? shared : own).bytes(length) };
}

/** Two replicas in the same incarnation, as two copies of one running process are. */
async function clones(clock: VirtualClock): Promise<[Replica, Replica]> {
  return [
    await open({ clock, random: clonedRandom(1) }),
    await open({ clock, random: clonedRandom(2) }),
  ];
}

describe("a cloned replica", () => {
  test("goes on in a new incarnation, and no fact of either copy is lost", async () => {
    const clock = createVirtualClock(START_MS);
    const [a, b] = await clones(clock);
    const before = a.incarnation;
    expect(b.incarnation).toBe(before);
    const batches = [applied(a), applied(b)] as const;
    await a.put(DOC, [{ key: "from-a", value: 1 }]);
    clock.advance(5);
    await b.put(DOC, [{ key: "from-b", value: 2 }]);
    const other = await open({ device: writer, clock });
    for (const bytes of batches.flat()) await other.receive(bytes);
    await other.addRecords({});
    expect(other.list({})).toEqual([]);
    for (const replica of [a, b]) {
      await replica.addRecords(other.readRecords(replica.recordIds()));
      expect(replica.incarnation).not.toBe(before);
    }
    for (const bytes of batches.flat()) await other.receive(bytes);
    expect(other.list({}).map(({ key, value }) => [key, value])).toEqual([
      ["from-a", 1],
      ["from-b", 2],
    ]);
    expect(a.get(DOC, "from-a")?.value).toBe(1);
    await a.put(DOC, [{ key: "after", value: 3 }]);
    expect(await other.receive(batches[0].at(-1) ?? new Uint8Array())).toEqual({
      kind: "accepted",
    });
  });

  test("finds out by itself when it hears of a batch in its incarnation that it did not write", async () => {
    const clock = createVirtualClock(START_MS);
    const [a, b] = await clones(clock);
    const fromB = applied(b);
    await b.put(DOC, [{ key: "from-b", value: 2 }]);
    const before = a.incarnation;
    await a.receive(fromB[0] ?? new Uint8Array());
    expect(a.incarnation).not.toBe(before);
    await a.put(DOC, [{ key: "from-a", value: 1 }]);
    expect(a.heads()).toHaveLength(2);
    expect(a.list({})).toHaveLength(2);
  });

  test("states again only once, also after restarts", async () => {
    const clock = createVirtualClock(START_MS);
    const store = createMemoryStore();
    const a = await open({ clock, store, random: clonedRandom(1) });
    const b = await open({ clock, random: clonedRandom(2) });
    await a.put(DOC, [{ key: "from-a", value: 1 }]);
    clock.advance(5);
    const fromB = applied(b);
    await b.put(DOC, [{ key: "from-b", value: 2 }]);
    await a.receive(fromB[0] ?? new Uint8Array());
    await a.addRecords({});
    expect(a.get(DOC, "from-a")?.value).toBe(1);
    const chains = a.chains().length;
    await a.close();
    for (let restart = 0; restart < 3; restart++) {
      const again = await open({ clock, store: await store.reopen() });
      await again.addRecords({});
      expect(again.chains()).toHaveLength(chains);
      expect(again.get(DOC, "from-a")?.value).toBe(1);
      await again.close();
    }
  });

  test("states deletions and retractions again as well", async () => {
    const clock = createVirtualClock(START_MS);
    const managed = spaceWith([
      [us, "manage"],
      [writer, "append"],
    ]);
    const options = { clock, space: managed };
    const a = await open({ ...options, random: clonedRandom(1) });
    const b = await open({ ...options, random: clonedRandom(2) });
    await a.receive(forge({ space: managed }).bytes);
    const fromB = applied(b);
    await a.retract(DOC, "forged", writer.key, "sensor broken");
    await a.put(DOC, [{ key: "gone", value: 1 }]);
    await a.delete(DOC, ["gone"]);
    clock.advance(5);
    await b.put(DOC, [{ key: "from-b", value: 2 }]);
    await a.receive(fromB[0] ?? new Uint8Array());
    await a.addRecords({});
    expect(a.get(DOC, "forged")).toBeUndefined();
    expect(a.candidates(DOC, "forged")).toMatchObject([{ standing: "retracted" }]);
    expect(a.get(DOC, "gone")).toBeUndefined();
    expect(a.candidates(DOC, "gone")).toMatchObject([{ deleted: true }]);
  });
});

describe("rich content on a branch", () => {
  test("goes with it, and so does what was built on it, but nobody's facts", async () => {
    const clock = createVirtualClock(START_MS);
    const random = createSeededRandom(77);
    const managed = spaceWith([
      [us, "write"],
      [writer, "write"],
    ]);
    const forker = await open({ clock, random, device: writer, space: managed });
    const honest = await open({ clock, space: managed });
    const third = await open({ clock, space: managed, device: us });
    const forked = applied(forker, "local");
    const written = applied(honest, "local");
    await forker.edit(DOC, (roots) => roots.text("notes").insert(0, "evil "));
    for (const bytes of forked) await honest.receive(bytes);
    await honest.edit(DOC, (roots) => roots.text("notes").insert(5, "honest"));
    await honest.put(DOC, [{ key: "fact", value: 1 }]);
    const twin = await open({
      clock,
      random: createSeededRandom(77),
      device: writer,
      space: managed,
    });
    const twinWritten = applied(twin, "local");
    clock.advance(3);
    await twin.edit(DOC, (roots) => roots.text("notes").insert(0, "other "));

    const before = honest.incarnation;
    await honest.receive(twinWritten[0] ?? new Uint8Array());
    await honest.addRecords({});
    expect(honest.evidence()).toMatchObject([{ seq: 1 }]);
    expect(honest.content(DOC)).toEqual([]);
    expect(honest.get(DOC, "fact")?.value).toBe(1);
    // Its own text is void, so its client's clocks must not be used again.
    expect(honest.incarnation).not.toBe(before);
    await honest.edit(DOC, (roots) => roots.text("notes").insert(0, "again"));
    expect(honest.content(DOC)).toHaveLength(1);

    // A replica that never had the branch comes to the same content.
    await third.addRecords(honest.readRecords(third.recordIds()));
    for (const bytes of written) await third.receive(bytes);
    for (const hash of third.missing(0)) {
      await third.addHeaders(await honest.signedHeaders(hash));
    }
    third.retryTimed();
    await third.addRecords({});
    for (const bytes of written) await third.receive(bytes);
    expect(third.counters().held).toBe(0);
    expect(stateOf(third)).toEqual(stateOf(honest));
  });
});
