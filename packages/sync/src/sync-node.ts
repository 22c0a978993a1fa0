// SPDX-License-Identifier: Apache-2.0
import { decodeBatch } from "@ctxmesh/codec";
import type { Channel, LinkReport, PeerStatus, ReceiveOutcome, Subscription } from "@ctxmesh/model";
import { LIMITS, toMeshError } from "@ctxmesh/model";
import type { BatchSource, SectionRef } from "@ctxmesh/replica";
import { Asker } from "./asker.ts";
import { Carriers } from "./carriers.ts";
import type { BroadcastVerdict } from "./carriers.ts";
import { Conduct } from "./conduct.ts";
import { Confirmations } from "./confirmations.ts";
import { OwnClocks } from "./expired.ts";
import { answersNothing } from "./decider.ts";
import { Fetcher } from "./fetcher.ts";
import type { FetchOutcome } from "./fetcher.ts";
import { decodeMessage } from "./messages.ts";
import type { Chain, ChainHead } from "./messages.ts";
import { LiveSession } from "./live-session.ts";
import { gatheringOf, reportLinks } from "./links.ts";
import type { Gathering } from "./links.ts";
import { Peering } from "./peering.ts";
import { Quotas, costOf, costOfBytes, costOfOpening } from "./quota.ts";
import { isBlamed } from "./refusal-log.ts";
import { isFetching } from "./session-base.ts";
import { isInSync } from "./session-heads.ts";
import type { Pulling, SessionEvent } from "./session-state.ts";
import { ReplicaView } from "./sync-replica.ts";
import type { SyncNodeOptions } from "./sync-options.ts";
import { Tailor } from "./tailor.ts";
import { Upkeep } from "./upkeep.ts";
import type { RecordIds, Records, ReplicaHead, SyncedBatch } from "./sync-replica.ts";

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
  /** Asks remotes. */
  readonly asker: Asker;
  readonly #options: SyncNodeOptions;
  readonly #view: ReplicaView;
  readonly #peering: Peering;
  readonly #ownClocks = new OwnClocks();
  readonly #sessions = new Set<LiveSession>();
  readonly #quotas: Quotas;
  readonly #conduct: Conduct;
  readonly #upkeep: Upkeep;
  readonly #carriers: Carriers;
  readonly #fetcher: Fetcher;
  /** Sessions whose budget is used up, in the order in which they began to wait. */
  readonly #waiting = new Set<LiveSession>();
  readonly #stopListening: readonly (() => void)[];
  /** The records that sessions were told about. */
  #announced: RecordIds;
  /** Number of the newest session. */
  #numbered = 0;

  constructor(options: SyncNodeOptions) {
    this.#options = options;
    const { replica, clock, relay } = options;
    this.#view = new ReplicaView(replica, relay === "push", clock);
    const headOf = (chain: Chain): ChainHead | undefined => this.#view.headOf(chain);
    this.confirmations = new Confirmations({ replica, headOf, clock });
    this.#quotas = new Quotas(clock.now());
    this.#conduct = new Conduct({ ...options, sessions: this.#sessions });
    this.#announced = replica.recordIds();
    const tailor = new Tailor(replica, clock);
    this.#fetcher = this.#createFetcher();
    this.asker = this.#createAsker();
    this.#peering = new Peering({
      replica,
      view: this.#view,
      outcome: (session, outcome, batch) => {
        this.#judge(session, outcome, batch);
      },
      reached: (session, heads) => {
        session.link.reached(this.#ownClocks.reachedBy(heads));
      },
      confirm: async (level, heads) => this.confirmations.claim(level, heads),
      refusedRecord: (session, { code, message }) => {
        // Whether we have room for it is not the sender's doing.
        const blamed = code !== "LIMIT_EXCEEDED";
        const refused = { event: "record.refused", stage: code, detail: message, blamed };
        this.#conduct.refused(session, { ...refused, device: session.device });
      },
      violation: (session, reason) => {
        this.#conduct.violated(session, reason);
      },
      pulls: (session, asks) => {
        this.#claim(session, asks);
      },
      affordable: (session) => this.#affordable(session),
      tailor,
      bodies: (session, bodies) => {
        this.#fetcher.arrived(session, bodies);
      },
      answers: options.answers ?? answersNothing,
      answered: (session, id, answer) => {
        this.asker.answered(session, id, answer);
      },
      fetching: (session, elsewhere) => {
        this.#fetching(session, elsewhere);
      },
    });
    this.#carriers = this.#createCarriers(tailor);
    this.#upkeep = this.#createUpkeep();
    this.#stopListening = [
      replica.onApplied((applied) => {
        this.#announce(applied);
      }),
      replica.onRecords(() => {
        this.#announceRecords();
      }),
    ];
  }

  #createCarriers(tailor: Tailor): Carriers {
    const { relay, broadcast } = this.#options;
    return new Carriers({
      ...this.#options,
      view: this.#view,
      quotas: this.#quotas,
      broadcast,
      pushesAll: relay === "push",
      tailor,
      sessions: this.#sessions,
      fire: (session, event) => {
        this.#fire(session, event);
      },
      refused: (session, refused) => {
        this.#conduct.refused(session, refused);
      },
    });
  }

  #createAsker(): Asker {
    return new Asker({
      ...this.#options,
      sessions: this.#sessions,
      fire: (session, event) => {
        this.#fire(session, event);
      },
    });
  }

  #createUpkeep(): Upkeep {
    return new Upkeep({
      ...this.#options,
      view: this.#view,
      conduct: this.#conduct,
      sessions: this.#sessions,
      fire: (session, event) => {
        this.#fire(session, event);
      },
      freed: () => {
        this.#freed();
      },
    });
  }

  #createFetcher(): Fetcher {
    return new Fetcher({
      ...this.#options,
      sessions: this.#sessions,
      fire: (session, event) => {
        this.#fire(session, event);
      },
      wrong: (session) => {
        const reason = "bodies came that are not those that were signed";
        this.#conduct.violated(session, reason);
        session.end(reason);
      },
    });
  }

  /** Runs a session until its channel ends; never rejects. Channels of devices that are barred or not admitted are closed at once. */
  async run(channel: Channel): Promise<void> {
    const { device, address, role } = channel.remote;
    const { clock, logger } = this.#options;
    const unwelcome = this.#conduct.whyUnwelcome(device);
    if (unwelcome !== undefined) {
      logger.info("peer.turned-away", { device, address, reason: unwelcome });
      await channel.close(unwelcome).catch(() => undefined);
      return;
    }
    const charge: BatchSource["charge"] = (opened) => {
      this.#quotas.charge(device, costOfOpening(opened));
    };
    const budget = this.#options.budgetOf?.(channel.remote);
    const session = new LiveSession(channel, clock.now(), charge, {
      now: () => clock.now(),
      budget,
    });
    const elsewhere = [...this.#sessions].some(({ state }) => isFetching(state));
    const id = ++this.#numbered;
    session.state = { ...session.state, id, base: { ...session.state.base, elsewhere } };
    this.#sessions.add(session);
    this.#carriers.opened();
    logger.info("peer.connected", { device, address, role });
    try {
      await this.#peering.handle(session, { type: "opened" });
      for await (const bytes of channel.receive()) {
        session.attendance.heard();
        await this.#take(session, bytes);
        session.attendance.listens();
        if (session.isClosed) break;
      }
    } catch (error) {
      const { code, message } = toMeshError(error);
      if (VIOLATIONS.has(code)) this.#conduct.violated(session, message);
      session.reason ??= message;
    }
    this.#sessions.delete(session);
    if (isFetching(session.state)) this.#fetching(session, false);
    this.#claim(session, undefined);
    this.#carriers.left(session);
    this.#fetcher.left(session);
    this.asker.left(session);
    await session.over();
    const { reason } = session;
    logger.info("peer.disconnected", {
      device,
      address,
      ...(reason === undefined ? {} : { reason }),
    });
  }

  /** Takes a message in, or a part of one. */
  async #take(session: LiveSession, bytes: Uint8Array): Promise<void> {
    const { device } = session;
    await this.#affordable(session);
    if (session.isClosed) return;
    this.#quotas.charge(device, costOfBytes(bytes.length));
    const whole = session.link.received(bytes);
    if (whole === undefined) return;
    const message = decodeMessage(whole);
    this.#quotas.charge(device, costOf(message, session.state.said.size, this.#view.size));
    await this.#peering.handle(session, { type: "message", message });
  }

  /** What one session is about to bring, the others do not ask for. A search for a fork asks for single batches, and everybody may. */
  #claim({ state: { id } }: LiveSession, asks: Pulling | undefined): void {
    const chains = asks === undefined || asks.probing ? [] : asks.spans;
    if (this.#view.claims.set(id, chains, this.#options.clock.now())) this.#freed();
  }

  /** Lets those ask that were passed over. */
  #freed(): void {
    for (const session of this.#sessions) {
      if (session.state.passedOver) this.#fire(session, { type: "freed" });
    }
  }

  /** One session fetches a base at a time; the others hear when they may, or need not any more. */
  #fetching(by: LiveSession, elsewhere: boolean): void {
    for (const session of this.#sessions) {
      if (session !== by) this.#fire(session, { type: "base-elsewhere", elsewhere });
    }
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
    const looked = this.#upkeep.tick(nowMs);
    this.#carriers.tick(nowMs);
    this.#fetcher.tick(nowMs);
    this.asker.tick(nowMs);
    for (const session of this.#sessions) {
      session.link.tick();
      // News would take the room of what they are about.
      if (looked || !session.link.isBusy) this.#fire(session, { type: "tick", nowMs });
    }
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

  /** What to wait for while the device's budget, or the node's, is used up. Each one waiting takes one message, or one batch of it, in its turn. */
  #affordable(session: LiveSession): Promise<void> | undefined {
    return this.#quotas.isOpen(session.device) ? undefined : this.#untilOpen(session);
  }

  async #untilOpen(session: LiveSession): Promise<void> {
    session.attendance.overdrawn();
    this.#waiting.add(session);
    await session.waitUntil(() => !this.#waiting.has(session));
    this.#waiting.delete(session);
  }

  /** The verdict on a message that came by broadcast from a device, hex; see {@link Carriers.receive}. */
  async receiveBroadcast(message: Uint8Array, from?: string): Promise<BroadcastVerdict> {
    return this.#carriers.receive(message, from);
  }

  /** Fetches bodies that were left out from whoever is connected; see {@link Fetcher.fetch}. */
  async fetch(
    wanted: readonly SectionRef[],
    only: Subscription | undefined,
  ): Promise<FetchOutcome> {
    return this.#fetcher.fetch(wanted, only);
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
        ...(channel.remote.leaf === true ? { leaf: true } : {}),
        ...(channel.remote.security === undefined ? {} : { security: channel.remote.security }),
      }));
  }

  /** The links to peers that finished their greeting, and how busy they are. */
  links(): readonly LinkReport[] {
    return reportLinks(this.#sessions, this.#view);
  }

  /** For how long what is written should wait to share batches with more. */
  gathering(): Gathering {
    return gatheringOf(this.#sessions);
  }

  /** Whether a device (hex key) may not connect for now, since its sessions were closed for refusals again and again. */
  isBarred(device: string): boolean {
    return this.#conduct.isBarred(device);
  }

  /** Sends what is new to every peer and closes all sessions. Idempotent. */
  async stop(): Promise<void> {
    for (const stop of this.#stopListening) stop();
    this.confirmations.endWaits();
    this.#carriers.stop();
    this.#fetcher.stop();
    this.asker.stop();
    this.tick();
    await Promise.all(
      [...this.#sessions].map(async (session) => {
        await session.flushed();
        session.end("shutting down");
      }),
    );
  }

  #announce(applied: SyncedBatch): void {
    const head = this.#view.applied(applied.head);
    const { source } = applied;
    this.confirmations.applied(head, source instanceof LiveSession && source.isHub);
    if (applied.origin === "local") this.#ownClocks.wrote(applied);
    // What a remote brings, it has come as far as.
    else if (source instanceof LiveSession) source.link.reached(applied.firstHlc);
    this.#carriers.carry(applied, head);
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
    this.#conduct.dismissUnwelcome();
  }

  /** Steps a session without waiting for the effects. */
  #fire(session: LiveSession, event: SessionEvent): void {
    this.#peering.handle(session, event).catch((error: unknown) => {
      session.end(toMeshError(error).message);
    });
  }

  #judge(session: LiveSession, outcome: ReceiveOutcome, batch: Uint8Array): void {
    this.#view.received(batch, outcome);
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
    this.#conduct.refused(session, {
      event: "batch.refused",
      device: session.device,
      stage,
      detail,
      blamed,
    });
  }
}
