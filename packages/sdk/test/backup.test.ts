// SPDX-License-Identifier: Apache-2.0
/** Goal: a backup's bytes arrive whole, or the reader hears why not. */
import { join } from "node:path";
import { createControlServer } from "@ctxmesh/api";
import { MeshError } from "@ctxmesh/model";
import { createSeededRandom, silentLogger, tempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connect } from "../src/index.ts";
import type { ContextClient } from "../src/index.ts";
import { MemoryService } from "./memory-node.ts";

const PARTS = Array.from({ length: 5 }, () => createSeededRandom(1).bytes(700_000));

let cleanup: AsyncDisposableStack;
let client: ContextClient;
let failure: unknown;
let over: number;

async function* parts(): AsyncGenerator<Uint8Array, void> {
  try {
    for (const part of PARTS) yield await Promise.resolve(part);
    if (failure !== undefined) throw failure;
  } finally {
    over++;
  }
}

beforeEach(async () => {
  cleanup = new AsyncDisposableStack();
  [failure, over] = [undefined, 0];
  const dir = await tempDir();
  cleanup.defer(() => dir.remove());
  const socketPath = join(dir.path, "node.sock");
  const service = new MemoryService();
  const server = createControlServer({
    service,
    backup: parts,
    version: "0",
    logger: silentLogger,
  });
  cleanup.defer(() => server.close());
  await server.listenUnix(socketPath);
  client = connect({ socketPath });
  cleanup.defer(() => {
    client.close();
  });
});

afterEach(() => cleanup.disposeAsync());

async function receive(signal?: AbortSignal): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  const options = signal === undefined ? {} : { signal };
  for await (const chunk of client.backup(options)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test("the bytes are the node's, and one backup can follow another", async () => {
  for (let i = 0; i < 2; i++) {
    expect(Buffer.compare(await receive(), Buffer.concat(PARTS))).toBe(0);
  }
});

test("what goes wrong on the way is the node's own error", async () => {
  failure = new MeshError("STORE_CORRUPT", "the record is damaged", { remedy: "heal it" });
  await expect(receive()).rejects.toMatchObject({
    code: "STORE_CORRUPT",
    message: "the record is damaged",
    remedy: "heal it",
  });
});

test("one that is left, or called off, ends at the node, too", async () => {
  for await (const _ of client.backup()) break;
  await expect.poll(() => over).toBe(1);
  const controller = new AbortController();
  const called = (async (): Promise<void> => {
    for await (const _ of client.backup({ signal: controller.signal })) controller.abort();
  })();
  await expect(called).rejects.toMatchObject({ code: "ABORTED" });
  await expect.poll(() => over).toBe(2);
});

test("a second one at a time is refused", async () => {
  const first = client.backup()[Symbol.asyncIterator]();
  await first.next();
  await expect(receive()).rejects.toMatchObject({ code: "ABORTED" });
  await first.return?.();
});

test("without a node it is UNREACHABLE", async () => {
  const nobody = connect({ socketPath: "/nowhere/node.sock" });
  const first = nobody.backup()[Symbol.asyncIterator]().next();
  await expect(first).rejects.toMatchObject({ code: "UNREACHABLE" });
});
