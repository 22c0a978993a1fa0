// SPDX-License-Identifier: Apache-2.0
import type { Channel, Clock, Logger, PeerStatus, ReceiveOutcome } from "@ctxmesh/model";
import { LIMITS, toMeshError } from "@ctxmesh/model";
import type { AppliedBatch, ChainSpan, Replica } from "@ctxmesh/replica";
import { MAX_BATCHES, decodeMessage, encodeMessage } from "./messages.ts";
import type { ChainSeq } from "./messages.ts";
import { initialState, isInSync, step } from "./session.ts";
import type { LocalView, SessionEffect, SessionEvent, SessionState } from "./session.ts";

/** A one-to-many fast path beside the sessions, such as gossipsub. */
export interface Broadcast {
  /** Whether it is in use now; then local batches are not pushed to agents one by one. */
  active(): boolean;
  publish(batch: Uint8Array): Promise<unknown>;
}

/** What a sync node is made of. */
export interface SyncNodeOptions {
  readonly replica: Replica;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether batches of others are pushed on at once (hub) or only told about (agent, whose peers hear the writer themselves). */
  readonly relay: "push" | "tell";
  readonly broadcast?: Broadcast;
}

/** Pushed batches of one remote that may wait for the store at the same time. */
const MAX_PUSHES_IN_FLIGHT = 256;
/** Refusals of one remote after which its channel is closed. */
const MAX_REFUSALS = 16;

interface Session {
  readonly channel: Channel;
  readonly openedMs: number;
  state: SessionState;
  pushesInFlight: number;
  refusals: number;
  /** Sends in order, one at a time. */
  outbox: Promise<void>;
  /** Bytes handed to the outbox and not yet taken by the channel. */
  queuedBytes: number;
  resume: (() => void) | undefined;
  /** Why it was ended, when this end did it. */
  reason: string | undefined;
}

/** Codes of what is wrong with a message. */
const VIOLATIONS: ReadonlySet<string> = new Set([
  "PROTOCOL_VIOLATION",
  "FORMAT_INVALID",
  "INPUT_INVALID",
  "LIMIT_EXCEEDED",
]);

/**
 * Runs the sync protocol over channels for one replica: steps the state machine of each session and
 * carries out its effects. Call {@link tick} every 50 ms or so; nothing here has a timer.
 */
export class SyncNode {
  readonly #options: SyncNodeOptions;
  readonly #view: LocalView;
  readonly #sessions = new Set<Session>();
  readonly #stopListening: () => void;

  constructor(options: SyncNodeOptions) {
    this.#options = options;
    const { replica } = options;
    this.#view = {
      space: replica.space.id,
      digest: () => replica.frontierDigest(),
      heads: () => replica.heads(),
      // What a device without a grant wrote would be refused, so it is never asked for: the peer that has it
      // knows of a grant that we do not.
      seqOf: ({ replica: device, incarnation }) =>
        replica.space.grants.has(device)
          ? replica.seqOf(device, incarnation)
          : Number.MAX_SAFE_INTEGER,
    };
    this.#stopListening = replica.onApplied((applied) => {
      this.#announce(applied);
    });
  }

  /** Runs a session until its channel ends; never rejects. */
  async run(channel: Channel): Promise<void> {
    const session: Session = {
      channel,
      openedMs: this.#options.clock.now(),
      state: initialState,
      pushesInFlight: 0,
      refusals: 0,
      outbox: Promise.resolve(),
      queuedBytes: 0,
      resume: undefined,
      reason: undefined,
    };
    this.#sessions.add(session);
    const peer = { device: channel.remote.device, address: channel.remote.address };
    this.#options.logger.info("peer.connected", { ...peer, role: channel.remote.role });
    try {
      await this.#handle(session, { type: "opened" });
      for await (const bytes of channel.receive()) {
        await this.#handle(session, { type: "message", message: decodeMessage(bytes) });
        if (session.state.phase === "closed") break;
      }
    } catch (error) {
      const { code, message } = toMeshError(error);
      if (VIOLATIONS.has(code)) this.#violation(session, message);
      session.reason ??= message;
    }
    this.#sessions.delete(session);
    session.state = { ...session.state, phase: "closed" };
    const { reason } = session;
    this.#options.logger.info("peer.disconnected", {
      ...peer,
      ...(reason === undefined ? {} : { reason }),
    });
    await channel.close(reason).catch(() => undefined);
  }

  /** Passes time: tells peers what is new, and compares digests when due. */
  tick(): void {
    const nowMs = this.#options.clock.now();
    for (const session of this.#sessions) this.#fire(session, { type: "tick", nowMs });
  }

  /** The verdict on a batch that came by broadcast, as gossipsub's validators give it. */
  async receiveBroadcast(batch: Uint8Array): Promise<"accept" | "ignore" | "reject"> {
    const outcome = await this.#options.replica.receive(batch);
    switch (outcome.kind) {
      case "accepted":
      // A held batch is well signed; peers nearer to what it lacks may need it now.
      case "held":
        return "accept";
      case "duplicate":
      case "dropped":
        return "ignore";
      case "refused":
        return "reject";
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
      }));
  }

  /** Sends what is new to every peer and closes all sessions. Idempotent. */
  async stop(): Promise<void> {
    this.#stopListening();
    this.tick();
    await Promise.all(
      [...this.#sessions].map(async (session) => {
        await session.outbox;
        await session.channel.close("shutting down").catch(() => undefined);
      }),
    );
  }

  #announce(applied: AppliedBatch): void {
    const { broadcast, relay, logger } = this.#options;
    const local = applied.origin === "local";
    const broadcasting = local && broadcast?.active() === true;
    if (broadcasting) {
      broadcast.publish(applied.bytes).catch((error: unknown) => {
        logger.warn("broadcast.failed", { error: toMeshError(error).message });
      });
    }
    for (const session of this.#sessions) {
      const covered = broadcasting && session.channel.remote.role === "agent";
      const push =
        (local || relay === "push") &&
        !covered &&
        session.queuedBytes + session.channel.bufferedBytes < LIMITS.channelBufferBytes / 2;
      const how = session === applied.source ? "brought" : push ? "push" : "tell";
      const { head, bytes: batch } = applied;
      this.#fire(session, { type: "applied", head, batch, how });
    }
  }

  /** Steps a session without waiting for the effects. */
  #fire(session: Session, event: SessionEvent): void {
    this.#handle(session, event).catch((error: unknown) => {
      this.#end(session, toMeshError(error).message);
    });
  }

  #end(session: Session, reason: string): void {
    session.reason ??= reason;
    session.state = { ...session.state, phase: "closed" };
    session.channel.close(reason).catch(() => undefined);
  }

  async #handle(session: Session, event: SessionEvent): Promise<void> {
    const { state, effects } = step(session.state, event, this.#view);
    session.state = state;
    for (const effect of effects) await this.#perform(session, effect);
  }

  async #perform(session: Session, effect: SessionEffect): Promise<void> {
    switch (effect.type) {
      case "send":
        this.#post(session, encodeMessage(effect.message));
        return;
      case "deliver":
        await (effect.pulled
          ? this.#deliverPulled(session, effect.batches)
          : this.#deliverPushed(session, effect.batches));
        return;
      case "serve":
        await this.#serve(session, effect.spans);
        return;
      case "close":
        this.#violation(session, effect.reason);
        session.reason ??= effect.reason;
        await session.channel.close(effect.reason);
    }
  }

  #violation(session: Session, reason: string): void {
    const { device } = session.channel.remote;
    this.#options.logger.warn("peer.violation", { device, reason });
  }

  /** Queues a message behind the ones before it; a broken channel ends its receive loop by itself. */
  #post(session: Session, bytes: Uint8Array): void {
    if (session.state.phase === "closed") return;
    session.queuedBytes += bytes.length;
    if (session.queuedBytes > LIMITS.channelBufferBytes) {
      this.#end(session, "the peer reads too slowly");
      return;
    }
    session.outbox = session.outbox
      .then(async () => session.channel.send(bytes))
      .catch((error: unknown) => {
        this.#end(session, toMeshError(error).message);
      })
      .finally(() => {
        session.queuedBytes -= bytes.length;
      });
  }

  async #serve(session: Session, spans: readonly ChainSpan[]): Promise<void> {
    const batches: Uint8Array[] = [];
    const sent = new Map<string, ChainSeq>();
    let bytes = 0;
    for await (const stored of this.#options.replica.read(spans)) {
      if (batches.length > 0 && bytes + stored.bytes.length > LIMITS.syncChunkBytes) break;
      if (batches.length >= MAX_BATCHES) break;
      batches.push(stored.bytes);
      bytes += stored.bytes.length;
      sent.set(stored.replica + stored.incarnation, stored);
    }
    // Not awaited: two ends that serve each other must both go on reading.
    this.#post(session, encodeMessage({ type: "batches", batches }));
    await this.#handle(session, { type: "served", heads: [...sent.values()] });
  }

  async #deliverPulled(session: Session, batches: readonly Uint8Array[]): Promise<void> {
    await Promise.all(batches.map(async (batch) => this.#receive(session, batch)));
    await this.#handle(session, { type: "delivered" });
  }

  /** Hands pushes over without waiting for the disk, up to a bound; then the channel is read no further. */
  async #deliverPushed(session: Session, batches: readonly Uint8Array[]): Promise<void> {
    for (const batch of batches) {
      session.pushesInFlight++;
      this.#receive(session, batch)
        .catch((error: unknown) => {
          this.#end(session, toMeshError(error).message);
        })
        .finally(() => {
          session.pushesInFlight--;
          session.resume?.();
        })
        .catch(() => undefined);
    }
    if (session.pushesInFlight < MAX_PUSHES_IN_FLIGHT) return;
    await new Promise<void>((resolve) => {
      session.resume = resolve;
    });
    session.resume = undefined;
  }

  async #receive(session: Session, batch: Uint8Array): Promise<void> {
    const outcome = await this.#options.replica.receive(batch, session);
    this.#judge(session, outcome);
  }

  #judge(session: Session, outcome: ReceiveOutcome): void {
    if (outcome.kind === "held" && outcome.reason === "missing") {
      this.#fire(session, { type: "held", nowMs: this.#options.clock.now() });
    }
    if (outcome.kind !== "refused") return;
    // Held to be no fault of the sender: its space file may be newer than ours.
    if (outcome.reason === "grant") return;
    session.refusals++;
    if (session.refusals === 1 || session.refusals === MAX_REFUSALS) {
      this.#options.logger.warn("batch.refused", {
        device: session.channel.remote.device,
        stage: outcome.reason,
        detail: outcome.detail,
        refusals: session.refusals,
      });
    }
    if (session.refusals >= MAX_REFUSALS) this.#end(session, "too many refused batches");
  }
}
