// SPDX-License-Identifier: Apache-2.0
/** The auditor's promise, read off its sources: it reaches no network, no process and no layer above L2 but itself. */
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const packages = fileURLToPath(new URL("../../", import.meta.url));
/** A static import or re-export; the formatter writes double quotes. Dynamic ones are forbidden below. */
const IMPORT = /^(?:import|export)\b(?:[^";]*?\bfrom)?\s*"([^"]+)"/gmu;
const COMMENT = /\/\*[^]*?\*\/|\/\/.*$/gmu;

interface Graph {
  readonly files: Set<string>;
  readonly packages: Set<string>;
  readonly node: Set<string>;
  readonly foreign: Set<string>;
}

/** Follows every import from a file through relative paths and @ctxmesh packages. */
function walk(file: string, graph: Graph): Graph {
  if (graph.files.has(file)) return graph;
  graph.files.add(file);
  for (const [, specifier = ""] of readFileSync(file, "utf8").matchAll(IMPORT)) {
    const name = /^@ctxmesh\/([a-z0-9-]+)$/u.exec(specifier)?.[1];
    if (specifier.startsWith(".")) {
      walk(join(dirname(file), specifier), graph);
    } else if (name !== undefined) {
      graph.packages.add(name);
      walk(join(packages, name, "src/index.ts"), graph);
    } else if (specifier.startsWith("node:")) {
      graph.node.add(specifier);
    } else {
      graph.foreign.add(specifier);
    }
  }
  return graph;
}

const emptyGraph = (): Graph => ({
  files: new Set(),
  packages: new Set(),
  node: new Set(),
  foreign: new Set(),
});
const sources = readdirSync(join(packages, "auditor/src"))
  .filter((name) => name.endsWith(".ts"))
  .map((name) => join(packages, "auditor/src", name));
const graph = emptyGraph();
for (const source of sources) walk(source, graph);

describe("the auditor's import graph", () => {
  test("holds only packages of the layers L0 to L2 that verification needs", () => {
    expect([...graph.packages].toSorted()).toEqual(["codec", "crypto", "facts", "ledger", "model"]);
  });

  test("reaches the file system, cryptography and decompression of Node and nothing else of it", () => {
    const allowed = new Set([
      "node:crypto",
      "node:fs",
      "node:path",
      "node:process",
      "node:util",
      "node:v8",
      "node:zlib",
    ]);
    expect([...graph.node].filter((name) => !allowed.has(name))).toEqual([]);
    expect(graph.node).toContain("node:fs");
  });

  test("reaches only the foreign libraries that encode and verify", () => {
    // cel-js comes with the package that reads frames; the built file has none of it (build.test.ts).
    const allowed =
      /^(?:@marcbachmann\/cel-js|@noble\/[a-z0-9-]+(?:\/.*)?|cborg(?:\/.*)?|canonicalize)$/u;
    expect([...graph.foreign].filter((name) => !allowed.test(name))).toEqual([]);
    expect(graph.foreign.size).toBeGreaterThan(0);
  });

  test("names no network global and loads nothing by a computed name", () => {
    const forbidden =
      /(?<![#.\w])(?:fetch|import|require|eval|Function)\s*\(|\b(?:globalThis|WebSocket|EventSource|XMLHttpRequest)\b/u;
    const offending = [...graph.files].filter((file) =>
      forbidden.test(readFileSync(file, "utf8").replace(COMMENT, "")),
    );
    expect(offending).toEqual([]);
  });

  test("is made by a walk that does find what a file imports", () => {
    const self = walk(fileURLToPath(import.meta.url), emptyGraph());
    expect([...self.node].toSorted()).toEqual(["node:fs", "node:path", "node:url"]);
    expect([...self.foreign]).toEqual(["vitest"]);
  });
});
