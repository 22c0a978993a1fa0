// SPDX-License-Identifier: Apache-2.0
/** A whole mesh in virtual time: the real cores over virtual ports, with faults, checkers, and a trace to compare runs by. */
export { INVARIANTS, createCheckers } from "./checkers/all.ts";
export type { Invariant } from "./checkers/all.ts";
export { createLevelChecker } from "./checkers/levels.ts";
export { Dice } from "./dice.ts";
export { DiskImage } from "./disk-image.ts";
export type { DiskEntry } from "./disk-image.ts";
export { SPOILS, forgeBatch, spoil } from "./forge.ts";
export type { ForgedBatch, ForgedFact } from "./forge.ts";
export { NodeClock, START_MS } from "./node-clock.ts";
export type {
  FaultStep,
  HostileKind,
  MemberStep,
  Plan,
  PlannedEvent,
  PlannedLink,
  PlannedNode,
  Step,
  WorkStep,
} from "./plan.ts";
export { FAULT_KINDS } from "./random-faults.ts";
export type { FaultKind } from "./random-faults.ts";
export { minimise } from "./minimise.ts";
export type { Minimised, MinimiseOptions } from "./minimise.ts";
export { randomPlan } from "./random-plan.ts";
export type { PlanOptions } from "./random-plan.ts";
export { renderReportHtml } from "./report/html.ts";
export type { ScenarioReport } from "./report/report.ts";
export { renderReportText } from "./report/text.ts";
export type { TextStyle } from "./report/text.ts";
export { runPlan } from "./run.ts";
export type { RunOptions, RunResult, Violation } from "./run.ts";
export type { ScenarioProblem } from "./scenario/field.ts";
export { parseScenario } from "./scenario/parse.ts";
export type { Parsed } from "./scenario/parse.ts";
export { runScenario } from "./scenario/run.ts";
export type { ScenarioOptions } from "./scenario/run.ts";
export { MAX_SEED, SCENARIO_LIMITS } from "./scenario/scenario.ts";
export type { Scenario } from "./scenario/scenario.ts";
export { showTime } from "./scenario/units.ts";
export { Scheduler } from "./scheduler.ts";
export { createSignatures } from "./signatures.ts";
export type { Identity, Signatures } from "./signatures.ts";
export { ChannelEnd } from "./virtual-channel.ts";
export type { Endpoint } from "./virtual-channel.ts";
export { VirtualDisk } from "./virtual-disk.ts";
export type { DiskHost, Stopped, Tail } from "./virtual-disk.ts";
export { VirtualNetwork } from "./virtual-network.ts";
export type { LineQuality, NetworkCounts, NetworkHost } from "./virtual-network.ts";
export type {
  Acknowledged,
  Checker,
  Collaborators,
  NodeView,
  ProcessView,
  Sealed,
  SimEvent,
  World,
} from "./world.ts";
