// SPDX-License-Identifier: Apache-2.0
/**
 * How much of each document's content is not here, though the headers that sign it are. Only counts are kept: which sections
 * they are is in the log. A section whose facts all expire is counted apart, since it is missing for a time only.
 */
import { hlcToMs } from "@ctxmesh/model";
import type { DocumentName, Hlc } from "@ctxmesh/model";
import type { Header, Section } from "@ctxmesh/codec";
import { chainKey } from "./layout.ts";
import type { Chain } from "./void-content.ts";

/** Sections of a document that are left out. */
export interface OmittedCounts {
  /** Those that matter for as long as what they state does. */
  readonly sections: number;
  readonly bytes: number;
  /** How many of them are rich content. */
  readonly rich: number;
  /** Of rich content something was left out, and what comes behind it was not opened, nor has been since. */
  readonly closed: boolean;
  /** Those that expire, until the last of them has, Unix milliseconds. */
  readonly passing: number;
  readonly passingBytes: number;
  readonly untilMs: number;
}

/** The same of a chain: what others may not have when they hear of it from here. */
export interface OmittedOfChain {
  readonly sections: number;
  readonly untilMs: number;
}

/** What is counted of a section. */
export type CountedSection = Pick<Section, "doc" | "kind" | "bodyLen" | "until">;

/** What of a space is not here. */
export interface OmissionSummary {
  readonly documents: number;
  readonly sections: number;
  readonly bytes: number;
  /** Sections of documents in which all that is missing has expired. */
  readonly expired: number;
}

const NOTHING: OmittedCounts = {
  sections: 0,
  bytes: 0,
  rich: 0,
  closed: false,
  passing: 0,
  passingBytes: 0,
  untilMs: 0,
};

/** Whether a section has expired for everybody who has come as far as `frontierHlc`, and by the local clock, too. */
export const isExpired = (
  { until }: Pick<Section, "until">,
  frontierHlc: Hlc,
  nowMs: number,
): boolean => until !== undefined && until < nowMs && until < hlcToMs(frontierHlc);

/** The sections that are left out, counted by document and by chain. */
export class Omissions {
  readonly #docs = new Map<DocumentName, OmittedCounts>();
  readonly #chains = new Map<string, OmittedOfChain>();

  /** Whether nothing is left out. */
  get isEmpty(): boolean {
    return this.#docs.size === 0;
  }

  /** One more, or with `by` -1 one fewer, of a batch that counts. */
  count(header: Chain, section: CountedSection, by: 1 | -1 = 1): void {
    const { doc, kind, bodyLen, until } = section;
    const known = this.#docs.get(doc) ?? NOTHING;
    const counts =
      until === undefined
        ? {
            ...known,
            sections: known.sections + by,
            bytes: known.bytes + by * bodyLen,
            rich: known.rich + (kind === "rich" ? by : 0),
            closed: known.closed || kind === "rich",
          }
        : {
            ...known,
            passing: known.passing + by,
            passingBytes: known.passingBytes + by * bodyLen,
            untilMs: Math.max(known.untilMs, until),
          };
    this.put(doc, counts);
    const chain = chainKey(header.replica, header.incarnation);
    const of = this.#chains.get(chain) ?? { sections: 0, untilMs: 0 };
    this.putChain(chain, {
      sections: of.sections + (until === undefined ? by : 0),
      untilMs: Math.max(of.untilMs, until ?? 0),
    });
  }

  /** What is left out of a document. */
  put(doc: DocumentName, counts: OmittedCounts): void {
    if (counts.sections + counts.passing === 0 && !counts.closed) this.#docs.delete(doc);
    else this.#docs.set(doc, counts);
  }

  /** What is left out of a chain, by its key. */
  putChain(chain: string, counts: OmittedOfChain): void {
    if (counts.sections === 0 && counts.untilMs === 0) this.#chains.delete(chain);
    else this.#chains.set(chain, counts);
  }

  /** What is left out of a document; undefined for nothing. */
  of(doc: DocumentName): OmittedCounts | undefined {
    return this.#docs.get(doc);
  }

  /** All documents of which something is left out. */
  docs(): IterableIterator<readonly [doc: DocumentName, counts: OmittedCounts]> {
    return this.#docs.entries();
  }

  /** All chains of which something is left out, by key. */
  chains(): IterableIterator<readonly [chain: string, counts: OmittedOfChain]> {
    return this.#chains.entries();
  }

  /** Whether what is read of a document now may differ from what it would be with all of it. */
  isIncomplete(doc: DocumentName, nowMs: number): boolean {
    const counts = this.#docs.get(doc);
    if (counts === undefined) return false;
    return counts.sections > 0 || counts.closed || (counts.passing > 0 && counts.untilMs >= nowMs);
  }

  /** Whether rich content of a document was left out, so that what comes behind it can't be opened before all is worked out anew. */
  isClosed(doc: DocumentName): boolean {
    return this.#docs.get(doc)?.closed === true;
  }

  /**
   * Whether all of a chain, by its key, is here or has expired. Another replica may have nobody to get the rest from, so a batch
   * of ours must not make it wait for that.
   */
  isWhole(chain: string, nowMs: number): boolean {
    const counts = this.#chains.get(chain);
    return counts === undefined || (counts.sections === 0 && counts.untilMs < nowMs);
  }

  /** What is left out in all. */
  summary(nowMs: number): OmissionSummary {
    const summary = { documents: 0, sections: 0, bytes: 0, expired: 0 };
    for (const [doc, counts] of this.#docs) {
      const passed = counts.untilMs < nowMs;
      if (this.isIncomplete(doc, nowMs)) summary.documents++;
      summary.sections += counts.sections + (passed ? 0 : counts.passing);
      summary.bytes += counts.bytes + (passed ? 0 : counts.passingBytes);
      summary.expired += passed ? counts.passing : 0;
    }
    return summary;
  }
}

/** The sections of a batch that are left out. */
export const omittedOf = (
  header: Header,
  bodies: readonly (Uint8Array | null)[],
): readonly number[] => [...header.sections.keys()].filter((i) => (bodies[i] ?? null) === null);
