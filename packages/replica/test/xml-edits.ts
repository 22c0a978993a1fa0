// SPDX-License-Identifier: Apache-2.0
/** A page's XML, edited as the binding of ProseMirror, Tiptap and BlockNote does it (y-prosemirror). */
import type { JsonValue } from "@ctxmesh/model";
import * as Y from "yjs";

/** A run of text, as Yjs gives it. */
interface Insert {
  readonly insert: unknown;
  readonly attributes?: Readonly<Record<string, unknown>>;
}

/** Runs as long as can be: where marks stand that change nothing is no content. */
export function runsOf(text: Y.Text): readonly Insert[] {
  const runs: Insert[] = [];
  for (const { insert, attributes } of text.toDelta() as readonly Insert[]) {
    const sorted = Object.entries(attributes ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
    const run =
      sorted.length === 0 ? { insert } : { insert, attributes: Object.fromEntries(sorted) };
    const last = runs.at(-1);
    const isSame = JSON.stringify(last?.attributes) === JSON.stringify(run.attributes);
    if (isSame && typeof last?.insert === "string" && typeof insert === "string") {
      runs[runs.length - 1] = { ...last, insert: last.insert + insert };
    } else runs.push(run);
  }
  return runs;
}

type Node = Y.XmlElement | Y.XmlText;
type Attributes = Record<string, JsonValue>;

const nodesOf = (parent: Y.XmlFragment): readonly Node[] => parent.toArray() as readonly Node[];

/** What a page shows of XML, in the form that replicas have it in. */
export function xmlOf(parent: Y.XmlFragment): unknown {
  return nodesOf(parent).map((node) => {
    if (node instanceof Y.XmlText) return runsOf(node);
    const attributes = node.getAttributes() as Readonly<Record<string, unknown>>;
    const set = Object.entries(attributes).filter(([, value]) => value !== undefined);
    return { name: node.nodeName, attributes: Object.fromEntries(set), children: xmlOf(node) };
  });
}

type Pick = (sides: number) => number;

const NAMES = ["paragraph", "heading", "bulletList", "listItem"] as const;
/** Not set is what BlockNote says of some attributes. */
const NOT_SET = undefined as unknown as JsonValue;
const VALUES: readonly JsonValue[] = [1, "left", null, NOT_SET, { a: [true] }, 0.5];
const MARKS: readonly Readonly<Record<string, JsonValue>>[] = [
  { strong: {} },
  { link: { href: "/x", title: null } },
  { strong: null, em: {} },
];

const oneOf = <T>(items: readonly T[], pick: Pick): T => items[pick(items.length)] as T;

const wordOf = (pick: Pick): string => oneOf(["a", "bc", "é", "\n"], pick);

function textOf(pick: Pick): Y.XmlText {
  const text = new Y.XmlText();
  text.applyDelta([{ insert: wordOf(pick) }, { insert: "x", attributes: oneOf(MARKS, pick) }]);
  return text;
}

function elementOf(pick: Pick, depth = 0): Y.XmlElement {
  const element = new Y.XmlElement<Attributes>(oneOf(NAMES, pick));
  for (let i = pick(3); i > 0; i--) element.setAttribute(`a${String(i)}`, oneOf(VALUES, pick));
  const isDeeper = depth < 3 && pick(2) === 0;
  element.insert(0, isDeeper ? [elementOf(pick, depth + 1), textOf(pick)] : [textOf(pick)]);
  return element as Y.XmlElement;
}

/** As the binding does it for a paragraph whose text has changed: one piece out, one in, then all marks. */
function retype(text: Y.XmlText, pick: Pick): void {
  const at = pick(text.length + 1);
  text.delete(at, pick(Math.min(3, text.length - at) + 1));
  text.insert(at, wordOf(pick));
  const marked = pick(text.length) + 1;
  text.applyDelta([
    { retain: marked, attributes: oneOf(MARKS, pick) },
    { retain: text.length - marked, attributes: { strong: null, em: null, link: null } },
  ]);
}

/** Of two texts beside each other the binding makes one. */
function join(parent: Y.XmlFragment): void {
  for (const [i, node] of nodesOf(parent).entries()) {
    const next = parent.get(i + 1) as Node | undefined;
    if (!(node instanceof Y.XmlText) || !(next instanceof Y.XmlText)) continue;
    node.applyDelta([{ retain: node.length }, ...(next.toDelta() as readonly object[])]);
    parent.delete(i + 1, 1);
    return;
  }
}

function change(parent: Y.XmlFragment, pick: Pick): void {
  const nodes = nodesOf(parent);
  const at = pick(nodes.length + 1);
  const node = nodes[at];
  const way = pick(10);
  if (way < 3) parent.insert(at, [pick(4) === 0 ? textOf(pick) : elementOf(pick)]);
  else if (way < 4) parent.delete(at, pick(Math.min(2, nodes.length - at) + 1));
  else if (way < 5) join(parent);
  else if (node instanceof Y.XmlText) retype(node, pick);
  else if (node === undefined) return;
  else if (way < 8) change(node, pick);
  else if (way < 9) {
    const element = node as Y.XmlElement<Attributes>;
    element.setAttribute(`a${String(pick(3))}`, oneOf(VALUES, pick));
  } else node.removeAttribute(`a${String(pick(3))}`);
}

/** What a page's editor edits: what `getXmlFragment` gives it. */
export const pageOf = (doc: Y.Doc): Y.XmlFragment => doc.getXmlFragment("xml:page");

/** One edit. */
export function editXml(doc: Y.Doc, pick: Pick): void {
  doc.transact(() => change(pageOf(doc), pick));
}
