// SPDX-License-Identifier: Apache-2.0
/** Modules that are ready to be called: rewritten, compiled, and put back to their beginning before each call. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { parseModule } from "./parse.ts";
import type { ParsedModule } from "./parse.ts";
import { refuse } from "./reader.ts";
import { ADDED, rewriteModule } from "./rewrite.ts";

/** The part of the platform's WebAssembly that is used; the libraries of the compiler have it for pages alone. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
  readonly RuntimeError: new () => Error;
  validate(bytes: Uint8Array): boolean;
};

/** What a module may decide. */
export type Entry = "resolve" | "admit";

/** Why a call was cut off. */
export type CutReason = "steps" | "depth" | "trap" | "answer";

/** What a call came to. `steps` are those that it used. */
export type Outcome =
  | {
      readonly kind: "answer";
      readonly result: number;
      /** The bytes at `out`, where they were wanted. */
      readonly output?: Uint8Array;
      readonly steps: number;
    }
  | {
      readonly kind: "cut";
      readonly reason: CutReason;
      /** For people. Of a trap in the words of the engine, which may differ between machines. */
      readonly problem: string;
      readonly steps: number;
    };

type Cut = Extract<Outcome, { kind: "cut" }>;

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  readonly alloc: (length: number) => number;
  readonly out: () => number;
  readonly outLength: () => number;
  readonly resolve?: (length: number) => number;
  readonly admit?: (length: number) => number;
  readonly [ADDED.reset]: () => void;
  readonly [ADDED.start]?: () => void;
  readonly [ADDED.steps]: { readonly value: number };
  readonly [ADDED.slots]: { readonly value: number };
  readonly [ADDED.large]: { value: number };
  readonly [ADDED.grows]: { readonly value: number };
}

/** Parameters and results, all of them i32. */
const SIGNATURES: Readonly<Record<string, readonly [params: number, results: number]>> = {
  alloc: [1, 1],
  out: [0, 1],
  outLength: [0, 1],
  resolve: [1, 1],
  admit: [1, 1],
};
const FUNCTION = 0;
const MEMORY = 2;

/** Thrown by a module whose answer can't be one. */
class BadAnswer extends Error {}

/** The functions of the interface that a module exports. */
function interfaceOf({ exports, functions, types, bytes }: ParsedModule): readonly string[] {
  if (exports.get("memory")?.kind !== MEMORY) refuse(bytes.length, "it does not export its memory");
  const names = Object.keys(SIGNATURES).filter((name) => exports.has(name));
  for (const name of ["alloc", "out", "outLength"]) {
    if (!names.includes(name)) refuse(bytes.length, `it does not export ${name}`);
  }
  if (!names.includes("resolve") && !names.includes("admit")) {
    refuse(bytes.length, "it exports neither resolve nor admit");
  }
  for (const name of names) {
    const found = exports.get(name);
    const type = types[functions[found?.index ?? -1] ?? -1];
    const [params, results] = SIGNATURES[name] ?? [0, 0];
    const fits = type?.params === params && type.results === results && type.isI32;
    if (found?.kind !== FUNCTION || !fits) {
      refuse(
        bytes.length,
        `${name} is not a function of ${String(params)} i32 with ${String(results)} i32 as result`,
      );
    }
  }
  return names;
}

/** A module that can be called. What a call comes to depends on the module and the input alone. */
export class PreparedModule {
  readonly #parsed: ParsedModule;
  readonly #module: object;
  readonly #entries: ReadonlySet<Entry>;
  /** With the memory that it has at first; and with all that it may have, for calls that ask for more. */
  #small: Exports | undefined;
  #large: Exports | undefined;

  /** For {@link prepareModule}. */
  constructor(parsed: ParsedModule, module: object, entries: ReadonlySet<Entry>) {
    this.#parsed = parsed;
    this.#module = module;
    this.#entries = entries;
  }

  /** Whether it exports `resolve`, or `admit`. */
  has(entry: Entry): boolean {
    return this.#entries.has(entry);
  }

  /** An instance with its memory as it was when it was made. Throws `INTERNAL`. */
  #fresh(isLarge: boolean): Exports {
    const known = isLarge ? this.#large : this.#small;
    const exports = known ?? this.#instantiate(isLarge);
    if (known !== undefined) {
      const bytes = new Uint8Array(exports.memory.buffer);
      bytes.fill(0);
      for (const { offset, bytes: segment } of this.#parsed.data) bytes.set(segment, offset);
    }
    return exports;
  }

  #instantiate(isLarge: boolean): Exports {
    const { initialPages, maximalPages } = this.#parsed;
    try {
      const exports = new WebAssembly.Instance(this.#module).exports as Exports;
      if (!isLarge) return (this.#small = exports);
      exports.memory.grow(maximalPages - initialPages);
      exports[ADDED.large].value = 1;
      return (this.#large = exports);
    } catch (error) {
      throw exhausted(error);
    }
  }

  /**
   * Calls `resolve` or `admit` with an input. `wants` says of which results the bytes at `out` are part; there may be `LIMITS.valueBytes` of them.
   * Throws `INTERNAL` where this machine has no memory for it, which says nothing of the module.
   */
  call(entry: Entry, input: Uint8Array, wants: (result: number) => boolean): Outcome {
    return this.#call(entry, input, wants, false) ?? this.#call(entry, input, wants, true) ?? NEVER;
  }

  /** Undefined where it asks for memory that the small instance has not. */
  #call(
    entry: Entry,
    input: Uint8Array,
    wants: (result: number) => boolean,
    isLarge: boolean,
  ): Outcome | undefined {
    const exports = this.#fresh(isLarge);
    try {
      exports[ADDED.reset]();
      exports[ADDED.start]?.();
      const at = exports.alloc(input.length) >>> 0;
      if (at === 0 || at + input.length > exports.memory.buffer.byteLength) {
        throw new BadAnswer(`alloc gave no room for ${String(input.length)} bytes`);
      }
      new Uint8Array(exports.memory.buffer).set(input, at);
      const run = exports[entry];
      if (run === undefined) throw new BadAnswer(`it does not export ${entry}`);
      const result = run(input.length);
      const output = wants(result) ? readOutput(exports) : undefined;
      const answer = { kind: "answer", result, steps: usedBy(exports) } as const;
      return output === undefined ? answer : { ...answer, output };
    } catch (error) {
      return exports[ADDED.grows].value === 0 ? cutBy(error, exports) : undefined;
    }
  }
}

/** The large instance has all memory that a call may ask for. */
const NEVER: Outcome = { kind: "cut", reason: "trap", problem: "it has no memory", steps: 0 };

/** A stack that ends before the slots do, or memory that is not to be had, is of this machine: another one may go on. */
const exhausted = (cause: unknown): MeshError =>
  new MeshError("INTERNAL", "module: this machine has no memory or stack left for it", { cause });

const usedBy = (exports: Exports): number =>
  LIMITS.moduleSteps - Math.max(0, exports[ADDED.steps].value);

function readOutput(exports: Exports): Uint8Array {
  const length = exports.outLength() >>> 0;
  const at = exports.out() >>> 0;
  if (length > LIMITS.valueBytes || at + length > exports.memory.buffer.byteLength) {
    throw new BadAnswer(`its output has ${String(length)} bytes, or lies outside of its memory`);
  }
  return new Uint8Array(exports.memory.buffer, at, length).slice();
}

function cutBy(error: unknown, exports: Exports): Cut {
  const cut = (reason: CutReason, problem: string): Cut => ({
    kind: "cut",
    reason,
    problem,
    steps: usedBy(exports),
  });
  if (error instanceof BadAnswer) return cut("answer", error.message);
  if (!(error instanceof WebAssembly.RuntimeError)) throw exhausted(error);
  if (exports[ADDED.steps].value < 0) {
    return cut("steps", `it took over ${String(LIMITS.moduleSteps)} steps`);
  }
  if (exports[ADDED.slots].value < 0) return cut("depth", "its calls are nested too deep");
  return cut("trap", error.message);
}

/**
 * Makes untrusted bytes a module that can be called: checked whole, rewritten, and compiled. Throws `MODULE_INVALID` with the place and the
 * reason: it has more than `LIMITS.moduleBytes`, imports, more memory than `LIMITS.moduleMemoryPages`, an instruction that is not allowed, or not the
 * exports of the interface; or it is not valid. Throws `INTERNAL` where this machine can't run it, which says nothing of the module.
 */
export function prepareModule(bytes: Uint8Array): PreparedModule {
  const parsed = parseModule(bytes);
  const names = interfaceOf(parsed);
  const rewritten = rewriteModule(parsed, names);
  if (Reflect.get(globalThis, "WebAssembly") === undefined) {
    throw new MeshError("INTERNAL", "module: this machine does not run WebAssembly", {
      remedy: "without --jitless, Node runs it",
    });
  }
  if (!WebAssembly.validate(bytes)) refuse(0, "it is not valid WebAssembly");
  const entries = new Set((["resolve", "admit"] as const).filter((name) => names.includes(name)));
  try {
    return new PreparedModule(parsed, new WebAssembly.Module(rewritten), entries);
  } catch (error) {
    throw exhausted(error);
  }
}
