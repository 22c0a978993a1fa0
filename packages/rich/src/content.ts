// SPDX-License-Identifier: Apache-2.0
/** Plain content: what a reader sees and a canonical leaf is made of. */
import { MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import * as Y from "yjs";
import { kindOf, wasWritten } from "./engine.ts";
import type { SharedType } from "./engine.ts";
import { HOLDS, parseWireRoot } from "./names.ts";
import type { RichKind, TypeKind } from "./names.ts";

/**
 * A piece of text with the same attributes throughout, or an embedded object: the insert operations of
 * the Quill Delta format (https://quilljs.com/docs/delta). A text is a list of these.
 */
export interface TextRun {
  readonly [member: string]: JsonValue;
  readonly insert: JsonValue;
}

/** The content of one root. */
export interface RichContent {
  readonly root: string;
  readonly type: RichKind;
  /**
   * A text: its runs, as long as can be. A list: an array. A map: an object. Shared types in it likewise. XML: an array of nodes, of which each is
   * an element, `{attributes, children, name}`, or a text, which is its runs.
   */
  readonly value: JsonValue;
}

type JsonObject = Readonly<Record<string, JsonValue>>;

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number =>
  a < b ? -1 : a > b ? 1 : 0;

const sorted = (entries: Iterable<readonly [string, JsonValue]>): JsonObject =>
  Object.fromEntries([...entries].toSorted(byName));

function runsOf(text: Y.Text): TextRun[] {
  const runs: TextRun[] = [];
  let before: string | undefined;
  for (const op of text.toDelta() as { insert: JsonValue; attributes?: JsonObject }[]) {
    if ((op.insert as unknown) instanceof Y.AbstractType) misplaced("text");
    const attributes = op.attributes && sorted(Object.entries(op.attributes));
    const last = runs.at(-1);
    const now = JSON.stringify(attributes);
    // Marks that change nothing split what Yjs returns; where they stand is history, not content.
    if (now === before && typeof last?.insert === "string" && typeof op.insert === "string") {
      runs[runs.length - 1] = { ...last, insert: last.insert + op.insert };
    } else {
      runs.push(attributes ? { insert: op.insert, attributes } : { insert: op.insert });
    }
    before = now;
  }
  return runs;
}

/** What checks let in has each type only where it may be; a state that somebody else encoded may not. */
function misplaced(kind: TypeKind): never {
  throw new MeshError("INTERNAL", `something in ${kind} that can't be there`);
}

/** An entry of a list or map. */
function entryOf(value: unknown, holder: TypeKind): JsonValue {
  if (!(value instanceof Y.AbstractType)) return value as JsonValue;
  const type = value as SharedType;
  return HOLDS[holder].includes(kindOf(type)) ? plainContent(type) : misplaced(holder);
}

const childrenOf = (parent: Y.XmlFragment, kind: TypeKind): JsonValue[] =>
  (parent.toArray() as readonly unknown[]).map((node) =>
    node instanceof Y.AbstractType ? entryOf(node, kind) : misplaced(kind),
  );

/** Those that are not set are left out, whether an editor says so or not. */
const attributesOf = (element: Y.XmlElement): JsonObject =>
  sorted(
    Object.entries(element.getAttributes() as Readonly<Record<string, unknown>>).flatMap(
      ([name, value]) => {
        if (value instanceof Y.AbstractType) misplaced("element");
        return value === undefined ? [] : [[name, value as JsonValue] as const];
      },
    ),
  );

/** A shared type as JSON; object members are in the order of their names. */
export function plainContent(type: SharedType): JsonValue {
  const kind = kindOf(type);
  if (type instanceof Y.Text) return runsOf(type);
  if (type instanceof Y.Array) return type.toArray().map((value) => entryOf(value, kind));
  if (type instanceof Y.Map) {
    return sorted([...type.entries()].map(([key, value]) => [key, entryOf(value, kind)] as const));
  }
  if (!(type instanceof Y.XmlFragment)) return misplaced(kind);
  const children = childrenOf(type, kind);
  if (!(type instanceof Y.XmlElement)) return children;
  return { attributes: attributesOf(type), children, name: type.nodeName };
}

/** Every root that was ever written to, in the order of the wire names; one emptied again is empty. */
export function readContent(doc: Y.Doc): RichContent[] {
  const contents: RichContent[] = [];
  for (const [wire, type] of [...doc.share].toSorted(byName)) {
    const name = parseWireRoot(wire);
    const shared = type as SharedType;
    if (name === undefined || !wasWritten(shared)) continue;
    contents.push({ root: name.root, type: name.kind, value: plainContent(shared) });
  }
  return contents;
}
