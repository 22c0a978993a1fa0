// SPDX-License-Identifier: Apache-2.0
/** Goal: the description is OpenAPI 3.1, and what the door answers is as it says. */
import { silentLogger } from "@ctxmesh/testing";
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createHealthServer } from "../src/index.ts";
import type { HealthServer } from "../src/index.ts";
import { rawRequest } from "./raw.ts";

let server: HealthServer;
let base: string;
let port: number;

beforeEach(async () => {
  server = createHealthServer({ ready: () => false, logger: silentLogger });
  ({ port } = await server.listen("127.0.0.1", 0));
  base = `http://127.0.0.1:${String(port)}`;
});

afterEach(() => server.close());

interface Description {
  readonly paths: Readonly<
    Record<string, { readonly get?: { readonly responses: Readonly<Record<string, Answer>> } }>
  >;
}
interface Answer {
  readonly content: Readonly<Record<string, unknown>>;
}

const read = async (): Promise<Description> =>
  (await (await fetch(`${base}/v1/openapi.json`)).json()) as Description;

test("it is valid", async () => {
  const validator = new Validator();
  const result = await validator.validate({ ...(await read()) });
  expect(result.errors ?? []).toEqual([]);
  expect(result.valid).toBe(true);
  expect(validator.version).toBe("3.1");
  const broken = { ...(await read()), info: {} };
  expect((await new Validator().validate(broken)).valid).toBe(false);
});

test("each path answers with a status and a media type that are described", async () => {
  const { paths } = await read();
  expect(Object.keys(paths).length).toBeGreaterThan(4);
  for (const [path, { get }] of Object.entries(paths)) {
    // A path with parameters has its own tests.
    if (path.includes("{") || get === undefined) continue;
    const response = await fetch(base + path);
    const described = get.responses[String(response.status)];
    expect(Object.keys(described?.content ?? {}), path).toContain(
      response.headers.get("content-type"),
    );
    await response.arrayBuffer();
  }
});

test("what is not there, and what is no HTTP, is answered with problem details", async () => {
  const response = await fetch(`${base}/yjs/x?token=secret`);
  expect(response.headers.get("content-type")).toContain("application/problem+json");
  const problem = (await response.json()) as { readonly detail: string };
  expect(problem).toMatchObject({ status: 404, code: "NOT_FOUND" });
  expect(problem.detail).not.toContain("secret");
  const long = await rawRequest({ host: "127.0.0.1", port, path: `/livez?${"x".repeat(20_000)}` });
  expect(long.status).toBe(431);
  expect(JSON.parse(long.text)).toMatchObject({ status: 431, code: "INPUT_INVALID" });
});
