// SPDX-License-Identifier: Apache-2.0
/** What a local edit works with. The types of Yjs stay inside, so that nothing can change a document past its checks. */
import { MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import * as Y from "yjs";
import { plainContent } from "./content.ts";
import type { TextRun } from "./content.ts";
import { createType, openRoot } from "./engine.ts";
import type { SharedType } from "./engine.ts";
import { CONTENT_DEPTH, isRootName, isSafeKey, wireRoot } from "./names.ts";
import type { EntryKind } from "./names.ts";

/** Attributes of text by name; null takes one away. */
export type TextAttributes = Readonly<Record<string, JsonValue>>;

/** A text with attributes and embedded objects. Positions count UTF-16 units; one inside a surrogate pair breaks it. */
export interface RichText {
  /** Characters and embeds. */
  readonly length: number;
  /** Without attributes and embeds. */
  toString(): string;
  /** Its content as plain JSON. */
  runs(): readonly TextRun[];
  /** Without `attributes` it takes on those of the place. */
  insert(index: number, text: string, attributes?: TextAttributes): void;
  insertEmbed(index: number, embed: TextAttributes, attributes?: TextAttributes): void;
  delete(index: number, length: number): void;
  format(index: number, length: number, attributes: TextAttributes): void;
}

/** A list of JSON values and shared types. */
export interface RichList {
  readonly length: number;
  get(index: number): RichEntry | undefined;
  insert(index: number, values: readonly JsonValue[]): void;
  /** Inserts an empty shared type and returns it. */
  insertNew<Kind extends EntryKind>(index: number, kind: Kind): RichTypes[Kind];
  delete(index: number, length: number): void;
}

/** A map of JSON values and shared types. Of two concurrent writes to a key one wins, not always the newer: facts are better there. */
export interface RichMap {
  keys(): readonly string[];
  get(key: string): RichEntry | undefined;
  set(key: string, value: JsonValue): void;
  /** Sets an empty shared type and returns it. */
  setNew<Kind extends EntryKind>(key: string, kind: Kind): RichTypes[Kind];
  delete(key: string): void;
}

/** The shared types by kind. */
export interface RichTypes {
  readonly text: RichText;
  readonly list: RichList;
  readonly map: RichMap;
}

/** What a list or map holds. */
export type RichEntry = JsonValue | RichText | RichList | RichMap;

/**
 * The roots of a document, made on first use, for the time of one edit. Names are letters, digits and
 * `.` `_` `-`, from a letter, 64 at most; each kind has names of its own. XML is for Yjs clients to edit.
 *
 * All methods here and on what these return throw `INPUT_INVALID` for arguments that are wrong or out
 * of range, and `CLOSED` once the edit is over.
 */
export interface RichRoots {
  text(name: string): RichText;
  list(name: string): RichList;
  map(name: string): RichMap;
}

const invalid = (message: string, field: string): never => {
  throw new MeshError("INPUT_INVALID", message, { field });
};

function assertKey(key: string, field: string): void {
  if (typeof key !== "string" || !key.isWellFormed() || !isSafeKey(key)) {
    invalid(`${field}: ${JSON.stringify(key)} can't be a key`, field);
  }
}

function assertText(text: unknown, field: string): void {
  if (typeof text !== "string") invalid(`${field} is not text`, field);
  else if (!text.isWellFormed()) invalid(`${field} has a lone surrogate`, field);
}

function assertJson(value: unknown, field: string, depth = 0): void {
  if (depth > CONTENT_DEPTH) {
    invalid(`${field} is nested deeper than ${String(CONTENT_DEPTH)}`, field);
  }
  if (value === null || typeof value === "boolean") return;
  if (typeof value === "string") return assertText(value, field);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) invalid(`${field} is ${String(value)}`, field);
    return;
  }
  if (Array.isArray(value)) {
    for (const member of value as readonly unknown[]) assertJson(member, field, depth + 1);
    return;
  }
  if (typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) {
    invalid(`${field} is not JSON`, field);
  }
  for (const [key, member] of Object.entries(value as object)) {
    assertKey(key, field);
    assertJson(member, `${field}.${key}`, depth + 1);
  }
}

function assertObject(value: unknown, field: string): void {
  assertJson(value, field);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    invalid(`${field} is not an object`, field);
  }
}

function assertRange(index: number, length: number, size: number): void {
  const inside =
    Number.isSafeInteger(index) && Number.isSafeInteger(length) && index >= 0 && length >= 0;
  if (!inside || index + length > size) {
    invalid(`${String(index)} + ${String(length)} is outside of 0..${String(size)}`, "index");
  }
}

/** A {@link RichRoots} over `doc` that works until `close` is called. */
export class EditSession implements RichRoots {
  readonly #doc: Y.Doc;
  #open = true;

  constructor(doc: Y.Doc) {
    this.#doc = doc;
  }

  close(): void {
    this.#open = false;
  }

  text(name: string): RichText {
    return this.#text(this.#root("text", name) as Y.Text);
  }

  list(name: string): RichList {
    return this.#list(this.#root("list", name) as Y.Array<unknown>);
  }

  map(name: string): RichMap {
    return this.#map(this.#root("map", name) as Y.Map<unknown>);
  }

  #root(kind: EntryKind, name: string): SharedType {
    this.#assertOpen();
    if (!isRootName(name)) invalid(`${JSON.stringify(name)} can't be the name of a root`, "root");
    return openRoot(this.#doc, wireRoot(kind, name));
  }

  #assertOpen(): void {
    if (!this.#open) throw new MeshError("CLOSED", "the edit is over");
  }

  /** The type, as long as the edit lasts. */
  #use<Type>(type: Type): Type {
    this.#assertOpen();
    return type;
  }

  #wrap(value: unknown): RichEntry | undefined {
    if (value instanceof Y.Text) return this.#text(value);
    if (value instanceof Y.Array) return this.#list(value as Y.Array<unknown>);
    if (value instanceof Y.Map) return this.#map(value as Y.Map<unknown>);
    return value as JsonValue | undefined;
  }

  #make<Kind extends EntryKind>(kind: Kind, place: (type: SharedType) => void): RichTypes[Kind] {
    this.#assertOpen();
    const type = createType(kind);
    place(type);
    return this.#wrap(type) as RichTypes[Kind];
  }

  #text(of: Y.Text): RichText {
    const use = (): Y.Text => this.#use(of);
    return {
      get length(): number {
        return use().length;
      },
      toString: () => use().toJSON(),
      runs: () => plainContent(use() as SharedType) as readonly TextRun[],
      insert: (index, text, attributes) => {
        assertRange(index, 0, use().length);
        assertText(text, "text");
        if (attributes !== undefined) assertObject(attributes, "attributes");
        of.insert(index, text, attributes && { ...attributes });
      },
      insertEmbed: (index, embed, attributes = {}) => {
        assertRange(index, 0, use().length);
        assertObject(embed, "embed");
        assertObject(attributes, "attributes");
        of.insertEmbed(index, embed, { ...attributes });
      },
      delete: (index, length) => {
        assertRange(index, length, use().length);
        of.delete(index, length);
      },
      format: (index, length, attributes) => {
        assertRange(index, length, use().length);
        assertObject(attributes, "attributes");
        of.format(index, length, attributes);
      },
    };
  }

  #list(of: Y.Array<unknown>): RichList {
    const use = (): Y.Array<unknown> => this.#use(of);
    return {
      get length(): number {
        return use().length;
      },
      get: (index) => this.#wrap(use().get(index)),
      insert: (index, values) => {
        assertRange(index, 0, use().length);
        if (!Array.isArray(values)) invalid("values is not an array", "values");
        assertJson(values, "values");
        if (values.length > 0) of.insert(index, [...values]);
      },
      insertNew: (index, kind) => {
        assertRange(index, 0, use().length);
        return this.#make(kind, (type) => of.insert(index, [type]));
      },
      delete: (index, length) => {
        assertRange(index, length, use().length);
        of.delete(index, length);
      },
    };
  }

  #map(of: Y.Map<unknown>): RichMap {
    const use = (): Y.Map<unknown> => this.#use(of);
    return {
      keys: () => [...use().keys()].toSorted(),
      get: (key) => this.#wrap(use().get(key)),
      set: (key, value) => {
        assertKey(key, "key");
        assertJson(value, "value");
        use().set(key, value);
      },
      setNew: (key, kind) => {
        assertKey(key, "key");
        return this.#make(kind, (type) => use().set(key, type));
      },
      delete: (key) => use().delete(key),
    };
  }
}
