// SPDX-License-Identifier: Apache-2.0
import { MeshError, parseDeviceKey } from "@ctxmesh/model";
import type { DeviceKey } from "@ctxmesh/model";
import { encodeAnswer } from "@ctxmesh/sync";
import type { Askable, AskOutcome } from "@ctxmesh/sync";
import { createVirtualClock } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { Freshness } from "../src/freshness.ts";
import type { FreshnessOptions } from "../src/freshness.ts";

const device = (n: number): DeviceKey => parseDeviceKey(String(n).repeat(64));
const HUB: Askable = { device: device(2), role: "hub" };
const ANSWER: AskOutcome = {
  kind: "answer",
  answer: encodeAnswer({ kind: "frontier", number: 1, heads: [] }),
};

const stop = (): (() => boolean) => () => true;

/** A node at a hub that answers when it is told to, and the questions that it was asked. */
function atHub(): {
  readonly freshness: Freshness;
  readonly asked: { readonly withinMs: number; readonly end: (outcome: AskOutcome) => void }[];
  readonly pass: (ms: number) => Promise<void>;
} {
  const clock = createVirtualClock(1_000_000);
  const asked: { withinMs: number; end: (outcome: AskOutcome) => void }[] = [];
  const grants = new Map([
    [HUB.device, [{ service: "hub", role: "append", notBefore: 0, notAfter: 1e15 }]],
  ]);
  const replica = {
    device: device(1),
    space: { grants, revocations: new Map() },
    limitOf: () => Infinity,
    seqOf: () => 0,
    onApplied: stop,
    onRecords: stop,
  } as unknown as FreshnessOptions["replica"];
  const freshness = new Freshness({
    replica,
    clock,
    elapsed: () => clock.now(),
    asker: {
      remotes: () => [HUB],
      onTick: stop,
      ask: async (_of, _question, { withinMs }) => {
        const { promise, resolve } = Promise.withResolvers<AskOutcome>();
        asked.push({ withinMs, end: resolve });
        return promise;
      },
    },
  });
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  return { freshness, asked, pass };
}

const LATE: AskOutcome = { kind: "late" };

test("reads share a question that ends in their time", async () => {
  const { freshness, asked, pass } = atHub();
  const [one, two] = [freshness.within(50, 200), freshness.within(50, 300)];
  await pass(10);
  expect(asked.map(({ withinMs }) => withinMs)).toEqual([200]);
  asked[0]?.end(ANSWER);
  expect([await one, await two]).toEqual([1_000_000, 1_000_000]);
  expect(freshness.asOf).toBe(1_000_000);
});

test("a read is not given up when the question that it shares was another's, who had less time", async () => {
  const { freshness, asked, pass } = atHub();
  const short = freshness.within(1_000, 50);
  const long = freshness.within(1_000, 500);
  await pass(50);
  asked[0]?.end(LATE);
  await expect(short).rejects.toMatchObject({ code: "STALE" });
  await pass(0);
  expect(asked.map(({ withinMs }) => withinMs)).toEqual([50, 450]);
  asked[1]?.end(ANSWER);
  expect(await long).toBe(1_000_050);
});

test("a read waits for no question that may take longer than it has itself", async () => {
  const { freshness, asked, pass } = atHub();
  const long = freshness.within(1_000, 500);
  const short = freshness.within(1_000, 50);
  await pass(50);
  expect(asked.map(({ withinMs }) => withinMs)).toEqual([500, 50]);
  asked[1]?.end(LATE);
  await expect(short).rejects.toMatchObject({ code: "STALE" });
  asked[0]?.end(ANSWER);
  expect(await long).toBe(1_000_000);
});

test("what a hub refuses is refused to all who share the question, and nobody asks again", async () => {
  const { freshness, asked, pass } = atHub();
  const both = [freshness.within(50, 200), freshness.within(50, 300)];
  await pass(1);
  const error = new MeshError("POLICY_REFUSED", "not whole");
  asked[0]?.end({ kind: "answer", answer: encodeAnswer({ kind: "refused", error }) });
  for (const one of both) await expect(one).rejects.toMatchObject({ code: "STALE" });
  expect(asked).toHaveLength(1);
});

test("who wants what is decided hears why nobody decides", async () => {
  const { freshness, asked, pass } = atHub();
  const current = freshness.current(200);
  await pass(1);
  const error = new MeshError("POLICY_REFUSED", "there are others");
  asked[0]?.end({ kind: "answer", answer: encodeAnswer({ kind: "refused", error }) });
  await expect(current).rejects.toMatchObject({ code: "POLICY_REFUSED" });
});
