// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what editor bindings keep in a Yjs document is content of every replica. Method: stock Yjs documents on real replicas over memory stores, edited as
 * y-prosemirror, its undo and y-quill do it. Random edits of XML are in `projection-convergence.test.ts`.
 */
import { expect, test } from "vitest";
import * as Y from "yjs";
import { DOC } from "./mesh.ts";
import { connected, exchange, node } from "./projection-kit.ts";
import { pageOf, xmlOf } from "./xml-edits.ts";

const contentOf = ({ replica }: Awaited<ReturnType<typeof node>>): unknown =>
  replica.content(DOC).find(({ type }) => type === "xml")?.value;

function paragraph(text: string, marks: object = {}): Y.XmlElement {
  const element = new Y.XmlElement("paragraph");
  const inside = new Y.XmlText();
  inside.applyDelta([{ insert: text, attributes: marks }]);
  element.insert(0, [inside]);
  return element;
}

const textIn = (root: Y.XmlFragment, at: number): Y.XmlText =>
  (root.get(at) as Y.XmlElement).get(0) as Y.XmlText;

test("two pages edit one document: both show what the replica has and what it would have sealed", async () => {
  const here = await node();
  const [ann, bob] = [
    await connected(here.projections, "ann"),
    await connected(here.projections, "bob"),
  ];
  const [page, other] = [pageOf(ann.doc), pageOf(bob.doc)];
  page.insert(0, [paragraph("hello")]);
  await exchange(ann, bob);
  textIn(page, 0).applyDelta([{ retain: 5, attributes: { strong: {} } }, { insert: " there" }]);
  (other.get(0) as Y.XmlElement).setAttribute("align", "left");
  other.insert(1, [paragraph("and more")]);
  await exchange(ann, bob);
  await exchange(ann, bob);
  const value = [
    {
      attributes: { align: "left" },
      children: [[{ insert: "hello", attributes: { strong: {} } }, { insert: " there" }]],
      name: "paragraph",
    },
    { attributes: {}, children: [[{ insert: "and more" }]], name: "paragraph" },
  ];
  expect(contentOf(here)).toEqual(value);
  expect([xmlOf(page), xmlOf(other)]).toEqual([value, value]);
  const leaves = here.replica.snapshot().leaves.map((leaf) => JSON.parse(leaf) as unknown);
  expect(leaves).toContainEqual({ doc: DOC, root: "page", type: "xml", value });
  expect([...ann.errors, ...bob.errors]).toEqual([]);
});

test("undo and redo of an editor are edits as others", async () => {
  const here = await node();
  const ann = await connected(here.projections, "ann");
  const bob = await connected(here.projections, "bob");
  const page = pageOf(ann.doc);
  const undo = new Y.UndoManager(page, { captureTimeout: 0 });
  const states: unknown[] = [];
  const steps: readonly (() => void)[] = [
    () => page.insert(0, [paragraph("one"), paragraph("two", { em: {} })]),
    () => textIn(page, 0).insert(3, " more"),
    () => (page.get(1) as Y.XmlElement).setAttribute("align", "left"),
    () => (page.get(1) as Y.XmlElement).setAttribute("align", "right"),
    () => textIn(page, 0).delete(0, 4),
    () => page.delete(0, 1),
    () => (page.get(0) as Y.XmlElement).removeAttribute("align"),
  ];
  const same = async (): Promise<void> => {
    await exchange(ann, bob);
    expect(xmlOf(pageOf(bob.doc))).toEqual(xmlOf(page));
    expect(contentOf(here) ?? []).toEqual(xmlOf(page));
  };
  for (const step of steps) {
    states.push(xmlOf(page));
    ann.doc.transact(step);
    await same();
  }
  states.push(xmlOf(page));
  for (let i = steps.length - 1; i >= 0; i--) {
    undo.undo();
    await same();
    expect(xmlOf(page)).toEqual(states[i]);
  }
  for (let i = 1; i <= steps.length; i++) {
    undo.redo();
    await same();
    expect(xmlOf(page)).toEqual(states[i]);
  }
  expect([...ann.errors, ...bob.errors]).toEqual([]);
});

test("formats and embeds of a text are content", async () => {
  const here = await node();
  const ann = await connected(here.projections, "ann");
  ann.text.applyDelta([
    { insert: "Title" },
    { insert: "\n", attributes: { header: 1 } },
    { insert: { image: "/press.png" }, attributes: { width: "100" } },
    { insert: "see ", attributes: { bold: true } },
    { insert: "here", attributes: { link: "/x", bold: true } },
  ]);
  await exchange(ann);
  ann.text.applyDelta([{ retain: 7 }, { retain: 4, attributes: { bold: null } }]);
  await exchange(ann);
  expect(here.replica.content(DOC)).toEqual([
    {
      root: "notes",
      type: "text",
      value: [
        { insert: "Title" },
        { insert: "\n", attributes: { header: 1 } },
        { insert: { image: "/press.png" }, attributes: { width: "100" } },
        { insert: "see " },
        { insert: "here", attributes: { bold: true, link: "/x" } },
      ],
    },
  ]);
  expect(ann.errors).toEqual([]);
});
