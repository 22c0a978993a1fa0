// SPDX-License-Identifier: Apache-2.0
/** `POST /v1/facts` with `If-Match` or `If-None-Match: *`: a write of one fact that holds only if nothing has changed. */
import { MeshError, toMeshError } from "@ctxmesh/model";
import type { CompareReceipt, FactInput, LevelService, WriteOptions } from "@ctxmesh/model";
import type { FastifyReply, FastifyRequest } from "fastify";
import { etagOf } from "./preconditions.ts";
import { refuse } from "./requests.ts";

/** Such a write. */
export interface ConditionalPut {
  readonly levels: LevelService | undefined;
  /** The version that is visible under a key; undefined for none. */
  readonly current: (key: string) => string | undefined;
  readonly doc: string;
  readonly facts: readonly FactInput[];
  /** The version to replace; null for none. */
  readonly expected: string | null;
  readonly options: WriteOptions;
}

/**
 * Makes it, and answers with the fact's new version as the entity tag; or with 412 VERSION_CONFLICT and the version that
 * is there. Throws `INPUT_INVALID` for what such a
 * write can't have.
 */
export async function putIf(
  request: FastifyRequest,
  reply: FastifyReply,
  { levels, current, doc, facts, expected, options }: ConditionalPut,
): Promise<CompareReceipt> {
  const [fact, more] = facts;
  if (levels === undefined)
    return refuse("If-Match", "this node decides no writes with a condition");
  if (fact === undefined || more !== undefined) {
    return refuse("facts", "a write with a condition has one fact");
  }
  if (Object.keys(options).length > 0) {
    const [name = ""] = Object.keys(options);
    return refuse(name, `a write with a condition has no ${name}`);
  }
  if (request.headers["idempotency-key"] !== undefined) {
    const message = "a write with a condition needs no key: repeated, it is 412 VERSION_CONFLICT";
    throw new MeshError("INPUT_INVALID", message, { field: "Idempotency-Key" });
  }
  try {
    const receipt = await levels.compareAndSet(doc, fact, expected);
    reply.header("etag", etagOf(receipt.version));
    return receipt;
  } catch (error) {
    if (toMeshError(error).code === "VERSION_CONFLICT") {
      const version = current(fact.key);
      if (version !== undefined) reply.header("etag", etagOf(version));
    }
    throw error;
  }
}
