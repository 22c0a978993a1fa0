// SPDX-License-Identifier: Apache-2.0
import { decodeBatch } from "@ctxmesh/codec";
import { HlcClock, encodeFrame } from "@ctxmesh/facts";
import { LIMITS, parseDocumentName, toHex } from "@ctxmesh/model";
import type { DocumentName, FactInput, Hlc } from "@ctxmesh/model";
import { createMemoryStore, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { buildBatch, packWrites, preparePut, stampWrites } from "../src/local-batch.ts";
import type { Part } from "../src/parts.ts";
import {
  DOC,
  START_MS,
  applied,
  incarnationOf,
  open,
  space,
  unknownHash,
  us,
  writer,
} from "./mesh.ts";

const docOf = (n: number, length = 4): DocumentName =>
  parseDocumentName(`d${String(n)}`.padEnd(length, "x"));

describe("group commit", () => {
  test("1,000 concurrent puts become few batches, with rising receipts, all readable once acknowledged", async () => {
    let syncs = 0;
    const beforeSync = (): Promise<void> => {
      syncs++;
      return Promise.resolve();
    };
    const replica = await open({ store: createMemoryStore({ faults: { beforeSync } }) });
    const batches = applied(replica);
    const receipts = await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => {
        const receipt = await replica.put(DOC, [{ key: `k${String(i)}`, value: i }]);
        expect(replica.get(DOC, `k${String(i)}`)?.value).toBe(i);
        expect(replica.get(DOC, `k${String(i)}`)?.hlc).toBe(receipt.hlc);
        return receipt;
      }),
    );
    expect(batches.length).toBeLessThanOrEqual(5);
    expect(syncs).toBeLessThanOrEqual(6);
    const clocks = receipts.map(({ hlc }) => hlc);
    expect(clocks).toEqual([...new Set(clocks)].toSorted((a, b) => a - b));
    expect(replica.count()).toEqual({ documents: 1, facts: 1000, contested: 0 });
  });

  test("writes made while one is under way go together into the next", async () => {
    const gates: (() => void)[] = [];
    let syncs = 0;
    const beforeSync = async (): Promise<void> => {
      if (syncs++ === 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      gates.push(resolve);
      await promise;
    };
    const replica = await open({ store: createMemoryStore({ faults: { beforeSync } }) });
    const batches = applied(replica);
    const first = replica.put(DOC, [{ key: "first", value: 1 }]);
    while (gates.length < 1) await Promise.resolve();
    const more = [1, 2, 3].map((n) => replica.put(DOC, [{ key: "k", value: n }]));
    expect(replica.get(DOC, "first")).toBeUndefined();
    gates[0]?.();
    await first;
    while (gates.length < 2) await Promise.resolve();
    expect(replica.get(DOC, "first")?.value).toBe(1);
    expect(replica.get(DOC, "k")).toBeUndefined();
    gates[1]?.();
    await Promise.all(more);
    expect(batches).toHaveLength(2);
    expect(replica.get(DOC, "k")?.value).toBe(3);
  });

  test("more documents than one batch may touch go into several, linked in one chain", async () => {
    const replica = await open();
    const other = await open({ device: writer });
    const batches = applied(replica);
    const count = 2 * LIMITS.sectionsPerBatch + 1;
    await Promise.all(
      Array.from({ length: count }, (_, i) => replica.put(docOf(i), [{ key: "k", value: i }])),
    );
    const sections = batches.map((bytes) => decodeBatch(bytes).header.sections.length);
    expect(sections).toEqual([LIMITS.sectionsPerBatch, LIMITS.sectionsPerBatch, 1]);
    for (const bytes of batches) expect(await other.receive(bytes)).toEqual({ kind: "accepted" });
    expect(other.frontierDigest()).toEqual(replica.frontierDigest());
    expect(other.count().documents).toBe(count);
  });
});

const random = createSeededRandom(3);
/** Text that compresses as badly as text can. */
const noise = (length: number): string =>
  Array.from(random.bytes(length), (byte) => String.fromCodePoint(0x21 + (byte % 94))).join("");

interface Shape {
  readonly doc: number;
  readonly docLength: number;
  readonly facts: number;
  readonly keyLength: number;
  readonly valueLength: number;
  readonly tags: number;
  readonly tagLength: number;
  readonly rich: boolean;
}

const shape: fc.Arbitrary<Shape> = fc.record({
  doc: fc.nat(400),
  docLength: fc.constantFrom(4, 200),
  facts: fc.constantFrom(1, 2, 30),
  keyLength: fc.constantFrom(1, 10, 500),
  valueLength: fc.constantFrom(1, 10, 600, 6000),
  tags: fc.constantFrom(0, 16),
  tagLength: fc.constantFrom(1, 128),
  rich: fc.boolean(),
});

const factsOf = ({ facts, keyLength, valueLength, tags, tagLength, rich }: Shape): FactInput[] =>
  Array.from({ length: facts }, () => ({
    key: noise(keyLength),
    value: noise(valueLength),
    tags: Array.from({ length: tags }, () => noise(tagLength)),
    ...(rich
      ? {
          confidence: 1 / 3,
          ttlMs: Number.MAX_SAFE_INTEGER,
          source: { model: noise(1), version: noise(1), instance: noise(1) },
          basis: Array.from({ length: tags }, () => noise(tagLength)),
        }
      : {}),
  }));

/** The sizes of the batches that writes would become if nothing could be compressed. */
function uncompressedSizes(writes: readonly { doc: DocumentName; facts: FactInput[] }[]): number[] {
  const prepared = writes.map(({ doc, facts }) => preparePut(doc, facts));
  const clock = createVirtualClock(START_MS);
  const stamped = stampWrites(prepared, new HlcClock(clock, 0 as Hlc), undefined);
  const seqs = new Map<DocumentName, number>();
  const position = {
    space: space.id,
    replica: us.key,
    incarnation: incarnationOf(1),
    seq: Number.MAX_SAFE_INTEGER,
    prev: unknownHash(),
    deps: Array.from({ length: LIMITS.depsPerBatch }, (_, i) => unknownHash(i)).toSorted(),
    client: Number.MAX_SAFE_INTEGER,
  };
  return packWrites(stamped).map((pack) => {
    const batch = buildBatch(pack, position, seqs, { signer: us.signer, epoch: 0 });
    const lost = batch.parts.map((part, i) => {
      const packed = batch.bodies[i]?.length ?? 0;
      const payload = part.kind === "facts" ? encodeFrame(part.frame) : richBytes(part);
      return Math.max(0, payload.length + 1 - packed);
    });
    return batch.bytes.length + lost.reduce((sum, bytes) => sum + bytes, 0);
  });
}

function richBytes(part: Part): Uint8Array {
  if (part.kind !== "rich") throw new Error("a local batch holds nothing void");
  return part.update.bytes;
}

describe("a batch is never over LIMITS.batchBytes, even if nothing in it could be compressed", () => {
  test("for any mix of writes", () => {
    fc.assert(
      fc.property(
        fc.array(shape, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 12 }),
        (shapes, times) => {
          const writes = Array.from({ length: times }, (_, n) =>
            shapes.map((each) => ({
              doc: docOf(each.doc + 401 * (n % 2), each.docLength),
              facts: factsOf({
                ...each,
                facts: Math.min(each.facts, Math.floor(30_000 / each.valueLength)),
              }),
            })),
          ).flat();
          const sizes = uncompressedSizes(writes.filter(({ facts }) => facts.length > 0));
          expect(Math.max(...sizes)).toBeLessThanOrEqual(LIMITS.batchBytes);
        },
      ),
      { numRuns: 25 },
    );
  });

  test.each<[string, number, (n: number) => { doc: DocumentName; facts: FactInput[] }]>([
    [
      "many documents with long names",
      600,
      (n) => ({ doc: docOf(n, 200), facts: [{ key: noise(1), value: noise(700) }] }),
    ],
    [
      "many facts of nothing but short tags",
      40,
      () => ({
        doc: DOC,
        facts: factsOf({
          doc: 0,
          docLength: 4,
          facts: 200,
          keyLength: 1,
          valueLength: 1,
          tags: 16,
          tagLength: 1,
          rich: true,
        }),
      }),
    ],
    [
      "values of the greatest size",
      4,
      () => ({ doc: DOC, facts: [{ key: noise(512), value: noise(63_500) }] }),
    ],
  ])("for %s", (_, count, make) => {
    const sizes = uncompressedSizes(Array.from({ length: count }, (__, n) => make(n)));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(LIMITS.batchBytes);
    // Filled well: not simply one write per batch.
    expect(sizes.length).toBeLessThan(count);
  });
});

test("batches of noise go through the replica, another one and a restart", async () => {
  const store = createMemoryStore();
  const [replica, other] = [await open({ store }), await open({ device: writer })];
  const batches = applied(replica);
  await Promise.all(
    Array.from({ length: 300 }, (_, n) =>
      replica.put(docOf(n, 200), [{ key: noise(20), value: noise(3000) }]),
    ),
  );
  for (const bytes of batches) {
    expect(bytes.length).toBeLessThanOrEqual(LIMITS.batchBytes);
    expect(await other.receive(bytes)).toEqual({ kind: "accepted" });
  }
  await replica.close();
  const again = await open({ store: await store.reopen() });
  expect(toHex(again.frontierDigest())).toBe(toHex(other.frontierDigest()));
  expect(again.snapshot().leaves).toEqual(other.snapshot().leaves);
});
