// SPDX-License-Identifier: Apache-2.0
/** How far written facts get, and how long that takes: acknowledgements, propagation, convergence. */
import type { DeviceKey, IncarnationId } from "@ctxmesh/model";
import type { AppliedBatch } from "@ctxmesh/replica";
import { Samples, rounded } from "../report/stats.ts";
import type { AckRow, PropagationRow } from "../report/report.ts";
import type { NodeView, SimEvent, World } from "../world.ts";
import { WrittenChains } from "./chains.ts";

type Level = "hub" | "sealed";
const LEVELS: readonly Level[] = ["hub", "sealed"];

/** Follows every batch. */
export class WriteRecorder {
  readonly chains: WrittenChains = new WrittenChains();
  /** Devices that were shut out: what they write counts nowhere. */
  readonly revoked: Set<DeviceKey> = new Set();
  /** Indexes of their nodes. */
  readonly #out = new Set<number>();
  readonly #nodes: readonly string[];
  readonly #places: readonly string[];
  readonly #quietMs: number;
  /** By place of the writer, then of the node. */
  readonly #propagation = new Map<string, Samples>();
  readonly #waits: Readonly<Record<AckRow["level"], Samples>> = {
    local: new Samples(),
    hub: new Samples(),
    sealed: new Samples(),
  };
  /** How far each own chain is confirmed. */
  readonly #confirmed = new Map<string, number>();
  /** When the writes under way at a node were asked for. */
  readonly #asked = new Map<string, number[]>();
  readonly #refused = new Map<string, number>();
  #unavailable = 0;
  #lastMs = 0;

  /** `places` of the nodes, in the same order; `quietMs` as in `ScenarioPlan`. */
  constructor(nodes: readonly string[], places: readonly string[], quietMs: number) {
    this.#nodes = nodes;
    this.#places = places;
    this.#quietMs = quietMs;
  }

  onEvent(event: SimEvent, world: World): void {
    switch (event.type) {
      case "step":
        this.#onStep(event.step, world);
        break;
      case "opened": {
        const node = world.node(event.node);
        if (node !== undefined) this.#follow(node, world);
        break;
      }
      case "stopped":
        this.#asked.delete(event.node);
        break;
      case "applied":
        this.#onApplied(event.node, event.batch, world.nowMs);
        break;
      case "acknowledged":
        this.#answered(event.node, world.nowMs);
        break;
      case "refused":
        if (event.what !== "put") break;
        this.#asked.get(event.node)?.shift();
        this.#refused.set(event.code, (this.#refused.get(event.code) ?? 0) + 1);
        break;
      case "records":
      case "read":
      case "answered":
      case "decided":
      case "sealed":
      case "healing":
      case "settled":
        break;
    }
  }

  #onStep(step: (SimEvent & { type: "step" })["step"], world: World): void {
    if (step.do === "revoke") {
      this.revoked.add(world.deviceOf(step.device));
      this.#out.add(this.#nodes.indexOf(step.device));
    }
    if (step.do !== "put") return;
    if (world.node(step.node)?.process === undefined) {
      this.#unavailable += 1;
      return;
    }
    const asked = this.#asked.get(step.node) ?? [];
    asked.push(world.nowMs);
    this.#asked.set(step.node, asked);
  }

  #answered(node: string, nowMs: number): void {
    const askedMs = this.#asked.get(node)?.shift();
    if (askedMs !== undefined) this.#waits.local.add(nowMs - askedMs);
  }

  #follow({ device, process }: NodeView, world: World): void {
    const confirmations = process?.sync.confirmations;
    confirmations?.onConfirmed((chain) => {
      if (chain.replica !== device) return;
      const confirmed = confirmations.confirmed(chain);
      for (const level of LEVELS) {
        this.#confirm(chain.replica, chain.incarnation, level, confirmed[level], world.nowMs);
      }
    });
  }

  #confirm(
    device: DeviceKey,
    incarnation: IncarnationId,
    level: Level,
    upTo: number,
    nowMs: number,
  ): void {
    const chain = this.chains.chain(device, incarnation);
    if (chain === undefined) return;
    const id = `${level}${device}${incarnation}`;
    for (let seq = (this.#confirmed.get(id) ?? 0) + 1; seq <= upTo; seq++) {
      const birth = chain.births.get(seq);
      if (birth === undefined) continue;
      for (let i = 0; i < birth.facts; i++) this.#waits[level].add(nowMs - birth.atMs);
    }
    this.#confirmed.set(id, Math.max(upTo, this.#confirmed.get(id) ?? 0));
  }

  #onApplied(node: string, { head, origin, facts }: AppliedBatch, nowMs: number): void {
    const index = this.#nodes.indexOf(node);
    if (index < 0) return;
    const { replica, incarnation, seq } = head;
    if (origin === "local") {
      // A batch without facts is none that anybody waits for.
      if (facts === 0 || this.revoked.has(replica)) return;
      const arrived = new Uint8Array(this.#nodes.length);
      arrived[index] = 1;
      this.chains.add(replica, incarnation, { atMs: nowMs, facts, seq, writer: index, arrived });
      return;
    }
    const birth = this.chains.chain(replica, incarnation)?.births.get(seq);
    if (birth === undefined || birth.arrived[index] === 1) return;
    birth.arrived[index] = 1;
    const samples = this.#between(birth.writer, index);
    for (let i = 0; i < birth.facts; i++) samples.add(nowMs - birth.atMs);
    if (birth.atMs <= this.#quietMs) this.#lastMs = Math.max(this.#lastMs, nowMs);
  }

  #between(from: number, to: number): Samples {
    const id = `${this.#places[from] ?? ""}\n${this.#places[to] ?? ""}`;
    const samples = this.#propagation.get(id) ?? new Samples();
    this.#propagation.set(id, samples);
    return samples;
  }

  /** Facts that did not arrive, by writer's place and node's place; from and at revoked devices none were to. */
  #missing(isOld: (atMs: number) => boolean): ReadonlyMap<string, number> {
    const missing = new Map<string, number>();
    for (const { device, births } of this.chains.all()) {
      if (this.revoked.has(device)) continue;
      for (const { atMs, facts, writer, arrived } of births.values()) {
        if (!isOld(atMs)) continue;
        for (const [to, has] of arrived.entries()) {
          if (has === 1 || this.#out.has(to)) continue;
          const id = `${this.#places[writer] ?? ""}\n${this.#places[to] ?? ""}`;
          missing.set(id, (missing.get(id) ?? 0) + facts);
        }
      }
    }
    return missing;
  }

  /** A row for each two places between which facts went, or should have. */
  propagation(): readonly PropagationRow[] {
    const missing = this.#missing(() => true);
    const places = [...new Set(this.#places)];
    return places.flatMap((from) =>
      places.flatMap((to): PropagationRow[] => {
        const id = `${from}\n${to}`;
        const samples = this.#propagation.get(id);
        const lost = missing.get(id) ?? 0;
        if (samples === undefined && lost === 0) return [];
        return [{ from, to, ...(samples ?? new Samples()).spread(), missing: lost }];
      }),
    );
  }

  /** From the last outage until every node that belongs had what was written before; undefined when that did not come. */
  tookMs(): number | undefined {
    if (this.#quietMs === 0) return undefined;
    if (this.#missing((atMs) => atMs <= this.#quietMs).size > 0) return undefined;
    return rounded(Math.max(0, this.#lastMs - this.#quietMs));
  }

  /** How acknowledgements went; `sealed` only where somebody seals, `hub` where there is one. */
  acknowledged(levels: readonly AckRow["level"][]): readonly AckRow[] {
    return levels.map((level) => {
      const spread = this.#waits[level].spread();
      const waiting = level === "local" ? 0 : Math.max(0, this.chains.facts - spread.count);
      return { level, ...spread, waiting };
    });
  }

  /** What clients were not given. */
  get failed(): { readonly unavailable: number; readonly refused: ReadonlyMap<string, number> } {
    return { unavailable: this.#unavailable, refused: this.#refused };
  }
}
