// SPDX-License-Identifier: Apache-2.0
/**
 * Every error that reaches a user, an API client or an exit code, in one closed table.
 * `docs/ERRORS.md` lists the same codes; a test fails when the two drift apart.
 */

/** Exit codes of every `ctxmesh` command. `verify` uses 0 to 3 alone. */
export const EXIT = {
  ok: 0,
  /** A signature, proof or integrity check failed; or an operation failed for a reason with no code of its own. */
  failed: 1,
  /** A policy forbids it: revoked, downgraded, expired, not a member. */
  policy: 2,
  /** The input or the command line is wrong. */
  input: 3,
  /** A resource is not to be had: port busy, store locked, daemon not running, time ran out. */
  unavailable: 4,
} as const;

/** Each code with the name of the exit code ({@link EXIT}) of a command that ends with it. */
export const ERROR_CODES = {
  /** Untrusted input has the wrong shape; `field` names the part. */
  INPUT_INVALID: "input",
  /** A value breaks the schema of its key; `field` is the JSON pointer of the part that does. */
  SCHEMA_INVALID: "input",
  /** A module is not WebAssembly as a space may have it; the message has the place in bytes. */
  MODULE_INVALID: "input",
  /** A module that decides whether a value is admitted is not there, or was cut off. */
  MODULE_FAILED: "failed",
  /** A size, depth or count is over its limit; the message names the limit. */
  LIMIT_EXCEEDED: "input",
  /** The configuration file is wrong; the message has the line. */
  CONFIG_INVALID: "input",
  /** The command line is wrong. */
  USAGE: "input",
  /** A key file can't be read or does not hold what it should. */
  KEY_INVALID: "input",
  /** A file or directory is missing, in the way, or can't be read or written. */
  FILE_UNAVAILABLE: "input",
  /** A bundle, envelope, checkpoint or trust root can't be parsed. */
  FORMAT_INVALID: "input",
  /** A signature does not verify. */
  SIGNATURE_INVALID: "failed",
  /** An inclusion or consistency proof, or a digest, does not verify. */
  PROOF_INVALID: "failed",
  /** The trust root, a grant or a policy refuses what is otherwise well signed. */
  POLICY_REFUSED: "policy",
  /** The store is open in another process. */
  STORE_LOCKED: "unavailable",
  /** A record's own hash does not match, or a chain has a hole. */
  STORE_CORRUPT: "failed",
  /** The store can't be read or written (disk full, I/O error). */
  STORE_FAILED: "unavailable",
  /** The store was written by a newer, incompatible version. */
  STORE_FORMAT: "input",
  /** A hub does not seal, because its store was damaged or restored. */
  SEALING_UNSAFE: "policy",
  /** The engine that hubs share can't be reached, is too slow, or fails. */
  ENGINE_UNAVAILABLE: "unavailable",
  /** Another hub holds the right to seal, or has changed what this one was about to. */
  ENGINE_FENCED: "unavailable",
  /** A listening address is in use or not ours. */
  ADDRESS_UNAVAILABLE: "unavailable",
  /** The daemon or the peer does not answer. */
  UNREACHABLE: "unavailable",
  /** The remote end failed to prove who it is. */
  AUTH_FAILED: "policy",
  /** A peer broke the protocol. */
  PROTOCOL_VIOLATION: "failed",
  /** Nothing is stored under that name. */
  NOT_FOUND: "failed",
  /** A moment lies before what a node has kept of its history. */
  HISTORY_PRUNED: "failed",
  /** The operation was called off, or a time limit passed. */
  ABORTED: "unavailable",
  /** A write is durable here, and was not acknowledged by a hub or a seal in time. */
  ACK_TIMEOUT: "unavailable",
  /** A node does not have in time what a read was to see. */
  READ_BEHIND: "unavailable",
  /** A key does not have the version that a write was to replace; nothing was written. */
  VERSION_CONFLICT: "failed",
  /** The idempotency key of a write was that of another one; nothing was written. */
  IDEMPOTENCY_CONFLICT: "input",
  /** A node can't show that its answer is as fresh as it must be. */
  STALE: "unavailable",
  /** A hub was asked for a write and did not say what became of it. */
  OUTCOME_UNKNOWN: "unavailable",
  /** What a write builds on has not arrived at a node yet; the same write may do a moment later. */
  WRITE_BEHIND: "unavailable",
  /** The program is shutting down, or the object is closed. */
  CLOSED: "unavailable",
  /** A defect in ctxmesh. */
  INTERNAL: "failed",
} as const;

/** A code of {@link ERROR_CODES}. */
export type MeshErrorCode = keyof typeof ERROR_CODES;

/** What a {@link MeshError} may carry besides its code and message. */
export interface MeshErrorDetails {
  /** The input field, file or option at fault. */
  readonly field?: string;
  /** What the reader can do about it. */
  readonly remedy?: string;
  readonly cause?: unknown;
}

/** The one error class of ctxmesh; callers switch on `code`. */
export class MeshError extends Error {
  readonly code: MeshErrorCode;
  readonly field: string | undefined;
  readonly remedy: string | undefined;

  constructor(code: MeshErrorCode, message: string, details: MeshErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "MeshError";
    this.code = code;
    this.field = details.field;
    this.remedy = details.remedy;
  }

  /** The exit code of a command that ends with this error. */
  get exitCode(): number {
    return EXIT[ERROR_CODES[this.code]];
  }
}

/** `error` as a {@link MeshError}; anything unknown becomes `INTERNAL` with the original as its cause. */
export function toMeshError(error: unknown): MeshError {
  if (error instanceof MeshError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new MeshError("INTERNAL", message, { cause: error });
}
