// SPDX-License-Identifier: Apache-2.0
/** Answers what other nodes ask: how far this node is, and at a hub what its log of record says and decides. */
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { Clock, MeshErrorCode, VisibleFact } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { Answers, AskedBy } from "./asker.ts";
import { chainKey } from "./chain-map.ts";
import type { ChainSeq } from "./message-parts.ts";
import { decodeQuestion, encodeAnswer } from "./questions.ts";
import type { Answer, Question } from "./questions.ts";

/** What a log of record is to whoever answers for it. */
export interface LogOfRecord {
  /** Resolves once everything that it has now is here; rejects with why not, within so many milliseconds. */
  current(withinMs: number): Promise<void>;
  /** Throws why it may lack what was acknowledged. */
  assertWhole(): Promise<void>;
  /** Throws why nothing is decided here. */
  assertDecides(): Promise<void>;
}

/** What a decider is made of. */
export interface DeciderOptions {
  readonly replica: Pick<Replica, "get" | "heads" | "proposals" | "roster">;
  readonly clock: Clock;
  /** Hubs only. */
  readonly log?: LogOfRecord;
}

/** What was told somebody of the heads here. */
interface Told {
  readonly number: number;
  readonly heads: ReadonlyMap<string, ChainSeq>;
}

/** How long a question that says nothing of it may take, in milliseconds. */
const WITHIN_MS = 5_000;

/** With these nothing was written, nor will be. */
const NOT_MADE: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  "ABORTED",
  "ENGINE_FENCED",
  "FORMAT_INVALID",
  "INPUT_INVALID",
  "LIMIT_EXCEEDED",
  "POLICY_REFUSED",
  "VERSION_CONFLICT",
]);

const noHub = (): MeshError =>
  new MeshError("POLICY_REFUSED", "this node is an agent, and only a hub decides");

/** Of a node that answers nothing. */
export const answersNothing: Answers = async () => {
  const error = new MeshError("POLICY_REFUSED", "this node answers no questions");
  return Promise.resolve(encodeAnswer({ kind: "refused", error }));
};

function fitting(answer: Uint8Array): Uint8Array {
  if (answer.length <= LIMITS.askBytes) return answer;
  const size = `${String(answer.length)} bytes, the limit is ${String(LIMITS.askBytes)} (askBytes)`;
  throw new MeshError("LIMIT_EXCEEDED", `the answer has ${size}`);
}

/** See the top of the file. */
export class Decider {
  readonly #options: DeciderOptions;
  /** By session: it ends with it. */
  readonly #told = new WeakMap<AskedBy, Told>();

  constructor(options: DeciderOptions) {
    this.#options = options;
  }

  /** Answers a question of a remote, untrusted; never rejects. */
  readonly answer = async (question: Uint8Array, by: AskedBy): Promise<Uint8Array> => {
    try {
      return fitting(encodeAnswer(await this.#answer(decodeQuestion(question), by)));
    } catch (error) {
      return encodeAnswer({ kind: "refused", error: toMeshError(error) });
    }
  };

  async #answer(question: Question, by: AskedBy): Promise<Answer> {
    switch (question.kind) {
      case "frontier":
        await this.#caughtUp(question.decides === true);
        return this.#frontier(question.since, by);
      case "read":
        return { kind: "read", fact: await this.#read(question) };
      case "set":
        return this.#set(question, by);
      case "roster":
        return { kind: "roster", ...this.#options.replica.roster() };
    }
  }

  /** Resolves once everything is here that the log of record has; of an agent, where nobody has to decide, at once. */
  async #caughtUp(decides: boolean): Promise<void> {
    const log = decides ? this.#log() : this.#options.log;
    await (decides ? log?.assertDecides() : log?.assertWhole());
    await log?.current(WITHIN_MS);
  }

  async #read({ doc, key }: Question & { kind: "read" }): Promise<VisibleFact | undefined> {
    await this.#caughtUp(true);
    return this.#options.replica.get(doc, key);
  }

  #log(): LogOfRecord {
    const { log } = this.#options;
    if (log === undefined) throw noHub();
    return log;
  }

  /** The heads that moved since an answer; all, if that was not the last one. */
  #frontier(since: number, by: AskedBy): Answer {
    const told = this.#told.get(by);
    const known = told?.number === since ? told.heads : new Map<string, ChainSeq>();
    const number = (told?.number ?? 0) + 1;
    const heads = new Map<string, ChainSeq>();
    const moved: ChainSeq[] = [];
    for (const { replica, incarnation, seq } of this.#options.replica.heads()) {
      const head = { replica, incarnation, seq };
      const chain = chainKey(head);
      heads.set(chain, head);
      if (known.get(chain)?.seq !== seq) moved.push(head);
    }
    this.#told.set(by, { number, heads });
    return { kind: "frontier", number, heads: moved };
  }

  async #set(question: Question & { kind: "set" }, { device }: AskedBy): Promise<Answer> {
    const { replica, clock } = this.#options;
    const { request, doc, fact, expected, withinMs } = question;
    const log = this.#log();
    await log.assertDecides();
    const dueMs = clock.now() + Math.min(withinMs, LIMITS.askMs);
    for (;;) {
      await log.current(Math.max(1, dueMs - clock.now()));
      try {
        const condition = { expected, dueMs };
        const made = await replica.proposals.makeFor({ device, request }, doc, fact, condition);
        return { kind: "set", ...made };
      } catch (error) {
        const { code, message } = toMeshError(error);
        if (!NOT_MADE.has(code)) throw new MeshError("OUTCOME_UNKNOWN", message, { cause: error });
        // Another hub was first with something about the key: what that was is here in a moment.
        if (code !== "ENGINE_FENCED" || clock.now() >= dueMs) throw error;
      }
    }
  }
}
