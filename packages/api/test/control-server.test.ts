// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { createRecordingLogger, tempDir, waitFor } from "@ctxmesh/testing";
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

  test.each([
    ["/v1/facts", { doc: "a", facts: [] }],
    ["/v1/facts/delete", { doc: "a", keys: [] }],
    ["/v1/retractions", { doc: "a", key: "k", writer: "ab", reason: "r" }],
  ])("how far a write to %s has to get reaches the service", async (path, body) => {
    await post(JSON.stringify({ ...body, ack: "sealed", timeoutMs: 7 }), JSON_TYPE, path);
    await post(JSON.stringify(body), JSON_TYPE, path);
    expect(service.options).toEqual([{ ack: "sealed", timeoutMs: 7 }, {}]);
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

describe("the past", () => {
  const at = Date.UTC(2026, 0, 31, 14, 5);

  test("a question about it reaches the service, its moment as Unix milliseconds", async () => {
    const fact = await get("/v1/fact?doc=a&key=known&at=2026-01-31T14:05:00Z");
    expect(JSON.parse(fact.text)).toMatchObject({ value: 1 });
    expect((await get(`/v1/facts?doc=a&limit=2&at=${String(at)}`)).text).toBe('{"facts":[]}');
    const history = await get("/v1/history?doc=a&key=k&limit=5&before=9.2");
    expect(JSON.parse(history.text)).toEqual({
      entries: [],
      next: "3.1",
      reachesBack: { sinceMs: 7 },
    });
    expect(service.past.map(({ question }) => question)).toEqual([
      ["a", "known", at],
      [{ doc: "a", limit: 2 }, at],
      ["a", "k", { limit: 5, before: "9.2" }],
    ]);
  });

  test("a fact that was not there then is a 404 that names the moment, one that is pruned a 410", async () => {
    const missing = problemIn(await get(`/v1/fact?doc=a&key=unknown&at=${String(at)}`));
    expect(missing).toMatchObject({ status: 404, code: "NOT_FOUND" });
    expect(missing).toMatchObject({
      detail: expect.stringContaining("at 2026-01-31T14:05:00.000Z had no fact") as string,
    });
    service.failure = new MeshError("HISTORY_PRUNED", "gone", { field: "at", remedy: "later" });
    const gone = problemIn(await get(`/v1/facts?doc=a&at=${String(at)}`));
    expect(gone).toMatchObject({ status: 410, code: "HISTORY_PRUNED", remedy: "later" });
  });

  test.each([
    "/v1/fact?doc=a&key=known&at=yesterday",
    "/v1/fact?doc=a&key=known&at=2026-01-31",
    "/v1/fact?doc=a&key=known&at=",
    "/v1/fact?doc=a&key=known&at=1&at=2",
    "/v1/fact?doc=a&key=known&all=1&at=1767225600000",
    "/v1/facts?at=2h",
    "/v1/history?doc=a",
    "/v1/history?key=k",
    "/v1/history?doc=a&key=k&limit=0",
    "/v1/history?doc=a&key=k&limit=-1",
    "/v1/history?doc=a&key=k&at=1",
  ])("%s is refused", async (path) => {
    expect(problemIn(await get(path))).toMatchObject({ status: 400, code: "INPUT_INVALID" });
    expect(service.past).toEqual([]);
  });

  test("a read of it ends when its caller goes away, which is no failure of the server", async () => {
    service.remembering = Promise.withResolvers<void>().promise;
    const call = httpRequest({ socketPath, path: "/v1/history?doc=a&key=k" });
    const ended = once(call, "error");
    call.end();
    await waitFor(() => service.past.length === 1, { timeoutMs: 5_000, what: "the question" });
    call.destroy(new Error("enough"));
    await ended;
    const signal = service.past[0]?.options.signal;
    await waitFor(() => signal?.aborted === true, { timeoutMs: 5_000, what: "the end" });
    expect(logger.entries.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("a read of it ends with CLOSED when the server closes", async () => {
    service.remembering = Promise.withResolvers<void>().promise;
    const asked = get("/v1/fact?doc=a&key=known&at=1767225600000");
    await waitFor(() => service.past.length === 1, { timeoutMs: 5_000, what: "the question" });
    await server.close();
    expect(problemIn(await asked)).toMatchObject({ status: 503, code: "CLOSED" });
  });
});

test("a client that would rather speak HTTP/2 is answered as it asked", async () => {
  const headers = {
    connection: "Upgrade, HTTP2-Settings",
    upgrade: "h2c",
    "http2-settings": "AAM",
  };
  const answer = await rawRequest({ socketPath, path: "/v1/fact?doc=a&key=known", headers });
  expect([answer.status, JSON.parse(answer.text)]).toEqual([
    200,
    expect.objectContaining({ value: 1 }),
  ]);
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

  test("what is nested so deep that a function which calls itself runs out of stack, wherever it is", async () => {
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":', "}"],
    ] as const) {
      const deep = `${open.repeat(100_000)}1${close.repeat(100_000)}`;
      const body = `{"doc":"a","facts":[{"key":"k","value":${deep}}]}`;
      const problem = problemIn(await post(body, { ...JSON_TYPE, "idempotency-key": "k" }));
      expect(problem).toMatchObject({ status: 413, code: "LIMIT_EXCEEDED", field: "body" });
    }
    expect(service.puts).toEqual([]);
    // Not nested: one after the other, and in a text, with quotes and backslashes before it.
    const flat = `[${"[],".repeat(1_000)}"\\"\\\\${"[{".repeat(1_000)}\\"",{}]`;
    const response = await post(`{"doc":"a","facts":[{"key":"k","value":${flat}}]}`);
    expect([response.status, service.puts.length]).toEqual([200, 1]);
  });

  test.each(["If-Match", "If-None-Match"])(
    "%s where no write depends on it: whoever sends it relies on it",
    async (name) => {
      for (const [path, body] of [
        ["/v1/facts/delete", { doc: "a", keys: ["k"] }],
        ["/v1/retractions", { doc: "a", key: "k", writer: "ab", reason: "r" }],
        ["/v1/membership", { records: [] }],
      ] as const) {
        const headers = { ...JSON_TYPE, [name]: '"v1"' };
        const problem = problemIn(await post(JSON.stringify(body), headers, path));
        expect(problem).toMatchObject({ status: 400, code: "INPUT_INVALID", field: name });
      }
      expect([service.options, service.retractions, service.acts]).toEqual([[], [], []]);
    },
  );

  test.each([
    ["what is no HTTP", "hello\r\n\r\n", 400],
    ["a path that can't be decoded", "GET /v1/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400],
    ["headers without end", `GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(20_000)}`, 431],
  ])("%s, with problem details", async (_, bytes, status) => {
    const socket = connect(socketPath);
    socket.on("error", () => undefined).write(bytes);
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (text.endsWith("}")) socket.end();
    });
    await once(socket, "close");
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${String(status)} `, "u"));
    expect(text.toLowerCase()).toContain("content-type: application/problem+json");
    expect(JSON.parse(text.slice(text.indexOf("{")))).toMatchObject({
      status,
      code: "INPUT_INVALID",
    });
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

  test("a write that no hub acknowledged in time is a 504, and no failure of the server either", async () => {
    service.failure = new MeshError("ACK_TIMEOUT", "not hub within 5 ms", { remedy: "wait" });
    const problem = problemIn(await post('{"doc":"a","facts":[],"ack":"hub","timeoutMs":5}'));
    expect(problem).toMatchObject({ status: 504, code: "ACK_TIMEOUT", remedy: "wait" });
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
