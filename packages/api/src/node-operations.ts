// SPDX-License-Identifier: Apache-2.0
/** The operations of the local API on the node itself: its state, members, store, decisions, and a hub's seals. */
import { DOCUMENT, IDEMPOTENCY, KEY } from "./operation-schemas.ts";
import {
  ANY,
  COUNT,
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
import type { Operations, RequestBody } from "./operations.ts";

const OBJECT = shape([], {});
const NOTHING: RequestBody = { schema: closed([], {}), examples: { plain: {} } };
const DOC = "line-2/press-7";
const RECORDED = problem("Another one was recorded under this idempotency key.");

const STATE: Operations = {
  "GET /v1/status": {
    id: "status",
    summary: "The node's state.",
    query: { digest: parameter("1: with the digest over every fact.", FLAG) },
    answers: { "200": ok("Its state.", ref("NodeStatus")) },
  },
  "GET /v1/links": {
    id: "links",
    summary: "The links to peers, and how busy they are.",
    answers: { "200": ok("Maybe none.", shape(["links"], { links: list(OBJECT) })) },
  },
  "GET /v1/membership": {
    id: "membership",
    summary: "Who belongs to the space, as this node knows it.",
    answers: { "200": ok("Its members, and what became of them.", ref("MembershipReport")) },
  },
  "POST /v1/membership": {
    id: "addActs",
    summary: "Takes in signed membership acts, and passes them on.",
    body: {
      schema: closed(["records"], {
        records: list({ type: "string", contentEncoding: "base64" }),
      }),
      examples: { none: { records: [] } },
    },
    answers: { "200": ok("What became of them.", ref("ActsReceipt")) },
  },
  "GET /v1/space": {
    id: "spaceFile",
    summary: "A space file with every act that this node knows.",
    answers: { "200": ok("Its text.", OBJECT) },
  },
  "GET /v1/evidence": {
    id: "evidence",
    summary: "Proofs that devices signed two histories.",
    answers: { "200": ok("Maybe none.", shape(["evidence"], { evidence: list(OBJECT) })) },
  },
  "GET /v1/openapi.json": {
    id: "openapi",
    summary: "This description: what this node serves.",
    answers: { "200": ok("OpenAPI 3.1.", shape(["openapi"], { openapi: { const: "3.1.0" } })) },
  },
};

const SEALS: Operations = {
  "POST /v1/decisions": {
    id: "decide",
    summary:
      "Signs what a model read, checked and concluded, and keeps it as a fact; an agent alone does.",
    headers: IDEMPOTENCY,
    body: {
      schema: closed(["model", "inputs", "checks", "output"], {
        model: ref("FactSource"),
        inputs: list(closed(["doc", "key"], { doc: DOCUMENT, key: KEY })),
        checks: list(
          closed(["name", "passed"], { name: STRING, passed: { type: "boolean" }, detail: STRING }),
        ),
        output: ANY,
      }),
      examples: {
        stop: {
          model: { model: "planner", version: "3" },
          inputs: [{ doc: DOC, key: "temperature" }],
          checks: [{ name: "fresh", passed: true }],
          output: { action: "stop" },
        },
      },
    },
    answers: { "200": ok("The signed record.", ref("DecisionReceipt")), "422": RECORDED },
  },
  "POST /v1/outcomes": {
    id: "recordOutcome",
    summary: "Signs and keeps what became of a decision; an agent alone does.",
    headers: IDEMPOTENCY,
    body: {
      schema: closed(["of", "outcome"], { of: STRING, outcome: ANY }),
      examples: { good: { of: "0".repeat(64), outcome: "no damage" } },
    },
    answers: { "200": ok("The signed record.", ref("DecisionReceipt")), "422": RECORDED },
  },
  "POST /v1/seals": {
    id: "seal",
    summary: "Seals the state of the space; a hub alone does.",
    body: {
      schema: closed([], {
        after: { ...COUNT, description: "The newest seal that anybody has, after a restoration." },
      }),
      examples: { plain: {} },
      optional: true,
    },
    answers: { "200": ok("The seal.", OBJECT) },
  },
  "GET /v1/bundles/{sequence}": {
    id: "bundle",
    summary: "The bundle of a seal; a hub alone has them.",
    path: { sequence: needed("A number, or latest.", "latest") },
    query: { batches: parameter("1: with the signed batches.", FLAG) },
    answers: { "200": ok("The file.", OBJECT), "404": problem("There is none.") },
  },
};

const PRESSURE = {
  docs: "line-2/**",
  prefix: "pressure",
  version: "1.0.0",
  compatibility: "backward",
  schema: { type: "number", minimum: 0 },
} as const;

const REGISTRY: Operations = {
  "POST /v1/schemas/check": {
    id: "checkSchema",
    summary: "Compares a schema with what is published; publishes nothing.",
    body: { schema: ref("SchemaEntry"), examples: { pressure: PRESSURE } },
    answers: { "200": ok("Whether it could be published.", ref("SchemaCheck")) },
  },
  "POST /v1/schemas": {
    id: "publishSchema",
    summary: "Publishes a version of a schema, signed by this node's device, with the role manage.",
    body: { schema: ref("SchemaEntry"), examples: { pressure: PRESSURE } },
    answers: {
      "200": ok("It is published.", ref("SchemaReport")),
      "403": problem("It is not compatible, not above the present one, or the role is missing."),
    },
  },
  "GET /v1/schemas": {
    id: "schemas",
    summary: "The schemas of the space, newest version first.",
    answers: {
      "200": ok("Maybe none.", shape(["schemas"], { schemas: list(ref("SchemaReport")) })),
    },
  },
};

const CARE: Operations = {
  "GET /v1/backup": {
    id: "backup",
    summary: "A backup of the store; one at a time.",
    answers: {
      "200": ok(
        "Its bytes. What goes wrong meanwhile is in the trailer ctxmesh-problem, a Problem as JSON in base64.",
        ANY,
        "application/octet-stream",
      ),
    },
  },
  "GET /v1/keys": {
    id: "keys",
    summary: "How the store is encrypted.",
    answers: {
      "200": ok("It may not be.", shape(["encrypted"], { encrypted: { type: "boolean" } })),
    },
  },
  "POST /v1/keys/rotate": {
    id: "rotateKeys",
    summary: "Ends the epochs of all data keys.",
    body: NOTHING,
    answers: { "200": ok("How many.", shape(["ended"], { ended: COUNT })) },
  },
  "POST /v1/keys/rewrap": {
    id: "rewrapKeys",
    summary: "Protects the store with another key.",
    body: {
      schema: closed(["to"], {
        to: { ...STRING, description: "Where it is, such as file:<path>." },
      }),
      examples: { file: { to: "file:/etc/ctxmesh/store.key" } },
    },
    answers: { "200": ok("What became of the data keys.", OBJECT) },
  },
  "POST /v1/scrub": {
    id: "scrub",
    summary: "Begins a check of the whole store.",
    body: NOTHING,
    answers: { "200": ok("How it stands.", OBJECT) },
  },
  "GET /v1/omissions": {
    id: "omissions",
    summary: "What is left out on this node.",
    query: {
      doc: parameter("The sections of one document.", DOCUMENT),
      before: parameter("next of the page before."),
      proof: parameter("1: with the signed headers.", FLAG),
    },
    answers: { "200": ok("What is left out.", OBJECT) },
  },
  "POST /v1/fetches": {
    id: "fetch",
    summary: "Asks peers for some of what is left out of a document.",
    body: {
      schema: closed(["doc"], { doc: DOCUMENT, key: KEY, before: STRING }),
      examples: { all: { doc: DOC } },
    },
    answers: { "200": ok("What came; go on with its next.", OBJECT) },
  },
};

/** All of them. */
export const NODE_OPERATIONS: Operations = { ...STATE, ...SEALS, ...REGISTRY, ...CARE };
