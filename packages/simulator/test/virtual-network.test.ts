// SPDX-License-Identifier: Apache-2.0
/** Virtual channels keep the promises of the `Channel` port; lines stall, vanish and break as real ones do. */
import type { Remote } from "@ctxmesh/model";
import { Dice, Scheduler, VirtualNetwork } from "@ctxmesh/simulator";
import type { ChannelEnd, Endpoint, LineQuality } from "@ctxmesh/simulator";
import { runChannelTests } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";

const GOOD: LineQuality = { latencyMs: 10, jitterMs: 0, loss: 0, bytesPerMs: 1_000 };
const remote = (id: string, direction: Remote["direction"]): Remote => ({
  device: id.repeat(64),
  address: id,
  direction,
  role: "agent",
});

const endpoint = (id: string): Endpoint => ({
  id,
  deliver: (run) => {
    run();
  },
});

interface Net {
  readonly network: VirtualNetwork;
  readonly scheduler: Scheduler;
  readonly a: ChannelEnd;
  readonly b: ChannelEnd;
  readonly ends: readonly [Endpoint, Endpoint];
  readonly atB: string[];
  /** Passes time. */
  pass(ms: number): Promise<void>;
}

function connect(quality: LineQuality = GOOD): Net {
  const scheduler = new Scheduler(1_000_000);
  const host = {
    nowMs: () => scheduler.nowMs,
    after: (delayMs: number, run: () => void) => {
      scheduler.after(delayMs, run);
    },
  };
  const network = new VirtualNetwork(host, new Dice("network"));
  network.connect("a", "b", quality);
  const ends = [endpoint("a"), endpoint("b")] as const;
  const [a, b] = network.open(...ends, remote("b", "outbound"), remote("a", "inbound"));
  const atB: string[] = [];
  void (async () => {
    for await (const bytes of b.receive()) atB.push(Buffer.from(bytes).toString());
    atB.push("end");
  })();
  const pass = async (ms: number): Promise<void> =>
    scheduler.runUntil(scheduler.nowMs + ms, () => false);
  return { network, scheduler, a, b, ends, atB, pass };
}

const text = (value: string): Uint8Array => new Uint8Array(Buffer.from(value));

runChannelTests("virtual line", () => {
  const scheduler = new Scheduler(10_000_000);
  let pumping = false;
  // Lets events happen while there are some: the suite knows nothing of virtual time.
  const pump = async (): Promise<void> => {
    if (pumping) return;
    pumping = true;
    for (let before = -1; before !== scheduler.events;) {
      before = scheduler.events;
      await scheduler.runUntil(scheduler.nowMs + 1_000_000, () => false);
    }
    pumping = false;
  };
  const host = {
    nowMs: () => scheduler.nowMs,
    after: (delayMs: number, run: () => void) => {
      scheduler.after(delayMs, run);
      setImmediate(() => void pump());
    },
  };
  const network = new VirtualNetwork(host, new Dice("suite"));
  network.connect("a", "b", { latencyMs: 1, jitterMs: 3, loss: 0.1, bytesPerMs: 100_000 });
  const [a, b] = network.open(
    endpoint("a"),
    endpoint("b"),
    remote("b", "outbound"),
    remote("a", "inbound"),
  );
  return Promise.resolve({
    a,
    b,
    async dispose() {
      await Promise.all([a.close(), b.close()]);
    },
  });
});

describe("a line", () => {
  test("takes its latency, and the time that its bandwidth needs", async () => {
    const { a, atB, pass } = connect({ ...GOOD, bytesPerMs: 1 });
    await a.send(text("x".repeat(100)));
    await pass(109);
    expect(atB).toEqual([]);
    await pass(2);
    expect(atB).toHaveLength(1);
  });

  test("that loses packets stalls messages, and brings all of them in order", async () => {
    const { a, atB, pass, scheduler } = connect({ ...GOOD, loss: 0.5 });
    const sent = Array.from({ length: 50 }, (_, i) => String(i));
    for (const one of sent) await a.send(text(one));
    await pass(11);
    expect(atB.length).toBeLessThan(50);
    await pass(60_000);
    expect(atB).toEqual(sent);
    expect(scheduler.events).toBeGreaterThan(0);
  });

  test("that is cut one way holds one way up, and goes on when it is mended", async () => {
    const { network, a, b, atB, pass } = connect();
    network.setCut("a", "b", true);
    await a.send(text("held"));
    await b.send(text("through"));
    const [first] = await Promise.all([firstOf(a), pass(5_000)]);
    expect(first).toBe("through");
    expect(atB).toEqual([]);
    network.setCut("a", "b", false);
    await pass(2_000);
    expect(atB).toEqual(["held"]);
    await pass(60_000);
    expect(atB).toEqual(["held"]);
  });

  test("that stays cut makes both ends give up, each in its time", async () => {
    const { network, a, b, atB, pass } = connect();
    network.setCut("a", "b", true);
    network.setCut("b", "a", true);
    await pass(9_000);
    expect([a.isOver, b.isOver]).toEqual([false, false]);
    await pass(22_000);
    expect([a.isOver, b.isOver]).toEqual([true, true]);
    expect(atB).toEqual(["end"]);
    expect(network.connections).toBe(0);
  });

  test("that is clogged lets nothing out for a while", async () => {
    const { network, a, atB, pass } = connect();
    network.clog("a", "b", 3_000);
    await a.send(text("late"));
    await pass(2_900);
    expect(atB).toEqual([]);
    await pass(200);
    expect(atB).toEqual(["late"]);
  });
});

describe("a channel", () => {
  test("that is reset loses what was in flight, at both ends", async () => {
    const { network, a, b, atB, pass } = connect();
    await a.send(text("lost"));
    expect(network.reset("b", "a")).toBe(1);
    await pass(200);
    expect(atB).toEqual(["end"]);
    expect([a.isOver, b.isOver]).toEqual([true, true]);
    await expect(a.send(text("x"))).rejects.toMatchObject({ code: "CLOSED" });
  });

  test.for([
    [true, 200, "tells the other end at once"],
    [false, 31_000, "is missed only after a silence"],
  ] as const)("whose process is gone (told: %s) ends within %d ms: it %s", async ([tells, ms]) => {
    const { network, a, b, ends, atB, pass } = connect();
    await b.send(text("into the void"));
    network.vanish(ends[0], tells);
    await pass(tells ? ms : 9_000);
    expect(b.isOver).toBe(tells);
    await pass(ms);
    expect([b.isOver, a.isOver]).toEqual([true, true]);
    expect(atB).toEqual(["end"]);
  });
});

async function firstOf(end: ChannelEnd): Promise<string> {
  for await (const bytes of end.receive()) return Buffer.from(bytes).toString();
  return "end";
}
