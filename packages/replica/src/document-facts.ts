// SPDX-License-Identifier: Apache-2.0
import { canonicalJson } from "@ctxmesh/codec";
import { sha256Hex } from "@ctxmesh/crypto";
import {
  JS_ENGINE,
  counting,
  decodeState,
  encodeState,
  expiryMs,
  isExpired,
  isNewer,
  resolve,
  undominatedOf,
} from "@ctxmesh/facts";
import type {
  ChainId,
  ChangedKeys,
  FactEngine,
  FactFrame,
  FactRecord,
  FactStore,
  KeyResolvers,
  KeySlots,
  PackedFrame,
  Resolution,
  Resolvers,
  Slot,
} from "@ctxmesh/facts";
import { hlcToMs } from "@ctxmesh/model";
import type {
  Candidate,
  DeviceKey,
  DocumentName,
  JsonValue,
  ListQuery,
  Standing,
  VisibleFact,
} from "@ctxmesh/model";
import type { DocumentSchemas } from "@ctxmesh/schema";
import { Glob } from "./glob.ts";
import { GuardedStore } from "./guarded-store.ts";
import type { OwnStatement } from "./own-expiry.ts";

const VERSION_BYTES = 16;
/** About the memory that a gap in a chain takes. */
const GAP_BYTES = 96;

/** Drops the members that are undefined, so that absent stays absent. */
type Present<T> = { [K in keyof T]: Exclude<T[K], undefined> };
const present = <T extends object>(members: T): Partial<Present<T>> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Partial<
    Present<T>
  >;

/** The value, unchangeable through and through: an answer is handed to more than one reader. */
function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(frozen);
    Object.freeze(value);
  }
  return value;
}

const parseValue = (json: string): JsonValue => JSON.parse(json) as JsonValue;

/** First half of SHA-256 over the undominated candidates' writers and clocks, hex. */
function versionOf({ undominated }: Resolution): string {
  const ids = undominated.map((slot) => `${slot.writer}:${slot.incarnation}:${String(slot.hlc)}`);
  return sha256Hex(ids.join("\n")).slice(0, 2 * VERSION_BYTES);
}

/** What a slot says, in plain data. */
export function contentOf(slot: Slot): Omit<Candidate, "standing" | "retraction"> {
  const { valueJson, confidence, source, ttlMs, tags, basis } = slot;
  const { correlation, traceparent, targets } = slot;
  return {
    writer: slot.writer,
    incarnation: slot.incarnation,
    seq: slot.seq,
    hlc: slot.hlc,
    deleted: valueJson === undefined,
    ...(valueJson === undefined ? {} : { value: parseValue(valueJson) }),
    ...frozen(
      present({ confidence, source, ttlMs, tags, basis, correlation, traceparent, targets }),
    ),
  };
}

/**
 * The canonical text of one candidate (RFC 8785): what a seal covers. Members: doc, key, writer,
 * incarnation, seq, hlc, and value or deleted, and confidence, source, ttlMs, tags, basis, correlation, traceparent, targets where given.
 */
function leafOf(doc: DocumentName, slot: Slot): string {
  const { deleted, ...rest } = { doc, key: slot.key, ...contentOf(slot) };
  // Built from JSON texts and plain data only, so it is JSON by construction.
  return canonicalJson((deleted ? { ...rest, deleted } : rest) as unknown as JsonValue);
}

/** The canonical text of a retraction: doc, key, writer (who ruled), incarnation, seq, hlc, retracts {writer, upTo, reason}. */
function retractionLeafOf(doc: DocumentName, slot: Slot): string {
  const { key, writer, incarnation, seq, hlc, retract } = slot;
  const leaf = { doc, key, writer, incarnation, seq, hlc, retracts: { ...retract } };
  return canonicalJson(leaf);
}

/** A visible fact without its age, and the time span in which it is the answer. */
interface Answer {
  readonly fact: Omit<VisibleFact, "ageMs"> | undefined;
  readonly writtenMs: number;
  readonly fromMs: number;
  /** Exclusive: the next expiry. */
  readonly untilMs: number;
}

/** The facts of one document under a policy. Answers are remembered until their key changes or something expires. */
export class DocumentFacts {
  readonly #doc: DocumentName;
  readonly #resolvers: KeyResolvers;
  readonly #schemas: DocumentSchemas;
  readonly #store: FactStore;
  readonly #answers = new Map<string, Answer>();

  /** Empty, or with what {@link encode} made. Throws `FORMAT_INVALID`. */
  constructor(
    doc: DocumentName,
    resolvers: Resolvers,
    schemas: DocumentSchemas,
    state?: Uint8Array,
    engine: FactEngine = JS_ENGINE,
  ) {
    this.#doc = doc;
    this.#resolvers = resolvers.in(doc);
    this.#schemas = schemas;
    this.#store = state === undefined ? engine() : decodeState(state, engine);
  }

  /** Whether its engine has failed, so that nothing can be told of it. */
  get isLost(): boolean {
    return this.#store instanceof GuardedStore && this.#store.isLost;
  }

  /** The whole state, for this replica's own storage. */
  encode(): Uint8Array {
    return encodeState(this.#store);
  }

  /** About the encoded size, and the gaps that hostile chains leave, which would else cost them nothing. */
  get bytes(): number {
    return this.#store.bytes + this.#store.gaps * GAP_BYTES;
  }

  /** Merges a frame that is there as bytes; tells which keys' slots changed. */
  applyPacked(chain: ChainId, frame: PackedFrame): ChangedKeys {
    const changed = this.#store.applyPacked(chain, frame);
    // Few answers are sooner found again than many keys are made; and of what is lost nobody knows which have changed.
    if (this.isLost || this.#answers.size <= changed.count) this.#answers.clear();
    else for (const key of changed.keys()) this.#answers.delete(key);
    return changed;
  }

  /** Merges a frame; returns the keys whose slots changed. */
  apply(chain: ChainId, frame: FactFrame): readonly string[] {
    const changed = this.#store.applyFrame(chain, frame);
    for (const key of changed) this.#answers.delete(key);
    return changed;
  }

  /** Statements that count: live, not retracted, and as their key's schema has it. */
  #counting({ statements, retractions }: KeySlots, nowMs: number): readonly Slot[] {
    const live = counting(statements, retractions, nowMs);
    if (this.#schemas.isEmpty) return live;
    return live.filter((slot) => this.#schemas.accepts(slot.key, slot.valueJson, slot));
  }

  #answer(key: string, nowMs: number): Answer {
    const known = this.#answers.get(key);
    if (known !== undefined && known.fromMs <= nowMs && nowMs < known.untilMs) return known;
    const slots = this.#store.slots(key);
    const live = this.#counting(slots, nowMs);
    const resolver = this.#resolvers.for(key);
    const resolution = resolve(resolver, live);
    const answer: Answer = {
      fact: resolution === undefined ? undefined : this.#factOf(key, resolution, resolver.name),
      writtenMs: resolution === undefined ? 0 : hlcToMs(resolution.winner.hlc),
      // What expired before now would count again for an earlier reader, so the answer holds from now on only.
      fromMs: nowMs,
      untilMs: live.reduce((least, slot) => Math.min(least, expiryMs(slot)), Infinity),
    };
    if (slots.statements.length > 0) this.#answers.set(key, answer);
    return answer;
  }

  #factOf(key: string, resolution: Resolution, resolver: string): Answer["fact"] {
    const { winner, valueJson, contested, resolver: picker = resolver } = resolution;
    if (valueJson === undefined) return undefined;
    const { confidence, source, tags } = winner;
    const isPlain = confidence === undefined && source === undefined && tags === undefined;
    return {
      doc: this.#doc,
      key,
      value: frozen(parseValue(valueJson)),
      writer: winner.writer,
      hlc: winner.hlc,
      version: versionOf(resolution),
      contested,
      resolver: picker,
      ...(isPlain ? undefined : frozen(present({ confidence, source, tags }))),
    };
  }

  /** The answer to reading a key; undefined when nothing is visible. `incomplete` when something of the document is left out. */
  visible(key: string, nowMs: number, incomplete = false): VisibleFact | undefined {
    const { fact, writtenMs } = this.#answer(key, nowMs);
    if (fact === undefined) return undefined;
    const ageMs = Math.max(0, nowMs - writtenMs);
    return incomplete ? { ...fact, ageMs, incomplete } : { ...fact, ageMs };
  }

  /** Whether a statement counts once it is made, and something is visible under its key then. */
  wouldShow(slot: Slot, nowMs: number): boolean {
    const { statements, retractions } = this.#store.slots(slot.key);
    const others = statements.filter(({ writer }) => writer !== slot.writer);
    const live = this.#counting({ statements: [...others, slot], retractions }, nowMs);
    if (!live.includes(slot)) return false;
    return resolve(this.#resolvers.for(slot.key), live)?.valueJson !== undefined;
  }

  /** Whether something expires after one time and up to another, Unix milliseconds. */
  expires(afterMs: number, upToMs: number): boolean {
    return this.#store.expires(afterMs, upToMs);
  }

  /** The visible facts of a query in key order, at most so many; `incomplete` as of {@link visible}. */
  list(query: ListQuery, nowMs: number, most: number, incomplete = false): readonly VisibleFact[] {
    const found: VisibleFact[] = [];
    for (const key of this.keys(query)) {
      if (found.length >= most) break;
      const fact = this.visible(key, nowMs, incomplete);
      if (fact !== undefined) found.push(fact);
    }
    return found;
  }

  /** The canonical JSON of the answer to reading a key; undefined when nothing is visible. */
  shownJson(key: string, atMs: number): string | undefined {
    const live = this.#counting(this.#store.slots(key), atMs);
    return resolve(this.#resolvers.for(key), live)?.valueJson;
  }

  /** Every writer's candidate, newest first, each with its standing. */
  candidates(key: string, nowMs: number): readonly Candidate[] {
    const slots = this.#store.slots(key);
    const resolver = this.#resolvers.for(key);
    const live = this.#counting(slots, nowMs);
    const undominated = undominatedOf(resolver, live);
    const shown = resolver.show(undominated);
    return slots.statements
      .toSorted((a, b) => (isNewer(a, b) ? -1 : 1))
      .map((slot) => {
        const standing: Standing | undefined = undominated.includes(slot)
          ? slot === shown?.winner || (shown?.merged === true && slot.valueJson !== undefined)
            ? "shown"
            : "undominated"
          : live.includes(slot)
            ? "dominated"
            : undefined;
        return {
          ...contentOf(slot),
          ...(standing === undefined ? this.#outOf(slot, slots, nowMs) : { standing }),
        };
      });
  }

  /** See `Documents.slots`. */
  slots(key: string): KeySlots {
    return this.#store.slots(key);
  }

  #outOf(slot: Slot, slots: KeySlots, nowMs: number): Pick<Candidate, "standing" | "retraction"> {
    const out = outOf(slot, slots);
    return out.standing === "expired" && !isExpired(slot, nowMs) ? { standing: "invalid" } : out;
  }

  /** A writer's newest statement about a key. */
  statement(key: string, writer: DeviceKey): Slot | undefined {
    return this.#store.slots(key).statements.find((slot) => slot.writer === writer);
  }

  /** Whether a writer's statement or ruling in a record, or a newer one, is here. */
  hasStated(writer: DeviceKey, { key, hlc, retract }: FactRecord): boolean {
    const { statements, retractions } = this.#store.slots(key);
    const slots = retract === undefined ? statements : retractions;
    return slots.some(
      (slot) =>
        slot.writer === writer && slot.retract?.writer === retract?.writer && slot.hlc >= hlc,
    );
  }

  /** A writer's own number under a key; 0 when it has none that counts. */
  ownNumber(key: string, writer: DeviceKey, nowMs: number): number {
    const { statements, retractions } = this.#store.slots(key);
    const own = statements.filter((slot) => slot.writer === writer);
    const [slot] = this.#counting({ statements: own, retractions }, nowMs);
    const value = slot?.valueJson === undefined ? undefined : parseValue(slot.valueJson);
    return typeof value === "number" ? value : 0;
  }

  /** A writer's newest statement about a key. */
  ownStatement(key: string, writer: DeviceKey): OwnStatement | undefined {
    const slot = this.#store.slots(key).statements.find((own) => own.writer === writer);
    return slot && { incarnation: slot.incarnation, expiryMs: expiryMs(slot) };
  }

  /** The keys of a query, in code-unit order. Throws `INPUT_INVALID` for a bad pattern. */
  *keys(
    query: Pick<ListQuery, "prefix" | "after" | "pattern" | "source" | "tag">,
  ): Generator<string> {
    const glob = query.pattern === undefined ? undefined : new Glob(query.pattern);
    for (const key of this.#candidateKeys(query, glob)) {
      if (query.prefix !== undefined && !key.startsWith(query.prefix)) continue;
      if (query.after !== undefined && key <= query.after) continue;
      if (glob?.matches(key) === false) continue;
      yield key;
    }
  }

  /** The smallest set of keys that surely holds those of the query. */
  #candidateKeys(
    { prefix = "", after, source, tag }: Pick<ListQuery, "prefix" | "after" | "source" | "tag">,
    glob: Glob | undefined,
  ): Iterable<string> {
    if (source !== undefined) {
      const keys = this.#store.keysBySource(source);
      if (tag === undefined) return keys;
      const tagged = new Set(this.#store.keysByTag(tag));
      return [...keys].filter((key) => tagged.has(key));
    }
    if (tag !== undefined) return this.#store.keysByTag(tag);
    const longest = (glob?.prefix.length ?? 0) > prefix.length ? (glob?.prefix ?? "") : prefix;
    return this.#store.keys({ prefix: longest, ...(after === undefined ? {} : { after }) });
  }

  /** Number of visible facts, and how many of them are contested. */
  count(nowMs: number): { facts: number; contested: number } {
    let facts = 0;
    let contested = 0;
    for (const key of this.#store.keys()) {
      const { fact } = this.#answer(key, nowMs);
      if (fact === undefined) continue;
      facts++;
      if (fact.contested) contested++;
    }
    return { facts, contested };
  }

  /** The canonical leaves as of a time, in no particular order. */
  leaves(asOfMs: number): readonly string[] {
    const leaves: string[] = [];
    for (const key of this.#store.keys()) {
      const slots = this.#store.slots(key);
      const live = this.#counting(slots, asOfMs);
      for (const slot of undominatedOf(this.#resolvers.for(key), live)) {
        leaves.push(leafOf(this.#doc, slot));
      }
      for (const slot of slots.retractions) leaves.push(retractionLeafOf(this.#doc, slot));
    }
    return leaves;
  }
}

/** Why a statement does not count; of several rulings the newest, so that all replicas name the same one. */
function outOf(slot: Slot, { retractions }: KeySlots): Pick<Candidate, "standing" | "retraction"> {
  const [ruling] = retractions
    .filter(({ retract }) => retract?.writer === slot.writer && slot.hlc <= retract.upTo)
    .toSorted((a, b) => (isNewer(a, b) ? -1 : 1));
  return ruling?.retract === undefined
    ? { standing: "expired" }
    : {
        standing: "retracted",
        retraction: { by: ruling.writer, reason: ruling.retract.reason },
      };
}
