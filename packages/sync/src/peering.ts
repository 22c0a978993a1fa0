// SPDX-License-Identifier: Apache-2.0
/** Carries out what the state machine of a session asks for. */
import { batchLane, decodeBatch } from "@ctxmesh/codec";
import type { Lane } from "@ctxmesh/codec";
import { LIMITS, toMeshError } from "@ctxmesh/model";
import type { HeaderHash, LinkClass, ReceiveOutcome } from "@ctxmesh/model";
import { Wants } from "@ctxmesh/replica";
import type { ChainSpan, FoundBody } from "@ctxmesh/replica";
import type { Answers } from "./asker.ts";
import { chainKey } from "./chain-map.ts";
import type { Settled } from "./forks.ts";
import { LINK_CLASSES, classOfLane } from "./link-class.ts";
import { ASKS_IN_PUSHES, CONFIRMATIONS_IN_PUSHES, RECORDS_IN_PUSHES } from "./live-session.ts";
import type { LiveSession } from "./live-session.ts";
import { MAX_BATCHES, MAX_HEADERS } from "./messages.ts";
import type { ChainHead, ChainSeq, SyncMessage } from "./messages.ts";
import { isFetching } from "./session-base.ts";
import { step } from "./session.ts";
import type {
  ConfirmedLevel,
  LocalView,
  Pulling,
  SessionEffect,
  SessionEvent,
} from "./session-state.ts";
import type { Records, SyncReplica } from "./sync-replica.ts";
import type { Tailor } from "./tailor.ts";

type EffectOf<Type extends SessionEffect["type"]> = SessionEffect & { readonly type: Type };

/** What it works on, and whom it tells. */
export interface PeeringOptions {
  readonly replica: SyncReplica;
  readonly view: LocalView;
  /** What became of a batch of the session's remote. */
  readonly outcome: (session: LiveSession, outcome: ReceiveOutcome, batch: Uint8Array) => void;
  /** The session's remote, a hub, has these on its disk or under a seal. */
  readonly reached: (session: LiveSession, heads: readonly ChainHead[]) => void;
  /** The same; resolves when it is looked into. */
  readonly confirm: (level: ConfirmedLevel, heads: readonly ChainHead[]) => Promise<void>;
  readonly refusedRecord: (
    session: LiveSession,
    refused: { readonly code: string; readonly message: string },
  ) => void;
  readonly violation: (session: LiveSession, reason: string) => void;
  /** The session has begun to fetch a base, or has ended it. */
  readonly fetching: (session: LiveSession, isFetching: boolean) => void;
  /** What the session has asked for and waits for; undefined: nothing. */
  readonly pulls: (session: LiveSession, asks: Pulling | undefined) => void;
  /** What has to be awaited before more may be taken of the session's remote, if its budget is used up. */
  readonly affordable: (session: LiveSession) => Promise<void> | undefined;
  readonly tailor: Tailor;
  /** Bodies came that were wished for. */
  readonly bodies: (session: LiveSession, bodies: readonly FoundBody[]) => void;
  /** Answers what remotes ask. */
  readonly answers: Answers;
  /** An answer came. */
  readonly answered: (session: LiveSession, id: number, answer: Uint8Array) => void;
}

/** Codes of what is wrong with a base, and was told to be one all the same. */
const BASE_FAULTS: ReadonlySet<string> = new Set([
  "FORMAT_INVALID",
  "INPUT_INVALID",
  "LIMIT_EXCEEDED",
  "SIGNATURE_INVALID",
]);

const NOTHING_ADDED = { added: 0, refused: [] } as const;

/** Bytes of an `acts` message besides its records, and of each of them besides its content. */
const FRAME_BYTES = 64;
const ITEM_BYTES = 5;

/** As many items from the front as fit into `bytes`; one at least. */
function fitting(items: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let used = 0;
  const end = items.findIndex(({ length }, i) => {
    used += length + ITEM_BYTES;
    return i > 0 && used > bytes;
  });
  return end === -1 ? items : items.slice(0, end);
}

const sizeOf = (items: readonly Uint8Array[]): number =>
  items.reduce((sum, { length }) => sum + length + ITEM_BYTES, 0);

/** The first page of some records; acts come first, since a proof may be of a device that they bring. */
function firstPage({ acts, proofs }: Records): Records & { readonly more: boolean } {
  const room = LIMITS.syncMessageBytes - FRAME_BYTES;
  const some = fitting(acts, room);
  const left = some.length < acts.length ? 0 : room - sizeOf(some);
  const first = proofs[0];
  const fits = first !== undefined && first.length + ITEM_BYTES <= left;
  const others = fits ? fitting(proofs, left) : [];
  const more = some.length + others.length < acts.length + proofs.length;
  return { acts: some, proofs: others, more };
}

/** Steps sessions and performs the effects against the replica. */
export class Peering {
  readonly #options: PeeringOptions;

  constructor(options: PeeringOptions) {
    this.#options = options;
  }

  /** Takes an event in; resolves when its effects are done as far as the channel must wait for them. */
  async handle(session: LiveSession, event: SessionEvent): Promise<void> {
    const { pulling } = session.state;
    const wasFetching = isFetching(session.state);
    const { state, effects } = step(session.state, event, this.#options.view);
    session.state = state;
    // Also when it closes: then nothing is on its way any more.
    const asks = state.phase === "open" ? state.pulling : undefined;
    if (asks !== pulling) this.#options.pulls(session, asks);
    session.wasOpen ||= state.phase === "open";
    if (isFetching(state) !== wasFetching) this.#options.fetching(session, !wasFetching);
    for (const effect of effects) await this.#perform(session, effect);
  }

  async #perform(session: LiveSession, effect: SessionEffect): Promise<void> {
    switch (effect.type) {
      case "send":
        this.#send(session, effect.message);
        return;
      case "deliver":
        await (effect.pulled
          ? this.#deliverPulled(session, effect)
          : this.#deliverPushed(session, effect.batches));
        return;
      case "serve":
        await this.#serve(session, effect.spans);
        return;
      case "serve-records":
        this.#serveRecords(session, effect);
        return;
      case "add-records":
        await session.admit(this.#addRecords(session, effect), RECORDS_IN_PUSHES);
        return;
      case "serve-headers":
        await this.#serveHeaders(session, effect.hashes);
        return;
      case "add-headers":
        await session.admit(this.#addHeaders(session, effect), RECORDS_IN_PUSHES);
        return;
      case "serve-bodies":
        await this.#serveBodies(session, effect);
        return;
      case "add-bodies":
        this.#options.bodies(session, effect.bodies);
        return;
      case "serve-ask":
        await session.admit(this.#serveAsk(session, effect), ASKS_IN_PUSHES);
        return;
      case "take-answer":
        this.#options.answered(session, effect.id, effect.answer);
        return;
      case "vouch":
        this.#vouch(session, effect.message);
        return;
      case "confirm":
        this.#options.reached(session, effect.heads);
        await session.admit(
          this.#options.confirm(effect.level, effect.heads),
          CONFIRMATIONS_IN_PUSHES,
        );
        return;
      case "serve-base":
        // Not awaited: a hub may have to make one first.
        this.#serveBase(session, effect).catch((error: unknown) => {
          session.end(toMeshError(error).message);
        });
        return;
      case "take-base":
        await session.admit(this.#takeBase(session, effect), RECORDS_IN_PUSHES);
        return;
      case "close":
        this.#options.violation(session, effect.reason);
        session.end(effect.reason);
    }
  }

  // Sends are not awaited: two ends that serve each other must both go on reading.
  #send(session: LiveSession, message: SyncMessage): void {
    session.post(message);
  }

  #vouch(session: LiveSession, message: SyncMessage): void {
    session
      .posted(message)
      .then(async () => this.handle(session, { type: "vouched" }))
      .catch((error: unknown) => {
        session.end(toMeshError(error).message);
      });
  }

  async #serve(session: LiveSession, spans: readonly ChainSpan[]): Promise<void> {
    const batches: Uint8Array[] = [];
    const sent = new Map<string, ChainSeq>();
    let bytes = 0;
    const { replica } = this.#options;
    const { chunkBytes, isPaced } = session.link;
    const some = isPaced ? await this.#mostUrgent(spans) : spans;
    // Chains of which the remote wants a body that is not here: what comes behind it, it gets from others.
    const ended = new Set<string>();
    for await (const stored of replica.read(some)) {
      const chain = chainKey(stored);
      if (ended.has(chain)) continue;
      const whole = this.#options.tailor.answer(stored.bytes, session);
      if (whole === undefined) {
        ended.add(chain);
        // With which an answer begins is sent all the same, and refused: its header shows whether the chain forks there.
        if (sent.has(chain)) continue;
      }
      const batch = session.withoutExpired(whole ?? stored.bytes);
      if (batches.length > 0 && bytes + batch.length > chunkBytes) break;
      if (batches.length >= MAX_BATCHES) break;
      batches.push(batch);
      bytes += batch.length;
      if (whole === undefined) continue;
      const { replica: writer, incarnation, seq } = stored;
      sent.set(chain, { replica: writer, incarnation, seq });
    }
    session.link.served(bytes);
    session.answer({ type: "batches", batches }, [...sent.values()]);
    await this.handle(session, { type: "served", heads: [...sent.values()] });
  }

  /** The spans of the most urgent lane among them: on a slow link an answer holds nothing that its first batch would have to wait for. */
  async #mostUrgent(spans: readonly ChainSpan[]): Promise<readonly ChainSpan[]> {
    const byClass = new Map<LinkClass, ChainSpan[]>();
    for (const span of spans) {
      const name = classOfLane(await this.#laneOf(span));
      byClass.set(name, [...(byClass.get(name) ?? []), span]);
    }
    return LINK_CLASSES.map((name) => byClass.get(name)).find((some) => some !== undefined) ?? [];
  }

  async #laneOf(span: ChainSpan): Promise<Lane | undefined> {
    for await (const { bytes } of this.#options.replica.read([{ ...span, to: span.from }])) {
      return batchLane(bytes);
    }
    return undefined;
  }

  #serveRecords(session: LiveSession, known: EffectOf<"serve-records">): void {
    const { replica, view } = this.#options;
    const own = replica.recordIds();
    const lacked = replica.readRecords({
      acts: known.acts ?? own.acts,
      forks: known.forks ?? own.forks,
    });
    this.#send(session, { type: "acts", ...firstPage(lacked), records: view.recordsDigest() });
  }

  async #addRecords(session: LiveSession, effect: EffectOf<"add-records">): Promise<void> {
    const { acts, proofs } = effect.records;
    // Nothing is what an answer mostly holds, and would be looked for among all acts.
    const { added, refused } =
      acts.length + proofs.length === 0
        ? NOTHING_ADDED
        : await this.#options.replica.addRecords({ acts, proofs });
    for (const one of refused) this.#options.refusedRecord(session, one);
    await this.handle(session, { type: "records-added", added, more: effect.more });
  }

  async #addHeaders(session: LiveSession, effect: EffectOf<"add-headers">): Promise<void> {
    await this.#options.replica.addHeaders(effect.headers, session);
  }

  async #serveBase(session: LiveSession, { base, part }: EffectOf<"serve-base">): Promise<void> {
    const { bases } = this.#options.replica;
    const piece = base === undefined ? await bases.offer() : await bases.part(base, part, session);
    const { name, bytes } = piece ?? { name: undefined, bytes: new Uint8Array() };
    await this.handle(session, { type: "base-served" });
    this.#send(session, {
      type: "base-part",
      base: name,
      part: piece?.part ?? 0,
      bytes,
    });
  }

  async #takeBase(session: LiveSession, { piece, need }: EffectOf<"take-base">): Promise<void> {
    try {
      const progress = await this.#options.replica.bases.take(piece, need);
      if (progress.kind !== "useless") session.attendance.brought();
      await this.handle(session, { type: "base-taken", progress });
    } catch (error) {
      const { code, message } = toMeshError(error);
      if (BASE_FAULTS.has(code)) this.#options.violation(session, message);
      throw error;
    }
  }

  async #serveHeaders(session: LiveSession, hashes: readonly HeaderHash[]): Promise<void> {
    const found: Uint8Array[] = [];
    let bytes = 0;
    for (const [i, hash] of hashes.entries()) {
      const pause = i === 0 ? undefined : this.#options.affordable(session);
      if (pause !== undefined) await pause;
      const headers = await this.#options.replica.signedHeaders(hash, session);
      found.push(...headers);
      bytes += sizeOf(headers);
      if (bytes > LIMITS.syncChunkBytes || found.length >= MAX_HEADERS) break;
    }
    // What is cut off is wanted next, since the rest names it. But a whole batch that explains a header has to leave room for that.
    const two = Math.min(sizeOf(found.slice(0, 2)), 2 * LIMITS.syncChunkBytes);
    const headers = fitting(found.slice(0, MAX_HEADERS), Math.max(two, LIMITS.syncChunkBytes));
    this.#send(session, { type: "headers", headers });
  }

  async #serveAsk(session: LiveSession, { id, question }: EffectOf<"serve-ask">): Promise<void> {
    const answer = await this.#options.answers(question, session.asked);
    this.#send(session, { type: "answer", id, answer });
  }

  async #serveBodies(
    session: LiveSession,
    { wanted, only }: EffectOf<"serve-bodies">,
  ): Promise<void> {
    const among = only === undefined ? undefined : new Wants(only);
    const bodies = await this.#options.replica.omitted.find(wanted, among, session);
    this.#send(session, { type: "bodies", bodies });
  }

  async #deliverPulled(
    session: LiveSession,
    { batches, probing }: EffectOf<"deliver">,
  ): Promise<void> {
    const receiving: Promise<ReceiveOutcome>[] = [];
    for (const batch of batches) {
      const pause = receiving.length === 0 ? undefined : this.#options.affordable(session);
      if (pause !== undefined) await pause;
      if (session.isClosed) return;
      const outcome = this.#receive(session, batch);
      // It is looked at below, and must not count as unhandled until then.
      outcome.catch(() => undefined);
      receiving.push(outcome);
    }
    const outcomes = await Promise.all(receiving);
    const accepted = outcomes.some(({ kind }) => kind === "accepted");
    const settled =
      probing || !accepted ? outcomes.flatMap((outcome, i) => settledBy(outcome, batches[i])) : [];
    await this.handle(session, { type: "delivered", accepted, settled });
  }

  /** Hands pushes over without waiting for the disk, up to a bound; then the channel is read no further. */
  async #deliverPushed(session: LiveSession, batches: readonly Uint8Array[]): Promise<void> {
    for (const batch of batches) {
      await session.admit(this.#receive(session, batch));
    }
  }

  async #receive(session: LiveSession, batch: Uint8Array): Promise<ReceiveOutcome> {
    const outcome = await this.#options.replica.receive(batch, session);
    this.#options.outcome(session, outcome, batch);
    return outcome;
  }
}

/** What the outcome of a batch says of its position; nothing, if it is none. */
function settledBy(outcome: ReceiveOutcome, batch: Uint8Array | undefined): readonly Settled[] {
  if (batch === undefined || outcome.kind === "dropped") return [];
  const refused = outcome.kind === "refused" ? outcome.reason : undefined;
  if (refused === "frame-size" || refused === "shape") return [];
  const { replica, incarnation, seq } = decodeBatch(batch).header;
  const known = outcome.kind === "duplicate" || refused === "equivocation";
  return [{ replica, incarnation, seq, same: known ? refused === undefined : undefined }];
}
