// SPDX-License-Identifier: Apache-2.0
/**
 * Headers of void batches whose bodies are not here. A batch that counts may name a void one; the void one's
 * signed header then stands in for it, once the headers of all void batches behind it are here as well:
 * only so is it known of every operation that it may build on whether it is void or still to come.
 *
 * In memory is what the checks look at; the signed bytes, which peers ask for, stay in the store.
 */
import type { Header } from "@ctxmesh/codec";
import { LIMITS } from "@ctxmesh/model";
import type { DeviceKey, HeaderHash, Store } from "@ctxmesh/model";
import { decodeSignedHeader, encodeSignedHeader } from "./evidence.ts";
import type { ParsedHeader, SignedHeader } from "./evidence.ts";
import { chainKey, voidHeaderKey, voidHeaderRange } from "./layout.ts";
import type { BatchLog } from "./log.ts";
import type { Records } from "./records.ts";
import type { Chain, ChainView } from "./void-content.ts";

/** What is looked at of a header. */
export type HeaderFacts = Pick<
  Header,
  "replica" | "incarnation" | "seq" | "prev" | "hlc" | "deps"
> & { readonly hash: HeaderHash };

/** What a header names: its predecessor and its dependencies. */
export const namedBy = ({ prev, deps }: Pick<Header, "prev" | "deps">): readonly HeaderHash[] =>
  prev === null ? deps : [prev, ...deps];

/** What is looked at of a parsed header. */
export const factsOf = ({ header, hash }: Pick<ParsedHeader, "header" | "hash">): HeaderFacts => {
  const { replica, incarnation, seq, prev, hlc, deps } = header;
  return { replica, incarnation, seq, prev, hlc, deps, hash };
};

/** Whether a header is void by itself, whatever else its chain has. */
const isVoidAlone = (records: Records, header: HeaderFacts): boolean =>
  records.standing(header, header.hash).kind === "void";

/** Whether a header stands for a void batch: by itself, or since what is before it in its chain is void. */
export const isVoid = (records: Records, view: ChainView, header: HeaderFacts): boolean =>
  isVoidAlone(records, header) || header.seq >= view.voidFrom(header);

const keyOf = ({ replica, incarnation }: Chain): string => chainKey(replica, incarnation);

/** The headers of one chain. */
interface HeaderChain {
  /** Of several with one seq, the first that came. */
  readonly bySeq: Map<number, HeaderHash>;
  readonly headers: HeaderFacts[];
  /** Number of them that were judged, and the lowest seq of those that are void by themselves. */
  judged: number;
  lowest: number;
}

/** What a device has of the room. */
interface Share {
  headers: number;
  bytes: number;
}

/** The void headers of one replica, by hash. */
export class VoidHeaders {
  readonly #store: Store;
  readonly #headers = new Map<HeaderHash, HeaderFacts>();
  readonly #chains = new Map<string, HeaderChain>();
  /** What they name and is not among them; may be in the log. */
  readonly #named = new Set<HeaderHash>();
  /** Those behind which nothing is missing. */
  readonly #closed = new Set<HeaderHash>();
  readonly #shares = new Map<DeviceKey, Share>();
  #bytes = 0;

  private constructor(store: Store) {
    this.#store = store;
  }

  /** Those in a store. Throws what {@link decodeSignedHeader} throws. */
  static async load(store: Store): Promise<VoidHeaders> {
    const headers = new VoidHeaders(store);
    for await (const [, value] of store.scan(voidHeaderRange)) {
      headers.add(decodeSignedHeader(value));
    }
    return headers;
  }

  /** Number of headers. */
  get size(): number {
    return this.#headers.size;
  }

  get(hash: HeaderHash): HeaderFacts | undefined {
    return this.#headers.get(hash);
  }

  values(): Iterable<HeaderFacts> {
    return this.#headers.values();
  }

  /** The header with its signature, out of the store. */
  async signed(hash: HeaderHash): Promise<ParsedHeader | undefined> {
    if (!this.#headers.has(hash)) return undefined;
    const bytes = await this.#store.get(voidHeaderKey(hash));
    return bytes === undefined ? undefined : decodeSignedHeader(bytes);
  }

  /** Whether a header of these names one that is not among them. */
  names(hash: HeaderHash): boolean {
    return this.#named.has(hash);
  }

  /** The header at a position of a chain. */
  at(chain: Chain, seq: number): HeaderHash | undefined {
    return this.#chains.get(keyOf(chain))?.bySeq.get(seq);
  }

  /** Whether a device signed some of them. */
  hasOf(device: DeviceKey): boolean {
    return this.#shares.has(device);
  }

  /** Whether there is room for one more of this size, over all and for the device that signed it. */
  hasRoomFor(header: ParsedHeader): boolean {
    const bytes = sizeOf(header);
    const share = this.#shares.get(header.header.replica);
    return (
      this.size < LIMITS.voidHeaders &&
      this.#bytes + bytes <= LIMITS.voidHeaderBytes &&
      (share?.headers ?? 0) < LIMITS.voidHeadersPerDevice &&
      (share?.bytes ?? 0) + bytes <= LIMITS.voidHeaderBytesPerDevice
    );
  }

  /** Takes a header that the store has, or will have before anybody asks for it. */
  add(parsed: ParsedHeader): void {
    const header = factsOf(parsed);
    const { hash, replica, seq } = header;
    if (this.#headers.has(hash)) return;
    this.#headers.set(hash, header);
    const chain = this.#chains.get(keyOf(header)) ?? {
      bySeq: new Map<number, HeaderHash>(),
      headers: [],
      judged: 0,
      lowest: Number.POSITIVE_INFINITY,
    };
    this.#chains.set(keyOf(header), chain);
    if (!chain.bySeq.has(seq)) chain.bySeq.set(seq, hash);
    chain.headers.push(header);
    this.#named.delete(hash);
    for (const name of namedBy(header)) if (!this.#headers.has(name)) this.#named.add(name);
    const share = this.#shares.get(replica) ?? { headers: 0, bytes: 0 };
    share.headers++;
    share.bytes += sizeOf(parsed);
    this.#shares.set(replica, share);
    this.#bytes += sizeOf(parsed);
  }

  /** Other records, or another state, may make other headers void. */
  judgeAnew(): void {
    this.#closed.clear();
    for (const chain of this.#chains.values()) {
      chain.judged = 0;
      chain.lowest = Number.POSITIVE_INFINITY;
    }
  }

  /** The lowest seq of a chain whose header is here and void by itself under the records, which are the same until {@link judgeAnew}; Infinity when there is none. */
  voidFrom(of: Chain, records: Records): number {
    const chain = this.#chains.get(keyOf(of));
    if (chain === undefined) return Number.POSITIVE_INFINITY;
    for (const header of chain.headers.slice(chain.judged)) {
      if (header.seq < chain.lowest && isVoidAlone(records, header)) chain.lowest = header.seq;
    }
    chain.judged = chain.headers.length;
    return chain.lowest;
  }

  /**
   * What a batch that names `hash`, which is not in the log, has to wait for: undefined for nothing, a hash that
   * is missing, or `later` when all is known and a batch that counts has to come first. `isWaiting` says of a hash in the log
   * that its batch waits for another one.
   */
  async waitFor(
    hash: HeaderHash,
    records: Records,
    log: BatchLog,
    view: ChainView,
    isWaiting: (hash: HeaderHash) => boolean,
  ): Promise<HeaderHash | "later" | undefined> {
    const seen = new Set<HeaderHash>([hash]);
    for (const name of seen) {
      if (this.#closed.has(name)) continue;
      if (isWaiting(name)) return "later";
      if (name !== hash && (await log.has(name))) continue;
      const known = this.#headers.get(name);
      if (known === undefined || !isVoid(records, view, known)) return name;
      if (!view.isComplete(known)) return "later";
      for (const next of namedBy(known)) seen.add(next);
    }
    for (const name of seen) if (this.#headers.has(name)) this.#closed.add(name);
    return undefined;
  }
}

const sizeOf = (header: SignedHeader): number => encodeSignedHeader(header).length;
