// SPDX-License-Identifier: Apache-2.0
/** What checkers are told is enough for them to see; and a defect that one of them found stays found. */
import { createCheckers, INVARIANTS, minimise, runPlan } from "@ctxmesh/simulator";
import type { Plan, PlannedEvent, Violation } from "@ctxmesh/simulator";
import { expect, test } from "vitest";
import { planOf, writes } from "./mesh.ts";

test("there is a checker for every invariant but the comparison of two runs", () => {
  const names = createCheckers().map(({ name }) => name);
  const all = Object.keys(INVARIANTS).filter((name) => name !== "I14");
  expect(names).toEqual(["chronicle", ...all]);
  expect(createCheckers(["I3"]).map(({ name }) => name)).toEqual(["chronicle", "I3"]);
});

test("looking on changes nothing", async () => {
  const plan = planOf([...writes("a1", [5_000, 20_000]), { do: "seal", node: "h1", atMs: 30_000 }]);
  const seen = await runPlan(plan, { checkers: createCheckers() });
  const unseen = await runPlan(plan);
  expect(seen.violations).toEqual([]);
  expect(seen.traceHash).toBe(unseen.traceHash);
});

test("after healing every agent writes until a hub acknowledges", async () => {
  const acknowledged: string[] = [];
  const result = await runPlan(planOf([]), {
    probe: true,
    checkers: [
      {
        name: "probes",
        onEvent(event) {
          if (event.type === "acknowledged") acknowledged.push(event.node);
        },
      },
    ],
  });
  expect(result.violations).toEqual([]);
  expect(new Set(acknowledged)).toEqual(new Set(["a1", "a2"]));
});

test("nobody is told of a new policy before the answers are by it", async () => {
  // While the policy is being taken, the frontiers of all are equal.
  const plan = planOf([
    { do: "put", node: "a1", doc: "d", key: "s", value: 5, increment: true, atMs: 5_000 },
    { do: "put", node: "a2", doc: "d", key: "s", value: 1, increment: true, atMs: 10_000 },
    { do: "policy", node: "a1", rules: [{ prefix: "s", resolver: "sum" }], atMs: 20_000 },
  ]);
  const answers = new Set<string>();
  const result = await runPlan(plan, {
    checkers: [
      {
        name: "policy",
        onEvent(event, { nodes }) {
          if (event.type !== "settled") return;
          for (const { process } of nodes) {
            const value = process?.service.get("d", "s")?.value;
            const epoch = process?.replica.space.policy.epoch;
            if (value === 6 || epoch === 1) answers.add(JSON.stringify([epoch, value]));
          }
        },
      },
    ],
  });
  expect(result.violations).toEqual([]);
  expect([...answers]).toEqual(["[1,6]"]);
});

test("of a batch whose writer died with it, and which a node that keeps a part got first, the rest is taken for written as well", async () => {
  const { nodes, links } = planOf([]);
  const docs = { docs: ["line-2/"] };
  const plan = planOf(
    [
      {
        do: "crash",
        node: "a1",
        how: "process",
        tail: "kept",
        when: "writing",
        downMs: 1_000,
        atMs: 5_000,
      },
      { do: "put", node: "a1", doc: "line-1/x", key: "k", value: 1, atMs: 6_000 },
      { do: "seal", node: "h1", atMs: 50_000 },
    ],
    {
      nodes: nodes.map((node) => (node.service === "hub" ? node : { ...node, subscription: docs })),
      links: links.map((link) =>
        link.to === "h1" ? { ...link, quality: { ...link.quality, latencyMs: 500 } } : link,
      ),
    },
  );
  const first: string[] = [];
  const { violations, counts } = await runPlan(plan, {
    checkers: [
      ...createCheckers(["I6"]),
      {
        name: "first",
        onEvent(event) {
          if (event.type === "applied") first.push(`${event.node} ${event.batch.origin}`);
        },
      },
    ],
  });
  expect(violations).toEqual([]);
  expect(counts.get("crash kept writes")).toBe(1);
  expect(first[0]).toBe("a2 remote");
});

/** A run that fails when all steps are there that have one of these times. */
const failsWith =
  (needed: readonly number[]) =>
  async (plan: Plan): Promise<Violation | undefined> => {
    const times = new Set(plan.steps.map(({ atMs }) => atMs));
    const fails = needed.every((atMs) => times.has(atMs));
    return Promise.resolve(fails ? { checker: "I1", atMs: 50_000, message: "no" } : undefined);
  };

const steps = (count: number): PlannedEvent[] =>
  writes(
    "a1",
    Array.from({ length: count }, (_, i) => i * 10),
  );

test("minimising leaves exactly the steps that are needed, whichever they are", async () => {
  for (const needed of [[], [0], [990], [0, 990], [10, 20, 30], [70, 500, 510, 980]]) {
    const run = failsWith(needed);
    const plan = planOf(steps(100));
    const violation = await run(plan);
    if (violation === undefined) throw new Error("it does not fail");
    const result = await minimise({ plan, violation, run, mostRuns: 10_000 });
    expect(result.plan.steps.map(({ atMs }) => atMs)).toEqual(needed);
    expect(result.isMinimal).toBe(true);
  }
});

test("minimising ends at its bound with a plan that still fails", async () => {
  const run = failsWith([70, 500, 510, 980]);
  const plan = planOf(steps(100));
  const violation = { checker: "I1", atMs: 50_000, message: "no" };
  const result = await minimise({ plan, violation, run, mostRuns: 5 });
  expect(result.runs).toBe(5);
  expect(result.isMinimal).toBe(false);
  expect(await run(result.plan)).toBeDefined();
});

test("minimising keeps to the checker that failed", async () => {
  const plan = planOf(steps(10));
  const other = { checker: "I2", atMs: 1, message: "another one" };
  const run = async (tried: Plan): Promise<Violation | undefined> =>
    Promise.resolve(tried.steps.length < 10 ? other : undefined);
  const violation = { checker: "I1", atMs: 60_001, message: "no" };
  const result = await minimise({ plan, violation, run, mostRuns: 100 });
  expect(result.plan).toBe(plan);
});
