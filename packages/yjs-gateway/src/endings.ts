// SPDX-License-Identifier: Apache-2.0
/**
 * How connections are ended. A stock provider tries again after any code but 4400 to 4499, where another attempt would end alike: it then tells its
 * program, which may get another token, or show why.
 */
import { toMeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";

/** A code (RFC 6455, 7.4) and a reason. */
export interface Ending {
  readonly code: number;
  readonly reason: string;
}

const INTERNAL = 1011;
const RESTART = 1012;
const TRY_LATER = 1013;
/** The token is missing, wrong or over. */
export const UNAUTHORIZED = 4401;
const FORBIDDEN = 4403;
const TOO_LARGE = 4413;

const CODES: Partial<Readonly<Record<MeshErrorCode, number>>> = {
  AUTH_FAILED: UNAUTHORIZED,
  POLICY_REFUSED: FORBIDDEN,
  NOT_FOUND: 4404,
  LIMIT_EXCEEDED: TOO_LARGE,
  INPUT_INVALID: 4400,
  SCHEMA_INVALID: 4400,
  MODULE_FAILED: 4400,
  FORMAT_INVALID: 4400,
  PROTOCOL_VIOLATION: 4400,
  CLOSED: RESTART,
  INTERNAL,
};

/** How to end a connection on which something failed. */
export function endingFor(failure: unknown): Ending {
  const { code, message } = toMeshError(failure);
  // What a defect says is for the log alone.
  const reason = code === "INTERNAL" ? "a defect in the hub" : message;
  return { code: CODES[code] ?? TRY_LATER, reason };
}

/** The same where limits are those of a moment, such as those of a tenant. */
export function endingForNow(failure: unknown): Ending {
  const ending = endingFor(failure);
  return ending.code === TOO_LARGE ? { ...ending, code: TRY_LATER } : ending;
}

/** The hub stops: the provider is to connect again, there or elsewhere. */
export const STOPPING: Ending = { code: RESTART, reason: "the hub stops" };

/** Whether the other end is told first, in the words of its protocol, that something it did is refused. */
export const isRefusal = ({ code }: Ending): boolean => code >= 4400 && code !== UNAUTHORIZED;
