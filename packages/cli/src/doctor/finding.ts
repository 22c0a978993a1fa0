// SPDX-License-Identifier: Apache-2.0
/** What `ctxmesh doctor` finds. */
import { toMeshError } from "@ctxmesh/model";

/** The result of one check. */
export interface Finding {
  /** Name of the check. */
  readonly check: string;
  /** `fail` for what stops the daemon, loses data or gives away a secret; `warn` for what will, or may. */
  readonly status: "ok" | "warn" | "fail";
  readonly message: string;
  /** What to do about it. */
  readonly remedy?: string;
}

/** Nothing to do. */
export const ok = (check: string, message: string): Finding => ({ check, status: "ok", message });
/** Something that somebody should look at. */
export const warn = (check: string, message: string, remedy: string): Finding => ({
  check,
  status: "warn",
  message,
  remedy,
});
/** Something that must be put right. */
export const fail = (check: string, message: string, remedy: string): Finding => ({
  check,
  status: "fail",
  message,
  remedy,
});

/** An error as a finding; several problems of one file are one finding. */
export function failure(check: string, error: unknown): Finding {
  const { code, message, remedy } = toMeshError(error);
  return fail(check, message, remedy ?? `see ${code} in docs/ERRORS.md`);
}
