// SPDX-License-Identifier: Apache-2.0
/** Goal: an edit can do what rich content is for, and nothing that other replicas would refuse. */
import { RichDocument } from "@ctxmesh/rich";
import type { RichList, RichMap, RichRoots, RichText } from "@ctxmesh/rich";
import type { JsonValue } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";
import { edit, receive } from "./support.ts";

/** What a document shows after one edit. */
function contentAfter(change: (roots: RichRoots) => void): unknown {
  const doc = new RichDocument();
  edit(doc, 1, change);
  return doc.content();
}

test("roots of each kind have names of their own, and show by kind and name", () => {
  const content = contentAfter((roots) => {
    roots.text("x").insert(0, "text");
    roots.map("x").set("k", 1);
    roots.list("x").insert(0, [1]);
    roots.list("a").insert(0, [null]);
  });
  expect(content).toEqual([
    { root: "a", type: "list", value: [null] },
    { root: "x", type: "list", value: [1] },
    { root: "x", type: "map", value: { k: 1 } },
    { root: "x", type: "text", value: [{ insert: "text" }] },
  ]);
});

test("a text has attributes and embeds, and shows as runs that are as long as can be", () => {
  const content = contentAfter((roots) => {
    const text = roots.text("t");
    text.insert(0, "plain bold");
    text.format(6, 4, { bold: true, a: { x: 1 } });
    text.insert(10, "er");
    text.insert(12, "!", {});
    text.insertEmbed(0, { image: "a.png" });
    text.format(3, 2, { bold: true });
    text.format(3, 2, { bold: null });
    expect([text.length, text.toString()]).toEqual([14, "plain bolder!"]);
    expect(text.runs()).toHaveLength(4);
    text.delete(1, 2);
  });
  expect(content).toEqual([
    {
      root: "t",
      type: "text",
      value: [
        { insert: { image: "a.png" } },
        { insert: "ain " },
        { insert: "bolder", attributes: { a: { x: 1 }, bold: true } },
        { insert: "!" },
      ],
    },
  ]);
});

test("lists and maps hold values and shared types, to any of which an edit can come back", () => {
  const doc = new RichDocument();
  edit(doc, 1, (roots) => {
    const plan = roots.map("plan");
    plan.set("goal", { deep: [1, "two"] });
    plan.setNew("steps", "list").insert(0, ["first", "gone"]);
    plan.setNew("log", "text").insert(0, "started");
    plan.set("old", 1);
  });
  edit(doc, 2, (roots) => {
    const plan = roots.map("plan");
    expect(plan.keys()).toEqual(["goal", "log", "old", "steps"]);
    const steps = plan.get("steps") as RichList;
    expect([steps.length, steps.get(0), steps.get(9)]).toEqual([2, "first", undefined]);
    steps.delete(1, 1);
    steps.insertNew(1, "map").set("done", true);
    (plan.get("log") as RichText).insert(7, ", done");
    plan.delete("old");
    (steps.get(1) as RichMap).set("by", null);
  });
  expect(doc.content()).toEqual([
    {
      root: "plan",
      type: "map",
      value: {
        goal: { deep: [1, "two"] },
        log: [{ insert: "started, done" }],
        steps: ["first", { by: null, done: true }],
      },
    },
  ]);
});

test("marks that change nothing do not split what is shown", () => {
  const [one, two] = [new RichDocument(), new RichDocument()];
  const base = edit(one, 1, (roots) => roots.text("t").insert(0, "hello"));
  receive(two, base);
  const wide = edit(one, 1, (roots) => roots.text("t").format(0, 5, { bold: true }));
  const narrow = edit(two, 2, (roots) => roots.text("t").format(1, 4, { bold: true }));
  receive(one, narrow);
  receive(two, wide);
  expect(one.content()[0]?.value).toEqual([{ insert: "hello", attributes: { bold: true } }]);
  expect(two.content()).toEqual(one.content());
});

test("a root that is emptied again shows empty", () => {
  const doc = new RichDocument();
  edit(doc, 1, (roots) => {
    roots.text("t").insert(0, "x");
    roots.map("m").set("k", 1);
  });
  edit(doc, 1, (roots) => {
    roots.text("t").delete(0, 1);
    roots.map("m").delete("k");
  });
  expect(doc.content().map(({ value }) => value)).toEqual([{}, []]);
});

const deep = (levels: number): JsonValue => (levels === 0 ? 1 : [deep(levels - 1)]);
const cycle: unknown[] = [];
cycle.push(cycle);

describe("an edit throws INPUT_INVALID", () => {
  test.for<readonly [string, string, (roots: RichRoots) => void]>([
    ["a root of a bad name", "root", (roots) => roots.text("1st")],
    ["a root of a long name", "root", (roots) => roots.list("x".repeat(65))],
    ["a root named __proto__", "root", (roots) => roots.map("__proto__")],
    ["a place past the end", "index", (roots) => roots.text("t").insert(1, "x")],
    ["a place before the start", "index", (roots) => roots.list("l").insert(-1, [1])],
    ["a broken place", "index", (roots) => roots.list("l").insertNew(0.5, "map")],
    ["a deletion past the end", "index", (roots) => roots.list("l").delete(0, 1)],
    ["a format past the end", "index", (roots) => roots.text("t").format(0, 1, { b: 1 })],
    ["a lone surrogate", "text", (roots) => roots.text("t").insert(0, "\ud800")],
    ["text that is no text", "text", (roots) => roots.text("t").insert(0, 1 as never)],
    ["an embed that is no object", "embed", (roots) => roots.text("t").insertEmbed(0, [] as never)],
    [
      "an attribute constructor",
      "attributes",
      (roots) => roots.text("t").insert(0, "x", { constructor: 1 }),
    ],
    ["a map key __proto__", "key", (roots) => roots.map("m").set("__proto__", 1)],
    ["a map key prototype", "key", (roots) => roots.map("m").setNew("prototype", "list")],
    ["undefined", "value", (roots) => roots.map("m").set("k", undefined as never)],
    ["NaN", "value", (roots) => roots.map("m").set("k", Number.NaN)],
    ["a bigint", "value", (roots) => roots.map("m").set("k", 1n as never)],
    ["a date", "value", (roots) => roots.map("m").set("k", new Date(0) as never)],
    ["bytes", "values", (roots) => roots.list("l").insert(0, [new Uint8Array(1) as never])],
    ["undefined inside", "value.a", (roots) => roots.map("m").set("k", { a: undefined as never })],
    ["a cycle", "values", (roots) => roots.list("l").insert(0, cycle as never)],
    ["values that are no array", "values", (roots) => roots.list("l").insert(0, "ab" as never)],
    ["deep nesting", "value", (roots) => roots.map("m").set("k", deep(57))],
  ])("for %s", ([, field, change]) => {
    const doc = new RichDocument();
    expect(() => doc.change(1, change)).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID", field }),
    );
    expect(doc.clockOf(1)).toBe(0);
  });
});

const nest =
  (types: number, levels: number) =>
  (roots: RichRoots): void => {
    let list = roots.list("l");
    for (let i = 1; i < types; i++) list = list.insertNew(0, "list");
    list.insert(0, [deep(levels)]);
  };

test("values and shared types may nest to the limit together, not past it", () => {
  expect(() => contentAfter(nest(10, 46))).not.toThrow();
  expect(() => contentAfter(nest(10, 47))).toThrow(
    expect.objectContaining({ code: "LIMIT_EXCEEDED" }),
  );
  expect(() => contentAfter(nest(57, 0))).toThrow(
    expect.objectContaining({ code: "LIMIT_EXCEEDED" }),
  );
});

test("what an edit was given does not work afterwards", () => {
  const doc = new RichDocument();
  const kept: { roots?: RichRoots; text?: RichText } = {};
  edit(doc, 1, (roots) => {
    kept.roots = roots;
    kept.text = roots.text("t");
    kept.text.insert(0, "x");
  });
  expect(() => kept.roots?.text("t")).toThrow(expect.objectContaining({ code: "CLOSED" }));
  expect(() => kept.text?.insert(0, "y")).toThrow(expect.objectContaining({ code: "CLOSED" }));
});
