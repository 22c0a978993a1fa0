// SPDX-License-Identifier: Apache-2.0
/** The tools as the library uses them: its mock model asks for calls, the library checks and makes them, and a real node answers. */
import type { ContextClient } from "@ctxmesh/sdk";
import { generateText, stepCountIs } from "ai";
import { MockLanguageModelV3 } from "ai/test";
import { afterEach, beforeEach, expect, test } from "vitest";
import { contextTools } from "../src/index.ts";
import { startNode } from "../../sdk/test/real-node.ts";

let stack: AsyncDisposableStack;
let client: ContextClient;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  client = await startNode(stack);
});

afterEach(() => stack.disposeAsync());

const usage = {
  inputTokens: { total: 1, noCache: 1, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: 1, text: 1, reasoning: undefined },
};

interface Call {
  readonly tool: string;
  readonly input: object;
}

/** Has a model ask for calls, one after the other, and say that it is done; returns what the library told it of each. */
async function callAll(
  calls: readonly Call[],
  abortSignal?: AbortSignal,
): Promise<readonly unknown[]> {
  const model = new MockLanguageModelV3({
    doGenerate: [
      ...calls.map(({ tool, input }, i) => ({
        content: [
          {
            type: "tool-call" as const,
            toolCallId: String(i),
            toolName: tool,
            input: JSON.stringify(input),
          },
        ],
        finishReason: { unified: "tool-calls" as const, raw: undefined },
        usage,
        warnings: [],
      })),
      {
        content: [{ type: "text", text: "done" }],
        finishReason: { unified: "stop", raw: undefined },
        usage,
        warnings: [],
      },
    ],
  });
  const { steps, text } = await generateText({
    model,
    prompt: "work",
    tools: { ...contextTools({ client, source: { model: "mock", version: "1" } }) },
    stopWhen: stepCountIs(calls.length + 1),
    ...(abortSignal === undefined ? {} : { abortSignal }),
  });
  expect(text).toBe("done");
  return steps.slice(0, -1).map(({ content }) => {
    const part = content.at(-1);
    if (part?.type === "tool-result") return part.output;
    return part?.type === "tool-error" ? { error: String(part.error) } : part;
  });
}

test("a model puts, gets, finds facts and reads their past", async () => {
  const name = { doc: "line-2/press-7", key: "state/mode" };
  const results = await callAll([
    { tool: "getFact", input: name },
    { tool: "putFact", input: { ...name, value: { mode: "auto" }, confidence: 0.75 } },
    { tool: "getFact", input: name },
    { tool: "putFact", input: { ...name, value: "off" } },
    { tool: "searchFacts", input: { doc: name.doc, prefix: "state/", source: "mock" } },
    { tool: "searchFacts", input: { prefix: "nothing/" } },
    { tool: "factHistory", input: { ...name, limit: 5 } },
  ]);
  const source = { model: "mock", version: "1" };
  expect(results).toMatchObject([
    { fact: null },
    { written: 1 },
    { fact: { ...name, value: { mode: "auto" }, confidence: 0.75, contested: false, source } },
    { written: 1 },
    { facts: [{ ...name, value: "off", source }] },
    { facts: [] },
    {
      entries: [
        { did: "stated", value: "off", counts: true, source },
        { did: "stated", value: { mode: "auto" }, confidence: 0.75, counts: true, source },
      ],
    },
  ]);
  expect(await client.get(name.doc, name.key)).toMatchObject({ value: "off", source });
});

test("a deletion is told of as one", async () => {
  await client.put("d", { key: "k", value: 1 });
  await client.delete("d", ["k"]);
  const [history] = await callAll([{ tool: "factHistory", input: { doc: "d", key: "k" } }]);
  expect(history).toMatchObject({ entries: [{ did: "deleted" }, { did: "stated", value: 1 }] });
});

test("what the node refuses reaches the model in words, and the next call goes through", async () => {
  const results = await callAll([
    { tool: "putFact", input: { doc: "", key: "k", value: 1 } },
    { tool: "putFact", input: { doc: "d", key: "k", value: "x".repeat(70_000) } },
    { tool: "putFact", input: { doc: "d", key: "k", value: 1, confidence: 2 } },
    { tool: "putFact", input: { doc: "d", key: "k", value: 1, surprise: true } },
    { tool: "searchFacts", input: { limit: 1_000_000 } },
    { tool: "putFact", input: { doc: "d", key: "k", value: 1 } },
  ]);
  for (const result of results.slice(0, -1)) {
    expect(result).toMatchObject({ error: expect.stringMatching(/\S/u) as string });
  }
  expect(results.at(-1)).toEqual({ written: 1 });
});

test("a run that is called off calls off its calls", async () => {
  const { getFact } = contextTools({ client });
  await expect(
    Promise.resolve(
      getFact.execute?.(
        { doc: "d", key: "k" },
        { toolCallId: "1", messages: [], abortSignal: AbortSignal.abort() },
      ),
    ),
  ).rejects.toMatchObject({ code: "ABORTED" });
});
