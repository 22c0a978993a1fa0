// SPDX-License-Identifier: Apache-2.0
/**
 * The structure of a module (WebAssembly Core Specification 1.0, section 5.5): what each section may hold here. Types of operands are for the
 * engine to check, which is asked before anything is rewritten; what is read here is what engines could differ in, and what bounds the rest.
 */
import { LIMITS } from "@ctxmesh/model";
import { OP } from "./instructions.ts";
import { Reader, refuse } from "./reader.ts";

/** How many arguments and results a function has. */
export interface FunctionType {
  readonly params: number;
  readonly results: number;
  /** Whether all of them are i32. */
  readonly isI32: boolean;
}

/** A global of the module. */
export interface Global {
  readonly type: number;
  readonly isMutable: boolean;
  /** The instruction that makes its first value. */
  readonly init: Uint8Array;
}

/** A function's code: locals and instructions. */
export interface Body {
  /** Of the function. */
  readonly type: FunctionType;
  readonly from: number;
  readonly to: number;
}

/** Bytes of the memory before the first call. */
export interface Segment {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** A module, as far as the rewriting has to know it. Sections that stay as they are, are bytes. */
export interface ParsedModule {
  readonly bytes: Uint8Array;
  readonly types: readonly FunctionType[];
  readonly sections: ReadonlyMap<number, Uint8Array>;
  /** Type of each function, by number. */
  readonly functions: readonly number[];
  readonly globals: readonly Global[];
  readonly initialPages: number;
  /** At most `LIMITS.moduleMemoryPages`. */
  readonly maximalPages: number;
  readonly exports: ReadonlyMap<string, { readonly kind: number; readonly index: number }>;
  /** What runs before anything else, and so at the beginning of every call. */
  readonly start: number | undefined;
  /** The functions that a call through the table may reach. */
  readonly tableFunctions: readonly number[];
  readonly bodies: readonly Body[];
  readonly data: readonly Segment[];
}

/** Numbers of sections. */
export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
} as const;

/** Bytes of a page of memory. */
export const PAGE_BYTES = 65_536;

const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const MOST_FUNCTIONS = 1_024;
const MOST_PARAMS = 64;
const MOST_GLOBALS = 256;
const MOST_TABLE = 1_024;
const MOST_SEGMENTS = 1_024;
const F64 = 0x7c;
const I32 = 0x7f;

/** Whether a byte is one of the four types of numbers. */
export const isNumberType = (byte: number): boolean => byte >= F64 && byte <= I32;

function numberType(read: Reader): number {
  const type = read.byte();
  if (!isNumberType(type)) refuse(read.at - 1, "a type is not i32, i64, f32 or f64");
  return type;
}

/** Gathers what the sections say. */
class Parser {
  readonly #bytes: Uint8Array;
  readonly sections = new Map<number, Uint8Array>();
  types: FunctionType[] = [];
  functions: number[] = [];
  globals: Global[] = [];
  initialPages = 0;
  maximalPages = 0;
  hasMemory = false;
  tableSize = 0;
  readonly exports = new Map<string, { kind: number; index: number }>();
  start: number | undefined;
  readonly tableFunctions: number[] = [];
  bodies: Body[] = [];
  readonly data: Segment[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  run(): void {
    const read = new Reader(this.#bytes);
    if (HEADER.some((byte, i) => this.#bytes[i] !== byte)) {
      refuse(0, "it does not begin as a WebAssembly module of version 1");
    }
    read.at = HEADER.length;
    let last: number = SECTION.custom;
    while (!read.isDone) {
      const from = read.at;
      const id = read.byte();
      const length = read.u32();
      const content = read.take(length);
      const part = new Reader(this.#bytes, read.at - length, read.at);
      if (id === SECTION.custom) {
        void part.name();
        continue;
      }
      // The count of data segments comes before the code.
      const order = id === SECTION.dataCount ? SECTION.element + 0.5 : id;
      if (order <= last) refuse(from, `section ${String(id)} is out of order`);
      last = order;
      this.sections.set(id, content);
      this.#section(id, part);
      if (!part.isDone) refuse(part.at, `section ${String(id)} has more than its parts`);
    }
    if (!this.hasMemory) refuse(read.at, "it has no memory");
    if (this.bodies.length !== this.functions.length) {
      refuse(read.at, "it has not as many bodies as functions");
    }
  }

  #section(id: number, read: Reader): void {
    switch (id) {
      case SECTION.type:
        this.types = this.#all(read, MOST_FUNCTIONS, "types", () => functionType(read));
        break;
      case SECTION.import:
        if (read.u32() > 0) refuse(read.at - 1, "it imports something", "link without imports");
        break;
      case SECTION.function:
        this.functions = this.#all(read, MOST_FUNCTIONS, "functions", () => this.#typeIndex(read));
        break;
      case SECTION.table:
        this.#all(read, 1, "tables", () => this.#table(read));
        break;
      case SECTION.memory:
        this.#all(read, 1, "memories", () => this.#memory(read));
        break;
      case SECTION.global:
        this.globals = this.#all(read, MOST_GLOBALS, "globals", () => global(read));
        break;
      case SECTION.export:
        this.#all(read, MOST_FUNCTIONS, "exports", () => this.#export(read));
        break;
      case SECTION.start:
        this.#start(read);
        break;
      case SECTION.element:
        this.#all(read, MOST_SEGMENTS, "element segments", () => this.#element(read));
        break;
      case SECTION.code:
        this.bodies = this.#all(read, MOST_FUNCTIONS, "bodies", (i) => this.#body(read, i));
        break;
      case SECTION.data:
        this.#all(read, MOST_SEGMENTS, "data segments", () => this.#data(read));
        break;
      case SECTION.dataCount:
        read.u32();
        break;
      default:
        refuse(read.at, `section ${String(id)} is none of WebAssembly 1.0`);
    }
  }

  #all<T>(read: Reader, most: number, what: string, each: (i: number) => T): T[] {
    const count = read.count(most, what);
    const all: T[] = [];
    for (let i = 0; i < count; i++) all.push(each(i));
    return all;
  }

  #typeIndex(read: Reader): number {
    const index = read.u32();
    if (index >= this.types.length) refuse(read.at, "a function has a type that is not there");
    return index;
  }

  #table(read: Reader): void {
    if (read.byte() !== 0x70) refuse(read.at - 1, "a table is not one of functions");
    const flags = read.byte();
    if (flags > 1) refuse(read.at - 1, "a table has unknown flags");
    this.tableSize = read.u32();
    if (this.tableSize > MOST_TABLE) {
      refuse(
        read.at,
        `its table has ${String(this.tableSize)} places, the limit is ${String(MOST_TABLE)}`,
      );
    }
    if (flags === 1) read.u32();
  }

  #memory(read: Reader): void {
    const flags = read.byte();
    if (flags > 1) refuse(read.at - 1, "its memory is shared, or has unknown flags");
    const most = LIMITS.moduleMemoryPages;
    this.initialPages = read.u32();
    if (this.initialPages > most) {
      refuse(
        read.at,
        `its memory has ${String(this.initialPages)} pages, the limit is ${String(most)}`,
        "give the linker a smaller stack, such as -z stack-size=16384",
      );
    }
    this.maximalPages = flags === 1 ? Math.min(most, read.u32()) : most;
    this.hasMemory = true;
  }

  #export(read: Reader): void {
    const name = read.name();
    const kind = read.byte();
    this.exports.set(name, { kind, index: read.u32() });
  }

  #start(read: Reader): void {
    this.start = read.u32();
    const { params, results } = this.types[this.functions[this.start] ?? -1] ?? {};
    if (params !== 0 || results !== 0) refuse(read.at, "its start is no function without operands");
  }

  #element(read: Reader): void {
    if (read.u32() !== 0) refuse(read.at - 1, "an element segment is not a plain one of table 0");
    const offset = offsetOf(read);
    const functions = this.#all(read, MOST_TABLE, "elements", () => read.u32());
    if (offset + functions.length > this.tableSize) refuse(read.at, "elements exceed the table");
    for (const index of functions) {
      if (index >= this.functions.length) refuse(read.at, "the table has a function that is none");
      this.tableFunctions.push(index);
    }
  }

  #body(read: Reader, index: number): Body {
    const length = read.u32();
    const from = read.at;
    read.take(length);
    const type = this.types[this.functions[index] ?? -1];
    if (type === undefined) refuse(from, "it has more bodies than functions");
    return { type, from, to: read.at };
  }

  #data(read: Reader): void {
    if (read.u32() !== 0) {
      refuse(read.at - 1, "a data segment is passive, or of another memory", "leave out bulk data");
    }
    const offset = offsetOf(read);
    const bytes = read.take(read.u32());
    if (offset + bytes.length > this.initialPages * PAGE_BYTES) {
      refuse(read.at, "data exceeds the memory");
    }
    this.data.push({ offset, bytes });
  }
}

function functionType(read: Reader): FunctionType {
  if (read.byte() !== 0x60) refuse(read.at - 1, "a type is not one of functions");
  const params = read.count(MOST_PARAMS, "parameters");
  const types = Array.from({ length: params }, () => numberType(read));
  const results = read.count(1, "results");
  for (let i = 0; i < results; i++) types.push(numberType(read));
  return { params, results, isI32: types.every((type) => type === I32) };
}

function global(read: Reader): Global {
  const type = numberType(read);
  const mutability = read.byte();
  if (mutability > 1) refuse(read.at - 1, "a global has unknown flags");
  return { type, isMutable: mutability === 1, init: constant(read) };
}

/** An instruction with a constant, and the end behind it, which is left out. */
function constant(read: Reader): Uint8Array {
  const from = read.at;
  const opcode = read.byte();
  if (opcode === OP.i32Const) read.signed(32);
  else if (opcode === OP.i64Const) read.signed(64);
  else if (opcode === OP.f32Const) read.take(4);
  else if (opcode === OP.f64Const) read.take(8);
  else refuse(from, "a first value or a place is not a constant");
  const { at } = read;
  if (read.byte() !== OP.end) refuse(at, "a first value or a place is more than a constant");
  return read.bytes.subarray(from, at);
}

/** Where a segment goes: at most 2^32 - 1. */
function offsetOf(read: Reader): number {
  const { at } = read;
  const [opcode, ...digits] = constant(read);
  if (opcode !== OP.i32Const) refuse(at, "a place is not an i32");
  let value = 0;
  for (const [i, digit] of digits.entries()) value |= (digit & 0x7f) << (7 * i);
  const bits = 7 * digits.length;
  const isNegative = ((digits.at(-1) ?? 0) & 0x40) !== 0 && bits < 32;
  return (isNegative ? value | (-1 << bits) : value) >>> 0;
}

/** Reads the structure of untrusted bytes. Throws `MODULE_INVALID` with the place. */
export function parseModule(bytes: Uint8Array): ParsedModule {
  if (bytes.length > LIMITS.moduleBytes) {
    refuse(
      LIMITS.moduleBytes,
      `it has ${String(bytes.length)} bytes, the limit is ${String(LIMITS.moduleBytes)}`,
      "compile for size, and without names for debugging",
    );
  }
  const parser = new Parser(bytes);
  parser.run();
  const { types, sections, functions, globals, initialPages, maximalPages, exports } = parser;
  const { start, tableFunctions, bodies, data } = parser;
  return {
    bytes,
    types,
    sections,
    functions,
    globals,
    initialPages,
    maximalPages,
    exports,
    start,
    tableFunctions,
    bodies,
    data,
  };
}
