// SPDX-License-Identifier: Apache-2.0
/** Random modules: functions of an i32 over locals, a global, memory and each other, as text, all of them finite. */

type Type = "i32" | "i64" | "f32" | "f64";

const TYPES: readonly Type[] = ["i32", "i64", "f32", "f64"];
const INT_OPS = [
  "add",
  "sub",
  "mul",
  "div_s",
  "div_u",
  "rem_s",
  "rem_u",
  "and",
  "or",
  "xor",
].concat(["shl", "shr_s", "shr_u", "rotl", "rotr"]);
const INT_COMPARES = ["eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u"];
const FLOAT_OPS = ["add", "sub", "mul", "div", "min", "max"];
const FLOAT_UNARY = ["abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"];
const FLOAT_COMPARES = ["eq", "ne", "lt", "gt", "le", "ge"];
const FUNCTIONS = 4;

/** A generator of numbers below a bound, the same for the same seed (mulberry32). */
function numbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

class Program {
  readonly #below: (below: number) => number;
  /** Functions below this one may be called: nothing calls itself. */
  #self = 0;
  /** Loops around, which have a counter each. */
  #loops = 0;

  constructor(seed: number) {
    this.#below = numbers(seed);
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)] as T;
  }

  #constant(type: Type): string {
    if (type === "i32")
      return `(i32.const ${String(this.#pick([0, 1, -1, 7, 65_535, -2_147_483_648, 123_456_789]))})`;
    if (type === "i64")
      return `(i64.const ${this.#pick(["0", "1", "-1", "9223372036854775807", "-5"])})`;
    return `(${type}.const ${this.#pick(["0", "1", "-0", "1.5", "-3.25", "1e30", "inf", "nan"])})`;
  }

  #address(depth: number): string {
    return `(i32.and ${this.expression("i32", depth)} (i32.const 0xfff8))`;
  }

  expression(type: Type, depth: number): string {
    if (depth <= 0) {
      return this.#below(2) === 0
        ? this.#constant(type)
        : `(local.get $${type}${String(this.#below(2))})`;
    }
    const inner = (of: Type): string => this.expression(of, depth - 1);
    if (this.#below(8) === 0) {
      const body = `(if (result ${type}) ${inner("i32")} (then ${inner(type)}) (else ${inner(type)}))`;
      return `(block $b${String(depth)} (result ${type}) (drop (br_if $b${String(depth)} ${inner(type)} ${inner("i32")})) ${body})`;
    }
    if (this.#below(8) === 0) return `(select ${inner(type)} ${inner(type)} ${inner("i32")})`;
    return type === "i32" || type === "i64" ? this.#integer(type, depth) : this.#float(type, depth);
  }

  #integer(type: "i32" | "i64", depth: number): string {
    const inner = (of: Type): string => this.expression(of, depth - 1);
    const float = this.#pick(["f32", "f64"] as const);
    switch (this.#below(type === "i32" ? 9 : 5)) {
      case 0:
      case 1:
        return `(${type}.${this.#pick(INT_OPS)} ${inner(type)} ${inner(type)})`;
      case 2:
        return `(${type}.trunc_sat_${float}_s ${inner(float)})`;
      case 3:
        return `(${type}.load${type === "i64" ? "" : this.#pick(["", "8_s", "16_u"])} ${this.#address(depth - 1)})`;
      case 4:
        return type === "i64"
          ? `(i64.extend_i32_s ${inner("i32")})`
          : `(i32.wrap_i64 ${inner("i64")})`;
      case 5:
        return `(i64.${this.#pick(INT_COMPARES)} ${inner("i64")} ${inner("i64")})`;
      case 6:
        return `(${float}.${this.#pick(FLOAT_COMPARES)} ${inner(float)} ${inner(float)})`;
      case 7:
        return this.#self === 0
          ? "(global.get $g)"
          : `(call $f${String(this.#below(this.#self))} ${inner("i32")})`;
      default:
        return this.#self === 0
          ? `(i32.extend8_s ${inner("i32")})`
          : `(call_indirect (param i32) (result i32) ${inner("i32")} (i32.rem_u ${inner("i32")} (i32.const ${String(this.#self)})))`;
    }
  }

  #float(type: "f32" | "f64", depth: number): string {
    const inner = (of: Type): string => this.expression(of, depth - 1);
    switch (this.#below(5)) {
      case 4:
        // Of no NaN: which sign that has is what the rewriting makes the same everywhere.
        return `(${type}.copysign ${inner(type)} (${type}.convert_i32_s ${inner("i32")}))`;
      case 0:
        return `(${type}.${this.#pick(FLOAT_UNARY)} ${inner(type)})`;
      case 1:
        return type === "f32"
          ? `(f32.demote_f64 ${inner("f64")})`
          : `(f64.promote_f32 ${inner("f32")})`;
      case 2:
        return `(${type}.convert_i32_s ${inner("i32")})`;
      default:
        return `(${type}.${this.#pick(FLOAT_OPS)} ${inner(type)} ${inner(type)})`;
    }
  }

  #statement(depth: number): string {
    switch (this.#below(8)) {
      case 0:
        return `(i32.store ${this.#address(2)} ${this.expression("i32", 2)})`;
      case 1:
        return `(global.set $g ${this.expression("i32", 2)})`;
      case 2:
        return `(memory.fill ${this.#address(1)} (i32.const 7) (i32.const ${String(this.#below(64))}))`;
      case 3:
        return `(memory.copy ${this.#address(1)} ${this.#address(1)} (i32.const ${String(this.#below(64))}))`;
      case 4:
        return "(drop (memory.grow (i32.const 1)))";
      case 5:
        return depth > 0 ? this.#loop(depth) : "(nop)";
      case 6:
        return depth > 0
          ? `(block $x (block $y (br_table $x $y $x ${this.expression("i32", 2)})) ${this.#statements(2, depth - 1)})`
          : "(nop)";
      default: {
        const type = this.#pick(TYPES);
        return `(local.set $${type}${String(this.#below(2))} ${this.expression(type, 3)})`;
      }
    }
  }

  #loop(depth: number): string {
    const at = this.#loops++;
    const counter = `$c${String(at)}`;
    const body = this.#statements(3, depth - 1);
    this.#loops--;
    return `(local.set ${counter} (i32.const 0)) (loop $l${String(at)} ${body}
      (local.set ${counter} (i32.add (local.get ${counter}) (i32.const 1)))
      (br_if $l${String(at)} (i32.lt_u (local.get ${counter}) (i32.const 4))))`;
  }

  #statements(count: number, depth: number): string {
    return Array.from({ length: count }, () => this.#statement(depth)).join("\n");
  }

  /** The module's text. Its functions are exported as `f0` and so on. */
  text(): string {
    const locals = `(local $i321 i32) ${["i64", "f32", "f64"].map((type) => `(local $${type}0 ${type}) (local $${type}1 ${type})`).join(" ")} (local $c0 i32) (local $c1 i32)`;
    const functions = Array.from({ length: FUNCTIONS }, (_, i) => {
      this.#self = i;
      return `(func $f${String(i)} (export "f${String(i)}") (param $i320 i32) (result i32) ${locals}
        ${this.#statements(5, 2)} ${this.expression("i32", 4)})`;
    });
    const table = Array.from({ length: FUNCTIONS }, (_, i) => `$f${String(i)}`).join(" ");
    return `(module (memory (export "memory") 1 3) (global $g (mut i32) (i32.const 5))
      (table ${String(FUNCTIONS)} funcref) (elem (i32.const 0) ${table})
      (data (i32.const 16) "some bytes to begin with") ${functions.join("\n")})`;
  }
}

/** The text of a random module; the same for the same seed. */
export const randomProgram = (seed: number): string => new Program(seed).text();
/** The functions that it exports. */
export const PROGRAM_EXPORTS: readonly string[] = Array.from(
  { length: FUNCTIONS },
  (_, i) => `f${String(i)}`,
);
/** Pages that it may add to its memory. */
export const PROGRAM_MORE_PAGES = 2;
