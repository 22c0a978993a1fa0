// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the store of a page keeps the promises of the port `Store`.
 * Method: the acceptance suite of the port, whose calls are made in a page of a headless Chromium.
 */
import { fileURLToPath } from "node:url";
import { MeshError } from "@ctxmesh/model";
import type { MeshErrorCode, Store, StoreChange, StoreRange } from "@ctxmesh/model";
import { runStoreTests } from "@ctxmesh/testing";
import type { StoreUnderTest } from "@ctxmesh/testing";
import { build } from "vite";
import type { Rolldown } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HAS_BROWSER, serveFiles, startBrowser } from "./browser/chromium.ts";
import type { Page } from "./browser/chromium.ts";

const MODEL_RUNS = 5;

/** The page's script. */
async function bundle(): Promise<string> {
  const results = (await build({
    configFile: false,
    logLevel: "error",
    resolve: { conditions: ["@ctxmesh/source", "browser"] },
    build: {
      write: false,
      minify: false,
      target: "es2024",
      lib: {
        entry: fileURLToPath(new URL("../packages/browser/test/store-page.ts", import.meta.url)),
        formats: ["es"],
        fileName: "page",
      },
    },
  })) as readonly Rolldown.RolldownOutput[];
  return results[0]?.output[0]?.code ?? "";
}

type Answer<T> =
  | { readonly value: T }
  | {
      readonly error: {
        readonly code: MeshErrorCode;
        readonly message: string;
        readonly field?: string;
      };
    };
type Numbers = readonly number[];

/** Makes a call in the page, at once, so that calls get there in their order. */
async function call<T>(page: Page, name: string, ...args: readonly unknown[]): Promise<T> {
  const text = JSON.stringify([name, ...args], (_, value: unknown) =>
    value instanceof Uint8Array ? [...value] : value,
  );
  const answer = await page.evaluate<Answer<T>>(`call(...${text})`);
  if (!("error" in answer)) return answer.value;
  const { code, message, field } = answer.error;
  throw new MeshError(code, message, field === undefined ? {} : { field });
}

/** The store that is open in the page. */
class RemoteStore implements Store {
  readonly #page: Page;
  readonly #name: string;
  #isClosed = false;

  constructor(page: Page, name: string) {
    this.#page = page;
    this.#name = name;
  }

  async write(changes: readonly StoreChange[]): Promise<void> {
    await call(this.#page, "write", this.#name, changes);
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const value = await call<Numbers | undefined>(this.#page, "get", this.#name, key);
    return value === undefined ? undefined : Uint8Array.from(value);
  }

  scan(range: StoreRange): AsyncIterable<readonly [Uint8Array, Uint8Array]> {
    // The port throws these at once, and the page is not asked at once.
    if (this.#isClosed) throw new MeshError("CLOSED", "the store is closed");
    const { limit } = range;
    if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 0)) {
      throw new MeshError("INPUT_INVALID", "not a count", { field: "limit" });
    }
    const started = call<number>(this.#page, "scan", this.#name, range);
    return this.#entries(started);
  }

  async *#entries(
    started: Promise<number>,
  ): AsyncGenerator<readonly [Uint8Array, Uint8Array], void, undefined> {
    const scan = await started;
    try {
      for (;;) {
        const entry = await call<readonly [Numbers, Numbers] | undefined>(this.#page, "next", scan);
        if (entry === undefined) return;
        yield [Uint8Array.from(entry[0]), Uint8Array.from(entry[1])];
      }
    } finally {
      await call(this.#page, "leave", scan);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await call(this.#page, "close", this.#name);
  }
}

describe.skipIf(!HAS_BROWSER)("in a page of Chromium", () => {
  const cleanup = new AsyncDisposableStack();
  let page: Page;
  let count = 0;

  beforeAll(async () => {
    const files = {
      "/": "",
      "/index.html": `<!doctype html><script type="module" src="/page.js"></script>`,
      "/page.js": await bundle(),
    };
    const site = cleanup.use(await serveFiles(files));
    const browser = cleanup.use(await startBrowser());
    page = await browser.open(`${site.origin}/`);
  });
  afterAll(async () => cleanup.disposeAsync());

  const open = async (): Promise<StoreUnderTest> => {
    count += 1;
    const name = `store-${String(count)}`;
    let store = new RemoteStore(page, name);
    await call(page, "open", name);
    return {
      store,
      async reopen() {
        await store.close();
        await call(page, "open", name);
        store = new RemoteStore(page, name);
        return store;
      },
      async destroy() {
        await store.close();
        await call(page, "remove", name);
      },
    };
  };
  test("after a write that failed, nothing more is written before the store is opened again, and reads go on", async () => {
    const opened = await open();
    const { store } = opened;
    const [key, value] = [Uint8Array.of(1), Uint8Array.of(2)];
    await store.write([{ key, value }]);
    await call(page, "failOnce", `store-${String(count)}`);
    const failed = { code: "STORE_FAILED" };
    await expect(store.write([{ key, value: Uint8Array.of(3) }])).rejects.toMatchObject(failed);
    await expect(store.write([{ key, value: Uint8Array.of(4) }])).rejects.toMatchObject(failed);
    expect(await store.get(key)).toEqual(value);
    const again = await opened.reopen();
    await again.write([{ key, value: Uint8Array.of(5) }]);
    expect(await again.get(key)).toEqual(Uint8Array.of(5));
    await opened.destroy();
  });

  test("of a write that the browser refuses to take in the middle nothing is written", async () => {
    const opened = await open();
    await call(page, "refuseShort");
    const write = opened.store.write([
      { key: Uint8Array.of(1), value: Uint8Array.of(1, 2) },
      { key: Uint8Array.of(2), value: Uint8Array.of(3) },
    ]);
    await expect(write).rejects.toMatchObject({ code: "STORE_FAILED" });
    const again = await opened.reopen();
    expect(await again.get(Uint8Array.of(1))).toBeUndefined();
    await opened.destroy();
  });

  // Each call goes to another process and back.
  runStoreTests("a store over IndexedDB", open, MODEL_RUNS);
});
