// SPDX-License-Identifier: Apache-2.0
/** The writers and readers of a scenario. */
import { LIMITS, parseDocumentName, toMeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import type { Field } from "./field.ts";
import { expandKeys, keyFor } from "./keys.ts";
import { nodesAt, timeOf } from "./places.ts";
import type { Places } from "./places.ts";
import { SCENARIO_LIMITS as MOST } from "./scenario.ts";
import type { ScenarioReader, ScenarioWriter, ValueGenerator } from "./scenario.ts";
import { rangeOf, rateOf, showTime } from "./units.ts";

const MAX_NUMBER = 1e12;
const ANY = { min: -MAX_NUMBER, max: MAX_NUMBER };
/** Longest JSON text of a value that a scenario writes. */
const VALUE_CHARACTERS = 4_096;
const KINDS = ["counter", "increment", "walk", "choice", "constant"] as const;

function parseDocument(field: Field): string {
  const name = field.required().text(200);
  if (name === undefined) return "";
  try {
    return parseDocumentName(name);
  } catch (error) {
    return field.fail(`is ${toMeshError(error).message}`) ?? "";
  }
}

function parseKeys(field: Field): readonly string[] {
  const keys = new Set<string>();
  for (const item of field.required().itemOrItems(MOST.keys)) {
    const pattern = item.required().text(LIMITS.keyBytes / 4);
    if (pattern === undefined) continue;
    if (pattern === "") item.fail("must not be empty");
    const expanded = expandKeys(pattern, MOST.keys);
    if ("problem" in expanded) item.fail(expanded.problem);
    else for (const key of expanded) keys.add(key);
    if (keys.size > MOST.keys) {
      field.fail(`stands for more than ${String(MOST.keys)} keys`);
      break;
    }
  }
  return [...keys];
}

/** A plain JSON value: what YAML has besides, such as dates, is not taken. */
function parseValue(field: Field): JsonValue | undefined {
  let text: string | undefined;
  try {
    text = JSON.stringify(field.value, (_, part: unknown) => {
      if (typeof part === "number" && !Number.isFinite(part)) throw new RangeError("no JSON");
      return part;
    });
  } catch {
    text = undefined;
  }
  if (text === undefined) return field.fail("must be a JSON value");
  if (text.length <= VALUE_CHARACTERS) return JSON.parse(text) as JsonValue;
  return field.fail(
    `has ${String(text.length)} characters as JSON; at most ${String(VALUE_CHARACTERS)}`,
  );
}

function parseWalk(field: Field): ValueGenerator | undefined {
  const { start, step, min, max } = field.members("start", "step", "min", "max");
  const low = min.number(ANY) ?? -MAX_NUMBER;
  const high = max.number(ANY) ?? MAX_NUMBER;
  const from = start.required().number({ min: low, max: Math.max(low, high) });
  const by = step.required().number({ min: 0, max: MAX_NUMBER });
  if (high < low) max.fail("is below min");
  if (from === undefined || by === undefined) return undefined;
  return { kind: "walk", start: from, step: by, min: low, max: high };
}

function parseGenerator(field: Field): ValueGenerator {
  const fallback: ValueGenerator = { kind: "counter" };
  if (field.isAbsent || field.value === "counter") return fallback;
  if (typeof field.value !== "object") {
    field.fail("must be counter, or a mapping with one of increment, walk, choice, constant");
    return fallback;
  }
  const members = field.members(...KINDS);
  const given = KINDS.filter((kind) => !members[kind].isAbsent);
  const [kind] = given;
  if (kind === undefined || given.length > 1) {
    field.fail("must have one of increment, walk, choice, constant");
    return fallback;
  }
  const member = members[kind];
  switch (kind) {
    case "counter":
      member.fail('has no settings; write "value: counter"');
      return fallback;
    case "increment":
      return { kind, by: member.number(ANY) ?? 1 };
    case "walk":
      return parseWalk(member) ?? fallback;
    case "choice": {
      const of = member.items(1_000).flatMap((item) => parseValue(item) ?? []);
      if (of.length === 0) member.fail("must be a list of values");
      return { kind, of };
    }
    case "constant":
      return { kind, value: parseValue(member) ?? null };
  }
}

const numberOf = (text: string): number | undefined =>
  /^[0-9]{1,9}(?:\.[0-9]{1,9})?$/u.test(text) ? Number(text) : undefined;

function parseConfidence(field: Field): ScenarioWriter["confidence"] {
  if (typeof field.value !== "string") {
    const value = field.number({ min: 0, max: 1 });
    return value === undefined ? undefined : { min: value, max: value };
  }
  return field.quantity(
    (text) => rangeOf(text, numberOf),
    "a number from 0 to 1, or a range such as 0.6..0.9",
    ({ min, max }) => min >= 0 && max <= 1,
    "from 0 to 1",
  );
}

function parseWriter(item: Field, index: number, places: Places): ScenarioWriter {
  const fields = item
    .required()
    .members(
      "name",
      "at",
      "document",
      "keys",
      "rate",
      "from",
      "until",
      "value",
      "confidence",
      "source",
      "ttl",
    );
  const rate = fields.rate
    .required()
    .quantity(
      rateOf,
      "a rate such as 2/s, 30/min, 6/h or 1/d",
      (perMs) => perMs > 0 && perMs <= 1,
      "above 0 and up to 1000/s",
    );
  const confidence = parseConfidence(fields.confidence);
  const model = fields.source.text(LIMITS.tagBytes / 4);
  const ttlMs = timeOf(fields.ttl, 1);
  const untilMs = timeOf(fields.until, 0) ?? places.durationMs;
  const fromMs = timeOf(fields.from, 0) ?? 0;
  if (untilMs <= fromMs) fields.until.fail('must be after "from"');
  return {
    name: fields.name.text(80) ?? `writer ${String(index + 1)}`,
    agents: nodesAt(fields.at, places, false),
    document: parseDocument(fields.document),
    keys: parseKeys(fields.keys),
    // Of a rate that is wrong, nothing else is said.
    everyMs: rate === undefined ? places.durationMs : 1 / rate,
    fromMs,
    untilMs: Math.min(untilMs, places.durationMs),
    value: parseGenerator(fields.value),
    ...(confidence === undefined ? {} : { confidence }),
    ...(model === undefined ? {} : { source: { model } }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
  };
}

/** The writers. What they write is counted before it is planned. */
export function parseWriters(field: Field, places: Places): readonly ScenarioWriter[] {
  const writers = field
    .required()
    .items(MOST.writers)
    .map((item, index) => parseWriter(item, index, places));
  checkNames(writers, field);
  const writes = writers.reduce(
    (sum, { agents, everyMs, fromMs, untilMs }) =>
      sum + (agents.length * Math.max(0, untilMs - fromMs)) / everyMs,
    0,
  );
  if (writes > MOST.writes) {
    field.fail(
      `write ${String(Math.ceil(writes))} facts in all; at most ${String(MOST.writes)} are simulated. Lower a rate, or the duration`,
    );
  }
  const keys = writers.reduce((sum, writer) => sum + keysOf(writer).length, 0);
  if (keys > MOST.keys) {
    field.fail(`write to ${String(keys)} keys in all; at most ${String(MOST.keys)}`);
  }
  return writers;
}

function checkNames(parts: readonly { readonly name: string }[], field: Field): void {
  const names = parts.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) field.fail(`have the name ${JSON.stringify(twice)} twice`);
}

/** All keys that a writer's agents write. */
export const keysOf = ({ keys, agents }: ScenarioWriter): readonly string[] => [
  ...new Set(keys.flatMap((key) => agents.map((agent) => keyFor(key, agent)))),
];

/** The keys that a reader looks at. */
export const keysRead = (
  { document, prefix }: ScenarioReader,
  writers: readonly ScenarioWriter[],
): readonly string[] => [
  ...new Set(
    writers
      .filter((writer) => writer.document === document)
      .flatMap(keysOf)
      .filter((key) => key.startsWith(prefix)),
  ),
];

function parseReader(item: Field, index: number, places: Places): ScenarioReader {
  const { name, at, document, prefix, every } = item
    .required()
    .members("name", "at", "document", "prefix", "every");
  return {
    name: name.text(80) ?? `reader ${String(index + 1)}`,
    nodes: nodesAt(at, places, true),
    document: parseDocument(document),
    prefix: prefix.text(LIMITS.keyBytes / 4) ?? "",
    everyMs: timeOf(every.required(), 100) ?? places.durationMs,
  };
}

/** The readers. */
export function parseReaders(
  field: Field,
  places: Places,
  writers: readonly ScenarioWriter[],
): readonly ScenarioReader[] {
  let reads = 0;
  const readers = field.items(MOST.readers).map((item, index) => {
    const reader = parseReader(item, index, places);
    const keys = keysRead(reader, writers).length;
    if (keys === 0 && reader.document !== "") {
      item.fail(`looks at no key that is written: see its document and prefix`);
    }
    reads += (reader.nodes.length * keys * places.durationMs) / reader.everyMs;
    return reader;
  });
  checkNames(readers, field);
  if (reads > MOST.reads) {
    field.fail(
      `read ${String(Math.ceil(reads))} keys in all; at most ${String(MOST.reads)}. Look less often than every ${showTime(Math.min(...readers.map(({ everyMs }) => everyMs)))}, or at fewer keys`,
    );
  }
  return readers;
}
