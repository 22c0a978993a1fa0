// SPDX-License-Identifier: Apache-2.0
/** Asks remotes what they know, and what they decide; what is asked, and what the answer means, is not known here. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { CancelSignal, Clock, DeviceKey } from "@ctxmesh/model";
import type { LiveSession } from "./live-session.ts";
import type { SessionEvent } from "./session-state.ts";

/** A remote that can be asked; another one for each session. */
export interface Askable {
  readonly device: DeviceKey;
  readonly role: "agent" | "hub";
}

/** Who asks; the same object as long as its session lasts. */
export type AskedBy = Askable;

/** Answers a question of a remote; never rejects. */
export type Answers = (question: Uint8Array, by: AskedBy) => Promise<Uint8Array>;

/** What came of a question: an answer; none in time; the remote has gone; or it was not asked at all, since it has too many to answer. */
export type AskOutcome =
  | { readonly kind: "answer"; readonly answer: Uint8Array }
  | { readonly kind: "late" | "gone" | "unasked" };

/** What asking works on. */
export interface AskerOptions {
  readonly clock: Clock;
  readonly sessions: ReadonlySet<LiveSession>;
  /** Steps a session. */
  readonly fire: (session: LiveSession, event: SessionEvent) => void;
}

interface Pending {
  readonly resolve: (outcome: AskOutcome) => void;
  readonly askedMs: number;
  readonly withinMs: number;
}

/** See the top of the file. */
export class Asker {
  readonly #options: AskerOptions;
  readonly #pending = new Map<LiveSession, Map<number, Pending>>();
  readonly #listeners = new Set<() => void>();
  #asked = 0;

  constructor(options: AskerOptions) {
    this.#options = options;
  }

  /** The remotes that can be asked now, each at most once, in the order in which they came. */
  remotes(): readonly Askable[] {
    const open = [...this.#options.sessions].filter(({ state }) => state.phase === "open");
    return [...new Map(open.map((session) => [session.device, session.asked])).values()];
  }

  /** Asks one of {@link remotes}. `signal` ends the wait with its reason. */
  async ask(
    of: Askable,
    question: Uint8Array,
    { withinMs, signal }: { readonly withinMs: number; readonly signal?: CancelSignal | undefined },
  ): Promise<AskOutcome> {
    const session = [...this.#options.sessions].find(({ asked }) => asked === of);
    if (session?.state.phase !== "open") return { kind: "unasked" };
    const waiting = this.#pending.get(session) ?? new Map<number, Pending>();
    if (waiting.size >= LIMITS.asksPerRemote) return { kind: "unasked" };
    if (signal?.aborted === true) throw reasonOf(signal);
    const id = ++this.#asked;
    const { promise, resolve, reject } = Promise.withResolvers<AskOutcome>();
    const aborted = (): void => {
      waiting.delete(id);
      reject(reasonOf(signal));
    };
    signal?.addEventListener("abort", aborted);
    waiting.set(id, { resolve, askedMs: this.#options.clock.now(), withinMs });
    this.#pending.set(session, waiting);
    this.#options.fire(session, { type: "ask", id, question });
    return promise.finally(() => {
      signal?.removeEventListener("abort", aborted);
    });
  }

  /** An answer came; one that nobody waits for any more is passed over. */
  answered(session: LiveSession, id: number, answer: Uint8Array): void {
    this.#settle(session, id, { kind: "answer", answer });
  }

  /** A session is over. */
  left(session: LiveSession): void {
    for (const id of this.#pending.get(session)?.keys() ?? []) {
      this.#settle(session, id, { kind: "gone" });
    }
    this.#pending.delete(session);
  }

  /** Passes time. A clock that was set back must not keep anybody waiting. */
  tick(nowMs: number): void {
    for (const [session, waiting] of this.#pending) {
      for (const [id, { askedMs, withinMs }] of waiting) {
        const passedMs = nowMs - askedMs;
        if (passedMs >= withinMs || passedMs < 0) this.#settle(session, id, { kind: "late" });
      }
    }
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` on each tick. Returns how to stop. */
  onTick(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #settle(session: LiveSession, id: number, outcome: AskOutcome): void {
    const waiting = this.#pending.get(session);
    waiting?.get(id)?.resolve(outcome);
    waiting?.delete(id);
  }

  /** Gives up what is waited for. */
  stop(): void {
    for (const session of this.#pending.keys()) this.left(session);
  }
}

const reasonOf = (signal: CancelSignal | undefined): MeshError =>
  signal?.reason instanceof MeshError
    ? signal.reason
    : new MeshError("ABORTED", "the call was called off");
