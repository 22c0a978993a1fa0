// SPDX-License-Identifier: Apache-2.0
/**
 * Roots and keys. V1 updates do not say what type a root has; Yjs takes the word of whoever opens it
 * first. Here the type is part of the root's name on the wire (`text:notes`, `list:steps`, `map:plan`, `xml:page`),
 * so that it never depends on which of two concurrent updates came first. The four types have name
 * spaces of their own.
 */
import { LIMITS } from "@ctxmesh/model";

/** The shared types that a list or map may hold. */
export type EntryKind = "text" | "list" | "map";

/** The shared types that may be roots. `xml` is what editors of documents edit: a `Y.XmlFragment`. */
export type RichKind = EntryKind | "xml";

/** All shared types of rich content: also `Y.XmlElement` and `Y.XmlText`, which are only in XML. */
export type TypeKind = RichKind | "element" | "xmltext";

const IN_XML: readonly TypeKind[] = ["element", "xmltext"];
const IN_LISTS: readonly EntryKind[] = ["text", "list", "map"];

/** The types that each may hold; an element has them as children, never as the values of attributes. */
export const HOLDS: Readonly<Record<TypeKind, readonly TypeKind[]>> = {
  text: [],
  list: IN_LISTS,
  map: IN_LISTS,
  xml: IN_XML,
  element: IN_XML,
  xmltext: [],
};

/** How many levels of plain content a type adds: an element is an object with a list of children in it. */
export const levelsOf = (kind: TypeKind): number => (kind === "element" ? 2 : 1);

const ROOT_KINDS: readonly RichKind[] = [...IN_LISTS, "xml"];

/** Plain content may nest this deep, so that a canonical leaf with it stays within `LIMITS.depth`. */
export const CONTENT_DEPTH: number = LIMITS.depth - 8;

/** The root of a projection that mirrors facts. */
export const FACTS_ROOT = "facts";
/**
 * The root of the traces that Yjs clients leave where they wrote facts: deleted entries under the key of the fact. Not in `facts`, where an
 * entry with the neighbours that it has here would come to stand elsewhere than with those that it has at its client.
 */
export const TRACES_ROOT = "traces";

const ROOT_NAME = /^[A-Za-z][A-Za-z0-9._-]{0,63}$/u;
/** Names that JavaScript code is known to mishandle. */
const UNSAFE_KEYS: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

/** Whether a root may be called so. */
export const isRootName = (name: string): boolean => ROOT_NAME.test(name);

/** Whether a key of a map, a JSON object, an attribute or an element may be called so. */
export const isSafeKey = (key: string): boolean => !UNSAFE_KEYS.has(key);

/** The root's name in Yjs. */
export const wireRoot = (kind: RichKind, root: string): string => `${kind}:${root}`;

/** The parts of a root's name in Yjs, or undefined when it is none of ours. */
export function parseWireRoot(wire: string): { kind: RichKind; root: string } | undefined {
  const colon = wire.indexOf(":");
  const before = wire.slice(0, Math.max(0, colon));
  const kind = ROOT_KINDS.find((each) => each === before);
  const root = wire.slice(colon + 1);
  return kind !== undefined && isRootName(root) ? { kind, root } : undefined;
}
