// SPDX-License-Identifier: Apache-2.0
/** A scenario as a plan of the simulator: machines, lines, and every step of every client and every outage. */
import type { JsonValue } from "@ctxmesh/model";
import { Dice } from "../dice.ts";
import type { Plan, PlannedEvent, PlannedLink, PlannedNode } from "../plan.ts";
import { keyFor } from "./keys.ts";
import { keysRead } from "./parse-work.ts";
import { nodesOf } from "./scenario.ts";
import type {
  Scenario,
  ScenarioEvent,
  ScenarioLink,
  ScenarioReader,
  ScenarioWriter,
} from "./scenario.ts";
import { mergeWindows, windowsOf } from "./windows.ts";
import type { TimeWindow } from "./windows.ts";

/** Grants outlast every scenario. */
const GRANT_MS = 90 * 86_400_000;
/** When the policy is set: everybody is up, and nothing was written. */
const POLICY_MS = 1_000;
/** When writers and readers begin at the earliest. */
const WORK_MS = 2_000;
/** Between agents of one site. */
const LAN = { latencyMs: 0.5, jitterMs: 0.5, loss: 0, bytesPerMs: 125_000 };
/** Of a link without a bandwidth: 10 Gbit/s. */
const UNLIMITED_BYTES_PER_MS = 1_250_000;

/** A line between two nodes, and when it is down. */
export interface ScenarioLine {
  readonly from: string;
  readonly to: string;
  /** The places it joins: the same one twice for a line within a site. */
  readonly places: readonly [string, string];
  readonly down: readonly TimeWindow[];
}

/** A plan, and what a report needs to know of it. */
export interface ScenarioPlan {
  readonly plan: Plan;
  readonly lines: readonly ScenarioLine[];
  /** When the last outage, crash, restore or clock change is over; 0 without any. */
  readonly quietMs: number;
}

const agentsAt = ({ sites }: Scenario, place: string): readonly string[] =>
  sites.find(({ name }) => name === place)?.agents ?? [place];

/** When events take nodes off the network. */
const offlineOf = (events: readonly ScenarioEvent[], nodes: readonly string[]): TimeWindow[] =>
  events.flatMap((event) =>
    event.kind === "offline" && event.nodes.some((node) => nodes.includes(node))
      ? [{ fromMs: event.atMs, toMs: event.atMs + event.forMs }]
      : [],
  );

interface Laid {
  readonly link: PlannedLink;
  readonly line: ScenarioLine;
}

function laid(
  scenario: Scenario,
  ends: readonly [string, string],
  places: readonly [string, string],
  quality: PlannedLink["quality"],
  own: readonly TimeWindow[],
): Laid {
  const [from, to] = ends;
  const down = mergeWindows([...own, ...offlineOf(scenario.events, ends)], scenario.durationMs);
  return { link: { from, to, quality }, line: { from, to, places, down } };
}

/** The lines of a link; a hub is dialed, and does not dial agents. */
function layLink(scenario: Scenario, link: ScenarioLink, dice: Dice): readonly Laid[] {
  const { a, b, latencyMs, loss, bytesPerMs = UNLIMITED_BYTES_PER_MS, outages } = link;
  const [from, to] = scenario.hubs.includes(a) ? [b, a] : [a, b];
  const quality = {
    latencyMs: latencyMs.min,
    jitterMs: latencyMs.max - latencyMs.min,
    loss,
    bytesPerMs,
  };
  return agentsAt(scenario, from).flatMap((near) =>
    agentsAt(scenario, to).map((far) => {
      const windows = windowsOf(outages, dice.fork(`${near}>${far}`), scenario.durationMs);
      return laid(scenario, [near, far], [from, to], quality, windows);
    }),
  );
}

function layLines(scenario: Scenario, dice: Dice): readonly Laid[] {
  const lans = scenario.sites.flatMap(({ name, agents, lan }) =>
    lan
      ? agents.flatMap((near, i) =>
          agents.slice(i + 1).map((far) => laid(scenario, [near, far], [name, name], LAN, [])),
        )
      : [],
  );
  return [...lans, ...scenario.links.flatMap((link) => layLink(scenario, link, dice))];
}

/** The next value of a writer at an agent, under a key. */
type NextValue = (key: string) => JsonValue;

function valuesOf({ value }: ScenarioWriter, dice: Dice): NextValue {
  switch (value.kind) {
    case "counter": {
      let count = 0;
      return () => ++count;
    }
    case "increment":
      return () => value.by;
    case "choice":
      return () => dice.pick(value.of);
    case "constant":
      return () => value.value;
    case "walk": {
      const at = new Map<string, number>();
      return (key) => {
        const moved = (at.get(key) ?? value.start) + dice.between(-value.step, value.step);
        const bounded = Math.min(value.max, Math.max(value.min, moved));
        at.set(key, bounded);
        return Number(bounded.toFixed(3));
      };
    }
  }
}

function writesOf(writer: ScenarioWriter, agent: string, dice: Dice): readonly PlannedEvent[] {
  const { document: doc, everyMs, untilMs, value, confidence, source, ttlMs } = writer;
  const next = valuesOf(writer, dice.fork("values"));
  const events: PlannedEvent[] = [];
  const fromMs = Math.max(WORK_MS, writer.fromMs);
  // Writers of the same rate don't all write at the same moment.
  for (let atMs = fromMs + dice.float() * everyMs; atMs < untilMs; atMs += everyMs) {
    const key = keyFor(dice.pick(writer.keys), agent);
    const sure = confidence && Number(dice.between(confidence.min, confidence.max).toFixed(3));
    events.push({
      do: "put",
      atMs,
      node: agent,
      doc,
      key,
      value: next(key),
      ...(value.kind === "increment" ? { increment: true } : {}),
      ...(sure === undefined ? {} : { confidence: sure }),
      ...(source === undefined ? {} : { source }),
      ...(ttlMs === undefined ? {} : { ttlMs }),
    });
  }
  return events;
}

/** One step for each look: it reads the first key, and the recorder the others at the same moment. */
function looksOf(scenario: Scenario, reader: ScenarioReader, dice: Dice): readonly PlannedEvent[] {
  const [key] = keysRead(reader, scenario.writers);
  if (key === undefined) return [];
  const { name: client, document: doc, everyMs } = reader;
  return reader.nodes.flatMap((node) => {
    const events: PlannedEvent[] = [];
    const lag = dice.fork(node).float() * everyMs;
    for (let atMs = WORK_MS + lag; atMs < scenario.durationMs; atMs += everyMs) {
      events.push({ do: "read", atMs, node, client, doc, key });
    }
    return events;
  });
}

function stepsOfEvent(event: ScenarioEvent, manager: string): readonly PlannedEvent[] {
  const { atMs } = event;
  return event.nodes.flatMap((node): PlannedEvent[] => {
    switch (event.kind) {
      // Their lines are cut.
      case "offline":
        return [];
      case "crash":
        return [{ do: "crash", atMs, node, how: "power", tail: "part", downMs: event.forMs }];
      case "restore":
        return [
          { do: "backup", atMs: event.backupMs, node },
          { do: "restore", atMs, node, downMs: event.forMs },
        ];
      case "clock":
        return [{ do: "jump", atMs, node, byMs: event.byMs }];
      case "revoke":
        return [{ do: "revoke", atMs, node: manager, device: node, by: "creator", keep: true }];
    }
  });
}

function sealsOf({ hubs, sealEveryMs, durationMs }: Scenario): readonly PlannedEvent[] {
  if (sealEveryMs === undefined) return [];
  return hubs.flatMap((node) => {
    const events: PlannedEvent[] = [];
    for (let atMs = sealEveryMs; atMs < durationMs; atMs += sealEveryMs) {
      events.push({ do: "seal", atMs, node });
    }
    return events;
  });
}

/** Outages become cuts of both directions; those of many lines at the same time become one step. */
function cutsOf(lines: readonly ScenarioLine[]): readonly PlannedEvent[] {
  const cuts = new Map<string, TimeWindow & { readonly lines: (readonly [string, string])[] }>();
  for (const { from, to, down } of lines) {
    for (const window of down) {
      const id = `${String(window.fromMs)}-${String(window.toMs)}`;
      const cut = cuts.get(id) ?? { ...window, lines: [] };
      cut.lines.push([from, to], [to, from]);
      cuts.set(id, cut);
    }
  }
  return [...cuts.values()].map(({ fromMs, toMs, lines: cut }) => ({
    do: "cut",
    atMs: fromMs,
    lines: cut,
    forMs: toMs - fromMs,
  }));
}

function quietAfter(scenario: Scenario, lines: readonly ScenarioLine[]): number {
  const ends = [
    ...lines.flatMap(({ down }) => down.at(-1)?.toMs ?? []),
    ...scenario.events.map((event) => event.atMs + ("forMs" in event ? event.forMs : 0)),
  ];
  return Math.min(
    scenario.durationMs,
    ends.reduce((latest, ms) => Math.max(latest, ms), 0),
  );
}

const plannedNode = (id: string, service: "agent" | "hub"): PlannedNode => ({
  id,
  service,
  role: "write",
  grantMs: GRANT_MS,
  clockOffMs: 0,
  driftPpm: 0,
});

/** Plans a scenario; the same one for the same scenario and seed. */
export function planScenario(scenario: Scenario): ScenarioPlan {
  const seed = `scenario/${String(scenario.seed)}`;
  const dice = new Dice(`${seed}/plan`);
  const laidLines = layLines(scenario, dice.fork("lines"));
  const lines = laidLines.map(({ line }) => line);
  const nodes = nodesOf(scenario);
  // Revocations are handed in where nothing else happens, so that they are not missed.
  const troubled = new Set(scenario.events.flatMap((event) => event.nodes));
  const calm = [...scenario.hubs, ...nodes].find((node) => !troubled.has(node));
  const manager = calm ?? nodes[0] ?? "";
  const rules = scenario.policy;
  const steps: readonly PlannedEvent[] = [
    ...(rules.length === 0
      ? []
      : nodes.map((node) => ({ do: "policy", atMs: POLICY_MS, node, rules }) as const)),
    ...cutsOf(lines),
    ...scenario.events.flatMap((event) => stepsOfEvent(event, manager)),
    ...sealsOf(scenario),
    ...scenario.writers.flatMap((writer, i) =>
      writer.agents.flatMap((agent) =>
        writesOf(writer, agent, dice.fork(`writer/${String(i)}/${agent}`)),
      ),
    ),
    ...scenario.readers.flatMap((reader, i) =>
      looksOf(scenario, reader, dice.fork(`reader/${String(i)}`)),
    ),
  ];
  return {
    lines,
    quietMs: quietAfter(scenario, lines),
    plan: {
      seed,
      signatures: "stub",
      // As the real transport does it: direct up to so many peers.
      gossip: false,
      nodes: nodes.map((id) => plannedNode(id, scenario.hubs.includes(id) ? "hub" : "agent")),
      links: laidLines.map(({ link }) => link),
      hostile: [],
      safetyMs: scenario.durationMs,
      steps: steps.toSorted((a, b) => a.atMs - b.atMs),
    },
  };
}
