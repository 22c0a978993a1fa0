// SPDX-License-Identifier: Apache-2.0
/** The routes of documents as a whole: changes as one unit, a list, and rich content. */
import type { DocumentService } from "@ctxmesh/model";
import type { FastifyInstance } from "fastify";
import {
  parseChangeRequest,
  parseContentQuery,
  parseDocumentQuery,
  parseEditRequest,
} from "./document-requests.ts";
import { IDEMPOTENT, idempotencyOf } from "./preconditions.ts";

/** Installs the routes; none without a service. */
export function installDocumentRoutes(
  app: FastifyInstance,
  service: DocumentService | undefined,
): void {
  if (service === undefined) return;
  app.post("/v1/batch", IDEMPOTENT, (request) => {
    const { doc, changes, ...options } = parseChangeRequest(request.body);
    return service.change(doc, changes, { ...options, ...idempotencyOf(request.headers) });
  });
  app.get("/v1/documents", (request) => ({
    documents: service.documents(parseDocumentQuery(request.query)),
  }));
  app.get("/v1/content", (request) => ({
    content: service.content(parseContentQuery(request.query)),
  }));
  app.post("/v1/edits", IDEMPOTENT, (request) => {
    const { doc, edits, ...options } = parseEditRequest(request.body);
    return service.edit(doc, edits, { ...options, ...idempotencyOf(request.headers) });
  });
}
