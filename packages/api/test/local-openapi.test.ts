// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the description of the local API is OpenAPI 3.1, lacks no route, and says of every operation what it takes.
 * Method: a server with every service; what an operation takes is in what it answers to a parameter and a field that nobody knows. That the examples
 * work is tested on a real agent (edge-agent/test/local-api.test.ts).
 */
import { join } from "node:path";
import { silentLogger, tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createControlServer } from "../src/index.ts";
import type { ControlServer, ControlServerOptions } from "../src/index.ts";
import { OPERATIONS } from "../src/local-openapi.ts";
import { RecordingService, rawRequest } from "./raw.ts";
import type { RawResponse } from "./raw.ts";

let dir: TempDir;
let server: ControlServer;
let socketPath: string;

/** A service of which no operation gets as far as to be called. */
const untouched = <Service>(): Service => ({}) as Service;
type Full = Required<ControlServerOptions>;

beforeEach(async () => {
  dir = await tempDir();
  socketPath = join(dir.path, "api.sock");
  const all: Full = {
    service: new RecordingService(),
    sealing: untouched<Full["sealing"]>(),
    decisions: untouched<Full["decisions"]>(),
    events: untouched<Full["events"]>(),
    levels: untouched<Full["levels"]>(),
    documents: untouched<Full["documents"]>(),
    schemas: untouched<Full["schemas"]>(),
    care: untouched<Full["care"]>(),
    partial: untouched<Full["partial"]>(),
    acceptSocket: untouched<Full["acceptSocket"]>(),
    backup: untouched<Full["backup"]>(),
    version: "1.2.3",
    logger: silentLogger,
  };
  server = createControlServer(all);
  await server.listenUnix(socketPath);
});

afterEach(async () => {
  await server.close();
  await dir.remove();
});

interface Described {
  readonly summary: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: {
    readonly content: Readonly<
      Record<string, { readonly schema: { readonly properties?: object } }>
    >;
  };
}
interface Description {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
}

const send = (method: string, path: string, body?: string): Promise<RawResponse> =>
  rawRequest(
    {
      socketPath,
      method,
      path,
      headers: body === undefined ? {} : { "content-type": "application/json" },
    },
    body,
  );

const read = async (): Promise<Description> =>
  JSON.parse((await send("GET", "/v1/openapi.json")).text) as Description;

test("it is valid", async () => {
  const validator = new Validator();
  const result = await validator.validate({ ...(await read()) });
  expect(result.errors ?? []).toEqual([]);
  expect(result.valid).toBe(true);
  expect(validator.version).toBe("3.1");
});

test("every route is described, and there is a route for every description", async () => {
  const { paths } = await read();
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { summary }]) => ({
      route: `${method.toUpperCase()} ${path}`,
      summary,
    })),
  );
  expect(routes.filter(({ summary }) => summary === "Not described.")).toEqual([]);
  expect(routes.map(({ route }) => route).toSorted()).toEqual(Object.keys(OPERATIONS).toSorted());
});

/** The names in "known are a, b". */
function knownIn({ status, text }: RawResponse, what: string): readonly string[] {
  const problem = JSON.parse(text) as { readonly detail: string; readonly remedy?: string };
  expect(status, what).toBe(400);
  expect(problem.detail, what).toContain('unknown field "nonsense"');
  const names = problem.remedy?.replace("known are ", "") ?? "";
  return names === "" ? [] : names.split(", ").toSorted();
}

/** Operations that look at no query: what is in it has no meaning. */
const isRead = (method: string, path: string): boolean =>
  method === "get" && path !== "/v1/openapi.json";

test("every operation takes the parameters and fields that are described, and no others", async () => {
  const described: Record<string, readonly string[]> = {};
  const taken: Record<string, readonly string[]> = {};
  for (const [path, methods] of Object.entries((await read()).paths)) {
    for (const [method, { parameters = [], requestBody }] of Object.entries(methods)) {
      const what = `${method} ${path}`;
      const url = path.replace("{sequence}", "latest");
      const { properties } = requestBody?.content["application/json"]?.schema ?? {};
      if (isRead(method, path)) {
        const names = parameters.filter((one) => one.in === "query").map(({ name }) => name);
        described[what] = names.toSorted();
        taken[what] = knownIn(await send("GET", `${url}?nonsense=1`), what);
      } else if (properties !== undefined) {
        // A reference is to what the service parses.
        described[what] = Object.keys(properties).toSorted();
        taken[what] = knownIn(await send("POST", url, '{"nonsense":1}'), what);
      }
    }
  }
  expect(Object.keys(taken).length).toBeGreaterThan(20);
  expect(described).toEqual(taken);
});

test("a node describes what it serves", async () => {
  const path = join(dir.path, "small.sock");
  const small = createControlServer({
    service: new RecordingService(),
    version: "1",
    logger: silentLogger,
  });
  await small.listenUnix(path);
  try {
    const { text } = await rawRequest({ socketPath: path, path: "/v1/openapi.json" });
    const { paths } = JSON.parse(text) as Description;
    expect(Object.keys(paths)).toContain("/v1/facts");
    expect(Object.keys(paths)).not.toContain("/v1/batch");
  } finally {
    await small.close();
  }
});
