// SPDX-License-Identifier: Apache-2.0
/** Parsers of the requests about documents as a whole: shape only. All throw `INPUT_INVALID`, and `LIMIT_EXCEEDED` for too many items. */
import { LIMITS } from "@ctxmesh/model";
import type {
  DocumentQuery,
  FactChanges,
  JsonValue,
  RootEdit,
  TextStep,
  WriteOptions,
} from "@ctxmesh/model";
import {
  ACK_FIELDS,
  WRITE_FIELDS,
  readArray,
  readFact,
  readLimit,
  readObject,
  readQuery,
  readString,
  readStrings,
  readWriteOptions,
  refuse,
} from "./requests.ts";

/** Body of `POST /v1/batch`. */
export interface ChangeRequest extends WriteOptions {
  readonly doc: string;
  readonly changes: FactChanges;
}

/** Body of `POST /v1/edits`. */
export interface EditRequest extends Omit<WriteOptions, "priority"> {
  readonly doc: string;
  readonly edits: readonly RootEdit[];
}

/** Parses the body of `POST /v1/batch`. */
export function parseChangeRequest(body: unknown): ChangeRequest {
  const fields = readObject(body, "body", ["doc", "put", "delete", ...WRITE_FIELDS]);
  const max = LIMITS.factsPerWrite;
  const put = readArray(fields["put"] ?? [], "put", max);
  return {
    doc: readString(fields["doc"], "doc"),
    changes: {
      put: put.map((fact, i) => readFact(fact, `put[${String(i)}]`)),
      delete: readStrings(fields["delete"] ?? [], "delete", max),
    },
    ...readWriteOptions(fields),
  };
}

/** Parses the query of `GET /v1/documents`. */
export function parseDocumentQuery(query: unknown): DocumentQuery {
  const { limit, ...texts } = readQuery(query, ["prefix", "after", "limit"]);
  return { ...texts, ...readLimit(limit) };
}

/** Parses the query of `GET /v1/content`. */
export function parseContentQuery(query: unknown): string {
  return readString(readQuery(query, ["doc"])["doc"], "doc");
}

function readCount(value: unknown, at: string, least: number): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= least
    ? value
    : refuse(at, `${at} must be a whole number from ${String(least)}`);
}

type JsonMembers = Readonly<Record<string, JsonValue>>;

const readMembers = (value: unknown, at: string): JsonMembers =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as JsonMembers)
    : refuse(at, `${at} must be a JSON object`);

function readStep(value: unknown, at: string): TextStep {
  const step = readObject(value, at, ["retain", "delete", "insert", "attributes"]);
  const { retain, insert, attributes } = step;
  const kinds = [retain, step["delete"], insert].filter((kind) => kind !== undefined);
  if (kinds.length !== 1) refuse(at, `${at} must have one of retain, delete and insert`);
  const how =
    attributes === undefined ? {} : { attributes: readMembers(attributes, `${at}.attributes`) };
  if (retain !== undefined) return { retain: readCount(retain, `${at}.retain`, 1), ...how };
  if (insert !== undefined) {
    const inserted = typeof insert === "string" ? insert : readMembers(insert, `${at}.insert`);
    if (inserted === "") refuse(`${at}.insert`, `${at}.insert is empty`);
    return { insert: inserted, ...how };
  }
  if (attributes !== undefined)
    refuse(`${at}.attributes`, `${at}: what is deleted has no attributes`);
  return { delete: readCount(step["delete"], `${at}.delete`, 1) };
}

function readList(fields: Readonly<Record<string, unknown>>, at: string): RootEdit {
  const { insert } = fields;
  const values =
    insert === undefined
      ? {}
      : { insert: readArray(insert, `${at}.insert`, LIMITS.factsPerFrame) as readonly JsonValue[] };
  const count =
    fields["delete"] === undefined
      ? {}
      : { delete: readCount(fields["delete"], `${at}.delete`, 1) };
  return {
    list: readString(fields["list"], `${at}.list`),
    at: readCount(fields["at"], `${at}.at`, 0),
    ...count,
    ...values,
  };
}

function readEdit(value: unknown, at: string): RootEdit {
  const known = ["text", "delta", "list", "at", "insert", "map", "set", "delete"];
  const { text, list } = readObject(value, at, known);
  if (text !== undefined) {
    const fields = readObject(value, at, ["text", "delta"]);
    const delta = readArray(fields["delta"], `${at}.delta`, LIMITS.editSteps);
    return {
      text: readString(text, `${at}.text`),
      delta: delta.map((step, i) => readStep(step, `${at}.delta[${String(i)}]`)),
    };
  }
  if (list !== undefined)
    return readList(readObject(value, at, ["list", "at", "delete", "insert"]), at);
  const fields = readObject(value, at, ["map", "set", "delete"]);
  const { map, set } = fields;
  if (map === undefined)
    refuse(at, `${at} must have one of text, list and map, the name of a root`);
  const gone = fields["delete"];
  return {
    map: readString(map, `${at}.map`),
    ...(set === undefined ? {} : { set: readMembers(set, `${at}.set`) }),
    ...(gone === undefined ? {} : { delete: readStrings(gone, `${at}.delete`, LIMITS.editSteps) }),
  };
}

/** Parses the body of `POST /v1/edits`. */
export function parseEditRequest(body: unknown): EditRequest {
  const fields = readObject(body, "body", ["doc", "edits", ...ACK_FIELDS]);
  const edits = readArray(fields["edits"], "edits", LIMITS.editSteps);
  return {
    doc: readString(fields["doc"], "doc"),
    edits: edits.map((edit, i) => readEdit(edit, `edits[${String(i)}]`)),
    ...readWriteOptions(fields),
  };
}
