// SPDX-License-Identifier: Apache-2.0
/** What a hub's door serves, as OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0). WebSockets (`/v1/sync`, `/yjs/...`) are not of its kind. */
import type { JsonValue } from "@ctxmesh/model";
import { ERROR_CODES } from "@ctxmesh/model";
import { METRICS_MEDIA_TYPE } from "./metrics.ts";
import { PROBLEM_MEDIA_TYPE } from "./problem.ts";

/** Where the description is. */
export const OPENAPI_PATH = "/v1/openapi.json";

/** One answer: its description, and the schema of its body by media type. */
type Answer = readonly [description: string, mediaType: string, schema: JsonValue];

const response = ([description, mediaType, schema]: Answer): JsonValue => ({
  description,
  content: { [mediaType]: { schema } },
});

/** What every path answers when something is wrong. */
const PROBLEM_RESPONSE: JsonValue = { $ref: "#/components/responses/Problem" };

/** A path that is read with GET. */
const reading = (
  operationId: string,
  summary: string,
  answers: Readonly<Record<string, Answer>>,
): JsonValue => ({
  get: {
    operationId,
    summary,
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, answer]) => [status, response(answer)]),
      ),
      default: PROBLEM_RESPONSE,
    },
  },
});

const status = (...texts: readonly string[]): JsonValue => ({
  type: "object",
  required: ["status"],
  properties: { status: { enum: texts } },
});

const probe = (
  operationId: string,
  summary: string,
  [when, otherwise]: readonly [string, string],
): JsonValue =>
  reading(operationId, summary, {
    "200": ["It is so.", "application/json; charset=utf-8", status("ok")],
    "503": [when, "application/json; charset=utf-8", status(otherwise)],
  });

const NO_PAGE: Answer = [
  "There is no such page, or no log.",
  PROBLEM_MEDIA_TYPE,
  { $ref: "#/components/schemas/Problem" },
];
const BYTES = "application/octet-stream";
const TEXT = "text/plain; charset=utf-8";

/** A path with parameters. */
const within = (path: JsonValue, ...names: readonly string[]): JsonValue => ({
  ...(path as Readonly<Record<string, JsonValue>>),
  parameters: names.map((name) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  })),
});

const WITNESS_ANSWERS: Readonly<Record<string, Answer>> = {
  "200": ["Cosigned: signature lines.", TEXT, { type: "string" }],
  "400": ["No request.", TEXT, { type: "string" }],
  "403": ["Not signed by the log.", TEXT, { type: "string" }],
  "404": ["Another log.", TEXT, { type: "string" }],
  "409": ["Another size was cosigned last: that one.", "text/x.tlog.size", { type: "string" }],
  "422": ["The proof does not verify.", TEXT, { type: "string" }],
  "503": ["Too many wait.", TEXT, { type: "string" }],
};

/** The log of seals (https://c2sp.org/tlog-tiles), and the hub as a witness (https://c2sp.org/tlog-witness). */
const LOG_PATHS: Readonly<Record<string, JsonValue>> = {
  "/log/checkpoint": reading("logCheckpoint", "The newest checkpoint of the log of seals.", {
    "200": ["A signed note.", TEXT, { type: "string" }],
    "404": NO_PAGE,
  }),
  "/log/tile/{level}/{tile}": within(
    reading("logTile", "Hashes: a tile, such as 0/x001/234 or 0/000.p/7. Stays as it is.", {
      "200": ["32 bytes each.", BYTES, {}],
      "404": NO_PAGE,
    }),
    "level",
    "tile",
  ),
  "/log/tile/entries/{tile}": within(
    reading("logEntries", "Entries: a bundle, such as 000.p/7. Stays as it is.", {
      "200": ["Each with its length in front, 16 bits.", BYTES, {}],
      "404": NO_PAGE,
    }),
    "tile",
  ),
  "/witness/{origin}/checkpoint": within(
    reading(
      "witnessCheckpoint",
      "What this hub cosigned last of a log, by SHA-256 of its origin.",
      {
        "200": ["A signed note.", TEXT, { type: "string" }],
        "404": NO_PAGE,
      },
    ),
    "origin",
  ),
  "/witness/add-checkpoint": {
    post: {
      operationId: "addCheckpoint",
      summary: "Asks this hub, as a witness, to cosign a checkpoint of a log that it looks after.",
      requestBody: { required: true, content: { [TEXT]: { schema: { type: "string" } } } },
      responses: {
        ...Object.fromEntries(
          Object.entries(WITNESS_ANSWERS).map(([code, answer]) => [code, response(answer)]),
        ),
        default: PROBLEM_RESPONSE,
      },
    },
  },
};

const PATHS: Readonly<Record<string, JsonValue>> = {
  "/livez": probe("livez", "Whether the process is alive; restart it when this fails.", [
    "The event loop is late.",
    "late",
  ]),
  "/readyz": probe("readyz", "Whether it takes connections; send it nobody while this fails.", [
    "It starts, drains, or lacks something.",
    "not ready",
  ]),
  "/startupz": probe("startupz", "Whether the start is over.", ["It is not.", "starting"]),
  "/metrics": reading("metrics", "The state for Prometheus: sums, which name nobody.", {
    "200": ["The text format, version 0.0.4.", METRICS_MEDIA_TYPE, { type: "string" }],
  }),
  ...LOG_PATHS,
  [OPENAPI_PATH]: reading("openapi", "This description.", {
    "200": ["OpenAPI 3.1.", "application/json; charset=utf-8", { type: "object" }],
  }),
};

/** The schema of problem details. */
export const PROBLEM_SCHEMA: JsonValue = {
  type: "object",
  description: "Problem details (RFC 9457).",
  required: ["type", "title", "status", "detail", "code"],
  properties: {
    type: { type: "string", description: "urn:ctxmesh:error:<code>" },
    title: { type: "string" },
    status: { type: "integer", minimum: 400, maximum: 599 },
    detail: { type: "string" },
    code: { enum: Object.keys(ERROR_CODES) },
    field: { type: "string", description: "The input at fault." },
    remedy: { type: "string", description: "What the caller can do about it." },
  },
};

/** The description. */
export const OPENAPI: JsonValue = {
  openapi: "3.1.0",
  info: {
    title: "ctxmesh hub",
    version: "1",
    summary: "What the port of a hub answers over HTTP.",
    license: { name: "Apache-2.0", identifier: "Apache-2.0" },
  },
  servers: [{ url: "/" }],
  // Neither probes nor metrics are for bearers of tokens.
  security: [],
  paths: PATHS,
  components: {
    responses: {
      Problem: response([
        "Something is wrong.",
        PROBLEM_MEDIA_TYPE,
        { $ref: "#/components/schemas/Problem" },
      ]),
    },
    schemas: { Problem: PROBLEM_SCHEMA },
  },
};
