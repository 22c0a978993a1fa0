// SPDX-License-Identifier: Apache-2.0
import { MeshError, parseDocumentName } from "@ctxmesh/model";
import type { ListQuery } from "@ctxmesh/model";

/** Throws `INPUT_INVALID` for a query that names no document, or a place in none. */
export function assertListQuery({ doc, after }: ListQuery): void {
  if (doc !== undefined) parseDocumentName(doc);
  if (after !== undefined && doc === undefined) {
    throw new MeshError("INPUT_INVALID", "after needs doc", { field: "after" });
  }
}
