// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { createRecordingLogger, tempDir } from "@ctxmesh/testing";
import type { RecordingLogger, TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createControlServer } from "../src/index.ts";
import type { ControlServer } from "../src/index.ts";
import { RecordingService, rawRequest } from "./raw.ts";
import type { RawResponse } from "./raw.ts";

let dir: TempDir;
let service: RecordingService;
let logger: RecordingLogger;
let server: ControlServer;
let socketPath: string;

beforeEach(async () => {
  dir = await tempDir();
  socketPath = join(dir.path, "api.sock");
  service = new RecordingService();
  logger = createRecordingLogger();
  server = createControlServer({ service, version: "1.2.3", logger });
  await server.listenUnix(socketPath);
});

afterEach(async () => {
  await server.close();
  await dir.remove();
});

const get = (path: string): Promise<RawResponse> => rawRequest({ socketPath, path });

const JSON_TYPE = { "content-type": "application/json" };

const post = (
  body: string | Uint8Array,
  headers: Record<string, string> = JSON_TYPE,
  path = "/v1/facts",
): Promise<RawResponse> => rawRequest({ socketPath, path, method: "POST", headers }, body);

const problemIn = (response: RawResponse): unknown => {
  expect(response.headers["content-type"]).toBe("application/problem+json");
  const problem = JSON.parse(response.text) as { status: number };
  expect(problem.status).toBe(response.status);
  return problem;
};

describe("answers", () => {
  test("a write reaches the service and its receipt comes back", async () => {
    const response = await post('{"doc":"a","facts":[{"key":"k","value":{"x":[1,null]}}]}');
    expect(response.status).toBe(200);
    expect(response.headers["server"]).toBe("ctxmesh/1.2.3");
    expect(JSON.parse(response.text)).toEqual({ acknowledged: "local", hlc: 1, facts: 1 });
    expect(service.puts).toEqual([{ doc: "a", facts: [{ key: "k", value: { x: [1, null] } }] }]);
  });

  test("a retraction reaches the service with what, whom and why", async () => {
    const body = { doc: "a", key: "k", writer: "ab".repeat(32), reason: "the sensor is broken" };
    const response = await post(JSON.stringify(body), JSON_TYPE, "/v1/retractions");
    expect(JSON.parse(response.text)).toEqual({ acknowledged: "local", hlc: 1, facts: 1 });
    expect(service.retractions).toEqual([Object.values(body)]);
    const { writer: _, ...nobody } = body;
    const problem = problemIn(await post(JSON.stringify(nobody), JSON_TYPE, "/v1/retractions"));
    expect(problem).toMatchObject({ status: 400, code: "INPUT_INVALID", field: "writer" });
  });

  test("a list reaches the service with every filter as it was sent", async () => {
    const query = { doc: "a", prefix: "l", pattern: "line-*/**", source: "m 1", tag: "t&u" };
    const response = await get(`/v1/facts?${new URLSearchParams(query).toString()}`);
    expect(JSON.parse(response.text)).toEqual({ facts: [] });
    expect(service.queries).toEqual([query]);
  });

  test("membership, the space file's very text, and evidence come from the service", async () => {
    expect(JSON.parse((await get("/v1/membership")).text)).toEqual(service.membership());
    const file = await get("/v1/space");
    expect(file.text).toBe(service.spaceFile());
    expect(file.headers["content-type"]).toBe("application/json");
    expect(JSON.parse((await get("/v1/evidence")).text)).toEqual({ evidence: service.evidence() });
    for (const path of ["/v1/membership", "/v1/space", "/v1/evidence"]) {
      expect(problemIn(await get(`${path}?all=1`))).toMatchObject({ code: "INPUT_INVALID" });
    }
  });

  test("acts reach the service as bytes, and what it refused comes back", async () => {
    const body = JSON.stringify({ records: ["AAE=", "/+7dzA=="] });
    const response = await post(body, JSON_TYPE, "/v1/membership");
    expect(response.status).toBe(200);
    expect(JSON.parse(response.text)).toEqual({
      added: 1,
      refused: [{ code: "SIGNATURE_INVALID", message: "forged" }],
    });
    expect(service.acts).toEqual([Uint8Array.of(0, 1), Uint8Array.of(0xff, 0xee, 0xdd, 0xcc)]);
  });

  test("a fact that is not there is a 404 with the code NOT_FOUND", async () => {
    expect(JSON.parse((await get("/v1/fact?doc=a&key=known")).text)).toMatchObject({ value: 1 });
    const problem = problemIn(await get("/v1/fact?doc=a&key=unknown"));
    expect(problem).toMatchObject({ status: 404, code: "NOT_FOUND" });
  });
});

describe("refusals", () => {
  test("malformed JSON", async () => {
    expect(problemIn(await post('{"doc":'))).toMatchObject({ status: 400, code: "INPUT_INVALID" });
  });

  test("bytes that are no UTF-8", async () => {
    const body = Buffer.from('{"doc":"a","facts":[{"key":"k","value":"\u00FF"}]}', "latin1");
    expect(problemIn(await post(body))).toMatchObject({ status: 400, code: "INPUT_INVALID" });
  });

  test("a field named __proto__ is as unknown as any other", async () => {
    const problem = problemIn(await post('{"doc":"a","facts":[],"__proto__":{"facts":[]}}'));
    expect(problem).toMatchObject({ detail: expect.stringContaining("__proto__") as string });
    expect(service.puts).toEqual([]);
  });

  test("a body that is not JSON by its type", async () => {
    const response = await post('{"doc":"a","facts":[]}', { "content-type": "text/plain" });
    expect(problemIn(response)).toMatchObject({ status: 415, code: "INPUT_INVALID" });
  });

  test("a body longer than LIMITS.requestBytes, by its announced length", async () => {
    const response = await post("{}", {
      "content-type": "application/json",
      "content-length": String(LIMITS.requestBytes + 1),
    });
    expect(problemIn(response)).toMatchObject({ status: 413, code: "LIMIT_EXCEEDED" });
  });

  test("an unknown field, by its name", async () => {
    const problem = problemIn(await post('{"doc":"a","facts":[],"facst":[]}'));
    expect(problem).toMatchObject({
      code: "INPUT_INVALID",
      detail: expect.stringContaining("facst"),
    });
  });

  test("an unknown route, which is not the same as an unknown fact", async () => {
    expect(problemIn(await get("/v2/facts"))).toMatchObject({ status: 404, code: "INPUT_INVALID" });
  });
});

describe("failures", () => {
  test("a MeshError keeps its code, field and remedy, and is no failure of the server", async () => {
    service.failure = new MeshError("POLICY_REFUSED", "no grant", { field: "doc", remedy: "ask" });
    expect(problemIn(await post('{"doc":"a","facts":[]}'))).toEqual({
      type: "urn:ctxmesh:error:POLICY_REFUSED",
      title: "policy refused",
      status: 403,
      detail: "no grant",
      code: "POLICY_REFUSED",
      field: "doc",
      remedy: "ask",
    });
    expect(logger.entries.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("anything else is INTERNAL, and is logged", async () => {
    service.failure = new TypeError("x is undefined");
    expect(problemIn(await post('{"doc":"a","facts":[]}'))).toMatchObject({ code: "INTERNAL" });
    expect(logger.entries).toContainEqual(
      expect.objectContaining({ level: "error", event: "api.failed" }),
    );
  });

  test("an agent says that only a hub seals", async () => {
    const response = await rawRequest({ socketPath, path: "/v1/seals", method: "POST" });
    expect(problemIn(response)).toMatchObject({
      code: "INPUT_INVALID",
      detail: expect.stringContaining("only a hub"),
    });
    expect(problemIn(await get("/v1/bundles/latest"))).toMatchObject({ code: "INPUT_INVALID" });
  });
});
