// SPDX-License-Identifier: Apache-2.0
/** All machines of a run, the lines between them, and what has happened so far. */
import type { Role } from "@ctxmesh/codec";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import type { DeviceKey, Logger, MeshError, SignatureVerifier } from "@ctxmesh/model";
import type { SealKeys } from "@ctxmesh/hub";
import type { Broadcast } from "@ctxmesh/sync";
import { Dice } from "./dice.ts";
import { SimNode } from "./node.ts";
import type { NodeHost } from "./node.ts";
import { START_MS } from "./node-clock.ts";
import type { Plan, PlannedNode } from "./plan.ts";
import type { Scheduler } from "./scheduler.ts";
import { createSignatures } from "./signatures.ts";
import type { Identity, Signatures } from "./signatures.ts";
import type { Trace } from "./trace.ts";
import { VirtualNetwork } from "./virtual-network.ts";
import type { NetworkCounts } from "./virtual-network.ts";
import type { Acknowledged, Collaborators, Sealed, SimEvent, World } from "./world.ts";

const HOUR_MS = 3_600_000;
/** Grants begin before the run does, so that no clock is too early for them. */
const GRANTS_BEGIN_MS = 24 * HOUR_MS;
/** Of hostile devices, and of everybody who has no time of their own. */
const LONG_GRANT_MS = 30 * 24 * HOUR_MS;

/** What gossip does to a message, for each receiver: probability of loss, of a second copy, and up to how many milliseconds it takes. */
const GOSSIP = { loss: 0.05, twice: 0.1, mostMs: 400 } as const;

const LAST_BATCHES = 64;

const ignore = (): void => undefined;

/** The mesh under simulation. */
export class Cluster implements World, NodeHost {
  readonly plan: Plan;
  readonly scheduler: Scheduler;
  readonly network: VirtualNetwork;
  readonly wrap: Collaborators;
  readonly space: Space;
  readonly signatures: Signatures;
  readonly creator: Identity;
  readonly dice: Dice;
  readonly acknowledged: Acknowledged[] = [];
  readonly seals: Sealed[] = [];
  readonly counts: Map<string, number> = new Map();
  /** Some of the batches that were written last, for whoever would forge them. */
  readonly lastBatches: Uint8Array[] = [];
  phase: World["phase"] = "safety";
  readonly #trace: Trace;
  readonly #onEvent: (event: SimEvent) => void;
  readonly #onCrash: (node: string, error: MeshError) => void;
  readonly #nodes: SimNode[] = [];
  readonly #byId = new Map<string, SimNode>();
  #written = 0;
  readonly #identities = new Map<string, Identity>();

  constructor(
    plan: Plan,
    parts: {
      readonly scheduler: Scheduler;
      readonly trace: Trace;
      readonly wrap: Collaborators;
      readonly onEvent: (event: SimEvent) => void;
      readonly onCrash: (node: string, error: MeshError) => void;
    },
  ) {
    this.plan = plan;
    this.scheduler = parts.scheduler;
    this.wrap = parts.wrap;
    this.#trace = parts.trace;
    this.#onEvent = parts.onEvent;
    this.#onCrash = parts.onCrash;
    this.dice = new Dice(plan.seed);
    this.signatures = createSignatures(plan.seed, plan.signatures);
    this.creator = this.signatures.identity("creator");
    const host = {
      nowMs: () => this.nowMs,
      after: (delayMs: number, run: () => void) => {
        this.scheduler.after(delayMs, run);
      },
    };
    this.network = new VirtualNetwork(host, this.dice.fork("network"));
    this.space = this.#found();
    for (const { from, to, quality } of plan.links) this.network.connect(from, to, quality);
    for (const planned of plan.nodes) this.add(planned);
  }

  #found(): Space {
    const { plan, creator } = this;
    const founded = createSpace({
      name: "simulated",
      creator: creator.signer,
      now: START_MS - GRANTS_BEGIN_MS,
      random: this.dice.fork("space"),
    });
    const members: readonly (readonly [string, "agent" | "hub", Role, number | undefined])[] = [
      ...plan.nodes.map(({ id, service, role, grantMs }) => [id, service, role, grantMs] as const),
      ...plan.hostile.map((name) => [name, "agent", "write", LONG_GRANT_MS] as const),
    ];
    return members.reduce((space, [name, service, role, grantMs]) => {
      if (grantMs === undefined) return space;
      return issueGrant(space, creator.signer, {
        device: this.identityOf(name).device,
        service,
        role,
        notBefore: START_MS - GRANTS_BEGIN_MS,
        notAfter: START_MS + grantMs,
      });
    }, founded);
  }

  /** The key of a node, a hostile peer or an invite, by its name. */
  identityOf(name: string): Identity {
    const known = this.#identities.get(name) ?? this.signatures.identity(name);
    this.#identities.set(name, known);
    return known;
  }

  deviceOf(name: string): DeviceKey {
    return this.identityOf(name).device;
  }

  /** Adds a machine; `cloneOf` has it run as another one's device. */
  add(planned: PlannedNode, cloneOf?: SimNode): SimNode {
    const node = new SimNode(this, {
      planned,
      identity: cloneOf?.identity ?? this.identityOf(planned.id),
      dice: this.dice.fork(`node/${planned.id}`),
      dials: this.plan.links
        .filter(({ from }) => from === (cloneOf?.id ?? planned.id))
        .map(({ to }) => to),
      ...(cloneOf === undefined ? {} : { cloneOf: cloneOf.id }),
    });
    this.#nodes.push(node);
    this.#byId.set(node.id, node);
    return node;
  }

  get nowMs(): number {
    return this.scheduler.nowMs;
  }

  get verifier(): SignatureVerifier {
    return this.signatures.verifier;
  }

  /** Machines that were not taken away. */
  get nodes(): readonly SimNode[] {
    return this.#nodes.filter(({ isRetired }) => !isRetired);
  }

  node(id: string): SimNode | undefined {
    return this.#byId.get(id);
  }

  lookup(id: string): SimNode | undefined {
    return this.#byId.get(id);
  }

  networkCounts(): NetworkCounts {
    return this.network.counts();
  }

  logger(id: string): Logger {
    const at =
      (level: string): Logger["info"] =>
      (event) => {
        this.count(`log ${event}`);
        this.trace(id, `${level} ${event}`);
      };
    return { debug: ignore, info: at("info"), warn: at("warn"), error: at("error") };
  }

  sealKeys(name: string): SealKeys {
    return this.signatures.sealKeys(name);
  }

  trace(who: string, what: string): void {
    this.#trace.line(who, what);
  }

  /** Counts something that happened. */
  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  emit(event: SimEvent): void {
    const line = lineOf(event);
    if (event.type === "applied" && event.batch.origin === "local") {
      this.lastBatches[this.#written++ % LAST_BATCHES] = event.batch.bytes;
    }
    if (line !== undefined) this.trace("node" in event ? event.node : "-", line);
    this.#onEvent(event);
  }

  crashed(node: SimNode, error: MeshError): void {
    this.#onCrash(node.id, error);
  }

  vanished(node: SimNode, tells: boolean): void {
    this.network.vanish(node, tells);
  }

  broadcastOf(node: SimNode): Broadcast | undefined {
    if (!this.plan.gossip || node.kind === "hub") return undefined;
    return {
      active: () => true,
      publish: async (batch) => {
        this.#gossip(node, batch);
        return Promise.resolve();
      },
    };
  }

  /** Each agent that can be reached gets it after a time of its own, perhaps twice, perhaps not. */
  #gossip(from: SimNode, batch: Uint8Array): void {
    const dice = this.dice.fork(`gossip/${from.id}/${this.nowMs.toFixed(3)}`);
    for (const to of this.nodes) {
      if (to === from || to.kind === "hub") continue;
      if (this.network.line(from.id, to.id)?.isCut === true || dice.chance(GOSSIP.loss)) {
        this.count("gossip lost");
        continue;
      }
      const copies = dice.chance(GOSSIP.twice) ? 2 : 1;
      for (let copy = 0; copy < copies; copy++) {
        this.scheduler.after(dice.between(1, GOSSIP.mostMs), () => {
          to.deliver(() => {
            if (!to.welcomes(from.device, "agent")) return;
            to.process?.sync.receiveBroadcast(batch.slice(), from.device).catch(ignore);
          });
        });
      }
    }
  }
}

/** The line of the trace of an event; of some there is none. */
function lineOf(event: SimEvent): string | undefined {
  switch (event.type) {
    case "step":
      return JSON.stringify(event.step);
    case "applied": {
      const { head, origin } = event.batch;
      return `applied ${head.replica.slice(0, 8)} ${head.incarnation.slice(0, 8)} ${String(head.seq)} ${head.hash.slice(0, 16)} ${origin}`;
    }
    case "acknowledged":
      return `acknowledged ${String(event.write.id)} ${String(event.write.receipt.hlc)}`;
    case "refused":
      return `refused ${event.what} ${event.code}`;
    case "opened":
      return event.healed ? "opened healed" : "opened";
    case "stopped":
      return `stopped ${event.why}`;
    case "read":
      return `read ${event.client} ${event.fact?.version.slice(0, 16) ?? "nothing"}`;
    case "answered":
      return `answered ${event.step.consistency} ${event.answer.from} ${event.answer.fact?.version ?? "nothing"}`;
    case "decided":
      return `decided ${event.code ?? event.receipt?.version ?? ""}`;
    case "sealed":
      return `sealed ${String(event.seal.receipt.sequence)} ${String(event.seal.receipt.leaves)}`;
    case "records":
    case "healing":
      return event.type;
    case "settled":
      return undefined;
  }
}
