// SPDX-License-Identifier: Apache-2.0
/** One instance of the core in `wasm/`, which is one document: calls, buffers, and what goes wrong. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { WASM_BASE64 } from "./wasm-bytes.ts";

/** The part of the platform's WebAssembly that is used; the libraries of the compiler have it for pages alone. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

/** What the module exports; `wasm/README.md` describes it. */
export interface CoreExports {
  readonly memory: { readonly buffer: ArrayBuffer };
  init(limit: number, seed0: bigint, seed1: bigint): void;
  alloc(length: number): number;
  out(): number;
  outLength(): number;
  apply(length: number): number;
  merge(length: number): number;
  get(keyLength: number): number;
  scan(
    prefixLength: number,
    afterLength: number,
    kind: number,
    termLength: number,
    upTo: number,
    most: number,
  ): number;
  summary(): number;
  diff(length: number): number;
  leaves(): number;
  digest(): number;
  expires(afterMs: number, upToMs: number): number;
  stat(which: number): number;
}

/** Of the answers below 0. */
const FORMAT = -1;
const LIMIT = -2;

let compiled: object | undefined;

/** The module, compiled at the first call: 15 KB, which every engine takes at once. Throws where there is no WebAssembly. */
export function wasmModule(): object {
  compiled ??= new WebAssembly.Module(
    Uint8Array.from(atob(WASM_BASE64), (unit) => unit.charCodeAt(0)),
  );
  return compiled;
}

/** The instance of one document. After a trap its memory is worth nothing, and every call throws `INTERNAL`. */
export class WasmCore {
  readonly #exports: CoreExports;
  #memory = new Uint8Array();
  #isBroken = false;

  /** `seed`: 16 bytes that nobody else knows. */
  constructor(seed: Uint8Array, limitBytes: number) {
    const { exports } = new WebAssembly.Instance(wasmModule());
    this.#exports = exports as CoreExports;
    const { buffer, byteOffset } = seed;
    const view = new DataView(buffer, byteOffset);
    this.#exports.init(limitBytes, view.getBigUint64(0, true), view.getBigUint64(8, true));
  }

  /** Runs a call into the module. Throws `INTERNAL` once it has trapped. */
  #run<T>(call: (core: CoreExports) => T): T {
    if (this.#isBroken) throw this.#broken();
    try {
      return call(this.#exports);
    } catch (cause) {
      this.#isBroken = true;
      throw this.#broken(cause);
    }
  }

  #broken(cause?: unknown): MeshError {
    return new MeshError("INTERNAL", "facts: the engine of this document has failed", {
      remedy: "open the document again from the log",
      cause,
    });
  }

  /** The memory as it is now: growing it replaces the buffer. */
  #bytes(): Uint8Array {
    const { buffer } = this.#exports.memory;
    if (this.#memory.buffer !== buffer) this.#memory = new Uint8Array(buffer);
    return this.#memory;
  }

  /**
   * Calls with an input made of parts. Returns what the core answers, 0 or more. Throws `LIMIT_EXCEEDED` when the memory of the
   * document does not allow it, and `FORMAT_INVALID` for an input that `explain` has refused in its words, or else nobody did.
   */
  call(
    call: (core: CoreExports) => number,
    parts: readonly Uint8Array[] = [],
    explain?: () => unknown,
  ): number {
    const result = this.#run((core) => {
      if (parts.length > 0 && !this.#put(core, parts)) return LIMIT;
      return call(core);
    });
    if (result >= 0) return result;
    if (result === LIMIT) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `facts: the document would take more memory than wasmDocumentBytes (${String(LIMITS.wasmDocumentBytes)})`,
        { field: "document" },
      );
    }
    if (result === FORMAT) explain?.();
    throw new MeshError("FORMAT_INVALID", "facts frame: is malformed", { field: "frame" });
  }

  #put(core: CoreExports, parts: readonly Uint8Array[]): boolean {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    let at = core.alloc(length);
    if (at === 0) return false;
    const bytes = this.#bytes();
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return true;
  }

  /** The answer of the last call: a view that lasts until the next. */
  answer(): Uint8Array {
    return this.#run((core) => {
      const at = core.out();
      return this.#bytes().subarray(at, at + core.outLength());
    });
  }

  /** A figure of the document. */
  stat(which: number): number {
    return this.#run((core) => core.stat(which));
  }
}
