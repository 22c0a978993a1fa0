// SPDX-License-Identifier: Apache-2.0
/** A headless Chromium, spoken to over its DevTools protocol, and a web server of a few files. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";

const BOUND_MS = 30_000;
const PROGRAM = ["chromium", "chromium-browser", "google-chrome"].find(
  (name) => spawnSync(name, ["--version"]).status === 0,
);

/** Whether there is one on this machine; says so when there is none. */
export const HAS_BROWSER: boolean = PROGRAM !== undefined;
if (!HAS_BROWSER) process.stderr.write("no chromium: replicas in pages are not tested\n");

/** One tab. */
export interface Page {
  /** The value of an expression in it, or of its promise, as JSON has it. Rejects with what the page throws. */
  evaluate<T = unknown>(expression: string): Promise<T>;
  /** Loads its page again, and waits for the end of that. */
  reload(): Promise<void>;
  /** Any method of the protocol. */
  ask(method: string, params?: object): Promise<Readonly<Record<string, unknown>>>;
}

/** A browser with tabs, which share what the site keeps. */
export interface Browser extends AsyncDisposable {
  /** Opens a page, and waits until it is loaded. */
  open(url: string): Promise<Page>;
}

interface Answer {
  readonly id?: number;
  readonly error?: { readonly message: string };
  readonly result?: Readonly<Record<string, unknown>>;
}

interface Evaluated {
  readonly result?: { readonly value?: unknown };
  readonly exceptionDetails?: {
    readonly text: string;
    readonly exception?: { readonly description?: string };
  };
}

async function connect(socketUrl: string): Promise<Page & Disposable> {
  const socket = new WebSocket(socketUrl);
  const waiting = new Map<number, (answer: Answer) => void>();
  socket.addEventListener("message", ({ data }) => {
    const answer = JSON.parse(String(data)) as Answer;
    waiting.get(answer.id ?? 0)?.(answer);
    waiting.delete(answer.id ?? 0);
  });
  await new Promise((resolve) => {
    socket.addEventListener("open", resolve, { once: true });
  });
  let count = 0;
  const ask: Page["ask"] = async (method, params = {}) => {
    count += 1;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    waiting.set(count, resolve);
    socket.send(JSON.stringify({ id: count, method, params }));
    const { result = {}, error } = await promise;
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  };
  const evaluate = async <T>(expression: string): Promise<T> => {
    const how = { expression, returnByValue: true, awaitPromise: true };
    const { result, exceptionDetails: failed } = (await ask(
      "Runtime.evaluate",
      how,
    )) as unknown as Evaluated;
    if (failed !== undefined) throw new Error(failed.exception?.description ?? failed.text);
    return result?.value as T;
  };
  const loaded = async (): Promise<void> =>
    waitFor(
      async () => {
        // While a page is left, nothing is evaluated in it.
        const state = await evaluate("document.readyState").catch(() => "");
        return state === "complete";
      },
      { timeoutMs: BOUND_MS, what: "the page" },
    );
  return {
    ask,
    evaluate,
    reload: async () => {
      await evaluate("globalThis.isOld = true");
      await ask("Page.reload");
      const isNew = async (): Promise<boolean> =>
        (await evaluate("globalThis.isOld").catch(() => true)) === undefined;
      await waitFor(isNew, { timeoutMs: BOUND_MS, what: "the new page" });
      await loaded();
    },
    [Symbol.dispose]: () => {
      socket.close();
    },
  };
}

const removed = async (dir: TempDir): Promise<boolean> =>
  dir.remove().then(
    () => true,
    () => false,
  );

/** Starts one: with what an earlier one left in a folder, or with nothing that was there before. It ends by being killed. */
export async function startBrowser(kept?: TempDir): Promise<Browser> {
  const profile = kept ?? (await tempDir());
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
      const page = await connect(webSocketDebuggerUrl);
      pages.push(page);
      const isThere = async (): Promise<boolean> =>
        (await page
          .evaluate("location.href !== 'about:blank' && document.readyState")
          .catch(() => "")) === "complete";
      await waitFor(isThere, { timeoutMs: BOUND_MS, what: url });
      return page;
    },
    [Symbol.asyncDispose]: async () => {
      for (const page of pages) page[Symbol.dispose]();
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
      if (kept !== undefined) return;
      await waitFor(async () => removed(profile), {
        timeoutMs: BOUND_MS,
        what: "the browser's other processes to end",
      });
    },
  };
}

/** Files by path, such as `/index.html`. */
export type Files = Readonly<Record<string, string>>;

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
};

/** Serves files on a port of this machine. */
export async function serveFiles(
  files: Files,
): Promise<AsyncDisposable & { readonly origin: string }> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://x");
    const path = pathname.endsWith("/") ? `${pathname}index.html` : pathname;
    const text = files[path];
    response.statusCode = text === undefined ? 404 : 200;
    response.setHeader("content-type", TYPES[path.split(".").at(-1) ?? ""] ?? "text/plain");
    response.end(text ?? "not here");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.closeAllConnections();
      server.close();
      await closed;
    },
  };
}
