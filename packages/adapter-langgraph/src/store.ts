// SPDX-License-Identifier: Apache-2.0
/** LangGraph's `BaseStore` on a document of a mesh: what an agent remembers is there on every node that has the document. */
import { BaseStore } from "@langchain/langgraph";
import type {
  GetOperation,
  Item,
  ListNamespacesOperation,
  Operation,
  OperationResults,
  PutOperation,
  SearchOperation,
} from "@langchain/langgraph";
import { LIMITS, MeshError, hlcToMs } from "@ctxmesh/model";
import type { FactInput, FactSource, JsonValue, VisibleFact } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";
import { isWanted, listed } from "./filter.ts";
import { factKeyOf, itemNameOf, prefixOf } from "./keys.ts";

/** Where a store keeps its items. */
export interface StoreOptions {
  /** A client of a node, or a replica in a page. */
  readonly client: Pick<ContextClient, "get" | "put" | "list" | "delete">;
  /** The document, `langgraph` by default. It holds what a document does: 4 MiB, deletes included. */
  readonly doc?: string;
  /** Named as the source of what is put. */
  readonly source?: FactSource;
}

/** Facts that a node lists at once. */
const PAGE = 10_000;
const SEARCH_LIMIT = 10;
/** Most bytes that a fact takes in a write besides what it holds as JSON. */
const FACT_OVERHEAD = 64;
const utf8 = new TextEncoder();
/** When an item was first put, which LangGraph wants to know: Unix milliseconds after this, as a tag. */
const CREATED = "created:";

const isObject = (value: JsonValue): value is { readonly [member: string]: JsonValue } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const createdOf = (fact: VisibleFact | undefined): number | undefined => {
  const tag = fact?.tags?.find((text) => text.startsWith(CREATED));
  const ms = tag === undefined ? Number.NaN : Number(tag.slice(CREATED.length));
  return Number.isSafeInteger(ms) ? ms : undefined;
};

/** An item of a fact; undefined for a fact that is none: whose key was not made by a store, or whose value is no object. */
function itemOf(fact: VisibleFact): Item | undefined {
  const name = itemNameOf(fact.key);
  if (name === undefined || !isObject(fact.value)) return undefined;
  const updatedMs = hlcToMs(fact.hlc);
  return {
    value: fact.value,
    key: name.key,
    namespace: [...name.namespace],
    createdAt: new Date(createdOf(fact) ?? updatedMs),
    updatedAt: new Date(updatedMs),
  };
}

/** Facts in as few units as the limits of a write allow. */
function* unitsOf(facts: readonly FactInput[]): Generator<readonly FactInput[]> {
  let [unit, bytes]: [FactInput[], number] = [[], 0];
  for (const fact of facts) {
    const size = FACT_OVERHEAD + utf8.encode(JSON.stringify(fact)).length;
    if (unit.length === LIMITS.factsPerWrite || bytes + size > LIMITS.writeBytes) {
      if (unit.length > 0) yield unit;
      [unit, bytes] = [[], 0];
    }
    unit.push(fact);
    bytes += size;
  }
  if (unit.length > 0) yield unit;
}

/** What an operation asks for; what the library's types leave open is told by its members. */
const isPut = (operation: Operation): operation is PutOperation => "value" in operation;
const isSearch = (operation: Operation): operation is SearchOperation =>
  "namespacePrefix" in operation;
const isGet = (operation: Operation): operation is GetOperation => "key" in operation;

/** The key that an item is put under. Throws `INPUT_INVALID` without a namespace: the library sees to that in `put`, and not in `batch`. */
function itemKeyOf(name: PutOperation): string {
  if (name.namespace.length > 0) return factKeyOf(name);
  throw new MeshError("INPUT_INVALID", "an item needs a namespace", { field: "namespace" });
}

/**
 * A store whose items are facts of one document. Reads of a batch see what was there before its writes; what one batch puts is written as one
 * unit, up to `LIMITS.factsPerWrite` items and `LIMITS.writeBytes` bytes, past which it is several, and deletes after it. There is no index of meanings: `query` is not looked at, as in a store of
 * LangGraph without one. Errors are those of the client.
 */
export class CtxmeshStore extends BaseStore {
  readonly #client: StoreOptions["client"];
  readonly #doc: string;
  readonly #source: FactSource | undefined;

  constructor({ client, doc = "langgraph", source }: StoreOptions) {
    super();
    this.#client = client;
    this.#doc = doc;
    this.#source = source;
  }

  /** Carries out operations; the results are in their order. */
  async batch<Op extends Operation[]>(operations: Op): Promise<OperationResults<Op>> {
    const puts = new Map(
      operations.filter(isPut).map((operation) => [itemKeyOf(operation), operation]),
    );
    const results = await Promise.all(
      operations.map(async (operation) => {
        if (isPut(operation)) return undefined;
        if (isSearch(operation)) return this.#search(operation);
        return isGet(operation) ? this.#get(operation) : this.#namespaces(operation);
      }),
    );
    await this.#write(puts);
    return results as OperationResults<Op>;
  }

  async #get(name: GetOperation): Promise<Item | null> {
    const fact = await this.#client.get(this.#doc, factKeyOf(name));
    return (fact === undefined ? undefined : itemOf(fact)) ?? null;
  }

  async #search({
    namespacePrefix,
    filter,
    limit = SEARCH_LIMIT,
    offset = 0,
  }: SearchOperation): Promise<Item[]> {
    const items = await this.#items(prefixOf(namespacePrefix));
    return items.filter(({ value }) => isWanted(value, filter)).slice(offset, offset + limit);
  }

  async #namespaces(operation: ListNamespacesOperation): Promise<string[][]> {
    const items = await this.#items("");
    return listed(
      items.map(({ namespace }) => namespace),
      operation,
    );
  }

  /** All items below a prefix, in the order of their keys. */
  async #items(prefix: string): Promise<Item[]> {
    const items: Item[] = [];
    let after: string | undefined;
    for (;;) {
      const query = { doc: this.#doc, prefix, limit: PAGE };
      const page = await this.#client.list(after === undefined ? query : { ...query, after });
      for (const fact of page) {
        const item = itemOf(fact);
        if (item !== undefined) items.push(item);
      }
      if (page.length < PAGE) return items;
      after = page.at(-1)?.key;
    }
  }

  async #write(puts: ReadonlyMap<string, PutOperation>): Promise<void> {
    const facts: FactInput[] = [];
    const deleted: string[] = [];
    await Promise.all(
      [...puts].map(async ([key, { value }]) => {
        if (value === null) deleted.push(key);
        else facts.push(await this.#factOf(key, value));
      }),
    );
    // The library may have put together what several callers put.
    for (const unit of unitsOf(facts)) await this.#client.put(this.#doc, unit);
    for (let at = 0; at < deleted.length; at += LIMITS.factsPerWrite) {
      await this.#client.delete(this.#doc, deleted.slice(at, at + LIMITS.factsPerWrite));
    }
  }

  async #factOf(key: string, value: Readonly<Record<string, unknown>>): Promise<FactInput> {
    // Its members are `any` to the library: what JSON leaves out or changes would not come back.
    const json = JSON.parse(JSON.stringify(value)) as JsonValue;
    if (!isObject(json)) {
      throw new MeshError("INPUT_INVALID", "an item's value must be an object", { field: "value" });
    }
    const before = await this.#client.get(this.#doc, key);
    const created = createdOf(before) ?? (before === undefined ? Date.now() : hlcToMs(before.hlc));
    return {
      key,
      value: json,
      tags: [`${CREATED}${String(created)}`],
      ...(this.#source === undefined ? {} : { source: this.#source }),
    };
  }
}
