// SPDX-License-Identifier: Apache-2.0
/** Which items a search wants, and which namespaces a listing: the rules of LangGraph's own stores, which the library does not export. */
import type { ListNamespacesOperation } from "@langchain/langgraph";

/** A condition on the path of a namespace. */
type MatchCondition = NonNullable<ListNamespacesOperation["matchConditions"]>[number];

const OPERATORS: Readonly<Record<string, (value: unknown, wanted: unknown) => boolean>> = {
  $eq: (value, wanted) => value === wanted,
  $ne: (value, wanted) => value !== wanted,
  $gt: (value, wanted) => Number(value) > Number(wanted),
  $gte: (value, wanted) => Number(value) >= Number(wanted),
  $lt: (value, wanted) => Number(value) < Number(wanted),
  $lte: (value, wanted) => Number(value) <= Number(wanted),
  $in: (value, wanted) => Array.isArray(wanted) && wanted.includes(value),
  $nin: (value, wanted) => !Array.isArray(wanted) || !wanted.includes(value),
};

const isOperators = (wanted: unknown): wanted is Readonly<Record<string, unknown>> =>
  typeof wanted === "object" &&
  wanted !== null &&
  Object.keys(wanted).every((name) => Object.hasOwn(OPERATORS, name));

/** Whether a value passes what a filter says of its field. */
function passes(value: unknown, wanted: unknown): boolean {
  if (!isOperators(wanted)) return value === wanted;
  return Object.entries(wanted).every(
    ([name, operand]) => OPERATORS[name]?.(value, operand) === true,
  );
}

/** Whether an item's value passes a filter, field by field. */
export const isWanted = (
  value: Readonly<Record<string, unknown>>,
  filter: Readonly<Record<string, unknown>> = {},
): boolean => Object.entries(filter).every(([field, wanted]) => passes(value[field], wanted));

/** Whether a namespace begins or ends as a condition says; `*` is any label. */
function matches({ matchType, path }: MatchCondition, namespace: readonly string[]): boolean {
  if (path.length > namespace.length) return false;
  const from = matchType === "prefix" ? 0 : namespace.length - path.length;
  return path.every((label, i) => label === "*" || label === namespace[from + i]);
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The namespaces that a listing wants, each once, in order. */
export function listed(
  namespaces: Iterable<readonly string[]>,
  {
    matchConditions = [],
    maxDepth,
    limit = Infinity,
    offset = 0,
  }: Partial<ListNamespacesOperation>,
): string[][] {
  const found = new Map<string, readonly string[]>();
  for (const namespace of namespaces) {
    if (!matchConditions.every((condition) => matches(condition, namespace))) continue;
    const cut = namespace.slice(0, maxDepth);
    found.set(JSON.stringify(cut), cut);
  }
  return [...found.values()]
    .toSorted((a, b) => compare(a.join(":"), b.join(":")))
    .slice(offset, offset + limit)
    .map((namespace) => [...namespace]);
}
