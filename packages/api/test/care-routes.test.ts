// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { createControlServer } from "@ctxmesh/api";
import type { ControlServer } from "@ctxmesh/api";
import { MeshError } from "@ctxmesh/model";
import type { CareService, SealReceipt, SealingService } from "@ctxmesh/model";
import { silentLogger, tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RecordingService, rawRequest } from "./raw.ts";

/** Remembers what was asked for. */
class RecordingCare implements CareService, SealingService {
  readonly asked: unknown[] = [];

  keys(): ReturnType<CareService["keys"]> {
    return { encrypted: false };
  }

  async rotateKeys(): Promise<number> {
    this.asked.push("rotate");
    return Promise.resolve(7);
  }

  async rewrapKeys(to: string): ReturnType<CareService["rewrapKeys"]> {
    this.asked.push(to);
    if (to === "no") throw new MeshError("KEY_INVALID", "no such key");
    return Promise.resolve({ provider: to, rewrapped: 3, unreadable: 0 });
  }

  scrub(): ReturnType<CareService["scrub"]> {
    this.asked.push("scrub");
    return { startedAt: 5, findings: [] };
  }

  async seal(options?: { readonly after?: number }): Promise<SealReceipt> {
    this.asked.push(options);
    if (options?.after === 9) throw new MeshError("SEALING_UNSAFE", "9 seals");
    return Promise.resolve({ sequence: 1 } as SealReceipt);
  }

  async bundle(): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array());
  }
}

let dir: TempDir;
let server: ControlServer;
let care: RecordingCare;
let socketPath: string;

beforeEach(async () => {
  dir = await tempDir();
  socketPath = join(dir.path, "api.sock");
  care = new RecordingCare();
  const service = new RecordingService();
  server = createControlServer({
    service,
    care,
    sealing: care,
    version: "1.2.3",
    logger: silentLogger,
  });
  await server.listenUnix(socketPath);
});

afterEach(async () => {
  await server.close();
  await dir.remove();
});

async function call(path: string, body?: unknown): Promise<readonly [number, unknown]> {
  const headers = { "content-type": "application/json" };
  const { status, text } = await (body === undefined
    ? rawRequest({ socketPath, path })
    : rawRequest({ socketPath, path, method: "POST", headers }, JSON.stringify(body)));
  return [status, JSON.parse(text)];
}

test("what an operator asks for reaches the node, and its answer comes back", async () => {
  expect(await call("/v1/keys")).toEqual([200, { encrypted: false }]);
  expect(await call("/v1/keys/rotate", {})).toEqual([200, { ended: 7 }]);
  const report = { provider: "file:/k", rewrapped: 3, unreadable: 0 };
  expect(await call("/v1/keys/rewrap", { to: "file:/k" })).toEqual([200, report]);
  expect(await call("/v1/scrub", {})).toEqual([200, { startedAt: 5, findings: [] }]);
  expect(await call("/v1/seals", {})).toEqual([200, { sequence: 1 }]);
  expect(await call("/v1/seals", { after: 0 })).toEqual([200, { sequence: 1 }]);
  expect(care.asked).toEqual(["rotate", "file:/k", "scrub", {}, { after: 0 }]);
});

test("a node's refusal comes back with its code", async () => {
  expect(await call("/v1/keys/rewrap", { to: "no" })).toMatchObject([400, { code: "KEY_INVALID" }]);
  expect(await call("/v1/seals", { after: 9 })).toMatchObject([409, { code: "SEALING_UNSAFE" }]);
});

test.for([
  ["/v1/keys/rotate", { to: "x" }],
  ["/v1/keys/rotate", []],
  ["/v1/keys/rewrap", {}],
  ["/v1/keys/rewrap", { to: 7 }],
  ["/v1/keys/rewrap", { to: "file:/k", pin: "1234" }],
  ["/v1/scrub", { fast: true }],
  ["/v1/seals", { after: -1 }],
  ["/v1/seals", { after: 1.5 }],
  ["/v1/seals", { after: "1" }],
  ["/v1/seals", { before: 1 }],
] as const)("%s with %j is refused and does nothing", async ([path, body]) => {
  expect(await call(path, body)).toMatchObject([400, { code: "INPUT_INVALID" }]);
  expect(care.asked).toEqual([]);
});
