// SPDX-License-Identifier: Apache-2.0
/** A knowledge graph in a document of a node: what the nine memory tools do. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { FactInput, FactSource, JsonValue, VisibleFact } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";
import {
  GRAPH_PREFIX,
  RELATION_PREFIX,
  entityPrefix,
  observationKey,
  readGraphFact,
  relationKey,
  typeKey,
} from "./graph-keys.ts";
import type { Entity, Relation } from "./graph-keys.ts";
import { graphOf, part } from "./graph-view.ts";
import type { Graph } from "./graph-view.ts";

/** Where a graph is, and in whose name it is changed. */
export interface GraphOptions {
  readonly client: Pick<ContextClient, "get" | "list" | "put" | "delete">;
  /** The document. */
  readonly document: string;
  /** Asked for at each write. */
  readonly source: () => FactSource;
}

/** What was added to one entity. */
export interface AddedObservations {
  readonly entityName: string;
  readonly addedObservations: readonly string[];
}

/** The most that a node lists at once. */
const PAGE = 10_000;
/** Reads under way at a time: a call may name a thousand entities. */
const READS_AT_ONCE = 16;
/** Most bytes that a fact takes in a write besides its key, value and source. */
const FACT_OVERHEAD = 64;
/** Resolvers by which the newest statement wins, whoever made it, deletes included: none of a graph has a confidence. */
const RESOLVERS: ReadonlySet<string> = new Set(["latest", "confidence"]);

/** Applies `use` to all items, some at a time, in order. */
async function inTurns<Item, Result>(
  items: readonly Item[],
  use: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (let i = 0; i < items.length; i += READS_AT_ONCE) {
    results.push(...(await Promise.all(items.slice(i, i + READS_AT_ONCE).map(use))));
  }
  return results;
}

/** A fact of a graph. Throws `INPUT_INVALID` or `LIMIT_EXCEEDED` for texts that no fact can hold. */
function factOf(key: string, value: Readonly<Record<string, string>>): FactInput {
  for (const [field, text] of Object.entries(value)) {
    if (!text.isWellFormed()) {
      throw new MeshError("INPUT_INVALID", `${field} is not well-formed Unicode`, { field });
    }
  }
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes > LIMITS.valueBytes) {
    const [field = ""] =
      Object.entries(value).toSorted((a, b) => b[1].length - a[1].length)[0] ?? [];
    const of = JSON.stringify((value["name"] ?? value["from"] ?? "").slice(0, 80));
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `${field} of ${of} has ${String(bytes)} bytes as a fact, the limit is ${String(LIMITS.valueBytes)}`,
      { field, remedy: "divide it, or keep it elsewhere and observe where it is" },
    );
  }
  return { key, value };
}

const typeFact = ({ name, entityType }: Entity): FactInput =>
  factOf(typeKey(name, entityType), { name, entityType });

const observationFact = (name: string, observation: string): FactInput =>
  factOf(observationKey(name, observation), { name, observation });

const relationFact = (relation: Relation): FactInput =>
  factOf(relationKey(relation), { ...relation });

/** A graph in one document. All methods reject with the node's `MeshError`s. */
export class MemoryGraph {
  readonly #options: GraphOptions;

  constructor(options: GraphOptions) {
    this.#options = options;
  }

  /** Creates the entities whose names are new, and resolves with those. */
  async createEntities(entities: readonly Entity[]): Promise<readonly Entity[]> {
    const first = new Map(entities.toReversed().map((entity) => [entity.name, entity]));
    const unique = entities.filter((entity) => first.get(entity.name) === entity);
    const known = await inTurns(unique, async ({ name }) => this.#list(entityPrefix(name)));
    const fresh: Entity[] = [];
    const facts: FactInput[] = [];
    // What is left of an entity that was deleted while somebody added to it.
    const orphans: string[] = [];
    for (const [i, { name, entityType, observations: given }] of unique.entries()) {
      const about = known[i] ?? [];
      if (graphOf(about).entities.some((entity) => entity.name === name)) continue;
      const observations = [...new Set(given)];
      const entity = { name, entityType, observations };
      const said = [typeFact(entity), ...observations.map((text) => observationFact(name, text))];
      const keys = new Set(said.map(({ key }) => key));
      orphans.push(...about.map(({ key }) => key).filter((key) => !keys.has(key)));
      facts.push(...said);
      fresh.push(entity);
    }
    await this.#delete(orphans);
    await this.#put(facts);
    return fresh;
  }

  /** Creates the relations that are new, and resolves with those. */
  async createRelations(relations: readonly Relation[]): Promise<readonly Relation[]> {
    const unique = [...new Map(relations.map((one) => [relationKey(one), one])).values()];
    const known = await this.#have(unique.map(relationKey));
    const fresh = unique.filter((relation) => !known.has(relationKey(relation)));
    await this.#put(fresh.map(relationFact));
    return fresh;
  }

  /** Adds what is new to entities. Rejects, and changes nothing, when one of them is not there. */
  async addObservations(
    additions: readonly { readonly entityName: string; readonly contents: readonly string[] }[],
  ): Promise<readonly AddedObservations[]> {
    const names = [...new Set(additions.map(({ entityName }) => entityName))];
    const lists = await inTurns(names, async (name) => this.#list(entityPrefix(name)));
    const { entities } = graphOf(lists.flat());
    const known = new Map(
      entities.map(({ name, observations }) => [name, new Set(observations)] as const),
    );
    const facts: FactInput[] = [];
    const results = additions.map(({ entityName, contents }) => {
      const before = known.get(entityName);
      if (before === undefined) throw new UnknownEntityError(entityName);
      const addedObservations = [...new Set(contents)].filter((text) => !before.has(text));
      for (const text of addedObservations) {
        before.add(text);
        facts.push(observationFact(entityName, text));
      }
      return { entityName, addedObservations };
    });
    await this.#put(facts);
    return results;
  }

  /** Deletes entities, whoever said what of them, and the relations that they are in. */
  async deleteEntities(names: readonly string[]): Promise<void> {
    const unique = new Set(names);
    const lists = await inTurns([...unique], async (name) => this.#list(entityPrefix(name)));
    const relations = (await this.#list(RELATION_PREFIX)).filter((fact) => {
      const said = readGraphFact(fact);
      return said?.kind === "relation" && (unique.has(said.from) || unique.has(said.to));
    });
    await this.#delete([...lists.flat(), ...relations].map(({ key }) => key));
  }

  /** Deletes observations, whoever made them; what is not there is passed over. */
  async deleteObservations(
    deletions: readonly { readonly entityName: string; readonly observations: readonly string[] }[],
  ): Promise<void> {
    const keys = new Set(
      deletions.flatMap(({ entityName, observations }) =>
        observations.map((text) => observationKey(entityName, text)),
      ),
    );
    await this.#delete([...(await this.#have([...keys]))]);
  }

  /** Deletes relations, whoever made them; what is not there is passed over. */
  async deleteRelations(relations: readonly Relation[]): Promise<void> {
    await this.#delete([...(await this.#have([...new Set(relations.map(relationKey))]))]);
  }

  /** The whole graph. */
  async read(): Promise<Graph> {
    return graphOf(await this.#list(GRAPH_PREFIX));
  }

  /** The entities that have a text in their name, type or observations, in any case, and their relations. */
  async search(query: string): Promise<Graph> {
    const text = query.toLowerCase();
    const has = (where: string): boolean => where.toLowerCase().includes(text);
    return part(
      await this.read(),
      ({ name, entityType, observations }) =>
        has(name) || has(entityType) || observations.some(has),
    );
  }

  /** The entities with these names, and their relations. */
  async open(names: readonly string[]): Promise<Graph> {
    const wanted = new Set(names);
    const lists = await inTurns([...wanted], async (name) => this.#list(entityPrefix(name)));
    const relations = await this.#list(RELATION_PREFIX);
    return part(graphOf([...lists.flat(), ...relations]), ({ name }) => wanted.has(name));
  }

  async #list(prefix: string): Promise<readonly VisibleFact[]> {
    const { client, document } = this.#options;
    const facts: VisibleFact[] = [];
    let page: readonly VisibleFact[];
    do {
      const after = facts.at(-1)?.key;
      page = await client.list({
        doc: document,
        prefix,
        limit: PAGE,
        ...(after === undefined ? {} : { after }),
      });
      facts.push(...page);
    } while (page.length === PAGE);
    for (const { resolver } of facts) this.#checkResolver(resolver);
    return facts;
  }

  /** Of these keys, those under which there is something. */
  async #have(keys: readonly string[]): Promise<ReadonlySet<string>> {
    const found = await inTurns(keys, async (key) =>
      this.#options.client.get(this.#options.document, key),
    );
    for (const fact of found) if (fact !== undefined) this.#checkResolver(fact.resolver);
    return new Set(keys.filter((_, i) => found[i] !== undefined));
  }

  #checkResolver(resolver: string): void {
    if (RESOLVERS.has(resolver)) return;
    throw new MeshError(
      "POLICY_REFUSED",
      `by the policy of the space keys that start with ${GRAPH_PREFIX} resolve by ${resolver}, and a graph needs latest`,
      { remedy: `add the rule { prefix: ${GRAPH_PREFIX}, resolver: latest } to the policy` },
    );
  }

  /** In the order given, in as few writes as the limits of one allow. */
  async #put(facts: readonly FactInput[]): Promise<void> {
    const { client, document } = this.#options;
    const source = this.#options.source();
    const common = FACT_OVERHEAD + Buffer.byteLength(JSON.stringify(source));
    let group: FactInput[] = [];
    let bytes = 0;
    for (const fact of facts) {
      const size = common + fact.key.length + Buffer.byteLength(JSON.stringify(fact.value));
      if (group.length === LIMITS.factsPerWrite || bytes + size > LIMITS.writeBytes) {
        await client.put(document, group);
        [group, bytes] = [[], 0];
      }
      group.push({ ...fact, source });
      bytes += size;
    }
    if (group.length > 0) await client.put(document, group);
  }

  async #delete(keys: readonly string[]): Promise<void> {
    const { client, document } = this.#options;
    for (let i = 0; i < keys.length; i += LIMITS.factsPerWrite) {
      await client.delete(document, keys.slice(i, i + LIMITS.factsPerWrite));
    }
  }
}

/** An entity is not there; the message is that of the reference memory server. */
export class UnknownEntityError extends Error {
  constructor(name: string) {
    super(`Entity with name ${name} not found`);
    this.name = "UnknownEntityError";
  }
}

/** A graph as a value of JSON. */
export const graphJson = ({
  entities,
  relations,
}: Graph): { readonly [key: string]: JsonValue } => ({
  entities: entities.map((entity) => ({ ...entity })),
  relations: relations.map((relation) => ({ ...relation })),
});
