// SPDX-License-Identifier: Apache-2.0
/** What of a space's content a replica keeps: headers always travel, bodies by subscription. */
import { MeshError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

/**
 * Which sections of batches a replica wants whole. What is absent asks for nothing; of a list one has to fit, and every list that is
 * there has to. A device's own batches are always whole.
 */
export interface Subscription {
  /** Beginnings of document names. */
  readonly docs?: readonly string[];
  /** Key patterns, as in `ListQuery.pattern`: a section of facts is wanted, as a whole, for one key that matches. */
  readonly keys?: readonly string[];
  /** Source models; a statement without a source, a withdrawal and a ruling fit any. */
  readonly models?: readonly string[];
  /** The age of a batch, by the clock in its header, from which on it is not wanted; in milliseconds. */
  readonly maxAgeMs?: number;
}

const MEMBERS = ["docs", "keys", "models", "maxAgeMs"] as const;
const DOC_PREFIX = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$/u;
const AGE = /^(?<count>[1-9]\d{0,8})(?<unit>[smhd])$/u;
const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function invalid(problem: string): never {
  throw new MeshError("INPUT_INVALID", `subscription ${problem}`, {
    field: "subscribe",
    remedy: "give rules such as doc:line-2/, key:temp/**, model:detector or age:7d",
  });
}

/** Whether it is a text of 1 to `most` bytes in UTF-8. */
const isText = (value: unknown, most: number): value is string =>
  typeof value === "string" &&
  value.length > 0 &&
  value.length <= most &&
  value.isWellFormed() &&
  // Each escape is one byte.
  encodeURIComponent(value).replaceAll(/%../gu, "_").length <= most;

const isDoc = (item: unknown): boolean => isText(item, 200) && DOC_PREFIX.test(item);

/** A list of distinct texts, in order, so that equal subscriptions have equal encodings. */
function listOf(
  value: unknown,
  name: string,
  isRule: (item: unknown) => boolean,
): readonly string[] {
  const items: readonly unknown[] = Array.isArray(value) ? value : invalid(`${name} is no list`);
  if (items.length === 0) invalid(`${name} is empty, which would want nothing`);
  for (const item of items) {
    if (!isRule(item)) invalid(`has no ${name} like ${JSON.stringify(item)?.slice(0, 80) ?? ""}`);
  }
  return [...new Set(items as readonly string[])].toSorted();
}

/**
 * Parses an untrusted subscription: the members that it may have and no others, `LIMITS.subscriptionRules` in all, and key patterns
 * of `LIMITS.subscriptionPatterns` characters together. Throws `INPUT_INVALID`, `LIMIT_EXCEEDED`.
 */
export function parseSubscription(value: unknown): Subscription {
  if (typeof value !== "object" || value === null || Array.isArray(value)) invalid("is no object");
  const { docs, keys, models, maxAgeMs, ...others } = value as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    invalid(`has a member ${JSON.stringify(unknown.slice(0, 80))}; known: ${MEMBERS.join(", ")}`);
  }
  if (
    maxAgeMs !== undefined &&
    !(Number.isSafeInteger(maxAgeMs) && (maxAgeMs as number) >= UNIT_MS.s)
  ) {
    invalid("has an age that is no whole number of milliseconds of one second or more");
  }
  const parsed: Subscription = {
    ...(docs === undefined ? {} : { docs: listOf(docs, "document", isDoc) }),
    ...(keys === undefined
      ? {}
      : { keys: listOf(keys, "key", (item) => isText(item, LIMITS.keyBytes)) }),
    ...(models === undefined
      ? {}
      : { models: listOf(models, "model", (item) => isText(item, LIMITS.tagBytes)) }),
    ...(maxAgeMs === undefined ? {} : { maxAgeMs: maxAgeMs as number }),
  };
  assertSmall(parsed);
  if (Object.keys(parsed).length === 0) invalid("has no rule");
  return parsed;
}

function assertSmall({ docs = [], keys = [], models = [], maxAgeMs }: Subscription): void {
  const rules = docs.length + keys.length + models.length + (maxAgeMs === undefined ? 0 : 1);
  const characters = keys.reduce((sum, { length }) => sum + length, 0);
  const wrong =
    rules > LIMITS.subscriptionRules
      ? `${String(rules)} rules, the limit is ${String(LIMITS.subscriptionRules)}`
      : characters > LIMITS.subscriptionPatterns
        ? `key patterns of ${String(characters)} characters, the limit is ${String(LIMITS.subscriptionPatterns)}`
        : undefined;
  if (wrong === undefined) return;
  throw new MeshError("LIMIT_EXCEEDED", `subscription has ${wrong}`, { field: "subscribe" });
}

/**
 * Parses the rules of a command line or a configuration: `doc:`, `key:`, `model:` and once `age:` (a whole number and `s`, `m`, `h` or
 * `d`). Throws as {@link parseSubscription}; undefined without any rule, which is everything.
 */
export function parseSubscriptionRules(rules: readonly string[]): Subscription | undefined {
  const lists = { doc: [] as string[], key: [] as string[], model: [] as string[] };
  let maxAgeMs: number | undefined;
  for (const rule of rules) {
    const colon = rule.indexOf(":");
    const [kind, text] = [rule.slice(0, Math.max(0, colon)), rule.slice(colon + 1)];
    if (kind === "doc" || kind === "key" || kind === "model") lists[kind].push(text);
    else if (kind === "age" && maxAgeMs === undefined) maxAgeMs = parseAge(text);
    else invalid(`has no rule like ${JSON.stringify(rule.slice(0, 80))}`);
  }
  if (rules.length === 0) return undefined;
  const { doc, key, model } = lists;
  return parseSubscription({
    ...(doc.length === 0 ? {} : { docs: doc }),
    ...(key.length === 0 ? {} : { keys: key }),
    ...(model.length === 0 ? {} : { models: model }),
    ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
  });
}

function parseAge(text: string): number {
  const { count, unit } = AGE.exec(text)?.groups ?? {};
  if (count === undefined || unit === undefined) return invalid(`has no age like ${text}`);
  return Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
}

/** The rules of a subscription as {@link parseSubscriptionRules} reads them. */
export const subscriptionRules = ({
  docs = [],
  keys = [],
  models = [],
  maxAgeMs,
}: Subscription): readonly string[] => [
  ...docs.map((doc) => `doc:${doc}`),
  ...keys.map((key) => `key:${key}`),
  ...models.map((model) => `model:${model}`),
  ...(maxAgeMs === undefined ? [] : [`age:${String(Math.floor(maxAgeMs / UNIT_MS.s))}s`]),
];
