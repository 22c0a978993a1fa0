// SPDX-License-Identifier: Apache-2.0
/** Streams of events that go on by themselves, from a real replica whose server comes and goes. */
import { join } from "node:path";
import { createControlServer } from "@ctxmesh/api";
import type { ControlServer } from "@ctxmesh/api";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { NodeEvents, NodeService } from "@ctxmesh/service";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
  tempDir,
  waitFor,
} from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connect } from "../src/index.ts";
import type { ContextClient } from "../src/index.ts";

const START_MS = Date.UTC(2026, 0, 1);
const bound = (what: string): { readonly timeoutMs: number; readonly what: string } => ({
  timeoutMs: 10_000,
  what,
});

let stack: AsyncDisposableStack;
let service: NodeService;
let server: ControlServer;
let client: ContextClient;
let start: () => Promise<void>;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  const dir = await tempDir();
  stack.defer(() => dir.remove());
  const signer = createDeviceSigner(new Uint8Array(32).fill(1));
  const random = createSeededRandom(1);
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
  const clock = createVirtualClock(START_MS);
  const replica = await Replica.open({
    signer,
    space,
    clock,
    store: createMemoryStore(),
    verifier: createDeviceVerifier(),
    random,
    logger: silentLogger,
  });
  service = new NodeService({
    service: "agent",
    version: "0.0.0",
    replica,
    clock,
    peers: () => [],
    addresses: () => [],
  });
  const events = new NodeEvents(replica);
  const socketPath = join(dir.path, "node.sock");
  start = async () => {
    server = createControlServer({ service, events, version: "0.0.0", logger: silentLogger });
    await server.listenUnix(socketPath);
  };
  await start();
  stack.defer(() => server.close());
  client = connect({ socketPath });
  stack.defer(() => {
    client.close();
  });
});

afterEach(() => stack.disposeAsync());

/** Not through the server, which may be away. */
const put = (value: number, doc = "d"): Promise<unknown> => service.put(doc, [{ key: "n", value }]);

test("a stream that follows has every event once, in order, through restarts of the node", async () => {
  const controller = new AbortController();
  const feed = client.events({ doc: "d" }, { follow: true, signal: controller.signal });
  await feed.ready;
  const seen: unknown[] = [];
  const reading = (async () => {
    for await (const { data } of feed) seen.push(data.value);
  })();
  let written = 0;
  await put(++written);
  await waitFor(() => seen.length === written, bound("the first event"));
  for (let restart = 0; restart < 4; restart++) {
    await put(++written);
    await server.close();
    await put(++written);
    await put(++written);
    await start();
    await put(++written);
    await waitFor(() => seen.length >= written, bound("the events to catch up"));
  }
  controller.abort();
  await reading;
  expect(seen).toEqual(Array.from({ length: written }, (_, i) => i + 1));
});

test("a stream that was told nothing yet goes on where it began", async () => {
  await put(1);
  for (const since of [undefined, START_MS]) {
    const doc = since === undefined ? "x" : "y";
    const feed = client.events(
      { doc, ...(since === undefined ? {} : { since }) },
      { follow: true },
    );
    const iterator = feed[Symbol.asyncIterator]();
    const next = iterator.next();
    await feed.ready;
    await server.close();
    await put(2, doc);
    await start();
    expect((await next).value?.data.value).toBe(2);
    await iterator.return?.();
  }
});

test("who follows a node that is not there to begin with hears so", async () => {
  await server.close();
  for (const since of [undefined, START_MS]) {
    const feed = client.events(since === undefined ? {} : { since }, { follow: true });
    await expect(feed[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: "UNREACHABLE",
    });
  }
});

test("who asks for what is refused hears so, following or not", async () => {
  for (const follow of [true, false]) {
    const feed = client.events({ since: "nonsense" }, { follow });
    await expect(feed[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: "INPUT_INVALID",
    });
  }
});
