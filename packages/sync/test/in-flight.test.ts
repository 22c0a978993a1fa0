// SPDX-License-Identifier: Apache-2.0
/** Goal: a remote has only so much on its way into the replica, and what becomes of it decides what is done next. */
import { parseIncarnationId } from "@ctxmesh/model";
import type { ReceiveOutcome } from "@ctxmesh/model";
import { COMPARE_SOON_MS } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import { expect, test } from "vitest";
import { deviceOf, settle } from "./mesh.ts";
import { faceStub } from "./stub.ts";

const NONE = new Uint8Array(16);
/** A head that the node lacks, of a device that may write. */
const HEAD = {
  replica: deviceOf(1).key,
  incarnation: parseIncarnationId("0".repeat(32)),
  seq: 1,
  hash: "1".repeat(32),
};

test.each<[SyncMessage, number]>([
  [{ type: "push", batch: new Uint8Array(300) }, 256],
  [{ type: "acts", acts: [NONE], proofs: [], more: false, records: NONE }, 8],
])(
  "$0.type: a bounded number waits, and each that is settled makes room for one",
  async (message, most) => {
    const waiting: (() => void)[] = [];
    const later = async <T>(value: T): Promise<T> =>
      new Promise((resolve) => {
        waiting.push(() => {
          resolve(value);
        });
      });
    const { send } = await faceStub({
      receive: async () => later<ReceiveOutcome>({ kind: "duplicate" }),
      addRecords: async () => later({ added: 0, refused: [] }),
    });
    await send(message, 2 * most);
    expect(waiting).toHaveLength(most);
    for (const settled of waiting.slice(0, 3)) settled();
    await settle();
    expect(waiting).toHaveLength(most + 3);
  },
);

test("records without any are not handed over, and are answered as if they had been", async () => {
  let taken = 0;
  const { sent, send } = await faceStub({
    addRecords: async () => {
      taken++;
      return Promise.resolve({ added: 0, refused: [] });
    },
  });
  const records = new Uint8Array(16);
  await send({ type: "digest", digest: records, records, asks: true });
  await send({ type: "have", heads: [HEAD] });
  expect(sent.messages.map(({ type }) => type)).not.toContain("pull");
  await send({ type: "acts", acts: [], proofs: [], more: false, records });
  expect(sent.messages.map(({ type }) => type)).toContain("pull");
  expect(taken).toBe(0);
});

test.each([
  ["missing", true],
  ["epoch", true],
  ["clock-ahead", false],
  ["grant-time", false],
  ["quota", false],
] as const)("a batch held for %s makes digests be compared soon: %s", async (reason, soon) => {
  const { sent, send, pass } = await faceStub({
    receive: async () => Promise.resolve<ReceiveOutcome>({ kind: "held", reason }),
  });
  await pass(1);
  await send({ type: "push", batch: new Uint8Array(300) });
  await pass(COMPARE_SOON_MS);
  expect(sent.messages.some(({ type }) => type === "digest")).toBe(soon);
});

test.each([
  ["LIMIT_EXCEEDED", false],
  ["SIGNATURE_INVALID", true],
  ["FORMAT_INVALID", true],
] as const)("records refused with %s end in closing: %s", async (code, closes) => {
  const { sent, send, pass } = await faceStub({
    addRecords: async () => Promise.resolve({ added: 0, refused: [{ code, message: "no" }] }),
  });
  const message = { type: "acts", acts: [NONE], proofs: [], more: false, records: NONE } as const;
  for (let i = 0; i < 20; i++) await send(message).catch(() => undefined);
  const before = sent.messages.length;
  await pass(10_000);
  await pass(10_000);
  expect(sent.messages.length === before).toBe(closes);
});
