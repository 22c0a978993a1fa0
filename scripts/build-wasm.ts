// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run build:wasm`: compiles the facts core in `wasm/assembly` to `wasm/facts.wasm`, and writes the same bytes as a
 * module of `packages/facts`, which may read no files. The same sources give the same bytes.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { main } from "assemblyscript/asc";

const ROOT = new URL("../", import.meta.url);
/** The compiled core, relative to the root. */
export const WASM_PATH = "wasm/facts.wasm";
/** The module with the same bytes. */
export const MODULE_PATH = "packages/facts/src/wasm-bytes.ts";
/** Pages of 64 KiB that the memory can never exceed; a document's own limit is in `LIMITS`. */
const MAX_PAGES = 4_096;
const OPTIONS = [
  "-O3",
  "--noAssert",
  // Nothing is imported, so what would report an error traps.
  "--use",
  "abort=",
  "--runtime",
  "minimal",
  "--initialMemory",
  "1",
  "--maximumMemory",
  String(MAX_PAGES),
];

/** Compiles the core; throws with what the compiler says, warnings too. */
export async function compileWasm(): Promise<Uint8Array> {
  let binary = new Uint8Array();
  let said = "";
  const sink = {
    write: (text: Uint8Array | string) => {
      said += typeof text === "string" ? text : Buffer.from(text).toString();
    },
  };
  const { error } = await main(
    [
      "wasm/assembly/index.ts",
      "--outFile",
      "facts.wasm",
      "--baseDir",
      fileURLToPath(ROOT),
      ...OPTIONS,
    ],
    {
      stdout: sink,
      stderr: sink,
      writeFile: (name, contents) => {
        if (name === "facts.wasm" && typeof contents !== "string")
          binary = new Uint8Array(contents);
      },
    },
  );
  if (error !== null || said !== "") throw new Error(`asc: ${error?.message ?? ""}\n${said}`);
  return binary;
}

/** The text of the module that holds the bytes. */
export const moduleOf = (wasm: Uint8Array): string =>
  `// SPDX-License-Identifier: Apache-2.0
/** Made by \`npm run build:wasm\` from \`wasm/assembly\`; do not edit. */

/** The compiled facts core, base64. */
export const WASM_BASE64: string =
  "${Buffer.from(wasm).toString("base64")}";
`;

if (import.meta.main) {
  const wasm = await compileWasm();
  writeFileSync(new URL(WASM_PATH, ROOT), wasm);
  writeFileSync(new URL(MODULE_PATH, ROOT), moduleOf(wasm));
}
