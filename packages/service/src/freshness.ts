// SPDX-License-Identifier: Apache-2.0
/**
 * How fresh this node can show that it is. It asks a hub for its heads, and once it has everything up to them, it has everything that the hub had when it
 * was asked: by this node's own clocks, so that nobody else's matters. In a space without hubs it asks every other active member.
 *
 * How long ago that was is the longer time of two clocks': the wall clock may be set back, and the other one may stand still while the machine sleeps.
 */
import { roleAt } from "@ctxmesh/membership";
import { MeshError } from "@ctxmesh/model";
import type { Clock } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { decodeAnswer, encodeQuestion } from "@ctxmesh/sync";
import type { Askable, Asker, ChainSeq } from "@ctxmesh/sync";

const chainKey = ({ replica, incarnation }: ChainSeq): string => replica + incarnation;

/** What freshness is shown with. */
export interface FreshnessOptions {
  readonly replica: Pick<
    Replica,
    "device" | "limitOf" | "onApplied" | "onRecords" | "seqOf" | "space"
  >;
  readonly clock: Clock;
  /** Milliseconds since some moment; never goes back. */
  readonly elapsed: () => number;
  readonly asker: Pick<Asker, "ask" | "onTick" | "remotes">;
}

/** What a remote has said of its heads. */
interface Asked {
  /** Of its last answer. */
  number: number;
  /** Those that are not here. */
  readonly owed: Map<string, ChainSeq>;
}

/** A moment by both clocks. */
interface Moment {
  readonly wallMs: number;
  readonly elapsedMs: number;
}

/** What is being asked. */
interface UnderWay {
  readonly asked: Moment;
  /** When it is given up at the latest, by the clock that never goes back. */
  readonly dueMs: number;
  readonly asking: Promise<number>;
}

interface Waiter {
  readonly owed: Map<string, ChainSeq>;
  readonly since: Moment;
  readonly withinMs: number;
  readonly resolve: (isHere: boolean) => void;
}

/** See the top of the file. */
export class Freshness {
  readonly #options: FreshnessOptions;
  /** By session. */
  readonly #asked = new WeakMap<Askable, Asked>();
  readonly #waiters = new Set<Waiter>();
  readonly #stops: readonly (() => void)[];
  /** When what was asked last, of what was shown. */
  #shown: Moment | undefined;
  /** The last time that was asked, if the answer is not here yet. */
  #underWay: UnderWay | undefined;

  constructor(options: FreshnessOptions) {
    this.#options = options;
    const { replica, asker } = options;
    const look = (): void => {
      this.#look();
    };
    const tick = (): void => {
      this.#tick();
    };
    this.#stops = [replica.onApplied(look), replica.onRecords(look), asker.onTick(tick)];
  }

  #now(): Moment {
    return { wallMs: this.#options.clock.now(), elapsedMs: this.#options.elapsed() };
  }

  /** How long ago a moment was, in milliseconds. */
  #since({ wallMs, elapsedMs }: Moment): number {
    const now = this.#now();
    return Math.max(now.wallMs - wallMs, now.elapsedMs - elapsedMs);
  }

  /** Everything that a hub had at this moment is here, Unix milliseconds by our clock; in a space without hubs, that every active member had. Undefined: nothing shows it. */
  get asOf(): number | undefined {
    return this.#shown?.wallMs;
  }

  /** Hubs that can be asked, those that came first, first. */
  hubs(): readonly Askable[] {
    return this.#options.asker.remotes().filter(({ role }) => role === "hub");
  }

  /**
   * Resolves with a moment, not more than `maxMs` before now, such that everything is here which a hub had then: one that was shown already, or by asking now, which
   * may take `withinMs`. Rejects with `STALE`, at once when nobody is connected who would have to be asked.
   */
  async within(maxMs: number, withinMs: number): Promise<number> {
    const shown = this.#shown;
    if (shown !== undefined && this.#since(shown) <= maxMs) return shown.wallMs;
    const dueMs = this.#options.elapsed() + withinMs;
    const under = this.#underWay;
    // One that may take longer than this read may is not waited for.
    if (under !== undefined && this.#since(under.asked) <= maxMs && under.dueMs <= dueMs) {
      return this.#share(under, maxMs, dueMs);
    }
    const asked = this.#now();
    const asking = this.#ask(asked, withinMs, false);
    const mine = { asked, dueMs, asking };
    this.#underWay = mine;
    return asking.finally(() => {
      if (this.#underWay === mine) this.#underWay = undefined;
    });
  }

  /** What was asked for another read; when that ran out of time and this one has some left, it asks again. */
  async #share(under: UnderWay, maxMs: number, dueMs: number): Promise<number> {
    try {
      return await under.asking;
    } catch (error) {
      const leftMs = dueMs - this.#options.elapsed();
      if (this.#options.elapsed() < under.dueMs || leftMs < 1) throw error;
      return this.within(maxMs, leftMs);
    }
  }

  /**
   * Resolves once everything is here that was in the log of record when this was called, which may take `withinMs`. Rejects with why a hub does not decide, or with
   * `STALE`.
   */
  async current(withinMs: number): Promise<void> {
    await this.#ask(this.#now(), withinMs, true);
  }

  async #ask(asked: Moment, withinMs: number, decides: boolean): Promise<number> {
    const groups = this.#whom();
    const shown = await Promise.all(
      groups.map(async (some) => this.#askAny(some, withinMs, decides)),
    );
    if (!shown.every(Boolean)) throw this.stale("what others have did not come in time");
    if (asked.elapsedMs >= (this.#shown?.elapsedMs ?? 0)) this.#shown = asked;
    return asked.wallMs;
  }

  /** Why an answer is not fresh enough. */
  stale(why: string): MeshError {
    const age = this.#shown && this.#since(this.#shown);
    const shown =
      age === undefined
        ? "nothing shows how fresh this node is"
        : `this node is known to be in step as of ${String(Math.round(age))} ms ago`;
    return new MeshError("STALE", `${shown}; ${why}`, {
      field: "maxStalenessMs",
      remedy:
        "allow for more staleness, read eventual, or see why: ctxmesh status lists who is connected",
    });
  }

  /** Groups of remotes, of each of which one has to answer. Throws `STALE`. */
  #whom(): readonly (readonly Askable[])[] {
    const { replica, asker, clock } = this.#options;
    const { space, device } = replica;
    const nowMs = clock.now();
    const active = [...space.grants.entries()].filter(
      ([member]) => member !== device && roleAt(space, member, nowMs) !== undefined,
    );
    const isHub = ([, grants]: (typeof active)[number]): boolean =>
      grants.some(({ service }) => service === "hub");
    if (active.some(isHub)) {
      const hubs = this.hubs();
      if (hubs.length === 0) throw this.stale("no hub is connected");
      return [hubs];
    }
    const remotes = new Map(asker.remotes().map((remote) => [remote.device, remote]));
    return active.map(([member]) => {
      const remote = remotes.get(member);
      if (remote !== undefined) return [remote];
      throw this.stale(`${member.slice(0, 8)}, an active member, is not connected`);
    });
  }

  async #askAny(remotes: readonly Askable[], withinMs: number, decides: boolean): Promise<boolean> {
    const { clock } = this.#options;
    const dueMs = clock.now() + withinMs;
    let refusal: MeshError | undefined;
    for (const remote of remotes) {
      const leftMs = dueMs - clock.now();
      if (leftMs <= 0) break;
      const said = await this.#askOne(remote, leftMs, decides);
      if (said === true) return true;
      if (said !== false) refusal = said;
    }
    if (decides && refusal !== undefined) throw refusal;
    return false;
  }

  /** Whether all that a remote has is here; or why it says nothing of it. */
  async #askOne(remote: Askable, withinMs: number, decides: boolean): Promise<boolean | MeshError> {
    const { asker, clock } = this.#options;
    const asked = this.#asked.get(remote) ?? { number: 0, owed: new Map<string, ChainSeq>() };
    this.#asked.set(remote, asked);
    const dueMs = clock.now() + withinMs;
    const question = encodeQuestion({ kind: "frontier", since: asked.number, decides });
    const outcome = await asker.ask(remote, question, { withinMs });
    if (outcome.kind !== "answer") return false;
    const answer = decodeAnswer(outcome.answer);
    if (answer.kind === "refused") return answer.error;
    if (answer.kind !== "frontier") return false;
    // Answers may come in another order than they were made in.
    asked.number = Math.max(asked.number, answer.number);
    for (const head of answer.heads) {
      const chain = chainKey(head);
      if ((asked.owed.get(chain)?.seq ?? 0) < head.seq) asked.owed.set(chain, head);
    }
    return this.#untilHere(asked.owed, dueMs - clock.now());
  }

  /** Waits until a batch is here, so many milliseconds at most; resolves with whether it is. */
  async reach(head: ChainSeq, withinMs: number): Promise<boolean> {
    return this.#untilHere(new Map([[chainKey(head), head]]), withinMs);
  }

  async #untilHere(owed: Map<string, ChainSeq>, withinMs: number): Promise<boolean> {
    if (this.#isHere(owed)) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#waiters.add({ owed, since: this.#now(), withinMs, resolve });
    return promise;
  }

  /** Whether everything is here; what does not count here is not waited for. */
  #isHere(owed: Map<string, ChainSeq>): boolean {
    const { replica } = this.#options;
    for (const [chain, { replica: device, incarnation, seq }] of owed) {
      const wanted = Math.min(seq, replica.limitOf(device, incarnation));
      if (replica.seqOf(device, incarnation) < wanted) return false;
      owed.delete(chain);
    }
    return true;
  }

  #look(): void {
    for (const waiter of this.#waiters) {
      if (!this.#isHere(waiter.owed)) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(true);
    }
  }

  #tick(): void {
    for (const waiter of this.#waiters) {
      if (this.#since(waiter.since) < waiter.withinMs) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(false);
    }
  }

  /** Follows nothing any more; whoever waits hears that it is not fresh. */
  stop(): void {
    for (const stop of this.#stops) stop();
    for (const { resolve } of this.#waiters) resolve(false);
    this.#waiters.clear();
  }
}
