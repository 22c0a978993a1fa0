// SPDX-License-Identifier: Apache-2.0
/** Scenarios over emulated links. */
import { setTimeout as pass } from "node:timers/promises";
import { tempDir } from "@ctxmesh/testing";
import type { LinkSettings } from "@ctxmesh/testing";
import { Load, isParted, judge } from "./checks.ts";
import { circle, everyPair, startEmulatedMesh, waysFrom } from "./emulated.ts";
import type { EmulatedMesh } from "./emulated.ts";
import { until } from "./poll.ts";
import type { Scenario, ScenarioResult, Size } from "./scenario.ts";

/** How long agents may take to find each other over a link without faults, and to be the same after faults. */
const BOUND_MS: Readonly<Record<Size, number>> = { short: 60_000, full: 120_000 };
const SEED = 7;

/** One of them, as data. */
interface Plan {
  readonly name: string;
  readonly what: string;
  readonly agents: Readonly<Record<Size, number>>;
  /** How long facts are written and faults last. */
  readonly faultMs: Readonly<Record<Size, number>>;
  readonly sizes?: readonly Size[];
  /** Writes per second at each agent. */
  readonly rate: number;
  readonly settings?: Partial<LinkSettings>;
  readonly pairs?: (agents: number) => readonly (readonly [number, number])[];
  /** What is done to the links once all are connected, and undone at the end. */
  readonly disturb?: (mesh: EmulatedMesh) => () => void;
  /** Whether that keeps what some agent writes from others as long as it lasts. */
  readonly parts?: true;
}

/** Blocks links, and unblocks them. */
function block(mesh: EmulatedMesh, isHit: (a: number, b: number) => boolean): () => void {
  const hit = mesh.links.filter(({ a, b }) => isHit(a, b));
  for (const { link } of hit) link.set({ blocked: true });
  return () => {
    for (const { link } of hit) link.set({ blocked: false });
  };
}

const PLANS: readonly Plan[] = [
  {
    name: "lan",
    what: "links of a local network",
    agents: { short: 4, full: 10 },
    faultMs: { short: 2_000, full: 20_000 },
    rate: 20,
    settings: { delayMs: 0.2, bytesPerSecond: 125_000_000 },
  },
  {
    name: "wan",
    what: "50 ms each way, and 2 % loss",
    agents: { short: 3, full: 10 },
    faultMs: { short: 4_000, full: 30_000 },
    rate: 20,
    settings: { delayMs: 50, jitterMs: 5, loss: 0.02 },
  },
  {
    name: "thin",
    what: "256 kbit/s",
    agents: { short: 3, full: 6 },
    faultMs: { short: 4_000, full: 30_000 },
    rate: 20,
    settings: { delayMs: 20, bytesPerSecond: 32_000 },
  },
  {
    name: "flapping",
    what: "links that come and go every 3 s",
    agents: { short: 3, full: 6 },
    faultMs: { short: 10_000, full: 60_000 },
    rate: 10,
    disturb: ({ links }) => {
      for (const { link } of links) link.flap({ upMs: 3_000, downMs: 3_000 });
      return () => {
        for (const { link } of links) link.flap();
      };
    },
  },
  {
    name: "halves",
    what: "a partition in halves, long enough for connections to be given up",
    parts: true,
    agents: { short: 4, full: 10 },
    faultMs: { short: 16_000, full: 60_000 },
    rate: 10,
    disturb: (mesh) => {
      const half = mesh.nodes.length / 2;
      return block(mesh, (a, b) => a < half !== b < half);
    },
  },
  {
    name: "ring",
    what: "a ring that falls apart into two lines",
    parts: true,
    agents: { short: 5, full: 12 },
    faultMs: { short: 5_000, full: 60_000 },
    rate: 10,
    pairs: circle,
    disturb: (mesh) => {
      const opposite = Math.floor(mesh.nodes.length / 2);
      return block(
        mesh,
        (a, b) =>
          (a === 0 && b === mesh.nodes.length - 1) || (a === opposite && b === opposite + 1),
      );
    },
  },
  {
    name: "one-way",
    what: "nothing that one agent sends arrives, and it hears everything",
    parts: true,
    agents: { short: 3, full: 6 },
    faultMs: { short: 6_000, full: 60_000 },
    rate: 10,
    disturb: ({ links }) => {
      const hit = links.filter(({ a, b }) => a === 0 || b === 0);
      for (const one of hit) one.link.set({ blocked: true }, waysFrom(0, one));
      return () => {
        for (const { link } of hit) link.set({ blocked: false });
      };
    },
  },
  {
    name: "cuts",
    what: "every connection is broken off each second",
    agents: { short: 3, full: 6 },
    faultMs: { short: 4_000, full: 30_000 },
    rate: 10,
    settings: { delayMs: 5 },
    disturb: ({ links }) => {
      const timer = setInterval(() => {
        for (const { link } of links) link.cut();
      }, 1_000);
      return () => {
        clearInterval(timer);
      };
    },
  },
  {
    name: "crowd",
    what: "30 agents, each linked to six, over links with 50 ms and 2 % loss of which a third comes and goes",
    agents: { short: 30, full: 30 },
    faultMs: { short: 60_000, full: 60_000 },
    sizes: ["full"],
    rate: 0.5,
    settings: { delayMs: 50, loss: 0.02 },
    pairs: (agents) => circle(agents, 3),
    disturb: ({ links }) => {
      const hit = links.filter((_, i) => i % 3 === 0);
      for (const { link } of hit) link.flap({ upMs: 3_000, downMs: 3_000 });
      return () => {
        for (const { link } of hit) link.flap();
      };
    },
  },
];

async function runPlan(plan: Plan, size: Size): Promise<ScenarioResult> {
  const startedAt = performance.now();
  const agents = plan.agents[size];
  await using folder = await tempDir();
  const pairs = (plan.pairs ?? everyPair)(agents);
  await using mesh = await startEmulatedMesh({
    folder: folder.path,
    agents,
    pairs,
    settings: plan.settings ?? {},
    seed: SEED,
  });
  const wanted = Array.from(
    { length: agents },
    (_, i) => pairs.filter((pair) => pair.includes(i)).length,
  );
  await until(
    `${plan.name}: agents connected`,
    BOUND_MS[size],
    async () => String(await mesh.degrees()) === String(wanted),
  );
  await using load = new Load(mesh.nodes, plan.rate);
  const undo = plan.disturb?.(mesh);
  // The faults last for a time; that is no wait for anything.
  await pass(plan.faultMs[size]);
  await load.stop();
  const parted = await isParted(mesh.nodes, load.total);
  undo?.();
  const verdict = await judge(mesh.nodes, load.total, { boundMs: BOUND_MS[size] });
  const idle = plan.parts === true && !parted ? ["the faults kept nothing from anybody"] : [];
  const counters = mesh.links.flatMap(({ link }) => Object.values(link.counters()));
  return {
    scenario: plan.name,
    agents,
    seconds: Math.round(performance.now() - startedAt) / 1_000,
    ...verdict,
    problems: [...verdict.problems, ...idle],
    figures: {
      linkBytes: counters.reduce((sum, { bytes }) => sum + bytes, 0),
      segmentsLost: counters.reduce((sum, { lost }) => sum + lost, 0),
    },
  };
}

/** Those over emulated links. */
export const EMULATED: readonly Scenario[] = PLANS.map((plan) => ({
  name: plan.name,
  what: plan.what,
  kind: "emulated",
  sizes: plan.sizes ?? ["short", "full"],
  unavailable: async () => Promise.resolve(undefined),
  run: async (size) => runPlan(plan, size),
}));
