// SPDX-License-Identifier: Apache-2.0
/** Fetches bodies that were left out here from whoever has them, one remote after the other. */
import type { Clock, Subscription } from "@ctxmesh/model";
import type { FoundBody, SectionRef } from "@ctxmesh/replica";
import { MAX_BODIES } from "./body-messages.ts";
import type { LiveSession } from "./live-session.ts";
import type { SessionEvent } from "./session-state.ts";
import type { SyncReplica } from "./sync-replica.ts";

/** How long a remote has for an answer; even a thin link carries 256 KiB in eight seconds, and has other things to carry. */
export const FETCH_WITHIN_MS = 30_000;

/** What fetching came to. */
export interface FetchOutcome {
  /** Sections that are here now, and their bytes. */
  readonly filled: number;
  readonly bytes: number;
  /** Sections that a remote has, in which there is nothing of what was asked for. */
  readonly unwanted: number;
  /** What nobody who was asked has. */
  readonly unavailable: readonly SectionRef[];
  /** The devices that were asked, hex. */
  readonly asked: readonly string[];
}

/** What fetching works on. */
export interface FetcherOptions {
  readonly replica: Pick<SyncReplica, "omitted">;
  readonly clock: Clock;
  readonly sessions: ReadonlySet<LiveSession>;
  /** Steps a session. */
  readonly fire: (session: LiveSession, event: SessionEvent) => void;
  /** A session's remote sent bodies that nobody signed. */
  readonly wrong: (session: LiveSession) => void;
}

interface Pending {
  readonly resolve: (bodies: readonly FoundBody[] | undefined) => void;
  readonly dueMs: number;
}

const nameOf = ({ hash, section }: SectionRef): string => `${hash} ${String(section)}`;

/** Those who have most, first: hubs, then whoever keeps everything. */
const rank = ({ isHub, state }: LiveSession): number =>
  isHub ? 0 : state.keeps === undefined ? 1 : 2;

/** See the top of the file. */
export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #pending = new Map<LiveSession, Pending>();

  constructor(options: FetcherOptions) {
    this.#options = options;
  }

  /**
   * Asks for so many sections (`MAX_BODIES` at most), of facts only those with something that `only` wants, until they are here or everybody
   * who is connected was asked. Rejects as `OmittedContent.add`.
   */
  async fetch(
    wanted: readonly SectionRef[],
    only: Subscription | undefined,
  ): Promise<FetchOutcome> {
    const left = new Map(wanted.slice(0, MAX_BODIES).map((ref) => [nameOf(ref), ref]));
    const sum = { filled: 0, bytes: 0, unwanted: 0 };
    const asked = new Set<string>();
    for (const session of this.#inOrder()) {
      // As long as it has some; what does not fit into one answer comes with the next.
      while (left.size > 0) {
        const bodies = await this.#ask(session, [...left.values()], only);
        if (bodies !== undefined) asked.add(session.device);
        if (bodies === undefined || bodies.length === 0) break;
        const here = bodies.flatMap(({ body, ...ref }) =>
          body === null ? [] : [{ ...ref, body }],
        );
        const outcome = await this.#options.replica.omitted.add(here, session);
        sum.filled += outcome.filled;
        sum.bytes += outcome.bytes;
        if (outcome.wrong > 0) {
          this.#options.wrong(session);
          break;
        }
        sum.unwanted += bodies.length - here.length;
        for (const ref of bodies) left.delete(nameOf(ref));
      }
      if (left.size === 0) break;
    }
    return { ...sum, unavailable: [...left.values()], asked: [...asked] };
  }

  #inOrder(): readonly LiveSession[] {
    return [...this.#options.sessions].toSorted((a, b) => rank(a) - rank(b));
  }

  /** The answer of a remote; undefined when it gives none, or is busy with another wish. */
  async #ask(
    session: LiveSession,
    wanted: readonly SectionRef[],
    only: Subscription | undefined,
  ): Promise<readonly FoundBody[] | undefined> {
    const { phase, fetching } = session.state;
    if (phase !== "open" || fetching !== undefined || this.#pending.has(session)) return undefined;
    const { promise, resolve } = Promise.withResolvers<readonly FoundBody[] | undefined>();
    const dueMs = this.#options.clock.now() + FETCH_WITHIN_MS;
    this.#pending.set(session, { resolve, dueMs });
    this.#options.fire(session, { type: "fetch", wanted, only });
    return promise;
  }

  #settle(session: LiveSession, bodies: readonly FoundBody[] | undefined): void {
    this.#pending.get(session)?.resolve(bodies);
    this.#pending.delete(session);
  }

  /** An answer came. */
  arrived(session: LiveSession, bodies: readonly FoundBody[]): void {
    this.#settle(session, bodies);
  }

  /** A session is over. */
  left(session: LiveSession): void {
    this.#settle(session, undefined);
  }

  /** Passes time: whoever does not answer is not waited for. */
  tick(nowMs: number): void {
    for (const [session, { dueMs }] of this.#pending) {
      // A clock that was set back must not put it off.
      if (nowMs >= dueMs || nowMs < dueMs - FETCH_WITHIN_MS) this.left(session);
    }
  }

  /** Gives up what is waited for. */
  stop(): void {
    for (const session of this.#pending.keys()) this.left(session);
  }
}
