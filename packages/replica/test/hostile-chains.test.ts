// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever a member signs, replicas that keep everything and have applied the same batches say the same.
 * Method: a few chains of one hostile device, in any lane and in none, with clocks, numbers, intervals, expiries and contents as no honest
 * writer has them; two replicas get the same batches whole in orders of their own, one of them opens its store again in between; a third one begins with a base of the first.
 */
import type { FactRecord } from "@ctxmesh/facts";
import { hlcToMs, toHex } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import type { Lane } from "@ctxmesh/codec";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { bringBase, hub, withHub } from "./base-kit.ts";
import {
  START_MS,
  forge,
  hlcAt,
  incarnationOf,
  open,
  reader,
  spaceWith,
  us,
  writer,
} from "./mesh.ts";

const mesh = withHub(
  spaceWith([
    [us, "write"],
    [writer, "manage"],
    [reader, "read"],
  ]),
);
const LANES: readonly (Lane | undefined)[] = [undefined, "high", "low"];

const fact = fc.record({
  key: fc.constantFrom("a", "b"),
  ms: fc.integer({ min: 1, max: 3 }),
  seqStep: fc.integer({ min: 1, max: 3 }),
  ttlMs: fc.option(fc.constantFrom(0, 1, 5, 1_000_000), { nil: undefined }),
  kind: fc.constantFrom("value", "value", "delete", "retract"),
});
const batch = fc.record({
  chain: fc.nat({ max: 2 }),
  facts: fc.array(fact, { minLength: 1, maxLength: 3 }),
  from: fc.nat({ max: 4 }),
  more: fc.nat({ max: 2 }),
  /** Later than what is in the batch by so much; or sooner, which is refused. */
  until: fc.option(fc.integer({ min: -1, max: 9 }), { nil: undefined, freq: 1 }),
  isBad: fc.nat({ max: 30 }).map((n) => n === 7),
});

type Plan = typeof batch extends fc.Arbitrary<infer T> ? T : never;

function recordsOf({ facts, from, until }: Plan, afterMs: number): FactRecord[] {
  let [ms, seq] = [afterMs, from];
  return facts.map(({ key, ms: step, seqStep, ttlMs, kind }) => {
    ms += step;
    seq += seqStep;
    const record = { key, seq, hlc: hlcAt(ms) };
    if (kind === "retract" && until === undefined) {
      return { ...record, retract: { writer: writer.key, upTo: hlcAt(ms - 2), reason: "so" } };
    }
    const ends = ttlMs ?? (until === undefined ? undefined : 3);
    const ttl = ends === undefined ? {} : { ttlMs: ends };
    return kind === "delete" ? { ...record, ...ttl } : { ...record, ...ttl, valueJson: String(ms) };
  });
}

/** When the last of facts ends, Unix milliseconds. */
const endOf = (records: readonly FactRecord[]): number =>
  Math.max(...records.map(({ hlc, ttlMs = 0 }) => hlcToMs(hlc) + ttlMs));

function chainsOf(plans: readonly Plan[]): Uint8Array[][] {
  const chains: { bytes: Uint8Array[]; ms: number; prev: HeaderHash | null }[] = LANES.map(() => ({
    bytes: [],
    ms: 0,
    prev: null,
  }));
  for (const plan of plans) {
    const chain = chains[plan.chain];
    const lane = LANES[plan.chain];
    if (chain === undefined) continue;
    const records = recordsOf(plan, chain.ms);
    const last = records.at(-1);
    if (last === undefined) continue;
    const { bytes, hash } = forge({
      space: mesh,
      incarnation: incarnationOf(plan.chain + 1),
      seq: chain.bytes.length + 1,
      prev: chain.prev,
      hlc: last.hlc,
      records,
      frame: { from: plan.from, to: last.seq + plan.more },
      ...(plan.isBad ? { payload: Uint8Array.of(9) } : {}),
      ...(lane === undefined ? {} : { lane }),
      ...(plan.until === undefined ? {} : { section: { until: endOf(records) + plan.until } }),
    });
    chain.bytes.push(bytes);
    chain.prev = hash;
    chain.ms += Math.round(hlcToMs(last.hlc) - START_MS - chain.ms);
  }
  return chains.map(({ bytes }) => bytes);
}

/** The batches in an order of their own, each chain in its own. */
function interleave(
  chains: readonly (readonly Uint8Array[])[],
  picks: readonly number[],
): Uint8Array[] {
  const rest = chains.map((chain) => [...chain]);
  const order: Uint8Array[] = [];
  for (let i = 0; rest.some((chain) => chain.length > 0); i++) {
    const left = rest.filter((chain) => chain.length > 0);
    const next = left[(picks[i % picks.length] ?? 0) % left.length]?.shift();
    if (next !== undefined) order.push(next);
  }
  return order;
}

test("chains of a hostile writer come to the same in any order, whatever is in them", async () => {
  let accepted = 0;
  const kinds = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(batch, { minLength: 2, maxLength: 14 }),
      fc.array(fc.nat({ max: 2 }), { minLength: 3, maxLength: 14 }),
      fc.array(fc.nat({ max: 2 }), { minLength: 3, maxLength: 14 }),
      async (plans, one, other) => {
        const chains = chainsOf(plans);
        const clock = createVirtualClock(START_MS + 1_000);
        let store = createMemoryStore();
        const a = await open({ space: mesh, device: hub, clock });
        let b = await open({ space: mesh, device: reader, clock, store });
        for (const bytes of interleave(chains, one)) await a.receive(bytes);
        const order = interleave(chains, other);
        for (const [i, bytes] of order.entries()) {
          if ((await b.receive(bytes)).kind === "accepted") accepted++;
          if (i !== order.length >> 1) continue;
          await b.checkpoint();
          await b.close();
          store = await store.reopen();
          b = await open({ space: mesh, device: reader, clock, store });
        }
        expect(toHex(b.frontierDigest())).toBe(toHex(a.frontierDigest()));
        expect(b.snapshot()).toEqual(a.snapshot());
        expect(b.list({ limit: 10 })).toEqual(a.list({ limit: 10 }));
        // None is made where a batch is kept that is void for what is in it.
        const c = await open({ space: mesh, device: reader, clock });
        const brought = await bringBase(a, c);
        const begun = brought?.kind === "installed" ? c : a;
        expect(begun.snapshot()).toEqual(a.snapshot());
        kinds.add(brought?.kind ?? "none");
        for (const replica of [a, b, c]) await replica.close();
      },
    ),
    { numRuns: 60 },
  );
  expect([...kinds]).toContain("installed");
  expect(accepted).toBeGreaterThan(200);
});
