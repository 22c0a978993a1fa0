// SPDX-License-Identifier: Apache-2.0
/** A machine with its clock and disk, and the process that runs on it: started, driven, killed, made to stand still. */
import type { SealKeys } from "@ctxmesh/hub";
import type { Space } from "@ctxmesh/membership";
import { toMeshError } from "@ctxmesh/model";
import type {
  Channel,
  DeviceKey,
  Logger,
  MeshError,
  RandomSource,
  SignatureVerifier,
} from "@ctxmesh/model";
import type { Broadcast } from "@ctxmesh/sync";
import type { Dice } from "./dice.ts";
import type { DiskImage } from "./disk-image.ts";
import { Dialer } from "./link.ts";
import type { DialerHost } from "./link.ts";
import { NodeClock } from "./node-clock.ts";
import type { PlannedNode } from "./plan.ts";
import { startProcess } from "./process.ts";
import type { Process } from "./process.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Identity } from "./signatures.ts";
import type { ChannelEnd, Endpoint } from "./virtual-channel.ts";
import { VirtualDisk } from "./virtual-disk.ts";
import type { Stopped, Tail } from "./virtual-disk.ts";
import type { Collaborators, NodeView, ProcessView, SimEvent } from "./world.ts";

/** Between two ticks while something moves, as in the programs, and while nothing does. */
const TICK_MS = 50;
const IDLE_TICK_MS = 1_000;
/** Ticks without any work after which a node is idle. */
const QUIET_TICKS = 2;
const RETRY_MS = 1_000;
/** A process that died by itself is started again after this, and a random time more; twice that after each start that fails, within a bound. */
const RESPAWN_MS = 1_000;
const MOST_DOUBLINGS = 5;

/** What a node needs of the run that it is part of. */
export interface NodeHost extends DialerHost {
  readonly scheduler: Scheduler;
  readonly space: Space;
  readonly verifier: SignatureVerifier;
  readonly wrap: Collaborators;
  readonly logger: (node: string) => Logger;
  readonly broadcastOf: (node: SimNode) => Broadcast | undefined;
  readonly sealKeys: (name: string) => SealKeys;
  emit(event: SimEvent): void;
  /** The code under simulation came across something that it did not expect. */
  crashed(node: SimNode, error: MeshError): void;
  /** The process at a machine is gone; its channels are to follow. */
  vanished(node: SimNode, tells: boolean): void;
}

/** What the machine does not have in common with others. */
export interface NodeParts {
  readonly planned: PlannedNode;
  readonly identity: Identity;
  readonly dice: Dice;
  /** Ids of the nodes that it dials. */
  readonly dials: readonly string[];
  readonly cloneOf?: string;
}

/** One machine of a run. */
export class SimNode implements NodeView, Endpoint {
  readonly id: string;
  readonly kind: "agent" | "hub";
  readonly device: DeviceKey;
  readonly identity: Identity;
  readonly cloneOf: string | undefined;
  readonly clock: NodeClock;
  readonly disk: VirtualDisk;
  readonly dials: readonly string[];
  readonly #host: NodeHost;
  readonly #dice: Dice;
  readonly #subscription: PlannedNode["subscription"];
  readonly #linkBudget: number | undefined;
  readonly #asides: DiskImage[] = [];
  readonly #channels = new Set<ChannelEnd>();
  /** What the machine was given to do while it stood still. */
  readonly #deferred: (() => void)[] = [];
  #process: (Process & ProcessView) | undefined;
  /** Counts starts; what an earlier one set off is over. */
  #life = 0;
  #failedStarts = 0;
  #isUp = false;
  #isPaused = false;
  #isRetired = false;
  #quietTicks = 0;
  #tickDueMs = 0;
  #tickNumber = 0;
  #retriedMs = 0;
  #opened: { readonly image: DiskImage; readonly incarnation: Uint8Array } | undefined;
  backup: DiskImage | undefined;
  lostMediaMs: number | undefined;
  /** The first random bytes that the process draws: of a machine that was copied after its process had started. */
  fixedIncarnation: Uint8Array | undefined;

  constructor(host: NodeHost, { planned, identity, dice, dials, cloneOf }: NodeParts) {
    this.#host = host;
    this.#dice = dice;
    this.#subscription = planned.subscription;
    this.#linkBudget = planned.linkBudget;
    this.id = planned.id;
    this.kind = planned.service;
    this.identity = identity;
    this.device = identity.device;
    this.dials = dials;
    this.cloneOf = cloneOf;
    this.clock = new NodeClock(() => host.scheduler.nowMs, planned.clockOffMs, planned.driftPpm);
    this.disk = this.#createDisk("disk");
  }

  #createDisk(name: string): VirtualDisk {
    return new VirtualDisk(
      {
        after: (delayMs, run) => {
          this.after(delayMs, run);
        },
        nowMs: () => this.#host.scheduler.nowMs,
      },
      this.#dice.fork(name),
    );
  }

  get process(): (Process & ProcessView) | undefined {
    return this.#process;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Whether a process runs or is being started. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** Whether it was taken away for good. */
  get isRetired(): boolean {
    return this.#isRetired;
  }

  get image(): DiskImage {
    return this.disk.image;
  }

  /** The disk and the incarnation as they were when the process had just started. */
  get opened(): { readonly image: DiskImage; readonly incarnation: Uint8Array } | undefined {
    return this.#opened;
  }

  queues(): { held: number; unreadBytes: number; channels: number } {
    let unreadBytes = 0;
    for (const end of this.#channels) unreadBytes += end.bufferedBytes + end.unreadBytes;
    const held = this.#process?.replica.counters().held ?? 0;
    return { held, unreadBytes, channels: this.#channels.size };
  }

  /** Has the machine do something later; once it goes on, if it stands still then. */
  after(delayMs: number, run: () => void): void {
    this.#host.scheduler.after(delayMs, () => {
      this.deliver(run);
    });
  }

  deliver(run: () => void): void {
    if (this.#isPaused) {
      this.#deferred.push(run);
      return;
    }
    run();
    this.#touch();
  }

  /** Has this process life do something later, and no other one. */
  #inLife(delayMs: number, run: () => void): void {
    const life = this.#life;
    this.after(delayMs, () => {
      if (life === this.#life) run();
    });
  }

  /** Starts the process, unless one runs. */
  start(): void {
    if (this.#isUp || this.#isRetired) return;
    this.#isUp = true;
    this.#life += 1;
    this.#boot().catch((error: unknown) => {
      this.#die(toMeshError(error));
    });
  }

  async #boot(): Promise<void> {
    const { scheduler, wrap } = this.#host;
    const broadcast = this.#host.broadcastOf(this);
    const started = await startProcess({
      id: this.id,
      kind: this.kind,
      space: this.#host.space,
      signer: this.identity.signer,
      verifier: this.#host.verifier,
      clock: this.clock,
      elapsed: () => scheduler.nowMs,
      random: this.#createRandom(),
      logger: this.#host.logger(this.id),
      disk: this.disk,
      scratch: () => this.#createDisk("scratch"),
      asides: this.#asides,
      ...(broadcast === undefined ? {} : { broadcast }),
      ...(this.#subscription === undefined ? {} : { subscription: this.#subscription }),
      linkBudget: this.#linkBudget,
      sealKeys: () => this.#host.sealKeys(this.cloneOf ?? this.id),
      wrap,
    });
    this.#failedStarts = 0;
    this.#process = { ...started, startedMs: scheduler.nowMs };
    const { replica, healed } = started;
    const incarnation = new Uint8Array(Buffer.from(replica.incarnation, "hex"));
    this.#opened = { image: this.disk.image.copy(), incarnation };
    replica.onApplied((batch) => {
      this.#host.emit({ type: "applied", node: this.id, batch });
    });
    replica.onRecords(() => {
      this.#host.emit({ type: "records", node: this.id });
    });
    this.#host.emit({ type: "opened", node: this.id, healed });
    this.#retriedMs = scheduler.nowMs;
    this.#scheduleTick(TICK_MS * this.#dice.float());
    for (const to of this.dials) this.#createDialer(to).start();
  }

  /** Seeded for this life; the first draw is the incarnation. */
  #createRandom(): RandomSource {
    const dice = this.#dice.fork(`random/${String(this.#life)}`);
    let fixed = this.fixedIncarnation;
    this.fixedIncarnation = undefined;
    return {
      bytes: (length) => {
        const bytes = fixed?.length === length ? fixed : dice.bytes(length);
        fixed = undefined;
        return bytes;
      },
    };
  }

  #createDialer(to: string): Dialer {
    return new Dialer(this.#host, {
      from: this,
      to,
      dice: this.#dice.fork(`dial/${to}/${String(this.#life)}`),
      after: (delayMs, run) => {
        this.#inLife(delayMs, run);
      },
    });
  }

  /** Whether the process here would talk to a device. */
  welcomes(device: DeviceKey, service?: "agent" | "hub"): boolean {
    return this.#process?.membership.welcomes(device, service) === true;
  }

  /** Runs sync over a channel. */
  use(end: ChannelEnd): void {
    const process = this.#process;
    if (process === undefined) {
      end.break();
      return;
    }
    this.#channels.add(end);
    end.onOver(() => {
      this.#channels.delete(end);
    });
    const channel: Channel = this.#host.wrap.channel?.(this.id, end) ?? end;
    void process.sync.run(channel);
  }

  /** The process is killed, or the machine loses power. Nothing is awaited. */
  stop(why: string, tail: Tail, tells: boolean): Stopped {
    if (!this.#isUp) return { kept: 0, lost: 0 };
    this.#isUp = false;
    this.#life += 1;
    this.#process = undefined;
    this.#deferred.length = 0;
    this.#isPaused = false;
    const stopped = this.disk.crash(tail);
    this.#host.vanished(this, tells);
    this.#channels.clear();
    this.#host.emit({ type: "stopped", node: this.id, why });
    return stopped;
  }

  /** The process ended itself; whoever watches over it starts it again. */
  #die(error: MeshError): void {
    if (error.code === "INTERNAL") this.#host.crashed(this, error);
    this.stop(error.code, "kept", true);
    const waitMs = RESPAWN_MS * 2 ** Math.min(this.#failedStarts, MOST_DOUBLINGS);
    this.#failedStarts += 1;
    this.startAfter(waitMs * (1 + this.#dice.float()));
  }

  /** Starts the process after a while. */
  startAfter(delayMs: number): void {
    this.#host.scheduler.after(delayMs, () => {
      this.start();
    });
  }

  /** Takes the machine away for good. */
  retire(): void {
    this.stop("retired", "lost", true);
    this.#isRetired = true;
  }

  pause(): void {
    this.#isPaused = true;
  }

  /** Everything that came meanwhile happens now. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    for (const run of this.#deferred.splice(0)) run();
    this.#touch();
  }

  /** Something happened: the next tick is soon. */
  #touch(): void {
    this.#quietTicks = 0;
    const { nowMs } = this.#host.scheduler;
    if (this.#process !== undefined && this.#tickDueMs > nowMs + TICK_MS) {
      this.#scheduleTick(TICK_MS);
    }
  }

  #scheduleTick(delayMs: number): void {
    const { scheduler } = this.#host;
    const number = ++this.#tickNumber;
    const life = this.#life;
    this.#tickDueMs = scheduler.nowMs + delayMs;
    scheduler.after(delayMs, () => {
      if (life !== this.#life || number !== this.#tickNumber) return;
      if (this.#isPaused) {
        this.#deferred.push(() => {
          if (life === this.#life) this.#tick();
        });
      } else {
        this.#tick();
      }
    });
  }

  #tick(): void {
    const process = this.#process;
    if (process === undefined) return;
    const { nowMs } = this.#host.scheduler;
    process.sync.tick();
    const gathering = process.sync.gathering();
    process.replica.gather(gathering);
    // What waits for its budget is sent as time passes.
    if (gathering.lowMs > 0) this.#quietTicks = 0;
    if (nowMs - this.#retriedMs >= RETRY_MS) {
      this.#retriedMs = nowMs;
      process.replica.retryTimed();
    }
    if (process.replica.failure !== undefined) {
      this.#die(process.replica.failure);
      return;
    }
    this.#quietTicks += 1;
    this.#scheduleTick(this.#quietTicks > QUIET_TICKS ? IDLE_TICK_MS : TICK_MS);
  }
}
