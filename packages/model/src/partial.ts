// SPDX-License-Identifier: Apache-2.0
/** What a node that keeps only a part of a space says of the rest, and how it is had. */

/** How much of a space is left out on a node. */
export interface PartialSummary {
  /** The rules of what is kept; absent when everything is that comes from now on. */
  readonly subscription?: readonly string[];
  /** Documents of which something is left out that may matter. */
  readonly documents: number;
  /** Sections (parts of batches, each of one document) that are left out, and their bytes. */
  readonly sections: number;
  readonly bytes: number;
  /** Sections besides of which all has expired. */
  readonly expired: number;
}

/** A document of which something is left out. */
export interface OmittedDocumentReport {
  readonly doc: string;
  /** Sections that are left out, those that have expired among them. */
  readonly sections: number;
  readonly bytes: number;
  /** Its text, lists and maps can't be read to their end. */
  readonly rich: boolean;
  /** How many of the sections are pruned, so that no peer can be asked for them. */
  readonly pruned: number;
}

/** A section that is left out. `header` proves it: the signed header names its hash. */
export interface OmittedSectionReport {
  readonly doc: string;
  readonly kind: "facts" | "rich";
  readonly device: string;
  readonly incarnation: string;
  /** Of the batch in its chain, and the section in the batch, from 0. */
  readonly seq: number;
  readonly section: number;
  /** SHA-256 of the header. */
  readonly hash: string;
  /** When the batch was written, by its writer's clock, Unix milliseconds. */
  readonly writtenMs: number;
  readonly bytes: number;
  /** When the last of its facts expires, Unix milliseconds; absent when one does not. */
  readonly untilMs?: number;
  /** CBOR `[header, signature]`, base64; when it was asked for. */
  readonly header?: string;
}

/** Which sections that are left out. */
export interface OmissionQuery {
  /** With a document, its sections are told, too. */
  readonly doc?: string;
  /** Where a page goes on: `next` of the one before it. */
  readonly before?: string;
  /** With the signed header of each section. */
  readonly proof?: boolean;
}

/** What is left out on a node. */
export interface OmissionReport {
  readonly summary: PartialSummary;
  /** By name; the one that was asked for, or all. */
  readonly documents: readonly OmittedDocumentReport[];
  /** Of the document that was asked for, newest first, 500 at most. */
  readonly sections: readonly OmittedSectionReport[];
  /** Where the next page goes on; absent on the last. */
  readonly next?: string;
}

/** What of a document is to be fetched. */
export interface FetchQuery {
  readonly doc: string;
  /** Only what has facts with a key that matches, as in `ListQuery.pattern`. */
  readonly key?: string;
  /** Where to go on: `next` of the answer before. */
  readonly before?: string;
}

/** What fetching came to. */
export interface FetchReport {
  /** Sections that are here now, and their bytes. */
  readonly filled: number;
  readonly bytes: number;
  /** Sections without anything of what was asked for; they stay left out. */
  readonly unwanted: number;
  /** Sections that nobody had who was asked. */
  readonly unavailable: number;
  /** The devices that were asked, hex. */
  readonly asked: readonly string[];
  /** Where to go on; absent when all of it was asked for. */
  readonly next?: string;
}

/** What a node offers that may keep only a part. */
export interface PartialService {
  /** What is left out. Rejects with `INPUT_INVALID`, `STORE_CORRUPT`, `STORE_FAILED`. */
  omissions(query?: OmissionQuery): Promise<OmissionReport>;
  /**
   * Asks the connected peers for what is left out of a document, newest first, for some seconds or some hundred sections; to be called again with
   * `next`. Rejects as {@link omissions}.
   */
  fetchOmitted(query: FetchQuery): Promise<FetchReport>;
}
