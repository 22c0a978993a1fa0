// SPDX-License-Identifier: Apache-2.0
import { decodeBatch, encodeBatch, encodeBody } from "@ctxmesh/codec";
import { encodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import { issueGrant, revokeDevice } from "@ctxmesh/membership";
import { LIMITS, REFUSALS, hlcToMs, parseDocumentName } from "@ctxmesh/model";
import type { Hlc, Refusal } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import * as fc from "fast-check";
import { zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import {
  DAY_MS,
  DOC,
  START_MS,
  applied,
  creator,
  deviceOf,
  emptySpace,
  forge,
  forgeChain,
  hlcAt,
  incarnationOf,
  open,
  reader,
  space,
  stateOf,
  stranger,
  unaccounted,
  us,
  writer,
} from "./mesh.ts";
import type { ForgeOptions, Forged } from "./mesh.ts";

/** Two batches of the writer's chain that the replica has, and the next one. */
const [first, second, third] = forgeChain(3);
const next: ForgeOptions = { seq: 3, prev: second?.hash ?? null };

const removed = deviceOf(5);
/** The same space after a device came and was removed. */
const spaceWithRevoked = revokeDevice(
  issueGrant(space, creator.signer, {
    device: removed.key,
    service: "agent",
    role: "manage",
    notBefore: START_MS - DAY_MS,
  }),
  creator.signer,
  { device: removed.key, heads: [], reason: "stolen", now: START_MS },
);

async function openWithChain(): Promise<Replica> {
  const replica = await open({ space: spaceWithRevoked });
  for (const batch of [first, second]) {
    expect(await replica.receive(batch?.bytes ?? new Uint8Array())).toEqual({ kind: "accepted" });
  }
  return replica;
}

/** The same batch with its bodies left out. */
const without = ({ bytes }: Forged): Uint8Array =>
  encodeBatch({ ...decodeBatch(bytes), bodies: [null] });

const record = (members: Partial<FactRecord> = {}): FactRecord => ({
  key: "k",
  seq: 3,
  hlc: hlcAt(3),
  valueJson: "1",
  ...members,
});
const zstdBody = (payload: Uint8Array): Uint8Array =>
  Uint8Array.of(1, ...zstdCompressSync(payload));

function unsignedCopy(bytes: Uint8Array): Uint8Array {
  const batch = decodeBatch(bytes);
  return encodeBatch({ ...batch, signature: new Uint8Array(64) });
}

const frameOf = (...records: FactRecord[]): Uint8Array =>
  encodeFrame({ from: 2, to: records.at(-1)?.seq ?? 3, records });
const badValue = (valueJson: string): ForgeOptions => ({ records: [record({ valueJson })] });

const CASES: Readonly<Record<Refusal, readonly (readonly [string, () => Uint8Array])[]>> = {
  "frame-size": [
    ["a batch of one byte too many", () => new Uint8Array(LIMITS.batchBytes + 1)],
    ["a batch of 10 MB", () => new Uint8Array(10_000_000)],
  ],
  shape: [
    ["no bytes", () => new Uint8Array()],
    ["a truncated batch", () => forge(next).bytes.subarray(0, -1)],
    ["a batch with a byte behind it", () => Uint8Array.of(...forge(next).bytes, 0)],
    ["zeros of the greatest size", () => new Uint8Array(LIMITS.batchBytes)],
    ["100,000 nested arrays", () => new Uint8Array(100_000).fill(0x81)],
  ],
  space: [["a batch for another space", () => forge({ ...next, space: emptySpace(2) }).bytes]],
  // A well-signed second history does more than be refused: see forks.test.ts.
  equivocation: [],
  grant: [
    ["a stranger's batch", () => forge({ device: stranger }).bytes],
    ["a reader's batch", () => forge({ device: reader }).bytes],
    [
      "a stranger's batch far ahead in time",
      () => forge({ device: stranger, hlc: hlcAt(DAY_MS) }).bytes,
    ],
  ],
  chain: [
    ["a clock that stands still", () => forge({ ...next, hlc: hlcAt(2) }).bytes],
    ["a clock that goes back", () => forge({ ...next, hlc: hlcAt(1) }).bytes],
    ["a gap behind a predecessor that is applied", () => forge({ ...next, seq: 4 }).bytes],
    [
      "a new chain on another one's head",
      () => forge({ ...next, incarnation: incarnationOf(8) }).bytes,
    ],
  ],
  revoked: [
    [
      "a batch behind what a revocation lets stand",
      () => forge({ ...next, device: removed, seq: 1, prev: null }).bytes,
    ],
  ],
  signature: [
    [
      "another batch at the head that is not signed",
      () => forge({ seq: 2, prev: first?.hash ?? null, hlc: hlcAt(9), signer: us.signer }).bytes,
    ],
    [
      "a wrong predecessor that is not signed",
      () => forge({ ...next, prev: first?.hash ?? null, signer: us.signer }).bytes,
    ],
    ["no signature", () => unsignedCopy(third?.bytes ?? new Uint8Array())],
    ["another device's signature", () => forge({ ...next, signer: us.signer }).bytes],
    [
      "a wrong signature before anything is held for it",
      () =>
        forge({
          ...next,
          seq: 9,
          prev: forge({ seq: 8, prev: first?.hash ?? null }).hash,
          signer: us.signer,
        }).bytes,
    ],
  ],
  omitted: [
    ["no body, where everything is wanted", () => without(forge(next))],
    [
      "no body, of facts that expire later than the frontier's time",
      () => without(forge({ ...next, section: { until: hlcToMs(hlcAt(60_000)) } })),
    ],
  ],
  body: [
    [
      "sections that are more together than a batch can carry",
      () => forge({ ...next, section: { bodyLen: LIMITS.batchBytes } }).bytes,
    ],
    [
      "another body than the signed one",
      () => forge({ ...next, sentBody: encodeBody(frameOf(record())) }).bytes,
    ],
    ["a wrong length", () => forge({ ...next, section: { bodyLen: 1 } }).bytes],
    ["an empty body", () => forge({ ...next, body: new Uint8Array() }).bytes],
    ["an unknown encoding", () => forge({ ...next, body: Uint8Array.of(7, 1, 2) }).bytes],
    ["broken zstd", () => forge({ ...next, body: Uint8Array.of(1, 2, 3) }).bytes],
    ["a bomb", () => forge({ ...next, body: zstdBody(new Uint8Array(100_000_000)) }).bytes],
    [
      "a data key that we do not know",
      () => forge({ ...next, section: { keyId: new Uint8Array(16) } }).bytes,
    ],
    ["a later generation of the document", () => forge({ ...next, section: { gen: 1 } }).bytes],
  ],
  rich: [
    [
      "a rich section without a client id",
      () => forge({ ...next, section: { kind: "rich" } }).bytes,
    ],
  ],
  facts: [
    ["no frame", () => forge({ ...next, payload: new Uint8Array() }).bytes],
    ["a frame without records", () => forge({ ...next, frame: { records: [] } }).bytes],
    [
      "an interval other than the section's",
      () => forge({ ...next, frame: { from: 1 }, section: { from: 2 } }).bytes,
    ],
    [
      "a fact older than the chain's last batch",
      () => forge({ ...next, records: [record({ hlc: hlcAt(2) })] }).bytes,
    ],
    [
      "a fact newer than its batch",
      () => forge({ ...next, records: [record({ hlc: (hlcAt(3) + 1) as Hlc })] }).bytes,
    ],
    ["a value with a space", () => forge({ ...next, ...badValue("[1, 2]") }).bytes],
    ["a value with unsorted members", () => forge({ ...next, ...badValue('{"b":1,"a":1}') }).bytes],
    ["a value with __proto__", () => forge({ ...next, ...badValue('{"__proto__":1}') }).bytes],
    [
      "a value with a lone surrogate",
      () => forge({ ...next, ...badValue(String.raw`"\ud800"`) }).bytes,
    ],
    [
      "a value nested too deep",
      () => forge({ ...next, ...badValue("[".repeat(65) + "]".repeat(65)) }).bytes,
    ],
    ["a value that is no JSON", () => forge({ ...next, ...badValue("") }).bytes],
    ["a value over 64 KiB", () => forge({ ...next, ...badValue(`"${"a".repeat(65_536)}"`) }).bytes],
    [
      "a key over 512 bytes",
      () => forge({ ...next, records: [record({ key: "k".repeat(513) })] }).bytes,
    ],
    [
      "a key with a control character",
      () => forge({ ...next, records: [record({ key: "a\nb" })] }).bytes,
    ],
    ["a confidence over 1", () => forge({ ...next, records: [record({ confidence: 1.5 })] }).bytes],
  ],
};

const rows = REFUSALS.flatMap((reason) =>
  CASES[reason].map(([what, make]) => ({ reason, what, make })),
);

describe("a refused batch changes and announces nothing", () => {
  test.each(rows)("$reason: $what", async ({ reason, make }) => {
    const replica = await openWithChain();
    const announced = applied(replica);
    const before = stateOf(replica);
    const { refused } = replica.counters();
    const outcome = await replica.receive(make());
    expect(outcome).toEqual({ kind: "refused", reason, detail: expect.any(String) as string });
    expect(stateOf(replica)).toEqual(before);
    expect(announced).toEqual([]);
    expect(replica.counters().refused).toEqual({ ...refused, [reason]: 1 });
    expect(unaccounted(replica.counters())).toBe(0);
    // The chain goes on: what was refused stands in nobody's way.
    const good = forge(next).bytes;
    expect(await replica.receive(good)).toEqual({ kind: "accepted" });
    expect(announced).toEqual([good]);
  });

  test("nor does it keep the good batches of its own group out", async () => {
    const replica = await openWithChain();
    const outcomes = await Promise.all([
      replica.receive(forge({ ...next, sentBody: new Uint8Array(3) }).bytes),
      replica.receive(forge(next).bytes),
      replica.receive(forge({ device: stranger }).bytes),
      replica.put(DOC, [{ key: "own", value: 1 }]),
    ]);
    expect(outcomes).toMatchObject([
      { kind: "refused", reason: "body" },
      { kind: "accepted" },
      { kind: "refused", reason: "grant" },
      { acknowledged: "local" },
    ]);
    expect(replica.get(DOC, "own")?.value).toBe(1);
    expect(replica.get(DOC, "forged")?.value).toBe(3);
  });

  test("all sections or none: one bad section refuses the batch", async () => {
    const replica = await open();
    const source = await open({ device: writer });
    const [local] = [applied(source)];
    await Promise.all([
      source.put(DOC, [{ key: "a", value: 1 }]),
      source.put(parseDocumentName("other"), [{ key: "b", value: 2 }]),
    ]);
    const batch = decodeBatch(local[0] ?? new Uint8Array());
    expect(batch.bodies).toHaveLength(2);
    const bodies = [batch.bodies[0] ?? new Uint8Array(), Uint8Array.of(0)];
    const outcome = await replica.receive(encodeBatch({ ...batch, bodies }));
    expect(outcome).toMatchObject({ kind: "refused", reason: "body" });
    expect(replica.list({})).toEqual([]);
    expect(await replica.receive(local[0] ?? new Uint8Array())).toEqual({ kind: "accepted" });
    expect(replica.list({})).toHaveLength(2);
  });
});

test("bodies that unpack to more than LIMITS.bodyBytes together are refused, though each is below", async () => {
  const records = Array.from({ length: 8 }, (_, i) =>
    record({ seq: i + 1, hlc: hlcAt(i + 1), valueJson: `"${"a".repeat(60_000)}"` }),
  );
  const docs = ["a", "b", "c"].map(parseDocumentName);
  const many = { records, hlc: hlcAt(9) };
  const replica = await open();
  const bomb = forge({ ...many, docs }).bytes;
  expect(bomb.length).toBeLessThan(10_000);
  expect(await replica.receive(bomb)).toMatchObject({ kind: "refused", reason: "body" });
  const fits = forge({ ...many, docs: docs.slice(1) }).bytes;
  expect(await replica.receive(fits)).toEqual({ kind: "accepted" });
});

test("a changed byte of a good batch is never accepted", async () => {
  const replica = await openWithChain();
  const { bytes } = forge(next);
  const before = stateOf(replica);
  await fc.assert(
    fc.asyncProperty(
      fc.nat(bytes.length - 1),
      fc.integer({ min: 1, max: 255 }),
      async (at, flip) => {
        const mutated = bytes.slice();
        mutated[at] = (mutated[at] ?? 0) ^ flip;
        expect((await replica.receive(mutated)).kind).toBe("refused");
        expect(stateOf(replica)).toEqual(before);
        expect(unaccounted(replica.counters())).toBe(0);
      },
    ),
    { numRuns: 300 },
  );
});

test("the received bytes may be overwritten as soon as receive returned", async () => {
  const replica = await openWithChain();
  const announced = applied(replica);
  const good = forge(next).bytes;
  const buffer = Buffer.from(good);
  const outcome = replica.receive(buffer);
  buffer.fill(0);
  expect(await outcome).toEqual({ kind: "accepted" });
  expect(announced).toEqual([good]);
});

test("a batch with the greatest seq, clock and interval there are is judged like any other", async () => {
  const replica = await openWithChain();
  const seq = Number.MAX_SAFE_INTEGER;
  const far = forge({ ...next, seq, hlc: hlcAt(4), records: [record({ seq, hlc: hlcAt(4) })] });
  expect(await replica.receive(far.bytes)).toMatchObject({ kind: "refused", reason: "chain" });
  const late = forge({ ...next, hlc: Number.MAX_SAFE_INTEGER as Hlc });
  expect(await replica.receive(late.bytes)).toEqual({ kind: "held", reason: "grant-time" });
});
