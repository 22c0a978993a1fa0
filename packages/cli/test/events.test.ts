// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a person replays and follows what was said with the command line alone.
 * Method: a real agent process and the real command.
 */
import { createInterface } from "node:readline";
import { join } from "node:path";
import { EXIT, parseDocumentName } from "@ctxmesh/model";
import type { FactEvent, WriteReceipt } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Daemon } from "./daemon-process.ts";
import { run, start } from "./run.ts";
import type { RunResult } from "./run.ts";

const DOC = parseDocumentName("line-2/press-7");
const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

let dir: TempDir;
let mesh: string;
let agent: Daemon;

const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: mesh });

async function eventsOf(...args: readonly string[]): Promise<FactEvent[]> {
  const { stdout, stderr } = await ctxmesh("events", ...args, "--json");
  expect(stderr).toBe("");
  const lines = stdout.trimEnd().split("\n");
  const events = lines.filter((line) => line !== "").map((line) => JSON.parse(line) as FactEvent);
  // What the agent measures of its machine comes whenever it does.
  return events.filter(({ data }) => data.doc !== "telemetry");
}

const keys = (events: readonly FactEvent[]): string[] => events.map(({ data }) => data.key);

beforeAll(async () => {
  dir = await tempDir();
  mesh = join(dir.path, "mesh");
  await run(["init", mesh, "--agents", "1", "--ports", "auto"]);
  agent = new Daemon(mesh, "agent", "agent-1.yaml");
  await agent.ready();
  await ctxmesh("put", DOC, "temperature", "70", "--source", "thermo-1", "--confidence", "0.9");
  const route = ["--correlation", "order-7", "--traceparent", TRACE, "--target", "planner"];
  await ctxmesh(
    "put",
    DOC,
    "alarm/pressure",
    "9.7",
    "--priority",
    "high",
    "--ttl",
    "10m",
    ...route,
  );
  await ctxmesh("put", "other", "alarm/door", "true", "--target", "vision");
});

afterAll(async () => {
  await agent.stop();
  await dir.remove();
});

test("events --json prints each event on a line, with all that put was told", async () => {
  const [first, alarm, door] = await eventsOf();
  expect(first).toMatchObject({ model: "thermo-1", confidence: "0.9", data: { value: 70 } });
  expect(alarm).toMatchObject({
    type: "dev.ctxmesh.fact.put",
    subject: `${DOC}/alarm/pressure`,
    priority: "high",
    ttl: "600000",
    correlationid: "order-7",
    traceparent: TRACE,
    data: { targets: ["planner"] },
  });
  expect(door?.data.doc).toBe("other");
});

describe("the options narrow it down", () => {
  test.each<[string[], string[]]>([
    [[DOC], ["temperature", "alarm/pressure"]],
    [
      ["--key", "alarm/*"],
      ["alarm/pressure", "alarm/door"],
    ],
    [["--source", "thermo-1"], ["temperature"]],
    [
      ["--min-confidence", "0.95"],
      ["alarm/pressure", "alarm/door"],
    ],
    [["--priority", "high"], ["alarm/pressure"]],
    [
      ["--model", "vision"],
      ["temperature", "alarm/door"],
    ],
    [
      ["--since", "1h", "--rate", "500"],
      ["temperature", "alarm/pressure", "alarm/door"],
    ],
    [["--until", "1h"], []],
    [["--key", "nothing"], []],
  ])("%j", async (options, expected) => {
    expect(keys(await eventsOf(...options))).toEqual(expected);
  });

  test("and positions are where to go on and where to end", async () => {
    const [first, second] = await eventsOf();
    const { position = "" } = first ?? {};
    expect(keys(await eventsOf("--since", position))).toEqual(["alarm/pressure", "alarm/door"]);
    expect(keys(await eventsOf("--until", position))).toEqual(["temperature"]);
    const both = ["--since", position, "--until", second?.position ?? ""];
    expect(keys(await eventsOf(...both))).toEqual(["alarm/pressure"]);
  });
});

test("without --json it is for people", async () => {
  const { stdout, code } = await ctxmesh("events", DOC, "--key", "temperature");
  expect(stdout).toMatch(
    /^\S+Z line-2\/press-7 temperature = 70 \(writer [0-9a-f]{8}, thermo-1, confidence 0\.9, before nothing\)\n$/u,
  );
  expect(code).toBe(EXIT.ok);
});

test("--follow goes on until it is interrupted", async () => {
  const [, , last] = await eventsOf();
  const args = ["events", DOC, "--follow", "--since", last?.position ?? "", "--json"];
  const child = start(args, { cwd: mesh });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const { stdout } = await ctxmesh("put", DOC, "temperature", "71", "--json");
  for await (const line of createInterface({ input: child.stdout })) {
    const { data, hlc } = JSON.parse(line) as FactEvent;
    expect(data).toMatchObject({ value: 71, previous: 70, current: 71 });
    expect(Number(hlc)).toBe((JSON.parse(stdout) as WriteReceipt).hlc);
    child.kill("SIGINT");
  }
  expect(await ended).toBe(EXIT.ok);
});

test.each<[string[], number, string]>([
  [["--since", "yesterday"], EXIT.input, "--since"],
  [["--until", "soon"], EXIT.input, "--until"],
  [["--rate", "0"], EXIT.input, "--rate"],
  [["--min-confidence", "2"], EXIT.input, "--min-confidence"],
  [["--follow", "--until", "1h"], EXIT.input, "--until"],
  [["--since", `${"0".repeat(16)}.1.0.1.${"0".repeat(16)}`], EXIT.input, "since"],
  [["--since", "0123456789abcdef.x"], EXIT.input, "since"],
  [["--traceparent", "x"], EXIT.input, "traceparent"],
])("%j is refused and named", async (options, code, named) => {
  const result = await ctxmesh("events", ...options);
  expect(result.code).toBe(code);
  expect(result.stderr).toContain(named);
});

test("a traceparent that is none is refused", async () => {
  const { code, stderr } = await ctxmesh("put", DOC, "k", "1", "--traceparent", `${TRACE}0`);
  expect([code, stderr]).toEqual([EXIT.input, expect.stringContaining("traceparent")]);
});
