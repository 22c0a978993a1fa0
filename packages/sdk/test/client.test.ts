// SPDX-License-Identifier: Apache-2.0
import { rm } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { LIMITS } from "@ctxmesh/model";
import type { ChangeEvent, JsonValue } from "@ctxmesh/model";
import { tempDir, waitFor } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connect } from "../src/index.ts";
import type { ContextClient } from "../src/index.ts";
import { LINK, startMemoryNode } from "./memory-node.ts";
import type { MemoryNode } from "./memory-node.ts";

let node: MemoryNode;
let client: ContextClient;

beforeEach(async () => {
  node = await startMemoryNode();
  client = connect({ socketPath: node.socketPath });
});

afterEach(async () => {
  client.close();
  await node[Symbol.asyncDispose]();
});

describe("calls", () => {
  test("what is put is what is got, whatever the texts and values", async () => {
    const json = fc.jsonValue({ stringUnit: "grapheme" }).map((value) => value as JsonValue);
    const key = fc.string({ minLength: 1, unit: "grapheme" });
    await fc.assert(
      fc.asyncProperty(key, json, async (name, value) => {
        await client.put("line-2/press-7", { key: name, value });
        const fact = await client.get("line-2/press-7", name);
        expect(fact?.value).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: 50 },
    );
  });

  test("a write keeps every field of its facts", async () => {
    const facts = [
      {
        key: "k",
        value: 1,
        confidence: 0.5,
        source: { model: "m", version: "2", instance: "i" },
        ttlMs: 5,
        tags: ["t"],
        basis: ["b"],
      },
      { key: "l", value: null },
    ];
    expect(await client.put("a", facts)).toMatchObject({ acknowledged: "local", facts: 2 });
    expect(await client.get("a", "k")).toMatchObject(facts[0] ?? {});
    expect(await client.get("a", "l")).toMatchObject({ value: null });
  });

  test("a write says how far it has to get, and is given that time besides", async () => {
    await client.delete("a", ["k"], { ack: "sealed" });
    await client.put("a", { key: "k", value: 1 });
    expect(node.service.options).toEqual([{ ack: "sealed" }, {}]);
    const { promise, resolve } = Promise.withResolvers<undefined>();
    node.service.acknowledgement = promise;
    const hasty = connect({ socketPath: node.socketPath, timeoutMs: 50 });
    const patient = hasty.put("a", { key: "k", value: 2 }, { ack: "hub", timeoutMs: 60_000 });
    await waitFor(() => node.service.options.length === 3, { timeoutMs: 5_000, what: "the write" });
    await expect(hasty.put("a", { key: "k", value: 3 })).rejects.toMatchObject({ code: "ABORTED" });
    resolve(undefined);
    expect(await patient).toMatchObject({ facts: 1 });
    expect(node.service.options[2]).toEqual({ ack: "hub", timeoutMs: 60_000 });
    hasty.close();
  });

  test("a read of the past is given more time than others, and can be called off", async () => {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    node.service.remembering = promise;
    await client.put("a", { key: "k", value: 1 });
    const hasty = connect({ socketPath: node.socketPath, timeoutMs: 50 });
    const patient = [
      hasty.get("a", "k", { at: 1 }),
      hasty.list({ doc: "a", at: 1 }),
      hasty.history("a", "k"),
    ];
    const controller = new AbortController();
    const { signal } = controller;
    const off = [
      hasty.get("a", "k", { at: 1, signal }),
      hasty.list({ doc: "a", at: 1, signal }),
      hasty.history("a", "k", { signal }),
    ].map((call) => call.catch((error: unknown) => error));
    await waitFor(() => node.service.asked === 6, { timeoutMs: 5_000, what: "the questions" });
    controller.abort();
    for (const error of await Promise.all(off)) expect(error).toMatchObject({ code: "ABORTED" });
    node.service.acknowledgement = promise;
    await expect(hasty.put("a", { key: "k", value: 3 })).rejects.toMatchObject({ code: "ABORTED" });
    resolve(undefined);
    expect(await Promise.all(patient)).toMatchObject([
      { value: 1 },
      [{ value: 1 }],
      { entries: [], reachesBack: "all" },
    ]);
    hasty.close();
  });

  test("nothing is undefined, not an error", async () => {
    expect(await client.get("a", "nothing")).toBeUndefined();
    expect(await client.candidates("a", "nothing")).toEqual({ candidates: [] });
  });

  test("membership, the space file's very text, evidence and acts go to and from the node", async () => {
    expect(await client.membership()).toEqual(node.service.membership());
    expect(await client.spaceFile()).toBe(node.service.spaceFile());
    expect(await client.evidence()).toEqual(node.service.evidence());
    const acts = [Uint8Array.of(0, 255), Uint8Array.of(7)];
    expect(await client.addActs(acts)).toEqual({ added: 2, refused: [] });
    expect(node.service.acts).toEqual(acts);
    await expect(client.addActs([])).rejects.toMatchObject({ code: "INPUT_INVALID" });
  });

  test("candidates come with the visible fact", async () => {
    await client.put("a", { key: "k", value: 1 });
    const found = await client.candidates("a", "k");
    expect(found.fact?.value).toBe(1);
    expect(found.candidates).toHaveLength(1);
  });

  test("a list is filtered and paged by the node", async () => {
    await client.put(
      "a",
      ["k1", "k2", "l1"].map((key) => ({ key, value: key })),
    );
    await client.put("b", { key: "k9", value: 0 });
    const keys = async (query: Parameters<ContextClient["list"]>[0]): Promise<string[]> =>
      (await client.list(query)).map(({ key }) => key);
    expect(await keys({ doc: "a", prefix: "k" })).toEqual(["k1", "k2"]);
    expect(await keys({ doc: "a", after: "k1", limit: 1 })).toEqual(["k2"]);
    expect(await keys(undefined)).toHaveLength(4);
  });

  test("a deleted fact is gone", async () => {
    await client.put("a", { key: "k", value: 1 });
    await client.delete("a", ["k"]);
    expect(await client.get("a", "k")).toBeUndefined();
  });

  test("the status has a digest only when asked", async () => {
    expect(await client.status()).toEqual({ service: "hub", facts: 0 });
    expect(await client.status({ digest: true })).toMatchObject({ digest: "00" });
  });

  test("the links arrive as the node reports them", async () => {
    expect(await client.links()).toEqual([LINK]);
  });

  test("a write says how urgent it is, unless nothing is said", async () => {
    const options = { priority: "high" } as const;
    await client.put("a", { key: "k", value: 1 }, options);
    await client.delete("a", ["k"], { priority: "low" });
    await client.put("a", { key: "k", value: 2 });
    expect(node.service.options.slice(-3)).toEqual([options, { priority: "low" }, {}]);
  });

  test("a bundle arrives byte for byte", async () => {
    const { sequence } = await client.seal();
    expect(Buffer.from(await client.bundle(sequence))).toEqual(node.bundle);
    expect(Buffer.from(await client.bundle())).toEqual(node.bundle);
  });
});

describe("errors", () => {
  test("the node's error comes with its code and field", async () => {
    await expect(client.list({ limit: 10_001 })).rejects.toMatchObject({
      name: "MeshError",
      code: "INPUT_INVALID",
      field: "limit",
    });
    await expect(client.bundle(9)).rejects.toMatchObject({ code: "NOT_FOUND" });
    const facts = Array.from({ length: LIMITS.factsPerWrite + 1 }, () => ({ key: "k", value: 1 }));
    await expect(client.put("a", facts)).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  });

  test("without a daemon it is UNREACHABLE, names the socket and says what to do", async () => {
    const socketPath = `${node.socketPath}.not-there`;
    const lonely = connect({ socketPath });
    await expect(lonely.status()).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining(socketPath) as string,
      remedy: expect.stringContaining("is the daemon running?") as string,
    });
    await expect(async () => {
      for await (const event of lonely.watch()) expect(event).toBeUndefined();
    }).rejects.toMatchObject({ code: "UNREACHABLE" });
  });

  test("a node that restarts is found again by the same client", async () => {
    await client.put("a", { key: "k", value: 1 });
    await node.stop();
    await expect(client.status()).rejects.toMatchObject({ code: "UNREACHABLE" });
    await node.start();
    expect(await client.get("a", "k")).toMatchObject({ value: 1 });
  });

  test("a socket of something else is a PROTOCOL_VIOLATION", async () => {
    await using dir = await tempDir();
    const socketPath = join(dir.path, "other.sock");
    const other = createServer((socket) => {
      socket
        .resume()
        .end("HTTP/1.1 418 Teapot\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
    });
    await new Promise<void>((resolve) => other.listen(socketPath, resolve));
    await expect(connect({ socketPath }).status()).rejects.toMatchObject({
      code: "PROTOCOL_VIOLATION",
    });
    await new Promise((resolve) => other.close(resolve));
  });

  test("a node that does not answer is given up on", async () => {
    await using dir = await tempDir();
    const socketPath = join(dir.path, "silent.sock");
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(socketPath, resolve));
    const impatient = connect({ socketPath, timeoutMs: 20 });
    await expect(impatient.status()).rejects.toMatchObject({ code: "ABORTED" });
    silent.close();
    await rm(socketPath, { force: true });
  });
});

test("more calls at once than the system holds for a node that has yet to accept them are all made", async () => {
  const impatient = connect({ socketPath: node.socketPath, retries: 0 });
  const calls = Array.from({ length: 800 }, async (_, i) =>
    impatient.put("a", { key: String(i), value: i }),
  );
  const receipts = await Promise.all(calls);
  expect(receipts.every(({ facts }) => facts === 1)).toBe(true);
  impatient.close();
});

describe("watch", () => {
  test("once it is ready every matching change comes, in order", async () => {
    const watch = client.watch({ doc: "a", prefix: "k" });
    await watch.ready;
    await client.put("a", [
      { key: "k1", value: 1 },
      { key: "other", value: 2 },
    ]);
    await client.put("b", { key: "k1", value: 3 });
    await client.delete("a", ["k1"]);
    const seen: ChangeEvent[] = [];
    for await (const event of watch) {
      seen.push(event);
      if (event.fact === undefined) break;
    }
    expect(seen.map(({ doc, key, fact, origin }) => [doc, key, fact?.value, origin])).toEqual([
      ["a", "k1", 1, "local"],
      ["a", "k1", undefined, "local"],
    ]);
  });

  test("leaving the loop ends the watch at the node", async () => {
    const watch = client.watch();
    await watch.ready;
    await client.put("a", { key: "k", value: 1 });
    for await (const event of watch) {
      expect(event.key).toBe("k");
      break;
    }
    await waitFor(() => node.service.watching === 0, {
      timeoutMs: 5_000,
      what: "the watch to end",
    });
  });

  test("aborting ends the loop without an error", async () => {
    const abort = new AbortController();
    const watch = client.watch({}, { signal: abort.signal });
    await watch.ready;
    const loop = (async () => {
      for await (const event of watch) expect(event).toBeUndefined();
    })();
    abort.abort();
    await loop;
    await waitFor(() => node.service.watching === 0, {
      timeoutMs: 5_000,
      what: "the watch to end",
    });
  });

  test("a node that stops ends it with CLOSED", async () => {
    const watch = client.watch();
    await watch.ready;
    const loop = (async () => {
      for await (const event of watch) expect(event).toBeUndefined();
    })();
    const failed = expect(loop).rejects.toMatchObject({ code: "CLOSED" });
    await node.stop();
    await failed;
  });

  test("a connection that breaks ends it with UNREACHABLE, and the remedy says what goes on by itself", async () => {
    const server = createHttpServer((_request, response) => {
      response.write(": watching\n\n", () => response.destroy());
    });
    const socketPath = `${node.socketPath}.2`;
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    const broken = connect({ socketPath });
    const loop = (async () => {
      for await (const event of broken.watch()) expect(event).toBeUndefined();
    })();
    await expect(loop).rejects.toMatchObject({
      code: "UNREACHABLE",
      remedy: expect.stringContaining("events() with follow") as string,
    });
    broken.close();
    await new Promise((resolve) => server.close(resolve));
  });

  test("a reader that is too slow gets LIMIT_EXCEEDED, with a remedy", async () => {
    const watch = client.watch();
    await watch.ready;
    const facts = Array.from({ length: LIMITS.factsPerWrite }, (_, i) => ({
      key: `k${String(i)}`,
      value: "v".repeat(2_000),
    }));
    for (let i = 0; i < 40 && node.service.watching > 0; i++) await node.service.put("a", facts);
    await waitFor(() => node.service.watching === 0, { timeoutMs: 5_000, what: "the cut" });
    const loop = (async () => {
      for await (const event of watch) expect(event.doc).toBe("a");
    })();
    await expect(loop).rejects.toMatchObject({
      code: "LIMIT_EXCEEDED",
      remedy: expect.any(String) as string,
    });
  });
});
