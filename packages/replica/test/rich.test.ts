// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: rich content travels, merges, survives restarts and refuses forgeries like facts do.
 * Method: real replicas over memory stores; batches delivered by hand, in any order.
 */
import {
  decodeBatch,
  encodeBatch,
  encodeBody,
  encodeHeader,
  headerSigningInput,
} from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DOC, open, shuffledBy, us, writer } from "./rich-support.ts";

const textOf = (replica: Replica): unknown =>
  replica.content(DOC).find(({ root }) => root === "notes")?.value;

const insert = async (replica: Replica, text: string, at = 0): Promise<unknown> =>
  replica.edit(DOC, (roots) => {
    roots.text("notes").insert(at, text);
  });

test("concurrent edits of one text merge the same way on both sides, facts beside them", async () => {
  const a = await open({ device: us });
  const b = await open({ device: writer });
  await insert(a.replica, "from a. ");
  await insert(b.replica, "from b. ");
  await a.replica.put(DOC, [{ key: "k", value: 1 }]);
  for (const bytes of a.sent) expect(await b.replica.receive(bytes)).toEqual({ kind: "accepted" });
  for (const bytes of b.sent) expect(await a.replica.receive(bytes)).toEqual({ kind: "accepted" });
  expect(textOf(a.replica)).toEqual(textOf(b.replica));
  expect(JSON.stringify(textOf(a.replica))).toContain("from a. ");
  expect(a.replica.snapshot().leaves).toEqual(b.replica.snapshot().leaves);
  expect(a.replica.frontierDigest()).toEqual(b.replica.frontierDigest());
});

test("whatever the order of delivery, edits that build on each other converge and nothing stays held", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.infiniteStream(fc.nat()),
      fc.integer({ min: 1, max: 8 }),
      async (pick, rounds) => {
        const a = await open({ device: us });
        const b = await open({ device: writer });
        for (let i = 0; i < rounds; i++) {
          await insert(a.replica, `a${String(i)} `, 0);
          const last = a.sent.at(-1);
          if (last !== undefined) await b.replica.receive(last);
          await insert(b.replica, `b${String(i)} `, 0);
          const answer = b.sent.at(-1);
          if (answer !== undefined) await a.replica.receive(answer);
        }
        const c = await open({ device: us, incarnationSeed: 9 });
        for (const bytes of shuffledBy([...a.sent, ...b.sent], pick))
          await c.replica.receive(bytes);
        await c.replica.close();
        expect(c.replica.counters().held).toBe(0);
        expect(textOf(c.replica)).toEqual(textOf(a.replica));
        expect(c.replica.frontierDigest()).toEqual(a.replica.frontierDigest());
      },
    ),
    { numRuns: 20 },
  );
});

test("rich content is there after a restart, and lives without a rich write add no client id", async () => {
  let store = createMemoryStore();
  const first = await open({ device: us, store });
  await insert(first.replica, "kept");
  await first.replica.close();
  for (let i = 0; i < 5; i++) {
    store = await store.reopen();
    const life = await open({ device: us, store, incarnationSeed: 20 + i });
    await life.replica.put(DOC, [{ key: "k", value: i }]);
    expect(decodeBatch(life.sent[0] ?? new Uint8Array()).header.client).toBe(0);
    expect(textOf(life.replica)).toEqual([{ insert: "kept" }]);
    await life.replica.close();
  }
});

test("an edit that throws rejects alone; the writes gathered with it are kept", async () => {
  const { replica } = await open({ device: us });
  const [bad, good, fact] = await Promise.allSettled([
    replica.edit(DOC, () => {
      throw new Error("no");
    }),
    insert(replica, "yes"),
    replica.put(DOC, [{ key: "k", value: 1 }]),
  ]);
  expect([bad.status, good.status, fact.status]).toEqual(["rejected", "fulfilled", "fulfilled"]);
  expect(textOf(replica)).toEqual([{ insert: "yes" }]);
});

test("many edits of one document in one group come out in order", async () => {
  const { replica, sent } = await open({ device: us });
  await Promise.all(Array.from({ length: 20 }, (_, i) => insert(replica, String(i % 10), i)));
  expect(textOf(replica)).toEqual([{ insert: "01234567890123456789" }]);
  const other = await open({ device: writer });
  for (const bytes of sent) await other.replica.receive(bytes);
  expect(textOf(other.replica)).toEqual(textOf(replica));
});

test("a rich update under another incarnation's client id is refused, and nothing of its batch is applied", async () => {
  const a = await open({ device: us });
  await insert(a.replica, "mine");
  const victim = decodeBatch(a.sent[0] ?? new Uint8Array());
  const b = await open({ device: writer });
  const header = {
    ...victim.header,
    replica: writer.key,
    sections: victim.header.sections,
  };
  const headerBytes = encodeHeader(header);
  const forged = encodeBatch({
    headerBytes,
    signature: writer.signer.sign(headerSigningInput(headerBytes)),
    bodies: victim.bodies,
  });
  const before = b.replica.snapshot().leaves;
  expect(await b.replica.receive(forged)).toMatchObject({ kind: "refused", reason: "rich" });
  expect(b.replica.snapshot().leaves).toEqual(before);
});

test("bytes that are no update are refused as rich", async () => {
  const a = await open({ device: us });
  await insert(a.replica, "x");
  const real = decodeBatch(a.sent[0] ?? new Uint8Array());
  const body = encodeBody(new Uint8Array([1, 2, 3]));
  const sections = real.header.sections.map((section) => ({
    ...section,
    bodyHash: sha256(body),
    bodyLen: body.length,
  }));
  const headerBytes = encodeHeader({ ...real.header, sections });
  const signature = us.signer.sign(headerSigningInput(headerBytes));
  const b = await open({ device: writer });
  const outcome = await b.replica.receive(encodeBatch({ headerBytes, signature, bodies: [body] }));
  expect(outcome).toMatchObject({ kind: "refused", reason: "rich" });
});

/** The same batch under another client id, signed again. */
const resigned = (bytes: Uint8Array | undefined, client: number): Uint8Array => {
  const batch = decodeBatch(bytes ?? new Uint8Array());
  const headerBytes = encodeHeader({ ...batch.header, client });
  const signature = us.signer.sign(headerSigningInput(headerBytes));
  return encodeBatch({ headerBytes, signature, bodies: batch.bodies });
};

test("a header names its incarnation's own client id or, without rich content, none", async () => {
  const a = await open({ device: us });
  await a.replica.put(DOC, [{ key: "k", value: 1 }]);
  await insert(a.replica, "x");
  const refusal = { kind: "refused", reason: "rich", detail: expect.stringContaining("client id") };
  const other = await open({ device: writer });
  expect(await other.replica.receive(resigned(a.sent[0], 5))).toMatchObject(refusal);
  expect(await other.replica.receive(a.sent[0] ?? new Uint8Array())).toEqual({ kind: "accepted" });
  expect(await other.replica.receive(resigned(a.sent[1], 0))).toMatchObject(refusal);
  expect(textOf(other.replica)).toBeUndefined();
});
