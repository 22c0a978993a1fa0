// SPDX-License-Identifier: Apache-2.0
/** What a writer that lies about when a section expires can do: two replicas that keep everything must not differ for good. */
import { decodeBatch, encodeBatch } from "@ctxmesh/codec";
import type { FactRecord } from "@ctxmesh/facts";
import { hlcToMs, toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
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
const later = forge({ space: mesh, device: us, hlc: hlcAt(5_000), records: [record(1, { key: "o", hlc: hlcAt(5_000) })] });
const sameFrontier = (a: Replica, b: Replica): void => {
  expect(toHex(a.frontierDigest())).toEqual(toHex(b.frontierDigest()));
};

test("what a section that expires hides comes to light again for everybody, or for nobody", async () => {
  const lie = forge({ space: mesh, seq: 2, prev: first.hash, records: [record(2, { ttlMs: 10 })], section: { until: untilMs } });
  const clock = createVirtualClock(START_MS + 6_000);
  const [whole, lean] = [await open({ clock, space: mesh, device: reader }), await open({ clock, space: mesh, device: reader })];
  for (const { bytes } of [first, lie, later]) expect(await whole.receive(bytes)).toMatchObject({ kind: "accepted" });
  for (const bytes of [first.bytes, later.bytes, bodiless(lie)]) expect(await lean.receive(bytes)).toMatchObject({ kind: "accepted" });
  sameFrontier(whole, lean);
  expect(lean.snapshot().leaves).toEqual(whole.snapshot().leaves);
});

test("a section that expires and holds what nobody can read counts everywhere, or nowhere", async () => {
  const bad = forge({ space: mesh, seq: 2, prev: first.hash, payload: Uint8Array.of(9, 9, 9), records: [record(2)], section: { until: untilMs } });
  const next = forge({ space: mesh, seq: 3, prev: bad.hash, records: [record(3)] });
  const clock = createVirtualClock(START_MS + 6_000);
  const [whole, lean] = [await open({ clock, space: mesh, device: reader }), await open({ clock, space: mesh, device: reader })];
  for (const bytes of [first.bytes, later.bytes, next.bytes, bad.bytes]) console.log(await whole.receive(bytes));
  for (const bytes of [first.bytes, later.bytes, next.bytes, bodiless(bad)]) console.log(await lean.receive(bytes));
  // What each has, the other is told of.
  await whole.addRecords({}); await lean.addRecords({});
  console.log(await whole.receive(bodiless(bad)), await lean.receive(bad.bytes), whole.chains(), lean.chains());
  sameFrontier(whole, lean);
});
