// SPDX-License-Identifier: Apache-2.0
/** Views of a node in memory behind a real socket. */
import type { ChangeEvent, VisibleFact } from "@ctxmesh/model";
import { waitFor } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connect } from "../src/index.ts";
import type { ContextClient, View } from "../src/index.ts";
import { createView } from "../src/view.ts";
import { startMemoryNode } from "./memory-node.ts";
import type { MemoryNode } from "./memory-node.ts";

let node: MemoryNode;
let client: ContextClient;

beforeEach(async () => {
  node = await startMemoryNode();
  client = connect({ socketPath: node.socketPath });
});

afterEach(async () => {
  client.close();
  await node[Symbol.asyncDispose]();
});

const sum = (prefix = "n/"): View<number> =>
  client.view({
    doc: "d",
    prefix,
    map: ({ value }) => (typeof value === "number" ? value : undefined),
    reduce: (a, b) => a + b,
  });

const until = (condition: () => boolean, what: string): Promise<void> =>
  waitFor(condition, { timeoutMs: 5_000, what });

/** What the node would say now. */
const counted = (facts: readonly VisibleFact[]): number | undefined => {
  const numbers = facts.map(({ value }) => value).filter((value) => typeof value === "number");
  return numbers.length === 0 ? undefined : numbers.reduce((a, b) => a + b);
};

test("a view is what mapping and reducing the facts of the moment says", async () => {
  await client.put("d", [
    { key: "n/before", value: 1_000 },
    { key: "other", value: 5 },
  ]);
  await using view = sum();
  await view.ready;
  expect(view.value).toBe(1_000);
  const write = fc.record({
    key: fc.constantFrom("n/a", "n/b", "n/c", "m/a"),
    value: fc.oneof(fc.integer(), fc.constant("text"), fc.constant(undefined)),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(write, { maxLength: 8 }), async (writes) => {
      for (const { key, value } of writes) {
        if (value === undefined) await client.delete("d", [key]);
        else await client.put("d", { key, value });
      }
      const expected = counted(node.service.list({ doc: "d", prefix: "n/" }));
      await until(() => view.value === expected, `the view to be ${String(expected)}`);
      const numbers = node.service
        .list({ doc: "d", prefix: "n/" })
        .filter(({ value }) => typeof value === "number");
      await until(() => view.size === numbers.length, `the view to have ${String(numbers.length)}`);
      expect(view.get("d", "n/before")).toBe(1_000);
      expect(view.get("d", "m/a")).toBeUndefined();
    }),
    { numRuns: 25 },
  );
});

test("a view keeps its value while the node is away, and is made anew of what is there afterwards", async () => {
  await client.put("d", [
    { key: "n/stays", value: 1 },
    { key: "n/goes", value: 10 },
  ]);
  await using view = sum();
  await view.ready;
  expect({ value: view.value, size: view.size, current: view.current }).toEqual({
    value: 11,
    size: 2,
    current: true,
  });
  await node.stop();
  await until(() => !view.current, "the view to know");
  expect(view.value).toBe(11);
  await node.service.delete("d", ["n/goes"], {});
  await node.service.put("d", [{ key: "n/comes", value: 100 }]);
  await node.start();
  await until(() => view.current, "the view to follow again");
  expect({ value: view.value, size: view.size }).toEqual({ value: 101, size: 2 });
  await client.put("d", { key: "n/more", value: 1_000 });
  await until(() => view.value === 1_101, "the next change");
});

const fact = (value: number): VisibleFact =>
  ({ doc: "d", key: "k", value }) as unknown as VisibleFact;

test("what changes while the facts are listed counts after them", async () => {
  const listed = Promise.withResolvers<readonly VisibleFact[]>();
  const told = Promise.withResolvers<void>();
  async function* changes(signal: AbortSignal): AsyncGenerator<ChangeEvent, void, undefined> {
    yield { doc: "d", key: "k", fact: fact(2), origin: "local" };
    told.resolve();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  }
  await using view = createView<number>(
    {
      list: () => listed.promise,
      watch: (_, { signal }) => ({
        ready: Promise.resolve(),
        [Symbol.asyncIterator]: () => changes(signal),
      }),
    },
    { doc: "d", map: ({ value }) => Number(value), reduce: (a, b) => a + b },
  );
  await told.promise;
  expect(view.value).toBeUndefined();
  listed.resolve([fact(1)]);
  await view.ready;
  expect(view.value).toBe(2);
});

test("a view of nothing has no value, and a page more than a node lists is no limit within a document", async () => {
  await using empty = sum("nothing/");
  await empty.ready;
  expect(empty.value).toBeUndefined();
  const keys = Array.from({ length: 10_001 }, (_, i) => `n/${String(i).padStart(5, "0")}`);
  for (let at = 0; at < keys.length; at += 1_000) {
    await node.service.put(
      "d",
      keys.slice(at, at + 1_000).map((key) => ({ key, value: 1 })),
    );
  }
  await using view = sum();
  await view.ready;
  expect(view.value).toBe(10_001);
  await using all = client.view({ map: () => 1, reduce: (a, b) => a + b });
  await expect(all.ready).rejects.toMatchObject({ code: "INPUT_INVALID", field: "doc" });
});

test("what the program's own functions throw ends the view, and is thrown to who reads it", async () => {
  const wrong = new Error("no such unit");
  await using view = client.view({
    doc: "d",
    map: ({ value }): number => {
      if (value === "wrong") throw wrong;
      return 1;
    },
    reduce: (a, b) => a + b,
  });
  await view.ready;
  await client.put("d", { key: "k", value: "right" });
  await until(() => view.value === 1, "the first fact");
  await client.put("d", { key: "l", value: "wrong" });
  await until(() => !view.current, "the end");
  expect(() => view.value).toThrow(wrong);
  expect(() => view.get("d", "k")).toThrow(wrong);
});

test("disposing of a view ends its watch at the node", async () => {
  const view = sum();
  await view.ready;
  expect(node.service.watching).toBe(1);
  await view[Symbol.asyncDispose]();
  await until(() => node.service.watching === 0, "the watch to end");
  const early = sum();
  const ready = expect(early.ready).rejects.toMatchObject({ code: "CLOSED" });
  await early[Symbol.asyncDispose]();
  await ready;
});
