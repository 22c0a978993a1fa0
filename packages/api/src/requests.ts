// SPDX-License-Identifier: Apache-2.0
/**
 * Parsers of request bodies and query strings: shape only, nothing unknown, nothing twice. What the
 * strings and numbers mean is checked by the service. All throw `INPUT_INVALID`.
 */
import { LIMITS, MeshError, parseInstant } from "@ctxmesh/model";
import type {
  AckLevel,
  FactInput,
  FactSource,
  FetchQuery,
  HistoryQuery,
  JsonValue,
  ListQuery,
  OmissionQuery,
  Priority,
  WatchQuery,
  WriteOptions,
} from "@ctxmesh/model";

/** Body of `POST /v1/facts`. */
export interface PutRequest extends WriteOptions {
  readonly doc: string;
  readonly facts: readonly FactInput[];
}

/** Body of `POST /v1/facts/delete`. */
export interface DeleteRequest extends WriteOptions {
  readonly doc: string;
  readonly keys: readonly string[];
}

/** Body of `POST /v1/retractions`. */
export interface RetractRequest extends Omit<WriteOptions, "priority"> {
  readonly doc: string;
  readonly key: string;
  /** Device key, hex. */
  readonly writer: string;
  readonly reason: string;
}

const LEVEL_FIELDS = ["consistency", "maxStalenessMs", "timeoutMs"] as const;

/** The parameters of a read that say how sure it is to be. */
export type LevelTexts = Readonly<Partial<Record<(typeof LEVEL_FIELDS)[number], string>>>;

/** Query of `GET /v1/fact`. */
export interface GetRequest {
  readonly doc: string;
  readonly key: string;
  /** With every writer's candidate. */
  readonly all: boolean;
  /** As of this moment, Unix milliseconds. */
  readonly at?: number;
  /** The token of a write that has to be here first. */
  readonly covers?: string;
  /** How sure the answer is to be. */
  readonly level?: LevelTexts;
}

/** Query of `GET /v1/facts`. */
export interface ListRequest extends ListQuery {
  /** As of this moment, Unix milliseconds. */
  readonly at?: number;
  /** The token of a write that has to be here first. */
  readonly covers?: string;
  /** How sure the answer is to be. */
  readonly level?: LevelTexts;
}

/** Query of `GET /v1/history`. */
export interface HistoryRequest extends HistoryQuery {
  readonly doc: string;
  readonly key: string;
}

/** The members of an object. */
export type Fields = Readonly<Record<string, unknown>>;

/** Refuses a part of a request. */
export function refuse(field: string, message: string, remedy?: string): never {
  throw new MeshError("INPUT_INVALID", message, {
    field,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

/** An object with no members but the known ones. */
export function readObject(value: unknown, at: string, known: readonly string[]): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return refuse(at, `${at} must be a JSON object`);
  }
  for (const name of Object.keys(value)) {
    if (!known.includes(name)) {
      const shown = JSON.stringify(name.slice(0, 80));
      refuse(at, `${at} has the unknown field ${shown}`, `known are ${known.join(", ")}`);
    }
  }
  return value as Fields;
}

/** A string. */
export function readString(value: unknown, at: string): string {
  return typeof value === "string" ? value : refuse(at, `${at} must be a string`);
}

/** An array of at most `max` items. Also throws `LIMIT_EXCEEDED`. */
export function readArray(value: unknown, at: string, max: number): readonly unknown[] {
  if (!Array.isArray(value)) return refuse(at, `${at} must be an array`);
  if (value.length > max) {
    const message = `${at} has ${String(value.length)} items; at most ${String(max)} are allowed`;
    throw new MeshError("LIMIT_EXCEEDED", message, { field: at });
  }
  return value;
}

/** An array of strings, as {@link readArray}. */
export const readStrings = (value: unknown, at: string, max: number): readonly string[] =>
  readArray(value, at, max).map((item, index) => readString(item, `${at}[${String(index)}]`));

/** A number. */
export function readNumber(value: unknown, at: string): number {
  return typeof value === "number" ? value : refuse(at, `${at} must be a number`);
}

/** True or false. */
export function readBoolean(value: unknown, at: string): boolean {
  return typeof value === "boolean" ? value : refuse(at, `${at} must be true or false`);
}

/** Where a fact or a decision came from. */
export function readSource(value: unknown, at: string): FactSource {
  const fields = readObject(value, at, ["model", "version", "instance"]);
  const { version, instance } = fields;
  return {
    model: readString(fields["model"], `${at}.model`),
    ...(version === undefined ? {} : { version: readString(version, `${at}.version`) }),
    ...(instance === undefined ? {} : { instance: readString(instance, `${at}.instance`) }),
  };
}

const FACT_FIELDS = [
  "key",
  "value",
  "increment",
  "confidence",
  "source",
  "ttlMs",
  "tags",
  "basis",
  "correlation",
  "traceparent",
  "targets",
] as const satisfies readonly (keyof FactInput)[];

/** A fact as a caller writes it. Also throws `LIMIT_EXCEEDED`. */
export function readFact(input: unknown, at: string): FactInput {
  const fields = readObject(input, at, FACT_FIELDS);
  const { value, increment, confidence, source, ttlMs, tags, basis } = fields;
  const { correlation, traceparent, targets } = fields;
  if (value === undefined) refuse(`${at}.value`, `${at}.value is missing`);
  const max = LIMITS.tagsPerFact;
  return {
    key: readString(fields["key"], `${at}.key`),
    value: value as JsonValue,
    ...(increment === undefined ? {} : { increment: readBoolean(increment, `${at}.increment`) }),
    ...(confidence === undefined ? {} : { confidence: readNumber(confidence, `${at}.confidence`) }),
    ...(source === undefined ? {} : { source: readSource(source, `${at}.source`) }),
    ...(ttlMs === undefined ? {} : { ttlMs: readNumber(ttlMs, `${at}.ttlMs`) }),
    ...(tags === undefined ? {} : { tags: readStrings(tags, `${at}.tags`, max) }),
    ...(basis === undefined ? {} : { basis: readStrings(basis, `${at}.basis`, max) }),
    ...(correlation === undefined
      ? {}
      : { correlation: readString(correlation, `${at}.correlation`) }),
    ...(traceparent === undefined
      ? {}
      : { traceparent: readString(traceparent, `${at}.traceparent`) }),
    ...(targets === undefined ? {} : { targets: readStrings(targets, `${at}.targets`, max) }),
  };
}

/** How far a write has to get. */
export const ACK_FIELDS: readonly (keyof WriteOptions)[] = ["ack", "timeoutMs"];
/** That, and how urgent it is. */
export const WRITE_FIELDS: readonly (keyof WriteOptions)[] = [...ACK_FIELDS, "priority"];

/** Of {@link WRITE_FIELDS}; which levels and priorities there are, the service knows. */
export function readWriteOptions({ ack, timeoutMs, priority }: Fields): WriteOptions {
  return {
    ...(priority === undefined ? {} : { priority: readString(priority, "priority") as Priority }),
    ...(ack === undefined ? {} : { ack: readString(ack, "ack") as AckLevel }),
    ...(timeoutMs === undefined ? {} : { timeoutMs: readNumber(timeoutMs, "timeoutMs") }),
  };
}

/** Parses the JSON body of a write. Also throws `LIMIT_EXCEEDED`. */
export function parsePutRequest(body: unknown): PutRequest {
  const fields = readObject(body, "body", ["doc", "facts", ...WRITE_FIELDS]);
  const facts = readArray(fields["facts"], "facts", LIMITS.factsPerWrite);
  return {
    doc: readString(fields["doc"], "doc"),
    facts: facts.map((fact, index) => readFact(fact, `facts[${String(index)}]`)),
    ...readWriteOptions(fields),
  };
}

/** Parses the JSON body of a deletion. Also throws `LIMIT_EXCEEDED`. */
export function parseDeleteRequest(body: unknown): DeleteRequest {
  const fields = readObject(body, "body", ["doc", "keys", ...WRITE_FIELDS]);
  return {
    doc: readString(fields["doc"], "doc"),
    keys: readStrings(fields["keys"], "keys", LIMITS.factsPerWrite),
    ...readWriteOptions(fields),
  };
}

/** Parses the JSON body of a retraction. */
export function parseRetractRequest(body: unknown): RetractRequest {
  const fields = readObject(body, "body", ["doc", "key", "writer", "reason", ...ACK_FIELDS]);
  return {
    doc: readString(fields["doc"], "doc"),
    key: readString(fields["key"], "key"),
    writer: readString(fields["writer"], "writer"),
    reason: readString(fields["reason"], "reason"),
    ...readWriteOptions(fields),
  };
}

/** Parses the JSON body of a hand-over of membership acts: base64 (RFC 4648, section 4) as bytes. Also throws `LIMIT_EXCEEDED`. */
export function parseActsRequest(body: unknown): readonly Uint8Array[] {
  const { records } = readObject(body, "body", ["records"]);
  return readStrings(records, "records", LIMITS.acts).map((text, index) => {
    const bytes = Buffer.from(text, "base64");
    if (text === "" || bytes.toString("base64") !== text) {
      const at = `records[${String(index)}]`;
      refuse(at, `${at} is not base64`);
    }
    return new Uint8Array(bytes);
  });
}

/** Parses the JSON body of an operation that takes nothing. */
export function parseEmptyRequest(body: unknown): void {
  readObject(body, "body", []);
}

/** Parses the JSON body of `POST /v1/keys/rewrap`: where the new key is. */
export function parseRewrapRequest(body: unknown): string {
  return readString(readObject(body, "body", ["to"])["to"], "to");
}

/** Parses the JSON body of `POST /v1/seals`. */
export function parseSealRequest(body: unknown): { readonly after?: number } {
  const { after } = readObject(body, "body", ["after"]);
  if (after === undefined) return {};
  if (!Number.isSafeInteger(after) || Number(after) < 0) {
    refuse("after", "after must be the number of a seal, or 0 for none");
  }
  return { after: Number(after) };
}

/** Refuses every query parameter. */
export function parseNoQuery(query: unknown): void {
  readQuery(query, []);
}

/** A query string's parameters, as Fastify gives them: a repeated one is an array, which is refused. */
export function readQuery(
  query: unknown,
  known: readonly string[],
): Readonly<Record<string, string>> {
  const fields = readObject(query, "query", known);
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value !== "string") refuse(name, `query parameter ${name} is given more than once`);
  }
  return fields as Readonly<Record<string, string>>;
}

/** A flag of a query: absent or 0, or 1. */
export function readFlag(text: string | undefined, at: string): boolean {
  if (text === undefined || text === "0") return false;
  return text === "1" || refuse(at, `query parameter ${at} must be 1 or 0`);
}

const readInstant = (at: string | undefined): { readonly at?: number } =>
  at === undefined ? {} : { at: parseInstant(at) };

/** `limit` of a query. */
export function readLimit(limit: string | undefined): { readonly limit?: number } {
  if (limit === undefined) return {};
  if (!/^[1-9][0-9]{0,8}$/u.test(limit)) {
    refuse("limit", "query parameter limit must be a positive whole number");
  }
  return { limit: Number(limit) };
}

/** Parses the query of `GET /v1/fact`. */
export function parseGetRequest(query: unknown): GetRequest {
  const known = ["doc", "key", "all", "at", "covers", ...LEVEL_FIELDS];
  const { doc, key, all, at, covers, ...level } = readQuery(query, known);
  const request = { doc: readString(doc, "doc"), key: readString(key, "key") };
  const withAll = readFlag(all, "all");
  if (withAll && at !== undefined) {
    refuse("all", "the candidates of an earlier moment are not told", "ask for /v1/history");
  }
  const token = covers === undefined ? {} : { covers };
  const how = { ...token, ...readLevel(level, !withAll && at === undefined) };
  return { ...request, all: withAll, ...how, ...readInstant(at) };
}

/** The level of a read; refused where only what is here is told: of the past, and of every candidate. */
function readLevel(
  texts: Readonly<Record<string, string | undefined>>,
  isMeant: boolean,
): { readonly level?: LevelTexts } {
  const given = Object.entries(texts).filter(([, text]) => text !== undefined);
  const [field] = given[0] ?? [];
  if (field === undefined) return {};
  if (isMeant) return { level: Object.fromEntries(given) };
  const remedy = "leave it out, or at and all";
  return refuse(field, "the past, and all candidates, are told as this node knows them", remedy);
}

/** Parses the query of `GET /v1/history`. */
export function parseHistoryRequest(query: unknown): HistoryRequest {
  const { doc, key, limit, before } = readQuery(query, ["doc", "key", "limit", "before"]);
  return {
    doc: readString(doc, "doc"),
    key: readString(key, "key"),
    ...readLimit(limit),
    ...(before === undefined ? {} : { before }),
  };
}

/** Parses the query of `GET /v1/omissions`. */
export function parseOmissionQuery(query: unknown): OmissionQuery {
  const { proof, ...texts } = readQuery(query, ["doc", "before", "proof"]);
  return { ...texts, proof: readFlag(proof, "proof") };
}

/** Parses the body of `POST /v1/fetches`. */
export function parseFetchRequest(body: unknown): FetchQuery {
  const { doc, key, before } = readObject(body, "body", ["doc", "key", "before"]);
  return {
    doc: readString(doc, "doc"),
    ...(key === undefined ? {} : { key: readString(key, "key") }),
    ...(before === undefined ? {} : { before: readString(before, "before") }),
  };
}

const LIST_TEXTS = [
  "doc",
  "prefix",
  "pattern",
  "source",
  "tag",
  "after",
] as const satisfies readonly (keyof ListQuery)[];

/** Parses the query of `GET /v1/facts`. */
export function parseListQuery(query: unknown): ListRequest {
  const known = [...LIST_TEXTS, "covers", "limit", "at", ...LEVEL_FIELDS];
  const { limit, at, consistency, maxStalenessMs, timeoutMs, ...texts } = readQuery(query, known);
  const level = readLevel({ consistency, maxStalenessMs, timeoutMs }, at === undefined);
  return { ...texts, ...level, ...readLimit(limit), ...readInstant(at) };
}

/** Parses the query of `GET /v1/watch`. */
export function parseWatchQuery(query: unknown): WatchQuery {
  const { doc, prefix } = readQuery(query, ["doc", "prefix"]);
  return { ...(doc === undefined ? {} : { doc }), ...(prefix === undefined ? {} : { prefix }) };
}

/** Parses the query of `GET /v1/status`. */
export function parseStatusQuery(query: unknown): { readonly digest: boolean } {
  return { digest: readFlag(readQuery(query, ["digest"])["digest"], "digest") };
}

/** Parses the query of `GET /v1/bundles/:sequence`. */
export function parseBundleQuery(query: unknown): { readonly batches: boolean } {
  return { batches: readFlag(readQuery(query, ["batches"])["batches"], "batches") };
}

/** Parses the last path segment of `GET /v1/bundles/:sequence`; undefined for `latest`. */
export function parseBundleSequence(text: string): number | undefined {
  if (text === "latest") return undefined;
  if (!/^(0|[1-9][0-9]{0,14})$/u.test(text)) {
    refuse("sequence", 'a bundle is named by its sequence number or "latest"');
  }
  return Number(text);
}
