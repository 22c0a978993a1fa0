// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";

/** Throws `FORMAT_INVALID` for an update that no honest replica makes; `field` names the part. */
export function malformed(message: string, field: string): never {
  throw new MeshError("FORMAT_INVALID", `rich update: ${message}`, { field });
}

/** Throws `LIMIT_EXCEEDED` when there is more of something than an update may have. */
export function assertAtMost(count: number, limit: number, what: string): void {
  if (count <= limit) return;
  throw new MeshError(
    "LIMIT_EXCEEDED",
    `rich update: ${String(count)} ${what}, the limit is ${String(limit)}`,
    { field: what },
  );
}
