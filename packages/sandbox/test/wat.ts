// SPDX-License-Identifier: Apache-2.0
/** Modules from text, and the interface that they need. */
import binaryen from "binaryen";

/** The bytes of a module in WebAssembly text. */
export function wat(text: string): Uint8Array {
  const module = binaryen.parseText(text);
  module.setFeatures(binaryen.Features.All);
  const bytes = module.emitBinary();
  module.dispose();
  return bytes;
}

/** A module with the functions that host and module talk by: the input is at 1024; `out` and its length are in globals. */
export const withInterface = (body: string, memory = "1 16"): Uint8Array =>
  wat(`(module
    (memory (export "memory") ${memory})
    (global $out (mut i32) (i32.const 0))
    (global $outLength (mut i32) (i32.const 0))
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "out") (result i32) (global.get $out))
    (func (export "outLength") (result i32) (global.get $outLength))
    ${body})`);

/** One whose `resolve` does this. */
export const resolving = (code: string, others = "", memory = "1 16"): Uint8Array =>
  withInterface(
    `${others} (func (export "resolve") (param $length i32) (result i32) ${code})`,
    memory,
  );
