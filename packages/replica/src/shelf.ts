// SPDX-License-Identifier: Apache-2.0
import type { DocumentName } from "@ctxmesh/model";

/** Documents that are opened between two looks at how much is open. */
const LOOK_EVERY = 32;

/** How something becomes bytes, and comes back from them. */
export interface ShelfForm<T> {
  /** Makes what was put there encoded. */
  readonly decode: (doc: DocumentName, state: Uint8Array) => T;
  /** The other way round. */
  readonly encode: (value: T) => Uint8Array;
  /** About its encoded size in bytes. */
  readonly sizeOf: (value: T) => number;
  /** Whether its bytes are all of it now. */
  readonly isWhole: (value: T) => boolean;
}

/**
 * Something for each document. What came out of the store stays encoded until it is first asked for, so that
 * opening does not take apart what nobody reads; and when more than a number of bytes is open, what was not asked for
 * the longest is encoded again.
 */
export class Shelf<T> {
  /** The one that was asked for last comes last. */
  readonly #open = new Map<DocumentName, T>();
  readonly #encoded = new Map<DocumentName, Uint8Array>();
  readonly #form: ShelfForm<T>;
  readonly #capBytes: number;
  #opened = 0;

  constructor(form: ShelfForm<T>, capBytes: number) {
    this.#form = form;
    this.#capBytes = capBytes;
  }

  /** Keeps an encoded state, which is right. */
  put(doc: DocumentName, state: Uint8Array): void {
    this.#encoded.set(doc, state);
  }

  /** Takes something in the place of what is there for a document. */
  set(doc: DocumentName, value: T): void {
    this.#encoded.delete(doc);
    this.#open.delete(doc);
    this.#add(doc, value);
  }

  /** What is there for a document; good until another document is asked for. */
  get(doc: DocumentName): T | undefined {
    const state = this.#encoded.get(doc);
    if (state === undefined) {
      const value = this.#open.get(doc);
      if (value === undefined) return undefined;
      this.#open.delete(doc);
      this.#open.set(doc, value);
      return value;
    }
    const value = this.#form.decode(doc, state);
    this.#encoded.delete(doc);
    this.#add(doc, value);
    return value;
  }

  /** What is there for a document, or else a new one; good until another document is asked for. */
  getOrMake(doc: DocumentName, make: () => T): T {
    let value = this.get(doc);
    if (value === undefined) {
      value = make();
      this.#add(doc, value);
    }
    return value;
  }

  #add(doc: DocumentName, value: T): void {
    this.#open.set(doc, value);
    this.#opened++;
    if (this.#opened >= LOOK_EVERY) this.#closeSome(doc);
  }

  /** Encodes those that were not asked for the longest, until no more is open than may be. */
  #closeSome(but: DocumentName): void {
    this.#opened = 0;
    const { encode, sizeOf, isWhole } = this.#form;
    let bytes = 0;
    for (const value of this.#open.values()) bytes += sizeOf(value);
    for (const [doc, value] of this.#open) {
      if (bytes <= this.#capBytes) return;
      if (doc === but || !isWhole(value)) continue;
      let state: Uint8Array;
      try {
        state = encode(value);
      } catch (error) {
        // It is not whole any more, and whoever asked for another document has no part in it.
        if (isWhole(value)) throw error;
        continue;
      }
      bytes -= sizeOf(value);
      this.#encoded.set(doc, state);
      this.#open.delete(doc);
    }
  }

  /** The encoded state of a document. */
  encode(doc: DocumentName): Uint8Array | undefined {
    const value = this.#open.get(doc);
    return value === undefined ? this.#encoded.get(doc) : this.#form.encode(value);
  }

  /** About the encoded size of a document. */
  bytesOf(doc: DocumentName): number {
    const value = this.#open.get(doc);
    return (value === undefined ? this.#encoded.get(doc)?.length : this.#form.sizeOf(value)) ?? 0;
  }

  /** The documents that have something, in no particular order. */
  docs(): readonly DocumentName[] {
    return [...this.#encoded.keys(), ...this.#open.keys()];
  }

  /** How many of them are open. */
  get openCount(): number {
    return this.#open.size;
  }

  /** All that is there, in no particular order; each good until the next is asked for. */
  *entries(): Generator<readonly [doc: DocumentName, value: T]> {
    for (const doc of this.docs()) {
      const value = this.get(doc);
      if (value !== undefined) yield [doc, value];
    }
  }
}
