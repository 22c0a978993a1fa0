// SPDX-License-Identifier: Apache-2.0
import { hostname } from "node:os";
import { MeshError } from "@ctxmesh/model";
import { createRecordingLogger, createVirtualClock, silentLogger } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { createHostSource, metricsOf, readHost } from "../src/sources/host.ts";
import type { SourceWrite, Wait } from "../src/sources/source.ts";

/** Lets `turns` waits pass at once, then holds until the source is stopped. */
function limitedWait(turns: number): { wait: Wait; waits: number[]; done: Promise<void> } {
  const waits: number[] = [];
  const { promise: done, resolve } = Promise.withResolvers<void>();
  const wait: Wait = async (ms, signal) => {
    waits.push(ms);
    if (waits.length < turns) return;
    resolve();
    await new Promise((release) => signal.addEventListener("abort", release));
  };
  return { wait, waits, done };
}

describe("metrics", () => {
  const before = {
    atMs: 1_000,
    cpu: { busy: 100, total: 1_000 },
    network: { received: 5_000, sent: 1_000 },
  };

  test("rates come from the difference of two readings", () => {
    const now = {
      atMs: 3_000,
      cpu: { busy: 175, total: 1_200 },
      network: { received: 9_000, sent: 1_001 },
      memory: { total: 1_000, available: 250 },
      load: [1.234, 2, 3],
      disk: { total: 2_000, available: 500 },
    };
    expect(Object.fromEntries(metricsOf(now, before))).toEqual({
      cpu_percent: 37.5,
      network_rx_bytes_per_s: 2_000,
      network_tx_bytes_per_s: 1,
      memory_percent: 75,
      memory_used_bytes: 750,
      memory_total_bytes: 1_000,
      load_1m: 1.23,
      load_5m: 2,
      load_15m: 3,
      disk_percent: 75,
      disk_used_bytes: 1_500,
      disk_total_bytes: 2_000,
    });
  });

  test("a first reading, a counter or a clock that went back give no rate", () => {
    const back = {
      atMs: 2_000,
      cpu: { busy: 90, total: 1_100 },
      network: { received: 0, sent: 0 },
    };
    expect(metricsOf(before).size).toBe(0);
    expect(metricsOf(back, before).size).toBe(0);
    expect(metricsOf({ ...before, atMs: 500 }, before).size).toBe(0);
  });

  test("this machine tells at least its memory and its disk", async () => {
    const metrics = metricsOf(await readHost("/", 0));
    expect(metrics.get("memory_total_bytes")).toBeGreaterThan(0);
    expect(metrics.get("disk_total_bytes")).toBeGreaterThan(0);
    expect(metrics.get("memory_percent")).toBeLessThanOrEqual(100);
  });
});

describe("source", () => {
  test("each turn writes one group of facts with the machine as their source", async () => {
    const { wait, waits, done } = limitedWait(2);
    const writes: SourceWrite[] = [];
    const deps = { clock: createVirtualClock(1_000), logger: silentLogger, wait };
    const source = createHostSource({ name: "press-7", intervalMs: 250 }, deps);
    source.start(async (write) => void writes.push(write));
    await done;
    await source.stop();
    expect(waits).toEqual([250, 250]);
    expect(writes).toHaveLength(2);
    for (const { doc, facts } of writes) {
      expect(doc).toBe("telemetry");
      for (const fact of facts) {
        expect(fact.key).toMatch(/^host\/press-7\/[a-z0-9_]+$/u);
        expect(fact.confidence).toBe(1);
        expect(fact.source).toEqual({ model: "host", version: "1", instance: hostname() });
      }
    }
  });

  test("a shared key gets the named metric with its own confidence, also in another document", async () => {
    const { wait, done } = limitedWait(1);
    const writes: SourceWrite[] = [];
    const deps = { clock: createVirtualClock(1_000), logger: silentLogger, wait };
    const also = [
      { key: "site/memory", from: "memory_percent", confidence: 0.6 },
      { doc: "site", key: "disk", from: "disk_percent" },
      { key: "site/nothing", from: "no_such_metric" },
    ];
    const source = createHostSource({ also }, deps);
    source.start(async (write) => void writes.push(write));
    await done;
    await source.stop();
    expect(writes.map(({ doc }) => doc)).toEqual(["telemetry", "site"]);
    const shared = writes[0]?.facts.find(({ key }) => key === "site/memory");
    expect(shared).toMatchObject({ confidence: 0.6, value: expect.any(Number) as number });
    expect(writes[1]?.facts).toMatchObject([{ key: "disk", confidence: 1 }]);
    expect(JSON.stringify(writes)).not.toContain("site/nothing");
  });

  test("a row of failed writes is logged once, and the source goes on", async () => {
    const { wait, done } = limitedWait(4);
    const logger = createRecordingLogger();
    let calls = 0;
    const source = createHostSource({}, { clock: createVirtualClock(0), logger, wait });
    source.start(async () => {
      calls++;
      if (calls < 4) throw new MeshError("STORE_FAILED", "disk full");
    });
    await done;
    await source.stop();
    expect(calls).toBe(4);
    expect(logger.entries).toMatchObject([
      { level: "warn", event: "source.failed", fields: { code: "STORE_FAILED" } },
    ]);
  });

  test("an agent that has closed ends the source quietly", async () => {
    const logger = createRecordingLogger();
    const source = createHostSource({}, { clock: createVirtualClock(0), logger });
    const { promise: refused, resolve } = Promise.withResolvers<void>();
    source.start(async () => {
      resolve();
      throw new MeshError("CLOSED", "the replica is closed");
    });
    await refused;
    await source.stop();
    expect(logger.entries).toEqual([]);
  });
});
