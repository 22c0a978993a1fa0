// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: schemas are published, checked and shown from the command line, and an agent holds writes to them.
 * Method: the commands on a space file, and on a running agent.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { formatPrivateKey, generatePrivateKey } from "@ctxmesh/crypto";
import { EXIT } from "@ctxmesh/model";
import type { SchemaCheck, SchemaReport } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import { createSeededRandom, tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parseEntryFile, renderEntry } from "../src/config/schema-file.ts";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let dir: TempDir;
const at = (...args: readonly string[]): Promise<RunResult> =>
  run(["schema", ...args], { cwd: join(dir.path, "plant") });
const file = async (name: string, text: string): Promise<string> => {
  await writeFile(join(dir.path, "plant", name), text);
  return name;
};
const NUMBER = `# What a sensor says.
prefix: telemetry/
version: 1.0.0
schema:
  description: A reading.
  type: object
  required: [value]
  properties:
    value: { type: number }
ttlMs: 60000
`;
const SPACE = ["--space", "space.json"];

beforeAll(async () => {
  dir = await tempDir();
  await run(["space", "create", "plant", "--out", "plant"], { cwd: dir.path });
});

afterAll(() => dir.remove());

describe("a schema file", () => {
  test("that is wrong is refused with the line", () => {
    const wrong: readonly (readonly [string, string, string])[] = [
      [NUMBER.replace("number", "float"), "s.yaml:9:20", "/properties/value/type is not one"],
      [NUMBER.replace("1.0.0", "one"), "s.yaml:3:10", "is not x.y.z"],
      [NUMBER.replace("ttlMs: 60000", "ttlMs: soon"), "s.yaml:10:8", "ttlMs is not"],
      ["[]", "s.yaml:1:1", "is not an object"],
    ];
    for (const [text, place, problem] of wrong) {
      expect(() => parseEntryFile(text, "s.yaml")).toThrowError(
        expect.objectContaining({
          code: "CONFIG_INVALID",
          message: expect.stringMatching(new RegExp(`^${place}: .*${problem}`, "u")) as string,
        }),
      );
    }
  });

  test("says the same after it was written out", () => {
    const entry = parseEntryFile(NUMBER, "s.yaml");
    expect(parseEntryFile(renderEntry(entry), "s.yaml")).toEqual(entry);
  });
});

describe("on a space file", () => {
  test("a schema is published, listed, shown, and comes as types", async () => {
    expect((await at("ls", ...SPACE)).stdout).toMatch(/^no schemas/u);
    const name = await file("s.yaml", NUMBER);
    expect((await at("check", name, ...SPACE)).stdout).toBe(
      '"telemetry/" in **, version 1.0.0: owes nothing to another version\n',
    );
    const { stdout, code } = await at("publish", name, ...SPACE);
    expect([code, stdout]).toEqual([
      EXIT.ok,
      'space.json now has "telemetry/" in **, version 1.0.0\nit is in space.json; a node that starts with that file passes it on\n',
    ]);
    const listed = JSON.parse((await at("ls", ...SPACE, "--json")).stdout) as SchemaReport;
    expect(listed).toMatchObject({ standing: "current", resolver: "latest", ttlMs: 60_000 });
    expect((await at("ls", ...SPACE)).stdout).toMatch(
      /^PREFIX .*\n"telemetry\/" +\*\* +1\.0\.0 +current/u,
    );
    const shown = await at("show", "telemetry/", ...SPACE);
    expect(parseEntryFile(shown.stdout, "shown")).toEqual(parseEntryFile(NUMBER, "s.yaml"));
    await at("types", ...SPACE, "--out", "facts.ts");
    const types = await readFile(join(dir.path, "plant", "facts.ts"), "utf8");
    expect(types).toContain("export type Telemetry = { readonly value: number;");
    expect((await at("types", ...SPACE)).stdout).toBe(types);
  });

  test("what is not compatible is told with the place, and not published", async () => {
    const name = await file(
      "s2.yaml",
      NUMBER.replace("1.0.0", "1.1.0").replace("number", "integer"),
    );
    const checked = await at("check", name, ...SPACE);
    expect(checked).toMatchObject({
      code: EXIT.policy,
      stdout:
        "/properties/value/type  1.1.0 does not accept the type fraction, which 1.0.0 accepts\n",
    });
    const json = await at("check", name, ...SPACE, "--json");
    const report = JSON.parse(json.stdout) as SchemaCheck;
    expect([json.code, report.compatible, report.against]).toEqual([EXIT.policy, false, "1.0.0"]);
    const published = await at("publish", name, ...SPACE);
    expect([published.code, published.stdout]).toEqual([EXIT.policy, ""]);
    const next = await file(
      "s3.yaml",
      NUMBER.replace("1.0.0", "2.0.0").replace("number", "integer"),
    );
    expect((await at("publish", next, ...SPACE)).code).toBe(EXIT.ok);
    const old = await at("show", "telemetry/", "--schema-version", "1.0.0", "--json", ...SPACE);
    expect(JSON.parse(old.stdout)).toMatchObject({ standing: "replaced" });
    expect((await at("show", "none/", ...SPACE)).code).toBe(EXIT.failed);
  });

  test("whoever may not publish is refused", async () => {
    const name = await file("s4.yaml", NUMBER.replace("1.0.0", "9.0.0"));
    const key = formatPrivateKey(generatePrivateKey("Ed25519", createSeededRandom(7)));
    const { code, stderr } = await at("publish", name, ...SPACE, "--key", await file("k.jwk", key));
    expect([code, stderr]).toEqual([EXIT.policy, expect.stringContaining("manage")]);
  });
});

test("at a running agent it holds for writes at once, with the path of what is wrong", async () => {
  const plant = join(dir.path, "plant");
  const daemon = new Daemon(plant, "agent", "agent-1.yaml");
  await daemon.ready();
  const client = connect({ socketPath: join(plant, "agent-1", "agent.sock") });
  try {
    const name = await file(
      "s5.yaml",
      `prefix: n/\nversion: 0.1.0\nschema: { type: object, properties: { at: { type: string } } }\n`,
    );
    expect((await at("publish", name)).stdout).toMatch(/the daemon passes it on/u);
    await expect(client.put("d", { key: "n/1", value: { at: 5 } })).rejects.toMatchObject({
      code: "SCHEMA_INVALID",
      field: "/at",
    });
    await client.put("d", { key: "n/1", value: { at: "now", more: true } });
    const refused = await run(["put", "d", "n/1", '{"at":5}'], { cwd: plant });
    expect([refused.code, refused.stderr]).toEqual([EXIT.input, expect.stringContaining("/at")]);
    const entry = { prefix: "n/", version: "0.2.0", schema: { type: "object" } };
    expect(await client.checkSchema(entry)).toEqual({
      compatible: true,
      against: "0.1.0",
      differences: [],
    });
    expect(await client.publishSchema(entry)).toMatchObject({ ...entry, standing: "current" });
    await expect(client.publishSchema(entry)).rejects.toMatchObject({ code: "POLICY_REFUSED" });
    await expect(client.checkSchema({ ...entry, schema: { typ: 1 } })).rejects.toMatchObject({
      code: "INPUT_INVALID",
      field: "/typ",
    });
    expect((await client.schemas()).map(({ prefix, version }) => [prefix, version])).toContainEqual(
      ["n/", "0.1.0"],
    );
  } finally {
    client.close();
    await daemon.stop();
  }
});
