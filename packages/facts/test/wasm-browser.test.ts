// SPDX-License-Identifier: Apache-2.0
/** The core in a page of a real browser: it compiles there at once, as it does in Node, and comes to the same digest. */
import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { WasmStore } from "@ctxmesh/facts";
import { toHex } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
import { build } from "vite";
import type { Rolldown } from "vite";
import { expect, test } from "vitest";
import { deviceFrames } from "./wasm-frames.ts";

const CHROMIUM = ["chromium", "chromium-browser", "google-chrome"].find((name) => {
  try {
    execFileSync(name, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
});
const note = CHROMIUM === undefined ? " (skipped: no chromium on this machine)" : "";
const TIMEOUT_MS = 60_000;

/** One script with all that the page needs. */
async function bundle(): Promise<string> {
  const [result] = (await build({
    configFile: false,
    logLevel: "error",
    resolve: { conditions: ["@ctxmesh/source", "browser"] },
    build: {
      write: false,
      lib: {
        entry: fileURLToPath(new URL("wasm-page.ts", import.meta.url)),
        formats: ["iife"],
        name: "page",
        fileName: "page",
      },
    },
  })) as readonly Rolldown.RolldownOutput[];
  return result?.output[0].code ?? "";
}

test.skipIf(CHROMIUM === undefined)(
  `a page comes to the digest that Node comes to${note}`,
  async () => {
    const store = new WasmStore(new Uint8Array(WasmStore.seedBytes));
    for (const { chain, bytes } of deviceFrames()) store.applyBytes(chain, bytes);
    await using folder = await tempDir();
    const page = join(folder.path, "page.html");
    const script = (await bundle()).replaceAll("</script", "<\\/script");
    await writeFile(page, `<!doctype html><meta charset="utf-8"><body><script>${script}</script>`);
    const shown = execFileSync(
      CHROMIUM ?? "",
      [
        "--headless",
        "--no-sandbox",
        `--user-data-dir=${join(folder.path, "profile")}`,
        "--dump-dom",
        pathToFileURL(page).href,
      ],
      { stdio: ["ignore", "pipe", "ignore"], timeout: TIMEOUT_MS, encoding: "utf8" },
    );
    expect(shown).toContain(`<body>same ${toHex(store.digest())} end</body>`);
  },
  2 * TIMEOUT_MS,
);
