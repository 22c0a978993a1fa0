// SPDX-License-Identifier: Apache-2.0
/** Random edits, a mesh of documents, and a writer of V1 updates that no editor would make. */
import { RichDocument } from "@ctxmesh/rich";
import type {
  RichInterval,
  RichList,
  RichMap,
  RichRoots,
  RichText,
  RichUpdate,
} from "@ctxmesh/rich";
import { createSeededRandom } from "@ctxmesh/testing";

/** Whole numbers from a seed. */
export class Dice {
  readonly #random: ReturnType<typeof createSeededRandom>;

  constructor(seed: number) {
    this.#random = createSeededRandom(seed);
  }

  /** 0 up to and without `sides`. */
  roll(sides: number): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.#random.bytes(4);
    return Math.floor((((a * 256 + b) * 256 + c + d / 256) / 2 ** 24) * sides);
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.roll(items.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }
}

const WORDS = ["a", "bc", "plan ", "é", "😀", "\n", "0123456789"];
const VALUES = [null, true, -0, 1, 2 ** 40, 0.1, "text", [1, [2]], { a: { b: [] } }, -3, 1e300];

function editText(dice: Dice, on: RichText): void {
  const at = dice.roll(on.length + 1);
  const length = dice.roll(Math.min(6, on.length - at + 1));
  const attributes = { [dice.pick(["bold", "link"])]: dice.pick([true, null, "x", { a: 1 }]) };
  const way = dice.roll(10);
  if (way < 4) on.insert(at, dice.pick(WORDS));
  else if (way < 5) on.insert(at, dice.pick(WORDS), attributes);
  else if (way < 6) on.insertEmbed(at, { image: dice.roll(100) }, attributes);
  else if (way < 8) on.format(at, length, attributes);
  else on.delete(at, length);
}

function editList(dice: Dice, list: RichList, depth: number): void {
  const at = dice.roll(list.length + 1);
  const way = dice.roll(8);
  if (way < 3) list.insert(at, [dice.pick(VALUES), dice.roll(100)].slice(dice.roll(2)));
  else if (way < 4 && depth < 4) list.insertNew(at, dice.pick(["text", "list", "map"] as const));
  else if (way < 6) list.delete(at, dice.roll(Math.min(4, list.length - at + 1)));
  else if (list.length > 0) editEntry(dice, list.get(dice.roll(list.length)), depth);
}

function editMap(dice: Dice, map: RichMap, depth: number): void {
  const key = dice.pick(["a", "b", "c"]);
  const way = dice.roll(8);
  if (way < 3) map.set(key, dice.pick(VALUES));
  else if (way < 4 && depth < 4) map.setNew(key, dice.pick(["text", "list", "map"] as const));
  else if (way < 5) map.delete(key);
  else editEntry(dice, map.get(key), depth);
}

function editEntry(dice: Dice, entry: unknown, depth: number): void {
  if (typeof entry !== "object" || entry === null) return;
  if ("runs" in entry) editText(dice, entry as RichText);
  else if ("setNew" in entry) editMap(dice, entry as RichMap, depth + 1);
  else if ("insertNew" in entry) editList(dice, entry as RichList, depth + 1);
}

/** A few random edits of one transaction. */
export function randomEdit(dice: Dice, roots: RichRoots): void {
  for (let i = dice.roll(4); i >= 0; i--) {
    const root = dice.pick(["one", "two"]);
    const kind = dice.roll(4);
    if (kind < 2) editText(dice, roots.text(root));
    else if (kind < 3) editList(dice, roots.list(root), 1);
    else editMap(dice, roots.map(root), 1);
  }
}

/** What a batch carries, without what its maker knows of it. */
export interface Sent extends RichInterval {
  readonly bytes: Uint8Array;
}

/** Checks, stages and applies. */
export function receive(doc: RichDocument, sent: Sent): RichUpdate {
  const verdict = doc.check(sent.bytes, sent);
  if (verdict.kind !== "ready") throw new Error(JSON.stringify(verdict));
  doc.stage(verdict.update);
  doc.apply(verdict.update);
  return verdict.update;
}

/** Edits and applies at once. */
export function edit(
  doc: RichDocument,
  client: number,
  change: (roots: RichRoots) => void,
): RichUpdate {
  const made = doc.change(client, change);
  if (made === undefined) throw new Error("the edit changed nothing");
  doc.apply(made);
  return made;
}

/** An update and, by its author's index, how many of each author's it builds on. */
interface Published {
  readonly sent: Sent;
  readonly past: readonly number[];
}

/** Replicas that edit at random and get each other's updates late, but in causal order. */
export class Mesh {
  readonly docs: RichDocument[];
  /** Per author. */
  readonly published: Published[][];
  /** Per replica: how many of each author's updates it has. */
  readonly have: number[][];

  constructor(size: number) {
    const indices = Array.from({ length: size }, (_, i) => i);
    this.docs = indices.map(() => new RichDocument());
    this.published = indices.map(() => []);
    this.have = indices.map(() => indices.map(() => 0));
  }

  /** The Yjs client id of a replica, above those that Yjs draws itself; not in the order of the replicas. */
  clientOf(replica: number): number {
    return ((replica * 7) % 11) * 1_000_003 + 2 ** 40;
  }

  /** The next update of `author` for `replica`, when everything before it is there. */
  #next(replica: number, author: number): Published | undefined {
    const have = this.have[replica] ?? [];
    const next = this.published[author]?.[have[author] ?? 0];
    return next?.past.every((count, i) => count <= (have[i] ?? 0)) ? next : undefined;
  }

  /** A local edit at `replica`; the update, unless nothing changed. */
  write(replica: number, dice: Dice): RichUpdate | undefined {
    const doc = this.docs[replica];
    const have = this.have[replica] ?? [];
    const made = doc?.change(this.clientOf(replica), (roots) => randomEdit(dice, roots));
    if (doc === undefined || made === undefined) return undefined;
    doc.apply(made);
    this.published[replica]?.push({ sent: made, past: [...have] });
    have[replica] = (have[replica] ?? 0) + 1;
    return made;
  }

  /** Stops `replica` and starts it from its stored state. */
  restart(replica: number): void {
    const doc = this.docs[replica];
    if (doc !== undefined) this.docs[replica] = RichDocument.fromState(doc.encodeState());
  }

  /** Brings `replica` one update of `author`; which, or undefined when none is ready. */
  deliver(replica: number, author: number): Sent | undefined {
    const doc = this.docs[replica];
    const next = replica === author ? undefined : this.#next(replica, author);
    if (doc === undefined || next === undefined) return undefined;
    receive(doc, next.sent);
    const have = this.have[replica] ?? [];
    have[author] = (have[author] ?? 0) + 1;
    return next.sent;
  }

  /** Brings everything everywhere. */
  settle(deliver = (replica: number, author: number) => this.deliver(replica, author)): void {
    const indices = this.docs.map((_, i) => i);
    let moved = true;
    while (moved) {
      moved = indices.some((replica) =>
        indices.some((author) => deliver(replica, author) !== undefined),
      );
    }
  }
}

/** LEB128, low bits first. */
export function uint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return [...bytes, rest];
}

/** UTF-8 with its length. */
export function text(value: string): number[] {
  const bytes = [...new TextEncoder().encode(value)];
  return [...uint(bytes.length), ...bytes];
}

/** Content of a struct: the type number and the bytes. */
export type Content = readonly [ref: number, ...bytes: number[]];

export const str = (value: string): Content => [4, ...text(value)];
export const any = (...values: readonly (readonly number[])[]): Content => [
  8,
  ...uint(values.length),
  ...values.flat(),
];
/** lib0's `any` for a small integer. */
export const anyInt = (value: number): number[] => [125, value];

type Id = readonly [client: number, clock: number];

/** A struct that names its parent. */
export const first = (parent: string | Id, content: Content, key?: string): number[] => [
  content[0] | (key === undefined ? 0 : 0x20),
  ...(typeof parent === "string" ? [1, ...text(parent)] : [0, ...parent.flatMap(uint)]),
  ...(key === undefined ? [] : text(key)),
  ...content.slice(1),
];

/** A struct between neighbours; `keyed` for a new value of a map's key. */
export const between = (
  origin: Id | undefined,
  rightOrigin: Id | undefined,
  content: Content,
  keyed = false,
): number[] => [
  content[0] | (origin ? 0x80 : 0) | (rightOrigin ? 0x40 : 0) | (keyed ? 0x20 : 0),
  ...(origin ?? []).flatMap(uint),
  ...(rightOrigin ?? []).flatMap(uint),
  ...content.slice(1),
];

/** An update of one client's structs from `from`, and deletions. */
export function update(
  client: number,
  from: number,
  structs: readonly (readonly number[])[],
  deletes: readonly (readonly [client: number, ranges: readonly Id[]])[] = [],
): Uint8Array {
  return Uint8Array.from([
    ...(structs.length === 0
      ? [0]
      : [1, ...uint(structs.length), ...uint(client), ...uint(from), ...structs.flat()]),
    ...uint(deletes.length),
    ...deletes.flatMap(([of, ranges]) => [
      ...uint(of),
      ...uint(ranges.length),
      ...ranges.flatMap(([clock, length]) => [...uint(clock), ...uint(length)]),
    ]),
  ]);
}
