// SPDX-License-Identifier: Apache-2.0
/**
 * The fast ways of a batch: pushed from session to session, or broadcast. What they lose, news and anti-entropy repair.
 *
 * Where broadcasting is in use, batches of our own go there, small ones whole and larger ones by their headers; batches of others
 * never do, so each is broadcast once. Whatever did not come that way goes on by push to whoever wants it so (`relay-choice.ts`).
 * So nodes of which some broadcast and some do not get everything all the same.
 */
import { decodeBatch } from "@ctxmesh/codec";
import type { Clock, Logger, ReceiveOutcome, Refusal, SpaceId } from "@ctxmesh/model";
import { sha256 } from "@ctxmesh/crypto";
import { LIMITS, toHex, toMeshError } from "@ctxmesh/model";
import { decodeSignedHeader } from "@ctxmesh/replica";
import type { BatchSource } from "@ctxmesh/replica";
import { Announcements, announcementOf, isAnnouncement } from "./announcements.ts";
import { LiveSession } from "./live-session.ts";
import type { ChainHead } from "./messages.ts";
import { costOfBytes, costOfOpening } from "./quota.ts";
import type { Quotas } from "./quota.ts";
import type { Refused } from "./refusal-log.ts";
import { isBlamed } from "./refusal-log.ts";
import { BROADCAST, RouteTable, passageOf } from "./relay-choice.ts";
import type { Bringer, Routes } from "./relay-choice.ts";
import type { SessionEvent } from "./session-state.ts";
import { headToTell } from "./sync-replica.ts";
import type { ReplicaHead, ReplicaView, SyncReplica, SyncedBatch } from "./sync-replica.ts";
import type { Tailor } from "./tailor.ts";

/** A one-to-many fast path beside the sessions, such as gossipsub. */
export interface Broadcast {
  /** Whether it is in use now; then local batches are not pushed to agents one by one. */
  active(): boolean;
  /** Sends `LIMITS.gossipBytes` at most. */
  publish(message: Uint8Array): Promise<unknown>;
}

/** What becomes of a broadcast message: only what is accepted is passed on; what is rejected speaks against its sender. */
export type BroadcastVerdict = "accept" | "ignore" | "reject";

/** What the carriers work on. */
export interface CarriersOptions {
  readonly replica: SyncReplica;
  readonly view: ReplicaView;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly quotas: Quotas;
  readonly broadcast: Broadcast | undefined;
  /** Whether everything is pushed on, as a hub does. */
  readonly pushesAll: boolean;
  readonly tailor: Tailor;
  readonly sessions: ReadonlySet<LiveSession>;
  /** Steps a session. */
  readonly fire: (session: LiveSession, event: SessionEvent) => void;
  /** A session's device is to blame for a broadcast message, or only sent one that had to be refused. */
  readonly refused: (session: LiveSession, refused: Refused) => void;
}

/** Routes are told this often at most. */
const ROUTES_EVERY_MS = 1_000;
const CHECK = { checks: 1, work: 1, bytes: 0 };

/** What every node that passed a message on has looked at itself; what else is wrong with a batch it may not have been able to see. */
const SEEN_BY_ALL: ReadonlySet<Refusal> = new Set<Refusal>([
  "frame-size",
  "shape",
  "space",
  "signature",
]);

/** Whoever passed on a batch that came by broadcast. */
class Broadcaster implements BatchSource {
  readonly session: LiveSession | undefined;
  readonly charge: BatchSource["charge"];

  constructor(session: LiveSession | undefined, charge: BatchSource["charge"]) {
    this.session = session;
    this.charge = charge;
  }
}

/** In place of a peer, for messages of nobody known. */
const NOBODY = "";

/** Broadcast messages under way into the replica, or waiting for their batches: `LIMITS.gossipPending` in all. */
class Pending {
  readonly #byPeer = new Map<string, number>();
  #all = 0;

  /** Takes a place for a peer's message, unless all are taken. */
  take(peer: string): boolean {
    const own = this.#byPeer.get(peer) ?? 0;
    if (
      (peer !== NOBODY && own >= LIMITS.gossipPendingPerPeer) ||
      this.#all >= LIMITS.gossipPending
    )
      return false;
    this.#byPeer.set(peer, own + 1);
    this.#all++;
    return true;
  }

  release(peer: string): void {
    const own = (this.#byPeer.get(peer) ?? 0) - 1;
    if (own > 0) this.#byPeer.set(peer, own);
    else this.#byPeer.delete(peer);
    this.#all--;
  }
}

/** Sends batches on by the fast ways, and takes in what was broadcast. */
export class Carriers {
  readonly #options: CarriersOptions;
  readonly #table = new RouteTable();
  readonly #announcements = new Announcements();
  readonly #pending = new Pending();
  /** What each session was told last. */
  readonly #told = new WeakMap<LiveSession, string>();
  /** When routes were told last, Unix milliseconds. */
  #toldMs = Number.NEGATIVE_INFINITY;
  #routesDue = false;

  constructor(options: CarriersOptions) {
    this.#options = options;
  }

  /** A batch was applied: it goes to the peers that should have it, and the others are to hear of it. */
  carry(applied: SyncedBatch, head: ChainHead): void {
    const { sessions, fire, pushesAll, tailor } = this.#options;
    const { source, bytes } = applied;
    const local = applied.origin === "local";
    const broadcasting = local && this.#broadcast(bytes);
    this.#announcements.applied(applied.head.hash, bytes);
    this.#remember(applied);
    const bringer = source instanceof Broadcaster ? source.session : source;
    if (bringer instanceof LiveSession) bringer.attendance.brought();
    for (const session of sessions) {
      const { role, leaf } = session.channel.remote;
      const covered = broadcasting && role === "agent" && leaf !== true;
      const batch = tailor.push(applied, session);
      // What it wants and is not here, it gets from others; they are told all the same that the headers are.
      const busy = batch === undefined || !session.hasRoomFor(batch);
      const { routes } = session.state;
      const passage = { writer: head.replica, local, covered, routes, pushesAll, busy };
      const how = session === bringer ? "brought" : passageOf(passage);
      const wanted = busy ? passageOf({ ...passage, busy: false }) : how;
      if (how !== "brought" && wanted === "push" && batch !== undefined) session.offered(batch);
      fire(session, { type: "applied", head, batch: batch ?? bytes, how });
    }
  }

  /** Broadcasts a batch, or its announcement; false if that is not in use, or even the header is too large. */
  #broadcast(batch: Uint8Array): boolean {
    const { broadcast, logger } = this.#options;
    if (broadcast?.active() !== true) return false;
    const message = batch.length <= LIMITS.gossipBytes ? batch : announcementOf(batch);
    if (message.length > LIMITS.gossipBytes) return false;
    broadcast.publish(message).catch((error: unknown) => {
      logger.warn("broadcast.failed", { error: toMeshError(error).message });
    });
    return true;
  }

  /** Remembers on which way a batch came. */
  #remember({ source, head, origin }: SyncedBatch): void {
    if (origin === "local" || source === undefined) return;
    const writer = head.replica;
    // It pushes its own anyway, whoever was faster this time.
    const isPeer = this.#sessionOf(writer) !== undefined;
    this.#table.heard(writer, isPeer ? { name: writer, unasked: true } : bringerOf(source));
  }

  /** Passes time: tells peers what is wanted of them, gives up announcements. */
  tick(nowMs: number): void {
    this.#announcements.tick(nowMs);
    this.#routesDue = this.#table.takeChanged() || this.#routesDue;
    if (!this.#routesDue || Math.abs(nowMs - this.#toldMs) < ROUTES_EVERY_MS) return;
    this.#routesDue = false;
    this.#toldMs = nowMs;
    for (const session of this.#options.sessions) this.#tellRoutes(session);
  }

  #tellRoutes(session: LiveSession): void {
    if (session.isHub || session.state.phase !== "open") return;
    const routes = this.#table.routesFor(session.device);
    const text = textOf(routes);
    if (text === (this.#told.get(session) ?? textOf({ here: new Set(), elsewhere: new Set() }))) {
      return;
    }
    this.#told.set(session, text);
    this.#options.fire(session, { type: "routes", routes });
  }

  /** A session has begun: its remote is told what is wanted of it. */
  opened(): void {
    this.#routesDue = true;
  }

  /** A session is over. */
  left(session: LiveSession): void {
    if (this.#sessionOf(session.device) === undefined) this.#table.lost(session.device);
  }

  /** Gives up what is waited for. */
  stop(): void {
    this.#announcements.stop();
  }

  #sessionOf(device: string): LiveSession | undefined {
    for (const session of this.#options.sessions) {
      if (session.device === device && session.state.phase === "open") return session;
    }
    return undefined;
  }

  /**
   * The verdict on a message that came by broadcast, as gossipsub's validators give it: `reject` only for what its sender is
   * to blame for, and `ignore` without a look once the sender's budget is used up, or the node's. `from`: the device, hex,
   * that passed it on; what comes from nobody known is charged to the node alone.
   */
  async receive(message: Uint8Array, from?: string): Promise<BroadcastVerdict> {
    const { quotas } = this.#options;
    const isOpen = from === undefined ? quotas.nodeIsOpen : quotas.isOpen(from);
    const peer = from ?? NOBODY;
    if (!isOpen || !this.#pending.take(peer)) return "ignore";
    try {
      this.#charge(from, CHECK);
      this.#charge(from, costOfBytes(message.length));
      const session = from === undefined ? undefined : this.#sessionOf(from);
      return isAnnouncement(message)
        ? await this.#receiveAnnouncement(message, session)
        : await this.#receiveBatch(message, from, session);
    } finally {
      this.#pending.release(peer);
    }
  }

  #charge(from: string | undefined, cost: ReturnType<typeof costOfBytes>): void {
    const { quotas } = this.#options;
    if (from === undefined) quotas.chargeNode(cost.checks);
    else quotas.charge(from, cost);
  }

  async #receiveBatch(
    batch: Uint8Array,
    from: string | undefined,
    session: LiveSession | undefined,
  ): Promise<BroadcastVerdict> {
    const source = new Broadcaster(session, (opened) => {
      this.#charge(from, costOfOpening(opened));
    });
    const outcome = await this.#options.replica.receive(batch, source);
    this.#options.view.received(batch, outcome);
    switch (outcome.kind) {
      case "accepted":
      // A held batch is well signed; peers nearer to what it lacks may need it now.
      case "held":
        return "accept";
      case "duplicate":
      case "dropped":
        return "ignore";
      case "refused":
        return this.#refuse(batch, outcome, session);
    }
  }

  /** Whoever wrote a batch is to blame for all of it, whoever passed it on for what could be seen there. */
  #refuse(
    batch: Uint8Array,
    { reason, detail }: ReceiveOutcome & { readonly kind: "refused" },
    session: LiveSession | undefined,
  ): BroadcastVerdict {
    const blamed =
      isBlamed(reason) && (SEEN_BY_ALL.has(reason) || isOwnOrBroken(batch, session?.device));
    this.#note(session, reason, detail, blamed);
    return blamed ? "reject" : "ignore";
  }

  #note(session: LiveSession | undefined, stage: Refusal, detail: string, blamed: boolean): void {
    if (session === undefined) return;
    const { device } = session;
    this.#options.refused(session, { event: "batch.refused", device, stage, detail, blamed });
  }

  /** Pulls an announced batch from whoever passed the announcement on. */
  async #receiveAnnouncement(
    announcement: Uint8Array,
    session: LiveSession | undefined,
  ): Promise<BroadcastVerdict> {
    const { view, fire, clock } = this.#options;
    const head = headIn(announcement);
    if (typeof head === "string") {
      this.#note(session, "shape", head, true);
      return "reject";
    }
    const { seq } = head;
    const isKnown = (view.headOf(head)?.seq ?? 0) >= seq || view.limitOf(head) < seq;
    if (session === undefined || isKnown || head.space !== view.space) return "ignore";
    const verdict = this.#announcements.verdict(head.hash, announcement, clock.now());
    fire(session, { type: "message", message: { type: "have", heads: [headToTell(head)] } });
    if ((await verdict) !== "reject") return verdict;
    this.#note(session, "signature", "the announcement is not that of its batch", true);
    return "reject";
  }
}

/** Whether a device signed a batch, or its bodies are not those that were signed, which everybody could see. */
function isOwnOrBroken(batch: Uint8Array, device: string | undefined): boolean {
  const { header, bodies } = decodeBatch(batch);
  const isBroken = header.sections.some(({ bodyHash }, i) => {
    const body = bodies[i];
    return body instanceof Uint8Array && toHex(sha256(body)) !== toHex(bodyHash);
  });
  return isBroken || header.replica === device;
}

/** The place of an announced batch, or what is wrong with the announcement. */
function headIn(announcement: Uint8Array): (ReplicaHead & { readonly space: SpaceId }) | string {
  try {
    const { header, hash } = decodeSignedHeader(announcement);
    const { space, replica, incarnation, seq } = header;
    return { space, replica, incarnation, seq, hash };
  } catch (error) {
    return toMeshError(error).message;
  }
}

/** Who brought a batch of a device that is no peer. */
const bringerOf = (source: BatchSource): Bringer =>
  source instanceof LiveSession ? { name: source.device, unasked: source.isHub } : BROADCAST;

const textOf = ({ here, elsewhere }: Routes): string =>
  `${[...here].toSorted().join()} ${[...elsewhere].toSorted().join()}`;
