// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a device that forks its chain exactly where a revocation cuts it stops no honest replica, and gains nothing.
 * Method: two processes with the same randomness write two branches; honest replicas have one or the other, build on it,
 * hear of the revocation and of the other branch in every order, and must agree in the end, before and after a restart.
 */
import { decodeBatch } from "@ctxmesh/codec";
import type { Role } from "@ctxmesh/codec";
import { revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createSeededRandom } from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import {
  actsSince,
  DOC,
  START_MS,
  applied,
  creator,
  deviceOf,
  open,
  spaceWith,
  us,
  writer,
} from "./mesh.ts";

const other = deviceOf(11);

const insert = (replica: Replica, at: number, text: string): Promise<unknown> =>
  replica.edit(DOC, (roots) => roots.text("notes").insert(at, text));

const stateOf = (replica: Replica): unknown => ({
  frontier: toHex(replica.frontierDigest()),
  records: toHex(replica.recordsDigest()),
  leaves: replica.snapshot().leaves,
});

type Write = (replica: Replica, text: string) => Promise<unknown>;

const spaceFor = (role: Role): Space =>
  spaceWith([
    [us, "write"],
    [other, "write"],
    [writer, role],
  ]);

/** Two histories of the writer that part at seq 2, the second one longer by `more`, and a revocation that cuts at the first. */
async function forkAtCut(
  space: Space,
  write: Write,
  more = 0,
): Promise<{ a: Uint8Array[]; b: Uint8Array[]; acts: Uint8Array[] }> {
  const [one, two] = await Promise.all(
    [0, 1].map(() =>
      open({ device: writer, space: spaceFor("write"), random: createSeededRandom(77) }),
    ),
  );
  if (one === undefined || two === undefined) throw new Error("not opened");
  const [a, b] = [applied(one, "local"), applied(two, "local")];
  for (const replica of [one, two]) await write(replica, "base ");
  await write(one, "A ");
  for (let n = 0; n <= more; n++) await write(two, `B${String(n)} `);
  const [head] = one.heads();
  if (head === undefined) throw new Error("no head");
  const { incarnation, seq, hash } = head;
  const revoked = revokeDevice(space, creator.signer, {
    device: writer.key,
    heads: [{ incarnation, seq, hash }],
    reason: "stolen",
    now: START_MS,
  });
  return { a, b, acts: actsSince(space, revoked) };
}

const edits: Write = (replica, text) => insert(replica, 0, text);
const facts: Write = (replica, text) => replica.put(DOC, [{ key: "m", value: text }]);

async function receiveAll(replica: Replica, batches: readonly Uint8Array[]): Promise<void> {
  for (const bytes of batches) await replica.receive(bytes);
}

/** Gives everything to everybody until nothing is held that could be let go. */
async function exchange(
  replicas: readonly Replica[],
  batches: readonly Uint8Array[],
): Promise<void> {
  for (let round = 0; round < 4; round++) {
    for (const replica of replicas) {
      await receiveAll(replica, batches);
      for (const from of replicas) {
        await replica.addRecords(from.readRecords(replica.recordIds()));
        for (const hash of replica.missing(0)) {
          await replica.addHeaders(await from.signedHeaders(hash));
        }
      }
      replica.retryTimed();
    }
  }
}

async function reopened(replica: Replica, store: MemoryStore, space: Space): Promise<Replica> {
  await replica.close();
  return open({ device: us, space, store: await store.reopen() });
}

describe("a fork exactly at a revocation's cut", () => {
  test.each([
    [0, "write"],
    [1, "write"],
    [0, "append"],
  ] as const)(
    "does not stop who built on the other branch, %i longer, of a device that may %s",
    async (more, role) => {
      const space = spaceFor(role);
      const { b, acts } = await forkAtCut(space, edits, more);
      const store = createMemoryStore();
      const honest = await open({ space, store });
      await receiveAll(honest, b);
      await insert(honest, 2, "honest ");
      await honest.put(DOC, [{ key: "k", value: "acknowledged" }]);
      expect(await honest.addRecords({ acts })).toEqual({ added: 1, refused: [] });
      expect(honest.failure).toBeUndefined();
      expect(honest.content(DOC)).toMatchObject([{ value: [{ insert: "base " }] }]);
      await honest.put(DOC, [{ key: "next", value: 1 }]);
      const before = stateOf(honest);
      const again = await reopened(honest, store, space);
      expect(stateOf(again)).toEqual(before);
      expect(again.get(DOC, "k")?.value).toBe("acknowledged");
    },
  );

  test("voids the other branch at once, also of facts alone", async () => {
    const space = spaceFor("write");
    const { b, acts } = await forkAtCut(space, facts);
    const store = createMemoryStore();
    const honest = await open({ space, store });
    await receiveAll(honest, b);
    expect(honest.get(DOC, "m")?.value).toBe("B0 ");
    await honest.addRecords({ acts });
    expect(honest.get(DOC, "m")?.value).toBe("base ");
    const before = stateOf(honest);
    expect(stateOf(await reopened(honest, store, space))).toEqual(before);
  });

  test.each([
    ["the acts, then the other branch", [0, 1]],
    ["the other branch, then the acts", [1, 0]],
  ] as const)(
    "ends the same way for who had one branch and who had the other: %s",
    async (_, order) => {
      const space = spaceFor("write");
      const { a, b, acts } = await forkAtCut(space, edits);
      const hadA = await open({ space, device: other });
      const hadB = await open({ space });
      const written = [hadA, hadB].map((replica) => applied(replica, "local"));
      await receiveAll(hadA, a);
      await receiveAll(hadB, b);
      for (const replica of [hadA, hadB]) await insert(replica, 1, "upon it ");
      const steps = [
        async () => {
          for (const replica of [hadA, hadB]) await replica.addRecords({ acts });
        },
        async () => {
          await receiveAll(hadB, a);
          await receiveAll(hadA, b);
        },
      ];
      for (const step of order) await steps[step]?.();
      await exchange([hadA, hadB], [...a, ...b, ...written.flat()]);
      expect(stateOf(hadB)).toEqual(stateOf(hadA));
      expect(hadA.evidence()).toMatchObject([{ seq: 2 }]);
      expect(hadA.counters().held + hadB.counters().held).toBe(0);
    },
  );

  test("is proven by the header alone that what builds on the other branch names", async () => {
    const space = spaceFor("write");
    const { a, b, acts } = await forkAtCut(space, edits);
    const hadA = await open({ space, device: other });
    const hadB = await open({ space });
    const written = applied(hadB, "local");
    await receiveAll(hadA, a);
    await receiveAll(hadB, b);
    await insert(hadB, 1, "upon B");
    for (const replica of [hadA, hadB]) await replica.addRecords({ acts });
    await receiveAll(hadA, written);
    expect(hadA.missing(0)).toEqual([decodeBatch(written[0] ?? new Uint8Array()).header.deps[0]]);
    for (const hash of hadA.missing(0)) await hadA.addHeaders(await hadB.signedHeaders(hash));
    // The proof takes effect behind what found it, and what builds on the branch behind that.
    await hadA.put(DOC, [{ key: "own", value: 1 }]);
    await hadA.put(DOC, [{ key: "own", value: 2 }]);
    expect(hadA.evidence()).toMatchObject([{ seq: 2 }]);
    expect(hadA.content(DOC)).toMatchObject([{ value: [{ insert: "base " }] }]);
    expect(hadA.counters().held).toBe(0);
  });

  test("is proven by a batch that comes where a void header alone is", async () => {
    const space = spaceFor("write");
    const { a, b, acts } = await forkAtCut(space, edits);
    const hadB = await open({ space });
    const written = applied(hadB, "local");
    await receiveAll(hadB, b);
    await insert(hadB, 1, "upon B");
    const late = await open({ space, device: other });
    for (const replica of [late, hadB]) await replica.addRecords({ acts });
    await receiveAll(late, [...a.slice(0, 1), ...written]);
    for (const hash of late.missing(0)) await late.addHeaders(await hadB.signedHeaders(hash));
    await late.put(DOC, [{ key: "own", value: 1 }]);
    expect(late.evidence()).toEqual([]);
    expect(await late.receive(a[1] ?? new Uint8Array())).toMatchObject({ reason: "equivocation" });
    await late.put(DOC, [{ key: "own", value: 2 }]);
    expect(late.evidence()).toMatchObject([{ seq: 2 }]);
  });
});
