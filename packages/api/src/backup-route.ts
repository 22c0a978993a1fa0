// SPDX-License-Identifier: Apache-2.0
/** `GET /v1/backup`: one at a time. */
import { MeshError } from "@ctxmesh/model";
import type { Logger } from "@ctxmesh/model";
import type { FastifyInstance } from "fastify";
import { sendBackup } from "./backup-stream.ts";
import { parseNoQuery } from "./requests.ts";

/** Installs the route, none without bytes; returns what waits for the end of a backup under way. */
export function installBackupRoute(
  app: FastifyInstance,
  backup: (() => AsyncGenerator<Uint8Array, void, undefined>) | undefined,
  logger: Logger,
  closing: AbortSignal,
): () => Promise<void> {
  let underWay: PromiseWithResolvers<void> | undefined;
  if (backup === undefined) return async () => Promise.resolve();
  app.get("/v1/backup", { exposeHeadRoute: false }, async (request, reply) => {
    parseNoQuery(request.query);
    if (underWay !== undefined) {
      throw new MeshError("ABORTED", "a backup of this node is under way already", {
        remedy: "try again when that one has ended",
      });
    }
    const { resolve } = (underWay = Promise.withResolvers<void>());
    try {
      const bytes = backup();
      // What fails this early gets a plain error response.
      const first = await bytes.next();
      reply.hijack();
      const error = await sendBackup(reply.raw, first.value ?? new Uint8Array(), bytes, closing);
      if (error !== undefined) logger.error("backup.failed", { error });
    } finally {
      underWay = undefined;
      resolve();
    }
  });
  return async () => underWay?.promise;
}
