// SPDX-License-Identifier: Apache-2.0
import type { Clock, DocumentName, Store } from "@ctxmesh/model";
import { unpackedOf } from "./checks.ts";
import type { BatchSource } from "./checks.ts";
import type { Committer } from "./committer.ts";
import type { FillOutcome, LateBody, SectionRef } from "./fill.ts";
import type { OmissionSummary } from "./omissions.ts";
import { findBodies, omittedSections } from "./omitted.ts";
import type { FoundBody, OmittedSection } from "./omitted.ts";
import type { RecordsChange } from "./tasks.ts";
import type { Wants } from "./wants.ts";

/** A document of which something is left out. */
export interface OmittedDocument {
  readonly doc: DocumentName;
  /** Those that have expired since among them. */
  readonly sections: number;
  readonly bytes: number;
  /** Its rich content can't be read to its end. */
  readonly rich: boolean;
  /** How many of the sections are pruned: no peer is asked for these. */
  readonly pruned: number;
}

/** What of a space is left out in a replica, told by the headers that sign it; and the way in for what was. */
export class OmittedContent {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #committer: Committer;

  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }, of: Committer) {
    this.#store = store;
    this.#clock = clock;
    this.#committer = of;
  }

  get #omissions(): Committer["core"]["state"]["documents"]["omissions"] {
    return this.#committer.core.state.documents.omissions;
  }

  /** How much is left out. */
  summary(): OmissionSummary {
    return this.#omissions.summary(this.#clock.now());
  }

  /** Whether nothing is left out. */
  get isNone(): boolean {
    return this.#omissions.isEmpty;
  }

  /** What is left out of each document of which something is, by name. */
  documents(): readonly OmittedDocument[] {
    const { base } = this.#committer.core.checkpoints;
    const pruned = new Map(base?.omitted);
    return [...this.#omissions.docs()]
      .map(([doc, counts]) => ({
        doc,
        sections: counts.sections + counts.passing,
        bytes: counts.bytes + counts.passingBytes,
        rich: counts.closed,
        pruned: (pruned.get(doc)?.sections ?? 0) + (pruned.get(doc)?.passing ?? 0),
      }))
      .toSorted((a, b) => (a.doc < b.doc ? -1 : 1));
  }

  /** The sections that are left out and not pruned, of one document or of all, newest first, behind one of them. Reads the log. */
  sections(
    doc?: DocumentName,
    before?: Pick<OmittedSection, "position" | "section">,
  ): AsyncGenerator<OmittedSection> {
    return omittedSections(this.#store, this.#committer.core, doc, before);
  }

  /**
   * The bodies that are here of those that others lack, as many as fit into some 256 KiB; of facts only those with something that
   * `only` wants. `source`, who asks, is charged for what is read and opened.
   */
  async find(
    wanted: readonly SectionRef[],
    only?: Wants,
    source?: BatchSource,
  ): Promise<readonly FoundBody[]> {
    return findBodies(this.#committer.core, wanted, only, source);
  }

  /**
   * The one way in for bodies that were left out: those that are what was signed are durable and in effect when it resolves; rich
   * content soon after the last of its document. Whatever is not left out here is passed over. `source` is charged for what they
   * unpack to. Rejects with `STORE_FAILED`, `CLOSED`, and `LIMIT_EXCEEDED` while too many wait.
   */
  async add(bodies: readonly LateBody[], source?: BatchSource): Promise<FillOutcome> {
    this.#committer.assertWritable();
    source?.charge({ bytes: unpackedOf({ bodies: bodies.map(({ body }) => body) }), items: 0 });
    return this.#committer.fills.add(bodies, source);
  }

  /** Calls `listener` after bodies came that had been left out, with the keys that they changed. Returns how to stop. */
  onAdded(listener: (change: RecordsChange) => void): () => void {
    return this.#committer.fills.listeners.add(listener);
  }

  /** Opens rich content of which nothing is left out any more, where the process stopped before that was done. */
  reopen(): void {
    const isOpenable = [...this.#omissions.docs()].some(
      ([, { closed, rich }]) => closed && rich === 0,
    );
    if (isOpenable) this.#committer.fills.reopen();
  }
}
