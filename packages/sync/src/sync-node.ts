// SPDX-License-Identifier: Apache-2.0
import { decodeBatch } from "@ctxmesh/codec";
import type { Channel, Clock, Logger, PeerStatus, ReceiveOutcome } from "@ctxmesh/model";
import { LIMITS, toMeshError } from "@ctxmesh/model";
import type { BatchSource } from "@ctxmesh/replica";
import { Confirmations } from "./confirmations.ts";
import { decodeMessage } from "./messages.ts";
import type { Chain, ChainHead } from "./messages.ts";
import { LiveSession } from "./live-session.ts";
import { Peering } from "./peering.ts";
import { Quotas, costOf, costOfBytes, costOfOpening } from "./quota.ts";
import { Bars, RefusalLog, isBlamed } from "./refusal-log.ts";
import type { Refused } from "./refusal-log.ts";
import { isInSync } from "./session-heads.ts";
import type { SessionEvent } from "./session-state.ts";
import { ReplicaView } from "./sync-replica.ts";
import type { RecordIds, Records, ReplicaHead, SyncReplica, SyncedBatch } from "./sync-replica.ts";

/** A one-to-many fast path beside the sessions, such as gossipsub. */
export interface Broadcast {
  /** Whether it is in use now; then local batches are not pushed to agents one by one. */
  active(): boolean;
  publish(batch: Uint8Array): Promise<unknown>;
}

/** What a sync node is made of. */
export interface SyncNodeOptions {
  readonly replica: SyncReplica;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * Whether batches of others are pushed on at once (hub) or only told about (agent, whose peers hear the writer themselves).
   * Who pushes on also says what is durable here, and sealed.
   */
  readonly relay: "push" | "tell";
  /** Whether a device (hex key) may be connected now; looked at when records change and about once a second. */
  readonly admits: (device: string) => boolean;
  readonly broadcast?: Broadcast;
}

/** Refusals of one remote after which its channel is closed. */
const MAX_REFUSALS = 16;
/** How often it is looked who may stay, which headers are missing, and what there is to log. */
const LOOK_EVERY_MS = 1_000;
/** Headers that batches have been held for this long are asked for by hash; the usual ways bring most of them sooner. */
const MISSING_AFTER_MS = 1_000;

/** Codes of what is wrong with a message. */
const VIOLATIONS: ReadonlySet<string> = new Set([
  "PROTOCOL_VIOLATION",
  "FORMAT_INVALID",
  "INPUT_INVALID",
  "LIMIT_EXCEEDED",
]);

const NO_RECORDS: Records = { acts: [], proofs: [] };
const sizeOf = (items: readonly Uint8Array[]): number =>
  items.reduce((sum, { length }) => sum + length, 0);

/**
 * Runs the sync protocol over channels for one replica: steps the state machine of each session and
 * carries out its effects. Call {@link tick} every 50 ms or so; nothing here has a timer.
 */
export class SyncNode {
  /** What is known to be at a hub, and sealed. */
  readonly confirmations: Confirmations;
  readonly #options: SyncNodeOptions;
  readonly #view: ReplicaView;
  readonly #peering: Peering;
  readonly #sessions = new Set<LiveSession>();
  readonly #quotas: Quotas;
  readonly #refusals: RefusalLog;
  readonly #bars = new Bars();
  /** Whoever sent what came by broadcast, which is charged to nobody but the node. */
  readonly #broadcasters: BatchSource = {
    charge: (opened) => {
      this.#quotas.chargeNode(costOfOpening(opened).checks);
    },
  };
  /** Sessions whose budget is used up, in the order in which they began to wait. */
  readonly #waiting = new Set<LiveSession>();
  readonly #stopListening: readonly (() => void)[];
  /** The records that sessions were told about. */
  #announced: RecordIds;
  #lookedMs: number;

  constructor(options: SyncNodeOptions) {
    this.#options = options;
    const { replica, clock, logger, relay } = options;
    this.#view = new ReplicaView(replica, relay === "push");
    const headOf = (chain: Chain): ChainHead | undefined => this.#view.headOf(chain);
    this.confirmations = new Confirmations({ replica, headOf, clock });
    this.#quotas = new Quotas(clock.now());
    this.#refusals = new RefusalLog(logger);
    this.#lookedMs = clock.now();
    this.#announced = replica.recordIds();
    this.#peering = new Peering({
      replica,
      view: this.#view,
      outcome: (session, outcome, batch) => {
        this.#judge(session, outcome, batch);
      },
      confirm: async (level, heads) => this.confirmations.claim(level, heads),
      refusedRecord: (session, { code, message }) => {
        // Whether we have room for it is not the sender's doing.
        const blamed = code !== "LIMIT_EXCEEDED";
        const refused = { event: "record.refused", stage: code, detail: message, blamed };
        this.#refused(session, { ...refused, device: session.device });
      },
      violation: (session, reason) => {
        this.#violated(session, reason);
      },
      affordable: (session) => this.#affordable(session),
    });
    this.#stopListening = [
      replica.onApplied((applied) => {
        this.#announce(applied);
      }),
      replica.onRecords(() => {
        this.#announceRecords();
      }),
    ];
  }

  /** Runs a session until its channel ends; never rejects. Channels of devices that are barred or not admitted are closed at once. */
  async run(channel: Channel): Promise<void> {
    const { device, address, role } = channel.remote;
    const { clock, logger } = this.#options;
    const unwelcome = this.#whyUnwelcome(device);
    if (unwelcome !== undefined) {
      logger.info("peer.turned-away", { device, address, reason: unwelcome });
      await channel.close(unwelcome).catch(() => undefined);
      return;
    }
    const session = new LiveSession(channel, clock.now(), (opened) => {
      this.#quotas.charge(device, costOfOpening(opened));
    });
    this.#sessions.add(session);
    logger.info("peer.connected", { device, address, role });
    try {
      await this.#peering.handle(session, { type: "opened" });
      for await (const bytes of channel.receive()) {
        await this.#affordable(session);
        if (session.isClosed) break;
        this.#quotas.charge(device, costOfBytes(bytes.length));
        const message = decodeMessage(bytes);
        this.#quotas.charge(device, costOf(message, session.state.said.size));
        await this.#peering.handle(session, { type: "message", message });
        if (session.isClosed) break;
      }
    } catch (error) {
      const { code, message } = toMeshError(error);
      if (VIOLATIONS.has(code)) this.#violated(session, message);
      session.reason ??= message;
    }
    this.#sessions.delete(session);
    await session.over();
    const { reason } = session;
    logger.info("peer.disconnected", {
      device,
      address,
      ...(reason === undefined ? {} : { reason }),
    });
  }

  /** Passes time: refills budgets, tells peers what is new, compares digests when due, closes who may not stay. */
  tick(): void {
    const nowMs = this.#options.clock.now();
    this.#quotas.refill(nowMs);
    for (const session of this.#waiting) {
      if (!this.#quotas.isOpen(session.device)) continue;
      this.#waiting.delete(session);
      session.resume();
    }
    if (Math.abs(nowMs - this.#lookedMs) >= LOOK_EVERY_MS) this.#look(nowMs);
    for (const session of this.#sessions) this.#fire(session, { type: "tick", nowMs });
    this.confirmations.tick();
  }

  /** A hub has made a seal with this frontier, or had it when it started; those connected hear what is new in it. */
  sealed(frontier: readonly ReplicaHead[]): void {
    const heads = this.#view.seal(frontier);
    for (const session of this.#sessions) this.#fire(session, { type: "sealed", heads });
    this.confirmations.claim("sealed", heads).catch((error: unknown) => {
      this.#options.logger.warn("seal.unread", { error: toMeshError(error).message });
    });
  }

  /** What is looked at now and then. */
  #look(nowMs: number): void {
    this.#lookedMs = nowMs;
    this.#refusals.flush(nowMs);
    this.#dismissUnwelcome();
    const hashes = this.#options.replica.missing(MISSING_AFTER_MS);
    if (hashes.length === 0) return;
    for (const session of this.#sessions) this.#fire(session, { type: "missing", hashes, nowMs });
  }

  /** What to wait for while the device's budget, or the node's, is used up. Each one waiting takes one message, or one batch of it, in its turn. */
  #affordable(session: LiveSession): Promise<void> | undefined {
    return this.#quotas.isOpen(session.device) ? undefined : this.#untilOpen(session);
  }

  async #untilOpen(session: LiveSession): Promise<void> {
    this.#waiting.add(session);
    await session.waitUntil(() => !this.#waiting.has(session));
    this.#waiting.delete(session);
  }

  /**
   * The verdict on a batch that came by broadcast, as gossipsub's validators give it: `reject` only for what
   * its sender is to blame for, and `ignore` without a look once the node's budget is used up.
   */
  async receiveBroadcast(batch: Uint8Array): Promise<"accept" | "ignore" | "reject"> {
    if (!this.#quotas.nodeIsOpen) return "ignore";
    this.#quotas.chargeNode(1);
    const outcome = await this.#options.replica.receive(batch, this.#broadcasters);
    switch (outcome.kind) {
      case "accepted":
      // A held batch is well signed; peers nearer to what it lacks may need it now.
      case "held":
        return "accept";
      case "duplicate":
      case "dropped":
        return "ignore";
      case "refused":
        return isBlamed(outcome.reason) ? "reject" : "ignore";
    }
  }

  /** Connected peers that finished their greeting. */
  peers(): readonly PeerStatus[] {
    return [...this.#sessions]
      .filter((session) => session.state.phase === "open")
      .map(({ channel, openedMs, state }) => ({
        device: channel.remote.device,
        address: channel.remote.address,
        role: channel.remote.role,
        connectedSinceMs: openedMs,
        inSync: isInSync(state, this.#view),
        ...(channel.remote.security === undefined ? {} : { security: channel.remote.security }),
      }));
  }

  /** Whether a device (hex key) may not connect for now, since its sessions were closed for refusals again and again. */
  isBarred(device: string): boolean {
    return this.#bars.isBarred(device, this.#options.clock.now());
  }

  /** Sends what is new to every peer and closes all sessions. Idempotent. */
  async stop(): Promise<void> {
    for (const stop of this.#stopListening) stop();
    this.confirmations.endWaits();
    this.tick();
    await Promise.all(
      [...this.#sessions].map(async (session) => {
        await session.flushed();
        session.end("shutting down");
      }),
    );
  }

  #announce(applied: SyncedBatch): void {
    const { broadcast, relay, logger } = this.#options;
    const local = applied.origin === "local";
    const broadcasting = local && broadcast?.active() === true;
    if (broadcasting) {
      broadcast.publish(applied.bytes).catch((error: unknown) => {
        logger.warn("broadcast.failed", { error: toMeshError(error).message });
      });
    }
    const head = this.#view.applied(applied.head);
    const { source } = applied;
    this.confirmations.applied(head, source instanceof LiveSession && source.isHub);
    for (const session of this.#sessions) {
      const covered = broadcasting && session.channel.remote.role === "agent";
      const push =
        (local || relay === "push") &&
        !covered &&
        session.unreadBytes < LIMITS.channelBufferBytes / 2;
      const how = session === applied.source ? "brought" : push ? "push" : "tell";
      this.#fire(session, { type: "applied", head, batch: applied.bytes, how });
    }
  }

  /** Pushes new records, so many as fit into one answer; more of them are asked for once digests are compared. */
  #announceRecords(): void {
    const { replica, clock } = this.#options;
    this.#view.recordsChanged();
    this.confirmations.recordsChanged();
    const fresh = replica.readRecords(this.#announced);
    this.#announced = replica.recordIds();
    const few = sizeOf(fresh.acts) + sizeOf(fresh.proofs) <= LIMITS.syncChunkBytes;
    const records = few ? fresh : NO_RECORDS;
    const nowMs = clock.now();
    for (const session of this.#sessions) {
      this.#fire(session, { type: "records-changed", records, nowMs });
    }
    // After they were told why.
    this.#dismissUnwelcome();
  }

  #whyUnwelcome(device: string): string | undefined {
    if (this.isBarred(device)) return "the device is barred for a while";
    return this.#options.admits(device) ? undefined : "the device is not welcome in this space";
  }

  /** Ends the sessions of devices that may not stay; at once, if that was tried before. */
  #dismissUnwelcome(): void {
    for (const session of this.#sessions) {
      if (session.isClosed) {
        session.end(session.reason ?? "closed");
        continue;
      }
      const reason = this.#whyUnwelcome(session.device);
      if (reason !== undefined) session.dismiss(reason);
    }
  }

  /** Steps a session without waiting for the effects. */
  #fire(session: LiveSession, event: SessionEvent): void {
    this.#peering.handle(session, event).catch((error: unknown) => {
      session.end(toMeshError(error).message);
    });
  }

  #judge(session: LiveSession, outcome: ReceiveOutcome, batch: Uint8Array): void {
    // Our own batch, for one, which others brought it. So it has it, too.
    if (outcome.kind === "duplicate" && session.isHub) {
      this.confirmations.echoed(decodeBatch(batch).header);
    }
    if (outcome.kind === "held" && (outcome.reason === "missing" || outcome.reason === "epoch")) {
      this.#fire(session, { type: "held", nowMs: this.#options.clock.now() });
    }
    if (outcome.kind !== "refused") return;
    const { reason: stage, detail } = outcome;
    const blamed = isBlamed(stage);
    this.#refused(session, {
      event: "batch.refused",
      device: session.device,
      stage,
      detail,
      blamed,
    });
  }

  /** Logs a refusal, and closes and in the end bars a device that is to blame for too many. */
  #refused(session: LiveSession, refused: Refused): void {
    const nowMs = this.#options.clock.now();
    this.#refusals.note(refused, nowMs);
    if (!refused.blamed || session.isClosed) return;
    session.refusals++;
    if (session.refusals < MAX_REFUSALS) return;
    session.end("too many refused batches");
    this.#closedFor(session, nowMs);
  }

  /** A session is over for what its device has sent, which in the end bars it. */
  #closedFor({ device }: LiveSession, nowMs: number): void {
    this.#bars.closed(device, nowMs);
    if (this.isBarred(device)) this.#dismissUnwelcome();
  }

  /** The protocol was broken. Before the greeting that may be an honest peer of another version or space, which comes back. */
  #violated(session: LiveSession, reason: string): void {
    const { clock, logger } = this.#options;
    logger.warn("peer.violation", { device: session.device, reason });
    if (session.wasOpen) this.#closedFor(session, clock.now());
  }
}
