// SPDX-License-Identifier: Apache-2.0
/**
 * The checkpoints in a store: the *base*, which stands for the part of the log that was pruned, and the *newest*, with
 * which opening begins. Both name their documents' states one by one, by the position in the key, so what neither
 * names (a crash left it, or a newer one took its place) is never read, and removed when there is time.
 *
 * The base is true for ever, since what it was made of is gone. The newest one is true for the records it was
 * judged by: it is dropped in the same write as records that change what counts, and what the base and the rest of the log amount
 * to is worked out anew.
 */
import { encodeCbor } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import type { ChainFrame } from "@ctxmesh/facts";
import { decodeFrames } from "@ctxmesh/facts";
import { MeshError, fromHex, toHex } from "@ctxmesh/model";
import type { DeviceKey, DocumentName, Store, StoreChange, Vault } from "@ctxmesh/model";
import {
  decodeCheckpoint,
  decodeDocument,
  encodeCheckpoint,
  encodeDocument,
} from "./checkpoint-format.ts";
import type { Checkpoint, DocumentState } from "./checkpoint-format.ts";
import type { DocumentEngines } from "./document-engines.ts";
import { Documents } from "./documents.ts";
import type { DocumentRules } from "./documents.ts";
import {
  baseKey,
  documentKey,
  documentRange,
  judgedKey,
  latestKey,
  pruningKey,
  readDocumentKey,
} from "./layout.ts";
import type { Records } from "./records.ts";

/** What everything in a checkpoint was judged by: the records, and whose store it is. */
export const judgedBy = (records: Records, self: DeviceKey): Uint8Array =>
  sha256(encodeCbor([records.digest(), fromHex(self)]));

const unreadable = (what: string, cause?: unknown): never => {
  throw new MeshError("STORE_CORRUPT", `the store's checkpoint ${what}`, { cause });
};

async function read(store: Store, key: Uint8Array): Promise<Checkpoint | Error | undefined> {
  const bytes = await store.get(key);
  if (bytes === undefined) return undefined;
  try {
    return decodeCheckpoint(bytes);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** A document's state in the store. */
interface StoredDocument {
  readonly doc: DocumentName;
  readonly position: number;
}

/** A document's state as it lies under its key. Throws `FORMAT_INVALID`, and what the vault throws. */
export const openDocument = (
  doc: DocumentName,
  key: Uint8Array,
  sealed: Uint8Array,
  vault: Vault | undefined,
): DocumentState =>
  decodeDocument(vault === undefined ? sealed : vault.open({ doc, gen: 0 }, key, sealed));

/** What a store has. */
interface Found {
  readonly base: Checkpoint | undefined;
  readonly latest: Checkpoint | undefined;
  readonly isPruning: boolean;
}

const nameOf = ({ doc, position }: StoredDocument): string => `${String(position)} ${doc}`;

const statesOf = (checkpoint: Checkpoint | undefined): readonly StoredDocument[] =>
  [...(checkpoint?.documents ?? [])].map(([doc, position]) => ({ doc, position }));

/** The checkpoints of one store. What it returns as changes has been taken as written by it already: the caller writes it, or fails. */
export class Checkpoints {
  readonly #store: Store;
  readonly #vault: Vault | undefined;
  readonly #engines: DocumentEngines;
  #base: Checkpoint | undefined;
  #latest: Checkpoint | undefined;
  /** States of documents that no checkpoint names. */
  readonly #loose = new Map<string, StoredDocument>();

  #isPruning: boolean;

  private constructor(
    store: Store,
    vault: Vault | undefined,
    engines: DocumentEngines,
    found: Found,
  ) {
    this.#store = store;
    this.#engines = engines;
    this.#vault = vault;
    this.#base = found.base;
    this.#latest = found.latest;
    this.#isPruning = found.isPruning;
  }

  /**
   * Looks up what is there. `problem` says why the newest one can't be used, if so: it was judged by others than
   * `judged`, or can't be read. Throws `STORE_CORRUPT` when the base can't be read, and what the store throws.
   */
  static async load(
    store: Store,
    vault: Vault | undefined,
    judged: Uint8Array,
    engines: DocumentEngines,
  ): Promise<{ readonly checkpoints: Checkpoints; readonly problem: string | undefined }> {
    const base = await read(store, baseKey);
    if (base instanceof Error) return unreadable("of the pruned log can't be read", base);
    const latest = await read(store, latestKey);
    const digest = await store.get(judgedKey);
    const problem =
      latest instanceof Error
        ? latest.message
        : latest !== undefined && (digest === undefined || toHex(digest) !== toHex(judged))
          ? "other records decide what counts"
          : undefined;
    const usable = latest instanceof Error || problem !== undefined ? undefined : latest;
    const isPruning = (await store.get(pruningKey)) !== undefined;
    const found = { base, latest: usable, isPruning };
    return { checkpoints: new Checkpoints(store, vault, engines, found), problem };
  }

  /** The one that stands for the pruned part of the log. */
  get base(): Checkpoint | undefined {
    return this.#base;
  }

  /** The newest one that is true, without those that stand for a pruned part alone. */
  get latest(): Checkpoint | undefined {
    return this.#latest;
  }

  /** The documents of a checkpoint; without one, none. Throws `STORE_CORRUPT` when one of them can't be read, `KEY_INVALID`. */
  async documents(checkpoint: Checkpoint | undefined, rules: DocumentRules): Promise<Documents> {
    const documents = new Documents(rules, this.#engines);
    let found = 0;
    for await (const [key, sealed] of this.#store.scan(documentRange)) {
      const { doc, position } = readDocumentKey(key);
      if (!this.#isNamed(doc, position)) this.#setLoose({ doc, position });
      if (checkpoint?.documents.get(doc) !== position) continue;
      found++;
      try {
        documents.load(doc, openDocument(doc, key, sealed, this.#vault));
      } catch (error) {
        if (error instanceof MeshError && error.code === "KEY_INVALID") throw error;
        unreadable(`has a document that can't be read: ${doc}`, error);
      }
    }
    if (found !== (checkpoint?.documents.size ?? 0)) unreadable("lacks documents");
    for (const { doc, client, clock } of checkpoint?.voidParts ?? []) {
      documents.voids.addPart(doc, client, clock);
    }
    for (const [doc, counts] of checkpoint?.omitted ?? []) documents.omissions.put(doc, counts);
    for (const [chain, counts] of checkpoint?.lacking ?? []) {
      documents.omissions.putChain(chain, counts);
    }
    return documents;
  }

  /**
   * The encoded facts of a checkpoint's documents, or of one of them. Undefined when the checkpoint was replaced meanwhile, and its
   * states with it. Throws as {@link documents}.
   */
  async facts(
    checkpoint: Checkpoint,
    doc?: DocumentName,
  ): Promise<Map<DocumentName, Uint8Array> | undefined> {
    const found = new Map<DocumentName, Uint8Array>();
    for (const [name, position] of checkpoint.documents) {
      if (doc !== undefined && name !== doc) continue;
      const key = documentKey(name, position);
      const sealed = await this.#store.get(key);
      if (sealed === undefined) {
        if (checkpoint !== this.#base && checkpoint !== this.#latest) return undefined;
        return unreadable(`lacks the document ${name}`);
      }
      const { facts } = openDocument(name, key, sealed, this.#vault);
      if (facts !== undefined) found.set(name, facts);
    }
    return found;
  }

  /** The facts of a document as of the base. Throws as {@link documents}. */
  async baseFacts(doc: DocumentName): Promise<readonly ChainFrame[]> {
    const position = this.#base?.documents.get(doc);
    if (position === undefined) return [];
    const key = documentKey(doc, position);
    const sealed = await this.#store.get(key);
    if (sealed === undefined) return unreadable(`lacks the document ${doc}`);
    const { facts } = openDocument(doc, key, sealed, this.#vault);
    return facts === undefined ? [] : decodeFrames(facts);
  }

  #setLoose(state: StoredDocument): void {
    this.#loose.set(nameOf(state), state);
  }

  #isNamed(doc: DocumentName, position: number): boolean {
    return (
      this.#base?.documents.get(doc) === position || this.#latest?.documents.get(doc) === position
    );
  }

  /** The change that stores a document's state as of a position; it is loose until a checkpoint names it. */
  store(doc: DocumentName, position: number, state: DocumentState): StoreChange {
    const key = documentKey(doc, position);
    const plain = encodeDocument(state);
    this.#setLoose({ doc, position });
    const value = this.#vault === undefined ? plain : this.#vault.seal({ doc, gen: 0 }, key, plain);
    return { key, value };
  }

  /** The changes that make a checkpoint the newest one. */
  setLatest(latest: Checkpoint, judged: Uint8Array): readonly StoreChange[] {
    const value = encodeCheckpoint(latest);
    this.#replace(this.#base, latest);
    return [
      { key: latestKey, value },
      { key: judgedKey, value: judged },
    ];
  }

  /** The changes that make a checkpoint the base; batches up to it may be removed after them. */
  setBase(base: Checkpoint): readonly StoreChange[] {
    const value = encodeCheckpoint(base);
    const latest = this.#latest;
    // One that is older would name a part of the log that is gone.
    const keeps = latest !== undefined && latest.position >= base.position;
    this.#replace(base, keeps ? latest : undefined);
    this.#isPruning = true;
    return [
      { key: baseKey, value },
      { key: pruningKey, value: new Uint8Array() },
      ...(keeps ? [] : [{ key: latestKey }]),
    ];
  }

  /** The changes that drop the newest one. */
  dropLatest(): readonly StoreChange[] {
    this.#replace(this.#base, undefined);
    return [{ key: latestKey }];
  }

  /** What is named before and not any more becomes loose, and the other way round. */
  #replace(base: Checkpoint | undefined, latest: Checkpoint | undefined): void {
    const before = [...statesOf(this.#base), ...statesOf(this.#latest)];
    this.#base = base;
    this.#latest = latest;
    for (const state of before) {
      if (!this.#isNamed(state.doc, state.position)) this.#setLoose(state);
    }
    for (const state of [...statesOf(base), ...statesOf(latest)]) {
      this.#loose.delete(nameOf(state));
    }
  }

  /** The changes after which the newest one is judged by others. */
  judge(judged: Uint8Array): readonly StoreChange[] {
    return [{ key: judgedKey, value: judged }];
  }

  /** Whether batches that the base stands for may still be in the log. */
  get isPruning(): boolean {
    return this.#isPruning;
  }

  /** The changes once they are not. */
  setPruned(): readonly StoreChange[] {
    this.#isPruning = false;
    return [{ key: pruningKey }];
  }

  /** The removal of `most` states that no checkpoint names. */
  takeLoose(most: number): readonly StoreChange[] {
    const taken = [...this.#loose].slice(0, most);
    for (const [name] of taken) this.#loose.delete(name);
    return taken.map(([, { doc, position }]) => ({ key: documentKey(doc, position) }));
  }
}
