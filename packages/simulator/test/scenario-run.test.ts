// SPDX-License-Identifier: Apache-2.0
/** Goal: a report's figures are those of what really happened, worked out a second time from the raw events of the same run. */
import { describe, expect, test } from "vitest";
import {
  createCheckers,
  parseScenario,
  renderReportHtml,
  renderReportText,
  runScenario,
} from "../src/index.ts";
import type { Checker, Scenario, ScenarioReport, SimEvent, World } from "../src/index.ts";

function scenarioOf(value: unknown): Scenario {
  const parsed = parseScenario(value);
  if ("problems" in parsed) throw new Error(JSON.stringify(parsed.problems));
  return parsed.scenario;
}

/** A minute without a line, a writer on one side of it and readers on both. */
const CUT = scenarioOf({
  name: "cut",
  duration: "4m",
  seed: 5,
  sites: { near: { agents: 2 }, far: { agents: 1 } },
  hubs: ["hub"],
  links: [
    { between: ["near", "hub"], latency: "10ms" },
    { between: ["far", "hub"], latency: "100ms", outages: [{ from: "1m", for: "1m" }] },
  ],
  writers: [{ name: "w", at: "near-1", document: "d", keys: "k/{1..2}", rate: "12/min" }],
  readers: [
    { name: "here", at: "near-2", document: "d", every: "5s" },
    { name: "there", at: "far", document: "d", every: "5s" },
  ],
  seal: { every: "30s" },
});

interface Raw {
  readonly atMs: number;
  readonly event: SimEvent;
}

/** Everything that happened, and nothing worked out of it. */
class RawLog implements Checker {
  readonly name = "raw";
  readonly log: Raw[] = [];

  onEvent(event: SimEvent, world: World): void {
    if (event.type !== "settled") this.log.push({ atMs: world.nowMs, event });
  }
}

/** When each written key's batch was applied at each node, by the batch's position. */
function appliedAt(log: readonly Raw[]): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const applied = new Map<string, Map<string, number>>();
  for (const { atMs, event } of log) {
    if (event.type !== "applied" || event.batch.facts === 0) continue;
    const { incarnation, seq } = event.batch.head;
    const id = `${incarnation}/${String(seq)}`;
    const nodes = applied.get(id) ?? new Map<string, number>();
    nodes.set(event.node, atMs);
    applied.set(id, nodes);
  }
  return applied;
}

const nearestRank = (values: readonly number[], share: number): number | undefined =>
  values.toSorted((a, b) => a - b)[Math.ceil(share * values.length) - 1];

const to3 = (value: number | undefined): number | undefined =>
  value === undefined ? undefined : Math.round(value * 1_000) / 1_000;

describe("the report of a run", async () => {
  const raw = new RawLog();
  const report: ScenarioReport = await runScenario(CUT, {
    checkers: [raw, ...createCheckers(["I2"])],
  });
  const applied = appliedAt(raw.log);
  const writes = raw.log.flatMap(({ event }) =>
    event.type === "acknowledged" ? [event.write] : [],
  );

  test("is of a run in which nothing was violated and all came together", () => {
    expect(report.invariants).toEqual({ checked: ["I2"], violations: [] });
    expect(report.convergence.equal).toBe(true);
    expect(writes.length).toBeGreaterThanOrEqual(46);
    expect(report.writes.facts).toBe(writes.length);
  });

  test("has for each two places the times from the writer's disk to every node there", () => {
    for (const [place, node] of [
      ["near", "near-2"],
      ["far", "far-1"],
      ["hub", "hub"],
    ] as const) {
      const times = [...applied.values()].map(
        (nodes) => (nodes.get(node) ?? Infinity) - (nodes.get("near-1") ?? Infinity),
      );
      const row = report.propagation.find(({ from, to }) => from === "near" && to === place);
      expect(row).toEqual({
        from: "near",
        to: place,
        count: times.length,
        p50Ms: to3(nearestRank(times, 0.5)),
        p95Ms: to3(nearestRank(times, 0.95)),
        maxMs: to3(Math.max(...times)),
        missing: 0,
      });
    }
  });

  test("has at a reader, look by look and key by key, how long something newer had been there", () => {
    for (const [name, node] of [
      ["here", "near-2"],
      ["there", "far-1"],
    ] as const) {
      const looks = raw.log.filter(
        ({ event }) =>
          event.type === "step" && event.step.do === "read" && event.step.client === name,
      );
      const stale = looks.flatMap(({ atMs }) =>
        ["k/1", "k/2"].flatMap((key) => {
          const said = writes.filter((write) => write.key === key && write.atMs <= atMs);
          const isHere = ({ receipt }: (typeof said)[number]): boolean =>
            (applied.get(`${receipt.incarnation}/${String(receipt.seq)}`)?.get(node) ?? Infinity) <=
            atMs;
          const next = said[said.findLastIndex(isHere) + 1];
          return said.length === 0 ? [] : [next === undefined ? 0 : atMs - next.atMs];
        }),
      );
      const row = report.readers.find((one) => one.name === name);
      expect(row).toMatchObject({ node, looks: looks.length, unanswered: 0, count: stale.length });
      expect(row?.maxMs).toBe(to3(Math.max(...stale)));
      const series = report.timeline.readers.find((one) => one.name === name)?.ms ?? [];
      expect(Math.max(...series.map((ms) => ms ?? 0))).toBe(row?.maxMs);
    }
    const worst = report.readers.map(({ maxMs }) => maxMs ?? 0);
    expect(worst[0]).toBeLessThan(1_000);
    // From the first write after the line went to a look before it came back.
    expect(worst[1]).toBeGreaterThan(45_000);
    expect(worst[1]).toBeLessThan(120_000);
  });

  test("has the time from the last outage to the last arrival of what was older", () => {
    const old = [...applied.values()].filter(
      (nodes) => (nodes.get("near-1") ?? Infinity) <= 120_000,
    );
    const last = Math.max(...old.flatMap((nodes) => [...nodes.values()]));
    expect(report.convergence).toMatchObject({ quietMs: 120_000, tookMs: to3(last - 120_000) });
  });

  test("has who waited for what", () => {
    const [local, hub, sealed] = report.writes.acknowledged;
    expect(local).toMatchObject({ level: "local", count: writes.length, waiting: 0 });
    expect(hub).toMatchObject({ level: "hub", count: writes.length, waiting: 0 });
    // It takes a line's latency there and back again.
    expect(hub?.p50Ms).toBeGreaterThan(20);
    expect((sealed?.count ?? 0) + (sealed?.waiting ?? 0)).toBe(writes.length);
    expect(sealed?.maxMs).toBeLessThan(31_000);
    expect(sealed?.p50Ms).toBeGreaterThan(5_000);
  });

  test("has every link with its traffic and its outages", () => {
    const far = report.links.find(({ a, b }) => a === "far" && b === "hub");
    expect(far).toMatchObject({ lines: 1, outages: 1, downShare: 0.25 });
    // Every fact goes there once, some 200 bytes signed; what comes back is about heads and seals.
    expect(far?.bytesToA).toBeGreaterThan(writes.length * 150);
    const { bucketMs, links } = report.timeline;
    const down = links.find(({ name }) => name === "far - hub")?.down ?? [];
    expect(down.reduce((sum, share) => sum + share, 0) * bucketMs).toBeCloseTo(60_000, -1);
    expect(links.map(({ name }) => name)).toEqual(["within near", "near - hub", "far - hub"]);
  });

  test("has what became of every batch that came", () => {
    const received = new Map(report.received.map(({ what, count }) => [what, count]));
    const remote = raw.log.filter(
      ({ event }) => event.type === "applied" && event.batch.origin === "remote",
    );
    expect(received.get("accepted")).toBe(remote.length);
  });

  test("is the same for the same scenario and seed, also as text and page, and another one for another seed", async () => {
    const again = await runScenario(CUT);
    const { invariants: _, ...figures } = report;
    const { invariants: _unused, ...figuresAgain } = again;
    expect(figuresAgain).toEqual(figures);
    expect(renderReportText({ ...again, invariants: report.invariants })).toBe(
      renderReportText(report),
    );
    expect(renderReportHtml({ ...again, invariants: report.invariants })).toBe(
      renderReportHtml(report),
    );
    const other = await runScenario({ ...CUT, seed: 6 });
    expect(other.traceHash).not.toBe(report.traceHash);
  });
});

describe("a run with machines that fail", async () => {
  const scenario = scenarioOf({
    name: "failures",
    duration: "5m",
    sites: { a: { agents: 3 } },
    hubs: ["hub"],
    links: [{ between: ["a", "hub"] }],
    policy: [{ prefix: "count/", resolver: "sum" }],
    writers: [
      {
        name: "counts",
        at: "a",
        document: "d",
        keys: "count/x",
        rate: "20/min",
        value: { increment: 1 },
      },
      {
        name: "notes",
        at: "a",
        document: "d",
        keys: "note",
        rate: "6/min",
        value: { choice: ["x", "y"] },
        confidence: "0.1..1",
      },
    ],
    readers: [{ name: "r", at: ["a-2", "hub"], document: "d", every: "5s" }],
    events: [
      { at: "60s", crash: "a-2", for: "30s" },
      { at: "2m", restore: "a-3", backup: "90s", for: "5s" },
      { at: "3m", offline: "a-1", for: "20s" },
      { at: "4m", revoke: "a-3" },
    ],
  });
  const report = await runScenario(scenario);

  test("says what could not be written and read, and comes together again", () => {
    expect(report.invariants.violations).toEqual([]);
    expect(report.convergence.equal).toBe(true);
    expect(report.writes.unavailable).toBeGreaterThan(10);
    expect(report.writes.refused).toEqual([
      { what: "POLICY_REFUSED", count: expect.any(Number) as number },
    ]);
    const [atAgent, atHub] = report.readers;
    expect(atAgent?.unanswered).toBe(6);
    expect(atHub?.unanswered).toBe(0);
    expect(report.timeline.backlog.find(({ name }) => name === "a-2")?.facts).toContain(null);
    expect(report.timeline.events.map(({ text }) => text)).toEqual([
      "a-2 lost power for 30 s",
      "a-3 restored from the backup of 1 min 30 s",
      "a-1 offline for 20 s",
      "a-3 revoked",
    ]);
  });

  test("expects nothing to arrive at a machine that was shut out, nor what it wrote then", () => {
    expect(report.propagation.map(({ missing }) => missing)).toEqual([0, 0]);
    const [hub] = report.propagation.filter(({ to }) => to === "hub");
    expect(hub?.count).toBe(report.writes.facts);
  });

  test("counts and disputes by the policy's rules", () => {
    const rules = report.contested.byRule;
    expect(rules.map(({ prefix, resolver, facts }) => [prefix, resolver, facts])).toEqual([
      ["", "latest", 1],
      ["count/", "sum", 1],
    ]);
    expect(rules[1]?.contested).toBe(0);
    for (const { candidates } of report.contested.shown) {
      expect(candidates.filter(({ standing }) => standing === "shown")).toHaveLength(1);
      for (const { node } of candidates) expect(node).toMatch(/^a-[123]$/u);
    }
  });
});
