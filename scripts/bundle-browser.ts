// SPDX-License-Identifier: Apache-2.0
/**
 * Bundles the replica for pages: `node scripts/bundle-browser.ts [FOLDER]` (default: packages/browser/bundle). One ES module,
 * `ctxmesh.js`, with its WebAssembly in it, that needs nothing else.
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build, defaultClientConditions } from "vite";
import type { Rolldown } from "vite";

const PACKAGE = fileURLToPath(new URL("../packages/browser", import.meta.url));

/** Makes the file in `folder`, which is emptied first. Throws when it came to more than one file, or imports one. */
export async function bundleBrowser(folder: string): Promise<void> {
  const results = (await build({
    root: PACKAGE,
    configFile: false,
    logLevel: "warn",
    resolve: { conditions: ["@ctxmesh/source", ...defaultClientConditions] },
    build: {
      outDir: folder,
      emptyOutDir: true,
      target: "es2024",
      lib: { entry: `${PACKAGE}/src/index.ts`, formats: ["es"], fileName: () => "ctxmesh.js" },
      // Of libraries Vite leaves the white space in.
      rolldownOptions: { output: { minify: true } },
    },
  })) as readonly Rolldown.RolldownOutput[];
  const [chunk, ...others] = results[0]?.output ?? [];
  if (chunk === undefined || others.length > 0) throw new Error("not one file");
  if (chunk.imports.length > 0) throw new Error(`it imports ${chunk.imports.join(", ")}`);
}

if (import.meta.main) await bundleBrowser(process.argv[2] ?? `${PACKAGE}/bundle`);
