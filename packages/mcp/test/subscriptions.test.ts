// SPDX-License-Identifier: Apache-2.0
/** Goal: a session watches what it has to, and no longer, and no more than it may. Method: a real agent, whose watches are counted. */
import { LIMITS } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { createRecordingLogger, waitFor } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Subscriptions } from "../src/subscriptions.ts";
import { TestMesh } from "./support.ts";

let stack: AsyncDisposableStack;
let client: ContextClient;
let subscriptions: Subscriptions;
let told: string[];
let taken: PromiseWithResolvers<void> | undefined;
/** Documents of the watches that were begun, and what ends each. */
let watches: { readonly doc: string | undefined; readonly signal: AbortSignal | undefined }[];

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  const mesh = await TestMesh.found(stack, 1);
  const { socket } = await mesh.start(0);
  client = connect({ socketPath: socket });
  told = [];
  watches = [];
  taken = undefined;
  subscriptions = new Subscriptions({
    client: {
      watch: (query = {}, options = {}) => {
        watches.push({ doc: query.doc, signal: options.signal });
        return client.watch(query, options);
      },
    },
    logger: createRecordingLogger(),
    notify: async (uri) => {
      told.push(uri);
      await taken?.promise;
    },
  });
  stack.defer(() => {
    client.close();
  });
  stack.defer(async () => subscriptions.close());
});
afterEach(() => stack.disposeAsync());

const fact = (doc: string, key: string) => ({ kind: "fact", doc, key }) as const;
const hears = (count: number): Promise<void> =>
  waitFor(() => told.length >= count, {
    timeoutMs: 10_000,
    what: `${String(count)} notifications`,
  });

test("a document is watched once, however many of its facts are asked for, and until the last of them", async () => {
  await subscriptions.add("a 1", fact("a", "1"));
  await subscriptions.add("a 2", fact("a", "2"));
  await subscriptions.add("a 2", fact("a", "2"));
  await subscriptions.add("b 1", fact("b", "1"));
  expect(watches.map(({ doc }) => doc)).toEqual(["a", "b"]);
  subscriptions.remove("a 1");
  expect(watches[0]?.signal?.aborted).toBe(false);
  await client.put("a", [
    { key: "1", value: 1 },
    { key: "2", value: 1 },
  ]);
  await hears(1);
  expect(told).toEqual(["a 2"]);
  subscriptions.remove("a 2");
  subscriptions.remove("never asked for");
  expect(watches.map(({ signal }) => signal?.aborted)).toEqual([true, false]);
  await subscriptions.close();
  expect(watches[1]?.signal?.aborted).toBe(true);
});

test("changes while a client has not taken the last notification add no second one", async () => {
  await subscriptions.add("a 1", fact("a", "1"));
  await subscriptions.add("a end", fact("a", "end"));
  taken = Promise.withResolvers();
  for (let value = 0; value < 20; value++) await client.put("a", { key: "1", value });
  await client.put("a", { key: "end", value: 0 });
  await hears(2);
  expect(told).toEqual(["a 1", "a end"]);
  taken.resolve();
  taken = undefined;
  await client.put("a", { key: "1", value: "again" });
  await hears(3);
});

test("past the limit another one is refused, and there is room again when one ends", async () => {
  for (let i = 0; i < LIMITS.mcpSubscriptions; i++) {
    await subscriptions.add(String(i), fact("a", String(i)));
  }
  await expect(subscriptions.add("one more", fact("b", "1"))).rejects.toMatchObject({
    code: "LIMIT_EXCEEDED",
  });
  subscriptions.remove("7");
  await subscriptions.add("one more", fact("b", "1"));
  expect(watches).toHaveLength(2);
});

test("two that come at once for one document wait for the same watch, and hear alike that it can't be", async () => {
  const both = [1, 2].map(async (n) => subscriptions.add(String(n), fact("..", "k")));
  const refused = {
    status: "rejected",
    reason: expect.objectContaining({ code: "INPUT_INVALID" }),
  };
  expect(await Promise.allSettled(both)).toEqual([refused, refused]);
  const here = [1, 2].map(async (n) => subscriptions.add(String(n), fact("a", String(n))));
  await Promise.all(here);
  expect(watches).toHaveLength(2);
  await client.put(
    "a",
    [1, 2].map((n) => ({ key: String(n), value: n })),
  );
  await hears(2);
});

test("what comes once all have ended is refused, and watches nothing", async () => {
  await subscriptions.add("a 1", fact("a", "1"));
  await subscriptions.close();
  await expect(subscriptions.add("b 1", fact("b", "1"))).rejects.toMatchObject({ code: "CLOSED" });
  expect(watches.map(({ doc, signal }) => [doc, signal?.aborted])).toEqual([["a", true]]);
});

test("a document that can't be is refused, and nothing of it is kept", async () => {
  await expect(subscriptions.add("x", fact("..", "k"))).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  await expect(subscriptions.add("x", fact("..", "k"))).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  expect(watches.map(({ signal }) => signal?.aborted)).toEqual([true, true]);
});
