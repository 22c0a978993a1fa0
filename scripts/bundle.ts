// SPDX-License-Identifier: Apache-2.0
/**
 * Bundles the `ctxmesh` command: `node scripts/bundle.ts [FOLDER]` (default: packages/cli/bundle). A start from some
 * twenty files instead of a thousand takes half the time. What a command needs alone stays in a file of its own,
 * loaded when it runs. The folder must lie beside the `package.json` of the command, which tells its version.
 */
import { createRequire } from "node:module";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build, defaultServerConditions } from "vite";
import type { Plugin } from "vite";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const OUTPUT = `${ROOT}packages/cli/bundle`;

/** Native addons, which can't be in a bundle, and the package of ours that depends on each. */
const NATIVE: Readonly<Record<string, string>> = {
  "classic-level": "@ctxmesh/store-level",
  koffi: "@ctxmesh/vault",
};

/** Loads each addon as the package that depends on it would: npm may have installed it for that package alone. */
const nativeAddons: Plugin = {
  name: "native-addons",
  enforce: "pre",
  resolveId: (id) => (Object.hasOwn(NATIVE, id) ? `\0${id}` : undefined),
  load(id) {
    const name = id.slice(1);
    const owner = id.startsWith("\0") ? NATIVE[name] : undefined;
    if (owner === undefined) return undefined;
    const names = Object.keys(createRequire(`${ROOT}package.json`)(name) as object);
    return `
      import { createRequire } from "node:module";
      const near = createRequire(import.meta.resolve(${JSON.stringify(owner)}));
      const addon = near(${JSON.stringify(name)});
      ${names.map((use, i) => `const v${String(i)} = addon.${use}; export { v${String(i)} as ${use} };`).join("\n")}
    `;
  },
};

const COMMAND = `${ROOT}packages/cli/src/main.ts`;

/** Makes the bundle of the command, or of another program, in `folder`, which is emptied first; its entry is `main.mjs`. */
export async function bundle(folder: string, program: string = COMMAND): Promise<void> {
  await build({
    root: ROOT,
    configFile: false,
    logLevel: "warn",
    plugins: [nativeAddons],
    ssr: {
      noExternal: true,
      resolve: { conditions: ["@ctxmesh/source", ...defaultServerConditions] },
    },
    build: {
      ssr: program,
      outDir: folder,
      emptyOutDir: true,
      target: "node24",
      // Stack traces stay readable; the size of a file on the disk costs next to nothing.
      minify: false,
      rolldownOptions: {
        output: { entryFileNames: "main.mjs", chunkFileNames: "[name].mjs" },
      },
    },
  });
}

if (import.meta.main) await bundle(process.argv[2] ?? OUTPUT);
