// SPDX-License-Identifier: Apache-2.0
import {
  fromHex,
  parseActId,
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type { MeshError } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const inputInvalid = expect.objectContaining({ code: "INPUT_INVALID" }) as MeshError;

describe.each([
  ["space id", parseSpaceId, 32],
  ["device key", parseDeviceKey, 32],
  ["header hash", parseHeaderHash, 32],
  ["act id", parseActId, 32],
  ["incarnation id", parseIncarnationId, 16],
] as const)("a %s", (kind, parse, length) => {
  test(`is the lower-case hex of ${String(length)} bytes`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: length, maxLength: length }), (bytes) => {
        const text = toHex(bytes);
        expect(parse(text)).toBe(text);
        expect(fromHex(text)).toEqual(bytes);
      }),
    );
  });

  test.each([
    ["empty", ""],
    ["a digit short", "0".repeat(2 * length - 1)],
    ["a digit long", "0".repeat(2 * length + 1)],
    ["upper case", "A".repeat(2 * length)],
    ["not hex", "g".repeat(2 * length)],
    ["a line break behind it", `${"0".repeat(2 * length)}\n`],
    ["a space before it", ` ${"0".repeat(2 * length)}`],
    ["full-width digits", "０".repeat(2 * length)],
  ])("is refused when it is %s, and the error names the kind", (_, text) => {
    expect(() => parse(text)).toThrow(inputInvalid);
    expect(() => parse(text)).toThrow(kind);
  });

  test("that is huge is not quoted whole in the error", () => {
    expect(() => parse("z".repeat(1_000_000))).toThrow(/^.{1,200}$/u);
  });
});

describe("a document name", () => {
  const segment = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,10}$/u);

  test("is segments of letters, digits, dots, underscores and hyphens joined by slashes", () => {
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 10 }), (segments) => {
        const text = segments.join("/");
        expect(parseDocumentName(text)).toBe(text);
      }),
    );
  });

  test("has at most 200 characters", () => {
    expect(parseDocumentName("d".repeat(200))).toHaveLength(200);
    expect(() => parseDocumentName("d".repeat(201))).toThrow(inputInvalid);
  });

  test.each([
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    ".",
    "..",
    "a/../b",
    "-a",
    "_a",
    "a b",
    "a\n",
    "a\u0000",
    "line-2\\press",
    "é",
    "a/é",
    "a?b",
    "a%2fb",
  ])("is refused: %j", (text) => {
    expect(() => parseDocumentName(text)).toThrow(inputInvalid);
  });
});

describe("hex", () => {
  test("of any bytes reads back as these bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300, size: "max" }), (bytes) => {
        expect(toHex(bytes)).toBe(Buffer.from(bytes).toString("hex"));
        expect(fromHex(toHex(bytes))).toEqual(bytes);
      }),
    );
  });

  test.each(["0", "0g", "AA", "0x00", " 00", "00\n", "é0"])("is refused: %j", (text) => {
    expect(() => fromHex(text)).toThrow(inputInvalid);
  });
});
