// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: over a link of 256 kbit/s that is full of what can wait, what is urgent arrives in less than a second, nothing is sent twice or
 * lost, and memory stays bounded.
 * Method: two real nodes, each with a budget for the other; time is virtual, and what is measured is when the other one has applied a write.
 */
import type { Channel, Priority, Subscription, WriteReceipt } from "@ctxmesh/model";
import { createChannelPair, createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import {
  DOC,
  START_MS,
  TICK_MS,
  contentOf,
  converged,
  createNode,
  remoteOf,
  settle,
  spaceOf,
} from "./mesh.ts";
import type { Node } from "./mesh.ts";

const KBIT_256 = 32_000;

/** A channel that counts what is sent. */
function counted(channel: Channel): {
  readonly channel: Channel;
  readonly sent: { bytes: number };
} {
  const sent = { bytes: 0 };
  return {
    sent,
    channel: {
      remote: channel.remote,
      get bufferedBytes() {
        return channel.bufferedBytes;
      },
      send: async (message) => {
        sent.bytes += message.length;
        return channel.send(message);
      },
      receive: () => channel.receive(),
      close: async (reason) => channel.close(reason),
    },
  };
}

interface Scene {
  readonly clock: VirtualClock;
  readonly nodes: readonly [Node, Node];
  readonly sent: { readonly bytes: number };
  /** When each key of a priority was applied at the other node. */
  readonly arrivedMs: Map<string, number>;
  connect(): { cut(): void };
  pass(ms: number): Promise<void>;
}

async function scene(budget = KBIT_256, subscription?: Subscription): Promise<Scene> {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, 1]);
  const a = await createNode(0, { space, clock, budget });
  const wants = subscription === undefined ? {} : { subscription };
  const b = await createNode(1, { space, clock, budget, ...wants });
  const arrivedMs = new Map<string, number>();
  b.replica.onApplied(({ changed }) => {
    for (const { key } of changed) {
      if (!arrivedMs.has(key)) arrivedMs.set(key, clock.now());
    }
  });
  const sent = { bytes: 0 };
  return {
    clock,
    nodes: [a, b],
    sent,
    arrivedMs,
    connect: () => {
      const pair = createChannelPair({ a: remoteOf(b, "outbound"), b: remoteOf(a, "inbound") });
      const end = counted(pair.a);
      Object.defineProperty(sent, "bytes", { get: () => end.sent.bytes, configurable: true });
      void a.sync.run(end.channel);
      void b.sync.run(pair.b);
      return pair;
    },
    pass: async (ms) => {
      for (let passed = 0; passed < ms; passed += TICK_MS) {
        clock.advance(TICK_MS);
        for (const { sync, replica } of [a, b]) {
          sync.tick();
          replica.gather(sync.gathering());
        }
        await settle();
        await settle();
      }
    },
  };
}

const put = async (
  { replica }: Node,
  key: string,
  priority: Priority,
  text = "",
): Promise<WriteReceipt> =>
  replica.put(DOC, [{ key, value: `${key} ${text}`, source: { model: "sensor" } }], { priority });

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? 0;

describe("at 256 kbit/s", () => {
  test("urgent facts arrive in less than a second while facts that can wait fill the link, and all of those come in the end", async () => {
    const at = await scene();
    const [a, b] = at.nodes;
    at.connect();
    await at.pass(1_000);
    const made: Promise<WriteReceipt>[] = [];
    const writtenMs = new Map<string, number>();
    const beganMs = at.clock.now();
    let random = 1;
    for (let round = 0; round < 600; round++) {
      for (let i = 0; i < 8; i++) {
        // What does not compress: some 60 kB/s, twice of what the link takes.
        random = (random * 48_271) % 2_147_483_647;
        const text = Array.from({ length: 60 }, (_, n) => ((random * (n + 7)) % 1e9).toString(36));
        made.push(put(a, `low-${String(round % 40)}-${String(i)}`, "low", text.join("")));
      }
      if (round % 9 === 0) {
        const key = `high-${String(round)}`;
        writtenMs.set(key, at.clock.now());
        made.push(put(a, key, "high"));
      }
      await at.pass(TICK_MS);
    }
    const waits = [...writtenMs].map(([key, ms]) => (at.arrivedMs.get(key) ?? Infinity) - ms);
    expect(percentile(waits, 0.95)).toBeLessThan(1_000);
    const passedMs = at.clock.now() - beganMs;
    // The link was full all the time, and never fuller than it may be.
    expect(at.sent.bytes).toBeGreaterThan((0.85 * KBIT_256 * passedMs) / 1_000);
    expect(at.sent.bytes).toBeLessThan((KBIT_256 * (passedMs + 2_000)) / 1_000);
    const [link] = a.sync.links();
    expect(link?.traffic.budget).toBe(KBIT_256);
    expect(link?.traffic.drainMs).toBeGreaterThan(1_000);
    await at.pass(120_000);
    await Promise.all(made);
    expect(converged(at.nodes)).toBe(true);
    expect(contentOf(a)).toEqual(contentOf(b));
    expect(a.sync.links()[0]?.traffic.drainMs).toBe(0);
    expect(b.replica.counters().duplicate).toBeLessThan(20);
  });

  test("writes share batches while the link is busy, and a lone one on an idle link does not wait", async () => {
    const at = await scene();
    const [a] = at.nodes;
    at.connect();
    await at.pass(1_000);
    const lone = await put(a, "lone", "low");
    expect(lone.seq).toBe(1);
    for (let i = 0; i < 60; i++)
      await put(a, `fill-${String(i)}`, "low", "x".repeat(40).concat(String(i)));
    await at.pass(TICK_MS);
    const before = a.replica.heads().reduce((sum, { seq }) => sum + seq, 0);
    const waiting = Array.from({ length: 30 }, (_, i) => put(a, `some-${String(i)}`, "low"));
    const urgent = await put(a, "urgent", "high");
    expect(urgent.seq).toBe(1);
    await at.pass(10_000);
    const receipts = await Promise.all(waiting);
    expect(new Set(receipts.map(({ seq }) => seq)).size).toBe(1);
    expect(a.replica.heads().reduce((sum, { seq }) => sum + seq, 0)).toBe(before + 2);
  });

  test("what was written while the link was down comes in pieces, and what is urgent first", async () => {
    const at = await scene();
    const [a, b] = at.nodes;
    for (let i = 0; i < 300; i++) await put(a, `low-${String(i)}`, "low", String(i * 7_919));
    for (let i = 0; i < 20; i++) await put(a, `high-${String(i)}`, "high");
    at.connect();
    await at.pass(60_000);
    expect(converged(at.nodes)).toBe(true);
    const firstLow = Math.min(
      ...Array.from({ length: 300 }, (_, i) => at.arrivedMs.get(`low-${String(i)}`) ?? 0),
    );
    const lastHigh = Math.max(
      ...Array.from({ length: 20 }, (_, i) => at.arrivedMs.get(`high-${String(i)}`) ?? 0),
    );
    expect(lastHigh).toBeLessThanOrEqual(firstLow);
    expect(b.replica.counters().duplicate).toBe(0);
  });

  test("facts whose time is over are not sent any more to who need not have everything, and both nodes say the same", async () => {
    const at = await scene(4_000, { docs: [DOC] });
    const [a, b] = at.nodes;
    const telemetry = async (round: number): Promise<void> => {
      const facts = Array.from({ length: 20 }, (_, i) => ({
        key: `sensor-${String(i)}`,
        value: `${String(round)} ${String((round * 7_919 + i * 104_729) % 1e6)}`,
        ttlMs: 5_000,
      }));
      await a.replica.put(DOC, facts, { priority: "low" });
    };
    for (let round = 0; round < 40; round++) {
      await telemetry(round);
      at.clock.advance(1_000);
    }
    at.clock.advance(120_000);
    await b.put("alive", "yes");
    at.connect();
    await at.pass(60_000);
    expect(converged(at.nodes)).toBe(true);
    expect(contentOf(a)).toEqual(contentOf(b));
    const [link] = a.sync.links();
    // All but the first of the life, which hides what an earlier life may have said.
    expect(link?.traffic.expiredBytes).toBeGreaterThan(39 * 100);
    expect(b.replica.list({}).map(({ key }) => key)).toEqual(["alive"]);
  });
});
