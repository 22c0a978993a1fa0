// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a device can't fork so often that honest replicas end up with different parts of it.
 * Method: proofs of more forks than are kept go to replicas in different orders; they must agree on records and content.
 */
import { decodeBatch } from "@ctxmesh/codec";
import { LIMITS, toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeProof } from "../src/evidence.ts";
import {
  DOC,
  START_MS,
  applied,
  deviceOf,
  forge,
  hlcAt,
  incarnationOf,
  open,
  spaceWith,
  us,
  writer,
} from "./mesh.ts";
import type { Device, Forged } from "./mesh.ts";

const other = deviceOf(11);
const space = spaceWith([
  [us, "write"],
  [other, "write"],
  [writer, "append"],
]);
const LIMIT = LIMITS.proofsPerDevice;

/** Two first batches of one chain. */
function twoOf(n: number, device: Device = writer): [Forged, Forged] {
  const [one, two] = ["1", "2"].map((valueJson) =>
    forge({
      space,
      device,
      incarnation: incarnationOf(n),
      records: [{ key: `m${String(n)}`, seq: 1, hlc: hlcAt(1), valueJson }],
    }),
  );
  if (one === undefined || two === undefined) throw new Error("no batches");
  return [one, two];
}

const proofsOf = (device: Device, count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, n) => {
    const [one, two] = twoOf(n + 1, device);
    return encodeProof(decodeBatch(one.bytes), decodeBatch(two.bytes));
  });

const proofs = proofsOf(writer, LIMIT + 40);

const stateOf = (replica: Replica): unknown => ({
  frontier: toHex(replica.frontierDigest()),
  records: toHex(replica.recordsDigest()),
  leaves: replica.snapshot().leaves,
});

describe(`a device with ${String(LIMIT)} proven forks`, () => {
  test("has nothing that counts, so one more fork splits nobody, and honest writes go through", async () => {
    const clock = createVirtualClock(START_MS);
    const a = await open({ space, clock });
    const b = await open({ space, clock, device: other });
    const written = [applied(a, "local"), applied(b, "local")] as const;
    const [one, two] = twoOf(1000);
    expect((await a.receive(one.bytes)).kind).toBe("accepted");
    await a.put(DOC, [{ key: "a", value: "of a" }]);
    expect((await b.receive(two.bytes)).kind).toBe("accepted");
    for (const replica of [a, b]) await replica.addRecords({ proofs: proofs.slice(0, LIMIT) });
    await b.put(DOC, [{ key: "b", value: "of b" }]);
    expect(a.get(DOC, "m1000")).toBeUndefined();
    expect(await a.receive(two.bytes)).toMatchObject({ kind: "refused", reason: "equivocation" });
    expect(a.limitOf(writer.key, incarnationOf(1000))).toBe(0);
    for (const bytes of written[1]) await a.receive(bytes);
    for (const bytes of written[0]) await b.receive(bytes);
    for (const hash of b.missing(0)) await b.addHeaders(await a.signedHeaders(hash));
    await b.put(DOC, [{ key: "b2", value: 1 }]);
    for (const bytes of written[1]) await a.receive(bytes);
    expect(b.get(DOC, "a")?.value).toBe("of a");
    expect(a.get(DOC, "b")?.value).toBe("of b");
    expect(a.counters().held + b.counters().held).toBe(0);
    expect(stateOf(b)).toEqual(stateOf(a));
  });

  test("is the same for replicas that heard of different ones, in any order, and nothing more is told of it", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(proofs, { minLength: LIMIT - 60 }),
        fc.shuffledSubarray(proofs, { minLength: LIMIT - 60 }),
        async (one, two) => {
          const store = createMemoryStore();
          const [a, b] = [await open({ space, store }), await open({ space, device: other })];
          await a.addRecords({ proofs: one });
          await b.addRecords({ proofs: two });
          await a.addRecords(b.readRecords(a.recordIds()));
          await b.addRecords(a.readRecords(b.recordIds()));
          expect(b.recordsDigest()).toEqual(a.recordsDigest());
          expect(a.readRecords(b.recordIds()).proofs).toEqual([]);
          expect(a.evidence().length).toBeLessThanOrEqual(LIMIT);
          const before = stateOf(a);
          await a.close();
          expect(stateOf(await open({ space, store: await store.reopen() }))).toEqual(before);
        },
      ),
      { numRuns: 3 },
    );
  });

  test("is told so when it is this one", async () => {
    const replica = await open({ space });
    await replica.put(DOC, [{ key: "own", value: 1 }]);
    const before = replica.incarnation;
    await replica.addRecords({ proofs: proofsOf(us, LIMIT) });
    expect(replica.get(DOC, "own")).toBeUndefined();
    expect(replica.incarnation).toBe(before);
    await expect(replica.put(DOC, [{ key: "own", value: 2 }])).rejects.toMatchObject({
      code: "POLICY_REFUSED",
      message: expect.stringContaining("fork") as string,
    });
  });
});
