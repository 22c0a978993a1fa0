// SPDX-License-Identifier: Apache-2.0
/** Peers that do not keep to the rules: they speak the real protocol over raw channels, with the key of a device that has a grant. */
import type { Remote } from "@ctxmesh/model";
import { hlcFromMs, parseIncarnationId, toHex } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import { encodeMessage } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import type { Cluster } from "./cluster.ts";
import type { Dice } from "./dice.ts";
import { SPOILS, forgeBatch, spoil } from "./forge.ts";
import type { SimNode } from "./node.ts";
import { START_MS } from "./node-clock.ts";
import type { FaultStep, HostileKind } from "./plan.ts";
import type { Identity } from "./signatures.ts";
import type { ChannelEnd, Endpoint } from "./virtual-channel.ts";

/** A message, or a burst of them, this often. */
const EVERY_MS = 400;
/** Messages of one burst of a flooder: each is dear to answer. */
const BURST = 20;
const LINE = { latencyMs: 8, jitterMs: 4, loss: 0, bytesPerMs: 1_250 };
const TWELVE_HOURS_MS = 43_200_000;
/** Digests that no replica has, so that whoever is greeted says what it has. */
const NO_DIGEST = new Uint8Array(16);

const push = (batch: Uint8Array): readonly Uint8Array[] => [encodeMessage({ type: "push", batch })];

/** One chain, of which each side of a fork may be told. */
interface Branch {
  seq: number;
  prev: HeaderHash | null;
}

/** Sends a hostile peer for a time. */
export function startHostile(cluster: Cluster, step: FaultStep & { readonly do: "hostile" }): void {
  const number = cluster.counts.get("hostile") ?? 0;
  cluster.count("hostile");
  cluster.count(step.kind);
  const id = `${step.device}!${String(number + 1)}`;
  const peer = new HostilePeer(cluster, step.kind, cluster.identityOf(step.device), id);
  for (const target of step.targets) peer.attack(target);
  cluster.scheduler.after(step.forMs, () => {
    peer.stop();
  });
}

class HostilePeer implements Endpoint {
  readonly id: string;
  readonly #cluster: Cluster;
  readonly #kind: HostileKind;
  readonly #identity: Identity;
  readonly #dice: Dice;
  /** Two sides of the fork of one chain. */
  readonly #branches: readonly [Branch, Branch] = [
    { seq: 0, prev: null },
    { seq: 0, prev: null },
  ];
  #targets = 0;
  #stopped = false;

  constructor(cluster: Cluster, kind: HostileKind, identity: Identity, id: string) {
    this.#cluster = cluster;
    this.#kind = kind;
    this.#identity = identity;
    this.id = id;
    this.#dice = cluster.dice.fork(`hostile/${id}`);
  }

  deliver(run: () => void): void {
    run();
  }

  /** Connects to a node and goes on sending to it; connects again once when it is cut off. */
  attack(id: string): void {
    const target = this.#cluster.lookup(id);
    if (target === undefined) return;
    const side = this.#targets++ % 2;
    this.#cluster.network.connect(this.id, id, LINE);
    this.#connect(target, side === 0 ? 0 : 1, 1);
  }

  #connect(target: SimNode, side: 0 | 1, again: number): void {
    const service = target.kind === "hub" ? undefined : "agent";
    if (this.#stopped) return;
    if (target.process === undefined || !target.welcomes(this.#identity.device, service)) {
      this.#cluster.count("hostile turned away");
      return;
    }
    const sees = (direction: Remote["direction"]): Remote =>
      direction === "outbound"
        ? { device: target.device, address: target.id, direction, role: target.kind }
        : { device: this.#identity.device, address: this.id, direction, role: "agent" };
    const [own, other] = this.#cluster.network.open(
      this,
      target,
      sees("outbound"),
      sees("inbound"),
    );
    own.onOver(() => {
      this.#cluster.count("hostile cut off");
      if (again > 0) this.#later(() => this.#connect(target, side, again - 1));
    });
    target.deliver(() => {
      target.use(other);
    });
    void this.#ignoreAnswers(own);
    const hello = { space: this.#cluster.space.id, digest: NO_DIGEST, records: NO_DIGEST };
    this.#send(own, { type: "hello", ...hello });
    this.#goOn(own, side);
  }

  async #ignoreAnswers(own: ChannelEnd): Promise<void> {
    for await (const _ of own.receive());
  }

  #later(run: () => void): void {
    this.#cluster.scheduler.after(EVERY_MS * (0.5 + this.#dice.float()), run);
  }

  #goOn(own: ChannelEnd, side: 0 | 1): void {
    this.#later(() => {
      if (own.isOver || this.#stopped) {
        own.break();
        return;
      }
      for (const message of this.#messages(side)) this.#post(own, message);
      this.#goOn(own, side);
    });
  }

  #send(own: ChannelEnd, message: SyncMessage): void {
    this.#post(own, encodeMessage(message));
  }

  #post(own: ChannelEnd, bytes: Uint8Array): void {
    this.#cluster.count("hostile messages");
    own.send(bytes).catch(() => undefined);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** What is sent next. */
  #messages(side: 0 | 1): readonly Uint8Array[] {
    switch (this.#kind) {
      case "forger": {
        const { lastBatches } = this.#cluster;
        if (lastBatches.length === 0) return [];
        const how = this.#dice.pick(SPOILS);
        return push(spoil(this.#dice.pick(lastBatches), how, this.#identity.signer));
      }
      case "equivocator":
        return push(this.#own(side, this.#cluster.nowMs, "fork"));
      case "back-dater":
        return push(this.#own(0, this.#cluster.nowMs - TWELVE_HOURS_MS, "past"));
      case "replayer": {
        const { recent } = this.#cluster.network;
        return recent.length === 0 ? [] : [this.#dice.pick(recent)];
      }
      case "flooder":
        return Array.from({ length: BURST }, () => encodeMessage(this.#costly()));
    }
  }

  /** The next batch of one side of our own chain. */
  #own(side: 0 | 1, atMs: number, key: string): Uint8Array {
    const branch = this.#branches[side];
    const incarnation = this.#cluster.dice.fork(`incarnation/${this.id}`).bytes(16);
    branch.seq += 1;
    const { bytes, hash } = forgeBatch(
      {
        space: this.#cluster.space.id,
        replica: this.#identity.device,
        incarnation: parseIncarnationId(toHex(incarnation)),
        seq: branch.seq,
        prev: branch.prev,
        hlc: hlcFromMs(START_MS + atMs),
        doc: "rogue",
        key: `${key}-${String(branch.seq % 8)}`,
        valueJson: JSON.stringify(`${this.id} ${String(side)} ${String(branch.seq)}`),
      },
      this.#identity.signer,
    );
    branch.prev = hash;
    return bytes;
  }

  /** Cheap to send, dear to answer. */
  #costly(): SyncMessage {
    const head = {
      replica: this.#identity.device,
      incarnation: parseIncarnationId(toHex(this.#dice.bytes(16))),
      seq: 1,
      hash: toHex(this.#dice.bytes(16)),
    };
    return this.#dice.chance(0.5)
      ? { type: "records", acts: [], forks: [] }
      : { type: "have", heads: [head] };
  }
}
