// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the page of the docs joins, edits offline, is loaded again without its server, and comes back.
 * Method: it is served as files and used in a headless Chromium, as a person would, against a real hub.
 */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { tempDir, waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { bundleBrowser } from "../scripts/bundle-browser.ts";
import { HAS_BROWSER, serveFiles, startBrowser } from "./browser/chromium.ts";
import type { Page } from "./browser/chromium.ts";
import { Plant, inviteOf } from "./browser/plant.ts";

const FOLDER = "docs/examples/offline-page";

/** The page with all that it loads, by path. */
async function filesOf(folder: string): Promise<Readonly<Record<string, string>>> {
  await bundleBrowser(join(folder, "bundle"));
  const names = await readdir(FOLDER);
  const files = await Promise.all(
    names.map(
      async (name) => [`/${FOLDER}/${name}`, await readFile(join(FOLDER, name), "utf8")] as const,
    ),
  );
  const script = await readFile(join(folder, "bundle", "ctxmesh.js"), "utf8");
  return { ...Object.fromEntries(files), "/packages/browser/bundle/ctxmesh.js": script };
}

const textOf = async (page: Page, id: string): Promise<string> =>
  page.evaluate(`document.getElementById(${JSON.stringify(id)}).textContent`);

const until = async (what: string, is: () => Promise<boolean> | boolean): Promise<void> =>
  waitFor(is, { timeoutMs: 20_000, what });

/** Fills a form's fields and sends it. */
const fill = async (
  page: Page,
  form: string,
  fields: Readonly<Record<string, string>>,
): Promise<void> =>
  page.evaluate(`(() => {
    for (const [id, text] of Object.entries(${JSON.stringify(fields)})) document.getElementById(id).value = text;
    document.getElementById(${JSON.stringify(form)}).requestSubmit();
  })()`);

test.skipIf(!HAS_BROWSER)(
  "the page of the docs is used online, offline, after a reload without its server, and online again",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const dir = await tempDir();
    cleanup.defer(async () => dir.remove());
    const plant = new Plant(dir.path);
    const site = await serveFiles(await filesOf(dir.path));
    const browser = cleanup.use(await startBrowser());
    const page = await browser.open(`${site.origin}/${FOLDER}/`);
    {
      await using hub = await plant.start();
      await fill(page, "join", {
        invite: inviteOf(plant.url),
        hub: plant.url,
        name: "line-2/press-7",
      });
      await until("the link", async () => (await textOf(page, "link")) === "Connected");
      await fill(page, "write", { key: "temperature", value: "71.5" });
      const fact = (): unknown => hub.service.get("line-2/press-7", "temperature")?.value;
      await until("the fact at the hub", () => fact() === 71.5);
      await until("its row", async () => (await textOf(page, "rows")).includes("71.5"));
    }
    await until("the loss of the link", async () => (await textOf(page, "link")) === "Offline");
    await fill(page, "write", { key: "note", value: "bearing is <b>loud</b>" });
    await until("what waits", async () => (await textOf(page, "link")) === "Offline, 1 to send");
    await page.evaluate("navigator.serviceWorker.ready.then(() => true)");
    await site[Symbol.asyncDispose]();
    await page.reload();
    await until("the rows", async () => (await textOf(page, "rows")).includes("loud"));
    expect(await textOf(page, "rows")).toContain("<b>loud</b>");
    expect(await textOf(page, "document")).toBe("line-2/press-7");
    await using hub = await plant.start();
    const note = (): unknown => hub.service.get("line-2/press-7", "note")?.value;
    await until("the note at the hub", () => note() === "bearing is <b>loud</b>");
    await until("the link again", async () => (await textOf(page, "link")) === "Connected");
    expect(await page.evaluate("document.getElementById('problem').hidden")).toBe(true);
  },
  60_000,
);
