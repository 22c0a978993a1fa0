// SPDX-License-Identifier: Apache-2.0
/** The operations of the local API on facts and documents. */
import { LIMITS } from "@ctxmesh/model";
import {
  ACK_PROPERTIES,
  DOCUMENT,
  IDEMPOTENCY,
  KEY,
  WRITE_PROPERTIES,
} from "./operation-schemas.ts";
import {
  FLAG,
  STRING,
  closed,
  list,
  needed,
  ok,
  parameter,
  problem,
  ref,
  shape,
} from "./operations.ts";
import type { OperationAnswer, Operations, Parameter, Schema } from "./operations.ts";

const DOC = "line-2/press-7";
const TEMPERATURE = "temperature";

const ETAG: OperationAnswer["headers"] = {
  ETag: { description: "The fact's version, in quotes.", schema: STRING },
};
const RECEIPT = ok(
  "It is on this node's disk, or has got as far as it was to.",
  ref("WriteReceipt"),
);
const CONFLICT = problem("Another write had this idempotency key; or a value breaks its schema.");
const LATE = problem(
  "It is on this node's disk and goes on by itself; it has not got further in time.",
);

const doc = needed("The document.", DOC, DOCUMENT);
const key = needed("The key.", TEMPERATURE, KEY);
const at = parameter(
  "As of a moment: RFC 3339 with a zone, or Unix milliseconds. One before what is kept is 410 HISTORY_PRUNED.",
);
const covers = parameter("The token of a write, from any node: answered once that write is here.");
const limit = parameter("At most so many; default 1000.", {
  type: "integer",
  minimum: 1,
  maximum: 10_000,
});
const TIMEOUT: Schema = { type: "integer", minimum: 1, maximum: LIMITS.askMs };
const level: Readonly<Record<string, Parameter>> = {
  consistency: parameter("What the answer must know of; default eventual, what is here.", {
    enum: ["eventual", "bounded", "strong"],
  }),
  maxStalenessMs: parameter("With bounded: everything that a hub had so many milliseconds ago.", {
    type: "integer",
    minimum: 1,
    maximum: LIMITS.stalenessMs,
  }),
  timeoutMs: parameter("How long it may take to find out.", TIMEOUT),
};
const prefix = parameter("Keys that begin so.");
const pattern = parameter("Keys that match: * is any text between slashes, ** any text.");

const body = (required: readonly string[], properties: Readonly<Record<string, Schema>>): Schema =>
  closed(required, properties);

/** Writes of facts and of rich content. */
const WRITES: Operations = {
  "POST /v1/facts": {
    id: "putFacts",
    summary: "Writes facts of one document as one unit.",
    headers: {
      ...IDEMPOTENCY,
      "If-Match": parameter(
        "Of one fact: write only while this is its version, else 412 VERSION_CONFLICT.",
      ),
      "If-None-Match": parameter("Of one fact, *: write only while nothing is visible."),
    },
    body: {
      schema: body(["doc", "facts"], {
        doc: DOCUMENT,
        facts: { ...list(ref("FactInput")), minItems: 1, maxItems: LIMITS.factsPerWrite },
        ...WRITE_PROPERTIES,
      }),
      examples: {
        one: { doc: DOC, facts: [{ key: TEMPERATURE, value: 71.5 }] },
        sourced: {
          doc: DOC,
          facts: [
            {
              key: "verdict",
              value: { state: "worn", parts: ["bearing"] },
              confidence: 0.8,
              source: { model: "wear-detector", version: "2.1.0" },
              ttlMs: 86_400_000,
              tags: ["maintenance"],
            },
          ],
          priority: "high",
        },
      },
    },
    answers: {
      "200": { ...RECEIPT, headers: ETAG ?? {} },
      "412": problem("The key has another version: it is in ETag."),
      "422": CONFLICT,
      "504": LATE,
    },
  },
  "POST /v1/facts/compare-and-set": {
    id: "compareAndSet",
    summary: "Writes a fact while its key has a version, decided here or by the hub.",
    body: {
      schema: closed(["doc", "fact", "expect"], {
        doc: DOCUMENT,
        fact: ref("FactInput"),
        expect: { type: ["string", "null"], description: "The version to replace; null: none." },
        consistency: { enum: ["eventual", "strong"] },
        timeoutMs: TIMEOUT,
      }),
      examples: { first: { doc: DOC, fact: { key: "shift", value: "early" }, expect: null } },
    },
    answers: {
      "200": { ...ok("It was made.", ref("CompareReceipt")), headers: ETAG ?? {} },
      "412": problem("The key has another version."),
      "503": problem("No hub answers, with strong."),
      "504": problem("A hub was asked and did not say what became of it."),
    },
  },
  "POST /v1/facts/delete": {
    id: "deleteFacts",
    summary: "Deletes this node's own statements about keys.",
    headers: IDEMPOTENCY,
    body: {
      schema: body(["doc", "keys"], {
        doc: DOCUMENT,
        keys: { ...list(KEY), minItems: 1, maxItems: LIMITS.factsPerWrite },
        ...WRITE_PROPERTIES,
      }),
      examples: { one: { doc: DOC, keys: ["pressure"] } },
    },
    answers: { "200": RECEIPT, "422": CONFLICT, "504": LATE },
  },
  "POST /v1/batch": {
    id: "changeFacts",
    summary: "Writes facts and deletes others of one document as one unit.",
    headers: IDEMPOTENCY,
    body: {
      schema: body(["doc"], {
        doc: DOCUMENT,
        put: { ...list(ref("FactInput")), maxItems: LIMITS.factsPerWrite },
        delete: { ...list(KEY), maxItems: LIMITS.factsPerWrite },
        ...WRITE_PROPERTIES,
      }),
      examples: {
        move: { doc: DOC, put: [{ key: "slot-2/tool", value: "drill" }], delete: ["slot-1/tool"] },
      },
    },
    answers: { "200": RECEIPT, "422": CONFLICT, "504": LATE },
  },
  "POST /v1/retractions": {
    id: "retract",
    summary: "Rules that what a writer has said about a key so far does not count.",
    headers: IDEMPOTENCY,
    body: {
      schema: body(["doc", "key", "writer", "reason"], {
        doc: DOCUMENT,
        key: KEY,
        writer: { type: "string", pattern: "^[0-9a-f]{64}$" },
        reason: STRING,
        ...ACK_PROPERTIES,
      }),
      examples: {
        broken: {
          doc: DOC,
          key: "verdict",
          // The device key of the seed 01 01 ... 01.
          writer: "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
          reason: "the sensor was broken",
        },
      },
    },
    answers: { "200": RECEIPT, "422": CONFLICT, "504": LATE },
  },
  "POST /v1/edits": {
    id: "editContent",
    summary: "Edits the rich content of a document as one unit.",
    headers: IDEMPOTENCY,
    body: {
      schema: body(["doc", "edits"], {
        doc: DOCUMENT,
        edits: { ...list(ref("RootEdit")), minItems: 1 },
        ...ACK_PROPERTIES,
      }),
      examples: {
        begin: {
          doc: DOC,
          edits: [
            { text: "notes", delta: [{ insert: "Bearing is warm." }] },
            { list: "todo", at: 0, insert: ["order a bearing"] },
            { map: "shift", set: { lead: "Ada" } },
          ],
        },
        goOn: {
          doc: DOC,
          edits: [
            {
              text: "notes",
              delta: [{ retain: 11 }, { delete: 4 }, { insert: "hot", attributes: { bold: true } }],
            },
          ],
        },
      },
    },
    answers: { "200": RECEIPT, "422": CONFLICT, "504": LATE },
  },
};

/** Reads of facts and of rich content. */
const READS: Operations = {
  "GET /v1/fact": {
    id: "getFact",
    summary: "The visible fact of a key; with all, beside every writer's candidate.",
    query: {
      doc,
      key,
      all: parameter("1: {fact?, candidates}.", FLAG),
      at,
      covers,
      ...level,
    },
    headers: { "If-None-Match": parameter("304 while this is the version.") },
    answers: {
      "200": {
        ...ok("The fact.", {
          anyOf: [
            ref("VisibleFact"),
            shape(["candidates"], { fact: ref("VisibleFact"), candidates: list(ref("Candidate")) }),
          ],
        }),
        headers: ETAG ?? {},
      },
      "304": { description: "It has this version still.", headers: ETAG ?? {} },
      "404": problem("Nothing is visible."),
      "410": problem("The moment lies before what is kept."),
      "503": problem(
        "Nothing shows that the answer knows what it must; or no hub answers, with strong.",
      ),
      "504": problem("The write of covers is not here in time."),
    },
  },
  "GET /v1/facts": {
    id: "listFacts",
    summary: "Visible facts in the order of documents and keys.",
    query: {
      doc: parameter("One document; all by default.", DOCUMENT),
      prefix,
      pattern: { ...pattern, example: "slot-*/tool" },
      source: parameter("Keys with a candidate of this model."),
      tag: parameter("Keys with a candidate that has this tag."),
      after: parameter("Keys after this one; needs doc."),
      limit,
      at,
      covers,
      ...level,
    },
    answers: {
      "200": ok("Maybe none.", shape(["facts"], { facts: list(ref("VisibleFact")) })),
      "410": problem("The moment lies before what is kept."),
      "503": problem(
        "Nothing shows that the answer knows what it must; or no hub answers, with strong.",
      ),
      "504": problem("The write of covers is not here in time."),
    },
  },
  "GET /v1/history": {
    id: "history",
    summary: "What was said about a key, newest first, whether it counts or not.",
    query: {
      doc,
      key,
      limit: parameter("Entries of a page; default 100.", {
        type: "integer",
        minimum: 1,
        maximum: 1_000,
      }),
      before: parameter("next of the page before."),
    },
    answers: {
      "200": ok(
        "A page.",
        shape(["entries", "reachesBack"], {
          entries: list(ref("HistoryEntry")),
          next: STRING,
          reachesBack: {},
        }),
      ),
    },
  },
  "GET /v1/documents": {
    id: "listDocuments",
    summary: "The documents of which something is here, by name.",
    query: {
      prefix: { ...parameter("Names that begin so."), example: "line-2/" },
      after: parameter("Names after this one."),
      limit,
    },
    answers: {
      "200": ok("Maybe none.", shape(["documents"], { documents: list(ref("DocumentSummary")) })),
    },
  },
  "GET /v1/content": {
    id: "getContent",
    summary: "The rich content of a document as plain JSON.",
    query: { doc },
    answers: {
      "200": ok(
        "Its roots; maybe none.",
        shape(["content"], { content: list(ref("RootContent")) }),
      ),
    },
  },
};

/** What follows changes. */
const STREAMS: Operations = {
  "GET /v1/watch": {
    id: "watch",
    summary:
      "Changes of visible facts as they come: server-sent events; with an upgrade, a WebSocket.",
    query: { doc: parameter("One document; all by default.", DOCUMENT), prefix },
    answers: {
      "200": ok(
        "Events named change with a ChangeEvent as JSON, and error with a Problem as the last.",
        STRING,
        "text/event-stream; charset=utf-8",
      ),
    },
  },
  "GET /v1/events": {
    id: "events",
    summary:
      "What was said, as CloudEvents: a page; with stream=1 or follow=1 server-sent events, with an upgrade a WebSocket.",
    query: {
      since: parameter("Behind a position, or from a moment on."),
      until: parameter("Up to a position or a moment, both included."),
      doc: parameter("One document; all by default.", DOCUMENT),
      prefix,
      pattern,
      source: parameter("The model that the writer named as its source."),
      minConfidence: parameter("At least as sure.", { type: "number", minimum: 0, maximum: 1 }),
      priority: parameter("Of this priority.", { enum: ["high", "normal", "low"] }),
      model: parameter("What is for all, and what is for this model."),
      limit: {
        ...parameter("Events of a page; default 100."),
        schema: { type: "integer", minimum: 1, maximum: 1_000 },
        example: 10,
      },
      stream: parameter("1: all that there is.", FLAG),
      follow: parameter("1: that, and what comes.", FLAG),
      rate: parameter("Events of a stream in a second, at most.", {
        type: "number",
        exclusiveMinimum: 0,
      }),
    },
    headers: {
      "Last-Event-ID": parameter("Counts more than since; browsers send it by themselves."),
    },
    answers: {
      "200": {
        ...ok("A page.", list(ref("FactEvent")), "application/cloudevents-batch+json"),
      },
      "410": problem("What is asked for is not kept any more."),
    },
  },
};

/** All of them. */
export const FACT_OPERATIONS: Operations = { ...WRITES, ...READS, ...STREAMS };
