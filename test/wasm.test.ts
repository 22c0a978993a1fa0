// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the compiled core that the packages carry is the one that the sources make, and stays small and shut in.
 * Method: compile it twice, in two processes, and compare with what is there; read what the module asks for and gives.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { MODULE_PATH, WASM_PATH, moduleOf } from "../scripts/build-wasm.ts";

/** The part of the platform that the compiler's libraries have for pages alone. */
interface Platform {
  readonly WebAssembly: {
    readonly Module: (new (bytes: Uint8Array) => object) & {
      imports(module: object): readonly unknown[];
      exports(module: object): readonly { readonly name: string }[];
    };
    readonly Instance: new (module: object) => { readonly exports: unknown };
  };
}
/** Those of the core's exports that are called here. */
interface Core {
  readonly memory: { grow(pages: number): number };
  init(limit: number, seed0: bigint, seed1: bigint): void;
  alloc(bytes: number): number;
  stat(which: number): number;
}

const { WebAssembly } = globalThis as unknown as Platform;
const run = promisify(execFile);
/** Bytes of the module, uncompressed. */
const BUDGET = 16_384;
const PAGE_BYTES = 65_536;

/** The bytes that a process of its own compiles. */
async function compiled(): Promise<Buffer> {
  const program = `
    const { compileWasm } = await import(${JSON.stringify(new URL("../scripts/build-wasm.ts", import.meta.url))});
    process.stdout.write(Buffer.from(await compileWasm()).toString("base64"));
  `;
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", program]);
  return Buffer.from(stdout, "base64");
}

test("the sources make the same bytes each time: those of the file, and of the module in packages/facts", async () => {
  const [one, other] = [await compiled(), await compiled()];
  expect(one.length).toBeGreaterThan(8_192);
  expect(other.equals(one)).toBe(true);
  expect((await readFile(WASM_PATH)).equals(one)).toBe(true);
  expect(await readFile(MODULE_PATH, "utf8")).toBe(moduleOf(one));
});

test("the module stays within its budget, imports nothing, and gives what its README says", async () => {
  const bytes = await readFile(WASM_PATH);
  expect(bytes.length).toBeLessThanOrEqual(BUDGET);
  const module = new WebAssembly.Module(bytes);
  expect(WebAssembly.Module.imports(module)).toEqual([]);
  const readme = await readFile("wasm/README.md", "utf8");
  const described = [...readme.matchAll(/^\| `(\w+)[(`]/gmu)].map(([, name]) => name);
  const given = WebAssembly.Module.exports(module).map(({ name }) => name);
  expect(new Set(described)).toEqual(new Set(given));
});

test("the memory of a document can't grow past its maximum, and a limit below is kept to", async () => {
  const module = new WebAssembly.Module(await readFile(WASM_PATH));
  const core = new WebAssembly.Instance(module).exports as Core;
  expect(() => core.memory.grow(4_096)).toThrow(RangeError);
  core.init(PAGE_BYTES, 0n, 0n);
  for (const bytes of [PAGE_BYTES, 2 ** 31, 2 ** 32 - 1]) expect(core.alloc(bytes)).toBe(0);
  expect(core.alloc(1_000)).toBeGreaterThan(0);
  expect(core.stat(6)).toBeLessThanOrEqual(PAGE_BYTES);
});
