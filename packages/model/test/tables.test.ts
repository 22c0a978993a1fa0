// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { ERROR_CODES, EXIT, HOLDS, LIMITS, MeshError, REFUSALS, toMeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";

const codes = Object.keys(ERROR_CODES) as MeshErrorCode[];

/** Names in a source table that are not right under a doc comment. */
function undocumented(file: string, entry: RegExp): string[] {
  const lines = readFileSync(new URL(`../src/${file}`, import.meta.url), "utf8").split("\n");
  return lines.flatMap((line, i) => {
    const name = entry.exec(line)?.[1];
    return name !== undefined && !lines[i - 1]?.trimEnd().endsWith("*/") ? [name] : [];
  });
}

describe("error codes", () => {
  test.each(codes)("%s has an exit code of its own kind, never 0", (code) => {
    const error = new MeshError(code, "why");
    expect(error.exitCode).toBe(EXIT[ERROR_CODES[code]]);
    expect(error.exitCode).toBeGreaterThan(0);
  });

  test("are upper-case words, each with a doc comment", () => {
    for (const code of codes) expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/u);
    expect(undocumented("errors.ts", /^ {2}([A-Z_]+): "/u)).toEqual([]);
  });

  test("exit codes are distinct, and verify's three are 1 to 3", () => {
    expect(new Set(Object.values(EXIT)).size).toBe(Object.values(EXIT).length);
    expect(EXIT).toMatchObject({ ok: 0, failed: 1, policy: 2, input: 3 });
  });
});

describe("a MeshError", () => {
  test("carries its field, remedy and cause", () => {
    const cause = new Error("disk");
    const error = new MeshError("STORE_FAILED", "no", {
      field: "dir",
      remedy: "free space",
      cause,
    });
    expect(error).toMatchObject({ name: "MeshError", field: "dir", remedy: "free space", cause });
    expect(error).toBeInstanceOf(Error);
  });

  test("has no cause property when there is none", () => {
    expect(Object.hasOwn(new MeshError("USAGE", "no"), "cause")).toBe(false);
  });

  test("passes through toMeshError unchanged; anything else becomes INTERNAL with its cause", () => {
    const error = new MeshError("CLOSED", "closed");
    const defect = new TypeError("x is not a function");
    expect(toMeshError(error)).toBe(error);
    expect(toMeshError(defect)).toMatchObject({ code: "INTERNAL", cause: defect });
    expect(toMeshError("text")).toMatchObject({ code: "INTERNAL", message: "text" });
    expect(toMeshError(undefined)).toMatchObject({ code: "INTERNAL" });
  });
});

describe("limits", () => {
  test("are positive whole numbers, each with a doc comment", () => {
    for (const [name, value] of Object.entries(LIMITS)) {
      expect(Number.isSafeInteger(value) && value > 0, name).toBe(true);
    }
    expect(undocumented("limits.ts", /^ {2}(\w+): [\d_]+,/u)).toEqual([]);
  });

  test("fit into each other", () => {
    expect(LIMITS.writeBytes).toBeLessThan(LIMITS.batchBytes);
    expect(LIMITS.keyBytes + LIMITS.valueBytes).toBeLessThan(LIMITS.writeBytes);
    expect(LIMITS.writeBytes).toBeLessThanOrEqual(LIMITS.bodyBytes);
    expect(LIMITS.batchBytes).toBeLessThan(LIMITS.syncMessageBytes);
    expect(LIMITS.batchBytes).toBeLessThan(LIMITS.heldBytes);
    expect(LIMITS.factsPerWrite).toBeLessThanOrEqual(LIMITS.factsPerFrame);
    expect(LIMITS.depsPerBatch).toBeLessThan(LIMITS.frontierHeads);
  });
});

describe("outcomes", () => {
  test("refusals and holds are distinct codes with a doc comment each", () => {
    const all = [...REFUSALS, ...HOLDS];
    expect(new Set(all).size).toBe(all.length);
    expect(undocumented("outcomes.ts", /^ {2}"([a-z-]+)",/u)).toEqual([]);
  });
});
