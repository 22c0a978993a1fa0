// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  parseActsRequest,
  parseBundleSequence,
  parseDeleteRequest,
  parseGetRequest,
  parseListQuery,
  parsePutRequest,
  parseRetractRequest,
  parseStatusQuery,
  parseWatchQuery,
} from "../src/requests.ts";

const text = fc.string();
const fact = fc.record(
  {
    key: text,
    value: fc.jsonValue(),
    increment: fc.boolean(),
    confidence: fc.double({ noNaN: true }),
    source: fc.record({ model: text, version: text, instance: text }, { requiredKeys: ["model"] }),
    ttlMs: fc.integer(),
    tags: fc.array(text, { maxLength: 4 }),
    basis: fc.array(text, { maxLength: 4 }),
  },
  { requiredKeys: ["key", "value"] },
);
const ack = { ack: text, timeoutMs: fc.integer() };
const ruling = fc.record(
  { doc: text, key: text, writer: text, reason: text, ...ack },
  { requiredKeys: ["doc", "key", "writer", "reason"] },
);
const putBody = fc.record(
  { doc: text, facts: fc.array(fact, { maxLength: 5 }), ...ack },
  { requiredKeys: ["doc", "facts"] },
);

describe("bodies", () => {
  test("a write passes through unchanged", () => {
    fc.assert(
      fc.property(putBody, (body) => {
        expect(parsePutRequest(body)).toEqual(body);
      }),
    );
  });

  test("a retraction passes through unchanged, and needs each of its fields as text", () => {
    fc.assert(
      fc.property(ruling, fc.constantFrom("doc", "key", "writer", "reason"), (body, field) => {
        expect(parseRetractRequest(body)).toEqual(body);
        const refused = expect.objectContaining({ code: "INPUT_INVALID", field });
        expect(() => parseRetractRequest({ ...body, [field]: undefined })).toThrow(refused);
        expect(() => parseRetractRequest({ ...body, [field]: 1 })).toThrow(refused);
        expect(() => parseRetractRequest({ ...body, extra: 1 })).toThrow(/unknown field "extra"/u);
      }),
    );
  });

  test.each([
    [parsePutRequest, { doc: "a", facts: [] }],
    [parseDeleteRequest, { doc: "a", keys: [] }],
    [parseRetractRequest, { doc: "a", key: "k", writer: "w", reason: "r" }],
  ] as const)(
    "a write may say how far it has to get, as a text and a number: %#",
    (parse, body) => {
      expect(parse({ ...body, ack: "hub", timeoutMs: 5 })).toMatchObject({
        ack: "hub",
        timeoutMs: 5,
      });
      for (const [field, value] of Object.entries({ ack: 1, timeoutMs: "5" })) {
        expect(() => parse({ ...body, [field]: value })).toThrow(
          expect.objectContaining({ code: "INPUT_INVALID", field }) as Error,
        );
      }
    },
  );

  test("acts come out as the bytes that were put in as base64", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1 }), { maxLength: 5 }), (records) => {
        const body = { records: records.map((bytes) => Buffer.from(bytes).toString("base64")) };
        expect(parseActsRequest(body)).toEqual(records);
      }),
    );
  });

  test.each([["AAE"], ["AA E="], ["AB=="], ["-_8="], [""], [1], [["AAE="]]])(
    "an act that is not base64, but %j, is refused by its place",
    (record) => {
      expect(() => parseActsRequest({ records: ["AAE=", record] })).toThrow(
        expect.objectContaining({ code: "INPUT_INVALID", field: "records[1]" }) as Error,
      );
    },
  );

  test("more acts than a space can have are over the limit", () => {
    const records = Array.from({ length: LIMITS.acts + 1 }, () => "AAE=");
    expect(() => parseActsRequest({ records })).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED", field: "records" }) as Error,
    );
    expect(() => parseActsRequest({ acts: [] })).toThrow(/unknown field "acts"/u);
  });

  test("an unknown field is refused by name wherever it is", () => {
    const good = { doc: "a", facts: [{ key: "k", value: 1, source: { model: "m" } }] };
    const [first] = good.facts;
    const bad = [
      { ...good, extra: 1 },
      { ...good, facts: [{ ...first, extra: 1 }] },
      { ...good, facts: [{ ...first, source: { model: "m", extra: 1 } }] },
    ];
    for (const body of bad) {
      expect(() => parsePutRequest(body)).toThrow(/unknown field "extra"/u);
    }
  });

  test("a field of another type is refused by its path", () => {
    const cases: [unknown, string][] = [
      [undefined, "body"],
      [[], "body"],
      [{ doc: 1, facts: [] }, "doc"],
      [{ doc: "a", facts: {} }, "facts"],
      [{ doc: "a", facts: ["x"] }, "facts[0]"],
      [{ doc: "a", facts: [{ key: 1, value: 1 }] }, "facts[0].key"],
      [{ doc: "a", facts: [{ key: "k" }] }, "facts[0].value"],
      [{ doc: "a", facts: [{ key: "k", value: 1, confidence: "1" }] }, "facts[0].confidence"],
      [{ doc: "a", facts: [{ key: "k", value: 1, increment: 1 }] }, "facts[0].increment"],
      [{ doc: "a", facts: [{ key: "k", value: 1, tags: [1] }] }, "facts[0].tags[0]"],
      [{ doc: "a", facts: [{ key: "k", value: 1, source: {} }] }, "facts[0].source.model"],
    ];
    for (const [body, field] of cases) {
      expect(() => parsePutRequest(body)).toThrow(
        expect.objectContaining({ code: "INPUT_INVALID", field }),
      );
    }
  });

  test("more facts or keys than one write may hold are refused", () => {
    const facts = Array.from({ length: LIMITS.factsPerWrite + 1 }, () => ({ key: "k", value: 1 }));
    const code = expect.objectContaining({ code: "LIMIT_EXCEEDED" });
    expect(() => parsePutRequest({ doc: "a", facts })).toThrow(code);
    expect(() => parseDeleteRequest({ doc: "a", keys: facts.map(({ key }) => key) })).toThrow(code);
  });
});

describe("queries", () => {
  test("a repeated or unknown parameter is refused", () => {
    expect(() => parseGetRequest({ doc: ["a", "b"], key: "k" })).toThrow(/more than once/u);
    for (const name of ["prefix", "pattern", "source", "tag", "after", "limit"]) {
      expect(() => parseListQuery({ [name]: ["1", "2"] })).toThrow(/more than once/u);
    }
    expect(() => parseListQuery({ writer: "a" })).toThrow(/unknown field "writer"/u);
    expect(() => parseWatchQuery({ document: "a" })).toThrow(/unknown field "document"/u);
  });

  test("absent parameters stay absent", () => {
    expect(parseListQuery({})).toEqual({});
    const texts = { doc: "a", prefix: "", pattern: "x/**", source: "m", tag: "t", after: "b" };
    expect(parseListQuery(texts)).toEqual(texts);
    expect(parseListQuery({ ...texts, limit: "7" })).toEqual({ ...texts, limit: 7 });
    expect(parseGetRequest({ doc: "a", key: "k" })).toEqual({ doc: "a", key: "k", all: false });
    expect(parseStatusQuery({ digest: "1" })).toEqual({ digest: true });
  });

  test.each(["0", "-1", "1.5", "1e3", "", " 1", "9999999999"])(
    "the limit %j is refused",
    (limit) => {
      expect(() => parseListQuery({ limit })).toThrow(/limit/u);
    },
  );

  test("a bundle is named by a plain number or latest", () => {
    expect(parseBundleSequence("latest")).toBeUndefined();
    expect(parseBundleSequence("17")).toBe(17);
    for (const bad of ["", "-1", "01", "1e2", "0x1", "../1", "newest"]) {
      expect(() => parseBundleSequence(bad)).toThrow(/sequence number/u);
    }
  });
});
