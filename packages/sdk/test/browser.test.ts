// SPDX-License-Identifier: Apache-2.0
/** The browser entry: what a bundler makes of it, and that it works in a page of a real browser. */
import { execFileSync, spawn } from "node:child_process";
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { tempDir } from "@ctxmesh/testing";
import { build } from "vite";
import type { Rolldown } from "vite";
import { expect, test } from "vitest";
import { startMemoryNode } from "./memory-node.ts";

const TOKEN = "a-token-of-the-test-with-32-characters";

/** One module with all that a page needs. */
async function bundle(): Promise<string> {
  const result = (await build({
    configFile: false,
    logLevel: "error",
    resolve: { conditions: ["@ctxmesh/source", "browser"] },
    build: {
      write: false,
      minify: false,
      lib: {
        entry: fileURLToPath(new URL("browser-page.ts", import.meta.url)),
        formats: ["es"],
        fileName: "page",
      },
    },
  })) as readonly Rolldown.RolldownOutput[];
  const [chunk, ...others] = result[0]?.output ?? [];
  expect(others).toEqual([]);
  if (chunk === undefined) throw new Error("no bundle");
  expect(chunk.imports).toEqual([]);
  return chunk.code;
}

const chromium = ((): string | undefined => {
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    try {
      execFileSync(name, ["--version"], { stdio: "ignore" });
      return name;
    } catch {
      // The next name.
    }
  }
  return undefined;
})();

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
};

test("a bundle for browsers has no module of Node.js", async () => {
  const code = await bundle();
  expect(code).toContain("no URL of a node");
  expect(code).not.toMatch(/["']node:|__vite-browser-external|\bBuffer\.from\b/u);
});

test.skipIf(chromium === undefined)(
  `a page of another origin writes, reads, watches and views${chromium === undefined ? " (skipped: no chromium on this machine)" : ""}`,
  async () => {
    const code = await bundle();
    await using profile = await tempDir();
    await using node = await startMemoryNode();
    const reported = Promise.withResolvers<string>();
    let page = "";
    const pages = createServer((request, response) => {
      if (request.method === "POST") {
        response.end();
        void bodyOf(request).then(reported.resolve, reported.reject);
        return;
      }
      const isScript = request.url === "/page.js";
      response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
      response.end(isScript ? code : page);
    });
    await new Promise<void>((resolve) => pages.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${String((pages.address() as AddressInfo).port)}`;
    const url = await node.listen(TOKEN, [origin]);
    page = `<!doctype html><title>test</title><script type="module">
      import { run } from "/page.js";
      run(${JSON.stringify({ url, token: TOKEN })})
        .catch((error) => ({ failed: String(error) }))
        .then((result) => fetch("/report", { method: "POST", body: JSON.stringify(result) }));
    </script>`;
    const browser = spawn(
      chromium ?? "",
      [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        `--user-data-dir=${profile.path}`,
        origin,
      ],
      { stdio: "ignore" },
    );
    const gone = new Promise((resolve) => browser.once("close", resolve));
    try {
      expect(JSON.parse(await reported.promise)).toEqual({
        value: 71.5,
        none: true,
        watched: [1, 2],
        viewed: 3,
        refused: "INPUT_INVALID",
      });
      expect(node.service.get("d", "temperature")?.value).toBe(71.5);
    } finally {
      browser.kill("SIGKILL");
      await gone;
      pages.close();
      pages.closeAllConnections();
    }
  },
  60_000,
);
