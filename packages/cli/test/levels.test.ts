// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the command line asks for a level and a condition, and tells what came of it by its exit code.
 * Method: an agent and a hub as processes; the hub is killed.
 */
import { EXIT } from "@ctxmesh/model";
import type { CompareReceipt, ReadOrigin, VisibleFact } from "@ctxmesh/model";
import { tempDir, waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

const BOUND_MS = 20_000;
const STRONG = ["--consistency", "strong"] as const;
const PLACE = ["line-2/press-7", "owner"] as const;

test("reads and writes are as sure as they were asked to be, and say so when they can't be", async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  await run(["init", dir.path, "--agents", "1", "--ports", "auto"]);
  const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: dir.path });
  const start = async (service: "agent" | "hub", config: string): Promise<Daemon> => {
    const daemon = new Daemon(dir.path, service, config);
    stack.defer(async () => {
      await daemon.stop();
    });
    await daemon.ready();
    return daemon;
  };
  const hub = await start("hub", "hub.yaml");
  await start("agent", "agent-1.yaml");
  const isThere = async (): Promise<boolean> => /hub/u.test((await ctxmesh("links")).stdout);
  await waitFor(isThere, { timeoutMs: BOUND_MS, what: "the hub to be connected" });

  const first = await ctxmesh(
    "put",
    ...PLACE,
    "agent-1",
    "--if-version",
    "none",
    ...STRONG,
    "--json",
  );
  expect(first.code).toBe(EXIT.ok);
  const { version, decidedBy } = JSON.parse(first.stdout) as CompareReceipt;
  expect(decidedBy).toBe("hub");
  const again = await ctxmesh("put", ...PLACE, "agent-2", "--if-version", "none");
  expect(again).toMatchObject({ code: EXIT.failed, stdout: "" });
  expect(again.stderr).toContain(`has version ${version}, and none was expected`);
  const strong = await ctxmesh("get", ...PLACE, "--consistency", "strong", "--json");
  const fact = JSON.parse(strong.stdout) as VisibleFact & ReadOrigin;
  expect(fact).toMatchObject({ value: "agent-1", version, from: "hub", contested: false });
  const listed = await ctxmesh("ls", PLACE[0], "--max-staleness", "1h", "--json");
  expect(JSON.parse(listed.stdout)).toMatchObject({ value: "agent-1" });

  await hub.stop();
  const gone = async (): Promise<boolean> => !(await isThere());
  await waitFor(gone, { timeoutMs: BOUND_MS, what: "the agent to notice" });
  const failed = await ctxmesh("get", ...PLACE, "--consistency", "strong");
  expect(failed).toMatchObject({ code: EXIT.unavailable, stdout: "" });
  expect(failed.stderr).toContain("no hub is connected, and a strong read is decided at one");
  const stale = await ctxmesh("get", ...PLACE, "--max-staleness", "1ms");
  expect(stale).toMatchObject({ code: EXIT.unavailable, stdout: "" });
  expect(stale.stderr).toMatch(
    /in step as of \d+ ms ago; no hub is connected; allow for more staleness/u,
  );
  expect(await ctxmesh("put", ...PLACE, "agent-1b", "--if-version", version)).toMatchObject({
    code: EXIT.ok,
    stdout: "wrote 1 (local)\n",
  });
});

test.each([
  [
    "--consistency of a write goes with --if-version",
    ["put", ...PLACE, "1", "--consistency", "strong"],
  ],
  [
    "--if-version does not go with --ack",
    ["put", ...PLACE, "1", "--if-version", "none", "--ack", "hub"],
  ],
  ["--if-version does not go with several facts", ["put", PLACE[0], "-", "--if-version", "none"]],
  [
    "--max-staleness does not go with --consistency strong",
    ["get", ...PLACE, "--consistency", "strong", "--max-staleness", "5s"],
  ],
])("%s", async (message, args) => {
  const { code, stderr } = await run(args);
  expect(code).toBe(EXIT.input);
  expect(stderr).toContain(message);
});
