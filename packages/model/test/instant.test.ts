// SPDX-License-Identifier: Apache-2.0
import { formatInstant, parseInstant } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const two = (n: number): string => String(n).padStart(2, "0");

describe("a moment", () => {
  test("is read back from every way in which it may be written", () => {
    fc.assert(
      fc.property(
        fc.date({
          min: new Date("1970-01-01T00:00:00Z"),
          max: new Date("9999-12-30T00:00:00Z"),
          noInvalidDate: true,
        }),
        fc.integer({ min: -23 * 60, max: 23 * 60 }),
        (date, offsetMinutes) => {
          const ms = date.getTime();
          const iso = date.toISOString();
          expect(formatInstant(ms)).toBe(iso);
          fc.pre(ms + offsetMinutes * 60_000 >= 0);
          const minutes = Math.abs(offsetMinutes);
          const local = new Date(ms + offsetMinutes * 60_000).toISOString().slice(0, -1);
          const zone = `${offsetMinutes < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
          for (const text of [String(ms), iso, iso.toLowerCase(), iso.replace("T", " ")]) {
            expect(parseInstant(text)).toBe(ms);
          }
          expect(parseInstant(local + zone)).toBe(ms);
        },
      ),
    );
  });

  test("has no parts of milliseconds, and needs none", () => {
    const ms = Date.UTC(2026, 0, 31, 14, 5);
    expect(parseInstant("2026-01-31T14:05:00Z")).toBe(ms);
    expect(parseInstant("2026-01-31T14:05:00.1239Z")).toBe(ms + 123);
  });

  test.each([
    "",
    " ",
    "now",
    "2h",
    "2026-01-31",
    "2026-01-31T14:05:00",
    "2026-01-31T14:05Z",
    "2026-02-30T14:05:00Z",
    "2026-13-01T14:05:00Z",
    "2026-01-31T24:00:00Z",
    "2026-01-31T14:05:60Z",
    "2026-01-31T14:05:00+25:00",
    "2026-01-31T14:05:00Z ",
    "+002026-01-31T14:05:00Z",
    "-1",
    "1.5",
    "1e12",
    "99999999999999999",
    "９",
  ])("is not %j", (text) => {
    expect(() => parseInstant(text)).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID", field: "at" }),
    );
  });
});
