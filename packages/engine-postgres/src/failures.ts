// SPDX-License-Identifier: Apache-2.0
/** What the database says, as errors of this project; and what is worth another try. */
import { MeshError, toMeshError } from "@ctxmesh/model";

/** Classes and codes of PostgreSQL (appendix A of its manual) after which the same transaction may well succeed. */
const TRANSIENT: ReadonlySet<string> = new Set([
  // serialization_failure and deadlock_detected, which engines of optimistic concurrency report as a matter of course.
  "40001",
  "40P01",
  // unique_violation: somebody else was faster.
  "23505",
  // duplicate_table: somebody else is migrating.
  "42P07",
]);

/** The code of an error of the database, or of the system. */
export function codeOf(error: unknown): string | undefined {
  const code: unknown =
    typeof error === "object" && error !== null && "code" in error && error.code;
  return typeof code === "string" ? code : undefined;
}

/** Whether the same transaction is worth another try. */
export const isTransient = (error: unknown): boolean => TRANSIENT.has(codeOf(error) ?? "");

/** An error that the engine's callers know. `where` names host and port, and never the password. */
export function asEngineError(error: unknown, where: string): MeshError {
  if (error instanceof MeshError) return error;
  const { message } = toMeshError(error);
  // Several addresses of one host failed, each for a reason of its own.
  const parts =
    error instanceof AggregateError ? error.errors.map((one) => toMeshError(one).message) : [];
  const reason =
    [message, ...parts].find((text) => text !== "") ?? codeOf(error) ?? "no reason given";
  return new MeshError("ENGINE_UNAVAILABLE", `the database at ${where} failed: ${reason}`, {
    cause: error,
    remedy:
      "check that it runs and takes connections from here; what was not acknowledged is tried again",
  });
}
