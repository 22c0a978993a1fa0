// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { createControlServer } from "@ctxmesh/api";
import type { ControlServer } from "@ctxmesh/api";
import { MeshError } from "@ctxmesh/model";
import type { FetchReport, OmissionReport, PartialService } from "@ctxmesh/model";
import { silentLogger, tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RecordingService, rawRequest } from "./raw.ts";

const SUMMARY = { documents: 0, sections: 0, bytes: 0, expired: 0 };
const REPORT: OmissionReport = { summary: SUMMARY, documents: [], sections: [] };
const FETCHED: FetchReport = { filled: 1, bytes: 2, unwanted: 3, unavailable: 4, asked: ["5"] };

let dir: TempDir;
let server: ControlServer;
let socketPath: string;
let asked: unknown[];

beforeEach(async () => {
  dir = await tempDir();
  socketPath = join(dir.path, "api.sock");
  asked = [];
  const partial: PartialService = {
    omissions: async (query) => {
      asked.push(query);
      return Promise.resolve(REPORT);
    },
    fetchOmitted: async (query) => {
      asked.push(query);
      if (query.doc === "no") throw new MeshError("INPUT_INVALID", "no such document");
      return Promise.resolve(FETCHED);
    },
  };
  server = createControlServer({
    service: new RecordingService(),
    partial,
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

test("what is asked about what is left out reaches the node, and its answer comes back", async () => {
  expect(await call("/v1/omissions")).toEqual([200, REPORT]);
  expect(await call("/v1/omissions?doc=a&before=7.1&proof=1")).toEqual([200, REPORT]);
  expect(await call("/v1/fetches", { doc: "a" })).toEqual([200, FETCHED]);
  expect(await call("/v1/fetches", { doc: "a", key: "k/*", before: "7.1" })).toEqual([
    200,
    FETCHED,
  ]);
  expect(await call("/v1/fetches", { doc: "no" })).toMatchObject([400, { code: "INPUT_INVALID" }]);
  expect(asked).toEqual([
    { proof: false },
    { doc: "a", before: "7.1", proof: true },
    { doc: "a" },
    { doc: "a", key: "k/*", before: "7.1" },
    { doc: "no" },
  ]);
});

test.for([
  ["/v1/omissions?docs=a", undefined],
  ["/v1/omissions?proof=yes", undefined],
  ["/v1/omissions?doc=a&doc=b", undefined],
  ["/v1/fetches", {}],
  ["/v1/fetches", { doc: 7 }],
  ["/v1/fetches", { doc: "a", key: ["k"] }],
  ["/v1/fetches", { doc: "a", all: true }],
] as const)("%s with %j is refused and does nothing", async ([path, body]) => {
  expect(await call(path, body)).toMatchObject([400, { code: "INPUT_INVALID" }]);
  expect(asked).toEqual([]);
});
