// SPDX-License-Identifier: Apache-2.0
import { decodeBody } from "@ctxmesh/codec";
import { decodeFrame } from "@ctxmesh/facts";
import type { DocumentName, Logger } from "@ctxmesh/model";
import type { ParsedBatch } from "./checks.ts";
import type { Core } from "./core.ts";
import type { WithEngines } from "./document-engines.ts";
import type { DocumentFacts } from "./document-facts.ts";
import type { ChangedKey } from "./documents.ts";
import type { Listeners } from "./listeners.ts";
import type { RecordsChange } from "./tasks.ts";

/** Merges what a batch has of a document's facts. */
function follow(facts: DocumentFacts, doc: DocumentName, { header, bodies }: ParsedBatch): void {
  const chain = { writer: header.replica, incarnation: header.incarnation };
  for (const [i, section] of header.sections.entries()) {
    const body = bodies[i] ?? null;
    if (section.kind !== "facts" || section.doc !== doc || body === null) continue;
    facts.apply(chain, decodeFrame(decodeBody(body)));
  }
}

/** Reads the facts of a document; returns its keys. */
async function reloadFacts(
  doc: DocumentName,
  { checkpoints, state: { documents, frontier }, log }: Core,
): Promise<readonly ChangedKey[]> {
  for (;;) {
    const { latest, base } = checkpoints;
    const start = latest ?? base;
    const states = start === undefined ? undefined : await checkpoints.facts(start, doc);
    // The next checkpoint took its place on the way.
    if (start !== undefined && states === undefined) continue;
    const facts = documents.newFacts(doc, states?.get(doc));
    // In front of the base is what it does not stand for.
    for await (const [batch] of log.batches(latest?.position ?? 0)) {
      const { replica, incarnation, seq } = batch.header;
      const counts = seq <= (frontier.head(replica, incarnation)?.seq ?? 0);
      if (counts) follow(facts, doc, batch);
    }
    documents.setFacts(doc, facts);
    return [...facts.keys({})].map((key) => ({ doc, key }));
  }
}

/**
 * Reads the facts of the documents again whose engines have lost them: from the newest checkpoint, or else the base, and what
 * counts of the log behind it. To be called between two groups; other documents are not touched. Listeners are told all of their keys, as the answers
 * may be other ones than whoever watches was told. Throws `STORE_CORRUPT`, `STORE_FAILED`, `KEY_INVALID`.
 */
export async function reloadLost(
  { engines, logger }: WithEngines & { readonly logger: Logger },
  core: Core,
  listeners: Listeners<RecordsChange>,
): Promise<void> {
  for (const doc of engines.lost) {
    engines.reload(doc);
    const changed = await reloadFacts(doc, core);
    logger.warn("replica.facts-reloaded", { doc, keys: changed.length });
    listeners.tell({ changed, rebuilt: false });
  }
}
