// SPDX-License-Identifier: Apache-2.0
/**
 * Function bodies, rewritten so that what they do is the same on every machine and comes to an end:
 *
 * - *Steps.* Each run of instructions without a branch is paid for before its first one, so the count is a function of the way that a call
 *   takes. Whoever has none left traps.
 * - *Depth.* Around each call the frame of what is called is taken from a number of slots, and given back. It traps when there are none left,
 *   long before the machine's own stack could end. How large a frame is, depends on the compiler, and on when it has compiled what; a slot is counted for
 *   all that it may have to keep.
 * - *Memory.* What it is asked for is had at once or not at all: the size that a module knows is a number that is counted with.
 * - *NaN.* Arithmetic may make a NaN with whatever bits the processor likes; behind it the one canonical NaN takes its place.
 */
import { OP, PLAIN, PREFIXED } from "./instructions.ts";
import type { Immediate, Instruction } from "./instructions.ts";
import { isNumberType } from "./parse.ts";
import type { Body, FunctionType, ParsedModule } from "./parse.ts";
import { Reader, refuse } from "./reader.ts";
import { Writer } from "./writer.ts";

/** Where the rewriting puts what it adds: numbers of globals and functions behind the module's own. */
export interface Additions {
  readonly steps: number;
  readonly slots: number;
  /** Pages of memory that the module knows of. */
  readonly pages: number;
  readonly spend: number;
  readonly grow: number;
}

/** A rewritten body, with its length before it. */
export interface Rewritten {
  readonly body: Uint8Array;
  /** Slots of its frame: parameters, locals, operands at most, and the values that a compiler may keep, with some for what a call takes anyway. */
  readonly frame: number;
}

/** Compilers go through all locals, and operands, at each branch. */
const MOST_LOCALS = 256;
const MOST_DEPTH = 256;
const MOST_LABELS = 4_096;
const MOST_HELD = 512;
/** What an engine keeps for a call beside its values, and the locals that are added. */
const FRAME_OVERHEAD = 16;
const CALL_COST = 4;
const INDIRECT_COST = 8;
const BULK_COST = 8;
const GROW_COST = 64;
const EMPTY_BLOCK = 0x40;
const NAN_F32 = [OP.f32Const, 0, 0, 0xc0, 0x7f];
const NAN_F64 = [OP.f64Const, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f];
const TYPES = { i32: 0x7f, f32: 0x7d, f64: 0x7c } as const;

interface Control {
  /** Operands below the block. */
  readonly height: number;
  readonly results: number;
  isDead: boolean;
}

/** Takes `amount`, which is on the stack, from a global; traps when less than 0 is left. */
export function writeTake(out: Writer, global: number, amount: (out: Writer) => void): void {
  out.byte(OP.globalGet).u32(global);
  amount(out);
  out.byte(OP.i32Sub, OP.globalSet).u32(global);
  out.byte(OP.globalGet).u32(global);
  out.byte(OP.i32Const, 0, OP.i32LtS, OP.if, EMPTY_BLOCK, OP.unreachable, OP.end);
}

/** Rewrites one body. */
class Metering {
  readonly #module: ParsedModule;
  readonly #add: Additions;
  /** Of each function, as far as they are known. */
  readonly #frames: readonly number[];
  /** The largest frame of what a call through the table may reach. */
  readonly #tableFrame: number;
  readonly #read: Reader;
  readonly #type: FunctionType;
  readonly #code = new Writer();
  /** Instructions that are paid for together. */
  readonly #run = new Writer();
  #cost = 0;
  /** Instructions that make a value, or an address, which a compiler may keep across a call: what is worked out before and after it, it works out once. */
  #values = 0;
  readonly #controls: Control[] = [];
  #height = 0;
  #highest = 0;
  #locals = 0;
  /** Locals that are added, by type. */
  readonly #temps = new Map<keyof typeof TYPES, number>();

  constructor(module: ParsedModule, add: Additions, frames: readonly number[], body: Body) {
    this.#module = module;
    this.#add = add;
    this.#frames = frames;
    this.#tableFrame = module.tableFunctions.reduce(
      (most, each) => Math.max(most, frames[each] ?? 0),
      0,
    );
    this.#type = body.type;
    this.#read = new Reader(module.bytes, body.from, body.to);
  }

  rewrite(): Rewritten {
    const groups = this.#readLocals();
    // The engine sets them to 0.
    this.#cost = 1 + this.#locals - this.#type.params;
    this.#controls.push({ height: 0, results: this.#type.results, isDead: false });
    while (this.#controls.length > 0) this.#instruction();
    if (!this.#read.isDone) refuse(this.#read.at, "a function goes on behind its end");
    const held = this.#locals + this.#highest;
    if (held > MOST_HELD) refuse(this.#read.at, "a function has too many operands at a time");
    const frame = held + this.#values + FRAME_OVERHEAD;
    const out = new Writer();
    out.u32(groups.length + this.#temps.size);
    for (const { count, type } of groups) out.u32(count).byte(type);
    for (const type of this.#temps.keys()) out.u32(1).byte(TYPES[type]);
    out.raw(this.#code.done());
    return { body: new Writer().sized(out.done()).done(), frame };
  }

  #readLocals(): readonly { readonly count: number; readonly type: number }[] {
    const read = this.#read;
    this.#locals = this.#type.params;
    const groups: { count: number; type: number }[] = [];
    for (let left = read.count(MOST_LOCALS, "groups of locals"); left > 0; left--) {
      const count = read.u32();
      this.#locals += count;
      if (this.#locals > MOST_LOCALS) {
        refuse(read.at, `a function has over ${String(MOST_LOCALS)} locals`);
      }
      const type = read.byte();
      if (!isNumberType(type)) refuse(read.at - 1, "a local is not an i32, i64, f32 or f64");
      groups.push({ count, type });
    }
    return groups;
  }

  get #control(): Control {
    const control = this.#controls.at(-1);
    return control ?? refuse(this.#read.at, "an instruction is behind the end");
  }

  #pop(count: number): void {
    const { height, isDead } = this.#control;
    if (this.#height - count < height && !isDead) refuse(this.#read.at, "operands are missing");
    this.#height = Math.max(height, this.#height - count);
  }

  #push(count: number): void {
    this.#height += count;
    this.#highest = Math.max(this.#highest, this.#height);
  }

  /** What comes next is never reached. */
  #die(): void {
    const control = this.#control;
    control.isDead = true;
    this.#height = control.height;
  }

  /** Ends a run: pays for it, and puts it behind that. */
  #flush(): void {
    const cost = this.#cost;
    if (cost > 0) {
      writeTake(this.#code, this.#add.steps, (out) => out.byte(OP.i32Const).s32(cost));
    }
    this.#code.raw(this.#run.done());
    this.#run.clear();
    this.#cost = 0;
  }

  #temp(type: keyof typeof TYPES): number {
    const known = this.#temps.get(type);
    if (known !== undefined) return known;
    const index = this.#locals + this.#temps.size;
    this.#temps.set(type, index);
    return index;
  }

  #instruction(): void {
    const { at } = this.#read;
    const opcode = this.#read.byte();
    const plain = PLAIN.get(opcode);
    if (plain !== undefined) this.#plain(opcode, plain);
    else if (opcode <= OP.end) this.#structure(opcode, at);
    else if (opcode <= OP.return) this.#branch(opcode, at);
    else if (opcode === OP.call || opcode === OP.callIndirect) this.#call(opcode, at);
    else if (opcode >= OP.localGet && opcode <= OP.globalSet) this.#variable(opcode, at);
    else if (opcode === OP.memorySize) this.#size();
    else if (opcode === OP.memoryGrow) this.#grow(at);
    else if (opcode === OP.prefix) this.#prefixed(at);
    else refuseOpcode(at, opcode.toString(16));
  }

  #size(): void {
    this.#zero();
    this.#push(1);
    this.#cost += 1;
    this.#run.byte(OP.globalGet).u32(this.#add.pages);
  }

  #plain(opcode: number, { immediate, pops, pushes, cost, nan }: Instruction): void {
    this.#pop(pops);
    this.#push(pushes);
    this.#cost += cost;
    // A constant is made where it is needed.
    if (immediate === "memory") this.#values++;
    else if (immediate === "none") this.#values += pushes;
    this.#run.byte(opcode);
    this.#immediate(immediate);
    if (nan !== undefined) this.#canonical(nan);
  }

  #immediate(kind: Immediate): void {
    const read = this.#read;
    const run = this.#run;
    if (kind === "i32") run.raw(read.signed(32));
    else if (kind === "i64") run.raw(read.signed(64));
    else if (kind === "f32") run.raw(read.take(4));
    else if (kind === "f64") run.raw(read.take(8));
    else if (kind === "memory") {
      const align = read.u32();
      if (align > 3) refuse(read.at, "an access is to another memory");
      run.u32(align).u32(read.u32());
    }
  }

  #zero(): void {
    if (this.#read.byte() !== 0) refuse(this.#read.at - 1, "there is one table, and one memory");
  }

  /** `x == x ? x : NaN`. */
  #canonical(type: "f32" | "f64"): void {
    const temp = this.#temp(type);
    const [nan, eq] = type === "f32" ? [NAN_F32, OP.f32Eq] : [NAN_F64, OP.f64Eq];
    this.#run.byte(OP.localTee).u32(temp).raw(nan);
    this.#run.byte(OP.localGet).u32(temp).byte(OP.localGet).u32(temp).byte(eq, OP.select);
    this.#cost += 1;
    this.#values += 2;
  }

  #structure(opcode: number, at: number): void {
    const run = this.#run;
    if (opcode === OP.unreachable) {
      run.byte(opcode);
      this.#flush();
      this.#die();
    } else if (opcode === OP.block || opcode === OP.loop || opcode === OP.if) {
      this.#open(opcode, at);
    } else if (opcode === OP.else || opcode === OP.end) {
      const { height, results, isDead } = this.#control;
      if (!isDead && this.#height !== height + results) refuse(at, "a block has other results");
      this.#flush();
      this.#code.byte(opcode);
      this.#controls.pop();
      this.#height = height;
      // That an `else` belongs to an `if` is for the engine to say, which has seen this module before.
      if (opcode === OP.else) this.#controls.push({ height, results, isDead: false });
      else if (this.#controls.length > 0) this.#push(results);
    } else refuseOpcode(at, opcode.toString(16));
  }

  #open(opcode: number, at: number): void {
    const type = this.#read.byte();
    if (type !== EMPTY_BLOCK && !isNumberType(type)) {
      refuse(at + 1, "a block has operands, several results or none that is a number");
    }
    this.#cost += 1;
    if (opcode === OP.if) this.#pop(1);
    this.#run.byte(opcode, type);
    // An `if` begins a run, as not all ways go there, and a loop one that is paid for each time.
    if (opcode !== OP.block) this.#flush();
    if (this.#controls.length >= MOST_DEPTH) {
      refuse(at, `blocks are nested deeper than ${String(MOST_DEPTH)}`);
    }
    const results = type === EMPTY_BLOCK ? 0 : 1;
    this.#controls.push({ height: this.#height, results, isDead: false });
  }

  #label(): number {
    const label = this.#read.u32();
    if (label >= this.#controls.length) refuse(this.#read.at, "a branch goes nowhere");
    return label;
  }

  #branch(opcode: number, at: number): void {
    const run = this.#run.byte(opcode);
    this.#cost += 1;
    if (opcode === OP.br) run.u32(this.#label());
    else if (opcode === OP.brIf) {
      this.#pop(1);
      run.u32(this.#label());
    } else if (opcode === OP.brTable) {
      this.#pop(1);
      const count = this.#read.count(MOST_LABELS, "labels of a branch");
      run.u32(count);
      for (let i = 0; i <= count; i++) run.u32(this.#label());
    } else if (opcode !== OP.return) refuseOpcode(at, opcode.toString(16));
    this.#flush();
    if (opcode !== OP.brIf) this.#die();
  }

  #call(opcode: number, at: number): void {
    const index = this.#read.u32();
    const run = this.#run;
    const isIndirect = opcode === OP.callIndirect;
    if (isIndirect) {
      if (this.#read.u32() !== 0) refuse(at, "there is one table");
      this.#pop(1);
    }
    const { types, functions } = this.#module;
    const type = types[isIndirect ? index : (functions[index] ?? -1)];
    if (type === undefined) return refuse(at, "a call goes nowhere");
    const frame = isIndirect ? this.#tableFrame : (this.#frames[index] ?? 0);
    this.#pop(type.params);
    this.#push(type.results);
    this.#cost += isIndirect ? INDIRECT_COST : CALL_COST;
    const { slots } = this.#add;
    writeTake(run, slots, (out) => out.byte(OP.i32Const).s32(frame));
    run.byte(opcode).u32(index);
    if (isIndirect) run.byte(0);
    run.byte(OP.globalGet).u32(slots).byte(OP.i32Const).s32(frame);
    run.byte(OP.i32Add, OP.globalSet).u32(slots);
  }

  #variable(opcode: number, at: number): void {
    const index = this.#read.u32();
    const isLocal = opcode <= OP.localTee;
    // The added ones are behind the module's own: nobody else may touch them.
    if (index >= (isLocal ? this.#locals : this.#module.globals.length)) {
      refuse(at, `there is no such ${isLocal ? "local" : "global"}`);
    }
    if (opcode === OP.localGet || opcode === OP.globalGet) this.#push(1);
    else {
      this.#pop(1);
      if (opcode === OP.localTee) this.#push(1);
    }
    this.#cost += 1;
    // One that never changes is kept as well.
    if (opcode === OP.globalGet) this.#values++;
    this.#run.byte(opcode).u32(index);
  }

  #grow(at: number): void {
    if (this.#read.byte() !== 0) refuse(at, "there is one memory");
    this.#pop(1);
    this.#push(1);
    this.#cost += GROW_COST;
    this.#run.byte(OP.call).u32(this.#add.grow);
  }

  #prefixed(at: number): void {
    const opcode = this.#read.u32();
    const run = this.#run;
    if (opcode <= PREFIXED.lastSaturating) {
      this.#pop(1);
      this.#push(1);
      this.#cost += 1;
      this.#values++;
      run.byte(OP.prefix).u32(opcode);
    } else if (opcode === PREFIXED.memoryCopy || opcode === PREFIXED.memoryFill) {
      this.#zero();
      if (opcode === PREFIXED.memoryCopy) this.#zero();
      this.#pop(3);
      this.#cost += BULK_COST;
      const temp = this.#temp("i32");
      run.byte(OP.localTee).u32(temp).byte(OP.call).u32(this.#add.spend);
      run.byte(OP.localGet).u32(temp).byte(OP.prefix).u32(opcode);
      run.raw(opcode === PREFIXED.memoryCopy ? [0, 0] : [0]);
    } else refuseOpcode(at, `fc ${opcode.toString(16)}`);
  }
}

function refuseOpcode(at: number, opcode: string): never {
  refuse(
    at,
    `the instruction 0x${opcode.padStart(2, "0")} is not one that modules may have`,
    "compile for WebAssembly 1.0 without SIMD, threads, references, exceptions and bulk data",
  );
}

/** Rewrites all bodies. Throws `MODULE_INVALID` with the place. */
export function meterBodies(module: ParsedModule, add: Additions): readonly Uint8Array[] {
  const all = (frames: readonly number[]): readonly Rewritten[] =>
    module.bodies.map((body) => new Metering(module, add, frames, body).rewrite());
  // Once to know the frames, and once more with them.
  const frames = all([]).map(({ frame }) => frame);
  return all(frames).map(({ body }) => body);
}
