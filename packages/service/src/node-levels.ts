// SPDX-License-Identifier: Apache-2.0
/** Reads by level of consistency, and writes with a condition: decided here, or at a hub. */
import { LIMITS, MeshError, formatFrontierToken, parseDocumentName, toHex } from "@ctxmesh/model";
import type {
  Clock,
  CompareOptions,
  CompareReceipt,
  FactInput,
  LevelService,
  LeveledFact,
  LeveledFacts,
  ListQuery,
  MeshErrorCode,
  RandomSource,
  ReadLevel,
  VisibleFact,
} from "@ctxmesh/model";
import { encodeProposed } from "@ctxmesh/replica";
import type { Replica } from "@ctxmesh/replica";
import { decodeAnswer, encodeQuestion } from "@ctxmesh/sync";
import type { Answer, Asker, LogOfRecord, Question } from "@ctxmesh/sync";
import { levelFor } from "./default-level.ts";
import type { Freshness } from "./freshness.ts";
import { assertListQuery } from "./list-query.ts";

/** What levels are made of: an agent asks, a hub has the log of record. */
export interface NodeLevelsOptions {
  readonly replica: Pick<Replica, "get" | "list" | "proposals" | "schemas" | "subscription">;
  readonly clock: Clock;
  readonly random: RandomSource;
  /** Agents only. */
  readonly remotes?: { readonly asker: Asker; readonly freshness: Freshness };
  /** Hubs only. */
  readonly log?: LogOfRecord;
}

/** Once a hub has decided, how long a writer waits to see it here, in milliseconds. */
const SEEN_MS = 2_000;
/** What another hub may answer better. */
const ELSEWHERE: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  "CLOSED",
  "ENGINE_UNAVAILABLE",
  "READ_BEHIND",
]);

const invalid = (field: string, message: string): MeshError =>
  new MeshError("INPUT_INVALID", message, { field });

function millisecondsOf(field: string, value: number, most: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw invalid(field, `${field} must be a whole number of milliseconds from 1 to ${String(most)}`);
}

/** How stale an answer may be at most, in milliseconds; undefined for what does not matter. Throws `INPUT_INVALID`. */
function stalenessOf({ consistency = "eventual", maxStalenessMs }: ReadLevel): number | undefined {
  if (!["eventual", "bounded", "strong"].includes(consistency)) {
    throw invalid("consistency", "consistency must be eventual, bounded, strong");
  }
  if ((consistency === "bounded") === (maxStalenessMs === undefined)) {
    throw invalid("maxStalenessMs", "maxStalenessMs belongs to bounded reads, which need it");
  }
  if (maxStalenessMs !== undefined) {
    return millisecondsOf("maxStalenessMs", maxStalenessMs, LIMITS.stalenessMs);
  }
  return consistency === "strong" ? 0 : undefined;
}

const timeoutOf = ({ timeoutMs = LIMITS.askMs }: Pick<ReadLevel, "timeoutMs">): number =>
  millisecondsOf("timeoutMs", timeoutMs, LIMITS.askMs);

const noHub = (what: string): MeshError =>
  new MeshError("UNREACHABLE", `no hub is connected, and ${what} is decided at one`, {
    remedy:
      "try again, or go on without: eventual reads and writes need no hub; ctxmesh status lists who is connected",
  });

const silent = (timeoutMs: number): MeshError =>
  new MeshError("UNREACHABLE", `no hub answered within ${String(timeoutMs)} ms`, {
    remedy: "try again, or read eventual",
  });

const unknown = (request: string, why: string): MeshError =>
  new MeshError("OUTCOME_UNKNOWN", `${why}: whether the write was made is not known`, {
    remedy: `read the key strong: its candidate with ${request} in its basis is this write; to ask again with the same version is safe`,
  });

const notHere = (): MeshError =>
  new MeshError("POLICY_REFUSED", "a hub does not write facts", {
    remedy: "write at an agent; with consistency strong the hub decides",
  });

/** The levels of a node. */
export class NodeLevels implements LevelService {
  readonly #options: NodeLevelsOptions;

  constructor(options: NodeLevelsOptions) {
    this.#options = options;
  }

  async read(doc: string, key: string, asked: ReadLevel = {}): Promise<LeveledFact> {
    const { replica, log, remotes } = this.#options;
    const name = parseDocumentName(doc);
    const level = levelFor(replica, name, key, asked);
    const staleMs = stalenessOf(level);
    const timeoutMs = timeoutOf(level);
    const here = (): VisibleFact | undefined => replica.get(name, key);
    if (staleMs === undefined) return this.#replied(here());
    if (log !== undefined) return this.#ofRecord(log, level, timeoutMs, here);
    if (remotes === undefined) throw noHub("it");
    if (level.consistency === "strong") return this.#readAtHub(name, key, timeoutMs, level);
    await ended(remotes.freshness.within(staleMs, timeoutMs), level);
    const fact = here();
    // Where a part is left out, what is here may be less than there is, however fresh.
    const isPart = replica.subscription !== undefined && (fact === undefined || fact.incomplete);
    if (isPart === true) return this.#readAtHub(name, key, timeoutMs, level);
    return this.#replied(fact);
  }

  async readAll(query: ListQuery, level: ReadLevel = {}): Promise<LeveledFacts> {
    const { replica, log, remotes, clock } = this.#options;
    assertListQuery(query);
    const staleMs = stalenessOf(level);
    const timeoutMs = timeoutOf(level);
    if (staleMs !== undefined && log !== undefined) {
      const asOf = clock.now();
      await this.#current(log, level, timeoutMs);
      return { from: "hub", asOf, facts: replica.list(query) };
    }
    if (staleMs !== undefined) {
      if (remotes === undefined) throw noHub("it");
      const { freshness } = remotes;
      const isStrong = level.consistency === "strong";
      if (isStrong && freshness.hubs().length === 0) throw noHub("a strong read");
      const inStep: Promise<unknown> = isStrong
        ? freshness.current(timeoutMs)
        : freshness.within(staleMs, timeoutMs);
      await ended(inStep, level);
    }
    return { ...this.#origin(), facts: replica.list(query) };
  }

  #origin(): Pick<LeveledFact, "asOf"> & { readonly from: "replica" } {
    const asOf = this.#options.remotes?.freshness.asOf;
    return { from: "replica", ...(asOf === undefined ? {} : { asOf }) };
  }

  #replied(fact: VisibleFact | undefined): LeveledFact {
    const origin = this.#origin();
    return fact === undefined ? origin : { ...origin, fact };
  }

  async #current(log: LogOfRecord, level: ReadLevel, timeoutMs: number): Promise<void> {
    await (level.consistency === "strong" ? log.assertDecides() : log.assertWhole());
    await ended(log.current(timeoutMs), level);
  }

  /** The answer of a hub itself. */
  async #ofRecord(
    log: LogOfRecord,
    level: ReadLevel,
    timeoutMs: number,
    here: () => VisibleFact | undefined,
  ): Promise<LeveledFact> {
    const asOf = this.#options.clock.now();
    await this.#current(log, level, timeoutMs);
    const fact = here();
    return { from: "hub", asOf, ...(fact === undefined ? {} : { fact }) };
  }

  async #readAtHub(
    doc: ReturnType<typeof parseDocumentName>,
    key: string,
    timeoutMs: number,
    { signal }: ReadLevel,
  ): Promise<LeveledFact> {
    const { clock, remotes } = this.#options;
    const asOf = clock.now();
    const hubs = remotes?.freshness.hubs() ?? [];
    const question = encodeQuestion({ kind: "read", doc, key });
    let last = hubs.length === 0 ? noHub("a strong read") : silent(timeoutMs);
    for (const hub of hubs) {
      const withinMs = asOf + timeoutMs - clock.now();
      const outcome = await remotes?.asker.ask(hub, question, { withinMs, signal });
      if (outcome?.kind === "late") break;
      if (outcome?.kind !== "answer") continue;
      const answer = decodeAnswer(outcome.answer);
      if (answer.kind === "read") {
        return { from: "hub", asOf, ...(answer.fact === undefined ? {} : { fact: answer.fact }) };
      }
      last = errorOf(answer);
      if (!ELSEWHERE.has(last.code)) break;
    }
    throw last;
  }

  async compareAndSet(
    doc: string,
    fact: FactInput,
    expected: string | null,
    options: CompareOptions = {},
  ): Promise<CompareReceipt> {
    const { consistency = "eventual" } = options;
    const { replica, log } = this.#options;
    if (!["eventual", "strong"].includes(consistency)) {
      throw invalid("consistency", "consistency of a write must be eventual, strong");
    }
    const timeoutMs = timeoutOf(options);
    if (log !== undefined) throw notHere();
    const name = parseDocumentName(doc);
    const proposal = replica.proposals.prepare(name, fact, expected);
    if (consistency === "strong") {
      const proposed = { doc: name, expected, fact: encodeProposed(proposal) };
      return this.#setAtHub(proposed, timeoutMs, options);
    }
    const { version, ...stamp } = await replica.proposals.make(proposal);
    const { device } = replica.proposals;
    const token = formatFrontierToken([{ replica: device, ...stamp }]);
    return { acknowledged: "local", decidedBy: "replica", facts: 1, ...stamp, version, token };
  }

  async #setAtHub(
    proposed: Pick<Question & { kind: "set" }, "doc" | "expected" | "fact">,
    timeoutMs: number,
    { signal }: CompareOptions,
  ): Promise<CompareReceipt> {
    const { random, remotes, clock } = this.#options;
    const dueMs = clock.now() + timeoutMs;
    const request = toHex(random.bytes(16));
    for (const hub of remotes?.freshness.hubs() ?? []) {
      const withinMs = Math.max(1, dueMs - clock.now());
      const question = encodeQuestion({ kind: "set", request, ...proposed, withinMs });
      const asking = remotes?.asker.ask(hub, question, { withinMs, signal });
      const outcome = await asking?.catch(() => undefined);
      // This one has too many questions already, and has not got this one.
      if (outcome?.kind === "unasked") continue;
      if (outcome?.kind !== "answer") {
        const gone =
          outcome?.kind === "gone" ? "the hub has gone" : "the hub did not answer in time";
        throw unknown(request, outcome === undefined ? "the call was called off" : gone);
      }
      const answer = decisionOf(outcome.answer, request);
      const { version, kind: _kind, ...stamp } = answer;
      const at = { replica: hub.device, ...stamp };
      // So that the writer sees it in its next read here; if it takes longer, it has the token.
      await remotes?.freshness.reach(at, Math.min(SEEN_MS, Math.max(1, dueMs - clock.now())));
      const token = formatFrontierToken([at]);
      return { acknowledged: "hub", decidedBy: "hub", facts: 1, ...stamp, version, token };
    }
    throw noHub("a strong write");
  }
}

const errorOf = (answer: Answer): MeshError =>
  answer.kind === "refused"
    ? answer.error
    : new MeshError("PROTOCOL_VIOLATION", "the hub answered another question");

/** What a hub says became of a write. Throws why it was not made, or `OUTCOME_UNKNOWN` for what says neither. */
function decisionOf(bytes: Uint8Array, request: string): Answer & { readonly kind: "set" } {
  let answer: Answer;
  try {
    answer = decodeAnswer(bytes);
  } catch {
    throw unknown(request, "the hub's answer can't be read");
  }
  if (answer.kind === "set") return answer;
  const { code, message } = errorOf(answer);
  // That is what a code is taken for that this version does not know, too.
  const isUnknown = code === "OUTCOME_UNKNOWN" || code === "PROTOCOL_VIOLATION";
  throw isUnknown ? unknown(request, message) : errorOf(answer);
}

/** A promise, or the reason of a signal if that comes first. */
async function ended<Result>(promise: Promise<Result>, { signal }: ReadLevel): Promise<Result> {
  if (signal === undefined) return promise;
  const { promise: called, reject } = Promise.withResolvers<never>();
  const aborted = (): void => {
    const { reason } = signal;
    reject(
      reason instanceof MeshError ? reason : new MeshError("ABORTED", "the read was called off"),
    );
  };
  if (signal.aborted) aborted();
  signal.addEventListener("abort", aborted);
  try {
    return await Promise.race([promise, called]);
  } finally {
    signal.removeEventListener("abort", aborted);
  }
}
