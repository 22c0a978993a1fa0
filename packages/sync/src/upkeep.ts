// SPDX-License-Identifier: Apache-2.0
import type { Clock, RandomSource } from "@ctxmesh/model";
import type { Conduct } from "./conduct.ts";
import type { LiveSession } from "./live-session.ts";
import { Schedule } from "./schedule.ts";
import { isInSync } from "./session-heads.ts";
import type { SessionEvent } from "./session-state.ts";
import type { ReplicaView, SyncReplica } from "./sync-replica.ts";

/** How often it is looked who may stay, which headers are missing, and what there is to log. */
const LOOK_EVERY_MS = 1_000;
/** Headers that batches have been held for this long are asked for by hash; the usual ways bring most of them sooner. */
const MISSING_AFTER_MS = 1_000;

/** What it looks at, and how sessions hear of it. */
export interface UpkeepOptions {
  readonly replica: Pick<SyncReplica, "missing">;
  readonly view: ReplicaView;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly conduct: Conduct;
  readonly sessions: ReadonlySet<LiveSession>;
  readonly fire: (session: LiveSession, event: SessionEvent) => void;
  /** Claims have run out: those may ask that were passed over. */
  readonly freed: () => void;
}

/** What is looked at once a second: who may stay and does its part, whose digests are due, and which headers are missing. */
export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #schedule: Schedule;
  #lookedMs: number;

  constructor(options: UpkeepOptions) {
    this.#options = options;
    const nowMs = options.clock.now();
    this.#schedule = new Schedule(options.random, nowMs);
    this.#lookedMs = nowMs;
  }

  /** Looks if it is time to; says whether it was. A clock that jumps brings it forward. */
  tick(nowMs: number): boolean {
    if (Math.abs(nowMs - this.#lookedMs) < LOOK_EVERY_MS) return false;
    this.#lookedMs = nowMs;
    this.#look(nowMs);
    return true;
  }

  #look(nowMs: number): void {
    const { replica, view, conduct, sessions, fire, freed } = this.#options;
    if (view.claims.expire(nowMs)) freed();
    conduct.look(nowMs);
    for (const { link, state } of sessions) {
      if (link.isBusy && isInSync(state, view)) link.caughtUp();
    }
    for (const session of sessions) this.#attend(session, nowMs);
    this.#compare(nowMs);
    const hashes = replica.missing(MISSING_AFTER_MS);
    if (hashes.length === 0) return;
    for (const session of sessions) fire(session, { type: "missing", hashes, nowMs });
  }

  /** Asks a remote that has been quiet for long, and ends the session of one that does not do its part. */
  #attend(session: LiveSession, nowMs: number): void {
    const { view, conduct, fire } = this.#options;
    if (session.isClosed) return;
    const absence = session.attendance.look(
      session.state,
      () => !isInSync(session.state, view),
      session.unreadBytes === 0,
    );
    if (absence === undefined) return;
    if (absence === "ask") {
      fire(session, { type: "compare", nowMs });
      return;
    }
    conduct.useless(session, absence, nowMs);
    session.end(absence);
    // One that is silent may have come to a standstill, and costs nothing.
    if (absence.startsWith("its budget")) conduct.closedFor(session, nowMs);
  }

  /** Has those sessions compare digests whose turn it is. */
  #compare(nowMs: number): void {
    const { sessions, fire } = this.#options;
    const open = [...sessions].filter(({ state }) => state.phase === "open");
    const due = this.#schedule.due(
      open.map(({ state }) => state),
      nowMs,
    );
    for (const session of open) {
      if (due.has(session.state)) fire(session, { type: "compare", nowMs });
    }
  }
}
