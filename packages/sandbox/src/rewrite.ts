// SPDX-License-Identifier: Apache-2.0
/** A module put together again, with what counts its steps and puts it back to its beginning. */
import { LIMITS } from "@ctxmesh/model";
import { OP } from "./instructions.ts";
import { meterBodies, writeTake } from "./meter.ts";
import type { Additions } from "./meter.ts";
import { SECTION } from "./parse.ts";
import type { ParsedModule } from "./parse.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

/** What a rewritten module exports beside what is kept of its own. */
export const ADDED = {
  reset: "+reset",
  start: "+start",
  steps: "+steps",
  slots: "+slots",
  /** Set by the host to 1 where the memory has all pages that it may ever have. */
  large: "+large",
  /** 1 after a trap for want of those. */
  grows: "+grows",
} as const;

const I32 = 0x7f;
const EMPTY_BLOCK = 0x40;
const FUNCTION = 0x60;
const KIND = { function: 0, memory: 2, global: 3 } as const;
/** Of memory that is added: all of it is zeroed before the call. */
const STEPS_PER_PAGE = 4_096;
/** Functions, and globals, that are added. */
const MORE_FUNCTIONS = 3;
const MORE_GLOBALS = 5;
/** `memory.copy` and `memory.fill` take a step for so many bytes, as a power of 2. */
const BYTES_PER_STEP_LOG2 = 4;

/** The items of a section, behind their number. */
function itemsOf(section: Uint8Array | undefined): Uint8Array {
  if (section === undefined) return new Uint8Array();
  const read = new Reader(section);
  read.u32();
  return section.subarray(read.at);
}

const body = (write: (out: Writer) => void): Uint8Array => {
  const out = new Writer().u32(0);
  write(out);
  return new Writer().sized(out.byte(OP.end).done()).done();
};

/** Numbers of the globals that are added. */
interface Counters extends Additions {
  readonly large: number;
  readonly grows: number;
}

/** Puts globals back to their first values, and counts from the beginning. */
function resetBody(module: ParsedModule, { steps, slots, pages, grows }: Counters): Uint8Array {
  return body((out) => {
    const set = (index: number, value: number): void =>
      void out.byte(OP.i32Const).s32(value).byte(OP.globalSet).u32(index);
    for (const [index, { isMutable, init }] of module.globals.entries()) {
      if (isMutable) out.raw(init).byte(OP.globalSet).u32(index);
    }
    set(steps, LIMITS.moduleSteps);
    set(slots, LIMITS.moduleStackSlots);
    set(pages, module.initialPages);
    set(grows, 0);
  });
}

/** Pays for what `memory.copy` and `memory.fill` do: the argument is their length. */
const spendBody = ({ steps }: Additions): Uint8Array =>
  body((out) =>
    writeTake(out, steps, () =>
      out.byte(OP.localGet, 0, OP.i32Const, BYTES_PER_STEP_LOG2, OP.i32ShrU),
    ),
  );

/**
 * `memory.grow` up to the limit. An engine may refuse memory whenever it likes, and can't take any back. So a call that asks for some traps here, and is
 * made again where all of it has been there from the beginning: then growing is nothing but counting.
 */
function growBody({ maximalPages }: ParsedModule, counters: Counters): Uint8Array {
  const { steps, pages, large, grows } = counters;
  return body((out) => {
    const get = (index: number): Writer => out.byte(OP.globalGet).u32(index);
    out.byte(OP.localGet, 0, OP.i32Const).s32(maximalPages);
    get(pages).byte(OP.i32Sub, OP.i32GtU, OP.if, EMPTY_BLOCK);
    out.byte(OP.i32Const).s32(-1).byte(OP.return, OP.end);
    writeTake(out, steps, () =>
      out.byte(OP.localGet, 0, OP.i32Const).s32(STEPS_PER_PAGE).byte(OP.i32Mul),
    );
    get(large).byte(OP.i32Const, 0, OP.i32Eq, OP.if, EMPTY_BLOCK);
    out.byte(OP.i32Const, 1, OP.globalSet).u32(grows).byte(OP.unreachable, OP.end);
    get(pages);
    get(pages).byte(OP.localGet, 0, OP.i32Add, OP.globalSet).u32(pages);
  });
}

/** The first pages, as {@link rewriteModule} has them. */
const memorySection = ({ initialPages, maximalPages }: ParsedModule): Writer =>
  new Writer().u32(1).byte(1).u32(initialPages).u32(maximalPages);

function globalSection({ globals }: ParsedModule): Writer {
  const out = new Writer().u32(globals.length + MORE_GLOBALS);
  for (const { type, isMutable, init } of globals) {
    out
      .byte(type, isMutable ? 1 : 0)
      .raw(init)
      .byte(OP.end);
  }
  for (let i = 0; i < MORE_GLOBALS; i++) out.byte(I32, 1, OP.i32Const, 0, OP.end);
  return out;
}

const UTF8 = new TextEncoder();

function exportSection(
  { exports, start }: ParsedModule,
  names: readonly string[],
  { steps, slots, large, grows }: Counters,
  reset: number,
): Writer {
  const functions = names.map((name): [string, number] => [name, exports.get(name)?.index ?? -1]);
  functions.push([ADDED.reset, reset]);
  if (start !== undefined) functions.push([ADDED.start, start]);
  const globals = [
    [ADDED.steps, steps],
    [ADDED.slots, slots],
    [ADDED.large, large],
    [ADDED.grows, grows],
  ] as const;
  const out = new Writer().u32(1 + functions.length + globals.length);
  const put = (name: string, kind: number, index: number): void =>
    void out.sized(UTF8.encode(name)).byte(kind).u32(index);
  put("memory", KIND.memory, 0);
  for (const [name, index] of functions) put(name, KIND.function, index);
  for (const [name, index] of globals) put(name, KIND.global, index);
  return out;
}

/**
 * The bytes of a module that does what the given one does, for the same input the same on every machine, and no longer than `LIMITS.moduleSteps`.
 * It exports its memory, the functions of `names`, and what is in {@link ADDED}. Throws `MODULE_INVALID`.
 */
export function rewriteModule(module: ParsedModule, names: readonly string[]): Uint8Array {
  const { types, functions, sections } = module;
  const globals = module.globals.length;
  const reset = functions.length;
  const counters: Counters = {
    steps: globals,
    slots: globals + 1,
    pages: globals + 2,
    large: globals + 3,
    grows: globals + 4,
    spend: reset + 1,
    grow: reset + 2,
  };
  const out = new Writer().byte(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
  const section = (id: number, content: Writer): void => void out.byte(id).sized(content.done());
  const same = (id: number): void => {
    const content = sections.get(id);
    if (content !== undefined) out.byte(id).sized(content);
  };
  const typeSection = new Writer().u32(types.length + MORE_FUNCTIONS);
  typeSection.raw(itemsOf(sections.get(SECTION.type)));
  typeSection.byte(FUNCTION, 0, 0, FUNCTION, 1, I32, 0, FUNCTION, 1, I32, 1, I32);
  section(SECTION.type, typeSection);
  const functionSection = new Writer().u32(functions.length + MORE_FUNCTIONS);
  for (const type of functions) functionSection.u32(type);
  for (let i = 0; i < MORE_FUNCTIONS; i++) functionSection.u32(types.length + i);
  section(SECTION.function, functionSection);
  same(SECTION.table);
  section(SECTION.memory, memorySection(module));
  section(SECTION.global, globalSection(module));
  section(SECTION.export, exportSection(module, names, counters, reset));
  same(SECTION.element);
  const code = new Writer().u32(functions.length + MORE_FUNCTIONS);
  for (const each of meterBodies(module, counters)) code.raw(each);
  code.raw(resetBody(module, counters)).raw(spendBody(counters)).raw(growBody(module, counters));
  section(SECTION.code, code);
  same(SECTION.data);
  return out.done().slice();
}
