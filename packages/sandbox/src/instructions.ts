// SPDX-License-Identifier: Apache-2.0
/**
 * The instructions that a module may have: those of WebAssembly 1.0, sign extension, conversions that saturate, `memory.copy` and
 * `memory.fill`. All of them do the same on every machine, but for the bits of a NaN that arithmetic makes, which are rewritten.
 */

/** What follows an opcode. */
export type Immediate = "none" | "i32" | "i64" | "f32" | "f64" | "memory";

/** One instruction that goes on with the next one. */
export interface Instruction {
  readonly immediate: Immediate;
  /** Operands that it takes from the stack, and results that it leaves there. */
  readonly pops: number;
  readonly pushes: number;
  /** Steps. */
  readonly cost: number;
  /** The type of a result that may be a NaN of any bits. */
  readonly nan?: "f32" | "f64";
}

/** Opcodes that the rewriting knows by name. */
export const OP = {
  unreachable: 0x00,
  nop: 0x01,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  drop: 0x1a,
  select: 0x1b,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  memorySize: 0x3f,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i64Const: 0x42,
  f32Const: 0x43,
  f64Const: 0x44,
  i32Eq: 0x46,
  i32LtS: 0x48,
  i32GtU: 0x4b,
  f32Eq: 0x5b,
  f64Eq: 0x61,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  i32Mul: 0x6c,
  i32ShrU: 0x76,
  prefix: 0xfc,
} as const;

/** Opcodes behind the prefix `0xfc`. */
export const PREFIXED = { memoryCopy: 10, memoryFill: 11, lastSaturating: 7 } as const;

/** A division, a remainder or a root takes the slowest machines so many times an addition. */
const SLOW = 8;
const SLOW_OPS: ReadonlySet<number> = new Set([
  0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82, 0x91, 0x95, 0x9f, 0xa3,
]);
/** Of floats, those that don't only move bits: ceil to sqrt, add to max, demote and promote. */
const NAN_F32: ReadonlySet<number> = new Set([
  0x8d, 0x8e, 0x8f, 0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0xb6,
]);
const NAN_F64: ReadonlySet<number> = new Set([
  0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xbb,
]);

type Row = readonly [from: number, to: number, pops: number, pushes: number, immediate?: Immediate];

const ROWS: readonly Row[] = [
  [0x01, 0x01, 0, 0],
  [0x1a, 0x1a, 1, 0],
  [0x1b, 0x1b, 3, 1],
  [0x28, 0x35, 1, 1, "memory"],
  [0x36, 0x3e, 2, 0, "memory"],
  [0x41, 0x41, 0, 1, "i32"],
  [0x42, 0x42, 0, 1, "i64"],
  [0x43, 0x43, 0, 1, "f32"],
  [0x44, 0x44, 0, 1, "f64"],
  [0x45, 0x45, 1, 1],
  [0x46, 0x4f, 2, 1],
  [0x50, 0x50, 1, 1],
  [0x51, 0x66, 2, 1],
  [0x67, 0x69, 1, 1],
  [0x6a, 0x78, 2, 1],
  [0x79, 0x7b, 1, 1],
  [0x7c, 0x8a, 2, 1],
  [0x8b, 0x91, 1, 1],
  [0x92, 0x98, 2, 1],
  [0x99, 0x9f, 1, 1],
  [0xa0, 0xa6, 2, 1],
  [0xa7, 0xc4, 1, 1],
];

function nanOf(opcode: number): Pick<Instruction, "nan"> {
  if (NAN_F32.has(opcode)) return { nan: "f32" };
  return NAN_F64.has(opcode) ? { nan: "f64" } : {};
}

/** By opcode; those that branch, call, name a local or a global, or are about the size of memory, are not in it. */
export const PLAIN: ReadonlyMap<number, Instruction> = new Map(
  ROWS.flatMap(([from, to, pops, pushes, immediate = "none"]) =>
    Array.from({ length: to - from + 1 }, (_, i) => {
      const opcode = from + i;
      const cost = SLOW_OPS.has(opcode) ? SLOW : 1;
      return [opcode, { immediate, pops, pushes, cost, ...nanOf(opcode) }] as const;
    }),
  ),
);
