// SPDX-License-Identifier: Apache-2.0
/**
 * Whether one schema accepts whatever another accepts. In general that is very hard to tell, so this is one-sided: where it finds no difference there
 * is none, and what it can't show to be so it reports as a difference. Formats and patterns are the same or they are not; nothing is looked into.
 */
import { LIMITS } from "@ctxmesh/model";
import type { JsonValue, SchemaDifference } from "@ctxmesh/model";
import { validatorOf } from "./compile.ts";
import { isObject, isSame, pointerStep } from "./json.ts";
import type { JsonObject, Schema } from "./json.ts";
import { inlined } from "./subset.ts";

/** One of the conditions of a schema, all of which have to hold: plain keywords, or one that joins or turns other schemas. */
interface Condition {
  readonly kind: "never" | "plain" | "anyOf" | "oneOf" | "not";
  readonly schema: Schema;
}

type Differences = readonly SchemaDifference[];

const NONE: Differences = [];
/** The types as sets that have nothing in common: a number is an integer or a fraction. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  null: ["null"],
  boolean: ["boolean"],
  object: ["object"],
  array: ["array"],
  string: ["string"],
  integer: ["integer"],
  number: ["integer", "fraction"],
};
const ALL_KINDS = ["null", "boolean", "object", "array", "string", "integer", "fraction"];

const listOf = (value: JsonValue | undefined): readonly JsonValue[] =>
  Array.isArray(value) ? (value as readonly JsonValue[]) : [];
const textsOf = (value: JsonValue | undefined): readonly string[] =>
  listOf(value).filter((item) => typeof item === "string");
const schemaAt = (value: JsonValue | undefined): Schema => (value ?? true) as Schema;

function conditionsOf(schema: Schema): readonly Condition[] {
  if (schema === true) return [];
  if (schema === false) return [{ kind: "never", schema }];
  const { allOf, anyOf, oneOf, not, ...plain } = schema;
  return [
    ...(Object.keys(plain).length === 0 ? [] : [{ kind: "plain" as const, schema: plain }]),
    ...listOf(allOf).flatMap((item) => conditionsOf(schemaAt(item))),
    ...(anyOf === undefined ? [] : [{ kind: "anyOf" as const, schema: { anyOf } }]),
    ...(oneOf === undefined ? [] : [{ kind: "oneOf" as const, schema: { oneOf } }]),
    ...(not === undefined ? [] : [{ kind: "not" as const, schema: { not } }]),
  ];
}

const plainOf = (conditions: readonly Condition[]): readonly JsonObject[] =>
  conditions.flatMap(({ kind, schema }) => (kind === "plain" && isObject(schema) ? [schema] : []));

function kindsOf({ type }: JsonObject): readonly string[] {
  if (type === undefined) return ALL_KINDS;
  const types = typeof type === "string" ? [type] : textsOf(type);
  return types.flatMap((name) => KINDS[name] ?? []);
}

const commonKinds = (plains: readonly JsonObject[]): readonly string[] =>
  plains.reduce<readonly string[]>(
    (kinds, plain) => kinds.filter((kind) => kindsOf(plain).includes(kind)),
    ALL_KINDS,
  );

/** All values that conditions leave, where they are few: those of a list, or null and the truth values. */
function candidatesOf(plains: readonly JsonObject[]): readonly JsonValue[] | undefined {
  for (const plain of plains) {
    if (plain["const"] !== undefined) return [plain["const"]];
    if (plain["enum"] !== undefined) return listOf(plain["enum"]);
  }
  const kinds = commonKinds(plains);
  if (kinds.some((kind) => kind !== "null" && kind !== "boolean")) return undefined;
  return kinds.flatMap((kind): readonly JsonValue[] => (kind === "null" ? [null] : [true, false]));
}

/** The tightest bound that plain conditions set, from below (`sign` 1) or above (-1). */
function boundOf(
  plains: readonly JsonObject[],
  [inclusive, exclusive]: readonly [string, string],
  sign: 1 | -1,
): { readonly value: number; readonly open: boolean } {
  let best = { value: -Infinity, open: false };
  for (const plain of plains) {
    for (const [keyword, open] of [
      [inclusive, false],
      [exclusive, true],
    ] as const) {
      const limit = plain[keyword];
      if (typeof limit !== "number") continue;
      const value = limit * sign;
      if (value > best.value || (value === best.value && open)) best = { value, open };
    }
  }
  return best;
}

/** The largest of a keyword's numbers, 0 where there is none. */
const mostOf = (plains: readonly JsonObject[], keyword: string): number =>
  plains.reduce((most, plain) => Math.max(most, Number(plain[keyword] ?? 0)), 0);
/** The smallest, Infinity where there is none. */
const leastOf = (plains: readonly JsonObject[], keyword: string): number =>
  plains.reduce((least, plain) => Math.min(least, Number(plain[keyword] ?? Infinity)), Infinity);

const itemAt = (plain: JsonObject, index: number): Schema => {
  const prefix = listOf(plain["prefixItems"]);
  return schemaAt(index < prefix.length ? prefix[index] : plain["items"]);
};
const prefixLength = (plain: JsonObject): number => listOf(plain["prefixItems"]).length;

const propertiesOf = ({ properties }: JsonObject): JsonObject =>
  isObject(properties) ? properties : {};
const propertyAt = (plain: JsonObject, name: string): Schema => {
  const properties = propertiesOf(plain);
  return schemaAt(
    Object.hasOwn(properties, name) ? properties[name] : plain["additionalProperties"],
  );
};
const requiredBy = (plains: readonly JsonObject[]): ReadonlySet<string> =>
  new Set(plains.flatMap(({ required }) => textsOf(required)));

const accepts = (schema: Schema, value: JsonValue): boolean =>
  validatorOf(schema)(value) === undefined;

/** One comparison: what it may take is bounded, since alternatives multiply. */
class Comparison {
  #steps = 0;

  /** Where a value that all of `special` accept may be refused by `general`. */
  within(special: readonly Schema[], general: Schema, path: string): Differences {
    this.#steps++;
    if (this.#steps > LIMITS.schemaComparisons) {
      return [{ path, problem: "is too much to compare: use fewer alternatives" }];
    }
    const conditions = special.flatMap(conditionsOf);
    const plains = plainOf(conditions);
    if (conditions.some(({ kind }) => kind === "never") || commonKinds(plains).length === 0) {
      return NONE;
    }
    const values = candidatesOf(plains);
    if (values !== undefined) return this.#values(values, special, general, path);
    return conditionsOf(general).flatMap((condition) => this.#covers(conditions, condition, path));
  }

  #isWithin(special: readonly Schema[], general: Schema): boolean {
    return this.within(special, general, "").length === 0;
  }

  #values(
    values: readonly JsonValue[],
    special: readonly Schema[],
    general: Schema,
    path: string,
  ): Differences {
    const refused = values.filter(
      (value) => special.every((schema) => accepts(schema, value)) && !accepts(general, value),
    );
    if (refused.length === 0) return NONE;
    const some = refused.slice(0, 3).map((value) => JSON.stringify(value).slice(0, 40));
    return [{ path, problem: `does not accept ${some.join(", ")}` }];
  }

  /** Where what meets all conditions may not meet another one. */
  #covers(conditions: readonly Condition[], wanted: Condition, path: string): Differences {
    const { kind, schema } = wanted;
    if (conditions.some((one) => one.kind === kind && isSame(one.schema, schema))) return NONE;
    const special = conditions.map((one) => one.schema);
    const found = this.#differences(conditions, special, wanted, path);
    return found.length === 0 || this.#coversEach(conditions, wanted) ? NONE : found;
  }

  #differences(
    conditions: readonly Condition[],
    special: readonly Schema[],
    { kind, schema }: Condition,
    path: string,
  ): Differences {
    if (!isObject(schema)) return [{ path, problem: "accepts nothing" }];
    switch (kind) {
      case "plain":
        return this.#plain(plainOf(conditions), schema, path);
      case "anyOf":
        return listOf(schema["anyOf"]).some((branch) => this.#isWithin(special, schemaAt(branch)))
          ? NONE
          : [{ path: `${path}/anyOf`, problem: "may accept less" }];
      case "not": {
        const refused = schemaAt(schema["not"]);
        const covered = conditions.some(
          (one) =>
            one.kind === "not" &&
            isObject(one.schema) &&
            this.#isWithin([refused], schemaAt(one.schema["not"])),
        );
        return covered ? NONE : [{ path: `${path}/not`, problem: "may refuse more" }];
      }
      case "oneOf":
      case "never":
        return [{ path: `${path}/${kind}`, problem: "may accept less; anyOf can be compared" }];
    }
  }

  /** Whether it holds in each of the cases that alternatives, or else types, make. */
  #coversEach(conditions: readonly Condition[], wanted: Condition): boolean {
    const at = conditions.findIndex(({ kind }) => kind === "anyOf" || kind === "oneOf");
    const joined = conditions[at];
    const rest = conditions.toSpliced(at, 1).map(({ schema }) => schema);
    if (joined !== undefined && isObject(joined.schema)) {
      const branches = listOf(joined.schema["anyOf"] ?? joined.schema["oneOf"]);
      return branches.every((branch) => this.#isWithin([...rest, schemaAt(branch)], wanted.schema));
    }
    const kinds = commonKinds(plainOf(conditions));
    // Numbers are one case: a fraction has no type of its own.
    const types = kinds.includes("fraction")
      ? kinds
          .filter((kind) => kind !== "integer")
          .map((kind) => (kind === "fraction" ? "number" : kind))
      : kinds;
    if (wanted.kind !== "anyOf" || types.length < 2) return false;
    const all = conditions.map(({ schema }) => schema);
    return types.every((type) => this.#isWithin([...all, { type }], wanted.schema));
  }

  #plain(plains: readonly JsonObject[], wanted: JsonObject, path: string): Differences {
    const kinds = commonKinds(plains);
    const lost = kinds.filter((kind) => !kindsOf(wanted).includes(kind));
    if (lost.length > 0) {
      return [{ path: `${path}/type`, problem: `does not accept the type ${lost.join(", ")}` }];
    }
    const listed = ["const", "enum"].filter((keyword) => wanted[keyword] !== undefined);
    return [
      ...listed.map((keyword) => ({ path: `${path}/${keyword}`, problem: "accepts few values" })),
      ...(kinds.includes("integer") || kinds.includes("fraction")
        ? numberDifferences(plains, wanted, path)
        : NONE),
      ...(kinds.includes("string") ? textDifferences(plains, wanted, path) : NONE),
      ...(kinds.includes("array") ? this.#lists(plains, wanted, path) : NONE),
      ...(kinds.includes("object") ? this.#objects(plains, wanted, path) : NONE),
    ];
  }

  #lists(plains: readonly JsonObject[], wanted: JsonObject, path: string): Differences {
    const most = leastOf(plains, "maxItems");
    const found: SchemaDifference[] = [
      ...countDifferences(plains, wanted, path, ["minItems", "maxItems"], 0),
    ];
    if (wanted["uniqueItems"] === true && most > 1 && !has(plains, "uniqueItems", true)) {
      found.push({ path: `${path}/uniqueItems`, problem: "refuses equal items" });
    }
    const named = Math.max(prefixLength(wanted), ...plains.map(prefixLength));
    // The last round stands for all items behind those with a place of their own.
    for (let i = 0; i <= named && i < most; i++) {
      const isNamed = i < prefixLength(wanted);
      const at = isNamed ? `${path}/prefixItems/${String(i)}` : `${path}/items`;
      const theirs = plains.map((plain) => itemAt(plain, i));
      found.push(...this.within(theirs, itemAt(wanted, i), at));
    }
    return found;
  }

  #objects(plains: readonly JsonObject[], wanted: JsonObject, path: string): Differences {
    const required = requiredBy(plains);
    const found: SchemaDifference[] = [
      ...countDifferences(plains, wanted, path, ["minProperties", "maxProperties"], required.size),
    ];
    for (const name of requiredBy([wanted])) {
      if (!required.has(name)) {
        found.push({ path: `${path}/required`, problem: `refuses what has no ${name}` });
      }
    }
    const names = new Set([wanted, ...plains].flatMap((plain) => Object.keys(propertiesOf(plain))));
    for (const name of names) {
      const isNamed = Object.hasOwn(propertiesOf(wanted), name);
      const at = isNamed
        ? `${path}/properties${pointerStep(name)}`
        : `${path}/additionalProperties`;
      const theirs = plains.map((plain) => propertyAt(plain, name));
      const differences = this.within(theirs, propertyAt(wanted, name), at);
      const isNew = isNamed && theirs.every((schema) => schema === true);
      found.push(
        ...(isNew && differences.length > 0
          ? [{ path: at, problem: "refuses some values of a member that could be anything" }]
          : differences),
      );
    }
    const others = plains.map((plain) => schemaAt(plain["additionalProperties"]));
    const rest = schemaAt(wanted["additionalProperties"]);
    found.push(...this.within(others, rest, `${path}/additionalProperties`));
    return found;
  }
}

const has = (plains: readonly JsonObject[], keyword: string, value: JsonValue): boolean =>
  plains.some((plain) => plain[keyword] !== undefined && isSame(plain[keyword], value));

/** Keywords that are the same in one of the conditions, or missing in the wanted one. */
function sameOrAbsent(
  plains: readonly JsonObject[],
  wanted: JsonObject,
  path: string,
  keywords: readonly string[],
): Differences {
  return keywords.flatMap((keyword) => {
    const value = wanted[keyword];
    if (value === undefined || has(plains, keyword, value)) return NONE;
    return [{ path: `${path}/${keyword}`, problem: `asks for ${JSON.stringify(value)}` }];
  });
}

function numberDifferences(
  plains: readonly JsonObject[],
  wanted: JsonObject,
  path: string,
): Differences {
  const sides = [
    [["minimum", "exclusiveMinimum"], 1],
    [["maximum", "exclusiveMaximum"], -1],
  ] as const;
  const bounds = sides.flatMap(([keywords, sign]) => {
    const theirs = boundOf(plains, keywords, sign);
    const ours = boundOf([wanted], keywords, sign);
    const holds =
      theirs.value > ours.value || (theirs.value === ours.value && (theirs.open || !ours.open));
    if (holds) return NONE;
    const keyword = keywords[ours.open ? 1 : 0];
    return [{ path: `${path}/${keyword}`, problem: `is tighter: ${String(ours.value * sign)}` }];
  });
  return [...bounds, ...sameOrAbsent(plains, wanted, path, ["multipleOf"])];
}

function countDifferences(
  plains: readonly JsonObject[],
  wanted: JsonObject,
  path: string,
  [min, max]: readonly [string, string],
  /** What there is at the least in any case. */
  known: number,
): Differences {
  const least = mostOf([wanted], min);
  const most = leastOf([wanted], max);
  return [
    ...(least > Math.max(known, mostOf(plains, min))
      ? [{ path: `${path}/${min}`, problem: `is tighter: ${String(least)}` }]
      : NONE),
    ...(most < leastOf(plains, max)
      ? [{ path: `${path}/${max}`, problem: `is tighter: ${String(most)}` }]
      : NONE),
  ];
}

const textDifferences = (
  plains: readonly JsonObject[],
  wanted: JsonObject,
  path: string,
): Differences => [
  ...countDifferences(plains, wanted, path, ["minLength", "maxLength"], 0),
  ...sameOrAbsent(plains, wanted, path, ["pattern", "format"]),
];

/**
 * Where `general` refuses, or may refuse, what `special` accepts; empty only if it accepts whatever that accepts. Both as `parseSchema` gives
 * them; paths are into `general`, with its references written out.
 */
export const differencesWithin = (special: Schema, general: Schema): Differences =>
  new Comparison().within([inlined(special)], inlined(general), "");
