// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a page has a whole replica, with and without a connection, whoever is at the other end of it.
 * Method: the bundle in a headless Chromium against real hubs, which stop and come back, and one that lies.
 */
import { readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { createDeviceVerifier } from "@ctxmesh/crypto";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Hub } from "@ctxmesh/hub";
import type { NodeStatus, VisibleFact } from "@ctxmesh/model";
import { systemRandom } from "@ctxmesh/service";
import { createRecordingLogger, tempDir, waitFor } from "@ctxmesh/testing";
import { createWsServer } from "@ctxmesh/transport-ws";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bundleBrowser } from "../scripts/bundle-browser.ts";
import { HAS_BROWSER, serveFiles, startBrowser } from "./browser/chromium.ts";
import type { Browser, Page } from "./browser/chromium.ts";
import { siteOf } from "./browser/site.ts";
import {
  Plant,
  WRITER_SEED,
  deps,
  fileFor,
  hubDevice,
  inviteOf,
  otherSpaceFile,
  space,
  spaceFor,
} from "./browser/plant.ts";

/** The bundle as measured, and a tenth more. */
const BUDGET_BYTES = 948_000;
const BOUND_MS = 20_000;

const cleanup = new AsyncDisposableStack();
let folder: string;
let origin: string;
let browser: Browser;
let bundleText: string;
let plant: Plant;

beforeAll(async () => {
  const dir = await tempDir();
  cleanup.defer(async () => dir.remove());
  folder = dir.path;
  await bundleBrowser(join(folder, "bundle"));
  bundleText = await readFile(join(folder, "bundle", "ctxmesh.js"), "utf8");
  if (!HAS_BROWSER) return;
  plant = new Plant(folder);
  ({ origin } = cleanup.use(await serveBundle()));
  browser = cleanup.use(await startBrowser());
});
afterAll(async () => cleanup.disposeAsync());

const serveBundle = async (): ReturnType<typeof serveFiles> => serveFiles(siteOf(bundleText));

/** Opens a replica in a page as `mesh`; returns its device, or the code of the error. */
const open = async (page: Page, options: object): Promise<string> =>
  page.evaluate(`ctxmesh.openReplica(${JSON.stringify(options)}).then(
    (mesh) => { globalThis.mesh = mesh; return mesh.device; }, (error) => error.code ?? String(error))`);

const put = async (page: Page, key: string, value: unknown, doc = "d"): Promise<string> =>
  page.evaluate(`mesh.put(${JSON.stringify(doc)}, ${JSON.stringify({ key, value })}).then(
    (receipt) => receipt.acknowledged, (error) => error.code ?? String(error))`);

const valueAt = async (page: Page, key: string, doc = "d"): Promise<unknown> =>
  (
    await page.evaluate<VisibleFact | undefined>(
      `mesh.get(${JSON.stringify(doc)}, ${JSON.stringify(key)})`,
    )
  )?.value;

const statusOf = async (page: Page): Promise<NodeStatus> =>
  page.evaluate("mesh.status({ digest: true })");

const until = async (what: string, is: () => Promise<boolean> | boolean): Promise<void> =>
  waitFor(is, { timeoutMs: BOUND_MS, what });

const untilSame = async (page: Page, hub: Pick<Hub, "service">): Promise<void> =>
  until("equal digests", async () => {
    const [here, there] = [await statusOf(page), await hub.service.status({ digest: true })];
    return here.digest === there.digest && here.frontier === there.frontier;
  });

test("the bundle is one file within its budget, and has no module of Node.js", async () => {
  const { size } = await stat(join(folder, "bundle", "ctxmesh.js"));
  expect(size).toBeLessThan(BUDGET_BYTES);
  expect(bundleText).not.toMatch(/["']node:|__vite-browser-external/u);
});

describe.skipIf(!HAS_BROWSER)("a replica in a page", () => {
  test("joins with an invite, goes on without its hub and through a reload, and comes together with all in the end", async () => {
    const page = await browser.open(`${origin}/`);
    let device: string;
    {
      await using hub = await plant.start();
      const options = { name: "line", invite: inviteOf(plant.url), urls: [plant.url] };
      device = await open(page, options);
      expect(device).toMatch(/^[0-9a-f]{64}$/u);
      expect(await put(page, "a", 1)).toBe("local");
      await until("the fact at the hub", () => hub.service.get("d", "a")?.value === 1);
      expect(hub.service.get("d", "a")?.writer).toBe(device);
      const hubAcknowledges = `mesh.put("d", { key: "b", value: { deep: [1, "x", null] } }, { ack: "hub" }).then((r) => r.acknowledged)`;
      expect(await page.evaluate(hubAcknowledges)).toBe("hub");
    }
    await until("the end of the link", async () => (await statusOf(page)).peers.length === 0);
    expect(await put(page, "a", 2)).toBe("local");
    expect(await put(page, "big", "x".repeat(10_000))).toBe("local");
    await page.reload();
    // Neither the hub nor the invite is needed any more.
    expect(await open(page, { name: "line", urls: [plant.url] })).toBe(device);
    expect(await valueAt(page, "a")).toBe(2);
    expect(await put(page, "c", "offline")).toBe("local");
    await page.evaluate(`globalThis.seen = []; void (async () => {
      for await (const { key } of mesh.watch({ doc: "other" })) seen.push(key);
    })()`);

    await using hub = await plant.start();
    const agent = await createAgent(
      {
        version: "0.0.0",
        space,
        deviceSeed: WRITER_SEED,
        storePath: join(folder, "agent"),
        socketPath: join(folder, "agent.sock"),
        mesh: { listen: [], peers: [] },
        hubs: [plant.url],
        sources: [],
      },
      deps,
    );
    await using stopping = new AsyncDisposableStack();
    stopping.defer(async () => agent.stop());
    await agent.service.put(
      "other",
      Array.from({ length: 300 }, (_, i) => ({ key: `k${String(i)}`, value: i })),
    );
    await until("the agent's facts", async () => (await valueAt(page, "k299", "other")) === 299);
    await until("the page's facts", () => agent.service.get("d", "c")?.value === "offline");
    await untilSame(page, hub);
    expect(agent.service.get("d", "a")?.value).toBe(2);
    expect(await page.evaluate<number>("seen.length")).toBe(300);
    // Online and offline are told by the browser, too.
    await page.ask("Network.enable");
    const network = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
    await page.ask("Network.emulateNetworkConditions", { ...network, offline: true });
    await until("the loss of the link", async () => (await statusOf(page)).peers.length === 0);
    expect(await put(page, "d", "no network")).toBe("local");
    await page.ask("Network.emulateNetworkConditions", { ...network, offline: false });
    await untilSame(page, hub);
    expect(hub.service.get("d", "d")?.value).toBe("no network");
    await page.evaluate("mesh.close()");
  }, 90_000);

  test("belongs to one tab at a time, and is a device that can be granted its rights beforehand", async () => {
    const [one, two] = [await browser.open(`${origin}/`), await browser.open(`${origin}/`)];
    expect(await open(one, { name: "granted" })).toBe("INPUT_INVALID");
    const device = await one.evaluate<string>(`ctxmesh.deviceKey("granted")`);
    const file = fileFor(device);
    expect(await open(one, { name: "granted", space: file })).toBe(device);
    expect(await put(one, "k", 1)).toBe("local");
    expect(await open(two, { name: "granted" })).toBe("STORE_LOCKED");
    const deleting = `ctxmesh.deleteReplica("granted").then(() => "deleted", (error) => error.code)`;
    expect(await two.evaluate(deleting)).toBe("STORE_LOCKED");
    await one.evaluate("mesh.close()");
    expect(await open(two, { name: "granted" })).toBe(device);
    expect(await valueAt(two, "k")).toBe(1);
    await two.evaluate("mesh.close()");
    expect(await two.evaluate(deleting)).toBe("deleted");
    expect(await two.evaluate(`ctxmesh.deviceKey("granted")`)).not.toBe(device);
  });

  test("runs in a worker, too", async () => {
    const page = await browser.open(`${origin}/`);
    const device = await page.evaluate<string>(`ctxmesh.deviceKey("working")`);
    const options = { name: "working", space: fileFor(device) };
    const told = await page.evaluate(`new Promise((resolve, reject) => {
      const worker = new Worker("/worker.js", { type: "module" });
      worker.addEventListener("error", ({ message }) => reject(new Error(message)));
      worker.addEventListener("message", ({ data }) => resolve(data));
      worker.postMessage(${JSON.stringify(options)});
    })`);
    expect(told).toEqual({ device, value: 1, problems: [] });
  });

  test("is not opened with the file of another space, and goes on with its own", async () => {
    const page = await browser.open(`${origin}/`);
    const device = await page.evaluate<string>(`ctxmesh.deviceKey("own")`);
    expect(await open(page, { name: "own", space: fileFor(device) })).toBe(device);
    expect(await put(page, "k", 1)).toBe("local");
    await page.evaluate("mesh.close()");
    expect(await open(page, { name: "own", space: otherSpaceFile() })).toBe("STORE_FORMAT");
    expect(await open(page, { name: "own" })).toBe(device);
    expect(await valueAt(page, "k")).toBe(1);
    await page.evaluate("mesh.close()");
  });

  test("has the calls of the client, with their errors", async () => {
    const page = await browser.open(`${origin}/`);
    const keys = [`ctxmesh.deviceKey("calls")`, `ctxmesh.deviceKey("calls")`];
    const [device = "", same] = await page.evaluate<readonly string[]>(
      `Promise.all([${keys.join()}])`,
    );
    // Whoever asks first makes it, and all get that one.
    expect(same).toBe(device);
    expect(await open(page, { name: "calls", space: fileFor(device) })).toBe(device);
    const made = await page.evaluate(`(async () => {
      const codeOf = async (promise) => promise.then(() => "none", (error) => error.code);
      const view = mesh.view({ doc: "v", prefix: "n/", map: ({ value }) => value, reduce: (a, b) => a + b });
      await view.ready;
      const { version } = await mesh.put("v", [{ key: "n/a", value: 1 }, { key: "n/b", value: 2 }]);
      const before = await mesh.get("v", "n/a");
      await mesh.compareAndSet("v", { key: "n/a", value: 10 }, before.version);
      const conflict = await codeOf(mesh.compareAndSet("v", { key: "n/a", value: 11 }, before.version));
      await mesh.delete("v", ["n/b"]);
      while (view.value !== 10) await new Promise((resolve) => setTimeout(resolve, 5));
      await view[Symbol.asyncDispose]();
      const called = AbortSignal.abort();
      const watched = [];
      for await (const change of mesh.watch({ doc: "v" }, { signal: called })) watched.push(change);
      const { entries } = await mesh.history("v", "n/a");
      return {
        conflict,
        watched: watched.length,
        said: entries.length,
        listed: (await mesh.list({ doc: "v" })).map(({ key, value }) => [key, value]),
        none: (await mesh.get("v", "n/b")) === undefined,
        candidates: (await mesh.candidates("v", "n/a")).candidates.length,
        members: (await mesh.membership()).members.length > 2,
        version: (await mesh.status()).version,
        codes: [
          await codeOf(mesh.get("v", "n/a", { consistency: "strong" })),
          await codeOf(mesh.list({ limit: 10_001 })),
          await codeOf(mesh.put("v", { key: "k", value: 1 }, { idempotencyKey: "abcdefgh" })),
          await codeOf(mesh.put("v", { key: "k", value: 1 }, { signal: called })),
          await codeOf(mesh.retract("v", "n/a", mesh.device, "wrong")),
          await codeOf(ctxmesh.openReplica({ name: "A name" })),
          await codeOf(ctxmesh.openReplica({ name: "other", invite: "ctxmesh-invite1.AAAA" })),
          await codeOf(ctxmesh.openReplica({ name: "other", invite: ${JSON.stringify(inviteOf("ws://127.0.0.1:9"))}, signal: called })),
          await codeOf(mesh.close().then(() => mesh.put("v", { key: "k", value: 1 }))),
        ],
      };
    })()`);
    const { version } = JSON.parse(await readFile("packages/browser/package.json", "utf8")) as {
      readonly version: string;
    };
    expect(made).toEqual({
      conflict: "VERSION_CONFLICT",
      watched: 0,
      said: 2,
      listed: [["n/a", 10]],
      none: true,
      candidates: 1,
      members: true,
      version,
      codes: [
        "UNREACHABLE",
        "INPUT_INVALID",
        "INPUT_INVALID",
        "ABORTED",
        "POLICY_REFUSED",
        "INPUT_INVALID",
        "FORMAT_INVALID",
        "ABORTED",
        "CLOSED",
      ],
    });
  });

  test("has what it acknowledged after its browser was killed in the middle of writing", async () => {
    const profile = await tempDir();
    await using stack = new AsyncDisposableStack();
    const others = { timeoutMs: BOUND_MS, what: "the browser's other processes to end" };
    stack.defer(async () =>
      waitFor(
        async () =>
          profile.remove().then(
            () => true,
            () => false,
          ),
        others,
      ),
    );
    let device: string;
    {
      await using first = await startBrowser(profile);
      const page = await first.open(`${origin}/`);
      device = await page.evaluate<string>(`ctxmesh.deviceKey("killed")`);
      await open(page, { name: "killed", space: fileFor(device) });
      expect(await put(page, "acknowledged", 7)).toBe("local");
      // Goes on until the end, which comes at once.
      await page.evaluate(`void (async () => {
        for (let i = 0; ; i++) await mesh.put("d" + (i % 50), { key: "k", value: i });
      })()`);
    }
    await using second = await startBrowser(profile);
    const page = await second.open(`${origin}/`);
    expect(await open(page, { name: "killed" })).toBe(device);
    expect(await valueAt(page, "acknowledged")).toBe(7);
    expect(await put(page, "after", 8)).toBe("local");
  });

  test("works under a strict content security policy, and says what another one forbids", async () => {
    const page = await browser.open(`${origin}/policy.html`);
    const device = await page.evaluate<string>(`ctxmesh.deviceKey("strict")`);
    expect(await open(page, { name: "strict", space: fileFor(device) })).toBe(device);
    expect(await put(page, "k", 1)).toBe("local");
    await page.evaluate("mesh.close()");
    for (const name of ["no-code", "wasm-alone"]) {
      const other = await browser.open(`${origin}/${name}.html`);
      expect(await open(other, { name: "strict" }), name).toBe("CONFIG_INVALID");
    }
  });

  test("syncs with an agent that listens for pages, without any hub", async () => {
    const page = await browser.open(`${origin}/`);
    const device = await page.evaluate<string>(`ctxmesh.deviceKey("edge")`);
    const granted = spaceFor(device);
    const options = {
      version: "0.0.0",
      space: granted,
      deviceSeed: WRITER_SEED,
      storePath: join(folder, "edge"),
      socketPath: join(folder, "edge.sock"),
      mesh: { listen: [], peers: [] },
      hubs: [],
      pages: { host: "127.0.0.1", port: 0 },
      sources: [],
    };
    const agent = await createAgent(options, deps);
    await using stopping = new AsyncDisposableStack();
    stopping.defer(async () => agent.stop());
    const urls = agent.pageAddresses();
    expect(await open(page, { name: "edge", space: fileFor(device), urls })).toBe(device);
    await agent.service.put("e", [{ key: "from-agent", value: 1 }]);
    expect(await put(page, "from-page", 2, "e")).toBe("local");
    await until("both facts", async () => (await valueAt(page, "from-agent", "e")) === 1);
    await until("the page's", () => agent.service.get("e", "from-page")?.value === 2);
    await untilSame(page, agent);
    const taken = { ...options, storePath: join(folder, "other"), socketPath: join(folder, "o") };
    const { port: used } = new URL(urls[0] ?? "");
    await expect(
      createAgent({ ...taken, pages: { host: "127.0.0.1", port: Number(used) } }, deps),
    ).rejects.toMatchObject({ code: "ADDRESS_UNAVAILABLE", field: "pages" });
    await page.evaluate("mesh.close()");
  });

  test("closes the link to a hub that talks nonsense, and goes on", async () => {
    const server = createServer();
    const logger = createRecordingLogger();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const liar = createWsServer({
      server,
      device: hubDevice,
      space: space.id,
      isMember: () => true,
      isHub: () => false,
      verifier: createDeviceVerifier(),
      random: systemRandom,
      logger,
    });
    let sent = 0;
    await liar.start((channel) => {
      sent += 1;
      const message = [
        systemRandom.bytes(1_000),
        new Uint8Array(),
        new Uint8Array(100_000).fill(0x9f),
      ][sent % 3];
      channel.send(message ?? new Uint8Array()).catch(() => undefined);
    });
    const page = await browser.open(`${origin}/`);
    const device = await page.evaluate<string>(`ctxmesh.deviceKey("lied-to")`);
    const file = fileFor(device);
    const [url = ""] = liar.addresses();
    expect(await open(page, { name: "lied-to", space: file, urls: [url] })).toBe(device);
    await until("three lies", () => sent >= 3);
    await until("the closed links", () =>
      logger.entries.some(({ event }) => event === "channel.closed"),
    );
    expect(await put(page, "k", 1)).toBe("local");
    expect(await valueAt(page, "k")).toBe(1);
    expect((await statusOf(page)).ready).toBe(true);
    await page.evaluate("mesh.close()");
    await liar.stop();
    server.close();
    server.closeAllConnections();
  });

  test("refuses writes when the browser has no room for them, and reads go on", async () => {
    // The browser remembers for a while how much room an origin has, so it has to be told before it looks.
    await using site = await serveBundle();
    const page = await browser.open(`${site.origin}/`);
    const quota = { origin: site.origin, quotaSize: 500_000 };
    await page.ask("Storage.overrideQuotaForOrigin", quota);
    const device = await page.evaluate<string>(`ctxmesh.deviceKey("full")`);
    const file = fileFor(device);
    expect(await open(page, { name: "full", space: file })).toBe(device);
    let count = 0;
    const write = async (): Promise<string> =>
      put(
        page,
        "k",
        Buffer.from(systemRandom.bytes(40_000)).toString("base64"),
        `d${String(count)}`,
      );
    const answers: string[] = [];
    await until("the refusal", async () => {
      answers.push(await write());
      if (answers.at(-1) === "local") count += 1;
      return answers.at(-1) !== "local";
    });
    expect(count).toBeGreaterThan(0);
    expect(answers.at(-1)).toBe("STORE_FAILED");
    expect(await write()).toBe("STORE_FAILED");
    expect(await valueAt(page, "k", "d0")).toHaveLength(53_336);
    expect(await valueAt(page, "k", `d${String(count)}`)).toBeUndefined();
    expect((await statusOf(page)).ready).toBe(false);
    await page.ask("Storage.overrideQuotaForOrigin", { origin: site.origin });
    await page.reload();
    expect(await open(page, { name: "full" })).toBe(device);
    expect(await valueAt(page, "k", `d${String(count - 1)}`)).toHaveLength(53_336);
    expect(await valueAt(page, "k", `d${String(count)}`)).toBeUndefined();
    await page.evaluate("mesh.close()");
  });
});
