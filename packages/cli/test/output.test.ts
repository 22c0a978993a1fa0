// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";
import { parseValue } from "../src/commands/put.ts";
import { parseMoment } from "../src/moment.ts";
import { formatAge, formatError, formatTable, parseDuration, printable } from "../src/output.ts";

describe("errors", () => {
  test("one line says what and what to do", () => {
    const error = new MeshError("UNREACHABLE", "can't reach x", { remedy: "start it" });
    expect(formatError(error, false)).toBe("ctxmesh: can't reach x; start it");
  });

  test("several problems get a line each", () => {
    const error = new MeshError("CONFIG_INVALID", "a:1:1: x\na:2:1: y");
    expect(formatError(error, false)).toBe("ctxmesh: a:1:1: x\nctxmesh: a:2:1: y");
  });

  test("as JSON they carry code and exit code", () => {
    const error = new MeshError("INPUT_INVALID", "bad", { field: "doc" });
    expect(JSON.parse(formatError(error, true))).toEqual({
      error: { code: "INPUT_INVALID", message: "bad", field: "doc", exit: 3 },
    });
  });
});

describe("values and durations", () => {
  test("what is not JSON is a string", () => {
    expect(parseValue("71.5")).toBe(71.5);
    expect(parseValue('{"a":[null]}')).toEqual({ a: [null] });
    expect(parseValue('"71.5"')).toBe("71.5");
    expect(parseValue("open door")).toBe("open door");
  });

  test("durations have a unit", () => {
    const texts = ["500ms", "30s", "10m", "2h", "7d"];
    expect(texts.map(parseDuration)).toEqual([500, 30_000, 600_000, 7_200_000, 604_800_000]);
    for (const bad of ["", "10", "0s", "-1s", "1.5h", "1w", "1 s"]) {
      expect(() => parseDuration(bad)).toThrow(expect.objectContaining({ code: "USAGE" }));
    }
  });
});

describe("a moment", () => {
  const now = Date.UTC(2026, 0, 31, 14, 5);

  test("is so long ago, a date with its zone, or Unix milliseconds", () => {
    const texts = ["2h", "500ms", "2026-01-31T14:05:00+01:00", String(now)];
    const moments = texts.map((text) => parseMoment(text, now));
    expect(moments).toEqual([now - 7_200_000, now - 500, now - 3_600_000, now]);
  });

  test.each(["", "0s", "2w", "-2h", "2 h", "now", "2026-01-31", "1.5h"])("is not %j", (text) => {
    const usage = expect.objectContaining({ code: "USAGE" }) as Error;
    expect(() => parseMoment(text, now)).toThrow(usage);
  });
});

describe("text for people", () => {
  test("ages", () => {
    expect([-5, 350, 2_040, 300_000, 90_000_000].map(formatAge)).toEqual([
      "0 ms",
      "350 ms",
      "2.0 s",
      "5 m",
      "1 d",
    ]);
  });

  test("columns line up", () => {
    expect(
      formatTable([
        ["a", "bb", "c"],
        ["aaa", "b", "c"],
      ]),
    ).toEqual(["a    bb  c", "aaa  b   c"]);
  });

  test("text of others can't drive the terminal", () => {
    expect(printable("a\u001b[31mb\u009b\nc\u202e")).toBe("a\\u001b[31mb\\u009b\\u000ac\\u202e");
  });
});
