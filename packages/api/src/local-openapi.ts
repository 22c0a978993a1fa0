// SPDX-License-Identifier: Apache-2.0
/**
 * The description of the local API as OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0), made of the table of its operations and of the routes
 * that a node has: an agent does not describe what a hub serves.
 */
import type { JsonValue } from "@ctxmesh/model";
import type { FastifyInstance } from "fastify";
import { FACT_OPERATIONS } from "./fact-operations.ts";
import { NODE_OPERATIONS } from "./node-operations.ts";
import { PROBLEM_SCHEMA } from "./openapi.ts";
import { OPERATION_SCHEMAS } from "./operation-schemas.ts";
import { problem } from "./operations.ts";
import type { Operation, OperationAnswer, Operations, Parameter } from "./operations.ts";

/** Every operation that a node may serve. */
export const OPERATIONS: Operations = { ...FACT_OPERATIONS, ...NODE_OPERATIONS };

const UNDESCRIBED = "Not described.";

/** Where the description is. */
const PATH = "/v1/openapi.json";

type Members = Readonly<Record<string, JsonValue>>;

const parametersOf = (
  place: "header" | "path" | "query",
  parameters: Readonly<Record<string, Parameter>> = {},
): readonly JsonValue[] =>
  Object.entries(parameters).map(([name, { description, schema, required, example }]) => ({
    name,
    in: place,
    description,
    schema,
    ...(required === undefined ? {} : { required }),
    ...(example === undefined ? {} : { example }),
  }));

function responseOf({ description, mediaType, schema, headers }: OperationAnswer): JsonValue {
  return {
    description,
    ...(headers === undefined ? {} : { headers }),
    ...(schema === undefined ? {} : { content: { [mediaType ?? "application/json"]: { schema } } }),
  };
}

function describe({ id, summary, query, headers, path, body, answers }: Operation): JsonValue {
  const parameters = [
    ...parametersOf("path", path),
    ...parametersOf("query", query),
    ...parametersOf("header", headers),
  ];
  const examples = Object.fromEntries(
    Object.entries(body?.examples ?? {}).map(([name, value]) => [name, { value }]),
  );
  return {
    operationId: id,
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: body.optional !== true,
            content: { "application/json": { schema: body.schema, examples } },
          },
        }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, answer]) => [status, responseOf(answer)]),
      ),
      default: { $ref: "#/components/responses/Problem" },
    },
  };
}

function pathsOf(routes: ReadonlySet<string>): Members {
  const paths: Record<string, Record<string, JsonValue>> = {};
  for (const route of [...Object.keys(OPERATIONS), ...routes]) {
    if (!routes.has(route)) continue;
    const [method = "", path = ""] = route.split(" ");
    // A route that the table lacks is named all the same; a test sees to it that there is none.
    const bare = { id: route, summary: UNDESCRIBED, answers: {} };
    (paths[path] ??= {})[method.toLowerCase()] ??= describe(OPERATIONS[route] ?? bare);
  }
  return paths;
}

/** Collects the routes of a server, such as `GET /v1/fact`, as they are added from now on; `HEAD`, which every `GET` has, is left out. */
export function describeRoutes(app: FastifyInstance): ReadonlySet<string> {
  const routes = new Set<string>();
  app.addHook("onRoute", ({ method, url }) => {
    for (const name of [method].flat()) {
      if (name !== "HEAD") routes.add(`${name} ${url.replaceAll(/:(\w+)/gu, "{$1}")}`);
    }
  });
  return routes;
}

/** Serves the description of the routes that are there. */
export function installDescription(
  app: FastifyInstance,
  routes: ReadonlySet<string>,
  version: string,
): void {
  let text: Buffer | undefined;
  app.get(PATH, (_request, reply) => {
    text ??= Buffer.from(JSON.stringify(descriptionOf(routes, version)));
    return reply.type("application/json").send(text);
  });
}

function descriptionOf(routes: ReadonlySet<string>, version: string): JsonValue {
  return {
    openapi: "3.1.0",
    info: {
      title: "ctxmesh local API",
      version,
      summary:
        "What a node answers over HTTP on its Unix socket, and on loopback TCP where it is configured.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    // On the socket its mode is the access control.
    security: [{}, { token: [] }],
    paths: pathsOf(routes),
    components: {
      securitySchemes: {
        token: { type: "http", scheme: "bearer", description: "On TCP: what is in api.tokenFile." },
      },
      responses: { Problem: responseOf(problem("Something is wrong.")) },
      schemas: { ...OPERATION_SCHEMAS, Problem: PROBLEM_SCHEMA },
    },
  };
}
