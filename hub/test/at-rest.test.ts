// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whoever takes a hub's folder, without the key outside it, reads no fact.
 * Method: a real LevelDB store with seals, of which every file is searched, with the log taken over into tables and without.
 */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { Sealer } from "@ctxmesh/hub";
import { verifyBundle } from "@ctxmesh/ledger";
import { parseDocumentName } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { openReplica } from "@ctxmesh/service";
import type { OpenReplica } from "@ctxmesh/service";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
  tempDir,
} from "@ctxmesh/testing";
import { fileKeyProvider } from "@ctxmesh/vault";
import { expect, test } from "vitest";
import {
  HUB_SEED,
  START_MS,
  rootFor,
  sealKeys,
  spaceOf,
  verifier,
  writerDevice,
} from "./fixture.ts";

const DOC = parseDocumentName("line-2/press-7");
const space = spaceOf();
const clock = createVirtualClock(START_MS);
const deps = { clock, random: createSeededRandom(3), logger: silentLogger };

async function findCanaries(path: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(path)) {
    if ((await readFile(join(path, name))).includes("canary")) found.push(name);
  }
  return found;
}

test("neither value, key, source, tag nor text is in any file of a hub that has sealed them", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "store");
  const parts = { ...deps, store: createMemoryStore(), space, verifier };
  const writer = await Replica.open({ ...parts, signer: writerDevice });
  const source = { model: "canary-model", version: "canary-1" };
  await writer.put(DOC, [
    { key: "canary-key", value: { canary: "canary-value" }, source, tags: ["canary-tag"] },
  ]);
  await writer.edit(DOC, (roots) => roots.text("notes").insert(0, "canary-text"));
  const open = async (stack: AsyncDisposableStack): Promise<OpenReplica> => {
    const keyProvider = fileKeyProvider(join(dir.path, "store.key"), { create: true });
    return openReplica({ space, deviceSeed: HUB_SEED, storePath: path, keyProvider }, deps, stack);
  };
  for (const life of [1, 2]) {
    await using stack = new AsyncDisposableStack();
    const opened = await open(stack);
    const spans = writer.heads().map((head) => ({ ...head, from: 1, to: head.seq }));
    for await (const { bytes } of writer.read(spans)) await opened.replica.receive(bytes);
    const sealer = await Sealer.open({ ...deps, ...opened, ...sealKeys });
    await sealer.seal();
    expect(sealer.count).toBe(life);
    const bundle = await sealer.bundle();
    expect(Buffer.from(bundle).includes("canary-value")).toBe(true);
    expect(verifyBundle(bundle, rootFor(space), { now: clock.now() }).valid).toBe(true);
    expect(await findCanaries(path)).toEqual([]);
  }
  expect(await findCanaries(path)).toEqual([]);
});
