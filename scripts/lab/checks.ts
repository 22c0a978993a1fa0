// SPDX-License-Identifier: Apache-2.0
/** What is written while a network is bad, and what must be so once it is good again. */
import { setTimeout as sleep } from "node:timers/promises";
import type { FactInput, NodeStatus } from "@ctxmesh/model";
import { holds } from "./poll.ts";

/** A node, in this process or in another one. */
export interface LabNode {
  readonly name: string;
  status(digest?: boolean): Promise<NodeStatus>;
  put(doc: string, facts: readonly FactInput[]): Promise<unknown>;
}

/** What became of what was written. */
export interface Verdict {
  readonly facts: number;
  /** Share of the facts that is at every node. */
  readonly delivered: number;
  readonly digestsEqual: boolean;
  /** Batches, or facts, that a node applied beyond those that others wrote. */
  readonly appliedTwice: number;
  /** Batches that came to a node that had them; they cost bytes and nothing else. */
  readonly duplicates: number;
  /** From the end of all faults until all nodes had applied the same. */
  readonly healMs: number;
  /** What is not as it must be, in words. */
  readonly problems: readonly string[];
}

/** Writes facts at nodes, each under a key of its own, at a steady rate until it is stopped. */
export class Load implements AsyncDisposable {
  /** Facts that were acknowledged, by node. */
  readonly written: number[];
  readonly #stop = new AbortController();
  readonly #writers: Promise<readonly PromiseSettledResult<void>[]>;

  /** `perSecond` writes of one fact at each node. */
  constructor(nodes: readonly LabNode[], perSecond: number) {
    this.written = nodes.map(() => 0);
    this.#writers = Promise.allSettled(
      nodes.map(async (node, i) => this.#write(node, i, 1_000 / perSecond)),
    );
  }

  /** Facts that were acknowledged, by all nodes. */
  get total(): number {
    return this.written.reduce((sum, count) => sum + count, 0);
  }

  /** Waits for the writes under way. Rejects when a write was refused. */
  async stop(): Promise<void> {
    this.#stop.abort();
    const failed = (await this.#writers).find(({ status }) => status === "rejected");
    if (failed?.status === "rejected") throw failed.reason;
  }

  /** The same, when something else went wrong already. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#writers;
  }

  async #write(node: LabNode, i: number, everyMs: number): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const n = this.written[i] ?? 0;
      await node.put(`lab/${node.name}`, [{ key: `reading/${String(n)}`, value: n }]);
      this.written[i] = n + 1;
      await sleep(everyMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** Waits until all nodes have applied the same, and have what was written; false when they don't within the bound. */
async function converge(
  nodes: readonly LabNode[],
  facts: number,
  boundMs: number,
): Promise<boolean> {
  return holds(async () => {
    const statuses = await Promise.all(nodes.map(async (node) => node.status()));
    const frontiers = new Set(statuses.map(({ frontier }) => frontier));
    return frontiers.size === 1 && statuses.every((status) => status.facts >= facts);
  }, boundMs);
}

/** Whether a tenth of what was written, or more, is missing at some node: the faults do keep it away. */
export async function isParted(nodes: readonly LabNode[], facts: number): Promise<boolean> {
  const statuses = await Promise.all(nodes.map(async (node) => node.status()));
  return Math.min(...statuses.map((status) => status.facts)) <= 0.9 * facts;
}

/** Batches and facts that each node applied, beyond those that the others wrote. Needs nodes that never restarted. */
function appliedBeyond(statuses: readonly NodeStatus[]): number {
  const batches = statuses.map(({ acknowledged }) => acknowledged?.local ?? 0);
  const facts = statuses.map(({ written }) => written);
  return sum(
    statuses.map((status, i) => {
      const others = {
        batches: sum(batches) - (batches[i] ?? 0),
        facts: sum(facts) - (facts[i] ?? 0),
      };
      return (
        Math.abs(status.batches.accepted - others.batches) + Math.abs(status.applied - others.facts)
      );
    }),
  );
}

/**
 * Judges nodes after all faults: waits up to a bound for equal frontiers, then compares digests and counts. `restarted`
 * leaves the counts out, since they begin anew with a process.
 */
export async function judge(
  nodes: readonly LabNode[],
  facts: number,
  options: { readonly boundMs: number; readonly restarted?: boolean },
): Promise<Verdict> {
  const startedAt = performance.now();
  const converged = await converge(nodes, facts, options.boundMs);
  const healMs = Math.round(performance.now() - startedAt);
  const statuses = await Promise.all(nodes.map(async (node) => node.status(true)));
  const fewest = Math.min(...statuses.map((status) => status.facts));
  const refused = sum(statuses.flatMap(({ batches }) => Object.values(batches.refused)));
  const lost = sum(statuses.map(({ batches }) => batches.dropped + batches.held));
  const verdict = {
    facts,
    delivered: facts === 0 ? 1 : fewest / facts,
    digestsEqual: new Set(statuses.map(({ digest }) => digest)).size === 1,
    appliedTwice: options.restarted === true ? 0 : appliedBeyond(statuses),
    duplicates: sum(statuses.map(({ batches }) => batches.duplicate)),
    healMs,
  };
  const checks: readonly (readonly [held: boolean, problem: string])[] = [
    [facts > 0, "nothing was written"],
    [converged, `not the same everywhere within ${String(options.boundMs)} ms`],
    [verdict.delivered === 1, `${String(fewest)} of ${String(facts)} facts at some node`],
    [verdict.digestsEqual, "the digests differ"],
    [
      verdict.appliedTwice === 0,
      `${String(verdict.appliedTwice)} batches or facts too many, or too few, applied`,
    ],
    [refused === 0, `${String(refused)} batches refused`],
    [lost === 0, `${String(lost)} batches held or dropped`],
  ];
  const problems = checks.filter(([held]) => !held).map(([, problem]) => problem);
  return { ...verdict, problems };
}
