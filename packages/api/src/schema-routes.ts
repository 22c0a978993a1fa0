// SPDX-License-Identifier: Apache-2.0
/**
 * The registry of schemas:
 *
 * ```
 * GET  /v1/schemas                                           -> {schemas: [SchemaReport]}, by prefix, newest version first
 * POST /v1/schemas             SchemaEntry                   -> SchemaReport; the node's device signs it, with the role manage
 * POST /v1/schemas/check       SchemaEntry                   -> SchemaCheck; nothing is published
 * ```
 */
import type { SchemaService } from "@ctxmesh/model";
import type { FastifyInstance } from "fastify";
import { parseNoQuery } from "./requests.ts";

/** Installs the routes; none without a service. What an entry may hold is for the service to say. */
export function installSchemaRoutes(
  app: FastifyInstance,
  service: SchemaService | undefined,
): void {
  if (service === undefined) return;
  app.get("/v1/schemas", (request) => {
    parseNoQuery(request.query);
    return { schemas: service.schemas() };
  });
  app.post("/v1/schemas", (request) => service.publishSchema(request.body ?? null));
  app.post("/v1/schemas/check", (request) => service.checkSchema(request.body ?? null));
}
