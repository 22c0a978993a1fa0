// SPDX-License-Identifier: Apache-2.0
/** A headless Chromium, spoken to over its DevTools protocol, and the page that it opens, bundled as a reader of the docs would. */
import { spawn, spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { once } from "node:events";
import { tempDir, waitFor } from "@ctxmesh/testing";
import { build } from "vite";
import { WebSocket } from "ws";

const BOUND_MS = 30_000;
const PROGRAM = ["chromium", "chromium-browser", "google-chrome"].find(
  (name) => spawnSync(name, ["--version"]).status === 0,
);

/** Whether there is one on this machine. */
export const HAS_BROWSER: boolean = PROGRAM !== undefined;

/** One page. */
export interface Page {
  /** The value of an expression in it. */
  evaluate(expression: string): Promise<unknown>;
  /** Types into what has the focus. */
  type(text: string): Promise<void>;
}

/** A browser with pages. */
export interface Browser extends AsyncDisposable {
  open(url: string): Promise<Page>;
}

interface Answer {
  readonly id?: number;
  readonly result?: { readonly result?: { readonly value?: unknown } };
}

async function pageAt(socketUrl: string): Promise<Page & Disposable> {
  const socket = new WebSocket(socketUrl);
  const waiting = new Map<number, (answer: Answer) => void>();
  socket.on("message", (data: Buffer) => {
    const answer = JSON.parse(data.toString()) as Answer;
    waiting.get(answer.id ?? 0)?.(answer);
  });
  await once(socket, "open");
  let count = 0;
  const ask = async (method: string, params: object): Promise<Answer> => {
    count += 1;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    waiting.set(count, resolve);
    socket.send(JSON.stringify({ id: count, method, params }));
    return promise;
  };
  return {
    evaluate: async (expression) => {
      const { result } = await ask("Runtime.evaluate", { expression, returnByValue: true });
      return result?.result?.value;
    },
    type: async (text) => void (await ask("Input.insertText", { text })),
    [Symbol.dispose]: () => socket.terminate(),
  };
}

/** Starts one, with nothing that was there before. */
export async function startBrowser(): Promise<Browser> {
  const profile = await tempDir();
  const child = spawn(
    PROGRAM ?? "",
    [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--remote-debugging-port=0",
      `--user-data-dir=${profile.path}`,
      "about:blank",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const address = (): string | undefined =>
    /DevTools listening on ws:\/\/([^/]+)\//u.exec(said)?.[1];
  await waitFor(() => address() !== undefined, { timeoutMs: BOUND_MS, what: "the browser" });
  const pages: Disposable[] = [];
  return {
    open: async (url) => {
      const base = `http://${address() ?? ""}`;
      const made = await fetch(`${base}/json/new?${encodeURIComponent(url)}`, { method: "PUT" });
      const { webSocketDebuggerUrl } = (await made.json()) as { webSocketDebuggerUrl: string };
      const page = await pageAt(webSocketDebuggerUrl);
      pages.push(page);
      return page;
    },
    [Symbol.asyncDispose]: async () => {
      for (const page of pages) page[Symbol.dispose]();
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
      await waitFor(
        async () =>
          profile.remove().then(
            () => true,
            () => false,
          ),
        { timeoutMs: BOUND_MS, what: "the end of the browser's other processes" },
      );
    },
  };
}

/** A web server of the bundled example. */
export interface Site extends AsyncDisposable {
  readonly origin: string;
}

const TYPES: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript" };

/** Bundles `docs/examples/yjs.html` and serves it. */
export async function serveExample(): Promise<Site> {
  const dir = await tempDir();
  const root = join(import.meta.dirname, "../../docs/examples");
  await build({
    root,
    configFile: false,
    logLevel: "error",
    build: { outDir: dir.path, rollupOptions: { input: join(root, "yjs.html") } },
  });
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://x").pathname;
    const answer = async (): Promise<void> => {
      const body = await readFile(join(dir.path, path)).catch(() => undefined);
      response.statusCode = body === undefined ? 404 : 200;
      response.setHeader("content-type", TYPES[extname(path)] ?? "text/plain");
      response.end(body);
    };
    void answer();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await dir.remove();
    },
  };
}
