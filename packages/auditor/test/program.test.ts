// SPDX-License-Identifier: Apache-2.0
/** Goal: the auditor is one file that needs nothing else, opens what it is given, and no socket. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { tempDir } from "@ctxmesh/testing";
import { afterAll, describe, expect, test } from "vitest";
import { NOW, openKit } from "./kit.ts";

const folder = await tempDir();
afterAll(() => folder.remove());
const built = join(folder.path, "built");
const script = fileURLToPath(new URL("../../../scripts/bundle-auditor.ts", import.meta.url));
execFileSync(process.execPath, [script, built], { stdio: "ignore" });
// Alone in a folder: whatever it would load from beside it is not there.
const program = join(folder.path, "alone.mjs");
cpSync(join(built, "main.mjs"), program);

const kit = await openKit(12);
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder.path, name);
  writeFileSync(path, content);
  return path;
};
const bundle = file("bundle.json", await kit.seal(1));
const root = file("root.json", kit.root());
const AT = ["--at", String(NOW)];

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const run = (...args: readonly string[]): Ended => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    encoding: "utf8",
    cwd: folder.path,
    env: {},
  });
  return { code: status, stdout, stderr };
};

const policy = (members: object): string =>
  file("policy.json", JSON.stringify({ format: "ctxmesh-audit-policy/v1", ...members }));

describe("the built auditor", () => {
  test("has no import but of Node, and nothing of what evaluates expressions or talks to others", () => {
    const text = readFileSync(program, "utf8");
    const imports = [...text.matchAll(/^import\b[^;]*?"([^"]+)";?$/gmu)].map(([, name]) => name);
    expect(imports.every((name) => name?.startsWith("node:"))).toBe(true);
    expect(new Set(imports)).toEqual(
      new Set(["crypto", "fs", "path", "process", "util", "v8"].map((name) => `node:${name}`)),
    );
    const code = text.replace(/\/\*[^]*?\*\/|\/\/.*$/gmu, "");
    const forbidden = /cel-js|\bimport\s*\(|\brequire\s*\(|(?<![#.\w])fetch\s*\(|\bWebSocket\b/u;
    expect(forbidden.exec(code)).toBeNull();
  });

  test("verifies, with the exit code, and says what it did", () => {
    const { code, stdout, stderr } = run(bundle, "--trust", root, ...AT);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^ok {4}signature/mu);
    expect(stdout).toMatch(/^VALID/mu);
    expect(run(root, "--trust", root, ...AT).code).toBe(3);
    expect(run(bundle, "--trust", root, "--at", "2030-01-01T00:00:00Z").code).toBe(2);
  });

  test.each([
    [[]],
    [["a", "b", "--trust", "r"]],
    [["a"]],
    [["a", "--trust", "r", "--at", "noon"]],
    [["--none"]],
  ])("%j is a wrong command line: one line, exit 3", (args) => {
    const { code, stdout, stderr } = run(...args);
    expect([code, stdout, stderr.trimEnd().split("\n").length]).toEqual([3, "", 1]);
    expect(stderr).toMatch(/^ctxmesh-verify: /u);
  });

  test("a file of 1 GB, JSON 100,000 deep, and what is no bundle are exit 3, with one line that says why", () => {
    const huge = file("huge.json", "");
    truncateSync(huge, 1_000_000_000);
    const text = readFileSync(bundle, "utf8");
    const bad = [
      huge,
      file("deep.json", "[".repeat(100_000)),
      file("deep-inside.json", `{"envelope":${"[".repeat(100_000)}`),
      file("twice.json", text.replace('{"envelope"', '{"envelope":"","envelope"')),
      file("spelt.json", text.replace(/"salt":"([^"]{22})==/u, '"salt":"$1=')),
      file("deep.cbor", Uint8Array.from([0xa1, 0x61, 0x76, ...Array<number>(100_000).fill(0x81)])),
      file("deep-decision.json", `{"batch":${"[".repeat(100_000)}`),
    ];
    for (const path of bad) {
      const { code, stdout, stderr } = run(path, "--trust", root, ...AT);
      expect({ path, code, stderr }).toEqual({ path, code: 3, stderr: "" });
      expect(stdout.split("\n").filter((line) => line.startsWith("INVALID"))).toHaveLength(1);
    }
    const deepRoot = file("deep-root.json", "[".repeat(100_000));
    for (const path of [huge, deepRoot]) {
      expect(run(bundle, "--trust", path, ...AT).code).toBe(3);
      expect(run(bundle, "--trust", root, "--policy", path, ...AT).code).toBe(3);
    }
  });

  test("a policy with a member that is not known is refused, and one that is not met is exit 2", () => {
    const code = (members: object): number | null =>
      run(bundle, "--trust", root, "--policy", policy(members), ...AT).code;
    expect(code({})).toBe(0);
    expect(code({ minSequence: 1, maxAgeMs: 1_000 })).toBe(0);
    expect(code({ minSequence: 2 })).toBe(2);
    expect(code({ witnesses: 1 })).toBe(2);
    expect(code({ batches: true })).toBe(2);
    expect(code({ minSequenc: 1 })).toBe(3);
    expect(code({ batches: false })).toBe(3);
    const later = ["--at", String(NOW + 500_000)];
    const path = policy({ maxAgeMs: 1_000 });
    expect(run(bundle, "--trust", root, "--policy", path, ...later).code).toBe(2);
  });

  test("writes the report, which has no script and loads nothing", () => {
    const report = join(folder.path, "report.html");
    expect(run(bundle, "--trust", root, "--report", report, ...AT).code).toBe(0);
    const html = readFileSync(report, "utf8");
    expect(html).toMatch(/^<!doctype html>/u);
    expect(html).toContain("prefers-color-scheme: dark");
    expect(html).not.toMatch(/<script|\bsrc=|\bhref=|url\(|@import|\bon[a-z]+=/u);
  });
});

/** The files and sockets that a run opens, after the runtime has begun with the program. */
function traced(args: readonly string[]): {
  readonly opened: readonly string[];
  readonly sockets: string;
} {
  const trace = join(folder.path, "trace");
  execFileSync(
    "strace",
    [
      "-f",
      "-qq",
      "-e",
      "trace=open,openat,openat2,creat,socket,connect,bind,execve",
      "-o",
      trace,
      process.execPath,
      program,
      ...args,
    ],
    { cwd: folder.path, env: {}, stdio: "ignore" },
  );
  const lines = readFileSync(trace, "utf8").split("\n");
  const start = lines.findIndex((line) => line.includes(`"${program}"`) && line.includes("open"));
  const later = lines.slice(start + 1);
  const opened = later
    .filter((line) => !line.includes("ENOENT"))
    .flatMap((line) => [...line.matchAll(/open[^"]*"([^"]+)"/gu)].map(([, path = ""]) => path));
  const sockets = lines.filter((line) => /\b(?:socket|connect|bind)\(/u.test(line)).join("\n");
  return { opened, sockets };
}

const hasStrace = ["/usr/bin/strace", "/bin/strace"].some((path) => existsSync(path));

describe.skipIf(!hasStrace)("as the kernel sees it (skipped without strace)", () => {
  test("opens no socket, and no file but those it was given", () => {
    const { opened, sockets } = traced([bundle, "--trust", root, ...AT]);
    expect(sockets).toBe("");
    // What the runtime itself asks the system about, whatever it runs.
    const ofRuntime = /^\/(?:proc|sys|dev|etc\/ssl|usr\/lib\/ssl)\b|^\/etc\/localtime$/u;
    expect(opened.filter((path) => !ofRuntime.test(path)).toSorted()).toEqual(
      [bundle, root].toSorted(),
    );
  });
});

test.skipIf(hasStrace)("strace is not installed: what is opened was not watched", () => {
  expect(hasStrace).toBe(false);
});
