// SPDX-License-Identifier: Apache-2.0
/** Runs are the same whenever they are run, and end in one state for all. */
import { FAULT_KINDS, randomPlan, runPlan } from "@ctxmesh/simulator";
import { MeshError } from "@ctxmesh/model";
import { expect, test } from "vitest";
import { convergence, observe, planOf, writes } from "./mesh.ts";

test("the same seed gives the same plan and the same trace, another one another", async () => {
  const hashes = new Set<string>();
  for (let seed = 1; seed <= 10; seed++) {
    const plan = randomPlan({ seed, hours: 0.05 });
    expect(randomPlan({ seed, hours: 0.05 })).toEqual(plan);
    const first = await runPlan(plan, { checkers: [convergence] });
    // As a plan that was written down and read again.
    const again = await runPlan(JSON.parse(JSON.stringify(plan)) as typeof plan, {
      checkers: [convergence],
    });
    expect(first.violations).toEqual([]);
    expect(again).toEqual(first);
    hashes.add(first.traceHash);
  }
  expect(hashes.size).toBe(10);
});

test("an hour of five agents and two hubs with all faults ends in the same content everywhere", async () => {
  const result = await runPlan(randomPlan({ seed: 77 }), { checkers: [convergence] });
  expect(result.violations).toEqual([]);
  expect(result.simulatedMs).toBeGreaterThan(3_600_000);
  expect(result.counts.get("put")).toBeGreaterThan(50);
  expect(result.counts.get("seal")).toBeGreaterThan(0);
});

test("with real signatures it is the same", async () => {
  const plan = randomPlan({ seed: 3, hours: 0.1, signatures: "real" });
  const [first, again] = [await runPlan(plan, { checkers: [convergence] }), await runPlan(plan)];
  expect(first.violations).toEqual([]);
  expect(again.traceHash).toBe(first.traceHash);
});

test("a step that is left out of a plan leaves a plan", async () => {
  const plan = randomPlan({ seed: 5, hours: 0.05 });
  const steps = plan.steps.filter((_, i) => i % 3 > 0);
  const { violations } = await runPlan({ ...plan, steps }, { checkers: [convergence] });
  expect(violations).toEqual([]);
});

test("a plan has the faults that were asked for, and none else", () => {
  for (const kind of FAULT_KINDS) {
    const { steps } = randomPlan({ seed: 1, hours: 5, faults: [kind] });
    expect(steps.length).toBeGreaterThan(0);
  }
  const { steps } = randomPlan({ seed: 1, hours: 2, faults: [] });
  expect(steps.every(({ do: what }) => what !== "crash" && what !== "cut")).toBe(true);
});

test("what a checker throws is a violation, ends the run, and is told with its time", async () => {
  const plan = planOf(writes("a1", [10_000, 20_000]));
  const { result, recorder } = await observe(plan, {
    checkers: [
      {
        name: "picky",
        onEvent: (event) => {
          if (event.type === "acknowledged") throw new Error("somebody wrote");
        },
      },
    ],
  });
  expect(result.violations).toMatchObject([{ checker: "picky", message: "somebody wrote" }]);
  expect(result.violations[0]?.atMs).toBeGreaterThan(10_000);
  expect(result.simulatedMs).toBeLessThan(11_000);
  expect(recorder.events.filter(({ type }) => type === "acknowledged")).toHaveLength(1);
});

test("a store that acknowledges what is not durable yet loses a write that a client was told of", async () => {
  const crash = { do: "crash", node: "a1", how: "power", tail: "lost", when: "writing" } as const;
  const plan = planOf([
    { ...crash, downMs: 1_000, atMs: 9_000 },
    {
      do: "cut",
      lines: [
        ["a1", "a2"],
        ["a1", "h1"],
      ],
      forMs: 20_000,
      atMs: 9_000,
    },
    ...writes("a1", [10_000]),
  ]);
  const honest = await observe(plan);
  expect(honest.recorder.events.some(({ type }) => type === "acknowledged")).toBe(false);
  const hasty = await observe(plan, {
    wrap: {
      store: (_, store) => ({
        write: async (changes) => {
          void store.write(changes);
          return Promise.resolve();
        },
        get: async (key) => store.get(key),
        scan: (range) => store.scan(range),
        close: async () => store.close(),
      }),
    },
  });
  expect(hasty.recorder.events.some(({ type }) => type === "acknowledged")).toBe(true);
  expect(hasty.recorder.answers("a1")).toEqual({ a1: undefined, a2: undefined, h1: undefined });
});

test("an error that the code under simulation did not expect is a violation", async () => {
  const { result } = await observe(planOf([]), {
    wrap: {
      store: (node, store) =>
        node === "a1"
          ? {
              ...store,
              scan: () => {
                throw new TypeError("a slip");
              },
            }
          : store,
    },
  });
  expect(result.violations[0]).toMatchObject({ checker: "run" });
  expect(result.violations[0]?.message).toContain("a slip");
  expect(new MeshError("INTERNAL", "x").code).toBe("INTERNAL");
});
