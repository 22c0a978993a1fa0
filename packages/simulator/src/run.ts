// SPDX-License-Identifier: Apache-2.0
/** Carries out a plan: the phase with faults, then everything is healed, comes to rest, and is looked at once more. */
import { toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { Cluster } from "./cluster.ts";
import { strike } from "./faults.ts";
import type { SimNode } from "./node.ts";
import { isFault, isMemberStep } from "./plan.ts";
import type { Plan, PlannedEvent } from "./plan.ts";
import { Scheduler } from "./scheduler.ts";
import { Trace } from "./trace.ts";
import { administer, work } from "./workload.ts";
import type { NetworkCounts } from "./virtual-network.ts";
import type { Checker, Collaborators, SimEvent } from "./world.ts";

/** Bound on the events of a run, for each simulated second and node. */
const EVENTS_PER_SECOND = 400;
/** After healing, how long it may take until everything is equal, and how often it is looked at. */
const HEAL_MS = 7_200_000;
const LOOK_MS = 5_000;
/** After this, what a damaged store had and nobody has is given up. */
const ACCEPT_LOSS_MS = 60_000;
const GRANT_MS = 30 * 86_400_000;

/** Something that must not be. */
export interface Violation {
  /** Name of the checker; `run` for what the runner itself found. */
  readonly checker: string;
  readonly atMs: number;
  readonly message: string;
}

/** What came of a run. */
export interface RunResult {
  readonly simulatedMs: number;
  /** From healing until all were equal. */
  readonly healedAfterMs: number;
  readonly events: number;
  /** SHA-256 of the trace, hex: equal for equal plans. */
  readonly traceHash: string;
  /** How often each kind of step was carried out, and what else was counted. */
  readonly counts: ReadonlyMap<string, number>;
  readonly network: NetworkCounts;
  /** Empty when all is well. The first one ends the run. */
  readonly violations: readonly Violation[];
}

/** How a plan is carried out. */
export interface RunOptions {
  readonly checkers?: readonly Checker[];
  readonly wrap?: Collaborators;
  /** While all heals, each agent writes now and then until a hub has acknowledged it; the run lasts until then. */
  readonly probe?: boolean;
  /** Gets the trace, some lines at a time. */
  readonly onTrace?: (lines: string) => void;
}

/** Carries out a plan. Never rejects for what goes wrong inside: that is a violation. */
export async function runPlan(plan: Plan, options: RunOptions = {}): Promise<RunResult> {
  return new Run(plan, options).run();
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

class Run {
  readonly #plan: Plan;
  readonly #checkers: readonly Checker[];
  readonly #scheduler: Scheduler;
  readonly #trace: Trace;
  readonly #cluster: Cluster;
  readonly #violations: Violation[] = [];
  readonly #probes: boolean;

  constructor(plan: Plan, { checkers = [], wrap = {}, probe = false, onTrace }: RunOptions) {
    this.#plan = plan;
    this.#probes = probe && plan.nodes.some(({ service }) => service === "hub");
    this.#checkers = checkers;
    const seconds = (plan.safetyMs + HEAL_MS) / 1_000;
    this.#scheduler = new Scheduler(seconds * plan.nodes.length * EVENTS_PER_SECOND);
    this.#trace = new Trace(() => this.#scheduler.nowMs, onTrace);
    this.#cluster = new Cluster(plan, {
      scheduler: this.#scheduler,
      trace: this.#trace,
      wrap,
      onEvent: (event) => {
        this.#tell(event);
      },
      onCrash: (node, error) => {
        const { cause } = error;
        const stack = cause instanceof Error ? (cause.stack ?? cause.message) : "";
        this.#violate("run", new Error(`${node}: ${error.message} ${stack}`));
      },
    });
  }

  async run(): Promise<RunResult> {
    let healedAfterMs = 0;
    try {
      await this.#safety();
      if (this.#isSound()) healedAfterMs = await this.#heal();
      if (this.#isSound()) await this.#end();
    } catch (error) {
      this.#violate("run", error);
    }
    const { nowMs, events } = this.#scheduler;
    const { counts } = this.#cluster;
    const network = this.#cluster.networkCounts();
    this.#trace.line("-", `messages ${String(network.messages)} bytes ${String(network.bytes)}`);
    return {
      simulatedMs: nowMs,
      healedAfterMs,
      events,
      traceHash: this.#trace.end(),
      counts,
      network,
      violations: this.#violations,
    };
  }

  #isSound(): boolean {
    return this.#violations.length === 0;
  }

  #violate(checker: string, error: unknown): void {
    const violation = { checker, atMs: this.#scheduler.nowMs, message: messageOf(error) };
    this.#violations.push(violation);
    this.#trace.line("-", `violation ${checker} ${violation.message}`);
  }

  #tell(event: SimEvent): void {
    for (const checker of this.#checkers) {
      if (checker.onEvent === undefined) continue;
      try {
        checker.onEvent(event, this.#cluster);
      } catch (error) {
        this.#violate(checker.name, error);
      }
    }
  }

  readonly #settled = (): boolean => {
    this.#tell({ type: "settled" });
    return !this.#isSound();
  };

  async #safety(): Promise<void> {
    this.#scheduler.after(0, () => {
      for (const node of this.#cluster.nodes) node.start();
    });
    for (const step of this.#plan.steps) {
      this.#scheduler.after(step.atMs, () => {
        if (this.#cluster.phase === "safety") this.#take(step);
      });
    }
    await this.#scheduler.runUntil(this.#plan.safetyMs, this.#settled);
  }

  #take(step: PlannedEvent): void {
    this.#cluster.emit({ type: "step", step });
    if (isFault(step)) strike(this.#cluster, step);
    else if (isMemberStep(step)) administer(this.#cluster, step);
    else work(this.#cluster, step);
  }

  /** Ends all faults, then waits until all are equal; returns how long that took. */
  async #heal(): Promise<number> {
    const cluster = this.#cluster;
    const since = this.#scheduler.nowMs;
    cluster.phase = "healing";
    cluster.emit({ type: "healing" });
    cluster.network.heal();
    for (const node of cluster.nodes) {
      if (node.cloneOf !== undefined) node.retire();
      node.disk.repair();
      node.resume();
      node.clock.correct();
      node.start();
    }
    let loss = false;
    for (;;) {
      const unanswered = this.#probe(since);
      await this.#scheduler.runUntil(this.#scheduler.nowMs + LOOK_MS, this.#settled);
      const passedMs = this.#scheduler.nowMs - since;
      if (!this.#isSound()) return passedMs;
      this.#renew();
      const difference = differenceOf(cluster) ?? unanswered;
      if (difference === undefined) return passedMs;
      if (!loss && passedMs >= ACCEPT_LOSS_MS) {
        loss = true;
        this.#acceptLoss();
      }
      if (passedMs >= HEAL_MS) throw new Error(`not equal after healing: ${difference}`);
    }
  }

  /** Has each agent write that no hub has answered since then; says which, if there is one. */
  #probe(sinceMs: number): string | undefined {
    if (!this.#probes) return undefined;
    const answered = new Set<string>();
    for (const { node, atMs, receipt } of this.#cluster.acknowledged.toReversed()) {
      if (atMs < sinceMs) break;
      if (receipt.acknowledged !== "local") answered.add(node);
    }
    let waiting: string | undefined;
    for (const node of this.#cluster.nodes) {
      const { id, kind, device } = node;
      if (kind === "hub" || answered.has(id) || !isMember(this.#cluster, node)) continue;
      waiting ??= `${id} gets no acknowledgement`;
      const value = this.#scheduler.nowMs;
      const probe = { do: "put", node: id, doc: "probe", key: id, value, ack: "hub" } as const;
      if (node.process?.replica.space.revocations.has(device) !== true) work(this.#cluster, probe);
    }
    return waiting;
  }

  /** Batches that wait for a grant get one. */
  #renew(): void {
    const { nodes } = this.#cluster;
    const at = nodes.find(({ process }) => process !== undefined);
    const now = at?.clock.now() ?? 0;
    for (const { id, device } of nodes) {
      const space = at?.process?.replica.space;
      const grants = space?.grants.get(device) ?? [];
      if (at === undefined || grants.length === 0) continue;
      if (grants.some(({ notAfter }) => notAfter > now + GRANT_MS / 2)) continue;
      administer(this.#cluster, { do: "renew", node: at.id, device: id, forMs: GRANT_MS });
    }
  }

  #acceptLoss(): void {
    for (const { process } of this.#cluster.nodes) {
      if (process === undefined || process.replica.degraded().length === 0) continue;
      this.#cluster.count("accepted loss");
      process.replica.acceptLoss().catch(() => undefined);
    }
  }

  async #end(): Promise<void> {
    this.#cluster.phase = "end";
    for (const checker of this.#checkers) {
      try {
        await checker.atEnd?.(this.#cluster);
      } catch (error) {
        this.#violate(checker.name, error);
      }
    }
  }
}

/** Whether all other nodes that are up would talk to a node. */
const isMember = ({ nodes }: Cluster, node: SimNode): boolean =>
  nodes.every(
    (other) => other === node || other.process === undefined || other.welcomes(node.device),
  );

/** In what the members of the space differ, or what has not come to rest; undefined when all is equal. */
function differenceOf(cluster: Cluster): string | undefined {
  let first: readonly [string, Replica] | undefined;
  const partial: (readonly [string, Replica])[] = [];
  for (const node of cluster.nodes) {
    const { id, process } = node;
    if (process === undefined) return `${id} is not up`;
    const { replica } = process;
    if (!isMember(cluster, node)) continue;
    if (replica.degraded().length > 0) return `${id} is degraded`;
    if (replica.subscription !== undefined) {
      partial.push([id, replica]);
      continue;
    }
    // Held batches may stay: of a hostile device's chain a part may have reached nobody.
    first ??= [id, replica];
    if (stateOf(first[1]) !== stateOf(replica)) {
      return `${first[0]} and ${id} differ: ${stateOf(first[1])} and ${stateOf(replica)}`;
    }
  }
  const [one = "", whole] = first ?? [];
  const behind = partial.find(([, replica]) => whole !== undefined && !hasAllOf(replica, whole));
  return behind === undefined ? undefined : `${behind[0]} lacks something of ${one}`;
}

const stateOf = (replica: Replica): string =>
  `${toHex(replica.recordsDigest())} ${toHex(replica.frontierDigest())}`;

/**
 * Whether a node that keeps a part knows of all that one has which keeps everything. It may know of more: of batches that reached
 * it first, or it alone, and which it does not keep.
 */
const hasAllOf = (part: Replica, whole: Replica): boolean =>
  toHex(part.recordsDigest()) === toHex(whole.recordsDigest()) &&
  whole.heads().every(({ replica, incarnation, seq }) => part.seqOf(replica, incarnation) >= seq);
