// SPDX-License-Identifier: Apache-2.0
/** The JSON Schemas (2020-12) of what goes in and out of the local API. Answers may have more members than they name. */
import { LIMITS } from "@ctxmesh/model";
import { ANY, COUNT, STRING, closed, list, parameter, ref, shape } from "./operations.ts";
import type { Parameter, Schema } from "./operations.ts";

const CONFIDENCE: Schema = { type: "number", minimum: 0, maximum: 1 };
const HEX: Schema = { type: "string", pattern: "^[0-9a-f]+$" };
const BOOLEAN: Schema = { type: "boolean" };
const TEXTS: Schema = list(STRING);
const PRIORITY: Schema = { enum: ["high", "normal", "low"] };

/** Names of documents. */
export const DOCUMENT: Schema = {
  type: "string",
  maxLength: 200,
  pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$",
};
/** Keys of facts. */
export const KEY: Schema = {
  type: "string",
  minLength: 1,
  description: `1 to ${String(LIMITS.keyBytes)} bytes of UTF-8 without control characters.`,
};

/** The header by which a write is made once. */
export const IDEMPOTENCY: Readonly<Record<string, Parameter>> = {
  "Idempotency-Key": parameter(
    "A name for the write: repeated under it within a day, the same write is made once and answered alike; another one is 422 IDEMPOTENCY_CONFLICT.",
    { type: "string", minLength: 1, maxLength: LIMITS.idempotencyKeyLength },
  ),
};

/** What every write may have in its body. */
export const ACK_PROPERTIES: Readonly<Record<string, Schema>> = {
  ack: {
    enum: ["local", "hub", "sealed"],
    description:
      "How far the write has to get before it is answered; default local, this node's disk.",
  },
  timeoutMs: { type: "integer", minimum: 1, maximum: LIMITS.ackTimeoutMs },
};
/** What writes of facts may have besides. */
export const WRITE_PROPERTIES: Readonly<Record<string, Schema>> = {
  ...ACK_PROPERTIES,
  priority: { ...PRIORITY, description: "What goes first, and last, over a link with a backlog." },
};

const SOURCE_PROPERTIES = { model: STRING, version: STRING, instance: STRING };

const FACTS: Readonly<Record<string, Schema>> = {
  FactSource: closed(["model"], SOURCE_PROPERTIES),
  FactInput: closed(["key", "value"], {
    key: KEY,
    value: { description: `Any JSON, ${String(LIMITS.valueBytes)} bytes at most.` },
    increment: {
      ...BOOLEAN,
      description: "Add the value to this node's own number under the key.",
    },
    confidence: CONFIDENCE,
    source: ref("FactSource"),
    ttlMs: { type: "integer", minimum: 1 },
    tags: TEXTS,
    basis: TEXTS,
    correlation: STRING,
    traceparent: STRING,
    targets: TEXTS,
  }),
  VisibleFact: shape(
    ["doc", "key", "value", "writer", "hlc", "version", "ageMs", "contested", "resolver"],
    {
      doc: DOCUMENT,
      key: KEY,
      value: ANY,
      writer: HEX,
      hlc: COUNT,
      version: { ...HEX, description: "Changes whenever the answer could; the entity tag." },
      ageMs: { type: "number", description: "Since the winner was written, by this node's clock." },
      contested: BOOLEAN,
      incomplete: BOOLEAN,
      resolver: STRING,
      confidence: CONFIDENCE,
      source: shape(["model"], SOURCE_PROPERTIES),
      tags: TEXTS,
      from: { enum: ["replica", "hub"], description: "Where the answer comes from." },
      asOf: {
        ...COUNT,
        description: "Everything that a hub had then is in it, Unix milliseconds.",
      },
    },
  ),
  Candidate: shape(["writer", "incarnation", "seq", "hlc", "deleted", "standing"], {
    writer: HEX,
    incarnation: HEX,
    seq: COUNT,
    hlc: COUNT,
    value: ANY,
    deleted: BOOLEAN,
    standing: { enum: ["shown", "undominated", "dominated", "expired", "retracted", "invalid"] },
  }),
  WriteReceipt: shape(["acknowledged", "hlc", "facts", "incarnation", "seq"], {
    acknowledged: { enum: ["local", "hub", "sealed"] },
    hlc: COUNT,
    facts: COUNT,
    incarnation: HEX,
    seq: COUNT,
    token: { ...STRING, description: "For the parameter covers of reads, on any node." },
  }),
  CompareReceipt: shape(["acknowledged", "hlc", "decidedBy", "version"], {
    acknowledged: { enum: ["local", "hub", "sealed"] },
    hlc: COUNT,
    decidedBy: { enum: ["replica", "hub"] },
    version: HEX,
  }),
  HistoryEntry: shape(["kind", "writer", "incarnation", "seq", "hlc", "batch", "counts"], {
    kind: { enum: ["statement", "retraction"] },
    writer: HEX,
    batch: shape(["seq", "hash"], { seq: COUNT, hash: HEX }),
    counts: BOOLEAN,
  }),
  ChangeEvent: shape(["doc", "key", "origin"], {
    doc: DOCUMENT,
    key: KEY,
    fact: ref("VisibleFact"),
    origin: { enum: ["local", "remote"] },
  }),
  FactEvent: shape(
    ["specversion", "id", "source", "type", "subject", "time", "data", "position"],
    {
      specversion: { const: "1.0" },
      id: STRING,
      source: STRING,
      type: STRING,
      subject: STRING,
      time: { type: "string", format: "date-time" },
      data: shape(["doc", "key"], {
        doc: DOCUMENT,
        key: KEY,
        value: ANY,
        previous: ANY,
        current: ANY,
      }),
      position: { ...STRING, description: "To go on from: since, Last-Event-ID." },
    },
    "A CloudEvent (https://cloudevents.io, 1.0.2).",
  ),
};

const ATTRIBUTES: Schema = { type: "object" };
const POSITIVE: Schema = { type: "integer", minimum: 1 };

const DOCUMENTS: Readonly<Record<string, Schema>> = {
  DocumentSummary: shape(["doc", "bytes"], { doc: DOCUMENT, bytes: COUNT }),
  RootContent: shape(["root", "type", "value"], {
    root: STRING,
    type: { enum: ["text", "list", "map", "xml"] },
    value: ANY,
  }),
  TextStep: {
    description: "As in the Quill Delta format.",
    oneOf: [
      closed(["retain"], { retain: POSITIVE, attributes: ATTRIBUTES }),
      closed(["delete"], { delete: POSITIVE }),
      closed(["insert"], { insert: { type: ["string", "object"] }, attributes: ATTRIBUTES }),
    ],
  },
  RootEdit: {
    oneOf: [
      closed(["text", "delta"], { text: STRING, delta: list(ref("TextStep")) }),
      closed(["list", "at"], {
        list: STRING,
        at: COUNT,
        delete: POSITIVE,
        insert: { type: "array" },
      }),
      closed(["map"], { map: STRING, set: { type: "object" }, delete: TEXTS }),
    ],
  },
};

const ENTRY_REQUIRED = ["docs", "prefix", "version", "compatibility", "schema"];
const ENTRY = {
  docs: {
    ...STRING,
    description: "Names of documents: * is any text between slashes, ** any text.",
  },
  prefix: { ...STRING, description: "The beginning of the keys." },
  version: { ...STRING, description: "major.minor.patch" },
  compatibility: { enum: ["backward", "forward", "full"] },
  schema: { type: ["object", "boolean"], description: "JSON Schema 2020-12." },
  ttlMs: POSITIVE,
  priority: PRIORITY,
  consistency: { enum: ["eventual", "bounded", "strong"] },
  maxStalenessMs: POSITIVE,
};

const SCHEMAS: Readonly<Record<string, Schema>> = {
  SchemaEntry: closed(ENTRY_REQUIRED, ENTRY),
  SchemaReport: shape([...ENTRY_REQUIRED, "act", "by", "publishedAt", "resolver", "standing"], {
    ...ENTRY,
    act: HEX,
    by: HEX,
    publishedAt: COUNT,
    resolver: STRING,
    standing: { enum: ["current", "accepted", "replaced"] },
  }),
  SchemaCheck: shape(["compatible", "differences"], {
    compatible: BOOLEAN,
    against: STRING,
    differences: list(shape(["path", "problem"], { path: STRING, problem: STRING })),
  }),
};

const NODE: Readonly<Record<string, Schema>> = {
  DecisionReceipt: shape(["id", "counter", "doc", "key", "envelope", "write"], {
    id: STRING,
    counter: COUNT,
    doc: DOCUMENT,
    key: KEY,
    envelope: STRING,
    write: ref("WriteReceipt"),
  }),
  NodeStatus: shape(
    ["service", "version", "space", "device", "ready", "documents", "facts", "contested"],
    {
      service: { enum: ["agent", "hub"] },
      version: STRING,
      space: HEX,
      device: HEX,
      ready: BOOLEAN,
      documents: COUNT,
      facts: COUNT,
      contested: COUNT,
      peers: { type: "array" },
    },
  ),
  MembershipReport: shape(["space", "name", "creators", "digest", "members", "revocations"], {
    space: HEX,
    name: STRING,
    creators: TEXTS,
    digest: HEX,
    members: { type: "array" },
    revocations: { type: "array" },
  }),
  ActsReceipt: shape(["added", "refused"], {
    added: COUNT,
    refused: list(shape(["code", "message"], { code: STRING, message: STRING })),
  }),
};

/** All of them, by name. */
export const OPERATION_SCHEMAS: Readonly<Record<string, Schema>> = {
  ...FACTS,
  ...DOCUMENTS,
  ...SCHEMAS,
  ...NODE,
};
