// SPDX-License-Identifier: Apache-2.0
/** A writer may lie about when a section is of no use any more: replicas that keep everything do not rely on it, or they could differ. */
import { decodeBatch, encodeBatch } from "@ctxmesh/codec";
import type { FactRecord } from "@ctxmesh/facts";
import { hlcToMs } from "@ctxmesh/model";
import { createVirtualClock } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { START_MS, forge, hlcAt, open, reader, spaceWith, us, writer } from "./mesh.ts";
import type { Forged } from "./mesh.ts";

const mesh = spaceWith([
  [us, "write"],
  [writer, "append"],
  [reader, "read"],
]);
const record = (seq: number, more: Partial<FactRecord> = {}): FactRecord => ({
  key: "k",
  seq,
  hlc: hlcAt(seq),
  valueJson: String(seq),
  ...more,
});
const bodiless = ({ bytes }: Forged): Uint8Array =>
  encodeBatch({ ...decodeBatch(bytes), bodies: [null] });
const untilMs = hlcToMs(hlcAt(2)) + 10;
const first = forge({ space: mesh, records: [record(1)] });
const later = forge({
  space: mesh,
  device: us,
  hlc: hlcAt(5_000),
  records: [record(1, { key: "o", hlc: hlcAt(5_000) })],
});
/** Batches that say they are of no use any more: one fairly, one that hides what lasts, one that nobody can read. */
const fair = forge({
  space: mesh,
  seq: 2,
  prev: first.hash,
  records: [record(2, { key: "other", ttlMs: 10 })],
  section: { until: untilMs },
});
const hiding = forge({
  space: mesh,
  seq: 2,
  prev: first.hash,
  records: [record(2, { ttlMs: 10 })],
  section: { until: untilMs },
});
const garbled = forge({
  space: mesh,
  seq: 2,
  prev: first.hash,
  payload: Uint8Array.of(9, 9, 9),
  records: [record(2)],
  section: { until: untilMs },
});

test.each([
  ["fair", fair, "accepted"],
  ["hiding", hiding, "accepted"],
  ["garbled", garbled, "refused"],
])(
  "a replica that keeps everything takes a %s one whole alone, whatever its end and the clocks",
  async (_, batch, whole) => {
    for (const nowMs of [untilMs - 20, untilMs + 20, START_MS + 6_000]) {
      const replica = await open({ clock: createVirtualClock(nowMs), space: mesh, device: reader });
      for (const { bytes } of [first, later]) await replica.receive(bytes);
      expect(await replica.receive(bodiless(batch))).toMatchObject({
        kind: "refused",
        reason: "omitted",
      });
      expect((await replica.receive(batch.bytes)).kind).toBe(whole);
    }
  },
);
