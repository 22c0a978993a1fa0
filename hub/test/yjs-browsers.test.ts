// SPDX-License-Identifier: Apache-2.0
/** Goal: two people at two hubs write into one text, in a browser, with the page of the docs. Method: headless Chromium; the page is bundled as its reader would. */
import { expect, test } from "vitest";
import { space } from "./shared-kit.ts";
import { HAS_BROWSER, serveExample, startBrowser } from "./browser.ts";
import {
  baseOf,
  eachYjsTest,
  edit,
  engine,
  ROOM,
  startYjsHub,
  textOf,
  tokenFor,
  until,
} from "./yjs-kit.ts";

eachYjsTest();
/** Puts the cursor at a place of the text. */
const focus = (at: number): string =>
  `(() => { const n = document.getElementById("note"); n.focus(); n.setSelectionRange(${String(at)}, ${String(at)}); })()`;
if (!HAS_BROWSER) process.stderr.write("no chromium: two people in two browsers are not tested\n");

test.skipIf(!HAS_BROWSER)(
  "two pages edit one text through two hubs",
  { timeout: 90_000 },
  async () => {
    await using site = await serveExample();
    await using browser = await startBrowser();
    const hubs = [
      await startYjsHub(0, { engine: engine(), origins: [site.origin] }),
      await startYjsHub(1, { engine: engine(), origins: [site.origin] }),
    ];
    const pages = await Promise.all(
      hubs.map(async (hub, index) => {
        const place = new URLSearchParams({
          hub: `ws://${baseOf(hub).host}`,
          space: space.id,
          document: ROOM,
          token: await tokenFor(`person-${String(index)}`),
        });
        return browser.open(`${site.origin}/yjs.html#${place.toString()}`);
      }),
    );
    const [one, two] = pages;
    if (one === undefined || two === undefined) throw new Error("no pages");
    for (const page of pages) {
      await until(
        "the connection",
        async () =>
          (await page.evaluate(`document.getElementById("status")?.textContent`)) === "connected",
      );
    }
    const value = `document.getElementById("note").value`;
    await one.evaluate(focus(0));
    await one.type("press 7 is hot");
    await until(
      "the text at the other page",
      async () => (await two.evaluate(value)) === "press 7 is hot",
    );
    await two.evaluate(focus(14));
    await two.type(", and loud");
    await until(
      "the way back",
      async () => (await one.evaluate(value)) === "press 7 is hot, and loud",
    );
    const editor = await edit(hubs[0] as never, "alice");
    editor.doc.getMap("facts").set("temperature", 71.5);
    await until("the fact", async () =>
      String(await two.evaluate(`document.getElementById("facts").textContent`)).includes("71.5"),
    );
    expect(textOf(editor)).toBe("press 7 is hot, and loud");
  },
);
