// SPDX-License-Identifier: Apache-2.0
import { parseDeviceKey } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findWriter } from "../src/commands/retract.ts";

const device = fc
  .array(fc.constantFrom("0", "1", "2", "a", "b"), { minLength: 64, maxLength: 64 })
  .map((digits) => parseDeviceKey(digits.join("")));
const candidates = fc
  .uniqueArray(device, { minLength: 1, maxLength: 6 })
  .map((writers) => writers.map((writer) => ({ writer })));

const codeOf = (prefix: string, among: Parameters<typeof findWriter>[1]): unknown => {
  try {
    return findWriter(prefix, among, "k");
  } catch (error) {
    return (error as { code: unknown }).code;
  }
};

describe("a writer by the start of its device key", () => {
  test("is the only one that starts so, in either case; several are refused, and none is not found", () => {
    fc.assert(
      fc.property(
        candidates,
        fc.nat(5),
        fc.integer({ min: 1, max: 64 }),
        (among, index, length) => {
          const { writer } = among[index % among.length] ?? { writer: "" };
          const prefix = writer.slice(0, length);
          const fits = among.filter((other) => other.writer.startsWith(prefix)).length;
          const expected = fits === 1 ? writer : "USAGE";
          expect(codeOf(prefix, among)).toBe(expected);
          expect(codeOf(prefix.toUpperCase(), among)).toBe(expected);
          expect(codeOf(`f${prefix}`.slice(0, 64), among)).toBe("NOT_FOUND");
        },
      ),
    );
  });

  test.each(["", "xyz", "0x12", "0".repeat(65), "12 "])("%j is no device key", (prefix) => {
    expect(codeOf(prefix, [{ writer: parseDeviceKey("0".repeat(64)) }])).toBe("USAGE");
  });

  test("an ambiguous one is answered with longer ones, an unknown one with who there is", () => {
    const two = ["12", "13"].map((start) => ({ writer: parseDeviceKey(start.padEnd(64, "0")) }));
    expect(() => findWriter("1", two, "k")).toThrow(
      expect.objectContaining({
        message: "--writer 1 fits 2 writers",
        remedy: "give more digits: 1200000000000000, 1300000000000000",
      }),
    );
    expect(() => findWriter("ff", two, "k")).toThrow(
      expect.objectContaining({ remedy: "those who have are 12000000, 13000000" }),
    );
    expect(() => findWriter("ff", [], "k")).toThrow(
      expect.objectContaining({ remedy: "nobody has said anything about it" }),
    );
  });
});
