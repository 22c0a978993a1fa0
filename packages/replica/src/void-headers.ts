// SPDX-License-Identifier: Apache-2.0
/**
 * Headers of void batches whose bodies are not here. A batch that counts may name a void one; the void one's
 * signed header then stands in for it, once the headers of all void batches behind it are here as well:
 * only so is it known of every operation that it may build on whether it is void or still to come.
 */
import type { Header } from "@ctxmesh/codec";
import type { HeaderHash } from "@ctxmesh/model";
import type { ParsedHeader, SignedHeader } from "./evidence.ts";
import type { BatchLog } from "./log.ts";
import type { Records } from "./records.ts";
import type { ChainView } from "./void-content.ts";

/** What a header names: its predecessor and its dependencies. */
const namedBy = ({ prev, deps }: Header): readonly HeaderHash[] =>
  prev === null ? deps : [prev, ...deps];

/** Whether a header stands for a void batch under the records. */
export const isVoid = (records: Records, { header, hash }: ParsedHeader): boolean =>
  records.standing(header, hash).kind === "void";

/** The void headers of one replica, by hash. */
export class VoidHeaders {
  readonly #headers = new Map<HeaderHash, ParsedHeader>();
  /** What they name and is not among them; may be in the log. */
  readonly #named = new Set<HeaderHash>();
  /** Those behind which nothing is missing. */
  readonly #closed = new Set<HeaderHash>();

  /** Number of headers. */
  get size(): number {
    return this.#headers.size;
  }

  get(hash: HeaderHash): ParsedHeader | undefined {
    return this.#headers.get(hash);
  }

  values(): Iterable<ParsedHeader> {
    return this.#headers.values();
  }

  /** Whether a header of these names one that is not among them. */
  names(hash: HeaderHash): boolean {
    return this.#named.has(hash);
  }

  add(header: ParsedHeader): void {
    this.#headers.set(header.hash, header);
    this.#named.delete(header.hash);
    for (const name of namedBy(header.header)) if (!this.#headers.has(name)) this.#named.add(name);
  }

  /** Other records may make other headers void. */
  recordsChanged(): void {
    this.#closed.clear();
  }

  /**
   * What a batch that names `hash`, which is not in the log, has to wait for: undefined for nothing, a hash that
   * is missing, or `later` when all is known and a batch that counts has to come first.
   */
  async waitFor(
    hash: HeaderHash,
    records: Records,
    log: BatchLog,
    view: ChainView,
  ): Promise<HeaderHash | "later" | undefined> {
    const seen = new Set<HeaderHash>([hash]);
    for (const name of seen) {
      if (this.#closed.has(name) || (name !== hash && (await log.has(name)))) continue;
      const known = this.#headers.get(name);
      if (known === undefined || !isVoid(records, known)) return name;
      if (!view.isComplete(known.header)) return "later";
      for (const next of namedBy(known.header)) seen.add(next);
    }
    for (const name of seen) if (this.#headers.has(name)) this.#closed.add(name);
    return undefined;
  }
}

/** Reads a stored header by its hash. */
export type ReadHeader = (
  hash: HeaderHash,
) => Promise<(SignedHeader & { readonly header: Header; readonly hash: HeaderHash }) | undefined>;

/** A stored header and the void ones behind it, each before what it names; `most` at most. */
export async function withVoidAncestors(
  hash: HeaderHash,
  records: Records,
  read: ReadHeader,
  most: number,
): Promise<readonly SignedHeader[]> {
  const found: SignedHeader[] = [];
  const seen = new Set<HeaderHash>([hash]);
  for (const name of seen) {
    if (found.length >= most) break;
    const stored = await read(name);
    if (stored === undefined || (name !== hash && !isVoid(records, stored))) continue;
    found.push(stored);
    for (const next of namedBy(stored.header)) seen.add(next);
  }
  return found;
}
