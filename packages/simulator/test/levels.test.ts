// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a strong or bounded read never returns what it must not, and of strong writes on one version one is made, whatever crashes, parts, stands still
 * or has its clock set; and a checker sees it if that were not so.
 * Method: three agents and a hub with random work and faults, over seeds; then the checker with events of a mesh that breaks its word.
 */
import { Dice, createLevelChecker, runPlan } from "@ctxmesh/simulator";
import type { Plan, PlannedEvent, SimEvent, WorkStep, World } from "@ctxmesh/simulator";
import { describe, expect, test } from "vitest";
import { LINE, createRecorder, planOf } from "./mesh.ts";
import type { Recorder } from "./mesh.ts";

const SEEDS = 5;
const SAFETY_MS = 60_000;
const AGENTS = ["a1", "a2", "a3"] as const;
const KEYS = ["x", "y"] as const;

/** What a client does; every value is another one. */
function work(dice: Dice, value: number): WorkStep {
  const at = { node: dice.pick(AGENTS), doc: "d", key: dice.pick(KEYS) };
  const kind = dice.int(0, 9);
  if (kind < 4) return { do: "set", ...at, value };
  if (kind < 6) return { do: "ask", ...at, consistency: "strong" };
  if (kind < 9) {
    const maxStalenessMs = dice.pick([1, 200, 2_000, 10_000]);
    return { do: "ask", ...at, consistency: "bounded", maxStalenessMs };
  }
  return { do: "put", ...at, value, ack: "hub" };
}

function fault(dice: Dice): PlannedEvent {
  const node = dice.pick([...AGENTS, "h1", "h1"]);
  const how = dice.pick(["process", "power"] as const);
  const forMs = dice.int(200, 6_000);
  const lines = [[dice.pick(AGENTS), "h1"]] as const;
  return dice.pick<PlannedEvent>([
    { atMs: 0, do: "crash", node, how, tail: "kept", when: "writing", downMs: forMs },
    { atMs: 0, do: "crash", node, how, tail: "lost", downMs: forMs },
    { atMs: 0, do: "cut", lines, forMs },
    { atMs: 0, do: "pause", node, forMs },
    { atMs: 0, do: "jump", node: dice.pick(AGENTS), byMs: dice.int(-20_000, 20_000) },
    { atMs: 0, do: "slow-disk", node, forMs, byMs: 80 },
  ]);
}

function randomPlanOf(seed: number): Plan {
  const dice = new Dice(`levels ${String(seed)}`);
  const steps: PlannedEvent[] = [];
  for (let atMs = 2_000; atMs < SAFETY_MS; atMs += dice.int(1, 120)) {
    steps.push({ ...work(dice, steps.length), atMs });
    if (dice.chance(0.02)) steps.push({ ...fault(dice), atMs });
  }
  const { nodes } = planOf([]);
  const [agent] = nodes;
  if (agent === undefined) throw new Error("no agent");
  const links = [...AGENTS.map((id) => [id, "h1"] as const), ["a1", "a2"] as const];
  return planOf(steps, {
    seed: `levels ${String(seed)}`,
    nodes: [...nodes, { ...agent, id: "a3" }],
    links: links.map(([from, to]) => ({ from, to, quality: LINE })),
    hostile: [],
    safetyMs: SAFETY_MS,
  });
}

test(`over ${String(SEEDS)} random meshes with faults nothing is returned that must not be`, async () => {
  const counts = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const recorder = createRecorder();
    const checkers = [createLevelChecker(), recorder.checker];
    const { violations } = await runPlan(randomPlanOf(seed), { checkers });
    expect(violations, `seed ${String(seed)}`).toEqual([]);
    for (const event of recorder.events) count(counts, event);
  }
  // Of all that can happen enough did.
  expect(Object.fromEntries(counts)).toMatchObject({
    made: expect.any(Number) as number,
    VERSION_CONFLICT: expect.any(Number) as number,
    UNREACHABLE: expect.any(Number) as number,
    STALE: expect.any(Number) as number,
    "strong hub": expect.any(Number) as number,
    "bounded replica": expect.any(Number) as number,
  });
  expect(counts.get("made")).toBeGreaterThan(SEEDS * 20);
  expect(counts.get("bounded replica")).toBeGreaterThan(SEEDS * 20);
});

function count(counts: Map<string, number>, event: SimEvent): void {
  const name =
    event.type === "decided"
      ? (event.code ?? "made")
      : event.type === "answered"
        ? `${event.step.consistency} ${event.answer.from}`
        : event.type === "refused"
          ? event.code
          : undefined;
  if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
}

const ask = (consistency: "bounded" | "strong"): PlannedEvent => ({
  do: "ask",
  node: "a1",
  doc: "d",
  key: "x",
  consistency,
  ...(consistency === "bounded" ? { maxStalenessMs: 1 } : {}),
  atMs: 30_000,
});

test("a hub that was restored says nothing of what is newest, and decides nothing, until it has sealed", async () => {
  const recorder = createRecorder();
  const set: PlannedEvent = { do: "set", node: "a1", doc: "d", key: "x", value: 1, atMs: 0 };
  await runPlan(
    planOf([
      { ...set, atMs: 2_000 },
      { do: "backup", node: "h1", atMs: 3_000 },
      { do: "restore", node: "h1", downMs: 1_000, atMs: 4_000 },
      ask("bounded"),
      ask("strong"),
      { ...set, value: 2, atMs: 30_000 },
      { do: "seal", node: "h1", atMs: 40_000 },
      { ...ask("strong"), atMs: 45_000 },
    ]),
    { checkers: [recorder.checker] },
  );
  expect(countsOf(recorder)).toEqual({
    made: 1,
    STALE: 1,
    POLICY_REFUSED: 2,
    "strong hub": 1,
  });
});

/** What comes of questions in a mesh of two agents, and others that are members and never there. */
async function withoutHubs(
  hostile: readonly string[],
  steps: readonly PlannedEvent[],
): Promise<Recorder> {
  const { nodes, links } = planOf([]);
  const recorder = createRecorder();
  const agents = nodes.filter(({ service }) => service === "agent");
  const between = links.filter(({ to }) => to === "a2");
  const plan = planOf(steps, { nodes: agents, links: between, hostile });
  await runPlan(plan, { checkers: [recorder.checker] });
  return recorder;
}

const countsOf = ({ events }: Recorder): Readonly<Record<string, number>> => {
  const counts = new Map<string, number>();
  for (const event of events) count(counts, event);
  return Object.fromEntries(counts);
};

test("without hubs a bounded read is answered while every active member is there, and not when one is away", async () => {
  const early = { ...ask("bounded"), atMs: 5_000 };
  const recorder = await withoutHubs(
    [],
    [
      { do: "put", node: "a2", doc: "d", key: "x", value: 1, atMs: 4_990 },
      early,
      { do: "cut", lines: [["a1", "a2"]], forMs: 30_000, atMs: 10_000 },
      { ...ask("bounded"), atMs: 25_000 },
      { ...ask("strong"), atMs: 26_000 },
    ],
  );
  expect(countsOf(recorder)).toEqual({ "bounded replica": 1, STALE: 1, UNREACHABLE: 1 });
  const answered = recorder.events.find(({ type }) => type === "answered");
  expect(answered).toMatchObject({ answer: { fact: { value: 1 } } });
  expect(countsOf(await withoutHubs(["absent"], [early]))).toEqual({ STALE: 1 });
});

const asked: Plan = planOf([ask("bounded")]);
const world = (nowMs: number, lost?: number): World =>
  ({ nowMs, plan: asked, nodes: [{ kind: "hub", lostMediaMs: lost }] }) as unknown as World;
const set = (value: number, expected: string | null, outcome: object): SimEvent => ({
  type: "decided",
  node: "a1",
  step: { do: "set", node: "a1", doc: "d", key: "x", value },
  expected,
  ...outcome,
});
const made = (hlc: number): object => ({ receipt: { hlc, acknowledged: "hub" } });
const read = (askedMs: number, staleMs: number | undefined, fact: object | undefined): SimEvent =>
  ({
    type: "answered",
    node: "a2",
    askedMs,
    step: {
      do: "ask",
      node: "a2",
      doc: "d",
      key: "x",
      consistency: "bounded",
      maxStalenessMs: staleMs,
    },
    answer: { from: "replica", fact },
  }) as SimEvent;
const look = (events: readonly (readonly [number, SimEvent])[]): void => {
  const checker = createLevelChecker();
  for (const [nowMs, event] of events) checker.onEvent?.(event, world(nowMs));
};

describe("the checker sees", () => {
  test("two writes that replaced one version", () => {
    const both = [[1, set(1, null, made(5))] as const, [2, set(2, null, made(6))] as const];
    expect(() => {
      look(both);
    }).toThrow(/both replaced/u);
  });

  test("a write that was refused and is there", () => {
    const refused = set(1, null, { code: "VERSION_CONFLICT" });
    expect(() => {
      look([
        [1, refused],
        [2, read(2, 0, { value: 1, hlc: 5 })],
      ]);
    }).toThrow(/was refused/u);
  });

  test("an answer that lacks what was acknowledged long enough before, and no other", () => {
    const old = { value: 0, hlc: 4 };
    const written = [100, set(1, null, made(5))] as const;
    expect(() => {
      look([written, [300, read(200, 101, old)]]);
    }).not.toThrow();
    expect(() => {
      look([written, [300, read(200, 100, old)]]);
    }).toThrow(/does not know/u);
    expect(() => {
      look([written, [300, read(200, undefined, undefined)]]);
    }).toThrow(/does not know/u);
    expect(() => {
      look([written, [300, read(200, 0, { value: 1, hlc: 5 })]]);
    }).not.toThrow();
  });
});
