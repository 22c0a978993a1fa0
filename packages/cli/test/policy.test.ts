// SPDX-License-Identifier: Apache-2.0
/** Goal: a policy gets into a space file whole, signed and checked, or not at all, and errors say where. */
import { chmod, mkdir, readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parsePolicy } from "@ctxmesh/membership";
import { EXIT, LIMITS, MeshError } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parsePolicyFile, renderPolicy } from "../src/config/policy-file.ts";
import { readSpace, writeWhole } from "../src/files.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

const text = fc.string({ maxLength: 8, unit: "grapheme" }).filter((value) => value.isWellFormed());
const spec = fc.oneof(
  fc.record({ resolver: fc.constantFrom("latest", "max", "min", "sum", "union", "all") }),
  fc.record(
    { resolver: fc.constant("confidence"), halfLifeMs: fc.integer({ min: 1 }) },
    { requiredKeys: ["resolver"] },
  ),
  fc.record({
    resolver: fc.constant("priority"),
    sources: fc.uniqueArray(text, { maxLength: 4 }),
  }),
  fc.record({
    resolver: fc.constant("expression"),
    name: text,
    expression: fc.constantFrom("confidence", "size(tags) > 0 ? 2.0 : confidence"),
  }),
);
const policy = fc
  .uniqueArray(fc.tuple(text, spec), { selector: ([prefix]) => prefix, maxLength: 6 })
  .map((entries) => entries.map(([prefix, rest]) => ({ prefix, ...rest })))
  .map((rules) => parsePolicy({ epoch: 7, rules }));

/** Lines of what is wrong with a policy's text. */
function problemsOf(yaml: string): string[] {
  try {
    parsePolicyFile(yaml, "p.yaml", 0);
    return [];
  } catch (error) {
    if (!(error instanceof MeshError) || error.code !== "CONFIG_INVALID") throw error;
    return error.message.split("\n");
  }
}

describe("a policy file", () => {
  test("is what a policy is rendered as, with the next epoch", () => {
    fc.assert(
      fc.property(policy, (expected) => {
        expect(parsePolicyFile(renderPolicy(expected), "p.yaml", 6)).toEqual(expected);
      }),
    );
  });

  test("may name its epoch", () => {
    expect(parsePolicyFile("epoch: 9\nrules: []\n", "p.yaml", 3)).toEqual({ epoch: 9, rules: [] });
  });

  test("every wrong rule is named with its line, all in one go", () => {
    const yaml = `rules:
  - prefix: a/
    resolver: newest
  - prefix: b/
    resolver: confidence
    halfLifeMs: 0
  - resolver: latest
  - prefix: c/
    resolver: latest
    halflife: 1
  - prefix: d/
    resolver: expression
    name: calibrated
    expression: value +
  - prefix: e/
    resolver: expression
    name: greedy
    expression: value.matches("a+")
  - prefix: b/
    resolver: max
  - text
`;
    expect(problemsOf(yaml)).toEqual([
      "p.yaml:3:15: rules[0].resolver is not one of latest, confidence, priority, max, min, sum, union, all, expression, module",
      "p.yaml:6:17: rules[1]: halfLifeMs must be a positive whole number of milliseconds",
      "p.yaml:7:5: rules[2].prefix is not text",
      "p.yaml:10:5: rules[3] has the unknown member halflife",
      'p.yaml:14:17: rules[4]: expression "calibrated" is not CEL: Unexpected token: EOF',
      expect.stringMatching(/^p\.yaml:18:17: rules\[5\]: expression "greedy" calls matches, /u),
      'p.yaml:19:13: rules[6].prefix "b/" is that of rules[1]; a prefix has one rule',
      "p.yaml:21:5: rules[7] is not an object",
    ]);
  });

  test.each([
    ["", 'p.yaml:1:1: a policy is a mapping with the key "rules"'],
    ["- a\n", 'p.yaml:1:1: a policy is a mapping with the key "rules"'],
    ["epoch: 0\nrules: []\n", "p.yaml:1:8: epoch is not a whole number from 1"],
    ["rules: latest\n", `p.yaml:1:8: rules is not a list of at most ${String(LIMITS.policyRules)}`],
    ["rules: []\nrule: []\n", "p.yaml:2:1: it has the unknown member rule"],
    ["rules: []\nrules: []\n", "p.yaml:2:1: Map keys must be unique"],
    ["rules: [\n", /^p\.yaml:2:1: /u],
    ["rules: !!binary aGk=\n", /^p\.yaml:1:\d+: rules is not a list /u],
  ])("%j is refused with its line", (yaml, message) => {
    const [problem] = problemsOf(yaml);
    expect(problem).toMatch(message);
  });

  test("more rules than a policy may have are refused", () => {
    const rules = Array.from(
      { length: LIMITS.policyRules + 1 },
      (_, i) => `  - { prefix: k${String(i)}/, resolver: max }\n`,
    );
    expect(problemsOf(`rules:\n${rules.join("")}`)).toHaveLength(1);
    expect(problemsOf(`rules:\n${rules.slice(1).join("")}`)).toEqual([]);
  });

  test("the examples of docs/POLICY.md are policies", async () => {
    const page = await readFile(new URL("../../../docs/POLICY.md", import.meta.url), "utf8");
    const blocks = [...page.matchAll(/^```yaml\n(.*?)^```$/gmsu)].map(([, yaml = ""]) => yaml);
    expect(blocks.length).toBeGreaterThan(5);
    for (const yaml of blocks) expect(problemsOf(yaml)).toEqual([]);
  });
});

describe("the commands", () => {
  let dir: TempDir;
  const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: dir.path });
  const read = (name: string): Promise<string> => readFile(join(dir.path, name), "utf8");
  const write = (name: string, yaml: string): Promise<void> =>
    writeFile(join(dir.path, name), yaml);

  beforeAll(async () => {
    dir = await tempDir();
    await ctxmesh("init", ".", "--name", "plant", "--agents", "1");
  });

  afterAll(() => dir.remove());

  test("set signs the rules with the next epoch, keeps the file's mode, and show gives them back", async () => {
    await write("p.yaml", "rules:\n  - prefix: t/\n    resolver: confidence\n");
    await chmod(join(dir.path, "space.json"), 0o640);
    const before = await readSpace(join(dir.path, "space.json"));
    const set = await ctxmesh("policy", "set", "p.yaml");
    expect(set).toMatchObject({ code: EXIT.ok, stderr: "" });
    expect(set.stdout).toMatch(
      /^space\.json now has policy epoch 1: 1 rule\nit is in space\.json; a node that starts with that file passes it on; until /u,
    );
    const after = await readSpace(join(dir.path, "space.json"));
    expect(after.policy).toEqual({ epoch: 1, rules: [{ prefix: "t/", resolver: "confidence" }] });
    expect({ id: after.id, grants: after.grants }).toEqual({
      id: before.id,
      grants: before.grants,
    });
    expect((await stat(join(dir.path, "space.json"))).mode & 0o777).toBe(0o640);
    expect((await readdir(dir.path)).filter((name) => name.includes("partial"))).toEqual([]);

    const shown = await ctxmesh("policy", "show");
    expect(shown.stdout).toMatch(/^# space "plant" \([0-9a-f]{8}\), policy epoch 1\n/u);
    await write("shown.yaml", shown.stdout);
    expect((await ctxmesh("policy", "check", "shown.yaml")).stdout).toBe(
      "shown.yaml is a policy with 1 rule\n",
    );
    const again = await ctxmesh("policy", "set", "shown.yaml", "--json");
    expect(JSON.parse(again.stdout)).toEqual({ space: before.id, epoch: 2, rules: 1 });
    const json = await ctxmesh("policy", "show", "space.json", "--json");
    expect(JSON.parse(json.stdout)).toEqual({
      space: before.id,
      epoch: 2,
      rules: after.policy.rules,
    });
  });

  test("what can't be set leaves the file as it was", async () => {
    await write("good.yaml", "rules: []\n");
    await write("old.yaml", "epoch: 1\nrules: []\n");
    await write("bad.yaml", "rules:\n  - prefix: t/\n    resolver: newest\n");
    await ctxmesh("policy", "set", "good.yaml");
    const before = await read("space.json");
    const refused: [readonly string[], number, RegExp][] = [
      [["bad.yaml"], EXIT.input, /^ctxmesh: bad\.yaml:3:15: rules\[0\]\.resolver /u],
      [["old.yaml"], EXIT.policy, /^ctxmesh: policy epoch 1 is not above the present /u],
      [["none.yaml"], EXIT.input, /^ctxmesh: can't read the policy none\.yaml: ENOENT/u],
      [["good.yaml", "--key", "hub/device.jwk"], EXIT.policy, /no grant with the role manage/u],
      [["good.yaml", "--key", "hub/snapshot.jwk"], EXIT.input, /Ed25519 is needed here/u],
      [["good.yaml", "--space", "none.json"], EXIT.input, /^ctxmesh: can't read the space file/u],
    ];
    for (const [args, exit, message] of refused) {
      const { code, stdout, stderr } = await ctxmesh("policy", "set", ...args);
      expect({ args, code, stdout }).toEqual({ args, code: exit, stdout: "" });
      expect(stderr).toMatch(message);
      expect(await read("space.json")).toBe(before);
    }
  });

  test("a file that can't be replaced is left alone, with nothing beside it", async () => {
    const folder = join(dir.path, "in-the-way");
    await mkdir(join(folder, "target"), { recursive: true });
    const options = { field: "--space", remedy: "name another" };
    await expect(writeWhole(join(folder, "target"), "text", options)).rejects.toMatchObject({
      code: "FILE_UNAVAILABLE",
      field: "--space",
      remedy: "name another",
    });
    expect(await readdir(folder)).toEqual(["target"]);
  });

  test("check needs no space, and says what is wrong with exit code 3", async () => {
    await write("bad.yaml", "rules:\n  - prefix: t/\n    resolver: newest\n");
    const { code, stderr } = await ctxmesh("policy", "check", "bad.yaml", "--json");
    expect(code).toBe(EXIT.input);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: "CONFIG_INVALID", exit: 3 } });
  });
});
