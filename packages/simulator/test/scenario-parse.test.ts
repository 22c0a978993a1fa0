// SPDX-License-Identifier: Apache-2.0
/** Goal: a scenario is taken whole and complete, or every problem is named where it is, at no cost whatever it asks for. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseScenario } from "../src/index.ts";
import type { Scenario } from "../src/index.ts";

const base = {
  name: "small",
  duration: "1h",
  sites: { shop: { agents: 2 }, office: { agents: 1 } },
  hubs: ["cloud"],
  links: [{ between: ["shop", "cloud"] }, { between: ["office", "cloud"] }],
  writers: [{ at: "shop", document: "goods", keys: "price/{1..3}", rate: "2/min" }],
};
type Part = Readonly<Record<string, unknown>>;

const link = (part: Part): Part => ({
  ...base,
  links: [{ between: ["shop", "cloud"], ...part }, { between: ["office", "cloud"] }],
});
const writer = (part: Part): Part => ({ ...base, writers: [{ ...base.writers[0], ...part }] });
const reader = (part: Part): Part => ({
  ...base,
  readers: [{ at: "office", document: "goods", every: "1m", ...part }],
});
const event = (part: Part): Part => ({ ...base, events: [part] });

function problemsOf(value: unknown): readonly string[] {
  const parsed = parseScenario(value);
  return "problems" in parsed ? parsed.problems.map(({ message }) => message) : [];
}

function scenarioOf(value: unknown): Scenario {
  const parsed = parseScenario(value);
  if ("problems" in parsed) throw new Error(JSON.stringify(parsed.problems));
  return parsed.scenario;
}

describe("a scenario", () => {
  test("is completed with defaults", () => {
    expect(scenarioOf(base)).toEqual({
      name: "small",
      description: "",
      seed: 1,
      durationMs: 3_600_000,
      sites: [
        { name: "shop", agents: ["shop-1", "shop-2"], lan: true },
        { name: "office", agents: ["office-1"], lan: true },
      ],
      hubs: ["cloud"],
      links: [
        { a: "shop", b: "cloud", latencyMs: { min: 20, max: 30 }, loss: 0, outages: [] },
        { a: "office", b: "cloud", latencyMs: { min: 20, max: 30 }, loss: 0, outages: [] },
      ],
      writers: [
        {
          name: "writer 1",
          agents: ["shop-1", "shop-2"],
          document: "goods",
          keys: ["price/1", "price/2", "price/3"],
          everyMs: 30_000,
          fromMs: 0,
          untilMs: 3_600_000,
          value: { kind: "counter" },
        },
      ],
      readers: [],
      policy: [],
      events: [],
    });
  });

  test("means what its units say", () => {
    const { links, writers, events } = scenarioOf({
      ...link({
        latency: "5ms..1s",
        loss: "0.5%",
        bandwidth: "256 kbit/s",
        outages: [{ from: "1m", every: "10s", for: "3s", until: "2m", staggered: true }],
      }),
      writers: [
        {
          ...base.writers[0],
          value: { walk: { start: 3, step: 1, min: 0 } },
          confidence: "0.5..0.9",
          source: "m",
          ttl: "1.5s",
        },
      ],
      events: [{ at: "2m", clock: ["office", "cloud"], by: "-30s" }],
    });
    expect(links[0]).toEqual({
      a: "shop",
      b: "cloud",
      latencyMs: { min: 5, max: 1_000 },
      loss: 0.005,
      bytesPerMs: 32,
      outages: [
        {
          fromMs: 60_000,
          forMs: 3_000,
          again: { everyMs: 10_000, untilMs: 120_000, staggered: true },
        },
      ],
    });
    expect(writers[0]).toMatchObject({
      value: { kind: "walk", start: 3, step: 1, min: 0, max: 1e12 },
      confidence: { min: 0.5, max: 0.9 },
      source: { model: "m" },
      ttlMs: 1_500,
    });
    expect(events).toEqual([
      { atMs: 120_000, kind: "clock", nodes: ["office-1", "cloud"], byMs: -30_000 },
    ]);
  });

  const BAD: readonly (readonly [string, unknown, string | RegExp])[] = [
    ["nothing", undefined, "a scenario is missing"],
    ["a list", [], /^a scenario must be a mapping/u],
    ["an unknown field", { ...base, sitse: {} }, 'unknown field "sitse"'],
    [
      "an unknown field further down",
      link({ latncy: "1ms" }),
      'unknown field "latncy" in links[0]',
    ],
    ["a missing field", { ...base, duration: undefined }, "duration is missing"],
    ["a number for a time", { ...base, duration: 5 }, /^duration must be a time such as/u],
    [
      "a duration that is too long",
      { ...base, duration: "32d" },
      "duration must be from 1 s to 31 d",
    ],
    [
      "a seed that is none",
      { ...base, seed: 1.5 },
      "seed must be a whole number from 0 to 999999999",
    ],
    [
      "a billion agents",
      { ...base, sites: { shop: { agents: 1e9 } } },
      "sites.shop.agents must be a whole number from 1 to 64",
    ],
    [
      "too many agents in all",
      { ...base, sites: { shop: { agents: 64 }, office: { agents: 1 } } },
      "a scenario has 66 agents and hubs; at most 64 are simulated",
    ],
    [
      "no agents",
      { ...base, sites: { shop: { agents: 0 } } },
      "sites.shop.agents must be a whole number from 1 to 64",
    ],
    ["a name that is none", { ...base, hubs: ["Über"] }, /^hubs\[0\] is not a name/u],
    ["a name twice", { ...base, hubs: ["cloud", "shop-1"] }, /two things with the name shop-1/u],
    [
      "a link to nowhere",
      link({ between: ["shop", "moon"] }),
      'links[0].between[1] names "moon", which is no site or hub of this scenario',
    ],
    [
      "a link to itself",
      link({ between: ["shop", "shop"] }),
      "links[0].between names shop twice; agents of a site are linked anyway",
    ],
    [
      "a site without a link",
      { ...base, links: base.links.slice(0, 1) },
      "a scenario has no link by which office reaches shop; add one under links",
    ],
    [
      "two links for a pair",
      { ...base, links: [...base.links, { between: ["cloud", "shop"] }] },
      "links join cloud and shop twice; give one link all of its outages",
    ],
    ["a loss of everything", link({ loss: "100%" }), "links[0].loss must be from 0% to 50%"],
    [
      "no bandwidth",
      link({ bandwidth: "0 kbit/s" }),
      "links[0].bandwidth must be at least 8 kbit/s",
    ],
    [
      "a range upside down",
      link({ latency: "9ms..3ms" }),
      /^links\[0\]\.latency must be a time such as 20ms, or a range/u,
    ],
    [
      "an outage without an end",
      link({ outages: [{ from: "1m" }] }),
      "links[0].outages[0].for is missing",
    ],
    [
      "an outage longer than its period",
      link({ outages: [{ every: "3s", for: "3s" }] }),
      'links[0].outages[0].for must be shorter than "every"',
    ],
    [
      "too many cuts",
      { ...link({ outages: [{ every: "100ms", for: "1ms" }] }), duration: "31d" },
      /^links cut lines [0-9]+ times; at most 100000/u,
    ],
    [
      "a negative rate",
      writer({ rate: "-2/s" }),
      "writers[0].rate must be a rate such as 2/s, 30/min, 6/h or 1/d",
    ],
    [
      "a rate of nothing",
      writer({ rate: "0/s" }),
      "writers[0].rate must be above 0 and up to 1000/s",
    ],
    [
      "more writes than are simulated",
      writer({ rate: "1000/s" }),
      /^writers write 7200000 facts in all; at most 500000/u,
    ],
    [
      "more keys than there may be",
      writer({ keys: "{1..999999999}" }),
      "writers[0].keys stands for more than 10000 keys",
    ],
    [
      "a product of keys",
      writer({ keys: "{1..200}/{1..200}" }),
      "writers[0].keys stands for more than 10000 keys",
    ],
    ["braces that mean nothing", writer({ keys: "a{b}" }), /braces that are none of/u],
    [
      "a document that is no name",
      writer({ document: "../x" }),
      /^writers\[0\]\.document is malformed document name/u,
    ],
    [
      "a writer at a hub",
      writer({ at: "cloud" }),
      "writers[0].at names the hub cloud; name a site or an agent",
    ],
    [
      "a confidence above 1",
      writer({ confidence: 1.1 }),
      "writers[0].confidence must be a number from 0 to 1",
    ],
    [
      "a value of two kinds",
      writer({ value: { increment: 1, constant: 2 } }),
      "writers[0].value must have one of increment, walk, choice, constant",
    ],
    [
      "a value that JSON has no word for",
      writer({ value: { constant: [Number.NaN] } }),
      "writers[0].value.constant must be a JSON value",
    ],
    [
      "a value that is too long",
      writer({ value: { constant: "x".repeat(5_000) } }),
      /at most 4096/u,
    ],
    [
      "a writer with control characters",
      writer({ name: "a\u001b[2J" }),
      "writers[0].name has control characters",
    ],
    ["a reader of nothing", reader({ prefix: "prise/" }), /looks at no key that is written/u],
    [
      "more reads than are simulated",
      {
        ...reader({ every: "100ms" }),
        duration: "31d",
        writers: [{ ...base.writers[0], rate: "1/h" }],
      },
      /^readers read [0-9]+ keys in all; at most 4000000/u,
    ],
    [
      "a rule that is none",
      { ...base, policy: [{ prefix: "a", resolver: "newest" }] },
      /^policy\[0\] is no rule: .*latest, confidence/u,
    ],
    [
      "two rules for a prefix",
      {
        ...base,
        policy: [
          { prefix: "a", resolver: "max" },
          { prefix: "a", resolver: "min" },
        ],
      },
      /two rules for the prefix "a"/u,
    ],
    [
      "seals without a hub",
      { ...base, hubs: [], links: [{ between: ["shop", "office"] }], seal: { every: "1m" } },
      "seal needs a hub, which seals",
    ],
    [
      "an event of no kind",
      event({ at: "1m", for: "1m" }),
      /^events\[0\] must have one of offline, crash/u,
    ],
    [
      "an event after the end",
      event({ at: "2h", crash: "shop", for: "1m" }),
      "events[0].at is after the end of the scenario",
    ],
    ["a crash without an end", event({ at: "1m", crash: "shop" }), "events[0].for is missing"],
    [
      "a revoked hub",
      event({ at: "1m", revoke: "cloud" }),
      /^events\[0\]\.revoke names the hub cloud/u,
    ],
    [
      "a backup from the future",
      event({ at: "1m", restore: "shop", for: "1s", backup: "2m" }),
      'events[0].backup must be before "at"',
    ],
  ];

  test.for(BAD)("is refused with the field and the remedy for %s", ([, value, expected]) => {
    const isMeant = (message: string): boolean =>
      typeof expected === "string" ? message === expected : expected.test(message);
    const problems = problemsOf(value);
    expect(problems.some(isMeant), problems.join("\n")).toBe(true);
  });

  test("has all of its problems named at once", () => {
    expect(problemsOf({ ...base, seed: -1, duration: "?", hubs: "cloud" })).toHaveLength(3);
  });

  test("is never the cause of an exception, whatever it is", () => {
    const names = [...Object.keys(base), "readers", "events", "policy", "seal"];
    const part = fc.oneof(fc.anything(), fc.jsonValue());
    fc.assert(
      fc.property(fc.constantFrom(...names), part, (name, value) => {
        const parsed = parseScenario({ ...base, [name]: value });
        expect(
          "problems" in parsed ? parsed.problems.length > 0 : parsed.scenario.durationMs > 0,
        ).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
