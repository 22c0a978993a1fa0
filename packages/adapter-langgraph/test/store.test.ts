// SPDX-License-Identifier: Apache-2.0
/** The store against the library's own: random operations are put to both, and a graph of the library keeps its memory in it. */
import { Annotation, END, InMemoryStore, START, StateGraph } from "@langchain/langgraph";
import type { BaseStore, Item, LangGraphRunnableConfig, Operation } from "@langchain/langgraph";
import type { ContextClient } from "@ctxmesh/sdk";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CtxmeshStore } from "../src/index.ts";
import { startNode } from "../../sdk/test/real-node.ts";

let stack: AsyncDisposableStack;
let client: ContextClient;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  client = await startNode(stack);
});

afterEach(() => stack.disposeAsync());

const label = fc.constantFrom("users", "a", "b", "a/b", "50%", "*");
const namespace = fc.array(label, { minLength: 1, maxLength: 3 });
const key = fc.constantFrom("k", "l", "k/l", "ä");
const value = fc.record(
  { n: fc.integer({ min: 0, max: 3 }), color: fc.constantFrom("red", "blue") },
  { requiredKeys: [] },
);
const filter = fc.constantFrom<Record<string, unknown> | undefined>(
  undefined,
  { color: "red" },
  { n: { $gte: 1, $lt: 3 } },
  { n: { $ne: 2 }, color: { $in: ["red"] } },
  { color: { $nin: ["red"] } },
  { n: {} },
);
const page = { limit: fc.integer({ min: 1, max: 20 }), offset: fc.nat({ max: 3 }) };
const path = fc.array(fc.oneof(label, fc.constant("*")), { minLength: 1, maxLength: 2 });
const operation = fc.oneof(
  { weight: 4, arbitrary: fc.record({ put: fc.record({ namespace, key, value }) }) },
  { weight: 1, arbitrary: fc.record({ delete: fc.record({ namespace, key }) }) },
  { weight: 2, arbitrary: fc.record({ get: fc.record({ namespace, key }) }) },
  { weight: 2, arbitrary: fc.record({ search: fc.record({ prefix: namespace, filter }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      namespaces: fc.record(
        { prefix: path, suffix: path, maxDepth: fc.integer({ min: 1, max: 3 }) },
        { requiredKeys: [] },
      ),
    }),
  },
);
type Step = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;

const shown = (item: Item): unknown => [item.namespace, item.key, item.value];
const nameOf = ({ namespace: labels, key: name }: Item): string => JSON.stringify([labels, name]);
const sorted = (items: readonly Item[]): readonly unknown[] =>
  items.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1)).map(shown);

/** What a store answers to a step, in a form that two stores can be compared by. */
async function answer(store: BaseStore, step: Step): Promise<unknown> {
  if ("put" in step) return store.put(step.put.namespace, step.put.key, step.put.value);
  if ("delete" in step) return store.delete(step.delete.namespace, step.delete.key);
  if ("get" in step) {
    const item = await store.get(step.get.namespace, step.get.key);
    return item === null ? null : shown(item);
  }
  if ("search" in step) {
    const { prefix, filter: wanted } = step.search;
    // In one page: the order of a store is its own.
    return sorted(await store.search(prefix, { ...(wanted && { filter: wanted }), limit: 1_000 }));
  }
  return store.listNamespaces(step.namespaces);
}

test("whatever is put, deleted, read, searched and listed, the answers are those of the library's own store", async () => {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 25 }), async (steps) => {
      const ours = new CtxmeshStore({ client, doc: `run-${String(run++)}` });
      const theirs = new InMemoryStore();
      // It goes on listing a namespace whose last item was deleted.
      const deletes = steps.some((step) => "delete" in step);
      for (const step of steps) {
        if (deletes && "namespaces" in step) continue;
        expect(await answer(ours, step)).toEqual(await answer(theirs, step));
      }
    }),
    { numRuns: 25 },
  );
});

test("each operator of a filter, and each end of a namespace, is what it is in the library's own store", async () => {
  const stores: readonly BaseStore[] = [new CtxmeshStore({ client }), new InMemoryStore()];
  const labels = ["a", "b"];
  const namespaces = labels.flatMap((one) => [
    [one],
    ...labels.flatMap((two) => [
      [one, two],
      [one, two, "c"],
    ]),
  ]);
  for (const store of stores) {
    for (const [i, labelled] of namespaces.entries()) {
      await store.put(labelled, "k", i % 5 === 4 ? { color: "red" } : { n: i % 5, color: "blue" });
    }
  }
  const [ours, theirs] = stores as readonly [BaseStore, BaseStore];
  for (const name of ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$other"]) {
    for (const operand of [0, 1, 3, [1, 2], "1"]) {
      const step: Step = { search: { prefix: ["a"], filter: { n: { [name]: operand } } } };
      expect(await answer(ours, step), name).toEqual(await answer(theirs, step));
    }
  }
  for (const prefix of [undefined, ["a"], ["*", "b"]]) {
    for (const suffix of [undefined, ["a"], ["b", "c"], ["*", "c"]]) {
      for (const maxDepth of [undefined, 1, 2]) {
        const query = {
          ...(prefix && { prefix }),
          ...(suffix && { suffix }),
          ...(maxDepth && { maxDepth }),
        };
        expect(await ours.listNamespaces(query)).toEqual(await theirs.listNamespaces(query));
      }
    }
  }
});

test("pages of a search and of a listing come one after the other and make the whole", async () => {
  const store = new CtxmeshStore({ client });
  const names = Array.from({ length: 25 }, (_, i) => `k${String(i).padStart(2, "0")}`);
  await store.batch(names.map((name) => ({ namespace: ["a", name], key: name, value: { name } })));
  expect(await store.search(["a"])).toHaveLength(10);
  await fc.assert(
    fc.asyncProperty(page.limit, async (limit) => {
      const found: string[] = [];
      const listed: string[] = [];
      for (let offset = 0; offset < names.length; offset += limit) {
        const items = await store.search(["a"], { limit, offset });
        found.push(...items.map((item) => item.key));
        const namespaces = await store.listNamespaces({ limit, offset });
        listed.push(...namespaces.map((one) => one.at(-1) ?? ""));
      }
      expect(found).toEqual(names);
      expect(listed).toEqual(names);
    }),
    { numRuns: 5 },
  );
});

test("the reads of a batch see what was there before its writes, and the last write of a key holds", async () => {
  const stores: readonly BaseStore[] = [new CtxmeshStore({ client }), new InMemoryStore()];
  for (const store of stores) {
    await store.put(["a"], "k", { n: 1 });
    const operations: Operation[] = [
      { namespace: ["a"], key: "k", value: { n: 2 } },
      { namespace: ["a"], key: "k" },
      { namespacePrefix: ["a"] },
      { namespace: ["a"], key: "k", value: { n: 3 } },
      { namespace: ["a"], key: "none" },
    ];
    // The library's own store hands out the item itself, which its later writes change.
    const results = structuredClone(await store.batch(operations.slice(1, 3)));
    expect(results).toMatchObject([{ value: { n: 1 } }, [{ value: { n: 1 } }]]);
    expect((await store.batch(operations)).at(-1)).toBeNull();
    expect(await store.get(["a"], "k")).toMatchObject({ value: { n: 3 } });
  }
});

test("an item keeps the time at which it was first put", async () => {
  const store = new CtxmeshStore({ client, source: { model: "planner" } });
  await store.put(["a"], "k", { n: 1 });
  const first = await store.get(["a"], "k");
  await store.put(["a"], "k", { n: 2 });
  const second = await store.get(["a"], "k");
  expect(second?.createdAt).toEqual(first?.createdAt);
  expect(second?.updatedAt.getTime()).toBeGreaterThanOrEqual(first?.updatedAt.getTime() ?? 0);
  expect(await client.get("langgraph", "a/k")).toMatchObject({
    value: { n: 2 },
    source: { model: "planner" },
  });
});

test("namespaces and values that the library or the mesh refuses are refused", async () => {
  const store = new CtxmeshStore({ client });
  await expect(store.put([], "k", {})).rejects.toThrow(/empty/u);
  await expect(store.put(["a.b"], "k", {})).rejects.toThrow(/periods/u);
  await expect(store.put(["a"], "k", { text: "x".repeat(70_000) })).rejects.toMatchObject({
    code: "LIMIT_EXCEEDED",
  });
  await client.put("langgraph", [
    { key: "a/text", value: "no object" },
    { key: "no-namespace", value: {} },
  ]);
  expect(await store.search([])).toEqual([]);
  expect(await store.get(["a"], "text")).toBeNull();
});

test("what the library puts together may be more than one write holds, and a batch without a namespace writes nothing", async () => {
  const store = new CtxmeshStore({ client });
  const text = "x".repeat(30_000);
  const puts = Array.from({ length: 12 }, (_, i) => ({
    namespace: ["a"],
    key: String(i),
    value: { text },
  }));
  await store.batch(puts);
  expect(await store.search(["a"], { limit: 20 })).toHaveLength(puts.length);
  const lost = [
    { namespace: ["b"], key: "k", value: {} },
    { namespace: [], key: "k", value: {} },
  ];
  await expect(store.batch(lost)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect(await store.get(["b"], "k")).toBeNull();
  const all = { matchConditions: [] } as unknown as Operation;
  expect(await store.batch([all])).toEqual([[["a"]]]);
});

test("a graph of the library keeps its memory in it", async () => {
  const State = Annotation.Root({ user: Annotation<string>, greeting: Annotation<string> });
  const remember = async (
    { user }: typeof State.State,
    { store }: LangGraphRunnableConfig,
  ): Promise<Partial<typeof State.State>> => {
    const before = await store?.get(["users", user], "visits");
    const visits = Number(before?.value["count"] ?? 0) + 1;
    await store?.put(["users", user], "visits", { count: visits });
    return { greeting: `visit ${String(visits)} of ${user}` };
  };
  const graph = new StateGraph(State)
    .addNode("remember", remember)
    .addEdge(START, "remember")
    .addEdge("remember", END)
    .compile({ store: new CtxmeshStore({ client }) });
  for (const visit of [1, 2, 3]) {
    const { greeting } = await graph.invoke({ user: "ada" });
    expect(greeting).toBe(`visit ${String(visit)} of ada`);
  }
  expect((await client.get("langgraph", "users/ada/visits"))?.value).toEqual({ count: 3 });
});
