// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a client of the reference memory server notices no difference.
 * Method: the same calls to a process of the reference server and to one of ours, through real clients over stdio; what they
 * answer is compared whole. First every behaviour of the reference one by one, then random sequences.
 */
import { join } from "node:path";
import { tempDir } from "@ctxmesh/testing";
import type { CallToolResult, Tool } from "@modelcontextprotocol/sdk/types.js";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestMesh, ours, reference } from "./support.ts";
import type { McpClient } from "./support.ts";

const stack = new AsyncDisposableStack();
let theirs: McpClient;
let mine: McpClient;

beforeAll(async () => {
  const dir = await tempDir();
  stack.defer(() => dir.remove());
  const mesh = await TestMesh.found(stack, 1);
  const { socket } = await mesh.start(0);
  [theirs, mine] = await Promise.all([reference(join(dir.path, "memory.jsonl")), ours(socket)]);
  stack.use(theirs);
  stack.use(mine);
});

afterAll(() => stack.disposeAsync());

type Call = readonly [name: string, args?: Readonly<Record<string, unknown>>];

/** What the reference and ours answer to a call. */
const answers = ([name, args]: Call): Promise<readonly CallToolResult[]> =>
  Promise.all([theirs.call(name, args), mine.call(name, args)]);

/** The tools without what only the library says of them. */
const described = (tools: readonly Tool[]): readonly object[] =>
  tools.map((tool) => ({
    ...tool,
    execution: undefined,
    inputSchema: { ...tool.inputSchema, $schema: undefined },
    outputSchema: { ...tool.outputSchema, $schema: undefined },
  }));

const entity = (name: string, entityType: string, ...observations: readonly string[]): object => ({
  name,
  entityType,
  observations,
});
const relation = (from: string, to: string, relationType: string): object => ({
  from,
  to,
  relationType,
});

test("the nine tools have the same names, descriptions, schemas and annotations", async () => {
  const [expected, actual] = await Promise.all(
    [theirs, mine].map(async ({ client }) => (await client.listTools()).tools),
  );
  expect(expected).toHaveLength(9);
  expect(described(actual?.slice(0, 9) ?? [])).toEqual(described(expected ?? []));
});

test("what is created, added, found and deleted is the same, with what is there twice or not at all", async () => {
  const calls: readonly Call[] = [
    ["read_graph"],
    ["search_nodes", { query: "" }],
    ["open_nodes", { names: ["nobody"] }],
    ["create_entities", { entities: [] }],
    [
      "create_entities",
      {
        entities: [
          entity("Ada", "person", "writes programs", "likes tea"),
          entity("Engine", "machine"),
        ],
      },
    ],
    ["create_entities", { entities: [entity("Ada", "mathematician", "x"), entity("", "", "")] }],
    ["create_entities", { entities: [{ ...entity("Extra", "e"), colour: "red" }] }],
    [
      "create_relations",
      { relations: [relation("Ada", "Engine", "programs"), relation("Ada", "Nobody", "knows")] },
    ],
    [
      "create_relations",
      { relations: [relation("Ada", "Engine", "programs"), relation("Engine", "Ada", "programs")] },
    ],
    [
      "add_observations",
      { observations: [{ entityName: "Ada", contents: ["likes tea", "été ☕"] }] },
    ],
    [
      "add_observations",
      {
        observations: [
          { entityName: "Ada", contents: ["again"] },
          { entityName: "Ada", contents: ["again", "once more"] },
          { entityName: "Engine", contents: [] },
        ],
      },
    ],
    [
      "add_observations",
      {
        observations: [
          { entityName: "Ada", contents: ["is not kept"] },
          { entityName: "Nobody", contents: ["x"] },
        ],
      },
    ],
    ["read_graph", {}],
    ["search_nodes", { query: "TEA" }],
    ["search_nodes", { query: "machine" }],
    ["search_nodes", { query: "engine" }],
    ["search_nodes", { query: "nothing has it" }],
    ["open_nodes", { names: ["Engine", "Engine", "Nobody"] }],
    ["open_nodes", { names: [] }],
    [
      "delete_observations",
      {
        deletions: [
          { entityName: "Ada", observations: ["likes tea", "never said"] },
          { entityName: "Nobody", observations: ["x"] },
        ],
      },
    ],
    [
      "delete_relations",
      { relations: [relation("Engine", "Ada", "programs"), relation("a", "b", "c")] },
    ],
    ["read_graph"],
    ["delete_entities", { entityNames: ["Ada", "Nobody", "Ada"] }],
    ["read_graph"],
    ["create_entities", { entities: [entity("Ada", "person")] }],
    ["read_graph"],
    ["delete_entities", { entityNames: ["Ada", "Engine", "Extra", "", "Nobody"] }],
    ["read_graph"],
  ];
  for (const call of calls) {
    const [expected, actual] = await answers(call);
    expect(actual, JSON.stringify(call)).toEqual(expected);
  }
});

test("calls of another shape are refused in the same words, and nothing of them is done", async () => {
  const calls: readonly Call[] = [
    ["no_such_tool", {}],
    ["create_entities"],
    ["create_entities", {}],
    ["create_entities", { entities: "Ada" }],
    ["create_entities", { entities: [null] }],
    ["create_entities", { entities: [["Ada"]] }],
    ["create_entities", { entities: [entity("Ada", "person"), { name: 1, entityType: true }] }],
    [
      "create_entities",
      { entities: [{ name: "Ada", entityType: "p", observations: ["x", 2, {}] }] },
    ],
    ["create_relations", { relations: [{ from: "a" }] }],
    ["add_observations", { observations: [{ entityName: "Ada", contents: "x" }] }],
    ["delete_entities", { entityNames: [1.5] }],
    ["delete_observations", { deletions: {} }],
    ["delete_relations", { relations: null }],
    ["search_nodes", { query: 7 }],
    ["open_nodes", { names: [["Ada"]] }],
    ["read_graph"],
  ];
  for (const call of calls) {
    const [expected, actual] = await answers(call);
    expect(actual, JSON.stringify(call)).toEqual(expected);
  }
});

test("the graph is a resource that holds the same", async () => {
  await answers(["create_entities", { entities: [entity("Ada", "person", "here")] }]);
  const uri = "memory://knowledge-graph";
  const [expected, actual] = await Promise.all(
    [theirs, mine].map(async ({ client }) => client.readResource({ uri })),
  );
  expect(actual).toEqual(expected);
  const listed = await Promise.all(
    [theirs, mine].map(async ({ client }) =>
      (await client.listResources()).resources.filter((resource) => resource.uri === uri),
    ),
  );
  expect(listed[1]).toEqual(listed[0]);
});

const NAMES = ["Ada", "Engine", "été ☕", "a/b"];
const name = fc.constantFrom(...NAMES);
const word = fc.constantFrom("tea", "Tea time", "person", "x".repeat(2_000));
const anyRelation = fc.record({ from: name, to: name, relationType: word });
/** Within one call nothing is said twice: there the reference would keep it twice. */
const anyCall: fc.Arbitrary<Call> = fc.oneof(
  fc.tuple(
    fc.constant("create_entities"),
    fc.record({
      entities: fc.uniqueArray(
        fc.record({ name, entityType: word, observations: fc.uniqueArray(word) }),
        { selector: (one) => one.name },
      ),
    }),
  ),
  fc.tuple(
    fc.constant("create_relations"),
    fc.record({
      relations: fc.uniqueArray(anyRelation, { selector: (one) => JSON.stringify(one) }),
    }),
  ),
  fc.tuple(
    fc.constant("add_observations"),
    fc.record({
      observations: fc.array(fc.record({ entityName: name, contents: fc.uniqueArray(word) }), {
        maxLength: 3,
      }),
    }),
  ),
  fc.tuple(
    fc.constant("delete_entities"),
    fc.record({ entityNames: fc.array(name, { maxLength: 2 }) }),
  ),
  fc.tuple(
    fc.constant("delete_observations"),
    fc.record({
      deletions: fc.array(fc.record({ entityName: name, observations: fc.array(word) }), {
        maxLength: 3,
      }),
    }),
  ),
  fc.tuple(fc.constant("delete_relations"), fc.record({ relations: fc.array(anyRelation) })),
  fc.tuple(fc.constant("search_nodes"), fc.record({ query: word })),
  fc.tuple(fc.constant("open_nodes"), fc.record({ names: fc.array(name) })),
);

test("any sequence of calls has the same answers", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyCall, { minLength: 6, maxLength: 14, size: "max" }),
      async (calls) => {
        await answers(["delete_entities", { entityNames: NAMES }]);
        for (const call of calls.flatMap((one): readonly Call[] => [one, ["read_graph"]])) {
          const [expected, actual] = await answers(call);
          expect(actual, JSON.stringify(call)).toEqual(expected);
        }
      },
    ),
    { numRuns: 20, seed: 7 },
  );
});
