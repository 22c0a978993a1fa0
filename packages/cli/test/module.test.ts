// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a module gets from its source into a space, decides there, and one that fails is named.
 * Method: the example of docs/POLICY.md, compiled; the commands on a space file, and on a running agent.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EXIT } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { main } from "assemblyscript/asc";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { checkModule } from "../src/commands/policy-module.ts";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const EXAMPLE = fileURLToPath(new URL("../../../docs/examples/policy-module/", import.meta.url));
/** As the example says. */
const OPTIONS = "-O3 --runtime stub --use abort= --initialMemory 1 --maximumMemory 16".split(" ");
const SPACE = ["--space", "space.json"];

let dir: TempDir;
const plant = (): string => join(dir.path, "plant");
const at = (...args: readonly string[]): Promise<RunResult> =>
  run(["policy", "module", ...args], { cwd: plant() });
const file = async (name: string, text: string | Uint8Array): Promise<string> => {
  await writeFile(join(plant(), name), text);
  return name;
};

/** The example, or another source in its place. */
async function compile(source?: string): Promise<Uint8Array> {
  let binary = new Uint8Array();
  const { error } = await main(
    ["median.ts", "--outFile", "median.wasm", "--baseDir", EXAMPLE, ...OPTIONS],
    {
      ...(source === undefined
        ? {}
        : { readFile: (name: string) => (name === "median.ts" ? source : null) }),
      writeFile: (_, contents) => {
        if (typeof contents !== "string") binary = new Uint8Array(contents);
      },
    },
  );
  if (error !== null) throw error;
  return binary;
}

let module = "";

beforeAll(async () => {
  dir = await tempDir();
  await run(["init", "plant", "--ports", "auto"], { cwd: dir.path });
  await file("median.wasm", await compile());
});

afterAll(() => dir.remove());

const inputOf = (...values: readonly unknown[]): Promise<string> =>
  file("input.yaml", JSON.stringify({ candidates: values.map((value) => ({ value })) }));

describe("the example", () => {
  test("shows the median, and says how many steps that took", async () => {
    const shown = await at("check", "median.wasm", "--input", await inputOf(10, 500, 12.5, "x"));
    expect(shown.stdout).toMatch(
      /^resolve: shows candidate 2\n\d+ of 250000 steps, \d+\.\d+ ms\n$/u,
    );
    const refused = await at("check", "median.wasm", "-i", await inputOf("x"), "--admit", "--json");
    expect(JSON.parse(refused.stdout)).toMatchObject({
      entries: ["resolve", "admit"],
      result: 1,
      output: "not a number that somebody is half sure of",
    });
  });
});

describe("on a space file", () => {
  test("a module is checked, added once, and listed", async () => {
    const bad = await at("add", await file("bad.wasm", "no module"), ...SPACE);
    expect([bad.code, bad.stderr]).toEqual([EXIT.input, expect.stringContaining("bad.wasm: ")]);
    module = (await at("check", "median.wasm")).stdout.split("\n")[0] ?? "";
    const rules = await file(
      "p.yaml",
      `rules: [{ prefix: t/, resolver: module, module: "${module}" }]`,
    );
    const set = (): Promise<RunResult> => run(["policy", "set", rules], { cwd: plant() });
    expect(await set()).toMatchObject({
      code: EXIT.policy,
      stderr: expect.stringContaining("no module wasm:") as unknown,
    });
    expect((await at("add", "median.wasm", ...SPACE)).stdout).toContain(module);
    expect((await at("add", "median.wasm", ...SPACE)).code).toBe(EXIT.policy);
    expect((await at("ls", ...SPACE)).stdout).toMatch(
      /^MODULE .*\nwasm:[\da-f]{64} +median\.wasm +\d+ +resolve, admit/u,
    );
    expect((await set()).code).toBe(EXIT.ok);
  });

  test("what is no input is refused", async () => {
    for (const [text, problem] of [
      ["[]", "not a mapping"],
      ["candidates: []", "candidates is not"],
      ["candidates: [{ value: 1, tags: a }]", "tags is not a list"],
      ["candidates: [{ value: 1, writer: abc }]", "not a device key"],
    ] as const) {
      const input = join(plant(), await file("i.yaml", text));
      await expect(checkModule(join(plant(), "median.wasm"), { input })).rejects.toMatchObject({
        code: "INPUT_INVALID",
        message: expect.stringContaining(problem) as unknown,
      });
    }
  });
});

test("at a running agent it decides at once, and one that fails is named in status", async () => {
  const endless = await compile(
    `export function alloc(n: i32): i32 { return 1024; } export function out(): i32 { return 0; }
     export function outLength(): i32 { return 0; } export function resolve(n: i32): i32 { while (true) {} return 0; }`,
  );
  const daemon = new Daemon(plant(), "agent", "agent-1.yaml");
  await daemon.ready();
  const socket = join(plant(), "agent-1", "agent.sock");
  const client = connect({ socketPath: socket });
  try {
    const put = (key: string, confidence: number): Promise<unknown> =>
      client.put("d", { key, value: 7, confidence });
    await put("t/1", 0.25);
    expect(await client.get("d", "t/1")).toMatchObject({ value: 7, resolver: module.slice(0, 17) });
    const schema = `prefix: t/\nversion: 1.0.0\nschema: true\nadmit: "${module}"\n`;
    const published = await run(["schema", "publish", await file("s.yaml", schema)], {
      cwd: plant(),
    });
    expect(published.code).toBe(EXIT.ok);
    expect(await client.get("d", "t/1")).toBeUndefined();
    await expect(put("t/1", 0.25)).rejects.toMatchObject({
      code: "SCHEMA_INVALID",
      message: expect.stringContaining("half sure") as unknown,
    });
    await put("t/1", 0.5);
    expect((await at("add", await file("endless.wasm", endless), "--name", "endless")).code).toBe(
      EXIT.ok,
    );
    const [, name = ""] =
      /"module":"(wasm:[\da-f]{64})","name":"endless"/u.exec((await at("ls", "--json")).stdout) ??
      [];
    const rule = await file(
      "p.yaml",
      `rules: [{ prefix: e, resolver: module, module: "${name}" }]`,
    );
    await run(["policy", "set", rule, "--socket", socket], { cwd: plant() });
    await put("e", 1);
    expect(await client.get("d", "e")).toMatchObject({ value: 7, resolver: "latest" });
    const status = await run(["status"], { cwd: plant() });
    expect(status.stdout).toMatch(
      /warning +the module endless, wasm:[\da-f]{12}, was cut off \d+ times? of \d+, last at d e: it took over 250000 steps/u,
    );
  } finally {
    client.close();
    await daemon.stop();
  }
});
