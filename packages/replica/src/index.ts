// SPDX-License-Identifier: Apache-2.0
/** One party's copy of a space: the receive pipeline, local writes, documents, and the space itself. */
export type { ChangedKey } from "./documents.ts";
export type { Head } from "./layout.ts";
export type { ChainSpan, StoredBatch } from "./log.ts";
export { parsePolicy } from "./policy-record.ts";
export { Replica } from "./replica.ts";
export type { AppliedBatch, ReplicaOptions } from "./replica.ts";
export {
  DEFAULT_GRANT_MS,
  allows,
  createSpace,
  encodeSpaceFile,
  issueGrant,
  parseSpaceFile,
  setPolicy,
} from "./space.ts";
export type { Space } from "./space.ts";
