// SPDX-License-Identifier: Apache-2.0
// oxlint-disable no-underscore-dangle -- Yjs names members so that its own modules share
/**
 * Yjs, set up so that a document's content is a function of the updates applied and nothing else.
 *
 * Two things that Yjs does by itself are kept from happening, because each replica would do them at
 * another moment and tell nobody:
 *
 * - After a remote transaction it deletes format marks that look redundant at that moment. Here that is
 *   called off; without, replicas with the same updates show different attributes.
 * - Garbage collection of a deleted type forgets to which parent its entries belonged. Here only plain
 *   content is collected; the type and its entries stay as tombstones, so that a later update which
 *   names them is judged the same everywhere.
 */
import { MeshError } from "@ctxmesh/model";
import * as Y from "yjs";
import { TRACES_ROOT, levelsOf, parseWireRoot } from "./names.ts";
import type { EntryKind, TypeKind } from "./names.ts";

/** A shared type of Yjs, whatever it holds. */
export type SharedType = Y.AbstractType<unknown>;

const CONSTRUCTORS = { text: Y.Text, list: Y.Array, map: Y.Map, xml: Y.XmlFragment } as const;

/** By constructor: a hook is a map for `instanceof`, and an element a fragment. */
const KINDS: ReadonlyMap<unknown, TypeKind> = new Map<unknown, TypeKind>([
  [Y.Text, "text"],
  [Y.Array, "list"],
  [Y.Map, "map"],
  [Y.XmlFragment, "xml"],
  [Y.XmlElement, "element"],
  [Y.XmlText, "xmltext"],
]);

/** Nobody writes under this client id. */
const NO_CLIENT = 0;

/** An empty document. Its random ids, which Yjs draws, are replaced before anything can see them. */
export function createDoc(): Y.Doc {
  const doc = new Y.Doc({
    guid: "",
    gc: true,
    gcFilter: (item) => !(item.content instanceof Y.ContentType),
  });
  doc.clientID = NO_CLIENT;
  // Observers run before this event, which may ask for the tidying, and the tidying after it.
  doc.on("afterTransaction", (transaction) => {
    transaction._needFormattingCleanup = false;
  });
  return doc;
}

/** Runs `edit` in one transaction as `client`; the V1 update of exactly that, or undefined when nothing changed. */
export function editAs(doc: Y.Doc, client: number, edit: () => void): Uint8Array | undefined {
  let written: Uint8Array | undefined;
  const listen = (bytes: Uint8Array): void => {
    written = bytes;
  };
  doc.clientID = client;
  doc.on("update", listen);
  try {
    doc.transact(edit);
    return written;
  } finally {
    doc.off("update", listen);
  }
}

/** A new shared type that is not in a document yet. */
export const createType = (kind: EntryKind): SharedType => new CONSTRUCTORS[kind]() as SharedType;

/** What a shared type is. Throws `INTERNAL` for one that can't be in a document of ours. */
export function kindOf(type: SharedType): TypeKind {
  const kind = KINDS.get(type.constructor);
  if (kind === undefined) throw new MeshError("INTERNAL", "a shared type that is none of ours");
  return kind;
}

/** Nesting of the plain content of a type that is in a document, where its entries are; 1 for a root. */
export function depthOf(type: SharedType): number {
  let depth = 1;
  for (let at = type; at._item !== null; at = at._item.parent as SharedType) {
    depth += levelsOf(kindOf(at));
  }
  return depth;
}

/** Whether a type ever had an entry, deleted ones included. */
export const wasWritten = (type: SharedType): boolean => type._start !== null || type._map.size > 0;

/** The root of that name in Yjs, made when there is none. */
export function openRoot(doc: Y.Doc, wire: string): SharedType {
  if (wire === TRACES_ROOT) return doc.getMap(TRACES_ROOT) as SharedType;
  const kind = parseWireRoot(wire)?.kind;
  if (kind === undefined) throw new MeshError("INTERNAL", `not a root: ${JSON.stringify(wire)}`);
  return doc.get<new () => SharedType>(wire, CONSTRUCTORS[kind] as new () => SharedType);
}

/** The next clock of a client, 0 for one that never wrote. */
export const clockIn = (doc: Y.Doc, client: number): number => Y.getState(doc.store, client);

/** Whether Yjs waits for something that it was not given; it never should. */
export const hasPending = (doc: Y.Doc): boolean =>
  doc.store.pendingStructs !== null || doc.store.pendingDs !== null;

/** What {@link integrate} needs of a checked update. */
export interface Integrated {
  readonly bytes: Uint8Array;
  /** The roots that it names, as Yjs knows them. */
  readonly roots: readonly string[];
  readonly client: number;
  /** The first clock that it takes. */
  readonly from: number;
}

/** The checked update that is being applied. */
let current: Pick<Integrated, "client" | "from"> | undefined;

// oxlint-disable-next-line typescript/unbound-method -- called with an item as `this`
const stockIntegrate = Y.Item.prototype.integrate;

/**
 * To find the place of an entry, Yjs goes over everything that others put between its neighbours. For an entry
 * that was put directly before another one of the same update, behind the same left neighbour, it would come
 * to the place directly before that: it looks at the same items and decides the same about each. So it starts
 * there. Without this, 8,000 entries in front of each other, with 40,000 of another client beside them, took 36 s.
 */
Y.Item.prototype.integrate = function place(this: Y.Item, transaction, offset): void {
  const { right, id, origin } = this;
  if (
    current?.client === id.client &&
    offset === 0 &&
    right instanceof Y.Item &&
    right.id.client === id.client &&
    right.id.clock >= current.from &&
    Y.compareIDs(origin, right.origin)
  ) {
    this.left = right.left;
  }
  stockIntegrate.call(this, transaction, offset);
};

/** Whether Yjs has parted a character of two units: it makes two replacement characters of it. */
let hasParted = false;

// oxlint-disable-next-line typescript/unbound-method -- called with a content as `this`
const stockSplice = Y.ContentString.prototype.splice;
const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00;

Y.ContentString.prototype.splice = function part(this: Y.ContentString, offset): Y.ContentString {
  hasParted ||= isHighSurrogate(this.str.charCodeAt(offset - 1));
  return stockSplice.call(this, offset);
};

/** Whether a character of two units was parted while `change` ran. */
export function partsIn(change: () => void): boolean {
  hasParted = false;
  change();
  return hasParted;
}

/** Applies an update that was checked against `doc`. Throws `INTERNAL` when Yjs finds it incomplete. */
export function integrate(doc: Y.Doc, update: Integrated): void {
  const { client } = update;
  // What is here of it already, since another gateway carried it, was integrated with others' beside it.
  current = { client, from: Math.max(update.from, clockIn(doc, client)) };
  try {
    apply(doc, update.bytes, update.roots);
  } finally {
    current = undefined;
  }
}

function apply(doc: Y.Doc, bytes: Uint8Array, roots: readonly string[]): void {
  for (const root of roots) openRoot(doc, root);
  Y.applyUpdate(doc, bytes);
  if (hasPending(doc)) {
    throw new MeshError("INTERNAL", "a checked update left something pending in Yjs");
  }
}

/** The document of a state that we encoded. Throws what Yjs throws for one that is damaged. */
export function docOf(state: Uint8Array): Y.Doc {
  const doc = createDoc();
  apply(doc, state, []);
  for (const wire of doc.share.keys()) openRoot(doc, wire);
  return doc;
}
