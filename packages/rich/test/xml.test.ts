// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: XML that stock Yjs documents make is content, in one form, and nothing that only looks like it. Method: stock documents edited as y-prosemirror
 * does it, their updates against a rich document; crafted updates for the rest.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { ProjectedDoc, RichDocument, overlayClient } from "@ctxmesh/rich";
import { describe, expect, test } from "vitest";
import * as Y from "yjs";
import { OTHER } from "./bad-updates.ts";
import { any, anyInt, between, first, receive, text, update } from "./support.ts";

const page = (make: (root: Y.XmlFragment, doc: Y.Doc) => void): Y.Doc => {
  const doc = new Y.Doc();
  doc.clientID = OTHER;
  make(doc.getXmlFragment("xml:page"), doc);
  return doc;
};

/** A document that has taken all of a page in one update. */
function taken(doc: Y.Doc): RichDocument {
  const rich = new RichDocument();
  const to = Y.getState(doc.store, OTHER);
  receive(rich, { bytes: Y.encodeStateAsUpdate(doc), client: OTHER, from: 0, to });
  return rich;
}

const contentOf = (make: (root: Y.XmlFragment) => void): unknown =>
  taken(page(make)).content()[0]?.value;

const textOf = (...delta: readonly object[]): Y.XmlText => {
  const made = new Y.XmlText();
  made.applyDelta([...delta]);
  return made;
};

function elementOf(name: string, ...children: readonly (Y.XmlElement | Y.XmlText)[]): Y.XmlElement {
  const made = new Y.XmlElement(name);
  made.insert(0, [...children]);
  return made;
}

const setAttribute = (element: Y.XmlElement, name: string, value: unknown): void => {
  element.setAttribute(name, value as string);
};

/** An element with attributes of those names, set in that order, and a text marked with them. */
const withNames = (names: readonly string[]): string =>
  JSON.stringify(
    contentOf((root) => {
      const words = textOf({ insert: "x" });
      const made = elementOf("p", words);
      root.insert(0, [made]);
      for (const name of names) {
        setAttribute(made, name, 1);
        words.format(0, 1, { [name]: true });
      }
    }),
  );

function nested(depth: number): (root: Y.XmlFragment) => void {
  let made = elementOf("p");
  for (let i = 1; i < depth; i++) made = elementOf("p", made);
  return (root) => root.insert(0, [made]);
}

/** What a gateway carries of a page with an element of that name. */
function carried(name: string): { readonly bytes: Uint8Array; readonly to: number } {
  const made = page((root) => root.insert(0, [elementOf(name, textOf({ insert: "x" }))]));
  return { bytes: Y.encodeStateAsUpdate(made), to: Y.getState(made.store, OTHER) };
}

describe("XML is content", () => {
  test("of elements with their attributes and children, and texts with their marks", () => {
    const made = page((root) => {
      const heading = elementOf(
        "heading",
        textOf({ insert: "Shift " }, { insert: "notes", attributes: { strong: {} } }),
      );
      setAttribute(heading, "level", 2);
      setAttribute(heading, "align", { x: ["left"] });
      root.insert(0, [
        heading,
        elementOf("bulletList", elementOf("listItem", elementOf("paragraph"))),
      ]);
      root.insert(2, [textOf({ insert: "loose" })]);
    });
    const leaf = { attributes: {}, children: [], name: "paragraph" };
    const item = { attributes: {}, children: [leaf], name: "listItem" };
    expect(taken(made).content()).toEqual([
      {
        root: "page",
        type: "xml",
        value: [
          {
            attributes: { align: { x: ["left"] }, level: 2 },
            children: [[{ insert: "Shift " }, { insert: "notes", attributes: { strong: {} } }]],
            name: "heading",
          },
          { attributes: {}, children: [item], name: "bulletList" },
          [{ insert: "loose" }],
        ],
      },
    ]);
  });

  test("in one form, whatever the order in which attributes and marks were set", () => {
    expect(withNames(["b", "c", "a"])).toBe(withNames(["a", "b", "c"]));
  });

  test("without attributes that an editor says are not set, and with those that are null", () => {
    const value = contentOf((root) => {
      const element = elementOf("image");
      setAttribute(element, "width", undefined);
      setAttribute(element, "alt", null);
      setAttribute(element, "gone", 1);
      root.insert(0, [element]);
      element.removeAttribute("gone");
    });
    expect(value).toEqual([{ attributes: { alt: null }, children: [], name: "image" }]);
  });

  test("also where an attribute without a name and the first child come in one update", () => {
    const value = contentOf((root) => {
      const element = elementOf("p");
      root.insert(0, [element]);
      setAttribute(element, "", 1);
      element.insert(0, [textOf({ insert: "x" })]);
    });
    expect(value).toEqual([{ attributes: { "": 1 }, children: [[{ insert: "x" }]], name: "p" }]);
  });

  test("and empty once all of it is deleted, also after a restart", () => {
    const made = page((root) => {
      root.insert(0, [elementOf("p", elementOf("q", textOf({ insert: "x" })))]);
    });
    const rich = taken(made);
    const before = Y.encodeStateVector(made);
    made.getXmlFragment("xml:page").delete(0, 1);
    const to = Y.getState(made.store, OTHER);
    const bytes = Y.encodeStateAsUpdate(made, before);
    receive(rich, { bytes, client: OTHER, from: to, to });
    expect(rich.content()).toEqual([{ root: "page", type: "xml", value: [] }]);
    expect(RichDocument.fromState(rich.encodeState()).content()).toEqual(rich.content());
  });

  test("27 elements deep, and no deeper", () => {
    expect(JSON.stringify(contentOf(nested(27))).split('"name"').length - 1).toBe(27);
    expect(() => contentOf(nested(28))).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED", field: "levels of nesting" }),
    );
  });
});

const named = (name: string): readonly [7, ...number[]] => [7, 3, ...text(name)];
const inPage = first("xml:page", named("p"));
const hook: readonly [7, ...number[]] = [7, 5, ...text("h")];

describe("no content is", () => {
  test.for<readonly [what: string, bytes: Uint8Array, field: string, to?: number]>([
    ["a hook", update(OTHER, 0, [first("xml:page", hook)]), "type"],
    ["a hook in an element", update(OTHER, 0, [inPage, first([OTHER, 0], hook)]), "type"],
    ["a fragment in XML", update(OTHER, 0, [first("xml:page", [7, 4])]), "type"],
    ["a type that Yjs does not have", update(OTHER, 0, [first("xml:page", [7, 7])]), "type"],
    ["a map in XML", update(OTHER, 0, [first("xml:page", [7, 1])]), "content"],
    [
      "a text that is none of XML",
      update(OTHER, 0, [inPage, first([OTHER, 0], [7, 2])]),
      "content",
    ],
    ["an element in a list", update(OTHER, 0, [first("list:a", named("p"))]), "content"],
    ["an XML text in a map", update(OTHER, 0, [first("map:a", [7, 6], "k")]), "content"],
    ["an XML text in a text", update(OTHER, 0, [first("text:a", [7, 6])]), "content"],
    ["a value among nodes", update(OTHER, 0, [first("xml:page", any(anyInt(1)))]), "content"],
    [
      "characters among nodes",
      update(OTHER, 0, [inPage, first([OTHER, 0], [4, 1, 97])]),
      "content",
    ],
    [
      "an element in an XML text",
      update(OTHER, 0, [first("xml:page", [7, 6]), first([OTHER, 0], named("p"))]),
      "content",
    ],
    [
      "an element as an attribute",
      update(OTHER, 0, [inPage, first([OTHER, 0], named("p"), "k")]),
      "content",
    ],
    ["an attribute of a root", update(OTHER, 0, [first("xml:page", any(anyInt(1)), "k")]), "key"],
    [
      "an attribute of an XML text",
      update(OTHER, 0, [first("xml:page", [7, 6]), first([OTHER, 0], any(anyInt(1)), "k")]),
      "key",
    ],
    [
      "an attribute __proto__",
      update(OTHER, 0, [inPage, first([OTHER, 0], any(anyInt(1)), "__proto__")]),
      "key",
    ],
    [
      "__proto__ in an attribute",
      update(OTHER, 0, [inPage, first([OTHER, 0], any([118, 1, ...text("__proto__"), 126]), "k")]),
      "key",
    ],
    ["an element __proto__", update(OTHER, 0, [first("xml:page", named("__proto__"))]), "key"],
    ["an element without a name", update(OTHER, 0, [first("xml:page", named(""))]), "name"],
    [
      "an element whose name is not UTF-8",
      update(OTHER, 0, [first("xml:page", [7, 3, 1, 0xff])]),
      "text",
    ],
    [
      "an attribute with two values",
      update(OTHER, 0, [inPage, first([OTHER, 0], any([126], [126]), "k")]),
      "content",
      3,
    ],
    [
      "an attribute between children",
      update(OTHER, 0, [
        inPage,
        first([OTHER, 0], named("q")),
        between([OTHER, 1], undefined, any([126]), true),
      ]),
      "key",
    ],
    [
      "undefined in an attribute",
      update(OTHER, 0, [inPage, first([OTHER, 0], any([117, 1, 127]), "k")]),
      "value",
    ],
    ["undefined in a map", update(OTHER, 0, [first("map:a", any([127]), "k")]), "content"],
    ["a root of XML with a bad name", update(OTHER, 0, [first("xml:", named("p"))]), "root"],
  ])("%s", ([, bytes, field, to = Number(bytes[1])]) => {
    const rich = new RichDocument();
    const judge = (): unknown => rich.check(bytes, { client: OTHER, from: 0, to });
    const refused = expect.objectContaining({ code: "FORMAT_INVALID", field });
    expect(judge).toThrow(refused);
    expect(rich.isEmpty).toBe(true);
  });

  test("an element or attribute with a name of more than 512 characters", () => {
    const long = "x".repeat(LIMITS.keyBytes + 1);
    const over = expect.objectContaining({ code: "LIMIT_EXCEEDED" });
    expect(() => contentOf((root) => root.insert(0, [elementOf(long)]))).toThrow(over);
    const made = elementOf("p");
    setAttribute(made, long, 1);
    expect(() => contentOf((root) => root.insert(0, [made]))).toThrow(over);
    expect(contentOf((root) => root.insert(0, [elementOf(long.slice(1))]))).toHaveLength(1);
  });

  test("a state with types where they can't be", () => {
    const states: readonly ((doc: Y.Doc) => void)[] = [
      (doc) => doc.getXmlFragment("xml:a").insert(0, [new Y.XmlHook("h") as never]),
      (doc) => doc.getArray("list:a").insert(0, [new Y.XmlElement("p")]),
      (doc) => doc.getMap("map:a").set("k", new Y.XmlHook("h")),
      (doc) => doc.getXmlFragment("xml:a").insert(0, [new Y.Text("x") as never]),
      (doc) => doc.getXmlFragment("xml:a").insert(0, ["x" as never]),
      (doc) => doc.getText("text:a").insertEmbed(0, new Y.Map()),
      (doc) => {
        const made = new Y.XmlElement<Record<string, Y.Map<unknown>>>("p");
        made.setAttribute("k", new Y.Map());
        doc.getXmlFragment("xml:a").insert(0, [made as never]);
      },
    ];
    for (const make of states) {
      const doc = page((_, of) => make(of));
      const state = Y.encodeStateAsUpdate(doc);
      expect(() => RichDocument.checkState(state, () => true)).toThrow(MeshError);
    }
    const good = taken(page((root) => root.insert(0, [elementOf("p")]))).encodeState();
    expect(() => RichDocument.checkState(good, () => true)).not.toThrow();
  });
});

describe("a client that several gateways carry", () => {
  test("and says two names of one element has no history, whichever comes first", () => {
    for (const [one, two] of [
      ["p", "q"],
      ["q", "p"],
    ] as const) {
      const rich = new RichDocument();
      const interval = { client: OTHER, from: 0, carried: true } as const;
      receive(rich, { ...interval, ...carried(one) });
      expect(rich.check(carried(one).bytes, { ...interval, to: carried(one).to }).kind).toBe(
        "ready",
      );
      expect(rich.check(carried(two).bytes, { ...interval, to: carried(two).to }).kind).toBe(
        "forked",
      );
    }
  });
});

test("values that an undo manager keeps after they were replaced and deleted are carried", () => {
  const made = page((root, doc) => {
    const element = elementOf("p");
    root.insert(0, [element]);
    const undo = new Y.UndoManager([root, doc.getMap("map:plan"), doc.getMap("facts")]);
    for (const value of [1, 2, 3]) {
      setAttribute(element, "a", value);
      doc.getMap("map:plan").set("k", value);
      doc.getMap("facts").set("f", value);
    }
    for (const value of [4, 5]) setAttribute(element, "a", value);
    element.removeAttribute("a");
    for (const name of ["map:plan", "facts"]) {
      const map = doc.getMap(name);
      for (const key of ["k", "f"]) {
        for (const value of [6, 7]) map.set(key, value);
        map.delete(key);
      }
    }
    expect(undo.canUndo()).toBe(true);
  });
  const view = new ProjectedDoc(
    undefined,
    overlayClient(Date.UTC(2026, 0, 1), Uint8Array.of(1, 2)),
  );
  const plan = view.plan(Y.encodeStateAsUpdate(made));
  const rich = new RichDocument();
  for (const one of rich.carry(2 ** 50, plan)) rich.apply(one);
  expect(rich.content()).toEqual([
    { root: "plan", type: "map", value: {} },
    { root: "page", type: "xml", value: [{ attributes: {}, children: [], name: "p" }] },
  ]);
  expect([...plan.facts.values()]).toEqual([]);
});
