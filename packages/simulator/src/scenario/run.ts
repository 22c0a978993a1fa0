// SPDX-License-Identifier: Apache-2.0
/** Runs a scenario through the simulator, watches it from outside, and reports. */
import { INVARIANTS } from "../checkers/all.ts";
import { rounded } from "../report/stats.ts";
import type { AckRow, LinkRow, ScenarioReport, Timeline } from "../report/report.ts";
import { runPlan } from "../run.ts";
import type { RunResult } from "../run.ts";
import type { Checker, SimEvent, World } from "../world.ts";
import { planScenario } from "./plan.ts";
import type { ScenarioLine, ScenarioPlan } from "./plan.ts";
import { ReadRecorder } from "./record-reads.ts";
import { StateRecorder } from "./record-state.ts";
import { TrafficRecorder, countedOf } from "./record-traffic.ts";
import { WriteRecorder } from "./record-writes.ts";
import { nodesOf, placeOf } from "./scenario.ts";
import type { Scenario, ScenarioEvent } from "./scenario.ts";
import { showTime } from "./units.ts";
import { shareDown } from "./windows.ts";

/** Parts of the run that the timeline has. */
const BUCKETS = 240;

/** How a scenario is run. */
export interface ScenarioOptions {
  /** Looks on as in any other run, and what it finds is reported. */
  readonly checkers?: readonly Checker[];
  /** Hears now and then how many simulated milliseconds have passed. */
  readonly onProgress?: (simulatedMs: number) => void;
}

/** Everything that is recorded of a run. */
class Recorder implements Checker {
  readonly name = "report";
  readonly writes: WriteRecorder;
  readonly reads: ReadRecorder;
  readonly state: StateRecorder;
  readonly #bucketMs: number;
  readonly #durationMs: number;
  readonly #onProgress: (simulatedMs: number) => void;
  #sampled = 0;
  end: Pick<ScenarioReport, "contested"> & Pick<ScenarioReport["convergence"], "equal" | "digest"> =
    {
      contested: { facts: 0, atEnd: 0, shown: [], byRule: [] },
      equal: false,
      digest: "",
    };

  constructor(
    scenario: Scenario,
    { quietMs }: ScenarioPlan,
    onProgress: (simulatedMs: number) => void,
  ) {
    const nodes = nodesOf(scenario);
    const places = nodes.map((node) => placeOf(scenario, node));
    this.writes = new WriteRecorder(nodes, places, quietMs);
    this.reads = new ReadRecorder(scenario, BUCKETS);
    this.state = new StateRecorder(scenario, this.writes.chains, this.writes.revoked);
    this.#durationMs = scenario.durationMs;
    this.#bucketMs = scenario.durationMs / BUCKETS;
    this.#onProgress = onProgress;
  }

  onEvent(event: SimEvent, world: World): void {
    this.writes.onEvent(event, world);
    if (event.type === "settled") this.#sample(world);
    else if (event.type === "acknowledged") this.reads.written(event.write);
    else if (event.type === "step" && event.step.do === "read") {
      this.reads.look(event.step.client, event.step.node, world, this.writes.revoked);
    }
  }

  #sample(world: World): void {
    // In the middle of each part; a mesh at rest may pass several at once.
    while (this.#sampled < BUCKETS && world.nowMs >= (this.#sampled + 0.5) * this.#bucketMs) {
      this.#sampled += 1;
      this.state.sample(world);
      this.#onProgress(Math.min(world.nowMs, this.#durationMs));
    }
  }

  atEnd(world: World): void {
    this.end = { contested: this.state.contested(world), ...this.state.equality(world) };
  }
}

/** Lines by the places that they join, in the order of the plan. */
function byPlaces(lines: readonly ScenarioLine[]): ReadonlyMap<string, readonly ScenarioLine[]> {
  const groups = new Map<string, ScenarioLine[]>();
  for (const line of lines) {
    const name =
      line.places[0] === line.places[1] ? `within ${line.places[0]}` : line.places.join(" - ");
    const group = groups.get(name) ?? [];
    group.push(line);
    groups.set(name, group);
  }
  return groups;
}

function linkRow(
  lines: readonly ScenarioLine[],
  traffic: TrafficRecorder,
  durationMs: number,
): LinkRow {
  const [a = "", b = ""] = lines[0]?.places ?? [];
  const row = { messages: 0, bytesToA: 0, bytesToB: 0, outages: 0, downMs: 0 };
  for (const { from, to, down } of lines) {
    const [forth, back] = [traffic.arrived(from, to), traffic.arrived(to, from)];
    row.messages += forth.messages + back.messages;
    row.bytesToB += forth.bytes;
    row.bytesToA += back.bytes;
    row.outages += down.length;
    row.downMs += down.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
  }
  const { downMs, ...rest } = row;
  return {
    a,
    b,
    lines: lines.length,
    ...rest,
    downShare: rounded(downMs / (lines.length * durationMs)),
  };
}

function timelineLinks(
  groups: ReadonlyMap<string, readonly ScenarioLine[]>,
  durationMs: number,
): Timeline["links"] {
  return [...groups].map(([name, lines]) => {
    const shares = lines.map(({ down }) => shareDown(down, durationMs, BUCKETS));
    const down = Array.from({ length: BUCKETS }, (_, i) =>
      rounded(shares.reduce((sum, share) => sum + (share[i] ?? 0), 0) / lines.length),
    );
    return { name, down };
  });
}

function textOf(event: ScenarioEvent): string {
  const nodes = event.nodes.join(", ");
  switch (event.kind) {
    case "offline":
      return `${nodes} offline for ${showTime(event.forMs)}`;
    case "crash":
      return `${nodes} lost power for ${showTime(event.forMs)}`;
    case "restore":
      return `${nodes} restored from the backup of ${showTime(event.backupMs)}`;
    case "clock":
      return `clock of ${nodes} set ${event.byMs < 0 ? "back" : "ahead"} by ${showTime(Math.abs(event.byMs))}`;
    case "revoke":
      return `${nodes} revoked`;
  }
}

function ackLevels({ hubs, sealEveryMs }: Scenario): readonly AckRow["level"][] {
  if (hubs.length === 0) return ["local"];
  return sealEveryMs === undefined ? ["local", "hub"] : ["local", "hub", "sealed"];
}

function reportOf(
  scenario: Scenario,
  { lines, quietMs }: ScenarioPlan,
  { writes, reads, state, end }: Recorder,
  traffic: TrafficRecorder,
  { result, checked }: { readonly result: RunResult; readonly checked: readonly string[] },
): ScenarioReport {
  const { name, description, seed, durationMs, hubs } = scenario;
  const groups = byPlaces(lines);
  const tookMs = writes.tookMs();
  const { unavailable, refused } = writes.failed;
  const took = tookMs === undefined ? {} : { tookMs };
  return {
    name,
    description,
    seed,
    durationMs,
    simulatedMs: rounded(result.simulatedMs),
    nodes: nodesOf(scenario).map((node) => ({
      name: node,
      place: placeOf(scenario, node),
      service: hubs.includes(node) ? "hub" : "agent",
    })),
    writes: {
      facts: writes.chains.facts,
      unavailable,
      refused: countedOf(refused),
      acknowledged: writes.acknowledged(ackLevels(scenario)),
    },
    propagation: writes.propagation(),
    readers: reads.rows(),
    contested: end.contested,
    links: [...groups.values()].map((group) => linkRow(group, traffic, durationMs)),
    received: traffic.outcomes(),
    convergence: { quietMs, ...took, equal: end.equal, digest: end.digest },
    invariants: {
      checked,
      violations: result.violations.map(({ checker, atMs, message }) => ({
        name: checker,
        atMs: rounded(atMs),
        message,
      })),
    },
    traceHash: result.traceHash,
    timeline: {
      bucketMs: rounded(durationMs / BUCKETS),
      links: timelineLinks(groups, durationMs),
      readers: reads.series(),
      ...state.series(),
      events: scenario.events.map((event) => ({ atMs: event.atMs, text: textOf(event) })),
    },
  };
}

/**
 * Runs a scenario: the real replicas, sync and ledger in virtual time, as planned from its seed, and then until all that was
 * interrupted has come to rest. The same scenario and seed have the same report. Never rejects for what goes wrong
 * inside, which is a violation in the report.
 */
export async function runScenario(
  scenario: Scenario,
  { checkers = [], onProgress = () => undefined }: ScenarioOptions = {},
): Promise<ScenarioReport> {
  const planned = planScenario(scenario);
  const recorder = new Recorder(scenario, planned, onProgress);
  const traffic = new TrafficRecorder();
  const result = await runPlan(planned.plan, {
    checkers: [recorder, ...checkers],
    wrap: traffic.wrap,
  });
  // Some only keep what the others look at.
  const checked = checkers.flatMap(({ name }) => (name in INVARIANTS ? [name] : []));
  return reportOf(scenario, planned, recorder, traffic, { result, checked });
}
