// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { Registry, encodeModuleEntry, isModuleEntry, parseModuleEntry } from "@ctxmesh/schema";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const bytes = fc.uint8Array({ maxLength: 200 });

describe("the entry of a module", () => {
  test("reads back as it was written, and is none of a schema", () => {
    fc.assert(
      fc.property(bytes, fc.stringMatching(/^[ -~]{1,40}$/u), (module, name) => {
        const entry = encodeModuleEntry({ name, bytes: module });
        expect(parseModuleEntry(entry)).toEqual({ name, bytes: module });
        expect(isModuleEntry(entry)).toBe(true);
        expect(new Registry([{ id: "0", entry: JSON.stringify(entry) }]).versions).toEqual([]);
      }),
    );
  });

  test.each<[string, JsonValue]>([
    ["entry", []],
    ["entry", null],
    ["more", { module: "", name: "a", more: 1 }],
    ["name", { module: "" }],
    ["name", { module: "", name: "" }],
    ["name", { module: "", name: "a\nb" }],
    ["name", { module: "", name: "a".repeat(LIMITS.moduleText + 1) }],
    ["module", { module: 5, name: "a" }],
    ["module", { module: "AAA", name: "a" }],
    ["module", { module: "AAB=", name: "a" }],
    ["module", { module: "AA A", name: "a" }],
    ["module", { module: "A===", name: "a" }],
  ])("is refused for its %s: %j", (field, value) => {
    expect(() => parseModuleEntry(value)).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID", field }),
    );
  });

  test("has a limit, which is told before anything is decoded", () => {
    const most = encodeModuleEntry({ name: "a", bytes: new Uint8Array(LIMITS.moduleBytes) });
    expect(parseModuleEntry(most).bytes).toHaveLength(LIMITS.moduleBytes);
    const more = encodeModuleEntry({ name: "a", bytes: new Uint8Array(LIMITS.moduleBytes + 3) });
    expect(() => parseModuleEntry(more)).toThrowError(
      expect.objectContaining({ code: "LIMIT_EXCEEDED", field: "module" }),
    );
  });
});
