// SPDX-License-Identifier: Apache-2.0
/**
 * The documents that a rich document needs besides its own, each only while somebody asks for it. They
 * follow lazily: updates that they lack are kept as bytes, until these outgrow the document's own size.
 */
import * as Y from "yjs";
import { take } from "./claims.ts";
import type { Taken } from "./claims.ts";
import { createDoc, docOf } from "./engine.ts";

/** Updates of a small document may take this many bytes before it is encoded anew or let go. */
const MIN_BEHIND_BYTES = 65_536;

/** Updates that a document lacks. */
class Behind {
  #updates: Taken[] = [];
  #bytes = 0;

  /** Keeps an update; whether they take more bytes than `size` by now. */
  add(update: Taken, size: number): boolean {
    this.#updates.push(update);
    this.#bytes += update.bytes.length;
    return this.#bytes > Math.max(MIN_BEHIND_BYTES, size);
  }

  /** Brings a document up to date; the one to go on with. */
  catchUp(doc: Y.Doc): Y.Doc {
    return this.#updates.splice(0).reduce(take, doc);
  }

  clear(): void {
    this.#updates = [];
    this.#bytes = 0;
  }
}

/**
 * The applied state for readers while something else is staged: an encoded state and the updates behind it,
 * and a document once one was asked for.
 */
export class AppliedDoc {
  #state: Uint8Array;
  readonly #behind = new Behind();
  #doc: Y.Doc | undefined;

  /** From an encoded state; an empty document without one. */
  constructor(state: Uint8Array = Y.encodeStateAsUpdate(createDoc())) {
    this.#state = state;
  }

  /** Adds an applied update; `whole` is a document with all of them and no more, if there is one. */
  add(update: Taken, whole: Y.Doc | undefined): void {
    if (!this.#behind.add(update, this.#state.length) || whole === undefined) return;
    this.#state = Y.encodeStateAsUpdate(whole);
    this.#behind.clear();
    this.#doc = undefined;
  }

  /** The document, up to date; not to be changed. */
  open(): Y.Doc {
    this.#doc = this.#behind.catchUp(this.#doc ?? docOf(this.#state));
    return this.#doc;
  }
}

/**
 * The document in which local edits are made. Not the one that readers see: to find a place, Yjs splits
 * items, which replaces both halves of a character outside the basic plane, and tells nobody.
 */
export class EditedDoc {
  #doc: Y.Doc | undefined;
  #size = 0;
  readonly #behind = new Behind();

  /** Adds an update that was not made here. */
  add(update: Taken): void {
    if (this.#doc !== undefined && this.#behind.add(update, this.#size)) this.drop();
  }

  /** The document, with everything that `newest` has. */
  open(newest: Y.Doc): Y.Doc {
    if (this.#doc === undefined) {
      const state = Y.encodeStateAsUpdate(newest);
      this.#doc = docOf(state);
      this.#size = state.length;
    }
    this.#doc = this.#behind.catchUp(this.#doc);
    return this.#doc;
  }

  /** Lets it go; the next one is made anew. */
  drop(): void {
    this.#doc = undefined;
    this.#behind.clear();
  }
}
