// SPDX-License-Identifier: Apache-2.0
/** Goal: a scenario file is run as a user runs it; what is wrong with it is told with its line, and costs nothing. */
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EXIT, LIMITS, MeshError } from "@ctxmesh/model";
import { MAX_SEED } from "@ctxmesh/simulator";
import type { Scenario, ScenarioReport } from "@ctxmesh/simulator";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXAMPLE_SCENARIO } from "../src/commands/simulate-example.ts";
import { runSimulate } from "../src/commands/simulate.ts";

import { parseScenarioFile } from "../src/config/scenario-file.ts";
import { run } from "./run.ts";

const DOCUMENTED = fileURLToPath(new URL("../../../docs/examples/scenarios/", import.meta.url));
/** The example, three times as short. */
const SMALL = EXAMPLE_SCENARIO.replace("duration: 30m", "duration: 10m")
  .replace("{ from: 10m, for: 10m }", "{ from: 3m, for: 3m }")
  .replace("at: 25m", "at: 8m");

/** Lines of what is wrong with a text. */
function problemsOf(text: string): readonly string[] {
  try {
    parseScenarioFile(text, "s.yaml");
    return [];
  } catch (error) {
    if (!(error instanceof MeshError) || error.code !== "CONFIG_INVALID") throw error;
    return error.message.split("\n");
  }
}

describe("a scenario file", () => {
  test("has its problems told with line and column, and what was meant", () => {
    const text = SMALL.replace("latency: 30ms..80ms", "latncy: 30ms").replace(
      "rate: 6/min",
      "rate: -6/min",
    );
    expect(problemsOf(text)).toEqual([
      's.yaml:15:5: unknown field "latncy" in links[1]; did you mean "latency"?',
      "s.yaml:30:11: writers[0].rate must be a rate such as 2/s, 30/min, 6/h or 1/d",
    ]);
  });

  test("is refused when aliases stand for more than it could say itself", () => {
    const bomb = ["a: &a [1,1,1,1,1,1,1,1,1,1]"];
    for (let i = 1; i < 9; i++) {
      const [name, before] = [`b${String(i)}`, i === 1 ? "a" : `b${String(i - 1)}`];
      bomb.push(`${name}: &${name} [${Array.from({ length: 10 }, () => `*${before}`).join(",")}]`);
    }
    expect(problemsOf(bomb.join("\n"))[0]).toMatch(/^s\.yaml:1:1: .*alias/iu);
  });

  test("is refused when it is no YAML, or more than one document", () => {
    expect(problemsOf("a: [")[0]).toMatch(/^s\.yaml:/u);
    expect(problemsOf("--- 1\n--- 2\n")[0]).toMatch(/^s\.yaml:/u);
    expect(problemsOf("")).toEqual(["s.yaml:1:1: a scenario is missing"]);
  });

  test("that is documented is sound, and says how it is run and what to look for", async () => {
    const files = await readdir(DOCUMENTED);
    expect(files).toHaveLength(3);
    for (const file of files) {
      const text = await readFile(join(DOCUMENTED, file), "utf8");
      const scenario: Scenario = parseScenarioFile(text, file);
      expect(scenario.description).not.toBe("");
      expect(text).toContain(`ctxmesh simulate docs/examples/scenarios/${file}`);
      expect(text).toContain("# What to look for in the report:");
    }
  });
});

describe("ctxmesh simulate", () => {
  let dir: TempDir;
  let file: string;
  beforeAll(async () => {
    dir = await tempDir();
    file = join(dir.path, "small.yaml");
    await writeFile(file, SMALL);
  });
  afterAll(async () => dir.remove());

  test("prints a report as JSON, the same again, and saves the page", async () => {
    const page = join(dir.path, "small.html");
    const [first, second] = await Promise.all([
      run(["simulate", file, "--json", "--html", page]),
      run(["simulate", file, "--json"]),
    ]);
    expect(first).toMatchObject({ code: EXIT.ok, stderr: "" });
    expect(second.stdout).toBe(first.stdout);
    const report = JSON.parse(first.stdout) as ScenarioReport;
    expect(report).toMatchObject({ seed: 1, convergence: { equal: true } });
    expect(report.invariants.violations).toEqual([]);
    expect(await readFile(page, "utf8")).toContain(report.traceHash);
  });

  test("takes another course with another seed, and reports as text", async () => {
    const { code, stdout, stderr } = await run(["simulate", file, "--seed", "2"]);
    expect({ code, stderr }).toEqual({ code: EXIT.ok, stderr: "" });
    expect(stdout).toMatch(/^a shop whose line fails\n/u);
    expect(stdout).toContain("of 4 nodes, seed 2");
    expect(stdout).toContain("Staleness seen by readers");
  });

  test("prints the example, which is sound", async () => {
    const { code, stdout } = await run(["simulate", "--example"]);
    expect(code).toBe(EXIT.ok);
    expect(parseScenarioFile(stdout, "s.yaml").name).toBe("a shop whose line fails");
  });

  test("says what is wrong with the command line and the file", async () => {
    const wrong = join(dir.path, "wrong.yaml");
    await writeFile(
      wrong,
      "name: x\nduration: 1h\nsites: { a: { agents: 1000000000 } }\nwriters: []\n",
    );
    const cases: readonly (readonly [readonly string[], string])[] = [
      [[wrong], "wrong.yaml:3:23: sites.a.agents must be a whole number from 1 to 64"],
      [
        [file, "--seed", String(MAX_SEED + 1)],
        `--seed must be a whole number from 0 to ${String(MAX_SEED)}`,
      ],
    ];
    for (const [args, problem] of cases) {
      const { code, stdout, stderr } = await run(["simulate", ...args]);
      expect(stderr).toContain(problem);
      expect({ code, stdout }).toEqual({ code: EXIT.input, stdout: "" });
    }
  });

  test("refuses no file, one that is not there, and one that is too large to be a scenario", async () => {
    const huge = join(dir.path, "huge.yaml");
    await writeFile(huge, `# ${"x".repeat(LIMITS.smallFileBytes)}`);
    await expect(runSimulate(undefined, {})).rejects.toMatchObject({ code: "USAGE" });
    await expect(runSimulate("no-such.yaml", {})).rejects.toMatchObject({
      code: "FILE_UNAVAILABLE",
    });
    await expect(runSimulate(huge, {})).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  });
});
