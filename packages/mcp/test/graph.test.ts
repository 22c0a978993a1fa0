// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a graph is what its facts say, whoever wrote them and in whatever order they came.
 * Method: facts in every order; and facts that no tool writes, put into the document of a real agent beside the tools.
 */
import type { VisibleFact } from "@ctxmesh/model";
import fc from "fast-check";
import { expect, test } from "vitest";
import { observationKey, relationKey, typeKey } from "../src/graph-keys.ts";
import { graphOf } from "../src/graph-view.ts";
import { TestMesh, ours } from "./support.ts";

const name = fc.constantFrom("a", "b", "c");
const said = fc.oneof(
  fc.record({ name, entityType: name }).map((value) => ({
    key: typeKey(value.name, value.entityType),
    value,
  })),
  fc.record({ name, observation: name }).map((value) => ({
    key: observationKey(value.name, value.observation),
    value,
  })),
  fc.record({ from: name, to: name, relationType: name }).map((value) => ({
    key: relationKey(value),
    value,
  })),
);
const facts = fc
  .uniqueArray(fc.tuple(said, fc.nat(3), name), { selector: ([{ key }]) => key, maxLength: 12 })
  .map((all) =>
    all.map(
      ([{ key, value }, hlc, writer]) => ({ key, value, hlc, writer }) as unknown as VisibleFact,
    ),
  );

test("a graph does not depend on the order in which its facts are listed", () => {
  fc.assert(
    fc.property(facts, fc.infiniteStream(fc.nat()), (all, order) => {
      const shuffled = all
        .map((fact) => [order.next().value ?? 0, fact] as const)
        .toSorted(([a], [b]) => a - b)
        .map(([, fact]) => fact);
      expect(graphOf(shuffled)).toEqual(graphOf(all));
    }),
  );
});

test("what is said twice is shown once, and nothing is shown of an entity that is not there", () => {
  fc.assert(
    fc.property(facts, (all) => {
      const { entities, relations } = graphOf(all);
      const names = entities.map((entity) => entity.name);
      expect(new Set(names).size).toBe(names.length);
      expect(new Set(relations.map((one) => JSON.stringify(one))).size).toBe(relations.length);
      for (const { name: of, entityType, observations } of entities) {
        expect(all.some(({ key }) => key === typeKey(of, entityType))).toBe(true);
        expect(new Set(observations).size).toBe(observations.length);
        const there = all.filter(
          ({ key }) =>
            key.includes("/observation/") &&
            key.startsWith(typeKey(of, "").split("type/")[0] ?? "-"),
        );
        expect(observations).toHaveLength(there.length);
      }
    }),
  );
});

test("what is left of a deleted entity stays away when it is created again, two types are one entity, and other facts are none", async () => {
  await using stack = new AsyncDisposableStack();
  const mesh = await TestMesh.found(stack, 1);
  const { agent, socket } = await mesh.start(0);
  const client = stack.use(await ours(socket));
  const put = async (key: string, value: Parameters<typeof agent.service.put>[1][0]["value"]) =>
    agent.service.put("memory", [{ key, value }]);
  // Said elsewhere by somebody who did not know yet that the entity is deleted.
  await put(observationKey("ghost", "boo"), { name: "ghost", observation: "boo" });
  await put("graph/entity/x", "no object");
  await put("graph/entity/y", { name: 7, entityType: "x" });
  await put("graph/relation/z", { from: "a", to: "b" });
  await put("note", { name: "a", entityType: "b" });
  expect(await client.ask("read_graph")).toEqual({ entities: [], relations: [] });
  await expect(
    client.ask("add_observations", { observations: [{ entityName: "ghost", contents: ["x"] }] }),
  ).rejects.toThrow("Entity with name ghost not found");
  const ghost = { name: "ghost", entityType: "spirit", observations: ["walks"] };
  await client.ask("create_entities", { entities: [ghost] });
  expect(await client.ask("read_graph")).toEqual({ entities: [ghost], relations: [] });

  await put(typeKey("ghost", "vapour"), { name: "ghost", entityType: "vapour" });
  expect(await client.ask("read_graph")).toEqual({ entities: [ghost], relations: [] });
  expect(await client.ask("create_entities", { entities: [ghost] })).toEqual({ entities: [] });
  await client.ask("delete_entities", { entityNames: ["ghost"] });
  expect(await client.ask("read_graph")).toEqual({ entities: [], relations: [] });
});

test("what is said twice in one call is kept once", async () => {
  await using stack = new AsyncDisposableStack();
  const mesh = await TestMesh.found(stack, 1);
  const { socket } = await mesh.start(0);
  const client = stack.use(await ours(socket));
  const entity = { name: "a", entityType: "t", observations: ["x", "x"] };
  const relation = { from: "a", to: "a", relationType: "is" };
  expect(
    await client.ask("create_entities", { entities: [entity, { ...entity, entityType: "u" }] }),
  ).toEqual({ entities: [{ ...entity, observations: ["x"] }] });
  expect(await client.ask("create_relations", { relations: [relation, relation] })).toEqual({
    relations: [relation],
  });
  expect(
    await client.ask("add_observations", {
      observations: [{ entityName: "a", contents: ["y", "y", "x"] }],
    }),
  ).toEqual({ results: [{ entityName: "a", addedObservations: ["y"] }] });
  for (const text of ["\ud800", "x".repeat(70_000)]) {
    await expect(
      client.ask("create_entities", {
        entities: [
          { name: "fine", entityType: "t", observations: [] },
          { name: "b", entityType: "t", observations: [text] },
        ],
      }),
    ).rejects.toThrow(/^(INPUT_INVALID|LIMIT_EXCEEDED): observation/u);
  }
  expect(await client.ask("read_graph")).toEqual({
    entities: [{ ...entity, observations: ["x", "y"] }],
    relations: [relation],
  });
});
