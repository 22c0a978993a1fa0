// SPDX-License-Identifier: Apache-2.0
/**
 * The nine tools of the reference memory server (`@modelcontextprotocol/server-memory`): same names, schemas, results and errors,
 * over a graph that any number of processes and machines change at the same time.
 */
import { graphJson } from "./graph.ts";
import type { AddedObservations, MemoryGraph } from "./graph.ts";
import type { Entity, Relation } from "./graph-keys.ts";
import type { Graph } from "./graph-view.ts";
import type { ArraySchema, ObjectSchema, Schema } from "./schema.ts";
import { pretty } from "./tool.ts";
import type { Answer, Tool } from "./tool.ts";

const text = (description?: string): Schema =>
  description === undefined ? { type: "string" } : { type: "string", description };

const texts = (description?: string): ArraySchema => ({
  type: "array",
  items: text(),
  ...(description === undefined ? {} : { description }),
});

const object = (properties: Readonly<Record<string, Schema>>): ObjectSchema => ({
  type: "object",
  properties,
  required: Object.keys(properties),
});

/** What comes back has no other members, at any depth. */
function closed(schema: Schema): Schema {
  if (schema.type === "array") return { ...schema, items: closed(schema.items) };
  return schema.type === "object" ? closedObject(schema) : schema;
}

function closedObject(schema: ObjectSchema): ObjectSchema {
  const properties = Object.entries(schema.properties ?? {}).map(
    ([name, member]) => [name, closed(member)] as const,
  );
  return { ...schema, properties: Object.fromEntries(properties), additionalProperties: false };
}

const answered = (properties: Readonly<Record<string, Schema>>): ObjectSchema =>
  closedObject(object(properties));

const ENTITIES: Schema = {
  type: "array",
  items: object({
    name: text("The name of the entity"),
    entityType: text("The type of the entity"),
    observations: texts("An array of observation contents associated with the entity"),
  }),
};
const RELATION = object({
  from: text("The name of the entity where the relation starts"),
  to: text("The name of the entity where the relation ends"),
  relationType: text("The type of the relation"),
});
const RELATIONS: Schema = { type: "array", items: RELATION };
const GRAPH = answered({ entities: ENTITIES, relations: RELATIONS });
const DONE = answered({ success: { type: "boolean" }, message: text() });

const ADDS: Tool["hints"] = { readOnly: false, destructive: false, idempotent: false };
const DELETES: Tool["hints"] = { readOnly: false, destructive: true, idempotent: true };
const READS: Tool["hints"] = { readOnly: true, destructive: false, idempotent: true };

const listed = (name: string, items: readonly unknown[]): Answer => ({
  text: pretty(items),
  structured: { [name]: items },
});

const done = (message: string): Answer => ({
  text: message,
  structured: { success: true, message },
});

const shown = (graph: Graph): Answer => ({ text: pretty(graph), structured: graphJson(graph) });

/** Only what a graph holds: callers may send more. */
const entityOf = ({ name, entityType, observations }: Entity): Entity => ({
  name,
  entityType,
  observations,
});

const relationOf = ({ from, to, relationType }: Relation): Relation => ({
  from,
  to,
  relationType,
});

function creating(graph: MemoryGraph): readonly Tool[] {
  return [
    {
      name: "create_entities",
      title: "Create Entities",
      description: "Create multiple new entities in the knowledge graph",
      inputSchema: object({ entities: ENTITIES }),
      outputSchema: answered({ entities: ENTITIES }),
      hints: ADDS,
      call: async ({ entities }) =>
        listed(
          "entities",
          await graph.createEntities((entities as readonly Entity[]).map(entityOf)),
        ),
    },
    {
      name: "create_relations",
      title: "Create Relations",
      description:
        "Create multiple new relations between entities in the knowledge graph. Relations should be in active voice",
      inputSchema: object({ relations: RELATIONS }),
      outputSchema: answered({ relations: RELATIONS }),
      hints: ADDS,
      call: async ({ relations }) =>
        listed(
          "relations",
          await graph.createRelations((relations as readonly Relation[]).map(relationOf)),
        ),
    },
    {
      name: "add_observations",
      title: "Add Observations",
      description: "Add new observations to existing entities in the knowledge graph",
      inputSchema: object({
        observations: {
          type: "array",
          items: object({
            entityName: text("The name of the entity to add the observations to"),
            contents: texts("An array of observation contents to add"),
          }),
        },
      }),
      outputSchema: answered({
        results: {
          type: "array",
          items: object({ entityName: text(), addedObservations: texts() }),
        },
      }),
      hints: ADDS,
      call: async ({ observations }) => {
        const additions = observations as Parameters<MemoryGraph["addObservations"]>[0];
        const results: readonly AddedObservations[] = await graph.addObservations(additions);
        return listed("results", results);
      },
    },
  ];
}

function deleting(graph: MemoryGraph): readonly Tool[] {
  return [
    {
      name: "delete_entities",
      title: "Delete Entities",
      description:
        "Delete multiple entities and their associated relations from the knowledge graph",
      inputSchema: object({ entityNames: texts("An array of entity names to delete") }),
      outputSchema: DONE,
      hints: DELETES,
      call: async ({ entityNames }) => {
        await graph.deleteEntities(entityNames as readonly string[]);
        return done("Entities deleted successfully");
      },
    },
    {
      name: "delete_observations",
      title: "Delete Observations",
      description: "Delete specific observations from entities in the knowledge graph",
      inputSchema: object({
        deletions: {
          type: "array",
          items: object({
            entityName: text("The name of the entity containing the observations"),
            observations: texts("An array of observations to delete"),
          }),
        },
      }),
      outputSchema: DONE,
      hints: DELETES,
      call: async ({ deletions }) => {
        await graph.deleteObservations(
          deletions as Parameters<MemoryGraph["deleteObservations"]>[0],
        );
        return done("Observations deleted successfully");
      },
    },
    {
      name: "delete_relations",
      title: "Delete Relations",
      description: "Delete multiple relations from the knowledge graph",
      inputSchema: object({
        relations: { ...RELATIONS, description: "An array of relations to delete" },
      }),
      outputSchema: DONE,
      hints: DELETES,
      call: async ({ relations }) => {
        await graph.deleteRelations(relations as readonly Relation[]);
        return done("Relations deleted successfully");
      },
    },
  ];
}

function reading(graph: MemoryGraph): readonly Tool[] {
  return [
    {
      name: "read_graph",
      title: "Read Graph",
      description: "Read the entire knowledge graph",
      inputSchema: { type: "object", properties: {} },
      outputSchema: GRAPH,
      hints: READS,
      call: async () => shown(await graph.read()),
    },
    {
      name: "search_nodes",
      title: "Search Nodes",
      description: "Search for nodes in the knowledge graph based on a query",
      inputSchema: object({
        query: text(
          "The search query to match against entity names, types, and observation content",
        ),
      }),
      outputSchema: GRAPH,
      hints: READS,
      call: async ({ query }) => shown(await graph.search(query as string)),
    },
    {
      name: "open_nodes",
      title: "Open Nodes",
      description: "Open specific nodes in the knowledge graph by their names",
      inputSchema: object({ names: texts("An array of entity names to retrieve") }),
      outputSchema: GRAPH,
      hints: READS,
      call: async ({ names }) => shown(await graph.open(names as readonly string[])),
    },
  ];
}

/** The nine tools over a graph. */
export const memoryTools = (graph: MemoryGraph): readonly Tool[] => [
  ...creating(graph),
  ...deleting(graph),
  ...reading(graph),
];
