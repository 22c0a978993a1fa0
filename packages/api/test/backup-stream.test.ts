// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a backup goes out at the speed of its reader, one at a time, and its end says whether it is one.
 * Method: a real server on a real socket, over generators that tell how far they were asked.
 */
import { request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { MeshError } from "@ctxmesh/model";
import { createRecordingLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { RecordingLogger, TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createControlServer } from "../src/index.ts";
import type { ControlServer } from "../src/index.ts";
import { RecordingService, rawRequest } from "./raw.ts";

const CHUNK = new Uint8Array(1_048_576).fill(7);
const BOUND = { timeoutMs: 10_000 };

let dir: TempDir;
let logger: RecordingLogger;
let server: ControlServer;
let socketPath: string;
let make: () => AsyncGenerator<Uint8Array, void, undefined>;
/** Chunks that were asked for, and generators that were left or ran out. */
let made: number;
let over: number;

/** A backup of so many chunks; `failure` comes in place of the next one. */
async function* chunks(count: number, failure?: unknown): AsyncGenerator<Uint8Array, void> {
  try {
    for (let i = 0; i < count; i++) {
      made++;
      yield await Promise.resolve(CHUNK);
    }
    if (failure !== undefined) throw failure;
  } finally {
    over++;
  }
}

beforeEach(async () => {
  dir = await tempDir();
  socketPath = join(dir.path, "api.sock");
  [made, over] = [0, 0];
  make = () => chunks(3);
  logger = createRecordingLogger();
  server = createControlServer({
    service: new RecordingService(),
    backup: () => make(),
    version: "1.2.3",
    logger,
  });
  await server.listenUnix(socketPath);
});

afterEach(async () => {
  await server.close();
  await dir.remove();
});

/** A response that is not read yet. */
async function open(): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  httpRequest({ socketPath, path: "/v1/backup", agent: false }, resolve).on("error", reject).end();
  return promise;
}

async function readAll(response: IncomingMessage): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) all.push(chunk);
  return Buffer.concat(all);
}

const problemIn = ({ trailers }: IncomingMessage): unknown => {
  const text = trailers["ctxmesh-problem"];
  return text === undefined ? undefined : JSON.parse(Buffer.from(text, "base64").toString("utf8"));
};

test("the bytes come as they were made, and without a problem at their end", async () => {
  const response = await open();
  expect(response.headers["content-type"]).toBe("application/octet-stream");
  expect(Buffer.compare(await readAll(response), Buffer.concat([CHUNK, CHUNK, CHUNK]))).toBe(0);
  expect(problemIn(response)).toBeUndefined();
  expect({ made, over }).toEqual({ made: 3, over: 1 });
});

test("a reader that takes nothing is sent nothing more, and once it reads it gets all", async () => {
  make = () => chunks(200);
  const response = await open();
  // Other requests answered: the server has had its turn.
  for (let i = 0; i < 20; i++) await rawRequest({ socketPath, path: "/v1/status" });
  expect(made).toBeLessThan(5);
  expect(await readAll(response)).toHaveLength(200 * CHUNK.length);
});

test("one at a time: a second one is told to wait, and goes when the first has ended or its reader has left", async () => {
  make = () => chunks(200);
  const first = await open();
  const second = await rawRequest({ socketPath, path: "/v1/backup" });
  expect(second.status).toBe(503);
  expect(JSON.parse(second.text)).toMatchObject({
    code: "ABORTED",
    detail: "a backup of this node is under way already",
  });
  first.destroy();
  await waitFor(() => over === 1, { ...BOUND, what: "the backup that was left to end" });
  make = () => chunks(1);
  expect(await readAll(await open())).toHaveLength(CHUNK.length);
});

test("what fails at once is a plain error; what fails on the way is told at the end, and logged", async () => {
  const damage = new MeshError("STORE_CORRUPT", "the record under key 02 does not match its hash");
  make = () => chunks(0, damage);
  const early = await rawRequest({ socketPath, path: "/v1/backup" });
  expect(early.status).toBe(500);
  expect(JSON.parse(early.text)).toMatchObject({ code: "STORE_CORRUPT", detail: damage.message });
  make = () => chunks(2, damage);
  const response = await open();
  expect(await readAll(response)).toHaveLength(2 * CHUNK.length);
  expect(problemIn(response)).toMatchObject({ code: "STORE_CORRUPT", detail: damage.message });
  expect(logger.entries.map(({ event }) => event)).toContain("backup.failed");
  make = () => chunks(1);
  expect(await readAll(await open())).toHaveLength(CHUNK.length);
});

test("a node that stops ends it with CLOSED, and does not wait for a reader that stands still", async () => {
  make = () => chunks(200);
  const response = await open();
  const closed = server.close();
  await waitFor(() => over === 1, { ...BOUND, what: "the backup to end" });
  expect((await readAll(response)).length).toBeLessThan(5 * CHUNK.length);
  expect(problemIn(response)).toMatchObject({ code: "CLOSED" });
  await closed;
});

test("a query is refused, and nothing begins", async () => {
  const { status } = await rawRequest({ socketPath, path: "/v1/backup?part=1" });
  expect({ status, made, over }).toEqual({ status: 400, made: 0, over: 0 });
});

test("a server without backups has no such operation", async () => {
  const bare = createControlServer({ service: new RecordingService(), version: "1.2.3", logger });
  await bare.listenUnix(join(dir.path, "bare.sock"));
  const options = { socketPath: join(dir.path, "bare.sock"), path: "/v1/backup" };
  expect((await rawRequest(options)).status).toBe(404);
  await bare.close();
});
