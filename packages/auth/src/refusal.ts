// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";

/** Why a token is not accepted: `AUTH_FAILED`. The reason says nothing of what is in the token. */
export const refusal = (reason: string, cause?: unknown): MeshError =>
  new MeshError("AUTH_FAILED", `the token is refused: ${reason}`, {
    field: "token",
    ...(cause === undefined ? {} : { cause }),
  });
