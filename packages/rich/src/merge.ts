// SPDX-License-Identifier: Apache-2.0
/** Updates on their way, joined without a document. */
import { MeshError } from "@ctxmesh/model";
import { mergeUpdates } from "yjs";

/**
 * Joins updates of Yjs V1 into one that says the same. What they say is not checked; a hundred of them at a time, since it takes longer than their
 * number grows. Throws `FORMAT_INVALID`.
 */
export function mergeRichUpdates(updates: readonly Uint8Array[]): Uint8Array {
  try {
    return mergeUpdates([...updates]);
  } catch (cause) {
    throw new MeshError("FORMAT_INVALID", "an update can't be read", { cause });
  }
}
