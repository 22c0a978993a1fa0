// SPDX-License-Identifier: Apache-2.0
/** Goal: what `ctxmesh init` and `ctxmesh hub --dev` make and print is all that a stock provider needs. Method: the real command in processes of its own. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@ctxmesh/sdk";
import { tempDir, waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";
import { readSpace } from "../src/files.ts";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";

const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> =>
  waitFor(holds, { timeoutMs: 20_000, what });

test("a hub that is tried out takes what a provider with its token writes; without --dev there is no endpoint", async () => {
  await using dir = await tempDir();
  const mesh = join(dir.path, "mesh");
  await run(["init", mesh, "--agents", "1", "--ports", "auto"]);
  const { id } = await readSpace(join(mesh, "space.json"));
  const port = /port: (\d+)/u.exec(await readFile(join(mesh, "hub.yaml"), "utf8"))?.[1] ?? "";
  const hub = new Daemon(mesh, "hub", "hub.yaml", ["--dev"]);
  await hub.ready();
  const [warning, token = "", ...rest] = hub.stderr.split("\n");
  expect(warning).toMatch(/^warning: --dev is for trying out/u);
  expect([token.split(".").length, rest]).toEqual([3, [""]]);
  const doc = new Y.Doc();
  const provider = new WebsocketProvider(
    `ws://127.0.0.1:${port}/yjs/${id}`,
    "line-2/press-7",
    doc,
    { params: { token }, disableBc: true },
  );
  doc.getMap("facts").set("temperature", 71.5);
  const client = connect({ socketPath: join(mesh, "hub/hub.sock") });
  const read = async () => client.get("line-2/press-7", "temperature");
  await until("the fact", async () => (await read())?.value === 71.5);
  expect((await read())?.source).toEqual({ model: "developer", instance: "yjs" });
  client.close();
  await hub.stop();
  const plain = new Daemon(mesh, "hub", "hub.yaml");
  await plain.ready();
  const closed: unknown[] = [];
  provider.on("connection-close", (event) => closed.push(event?.code));
  await until("the refusal", () => closed.length > 0);
  expect(provider.wsconnected).toBe(false);
  provider.destroy();
  provider.awareness.destroy();
  await plain.stop();
});
