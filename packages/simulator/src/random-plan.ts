// SPDX-License-Identifier: Apache-2.0
/** Derives a plan from a seed: who there is, what they do, and what goes wrong when. */
import type { PolicyRule } from "@ctxmesh/facts";
import { Dice } from "./dice.ts";
import { FAULT_KINDS, drawFault } from "./random-faults.ts";
import type { FaultKind } from "./random-faults.ts";
import type { Plan, PlannedEvent, PlannedLink, PlannedNode, Step } from "./plan.ts";

const HOUR_MS = 3_600_000;
const LONG_MS = 30 * 24 * HOUR_MS;
/** A grant that has ended is renewed after this at most. */
const LAPSE_MS = 300_000;
const DOCS = ["line-1/press-1", "line-1/press-2", "line-2/press-7", "shared/notes"];
const KEYS = 12;
const CLIENTS = ["c1", "c2", "c3"];
/** A client or sensor of an agent does something this often on average, a hub is asked for a seal this often. */
const WORK_EVERY_MS = 90_000;
const SEAL_EVERY_MS = 600_000;
const FAULT_EVERY_MS = 150_000;
const MEMBER_EVERY_MS = 900_000;
const SCHEMA_EVERY_MS = 900_000;
/** Clients that ask for a level do so this often, all together. */
const LEVEL_EVERY_MS = 15_000;
/** Keys that no rule of a policy and no schema is about: the newest statement shows, and none is ever deleted. */
const LEVEL_KEYS = ["x1", "x2"];
const STALENESS_MS = [1, 200, 2_000, 10_000];
/** Prefixes of keys that get schemas; in the document of probes there are none of those. */
const SCHEMA_PREFIXES = ["t", "c", "u", "m"];
/** Versions with one major number: each accepts more than the one before. The next major one begins again. */
const SCHEMA_MOST = [400_000, 700_000, 900_000];

/** How much of what a plan is to have; everything has a default. */
export interface PlanOptions {
  readonly seed: number;
  /** Length of the phase with faults. */
  readonly hours?: number;
  readonly agents?: number;
  readonly hubs?: number;
  /** Which kinds of faults there are. */
  readonly faults?: readonly FaultKind[];
  readonly signatures?: "stub" | "real";
  /** How much more rarely than usual anything is done and goes wrong; default: 1. */
  readonly calm?: number;
}

const RESOLVERS: readonly PolicyRule[] = [
  { prefix: "t", resolver: "latest" },
  { prefix: "c", resolver: "confidence", halfLifeMs: 600_000 },
  { prefix: "s", resolver: "sum" },
  { prefix: "u", resolver: "union" },
  { prefix: "m", resolver: "max" },
  { prefix: "a", resolver: "all" },
];

/** 128 and 512 kbit/s, in bytes. */
const THIN_LINKS = [16_000, 64_000] as const;

/** The plan of a seed. The same options give the same plan. */
export function randomPlan(options: PlanOptions): Plan {
  const { seed, hours = 1, agents = 5, hubs = 2, faults = FAULT_KINDS, calm = 1 } = options;
  const dice = new Dice(`plan ${String(seed)}`);
  const whole = drawNodes(dice.fork("nodes"), agents, hubs);
  const subscribed = drawSubscriptions(dice.fork("subscriptions"), whole);
  const nodes = drawBudgets(dice.fork("budgets"), subscribed);
  const links = drawLinks(dice.fork("links"), nodes);
  const safetyMs = Math.round(hours * HOUR_MS);
  const hostile = ["rogue-1", "rogue-2"];
  const scene = { nodes, links, hostile, safetyMs };
  const steps = [
    ...drawWork(dice.fork("work"), scene, calm),
    ...drawLevels(dice.fork("levels"), scene, calm),
    ...drawMembers(dice.fork("members"), scene, calm),
    ...drawSchemas(dice.fork("schemas"), scene, calm),
    ...along(dice.fork("faults"), safetyMs, FAULT_EVERY_MS * calm, (own) =>
      faults.length === 0 ? [] : drawFault(own, own.pick(faults), scene),
    ),
  ].toSorted((a, b) => a.atMs - b.atMs);
  return {
    seed: String(seed),
    signatures: options.signatures ?? "stub",
    gossip: dice.chance(0.3),
    ...scene,
    steps,
  };
}

/** What steps are drawn for. */
export type Scene = Pick<Plan, "nodes" | "links" | "hostile" | "safetyMs">;

function drawNodes(dice: Dice, agents: number, hubs: number): PlannedNode[] {
  const clock = (): Pick<PlannedNode, "clockOffMs" | "driftPpm"> => ({
    clockOffMs: dice.int(-500, 500),
    driftPpm: dice.int(-100, 100),
  });
  const nodes: PlannedNode[] = [];
  for (let i = 1; i <= agents; i++) {
    // Some grants end during the run.
    const grantMs = dice.chance(0.1) ? dice.int(HOUR_MS / 6, HOUR_MS) : LONG_MS;
    const role = i === 1 ? "manage" : "write";
    nodes.push({ id: `a${String(i)}`, service: "agent", role, grantMs, ...clock() });
  }
  for (let i = 1; i <= hubs; i++) {
    const grantMs = LONG_MS;
    nodes.push({ id: `h${String(i)}`, service: "hub", role: "write", grantMs, ...clock() });
  }
  return nodes;
}

/** Some agents keep only the documents of one line; the first one everything. */
const drawSubscriptions = (dice: Dice, nodes: readonly PlannedNode[]): PlannedNode[] =>
  nodes.map((node, i) =>
    node.service === "agent" && i > 0 && dice.chance(0.3)
      ? { ...node, subscription: { docs: [dice.pick(["line-1/", "line-2/"])] } }
      : node,
  );

/** Some agents send over thin links. */
const drawBudgets = (dice: Dice, nodes: readonly PlannedNode[]): PlannedNode[] =>
  nodes.map((node) =>
    node.service === "agent" && dice.chance(0.3)
      ? { ...node, linkBudget: dice.pick(THIN_LINKS) }
      : node,
  );

/** Agents dial every hub over a wide area, and the next agents over a local one. */
function drawLinks(dice: Dice, nodes: readonly PlannedNode[]): PlannedLink[] {
  const agents = nodes.filter(({ service }) => service === "agent");
  const hubs = nodes.filter(({ service }) => service === "hub");
  const links: PlannedLink[] = [];
  for (const [i, { id: from }] of agents.entries()) {
    for (const { id: to } of hubs) {
      const latencyMs = dice.between(5, 80);
      const quality = {
        latencyMs,
        jitterMs: latencyMs / 4,
        loss: dice.pick([0, 0.01, 0.05]),
        bytesPerMs: dice.pick([125, 1_250]),
      };
      links.push({ from, to, quality });
    }
    const next = agents[(i + 1) % agents.length];
    if (next !== undefined && next.id !== from && agents.length > 2) {
      const quality = {
        latencyMs: dice.between(0.2, 4),
        jitterMs: 1,
        loss: 0.001,
        bytesPerMs: 12_500,
      };
      links.push({ from, to: next.id, quality });
    }
  }
  return links;
}

/** Steps at random times, `everyMs` apart on average. */
function along(
  dice: Dice,
  untilMs: number,
  everyMs: number,
  draw: (dice: Dice) => readonly Step[],
): PlannedEvent[] {
  const events: PlannedEvent[] = [];
  for (let at = 0; ;) {
    at += -Math.log(1 - dice.float()) * everyMs;
    if (at >= untilMs) return events;
    const atMs = Math.round(at);
    events.push(...draw(dice).map((step) => ({ ...step, atMs })));
  }
}

function drawWork(dice: Dice, { nodes, safetyMs }: Scene, calm: number): PlannedEvent[] {
  const agents = nodes.filter(({ service }) => service === "agent").map(({ id }) => id);
  const hubs = nodes.filter(({ service }) => service === "hub").map(({ id }) => id);
  return [
    ...agents.flatMap((node) =>
      along(dice.fork(node), safetyMs, WORK_EVERY_MS * calm, (own) => [
        drawWrite(own, node, agents),
      ]),
    ),
    ...along(dice.fork("reads"), safetyMs, (WORK_EVERY_MS * calm) / 2, (own) => [
      {
        do: "read",
        node: own.pick(nodes).id,
        client: own.pick(CLIENTS),
        doc: own.pick(DOCS),
        key: drawKey(own),
      },
    ]),
    ...hubs.flatMap((node) =>
      along(dice.fork(node), safetyMs, SEAL_EVERY_MS * calm, () => [{ do: "seal", node }]),
    ),
  ];
}

const drawKey = (dice: Dice): string =>
  `${dice.pick(RESOLVERS).prefix}${String(dice.int(1, KEYS / RESOLVERS.length))}`;

function drawWrite(dice: Dice, node: string, agents: readonly string[]): Step {
  const doc = dice.pick(DOCS);
  const key = drawKey(dice);
  const kind = dice.float();
  if (kind < 0.08) return { do: "delete", node, doc, key };
  if (kind < 0.11) return { do: "retract", node, doc, key, of: dice.pick(agents) };
  if (kind < 0.25) {
    const text = dice.chance(0.7) ? "abcdefgh".slice(0, dice.int(1, 8)) : "";
    return { do: "edit", node, doc, at: dice.int(0, 40), text, remove: text === "" ? 2 : 0 };
  }
  const value = dice.int(0, 1_000_000);
  const ack = dice.chance(0.2) ? dice.pick(["hub", "sealed"] as const) : "local";
  const priority = dice.chance(0.4) ? dice.pick(["high", "low"] as const) : "normal";
  const put = { do: "put", node, doc, key, value, ack, priority } as const;
  if (key.startsWith("s")) return { ...put, value: dice.int(1, 9), increment: true };
  if (dice.chance(0.1)) return { ...put, ttlMs: dice.int(10_000, 1_200_000) };
  return dice.chance(0.3) ? { ...put, confidence: dice.int(0, 10) / 10 } : put;
}

/** Reads and writes at levels, where one hub decides: several that share no engine promise nothing for each other. */
function drawLevels(dice: Dice, { nodes, safetyMs }: Scene, calm: number): PlannedEvent[] {
  const agents = nodes.filter(({ service }) => service === "agent").map(({ id }) => id);
  if (nodes.length !== agents.length + 1) return [];
  let value = 0;
  return along(dice, safetyMs, LEVEL_EVERY_MS * calm, (own) => {
    const at = { node: own.pick(agents), doc: own.pick(DOCS), key: own.pick(LEVEL_KEYS) };
    value += 1;
    const kind = own.float();
    if (kind < 0.35) return [{ do: "set", ...at, value }];
    if (kind < 0.55) return [{ do: "ask", ...at, consistency: "strong" }];
    if (kind < 0.85) {
      const maxStalenessMs = own.pick(STALENESS_MS);
      return [{ do: "ask", ...at, consistency: "bounded", maxStalenessMs }];
    }
    return [{ do: "put", ...at, value, ack: "hub" }];
  });
}

/** Versions of schemas, in order; who has not heard of the last one may publish the next one all the same. */
function drawSchemas(dice: Dice, { nodes, safetyMs }: Scene, calm: number): PlannedEvent[] {
  const published = new Map<string, number>();
  return along(dice, safetyMs, SCHEMA_EVERY_MS * calm, (own) => {
    const prefix = own.pick(SCHEMA_PREFIXES);
    const number = published.get(prefix) ?? 0;
    published.set(prefix, number + 1);
    const minor = number % SCHEMA_MOST.length;
    const major = 1 + (number - minor) / SCHEMA_MOST.length;
    const version = `${String(major)}.${String(minor)}.0`;
    const most = SCHEMA_MOST[minor] ?? 0;
    return [{ do: "schema", node: own.pick(nodes).id, prefix, version, most }];
  });
}

function drawMembers(
  dice: Dice,
  { nodes, hostile, safetyMs }: Scene,
  calm: number,
): PlannedEvent[] {
  const devices = nodes.filter(({ service }) => service === "agent").map(({ id }) => id);
  const lapsed = nodes.flatMap(({ id: device, grantMs = LONG_MS }): PlannedEvent[] => {
    const atMs = grantMs + dice.int(0, LAPSE_MS);
    const node = dice.pick(nodes).id;
    return atMs < safetyMs ? [{ do: "renew", node, device, forMs: LONG_MS, atMs }] : [];
  });
  const others = along(dice, safetyMs, MEMBER_EVERY_MS * calm, (own) => {
    const node = own.pick(nodes).id;
    const kind = own.float();
    if (kind < 0.4) {
      return [{ do: "renew", node, device: own.pick(devices), forMs: own.int(1, 48) * HOUR_MS }];
    }
    if (kind < 0.6) {
      return [
        { do: "revoke", node, device: own.pick(hostile), by: "creator", keep: own.chance(0.7) },
      ];
    }
    const rules = RESOLVERS.filter(() => own.chance(0.6));
    return [{ do: "policy", node, rules }];
  });
  return [...lapsed, ...others];
}
