// SPDX-License-Identifier: Apache-2.0
/**
 * The truth: what a replica must show once it has applied a set of records, worked out from all of
 * them at every question by the definitions of `docs/POLICY.md`. It keeps everything, remembers no result,
 * and shares no code with the packages under test but their types.
 */
import type { PolicyRule } from "@ctxmesh/facts";
import type { FactInput, JsonValue } from "@ctxmesh/model";

/** Where a record stands: who wrote it, when, and about what. */
interface Place {
  readonly doc: string;
  readonly key: string;
  readonly writer: string;
  readonly incarnation: string;
  readonly seq: number;
  readonly hlc: number;
}

/** A statement; without a value it is a delete. */
export interface Stated extends Place, Partial<Omit<FactInput, "key" | "increment">> {}

/** A ruling that what `target` stated up to a clock does not count. */
export interface Ruled extends Place {
  readonly target: string;
  readonly upTo: number;
  readonly reason: string;
}

/** Anything ever written. */
export type Entry = Stated | Ruled;

const EPOCH_MS = Date.UTC(2020, 0, 1);
/** Unix milliseconds of a clock value: 4,096 values per millisecond since 2020. */
export const msOf = (hlc: number): number => Math.floor(hlc / 4096) + EPOCH_MS;
/** The first clock value of a Unix millisecond. */
export const clockAt = (ms: number): number => (ms - EPOCH_MS) * 4096;

/** JSON text with sorted members. */
export function textOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(textOf).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "nothing";
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([name, member]) => `${JSON.stringify(name)}:${textOf(member)}`);
  return `{${members.toSorted((a, b) => (a < b ? -1 : 1)).join(",")}}`;
}

/** Whether two values have the same text, without making it. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [mine, its] = [a as Record<string, unknown>, b as Record<string, unknown>];
  for (const name in mine) if (!isSame(mine[name], its[name])) return false;
  for (const name in its) if (its[name] !== undefined && mine[name] === undefined) return false;
  return true;
}

const isRuling = (entry: Entry): entry is Ruled => "target" in entry;

/** Later by clock, then writer, then incarnation. */
function isLater(a: Place, b: Place): boolean {
  if (a.hlc !== b.hlc) return a.hlc > b.hlc;
  return a.writer === b.writer ? a.incarnation > b.incarnation : a.writer > b.writer;
}

const lastOf = <T extends Place>(entries: Iterable<T>, nameOf: (entry: T) => string): T[] => {
  const last = new Map<string, T>();
  for (const entry of entries) {
    const before = last.get(nameOf(entry));
    if (before === undefined || isLater(entry, before)) last.set(nameOf(entry), entry);
  }
  return [...last.values()];
};

const endMs = (s: Stated): number => (s.ttlMs === undefined ? Infinity : msOf(s.hlc) + s.ttlMs);

const has = (s: Stated): boolean => s.value !== undefined;
const sure = (s: Stated): number => s.confidence ?? 1;
const numberIn = (s: Stated): number | undefined =>
  typeof s.value === "number" ? s.value : undefined;

/** The same as `EXPRESSIONS` of `history.ts`, in JavaScript. */
const EXPRESSION_SCORES: Readonly<Record<string, (s: Stated) => number>> = {
  "double(value.score) * confidence": (s) => {
    const score = (s.value as { readonly score?: unknown } | null | undefined)?.score;
    return typeof score === "number" ? score * sure(s) : -Infinity;
  },
  'source.model == "good" ? 2 : 1': (s) => (s.source?.model === "good" ? 2 : 1),
  "value > 1.0": (s) => (typeof s.value === "number" ? Number(s.value > 1) : -Infinity),
  "size(tags)": (s) => s.tags?.length ?? 0,
};

/** The higher, the better, among what a rule chooses from. */
function worth(rule: PolicyRule, s: Stated): number {
  switch (rule.resolver) {
    case "confidence":
      // c * 2^(-age/h), as the time at which a certain statement would have faded as far.
      return rule.halfLifeMs === undefined
        ? sure(s)
        : msOf(s.hlc) + rule.halfLifeMs * Math.log2(sure(s));
    case "priority": {
      const place = rule.sources.indexOf(s.source?.model ?? "");
      return place < 0 ? -rule.sources.length : -place;
    }
    case "max":
      return numberIn(s) ?? -Infinity;
    case "min":
      return -(numberIn(s) ?? Infinity);
    case "expression":
      return EXPRESSION_SCORES[rule.expression]?.(s) ?? -Infinity;
    case "latest":
    case "sum":
    case "union":
    case "all":
    // Of a module that a space lacks, as latest; the rules that are drawn name none.
    case "module":
      return 0;
  }
}

const MERGES: readonly string[] = ["sum", "union", "all"];
/** Resolvers under which a delete only takes its writer's own value away. */
const ignoresDeletes = (rule: PolicyRule): boolean => ["max", "min"].includes(rule.resolver);

/** Whether `a` makes `b` irrelevant: later, living as long, and at least as good. */
function hides(rule: PolicyRule, a: Stated, b: Stated): boolean {
  if (MERGES.includes(rule.resolver) || !isLater(a, b) || endMs(a) < endMs(b)) return false;
  if (ignoresDeletes(rule) && !has(a)) return false;
  if (ignoresDeletes(rule) && !has(b)) return true;
  if (rule.resolver === "latest") return sure(a) >= sure(b);
  return worth(rule, a) >= worth(rule, b);
}

const clamp = (n: number): number => Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, n));

function merged(rule: PolicyRule, values: readonly JsonValue[]): JsonValue {
  if (rule.resolver === "all") return values;
  if (rule.resolver === "sum") {
    let sum = 0;
    const numbers = values.filter((value) => typeof value === "number");
    for (const each of numbers.toSorted((a, b) => a - b)) sum = clamp(sum + each);
    return sum;
  }
  const elements = values.flatMap((value) => value) as JsonValue[];
  const byText = new Map(elements.map((value) => [textOf(value), value]));
  return [...byText].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}

/** What one key shows at a time. */
export interface Answer {
  /** What `get` must give, without version and age; undefined for nothing. */
  readonly visible: Readonly<Record<string, unknown>> | undefined;
  readonly winner: Stated | undefined;
  /** What `candidates` must give. */
  readonly candidates: readonly Readonly<Record<string, unknown>>[];
  /** Names of the undominated: what the version has to stand for. */
  readonly undominated: string;
}

const said = ({ doc: _doc, key: _key, ...rest }: Stated): Readonly<Record<string, unknown>> => ({
  ...rest,
  deleted: rest.value === undefined,
});

/** Everything written about one key. */
interface About {
  readonly doc: string;
  readonly key: string;
  /** The last of each writer. */
  readonly stated: readonly Stated[];
  /** The last of each ruler about each writer. */
  readonly rulings: readonly Ruled[];
}

const rulingsOn = (s: Stated, { rulings }: About): Ruled[] =>
  rulings.filter(({ target, upTo }) => target === s.writer && s.hlc <= upTo);

const countsAt = (s: Stated, about: About, ms: number): boolean =>
  endMs(s) > ms && rulingsOn(s, about).length === 0;

const latestFirst = <T extends Place>(entries: readonly T[]): T[] =>
  entries.toSorted((a, b) => (isLater(a, b) ? -1 : 1));

/** What all that was written means, under a policy. */
export class Truth {
  readonly #rules: readonly PolicyRule[];
  readonly #abouts: readonly About[];

  constructor(rules: readonly PolicyRule[], entries: readonly Entry[]) {
    this.#rules = rules;
    const byKey = Map.groupBy(entries, ({ doc, key }) => `${doc}\n${key}`);
    this.#abouts = [...byKey.values()].map((group) => ({
      doc: group[0]?.doc ?? "",
      key: group[0]?.key ?? "",
      stated: lastOf(
        group.filter((entry): entry is Stated => !isRuling(entry)),
        ({ writer }) => writer,
      ),
      rulings: lastOf(group.filter(isRuling), ({ writer, target }) => writer + target),
    }));
  }

  /** Every key that anybody wrote about. */
  keys(): readonly { readonly doc: string; readonly key: string }[] {
    return this.#abouts;
  }

  #ruleOf(key: string): PolicyRule {
    const [rule] = this.#rules
      .filter(({ prefix }) => key.startsWith(prefix))
      .toSorted((a, b) => b.prefix.length - a.prefix.length);
    return rule ?? { prefix: "", resolver: "latest" };
  }

  #about(doc: string, key: string): About {
    const found = this.#abouts.find((about) => about.doc === doc && about.key === key);
    return found ?? { doc, key, stated: [], rulings: [] };
  }

  /** A writer's last statement. */
  statement(doc: string, key: string, writer: string): Stated | undefined {
    return this.#about(doc, key).stated.find((s) => s.writer === writer);
  }

  /** The number that an increment of a writer adds to. */
  ownNumber(doc: string, key: string, writer: string, ms: number): number {
    const own = this.statement(doc, key, writer);
    if (own === undefined || !countsAt(own, this.#about(doc, key), ms)) return 0;
    return numberIn(own) ?? 0;
  }

  /** Keys of a document with a last statement that matches, of those that show something. */
  keysWith(ms: number, matches: (s: Stated) => boolean): string[] {
    return this.#abouts
      .filter(({ stated }) => stated.some(matches))
      .filter(({ doc, key }) => this.answer(doc, key, ms).visible !== undefined)
      .map(({ doc, key }) => `${doc} ${key}`)
      .toSorted();
  }

  #undominated(about: About, ms: number): Stated[] {
    const rule = this.#ruleOf(about.key);
    const live = about.stated.filter((s) => countsAt(s, about, ms));
    return live.filter((s) => !live.some((other) => hides(rule, other, s)));
  }

  /** What a key shows at a time. */
  answer(doc: string, key: string, ms: number): Answer {
    const about = this.#about(doc, key);
    const rule = this.#ruleOf(key);
    const undominated = latestFirst(this.#undominated(about, ms));
    const isMerge = MERGES.includes(rule.resolver);
    const eligible =
      isMerge || ignoresDeletes(rule) ? undominated.filter((s) => has(s)) : undominated;
    const best = Math.max(...eligible.map((s) => worth(rule, s)));
    // The later ones come first, so among equals the latest is found.
    const winner = eligible.find((s) => worth(rule, s) === best);
    const shown = new Set(isMerge ? eligible : winner === undefined ? [] : [winner]);
    const values = eligible.map((s) => s.value ?? null);
    const value = isMerge ? merged(rule, values) : winner?.value;
    const differ = new Set(eligible.map((s) => textOf(s.value))).size > 1;
    const visible =
      winner === undefined || value === undefined
        ? undefined
        : {
            doc,
            key,
            value,
            writer: winner.writer,
            hlc: winner.hlc,
            contested: differ && (!isMerge || rule.resolver === "all"),
            resolver: rule.resolver === "expression" ? rule.name : rule.resolver,
            confidence: winner.confidence,
            source: winner.source,
            tags: winner.tags,
          };
    const candidates = latestFirst(about.stated).map((s) => ({
      ...said(s),
      ...this.#standing(s, about, ms, { undominated, shown }),
    }));
    const names = undominated.map((s) => `${s.writer}${s.incarnation}${String(s.hlc)}`);
    return { visible, winner, candidates, undominated: names.toSorted().join() };
  }

  #standing(
    s: Stated,
    about: About,
    ms: number,
    sets: { undominated: readonly Stated[]; shown: ReadonlySet<Stated> },
  ): Readonly<Record<string, unknown>> {
    const [ruling] = latestFirst(rulingsOn(s, about));
    if (ruling !== undefined) {
      const { writer: by, reason } = ruling;
      return { standing: "retracted", retraction: { by, reason } };
    }
    if (endMs(s) <= ms) return { standing: "expired" };
    if (sets.shown.has(s)) return { standing: "shown" };
    return { standing: sets.undominated.includes(s) ? "undominated" : "dominated" };
  }

  /** What a seal covers as of a time, sorted. */
  leaves(ms: number): string[] {
    return this.#abouts
      .flatMap((about) => [
        ...this.#undominated(about, ms).map((s) => textOf(has(s) ? s : { ...s, deleted: true })),
        ...about.rulings.map(({ target, upTo, reason, ...place }) =>
          textOf({ ...place, retracts: { writer: target, upTo, reason } }),
        ),
      ])
      .toSorted();
  }
}
