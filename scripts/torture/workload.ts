// SPDX-License-Identifier: Apache-2.0
/**
 * What the writers of the torture write: two streams of operations, each decided by the seed and its number, so
 * that whoever knows a number knows the whole content up to it. A read of the store must show exactly what the first so
 * many operations of each stream leave, with every fact of an operation or none.
 */
import { createHash } from "node:crypto";
import type { JsonValue } from "@ctxmesh/model";

/** `own`: local writes; `other`: batches received from another device. */
export const STREAMS = ["own", "other"] as const;
/** One of {@link STREAMS}. */
export type Stream = (typeof STREAMS)[number];

/** One call: a put of all facts of a group, or a delete of them. */
export interface Operation {
  readonly doc: string;
  readonly group: string;
  readonly keys: readonly string[];
  readonly deletes: boolean;
}

/** A fact as it is read back. */
export interface ReadFact {
  readonly doc: string;
  readonly key: string;
  readonly value: JsonValue;
}

const GROUPS = 24;
const DOCS = 3;
const PARTS = ["a", "b", "c"];
const DELETES_EVERY = 13;

/** Operation number `id`, from 1, of a stream. */
export function operationAt(stream: Stream, id: number): Operation {
  const doc = `torture/${stream}-${String(id % DOCS)}`;
  const group = `group-${String((id * 7) % GROUPS)}`;
  const keys = PARTS.map((part) => `${group}/${part}`);
  return { doc, group, keys, deletes: id % DELETES_EVERY === 0 };
}

/** Text that does not compress, decided by what it belongs to. */
const textOf = (seed: number, stream: Stream, id: number, key: string, length: number): string =>
  createHash("shake256", { outputLength: Math.ceil((length * 3) / 4) })
    .update(`${String(seed)} ${stream} ${String(id)} ${key}`)
    .digest("base64")
    .slice(0, length);

/** The value that an operation gives a key, with `length` characters of text. */
export const valueOf = (
  seed: number,
  stream: Stream,
  id: number,
  key: string,
  length: number,
): JsonValue => ({ id, text: textOf(seed, stream, id, key, length) });

/** What was found of a stream. */
export interface Found {
  /** The content is that after this many operations. */
  readonly last: number;
  /** Why it is not. */
  readonly problem?: string;
}

interface ReadGroup {
  readonly ids: number[];
}

/** The operation that each group shows, by document and group. */
function readGroups(
  facts: readonly ReadFact[],
  seed: number,
  stream: Stream,
): Map<string, ReadGroup> | string {
  const groups = new Map<string, ReadGroup>();
  for (const { doc, key, value } of facts) {
    if (!doc.startsWith(`torture/${stream}-`)) continue;
    const { id, text } = value as { readonly id: number; readonly text: string };
    if (text !== textOf(seed, stream, id, key, text.length)) {
      return `${doc} ${key} has another value than operation ${String(id)} gave it`;
    }
    const name = `${doc} ${key.slice(0, key.lastIndexOf("/"))}`;
    const group = groups.get(name) ?? { ids: [] };
    groups.set(name, group);
    group.ids.push(id);
  }
  return groups;
}

/** The operation that each group must show after the first `last`. */
function groupsAfter(stream: Stream, last: number): Map<string, number> {
  const groups = new Map<string, number>();
  for (let id = 1; id <= last; id++) {
    const { doc, group, deletes } = operationAt(stream, id);
    if (deletes) groups.delete(`${doc} ${group}`);
    else groups.set(`${doc} ${group}`, id);
  }
  return groups;
}

function differenceOf(
  read: ReadonlyMap<string, ReadGroup>,
  expected: ReadonlyMap<string, number>,
): string | undefined {
  for (const name of new Set([...read.keys(), ...expected.keys()])) {
    const [shown, id] = [read.get(name)?.ids ?? [], expected.get(name)];
    if (
      id === undefined
        ? shown.length > 0
        : shown.some((other) => other !== id) || shown.length === 0
    ) {
      return `${name} shows ${shown.join(" ") || "nothing"}, not ${String(id ?? "nothing")}`;
    }
  }
  return undefined;
}

/** How many operations of a stream the facts show. A group that is shown in part is torn; one that is older than another is lost. */
export function findLast(facts: readonly ReadFact[], seed: number, stream: Stream): Found {
  const read = readGroups(facts, seed, stream);
  if (typeof read === "string") return { last: 0, problem: read };
  for (const [name, { ids }] of read) {
    if (ids.length !== PARTS.length || new Set(ids).size !== 1) {
      return { last: 0, problem: `torn: ${name} shows ${ids.join(" ")}` };
    }
  }
  const newest = Math.max(0, ...[...read.values()].flatMap(({ ids }) => ids));
  let problem = differenceOf(read, groupsAfter(stream, newest));
  let last = problem === undefined ? newest : -1;
  // A delete leaves nothing to be seen by itself.
  for (let id = newest + 1; operationAt(stream, id).deletes; id++) {
    if (differenceOf(read, groupsAfter(stream, id)) === undefined) last = id;
  }
  if (last >= 0) problem = undefined;
  return problem === undefined
    ? { last }
    : { last: newest, problem: `after operation ${String(newest)} ${problem}` };
}
