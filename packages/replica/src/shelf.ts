// SPDX-License-Identifier: Apache-2.0
import type { DocumentName } from "@ctxmesh/model";

/**
 * Something for each document. What came out of the store stays encoded until it is first asked for, so that
 * opening does not take apart what nobody reads.
 */
export class Shelf<T> {
  readonly #open = new Map<DocumentName, T>();
  readonly #encoded = new Map<DocumentName, Uint8Array>();
  readonly #decode: (doc: DocumentName, state: Uint8Array) => T;

  /** `decode` makes what was put there encoded. */
  constructor(decode: (doc: DocumentName, state: Uint8Array) => T) {
    this.#decode = decode;
  }

  /** Keeps an encoded state, which is right. */
  put(doc: DocumentName, state: Uint8Array): void {
    this.#encoded.set(doc, state);
  }

  /** What is there for a document. */
  get(doc: DocumentName): T | undefined {
    const state = this.#encoded.get(doc);
    if (state === undefined) return this.#open.get(doc);
    const value = this.#decode(doc, state);
    this.#encoded.delete(doc);
    this.#open.set(doc, value);
    return value;
  }

  /** What is there for a document, or else a new one. */
  getOrMake(doc: DocumentName, make: () => T): T {
    let value = this.get(doc);
    if (value === undefined) {
      value = make();
      this.#open.set(doc, value);
    }
    return value;
  }

  /** The documents that have something, in no particular order. */
  docs(): readonly DocumentName[] {
    return [...this.#encoded.keys(), ...this.#open.keys()];
  }

  /** All that is there, in no particular order. */
  entries(): readonly (readonly [doc: DocumentName, value: T])[] {
    for (const doc of this.#encoded.keys()) this.get(doc);
    return [...this.#open];
  }
}
