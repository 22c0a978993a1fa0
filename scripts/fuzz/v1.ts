// SPDX-License-Identifier: Apache-2.0
/** Yjs V1 updates as structs that can be changed and put together again. */
import { any, str, text, uint } from "../../packages/rich/test/support.ts";
import { mutateBytes } from "./bytes.ts";
import type { Dice } from "./dice.ts";

/** The name of a clock. */
export type Id = readonly [client: number, clock: number];

/** One struct of an update. */
export interface Struct {
  readonly origin?: Id | undefined;
  readonly right?: Id | undefined;
  readonly parent?: string | Id | undefined;
  readonly keyed: boolean;
  readonly key?: string | undefined;
  /** The type number, and what follows it. */
  readonly ref: number;
  readonly content: readonly number[];
  /** Clocks that it takes. */
  readonly length: number;
}

/** One client's update. */
export interface Update {
  readonly client: number;
  readonly from: number;
  readonly structs: readonly Struct[];
  readonly deletes: readonly (readonly [client: number, ranges: readonly Id[]])[];
}

/** Reads what an honest replica wrote; throws `RangeError` at what ends early. */
class Reader {
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  u8(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new RangeError("the update ends early");
    return byte;
  }

  uint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  text(): string {
    const length = this.uint();
    this.at += length;
    return new TextDecoder().decode(this.#bytes.subarray(this.at - length, this.at));
  }

  id(): Id {
    return [this.uint(), this.uint()];
  }

  skipAny(): void {
    switch (this.u8()) {
      case 125: {
        while (this.u8() >= 128);
        return;
      }
      case 124:
        this.at += 4;
        return;
      case 123:
        this.at += 8;
        return;
      case 119:
        this.text();
        return;
      case 118: {
        for (let count = this.uint(); count > 0; count--) {
          this.text();
          this.skipAny();
        }
        return;
      }
      case 117:
        for (let count = this.uint(); count > 0; count--) this.skipAny();
    }
  }

  /** What `read` goes over. */
  raw(read: () => number): { content: number[]; length: number } {
    const start = this.at;
    const length = read();
    return { content: [...this.#bytes.subarray(start, this.at)], length };
  }
}

function readContent(reader: Reader, ref: number): { content: number[]; length: number } {
  return reader.raw(() => {
    switch (ref) {
      case 1:
        return reader.uint();
      case 4:
        return reader.text().length;
      case 5:
        reader.text();
        return 1;
      case 6:
        reader.text();
        reader.text();
        return 1;
      case 7:
        // Elements and hooks have names.
        if ([3, 5].includes(reader.uint())) reader.text();
        return 1;
      default: {
        const count = reader.uint();
        for (let i = 0; i < count; i++) reader.skipAny();
        return count;
      }
    }
  });
}

/** The structs of a well-formed update; undefined for bytes that end early. */
export function readUpdate(bytes: Uint8Array): Update | undefined {
  try {
    return readAll(bytes);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function readAll(bytes: Uint8Array): Update {
  const reader = new Reader(bytes);
  const structs: Struct[] = [];
  let [client, from] = [0, 0];
  if (reader.uint() === 1) {
    const count = reader.uint();
    client = reader.uint();
    from = reader.uint();
    for (let i = 0; i < count; i++) {
      const info = reader.u8();
      const origin = (info & 0x80) === 0 ? undefined : reader.id();
      const right = (info & 0x40) === 0 ? undefined : reader.id();
      const placed = origin !== undefined || right !== undefined;
      const parent = placed ? undefined : reader.uint() === 1 ? reader.text() : reader.id();
      const keyed = (info & 0x20) !== 0;
      const key = keyed && !placed ? reader.text() : undefined;
      const ref = info & 31;
      structs.push({ origin, right, parent, keyed, key, ref, ...readContent(reader, ref) });
    }
  }
  const deletes: (readonly [number, readonly Id[]])[] = [];
  for (let clients = reader.uint(); clients > 0; clients--) {
    const of = reader.uint();
    const ranges: Id[] = [];
    for (let count = reader.uint(); count > 0; count--) ranges.push(reader.id());
    deletes.push([of, ranges]);
  }
  return { client, from, structs, deletes };
}

function structBytes({ origin, right, parent, keyed, key, ref, content }: Struct): number[] {
  const placed = origin !== undefined || right !== undefined;
  const where =
    typeof parent === "string" ? [1, ...text(parent)] : [0, ...(parent ?? [0, 0]).flatMap(uint)];
  return [
    (ref & 31) | (origin ? 0x80 : 0) | (right ? 0x40 : 0) | (keyed ? 0x20 : 0),
    ...(origin ?? []).flatMap(uint),
    ...(right ?? []).flatMap(uint),
    ...(placed ? [] : where),
    ...(placed || !keyed ? [] : text(key ?? "k")),
    ...content,
  ];
}

/** The bytes of an update. */
export const writeUpdate = ({ client, from, structs, deletes }: Update): Uint8Array =>
  Uint8Array.from([
    ...(structs.length === 0
      ? [0]
      : [
          1,
          ...uint(structs.length),
          ...uint(client),
          ...uint(from),
          ...structs.flatMap(structBytes),
        ]),
    ...uint(deletes.length),
    ...deletes.flatMap(([of, ranges]) => [
      ...uint(of),
      ...uint(ranges.length),
      ...ranges.flatMap((range) => range.flatMap(uint)),
    ]),
  ]);

/** Clocks that an update takes. */
export const clocksOf = ({ structs }: Update): number =>
  structs.reduce((sum, { length }) => sum + length, 0);

const ROOTS = [
  "text:one",
  "text:two",
  "list:one",
  "list:two",
  "map:one",
  "map:two",
  "xml:one",
  "xml:two",
  "map:__proto__",
  "one",
];
const KEYS = ["a", "b", "c", "__proto__", "constructor", ""];
const JSONS = ['{"a":1}', "true", "null", '{"__proto__":1}', "[", '{"a": 1}', '"x"'];
const VALUES: readonly number[][] = [
  [126],
  [120],
  [125, 5],
  [119, 1, 97],
  [118, 1, 1, 97, 126],
  [117, 1, 121],
  [127],
  [116, 1, 1],
];

/** A shared type by its number; elements (3) and hooks (5) with a name. */
function anyType(dice: Dice): number[] {
  const type = dice.pick([0, 1, 2, 3, 3, 4, 5, 6, 6, 7]);
  const name = dice.chance(80) ? dice.pick(["p", "heading"]) : dice.pick(KEYS);
  return [...uint(type), ...([3, 5].includes(type) ? text(name) : [])];
}

/** Content of any kind, most of it well-formed. */
function anyContent(dice: Dice): Pick<Struct, "ref" | "content" | "length"> {
  const way = dice.roll(8);
  if (way === 0) {
    const length = dice.number(3);
    return { ref: 1, content: uint(length), length };
  }
  if (way < 3) {
    const word = dice.pick(["x", "yz", "é😀", "", "\n"]);
    return { ref: 4, content: str(word).slice(1), length: word.length };
  }
  if (way === 3) return { ref: 5, content: text(dice.pick(JSONS)), length: 1 };
  if (way === 4)
    return {
      ref: 6,
      content: [...text(dice.pick(["bold", ...KEYS])), ...text(dice.pick(JSONS))],
      length: 1,
    };
  if (way === 5) return { ref: 7, content: anyType(dice), length: 1 };
  if (way === 6) return { ref: dice.roll(12), content: [...dice.bytes(dice.roll(6))], length: 1 };
  const values = Array.from({ length: 1 + dice.roll(2) }, () => dice.pick(VALUES));
  return { ref: 8, content: any(...values).slice(1), length: values.length };
}

/** A struct somewhere: beside known ids, at the start of a root, or where nothing can be. */
export function anyStruct(dice: Dice, ids: readonly Id[]): Struct {
  const id = (): Id | undefined => (dice.chance(60) && ids.length > 0 ? dice.pick(ids) : undefined);
  const parent = dice.chance(70) || ids.length === 0 ? dice.pick(ROOTS) : dice.pick(ids);
  const keyed = typeof parent === "string" ? parent.startsWith("map:") : dice.chance(50);
  return {
    origin: id(),
    right: id(),
    parent,
    keyed: dice.chance(90) ? keyed : !keyed,
    key: dice.pick(KEYS),
    ...anyContent(dice),
  };
}

function mutateStruct(dice: Dice, struct: Struct, ids: readonly Id[]): Struct {
  const id = (): Id | undefined => (ids.length > 0 && dice.chance(80) ? dice.pick(ids) : undefined);
  switch (dice.roll(9)) {
    case 0:
      return { ...struct, origin: id() };
    case 1:
      return { ...struct, right: id() };
    case 2:
      return { ...struct, origin: struct.right, right: struct.origin };
    case 3:
      return {
        ...struct,
        origin: undefined,
        right: undefined,
        parent: dice.chance(50) ? dice.pick(ROOTS) : id(),
      };
    case 4:
      return { ...struct, keyed: !struct.keyed };
    case 5:
      return { ...struct, key: dice.pick(KEYS) };
    case 6:
      return {
        ...struct,
        content: [...mutateBytes(dice, Uint8Array.from(struct.content), dice.bytes(4))],
      };
    case 7:
      return { ...struct, length: struct.length + dice.roll(3) - 1 };
    default:
      return { ...struct, ...anyContent(dice) };
  }
}

function mutateDeletes(dice: Dice, update: Update, ids: readonly Id[]): Update {
  const [client, clock] = ids.length === 0 ? [1, 0] : dice.pick(ids);
  const range: Id = [
    dice.chance(80) ? clock : dice.number(clock),
    dice.chance(80) ? 1 + dice.roll(3) : dice.number(1),
  ];
  const way = dice.roll(3);
  if (way === 0) return { ...update, deletes: update.deletes.slice(1) };
  const added = [client, [range]] as const;
  return { ...update, deletes: way === 1 ? [added] : [...update.deletes, added] };
}

/** Changes an update here and there; `ids` are clocks that somebody wrote. */
export function mutateUpdate(dice: Dice, update: Update, ids: readonly Id[]): Update {
  let mutated = update;
  const own = update.structs.map((_, i): Id => [update.client, update.from + i]);
  const known = [...ids, ...own];
  for (let times = 1 + dice.roll(3); times > 0; times--) {
    const { structs } = mutated;
    const at = dice.roll(structs.length);
    const struct = structs[at] ?? anyStruct(dice, known);
    const changed = (next: readonly Struct[]): Update => ({ ...mutated, structs: next });
    const way = dice.roll(10);
    if (way < 4 && structs.length > 0) {
      mutated = changed(structs.with(at, mutateStruct(dice, struct, known)));
    } else if (way === 4) mutated = changed(structs.toSpliced(at, 1));
    else if (way === 5) mutated = changed(structs.toSpliced(at, 0, struct));
    else if (way === 6) mutated = changed([...structs, anyStruct(dice, known)]);
    else if (way === 7) mutated = mutateDeletes(dice, mutated, known);
    else if (way === 8)
      mutated = {
        ...mutated,
        client: dice.chance(50) ? update.client : dice.number(update.client),
      };
    else mutated = { ...mutated, from: dice.chance(50) ? update.from : dice.number(update.from) };
  }
  return mutated;
}
