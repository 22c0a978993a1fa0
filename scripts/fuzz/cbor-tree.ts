// SPDX-License-Identifier: Apache-2.0
/** CBOR as a tree that can be changed into anything, also what no encoder writes. */
import { concat, mutateBytes } from "./bytes.ts";
import type { Dice } from "./dice.ts";

/** One item. */
export interface Item {
  major: number;
  /** The number, length or count that its head declares. */
  argument: number;
  /** More bytes for the head's argument than it needs: 1, 2, 4 or 8. */
  width: number;
  /** Of a byte string or text. */
  content: Uint8Array;
  /** Of an array, or keys and values of a map in turn. */
  items: Item[];
  /** Arrays of one item around it. */
  nested: number;
}

const WIDTHS = [1, 2, 4, 8];
const DEPTHS = [1, 63, 64, 65, 20_000];
const NOTHING = new Uint8Array();

/** Reads one item of well-formed CBOR of definite lengths; `at` is where it begins. */
function readItem(bytes: Uint8Array, at: number): { item: Item; end: number } {
  const initial = bytes[at] ?? 0;
  const low = initial & 31;
  const size = low < 24 ? 0 : (WIDTHS[low - 24] ?? 0);
  let argument = low < 24 ? low : 0;
  for (let i = 1; i <= size; i++) argument = argument * 256 + (bytes[at + i] ?? 0);
  const item: Item = {
    major: initial >>> 5,
    argument,
    width: 0,
    content: NOTHING,
    items: [],
    nested: 0,
  };
  let end = at + 1 + size;
  if (item.major === 2 || item.major === 3) {
    item.content = bytes.slice(end, end + argument);
    end += argument;
  }
  const members = item.major === 4 ? argument : item.major === 5 ? 2 * argument : 0;
  for (let i = 0; i < members; i++) {
    const member = readItem(bytes, end);
    item.items.push(member.item);
    end = member.end;
  }
  return { item, end };
}

/** The tree of one well-formed item. */
export const treeOf = (bytes: Uint8Array): Item => readItem(bytes, 0).item;

function headOf({ major, argument, width }: Item): Uint8Array {
  const needed =
    argument < 24 ? 0 : argument < 0x100 ? 1 : argument < 0x1_0000 ? 2 : argument < 2 ** 32 ? 4 : 8;
  const size = Math.max(needed, width);
  const head = new Uint8Array(1 + size);
  head[0] = (major << 5) | (size === 0 ? argument : 24 + WIDTHS.indexOf(size));
  let rest = argument;
  for (let i = size; i >= 1; i--) {
    head[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return head;
}

/** The bytes of a tree. */
export const bytesOf = (item: Item): Uint8Array =>
  concat(
    new Uint8Array(item.nested).fill(0x81),
    headOf(item),
    item.content,
    ...item.items.map(bytesOf),
  );

/** Every item of a tree. */
function all(item: Item, found: Item[] = []): Item[] {
  found.push(item);
  for (const member of item.items) all(member, found);
  return found;
}

const copyOf = (item: Item): Item => ({ ...item, items: item.items.map(copyOf) });

/** The declared count is made right again, most of the time. */
function recount(dice: Dice, item: Item): void {
  if (dice.chance(5)) return;
  if (item.major === 4) item.argument = item.items.length;
  if (item.major === 5) item.argument = Math.floor(item.items.length / 2);
}

function changeMembers(dice: Dice, item: Item, others: readonly Item[]): void {
  const step = item.major === 5 ? 2 : 1;
  const at = step * dice.roll(Math.floor(item.items.length / step) + 1);
  const members = item.items.slice(at, at + step);
  switch (dice.roll(5)) {
    case 0:
      item.items.splice(at, step);
      break;
    case 1:
      item.items.splice(at, 0, ...members.map(copyOf));
      break;
    case 2:
      item.items.push(...item.items.splice(at, step));
      break;
    case 3:
      item.items.splice(at, 0, ...members.map(() => copyOf(dice.pick(others))));
      break;
    default:
      item.items.splice(at + step - 1, 1, copyOf(dice.pick(others)));
  }
  recount(dice, item);
}

function changeItem(dice: Dice, item: Item, others: readonly Item[]): void {
  const way = dice.roll(10);
  if (way === 0) Object.assign(item, copyOf(dice.pick(others)));
  else if (way === 1) item.major = dice.roll(8);
  else if (way === 2) item.width = dice.pick(WIDTHS);
  else if (way === 3) item.nested = dice.pick(DEPTHS);
  else if (item.major === 4 || item.major === 5) changeMembers(dice, item, others);
  else if (item.major === 2 || item.major === 3) {
    item.content = mutateBytes(dice, item.content, dice.pick(others).content);
    item.argument = dice.chance(5) ? dice.number(item.argument) : item.content.length;
  } else item.argument = dice.number(item.argument);
}

/** Changes one to three items of a tree. */
export function mutateTree(dice: Dice, tree: Item): Item {
  const mutated = copyOf(tree);
  for (let times = 1 + dice.roll(3); times > 0; times--) {
    const items = all(mutated);
    changeItem(dice, dice.pick(items), items);
  }
  return mutated;
}
