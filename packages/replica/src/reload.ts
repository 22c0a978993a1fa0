// SPDX-License-Identifier: Apache-2.0
import { decodeBody } from "@ctxmesh/codec";
import { decodeFrame } from "@ctxmesh/facts";
import type { DocumentName, Logger } from "@ctxmesh/model";
import type { Checkpoint } from "./checkpoint-format.ts";
import type { ParsedBatch } from "./checks.ts";
import type { Core } from "./core.ts";
import type { WithEngines } from "./document-engines.ts";
import type { DocumentFacts } from "./document-facts.ts";
import type { ChangedKey } from "./documents.ts";
import type { Listeners } from "./listeners.ts";
import type { RecordsChange } from "./tasks.ts";

type FactsByDoc = ReadonlyMap<DocumentName, DocumentFacts>;

/** Merges what a batch has of the documents' facts. */
function follow(byDoc: FactsByDoc, { header, bodies }: ParsedBatch): void {
  const chain = { writer: header.replica, incarnation: header.incarnation };
  for (const [i, { kind, doc }] of header.sections.entries()) {
    const facts = byDoc.get(doc);
    const body = bodies[i] ?? null;
    if (kind !== "facts" || facts === undefined || body === null) continue;
    facts.apply(chain, decodeFrame(decodeBody(body)));
  }
}

/** The facts of documents as a checkpoint has them; undefined when it was replaced on the way. */
async function factsAt(
  start: Checkpoint | undefined,
  docs: Iterable<DocumentName>,
  { checkpoints, state: { documents } }: Core,
): Promise<FactsByDoc | undefined> {
  const byDoc = new Map<DocumentName, DocumentFacts>();
  for (const doc of docs) {
    const states = start === undefined ? undefined : await checkpoints.facts(start, doc);
    if (start !== undefined && states === undefined) return undefined;
    byDoc.set(doc, documents.newFacts(doc, states?.get(doc)));
  }
  return byDoc;
}

/** Reads the facts of documents, in one walk over the log. */
async function readFacts(docs: readonly DocumentName[], core: Core): Promise<FactsByDoc> {
  const { checkpoints, state, log } = core;
  for (;;) {
    const { latest, base } = checkpoints;
    const byDoc = await factsAt(latest ?? base, docs, core);
    if (byDoc === undefined) continue;
    // In front of the base is what it does not stand for.
    for await (const [batch] of log.batches(latest?.position ?? 0)) {
      const { replica, incarnation, seq } = batch.header;
      const counts = seq <= (state.frontier.head(replica, incarnation)?.seq ?? 0);
      if (counts) follow(byDoc, batch);
    }
    // Else more was pruned on the way, and the log may have been read from behind it.
    if (checkpoints.base === base) return byDoc;
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
  const docs = [...engines.lost];
  if (docs.length === 0) return;
  engines.reload();
  for (const [doc, facts] of await readFacts(docs, core)) {
    core.state.documents.setFacts(doc, facts);
    const changed = [...facts.keys({})].map((key): ChangedKey => ({ doc, key }));
    logger.warn("replica.facts-reloaded", { doc, keys: changed.length });
    listeners.tell({ changed, rebuilt: false });
  }
}
