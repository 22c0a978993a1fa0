// SPDX-License-Identifier: Apache-2.0
/** Rich content: a Yjs document that only checked updates reach, in causal order. */
export { allocateClientId, clientIdFrom, isStockClient, overlayClient } from "./client-id.ts";
export type { RichContent, TextRun } from "./content.ts";
export type { CarriedContent, CarriedSection } from "./carried.ts";
export { mergeRichUpdates } from "./merge.ts";
export type { ClientOwner } from "./owners.ts";
export type { RichKind } from "./names.ts";
export { ProjectedDoc } from "./projected-doc.ts";
export type { AppliedRich } from "./projected-doc.ts";
export { RichDocument } from "./rich-document.ts";
export type { RichInterval, RichUpdate, RichVerdict } from "./rich-document.ts";
export type {
  RichEntry,
  RichList,
  RichMap,
  RichRoots,
  RichText,
  RichTypes,
  TextAttributes,
} from "./roots.ts";
export type { ProjectedWrite } from "./write-planner.ts";
