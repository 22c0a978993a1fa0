// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what the local API says of itself is so; a write with an idempotency key is made once, whatever happens in between; entity tags are versions;
 * documents are changed and edited as a whole.
 * Method: a real agent, its Unix socket, and its own description, whose examples are sent as they stand.
 */
import { join } from "node:path";
import type { Agent } from "@ctxmesh/edge-agent";
import { LIMITS } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { Validator } from "@seriousme/openapi-schema-validator";
// oxlint-disable-next-line import/extensions -- ajv has no exports map
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ask, startAgent } from "./local-api-kit.ts";
import type { Answered } from "./local-api-kit.ts";

let dir: TempDir;
let agent: Agent;

beforeEach(async () => {
  dir = await tempDir();
  agent = await startAgent(dir.path);
});
afterEach(async () => {
  await agent.stop();
  await dir.remove();
});

const get = async (path: string, headers: Record<string, string> = {}): Promise<Answered> =>
  ask({ socketPath: join(dir.path, "agent.sock") }, "GET", path, { headers });
const post = async (
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answered> =>
  ask({ socketPath: join(dir.path, "agent.sock") }, "POST", path, { body, headers });

const put = async (
  key: string,
  value: unknown,
  headers: Record<string, string> = {},
): Promise<Answered> => post("/v1/facts", { doc: "d", facts: [{ key, value }] }, headers);
const valueOf = async (key: string): Promise<unknown> =>
  (await get(`/v1/fact?doc=d&key=${key}`)).json?.["value"];

type Parameters = readonly {
  readonly name: string;
  readonly in: string;
  readonly example?: string | number;
}[];
interface Described {
  readonly operationId: string;
  readonly parameters?: Parameters;
  readonly requestBody?: {
    readonly content: {
      readonly "application/json": {
        readonly examples: Readonly<Record<string, { readonly value: unknown }>>;
      };
    };
  };
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}

/** A JSON pointer as the fragment of a URL. */
const pointer = (...names: readonly string[]): string =>
  names
    .map((name) => `/${encodeURIComponent(name.replaceAll("~", "~0").replaceAll("/", "~1"))}`)
    .join("");

/** What only a hub, or a store with encryption, does. */
const REFUSED_HERE = ["seal", "bundle", "rewrapKeys", "rotateKeys"];

describe("the description", () => {
  test("is valid, and each of its examples works and is answered as described", async () => {
    const description = (await get("/v1/openapi.json")).json as unknown as {
      readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
    };
    expect((await new Validator().validate({ ...description })).errors ?? []).toEqual([]);
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    ajv.addSchema(description, "api");

    const check = (path: string, method: string, operation: Described, got: Answered): void => {
      const what = `${method} ${path}: ${String(got.status)} ${got.text.slice(0, 300)}`;
      const isRefused = REFUSED_HERE.includes(operation.operationId);
      expect(got.status < 300, what).toBe(!isRefused);
      if (isRefused) return;
      const type = got.headers["content-type"] ?? "";
      const { content } = operation.responses[String(got.status)] ?? {};
      const found = Object.keys(content ?? {}).find((name) => type.startsWith(name));
      expect(found, `${what}: ${type}`).toBeDefined();
      if (got.json === undefined) return;
      const where = [
        "paths",
        path,
        method,
        "responses",
        String(got.status),
        "content",
        found ?? "",
        "schema",
      ];
      const isAsDescribed = ajv.validate({ $ref: `api#${pointer(...where)}` }, got.json);
      expect(isAsDescribed, `${what}: ${ajv.errorsText()}`).toBe(true);
    };

    let sent = 0;
    for (const [path, methods] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const { parameters = [], requestBody } = operation;
        const query = new URLSearchParams();
        let url = path;
        for (const { name, in: place, example } of parameters) {
          if (example === undefined) continue;
          if (place === "query") query.set(name, String(example));
          if (place === "path") url = url.replace(`{${name}}`, String(example));
        }
        if (query.size > 0) url += `?${query.toString()}`;
        if (requestBody === undefined) {
          const upTo = operation.operationId === "watch" ? { upTo: 1 } : {};
          const socketPath = join(dir.path, "agent.sock");
          check(path, method, operation, await ask({ socketPath }, "GET", url, upTo));
          sent++;
          continue;
        }
        const { examples } = requestBody.content["application/json"];
        const values = Object.values(examples);
        expect(values.length, `${method} ${path} has no example`).toBeGreaterThan(0);
        for (const { value } of values) {
          check(path, method, operation, await post(url, value));
          sent++;
        }
      }
    }
    expect(sent).toBeGreaterThan(30);
  });
});

const decideOnce = async (): Promise<Answered> =>
  post(
    "/v1/decisions",
    { model: { model: "m" }, inputs: [{ doc: "d", key: "k" }], checks: [], output: 1 },
    { "idempotency-key": "decision-1" },
  );

describe("a write with an idempotency key", () => {
  test("is made once, however often it is sent, at once and across a restart, and its answer is the same", async () => {
    const add = async (): Promise<Answered> =>
      post(
        "/v1/facts",
        { doc: "d", facts: [{ key: "n", value: 1, increment: true }] },
        { "idempotency-key": "add-1" },
      );
    const [first, ...rest] = await Promise.all([add(), add(), add()]);
    expect(first?.status, first?.text).toBe(200);
    for (const again of [...rest, await add()]) expect(again.json).toEqual(first?.json);
    expect(await valueOf("n")).toBe(1);
    await agent.stop();
    agent = await startAgent(dir.path);
    expect((await add()).json).toEqual(first?.json);
    expect(await valueOf("n")).toBe(1);
    await post("/v1/facts", { doc: "d", facts: [{ key: "n", value: 1, increment: true }] });
    expect(await valueOf("n")).toBe(2);
  });

  test("the key of another write is refused, and that write not made", async () => {
    const key = { "idempotency-key": '"8e03978e-40d5"' };
    expect((await put("k", 1, key)).status).toBe(200);
    const other = await put("k", 2, key);
    expect(other.status).toBe(422);
    expect(other.json).toMatchObject({ code: "IDEMPOTENCY_CONFLICT", field: "Idempotency-Key" });
    // Quoted or not it is the same key.
    expect((await put("k", 1, { "idempotency-key": "8e03978e-40d5" })).status).toBe(200);
    expect(await valueOf("k")).toBe(1);
    const deletion = await post("/v1/facts/delete", { doc: "d", keys: ["k"] }, key);
    expect(deletion.status).toBe(422);
  });

  test("one that failed is not remembered", async () => {
    const key = { "idempotency-key": "x" };
    expect((await put("k", "v".repeat(LIMITS.valueBytes), key)).status).toBe(413);
    expect((await put("k", "v", key)).status).toBe(200);
  });

  test.each(["", " ", "k".repeat(256), '"', "käse"])("%j is no key", async (key) => {
    const answer = await put("k", 1, { "idempotency-key": Buffer.from(key).toString("latin1") });
    expect(answer.json).toMatchObject({
      status: 400,
      code: "INPUT_INVALID",
      field: "Idempotency-Key",
    });
    expect(await valueOf("k")).toBeUndefined();
  });

  test("a decision, and its outcome, are recorded once, across a restart, too", async () => {
    const made = await decideOnce();
    expect([made.status, made.json?.["counter"]]).toEqual([200, 1]);
    const judge = async (outcome: string): Promise<Answered> =>
      post("/v1/outcomes", { of: made.json?.["id"], outcome }, { "idempotency-key": "outcome-1" });
    const judged = await judge("good");
    await agent.stop();
    agent = await startAgent(dir.path);
    expect((await decideOnce()).json).toEqual(made.json);
    expect((await judge("good")).json).toEqual(judged.json);
    expect((await judge("bad")).json).toMatchObject({ code: "IDEMPOTENCY_CONFLICT" });
  });

  test("a key is refused where it has no effect", async () => {
    const body = { doc: "d", fact: { key: "k", value: 1 }, expect: null };
    const answer = await post("/v1/facts/compare-and-set", body, { "idempotency-key": "x" });
    expect(answer.json).toMatchObject({ status: 400, field: "Idempotency-Key" });
  });
});

describe("entity tags", () => {
  test("a read answers the version, and 304 to who has it", async () => {
    await put("k", 1);
    const first = await get("/v1/fact?doc=d&key=k");
    const tag = first.headers.etag ?? "";
    expect(tag).toBe(`"${String(first.json?.["version"])}"`);
    for (const known of [tag, `W/${tag}`, `"x", ${tag}`, "*"]) {
      const again = await get("/v1/fact?doc=d&key=k", { "if-none-match": known });
      expect([again.status, again.text, again.headers.etag], known).toEqual([304, "", tag]);
    }
    await put("k", 2);
    const changed = await get("/v1/fact?doc=d&key=k", { "if-none-match": tag });
    expect(changed.json).toMatchObject({ value: 2 });
    expect(changed.headers.etag).not.toBe(tag);
  });

  test("a write that expects a version is made while it is there, and else answers the one that is", async () => {
    expect((await put("k", 1, { "if-none-match": "*" })).status).toBe(200);
    const taken = await put("k", 9, { "if-none-match": "*" });
    const { etag = "" } = (await get("/v1/fact?doc=d&key=k")).headers;
    expect(taken.json).toMatchObject({ status: 412, code: "VERSION_CONFLICT" });
    expect(taken.headers.etag).toBe(etag);
    const made = await put("k", 2, { "if-match": etag });
    expect(made.status, made.text).toBe(200);
    expect(made.headers.etag).toBe((await get("/v1/fact?doc=d&key=k")).headers.etag);
    expect((await put("k", 3, { "if-match": etag })).status).toBe(412);
    expect(await valueOf("k")).toBe(2);
  });

  test("of writes at the same time that expect one version, one is made", async () => {
    await put("k", 0);
    const { etag = "" } = (await get("/v1/fact?doc=d&key=k")).headers;
    const answers = await Promise.all(
      Array.from({ length: 8 }, async (_, i) => put("k", i + 1, { "if-match": etag })),
    );
    const statuses = answers.map(({ status }) => String(status));
    expect(statuses.toSorted()).toEqual(["200", ...Array<string>(7).fill("412")]);
  });

  test.each([
    { "if-match": "*" },
    { "if-match": "abc" },
    { "if-match": 'W/"abc"' },
    { "if-match": '"a", "b"' },
    { "if-none-match": '"abc"' },
    { "if-match": '"a"', "if-none-match": "*" },
    { "if-match": '"a"', "idempotency-key": "x" },
  ])("%j is refused", async (headers) => {
    const answer = await put("k", 1, headers);
    expect(answer.json).toMatchObject({ status: 400, code: "INPUT_INVALID" });
    expect(await valueOf("k")).toBeUndefined();
  });

  test("a condition is for one fact", async () => {
    const facts = [
      { key: "a", value: 1 },
      { key: "b", value: 1 },
    ];
    const answer = await post("/v1/facts", { doc: "d", facts }, { "if-none-match": "*" });
    expect(answer.json).toMatchObject({ status: 400, field: "facts" });
  });
});

const edit = async (...edits: unknown[]): Promise<Answered> =>
  post("/v1/edits", { doc: "d", edits });

describe("documents", () => {
  test("what is put and deleted together is one batch", async () => {
    await put("slot-1", "drill");
    const moved = await post("/v1/batch", {
      doc: "d",
      put: [{ key: "slot-2", value: "drill" }],
      delete: ["slot-1"],
    });
    expect(moved.json).toMatchObject({ facts: 2 });
    const { facts } = (await get("/v1/facts?doc=d")).json as { facts: { key: string }[] };
    expect(facts.map(({ key }) => key)).toEqual(["slot-2"]);
    const [one, two] = await Promise.all(
      ["slot-1", "slot-2"].map(async (key) => {
        const { json } = await get(`/v1/history?doc=d&key=${key}&limit=1`);
        const { entries } = json as { entries: { batch: unknown }[] };
        const [entry] = entries;
        return entry?.batch;
      }),
    );
    expect(one).toEqual(two);
  });

  test.each([
    [{ doc: "d" }, "facts"],
    [{ doc: "d", put: [{ key: "k", value: 1 }], delete: ["k"] }, "delete"],
    [{ doc: "d", put: [{ key: "k", value: 1 }], delete: [""] }, "key"],
    [{ doc: "d", put: {} }, "put"],
    [{ doc: "d", delete: [1] }, "delete[0]"],
  ])("of %j nothing is written", async (body, field) => {
    expect((await post("/v1/batch", body)).json).toMatchObject({ status: 400, field });
    expect(await valueOf("k")).toBeUndefined();
  });

  test("are listed by name, page by page", async () => {
    for (const doc of ["b", "a/1", "a/2"]) {
      await post("/v1/facts", { doc, facts: [{ key: "k", value: 1 }] });
    }
    await post("/v1/edits", { doc: "c", edits: [{ text: "t", delta: [{ insert: "x" }] }] });
    const names = async (query: string): Promise<unknown> =>
      (
        (await get(`/v1/documents${query}`)).json as { documents: { doc: string; bytes: number }[] }
      ).documents.map(({ doc }) => doc);
    expect(await names("")).toEqual(["a/1", "a/2", "b", "c"]);
    expect(await names("?prefix=a/")).toEqual(["a/1", "a/2"]);
    expect(await names("?after=a/2&limit=1")).toEqual(["b"]);
    expect((await get("/v1/documents?limit=10001")).json).toMatchObject({
      status: 400,
      field: "limit",
    });
  });

  test("rich content is edited as deltas, lists and maps, and read as plain JSON", async () => {
    await edit(
      { text: "notes", delta: [{ insert: "hello world" }] },
      { list: "todo", at: 0, insert: ["a", "b", "c"] },
      { map: "shift", set: { lead: "Ada", size: 3 } },
    );
    const done = await edit(
      {
        text: "notes",
        delta: [{ retain: 5, attributes: { bold: true } }, { delete: 6 }, { insert: "!" }],
      },
      { list: "todo", at: 1, delete: 1, insert: ["x", "y"] },
      { map: "shift", set: { lead: "Bob" }, delete: ["size"] },
    );
    expect(done.status, done.text).toBe(200);
    const { content } = (await get("/v1/content?doc=d")).json as { content: { root: string }[] };
    const byName = content.toSorted((a, b) => (a.root < b.root ? -1 : 1));
    expect(byName).toEqual([
      {
        root: "notes",
        type: "text",
        value: [{ insert: "hello", attributes: { bold: true } }, { insert: "!" }],
      },
      { root: "shift", type: "map", value: { lead: "Bob" } },
      { root: "todo", type: "list", value: ["a", "x", "y", "c"] },
    ]);
  });

  test.each([
    [{ text: "t", delta: [{ retain: 99 }] }],
    [{ text: "t", delta: [{ insert: "x" }, { delete: 99 }] }],
    [{ text: "t", delta: [{ insert: "" }] }],
    [{ text: "t", delta: [{ insert: "x", delete: 1 }] }],
    [{ text: "t", delta: [{ delete: 1, attributes: {} }] }],
    [{ text: "t", delta: [{ retain: 0 }] }],
    [{ text: "1 t", delta: [{ insert: "x" }] }],
    [{ list: "l", at: 7, insert: ["x"] }],
    [{ list: "l", at: -1 }],
    [{ map: "m", set: { ["__proto__x"]: 1 }, list: "l" }],
    [{ map: "m", set: [] }],
    [{}],
  ])("of the edit %j nothing is written", async (bad) => {
    const good = { text: "good", delta: [{ insert: "x" }] };
    const answer = await post("/v1/edits", { doc: "d", edits: [good, bad] });
    expect(answer.json, answer.text).toMatchObject({ status: 400, code: "INPUT_INVALID" });
    expect((await get("/v1/content?doc=d")).json).toEqual({ content: [] });
  });
});

const fact = (changes: object): object => ({
  doc: "d",
  facts: [{ key: "k", value: 1, ...changes }],
});

describe("bad input", () => {
  test.each([
    ["an unknown field", fact({ colour: "red" }), 400, "facts[0]"],
    ["a wrong type", fact({ confidence: "high" }), 400, "facts[0].confidence"],
    ["a value over 64 KiB", fact({ value: "x".repeat(LIMITS.valueBytes) }), 413, "value"],
    ["a key with a control character", fact({ key: "a\u0000b" }), 400, "key"],
    ["a key with a lone surrogate", fact({ key: "\ud800" }), 400, "key"],
    ["a key over its limit", fact({ key: "k".repeat(LIMITS.keyBytes + 1) }), 413, "key"],
    ["no key", fact({ key: "" }), 400, "key"],
    ["a ttl of nothing", fact({ ttlMs: 0 }), 400, "ttlMs"],
    ["a ttl that is over", fact({ ttlMs: -1 }), 400, "ttlMs"],
    ["a document with a bad name", { doc: "../x", facts: [{ key: "k", value: 1 }] }, 400, "doc"],
    ["a confidence over 1", fact({ confidence: 1.5 }), 400, "confidence"],
  ])("%s is named, and nothing is written", async (_, body, status, field) => {
    const answer = await post("/v1/facts", body);
    expect([answer.status, answer.json?.["field"]], answer.text).toEqual([status, field]);
    expect((await get("/v1/facts")).json).toEqual({ facts: [], from: "replica" });
  });

  test("a filter that matches nothing is no fault", async () => {
    await put("k", 1);
    for (const query of [
      "doc=nowhere",
      "prefix=zzz",
      "pattern=a/*/b",
      "source=nobody",
      "tag=none",
    ]) {
      expect((await get(`/v1/facts?${query}`)).json, query).toMatchObject({ facts: [] });
    }
    expect((await get("/v1/content?doc=nowhere")).json).toEqual({ content: [] });
    expect((await get("/v1/documents?prefix=zzz")).json).toEqual({ documents: [] });
  });
});
