// SPDX-License-Identifier: Apache-2.0
/** Goal: what is asked of documents as a whole is what the node does. Method: a real replica in memory behind a real socket. */
import { join } from "node:path";
import { createControlServer } from "@ctxmesh/api";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { NodeDocuments, NodeService, NodeWrites, Once } from "@ctxmesh/service";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
  tempDir,
} from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connect } from "../src/index.ts";
import type { ContextClient } from "../src/index.ts";

const START_MS = Date.UTC(2026, 0, 1);
const signer = createDeviceSigner(new Uint8Array(32).fill(1));

let stack: AsyncDisposableStack;
let client: ContextClient;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  const dir = await tempDir();
  stack.defer(async () => dir.remove());
  const random = createSeededRandom(1);
  const clock = createVirtualClock(START_MS + 1);
  const space = issueGrant(
    createSpace({ name: "plant", creator: signer, now: START_MS, random }),
    signer,
    {
      device: parseDeviceKey(toHex(signer.publicKey)),
      service: "agent",
      role: "write",
      notBefore: START_MS,
    },
  );
  const store = createMemoryStore();
  const parts = { store, space, signer, clock, random, logger: silentLogger };
  const replica = await Replica.open({ ...parts, verifier: createDeviceVerifier() });
  const node = { service: "agent", replica } as const;
  const writes = new NodeWrites({ ...node, once: await Once.open({ store, replica, clock }) });
  const service = new NodeService({
    ...node,
    version: "0.0.0",
    clock,
    writes,
    peers: () => [],
    addresses: () => [],
  });
  const documents = new NodeDocuments(replica, writes);
  const server = createControlServer({ service, documents, version: "0", logger: silentLogger });
  const socketPath = join(dir.path, "node.sock");
  await server.listenUnix(socketPath);
  stack.defer(async () => server.close());
  client = connect({ socketPath });
  stack.defer(() => {
    client.close();
  });
});
afterEach(async () => stack.disposeAsync());

test("facts are written and deleted as one unit, once under a key", async () => {
  await client.put("d", { key: "slot-1", value: "drill" });
  const changes = { put: [{ key: "slot-2", value: "drill" }], delete: ["slot-1"] };
  const receipt = await client.change("d", changes, { idempotencyKey: "move" });
  expect(receipt.facts).toBe(2);
  expect(await client.change("d", changes, { idempotencyKey: "move" })).toEqual(receipt);
  expect((await client.list({ doc: "d" })).map(({ key }) => key)).toEqual(["slot-2"]);
  await expect(
    client.change("d", { delete: ["slot-2"] }, { idempotencyKey: "move" }),
  ).rejects.toMatchObject({ code: "IDEMPOTENCY_CONFLICT" });
});

test("rich content is edited and read, and documents are listed", async () => {
  await client.edit("d/notes", [{ text: "t", delta: [{ insert: "hello" }] }]);
  await client.edit("d/notes", [{ text: "t", delta: [{ retain: 5 }, { insert: "!" }] }]);
  expect(await client.content("d/notes")).toEqual([
    { root: "t", type: "text", value: [{ insert: "hello!" }] },
  ]);
  await client.put("e", { key: "k", value: 1 });
  expect((await client.documents()).map(({ doc }) => doc)).toEqual(["d/notes", "e"]);
  expect(await client.documents({ prefix: "d/" })).toMatchObject([{ doc: "d/notes" }]);
  await expect(client.documents({ limit: 0 })).rejects.toMatchObject({ field: "limit" });
});
