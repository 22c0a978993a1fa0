// SPDX-License-Identifier: Apache-2.0
/** The command line without a daemon: help, usage errors, exit codes, completion. */
import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EXIT } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createProgram } from "../src/program.ts";
import { run } from "./run.ts";

const COMMANDS = createProgram("0.0.0").commands.map((command) => command.name());

let dir: TempDir;

beforeAll(async () => {
  dir = await tempDir();
});

afterAll(() => dir.remove());

/** Runs in an empty folder, so that no default socket is found. */
const ctxmesh = (...args: readonly string[]): ReturnType<typeof run> =>
  run(args, { cwd: dir.path });

describe("help", () => {
  test("names every command, and the exit codes", async () => {
    const { code, stdout, stderr } = await ctxmesh("--help");
    expect({ code, stderr }).toEqual({ code: EXIT.ok, stderr: "" });
    for (const name of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, "mu"));
    expect(stdout).toContain("Exit codes:");
  });

  test.each(COMMANDS)("of %s has an example", async (name) => {
    const { code, stdout } = await ctxmesh(name, "--help");
    expect(code).toBe(EXIT.ok);
    expect(stdout).toMatch(new RegExp(`Examples:\n  \\$ ctxmesh ${name}`, "u"));
  });

  test.each(
    createProgram("0.0.0").commands.flatMap((command) =>
      command.commands.map((sub) => [command.name(), sub.name()] as const),
    ),
  )("of %s %s has an example", async (...names) => {
    const { code, stdout } = await ctxmesh(...names, "--help");
    expect(code).toBe(EXIT.ok);
    expect(stdout).toMatch(new RegExp(`Examples:\n  \\$ ctxmesh ${names[0]}`, "u"));
  });

  test("comes through the help command too", async () => {
    const asked = await ctxmesh("help", "put");
    expect(asked).toEqual(await ctxmesh("put", "--help"));
  });

  test("the version is that of the package", async () => {
    expect((await ctxmesh("--version")).stdout).toMatch(/^\d+\.\d+\.\d+\n$/u);
  });
});

describe("a wrong command line is one line on stderr and exit code 3", () => {
  test.each([
    [["stauts"], "ctxmesh: unknown command 'stauts'; did you mean status?"],
    [["put"], "ctxmesh: missing required argument 'doc'; see ctxmesh put --help"],
    [
      ["put", "a", "b"],
      "ctxmesh: the value is missing; ctxmesh put DOC KEY VALUE, or ctxmesh put DOC - to read JSON lines from stdin",
    ],
    [
      ["put", "a", "b", "1", "--confidence", "2"],
      "ctxmesh: --confidence must be a number from 0 to 1",
    ],
    [
      ["put", "a", "b", "one", "--increment"],
      'ctxmesh: "one" is not a number to increment by; ctxmesh put DOC KEY 1 --increment',
    ],
    [
      ["retract", "a", "b", "--reason", "x"],
      "ctxmesh: required option '--writer <device>' not specified; see ctxmesh retract --help",
    ],
    [
      ["space", "invite"],
      "ctxmesh: required option '-k, --key <file>' not specified; see ctxmesh space invite --help",
    ],
    [
      ["space", "invite", "--key", "k", "--socket", "s", "--space", "f"],
      "ctxmesh: option '--space <file>' cannot be used with option '-s, --socket <path>'; see ctxmesh space invite --help",
    ],
    [
      ["space", "invite", "--key", "k", "--role", "owner"],
      "ctxmesh: option '--role <role>' argument 'owner' is invalid. Allowed choices are read, append, write, manage; see ctxmesh space invite --help",
    ],
    [
      ["space", "invite", "--key", "k", "--expires", "31d"],
      "ctxmesh: --expires 31d is longer than 30 days; whoever has the token can join until then: choose less",
    ],
    [
      ["space", "invite", "--key", "k", "--contact", "here"],
      'ctxmesh: --contact "here" is not an address and a device; write it as ADDRESS@DEVICE, such as /ip4/192.0.2.7/tcp/4401@<64 hex digits> or wss://hub.example.org@<64 hex digits>',
    ],
    [
      ["space", "grant", "abc", "--key", "k", "--days", "0"],
      "ctxmesh: --days must be a whole number from 1 to 3650",
    ],
    [["space", "renew", "--key", "k"], "ctxmesh: which devices?; name devices, or give --all"],
    [
      ["space", "renew", "abcdabcd", "--all", "--key", "k"],
      "ctxmesh: --all leaves no device to name; name devices, or give --all",
    ],
    [
      ["space", "revoke", "abc", "--key", "k", "--keep", "all"],
      "ctxmesh: option '--keep <what>' argument 'all' is invalid. Allowed choices are seen, nothing; see ctxmesh space revoke --help",
    ],
    [
      ["space", "create", "plant"],
      "ctxmesh: required option '-o, --out <dir>' not specified; see ctxmesh space create --help",
    ],
    [
      ["space", "join", "-", "d", "--timeout", "soon"],
      'ctxmesh: "soon" is not a duration; write it as 500ms, 30s, 10m, 2h or 7d',
    ],
    [
      ["policy", "set", "p.yaml", "--socket", "s", "--space", "f"],
      "ctxmesh: option '-s, --socket <path>' cannot be used with option '--space <file>'; see ctxmesh policy set --help",
    ],
    [["policy", "shwo"], "ctxmesh: unknown command 'shwo'; did you mean show?"],
    [
      ["put", "a", "b", "1", "--ttl", "soon"],
      'ctxmesh: "soon" is not a duration; write it as 500ms, 30s, 10m, 2h or 7d',
    ],
    [
      ["get", "a", "b", "--at", "yesterday", "--socket", "s"],
      'ctxmesh: --at "yesterday" is not a time; write it as 2h (two hours ago), 2026-01-31T14:05:00Z, or Unix milliseconds',
    ],
    [
      ["get", "a", "b", "--at", "2h", "--all"],
      "ctxmesh: option '--at <time>' cannot be used with option '-a, --all'; see ctxmesh get --help",
    ],
    [
      ["history", "a", "b", "--limit", "1001"],
      "ctxmesh: --limit must be a whole number from 1 to 1000",
    ],
    [["get", "a", "b", "--alll"], "ctxmesh: unknown option '--alll'; did you mean --all?"],
    [
      ["ls", "a", "b"],
      "ctxmesh: too many arguments for 'ls'. Expected 1 argument but got 2: a, b; see ctxmesh ls --help",
    ],
    [
      ["status"],
      "ctxmesh: which daemon?; give --socket PATH, set CTXMESH_SOCKET, or run this in a folder made by ctxmesh init",
    ],
    [
      ["verify", "b.json"],
      "ctxmesh: which trust root?; give --trust FILE, the root.json that you pinned",
    ],
    [["prove", "a"], "ctxmesh: which fact?; ctxmesh prove DOC KEY, or --decision FILE"],
    [
      ["prove", "a", "b", "--bundle", "x.json", "--seal", "2"],
      "ctxmesh: a bundle file is one seal, and needs no hub; leave out --seal and --socket",
    ],
    [
      ["verify", "b.json", "--trust", "r.json", "--log", "tiles"],
      "ctxmesh: --log is compared with what was seen before; give --state DIR, where that is remembered, too",
    ],
    [["decide", "stop"], "ctxmesh: who decided?; give --model NAME or NAME@VERSION"],
    [
      ["decide", "stop", "--model", "m", "--input", "press"],
      'ctxmesh: --input "press" names no fact; write it as DOC:KEY',
    ],
    [
      ["decide", "stop", "--model", "m", "--check", "limit"],
      'ctxmesh: --check "limit" says no result; write it as NAME=pass or NAME=fail:WHY',
    ],
    [
      ["decide", "stop", "--model", "m", "--outcome-of", "ab"],
      "ctxmesh: an outcome has no model, inputs or checks; leave them out, or --outcome-of",
    ],
    [
      ["config-schema", "agents"],
      "ctxmesh: command-argument value 'agents' is invalid for argument 'daemon'. Allowed choices are agent, hub; see ctxmesh config-schema --help",
    ],
  ])("%j", async (args, message) => {
    const env = { CTXMESH_SOCKET: args[0] === "put" ? join(dir.path, "none.sock") : "" };
    const { code, stdout, stderr } = await run(args, { cwd: dir.path, env });
    expect({ code, stdout, stderr }).toEqual({
      code: EXIT.input,
      stdout: "",
      stderr: `${message}\n`,
    });
  });

  test.each([
    [[], "ctxmesh"],
    [["policy"], "ctxmesh policy"],
    [["space"], "ctxmesh space"],
  ])("without a command (%j) the help comes first", async (args, path) => {
    const { code, stdout, stderr } = await ctxmesh(...args);
    expect({ code, stdout }).toEqual({ code: EXIT.input, stdout: "" });
    expect(stderr.startsWith(`Usage: ${path} [options] [command]\n`)).toBe(true);
    expect(stderr.endsWith(`\nctxmesh: a command is missing; see ${path} --help\n`)).toBe(true);
  });

  test("with --json it is one JSON object on stderr", async () => {
    const { code, stderr } = await ctxmesh("put", "--json");
    expect(code).toBe(EXIT.input);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: "USAGE", exit: 3 } });
  });
});

const socket = (): string => join(dir.path, "none.sock");

describe("without a daemon", () => {
  test.each([
    ["put", "a", "b", "1"],
    ["get", "a", "b"],
    ["get", "a", "b", "--at", "2h"],
    ["history", "a", "b"],
    ["ls"],
    ["watch"],
    ["status"],
    ["seal"],
    ["space", "members"],
    ["evidence"],
  ])("%s says so with exit code 4", async (...args) => {
    const { code, stderr } = await ctxmesh(...args, "--socket", socket());
    expect(code).toBe(EXIT.unavailable);
    expect(stderr).toMatch(
      /^ctxmesh: can't reach a node at .*none\.sock: ENOENT; is the daemon running\?.*\n$/u,
    );
  });

  test("the socket also comes from the environment", async () => {
    const env = { CTXMESH_SOCKET: socket() };
    expect((await run(["status"], { cwd: dir.path, env })).code).toBe(EXIT.unavailable);
  });
});

describe("configurations", () => {
  test("--check-config prints the effective one, as YAML or JSON", async () => {
    const path = join(dir.path, "good.yaml");
    await writeFile(path, "space: s\nkey: k\nstore: t\nsocket: a.sock\n");
    const yaml = await ctxmesh("agent", path, "--check-config");
    expect(yaml).toMatchObject({ code: EXIT.ok, stderr: "" });
    expect(yaml.stdout).toContain(`space: ${join(dir.path, "s")}\n`);
    const json = await ctxmesh("agent", path, "--check-config", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ log: { level: "info" } });
  });

  test.each([[["--check-config"]], [[]]])(
    "a wrong one is refused with its line, checked (%j) or started",
    async (options) => {
      await writeFile(join(dir.path, "bad.yaml"), "space: s\nkey: k\nstore: t\nsokcet: a.sock\n");
      const { code, stdout, stderr } = await ctxmesh("agent", "bad.yaml", ...options);
      expect({ code, stdout }).toEqual({ code: EXIT.input, stdout: "" });
      expect(stderr.split("\n")).toEqual([
        'ctxmesh: bad.yaml:1:1: the key "socket" is missing',
        'ctxmesh: bad.yaml:4:1: unknown key "sokcet"; did you mean "socket"?',
        "",
      ]);
    },
  );

  test("the schema that is printed is JSON", async () => {
    const { stdout } = await ctxmesh("config-schema", "hub");
    const $schema = expect.stringContaining("2020-12") as string;
    expect(JSON.parse(stdout)).toMatchObject({ $schema });
  });
});

const complete = (script: string, words: readonly string[]): string[] => {
  const quoted = words.map((word) => `'${word}'`).join(" ");
  const call = `COMP_WORDS=(${quoted}); COMP_CWORD=${String(words.length - 1)}; _ctxmesh; echo "\${COMPREPLY[*]}"`;
  const { stdout } = spawnSync("bash", ["-c", `${script}\n${call}`], { encoding: "utf8" });
  return stdout.trim().split(/\s+/u);
};

describe("completion", () => {
  test("bash completes commands, options and choices", async () => {
    const { stdout: script } = await ctxmesh("completion", "bash");
    expect(complete(script, ["ctxmesh", "s"])).toEqual([
      "status",
      "seal",
      "seal-batch",
      "space",
      "schema",
      "scrub",
      "simulate",
    ]);
    expect(complete(script, ["ctxmesh", "seal", "--o"])).toEqual(["--out"]);
    expect(complete(script, ["ctxmesh", "config-schema", "h"])).toEqual(["hub"]);
    expect(complete(script, ["ctxmesh", "retract", "--w"])).toEqual(["--writer"]);
    expect(complete(script, ["ctxmesh", "policy", "s"])).toEqual(["show", "set"]);
    expect(complete(script, ["ctxmesh", "policy", "set", "--k"])).toEqual(["--key"]);
    expect(complete(script, ["ctxmesh", "policy", "show", "--k"])).toEqual([""]);
    expect(complete(script, ["ctxmesh", "space", "re"])).toEqual(["renew", "revoke"]);
    expect(complete(script, ["ctxmesh", "space", "revoke", "--ke"])).toEqual(["--key", "--keep"]);
    expect(complete(script, ["ctxmesh", "evidence", "v"])).toEqual(["verify"]);
    expect(complete(script, ["ctxmesh", "policy", "module", "a"])).toEqual(["add"]);
    expect(complete(script, ["ctxmesh", "policy", "module", "check", "--i"])).toEqual(["--input"]);
    expect(complete(script, ["ctxmesh", "put", "policy", "module", "--pri"])).toEqual([
      "--priority",
    ]);
    expect(complete(script, ["ctxmesh", "nothing", "policy", ""])).toEqual([""]);
  });

  test.each(["bash", "zsh", "fish"])("%s knows every command", async (shell) => {
    const { code, stdout } = await ctxmesh("completion", shell);
    expect(code).toBe(EXIT.ok);
    for (const name of ["show", "check", "set"]) {
      expect(stdout).toMatch(new RegExp(`policy\\b.*\\b${name}\\b`, "u"));
    }
    for (const name of ["add", "ls", "check"]) {
      expect(stdout).toMatch(new RegExp(`policy module ${name}\\b`, "u"));
    }
    for (const name of ["create", "members", "invite", "join", "grant", "renew", "revoke"]) {
      expect(stdout).toMatch(new RegExp(`space\\b.*\\b${name}\\b`, "u"));
    }
    for (const name of COMMANDS) expect(stdout).toContain(name);
  });
});

test("an old Node gets a message that it can understand", () => {
  const preload = `data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.1.0"}})`;
  const bin = fileURLToPath(new URL("../bin/ctxmesh.js", import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, ["--import", preload, bin, "--help"], {
    encoding: "utf8",
  });
  expect(status).toBe(EXIT.unavailable);
  expect(stderr).toMatch(/^ctxmesh: needs Node\.js 24 or newer, this is v.*\n$/u);
});
