// SPDX-License-Identifier: Apache-2.0
/**
 * Errors on the wire: RFC 9457 problem details (`application/problem+json`) with the code, field
 * and remedy of the {@link MeshError} as extension members.
 */
import { MeshError, toMeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";

/** Media type of an error response. */
export const PROBLEM_MEDIA_TYPE = "application/problem+json";

/** The body of an error response. */
export interface Problem {
  /** `urn:ctxmesh:error:<code>`; names the kind of error, leads nowhere. */
  readonly type: string;
  /** The kind of error in words. */
  readonly title: string;
  /** The HTTP status. */
  readonly status: number;
  /** What went wrong this time. */
  readonly detail: string;
  readonly code: MeshErrorCode;
  /** The input field at fault. */
  readonly field?: string;
  /** What the caller can do about it. */
  readonly remedy?: string;
}

const STATUS_OF_CODE: Readonly<Record<MeshErrorCode, number>> = {
  INPUT_INVALID: 400,
  SCHEMA_INVALID: 422,
  MODULE_INVALID: 400,
  MODULE_FAILED: 422,
  LIMIT_EXCEEDED: 413,
  CONFIG_INVALID: 400,
  USAGE: 400,
  KEY_INVALID: 400,
  FILE_UNAVAILABLE: 500,
  FORMAT_INVALID: 400,
  SIGNATURE_INVALID: 422,
  PROOF_INVALID: 422,
  POLICY_REFUSED: 403,
  STORE_LOCKED: 503,
  STORE_CORRUPT: 500,
  STORE_FAILED: 503,
  STORE_FORMAT: 500,
  SEALING_UNSAFE: 409,
  ENGINE_UNAVAILABLE: 503,
  ENGINE_FENCED: 409,
  ADDRESS_UNAVAILABLE: 503,
  UNREACHABLE: 503,
  AUTH_FAILED: 403,
  PROTOCOL_VIOLATION: 502,
  NOT_FOUND: 404,
  HISTORY_PRUNED: 410,
  ABORTED: 503,
  ACK_TIMEOUT: 504,
  READ_BEHIND: 504,
  VERSION_CONFLICT: 412,
  IDEMPOTENCY_CONFLICT: 422,
  STALE: 503,
  OUTCOME_UNKNOWN: 504,
  WRITE_BEHIND: 503,
  CLOSED: 503,
  INTERNAL: 500,
};

/** `status` overrides the code's own, for HTTP cases such as 404 for an unknown route. */
export function toProblem(error: MeshError, status: number = STATUS_OF_CODE[error.code]): Problem {
  return {
    type: `urn:ctxmesh:error:${error.code}`,
    title: error.code.toLowerCase().replaceAll("_", " "),
    status,
    detail: error.message,
    code: error.code,
    ...(error.field === undefined ? {} : { field: error.field }),
    ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
  };
}

/** The problem of anything that a handler or Fastify throws. */
export function problemOf(error: unknown): Problem {
  const status = fastifyStatus(error);
  if (status === undefined) return toProblem(toMeshError(error));
  const message = error instanceof Error ? error.message : String(error);
  const code = status === 413 ? "LIMIT_EXCEEDED" : "INPUT_INVALID";
  return toProblem(new MeshError(code, message, { cause: error }), status);
}

/** The status of an error by which Fastify itself refuses a request. */
function fastifyStatus(error: unknown): number | undefined {
  if (error instanceof MeshError || typeof error !== "object" || error === null) return undefined;
  const status = "statusCode" in error ? error.statusCode : undefined;
  return typeof status === "number" && status >= 400 && status < 500 ? status : undefined;
}
