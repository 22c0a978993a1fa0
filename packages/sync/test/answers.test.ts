// SPDX-License-Identifier: Apache-2.0
/** Goal: answers about records and headers are complete, of bounded size, and cost bounded work. */
import { LIMITS, parseDeviceKey, parseHeaderHash, parseIncarnationId } from "@ctxmesh/model";
import { MAX_HEADERS, encodeMessage } from "@ctxmesh/sync";
import type { RecordIds, SyncMessage } from "@ctxmesh/sync";
import { describe, expect, test } from "vitest";
import { faceStub } from "./stub.ts";

const bytes = (length: number): Uint8Array => new Uint8Array(length);
const WANTED = Array.from({ length: 64 }, (_, n) =>
  parseHeaderHash(n.toString(16).padStart(64, "0")),
);

/** The answer to a want, when there are so many headers of a size behind each hash; and the number of looks. */
async function headersFor(
  each: number,
  size: number,
): Promise<{ readonly sizes: readonly number[]; readonly looks: number }> {
  let looks = 0;
  const { sent, send } = await faceStub({
    signedHeaders: async () => {
      looks++;
      return Promise.resolve(Array.from({ length: each }, () => bytes(size)));
    },
  });
  await send({ type: "want", hashes: WANTED });
  const answer = sent.messages.at(-1);
  const headers = answer?.type === "headers" ? answer.headers : [];
  return { sizes: headers.map(({ length }) => length), looks };
}

describe("headers", () => {
  test("of all hashes go into one answer where they fit", async () => {
    const { sizes, looks } = await headersFor(3, 400);
    expect([sizes.length, looks]).toEqual([192, 64]);
  });

  test("that are large are cut off at the size of an answer, and no more of them are read", async () => {
    const { sizes, looks } = await headersFor(100, 1_000);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    expect(total).toBeLessThanOrEqual(LIMITS.syncChunkBytes);
    expect(total).toBeGreaterThan(LIMITS.syncChunkBytes - 5_000);
    expect(looks).toBe(3);
  });

  test("that are many are cut off at their number", async () => {
    const { sizes, looks } = await headersFor(600, 10);
    expect([sizes.length, looks]).toEqual([MAX_HEADERS, 2]);
  });

  test("of which one alone is larger than an answer are sent one at a time", async () => {
    expect((await headersFor(2, LIMITS.syncChunkBytes)).sizes).toEqual([LIMITS.syncChunkBytes]);
  });

  test("that nobody has are an answer without any", async () => {
    expect((await headersFor(0, 0)).sizes).toEqual([]);
  });
});

const OWN: RecordIds = {
  acts: ["1a".repeat(32)],
  forks: [
    {
      replica: parseDeviceKey("2b".repeat(32)),
      incarnation: parseIncarnationId("3c".repeat(16)),
      seq: 4,
    },
  ],
};

/** The answer to records, when these are what the remote lacks; and what it was taken to know. */
async function actsFor(
  message: SyncMessage,
  acts: readonly number[],
  proofs: readonly number[],
): Promise<{ readonly answer: SyncMessage | undefined; readonly known: RecordIds | undefined }> {
  let known: RecordIds | undefined;
  const { sent, send } = await faceStub({
    recordIds: () => OWN,
    readRecords: (ids) => {
      known = ids;
      return { acts: acts.map(bytes), proofs: proofs.map(bytes) };
    },
  });
  await send(message);
  return { answer: sent.messages.at(-1), known };
}

const shapeOf = (answer: SyncMessage | undefined): unknown =>
  answer?.type === "acts"
    ? [
        answer.acts.map(({ length }) => length),
        answer.proofs.map(({ length }) => length),
        answer.more,
      ]
    : answer;

describe("acts and proofs", () => {
  const nothing: SyncMessage = { type: "records", acts: [], forks: [] };

  test.each([
    ["all fit", [9, 9], [9], [[9, 9], [9], false]],
    ["there are none", [], [], [[], [], false]],
    ["the acts alone fit", [600_000, 400_000], [500_000], [[600_000, 400_000], [], true]],
    ["not all acts fit", [600_000, 600_000], [9], [[600_000], [], true]],
    ["not all proofs fit", [9], [500_000, 500_000, 500_000], [[9], [500_000, 500_000], true]],
  ] as const)("are cut off at the size of a message: %s", async (_, acts, proofs, shape) => {
    const { answer } = await actsFor(nothing, acts, proofs);
    expect(shapeOf(answer)).toEqual(shape);
    if (answer === undefined) return;
    expect(encodeMessage(answer).length).toBeLessThanOrEqual(LIMITS.syncMessageBytes);
  });

  test("are answered for the part alone that the remote spoke of", async () => {
    const ids = ["1".repeat(64)];
    const ofActs = await actsFor({ type: "records", acts: ids, forks: undefined }, [], []);
    expect(ofActs.known).toEqual({ acts: ids, forks: OWN.forks });
    const ofForks = await actsFor({ type: "records", acts: undefined, forks: [] }, [], []);
    expect(ofForks.known).toEqual({ acts: OWN.acts, forks: [] });
  });
});
