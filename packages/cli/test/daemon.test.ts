// SPDX-License-Identifier: Apache-2.0
/** The life of a daemon process, with programs that start and stop as the test wants. */
import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";
import { EXIT } from "@ctxmesh/model";
import { waitFor } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";

const SOURCE = new URL("../src/daemon.ts", import.meta.url).href;

interface Program {
  readonly process: ChildProcessWithoutNullStreams;
  readonly lines: string[];
  readonly code: Promise<number | null>;
  /** Waits until the program has printed a line. */
  printed(line: string): Promise<void>;
}

/** Runs `runDaemon` in a process; `start` is the body of its start function. */
function program(start: string): Program {
  const code = `
    import { runDaemon } from ${JSON.stringify(SOURCE)};
    const say = (event) => console.log(event);
    const logger = { debug: say, info: say, warn: say, error: say };
    const forever = () => new Promise((resolve) => setTimeout(resolve, 1e9));
    await runDaemon(async () => { ${start} }, logger);
    say("returned");
  `;
  const args = ["--conditions=@ctxmesh/source", "--input-type=module", "-e", code];
  const child = spawn(process.execPath, args);
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  return {
    process: child,
    lines,
    code: new Promise((resolve) => child.on("close", resolve)),
    printed: (line) =>
      waitFor(() => lines.includes(line), { timeoutMs: 20_000, what: `the line ${line}` }),
  };
}

describe("signals", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("%s stops the program and returns", async (signal) => {
    const running = program(`
      const alive = setInterval(() => {}, 1000);
      setTimeout(() => say("up"));
      return { async stop() { clearInterval(alive); say("stopped"); } };
    `);
    await running.printed("up");
    running.process.kill(signal);
    expect(await running.code).toBe(EXIT.ok);
    expect(running.lines).toEqual([
      "up",
      "daemon.stopping",
      "stopped",
      "daemon.stopped",
      "returned",
    ]);
  });

  test("a second one exits at once, with code 1", async () => {
    const running = program(`
      const alive = setInterval(() => {}, 1000);
      setTimeout(() => say("up"));
      return { stop: forever };
    `);
    await running.printed("up");
    running.process.kill("SIGTERM");
    await running.printed("daemon.stopping");
    running.process.kill("SIGTERM");
    expect(await running.code).toBe(EXIT.failed);
    expect(running.lines).not.toContain("daemon.stopped");
  });

  test("one that comes while the program starts stops it once it has", async () => {
    const running = program(`
      say("starting");
      await new Promise((resolve) => process.stdin.once("data", resolve));
      return { async stop() { process.stdin.destroy(); say("stopped"); } };
    `);
    await running.printed("starting");
    running.process.kill("SIGTERM");
    running.process.stdin.write("go on\n");
    expect(await running.code).toBe(EXIT.ok);
    expect(running.lines).toContain("stopped");
  });
});

test("a defect while running is logged and ends the process with code 1", async () => {
  const running = program(`
    setTimeout(() => { void Promise.reject(new Error("a defect")); });
    return { stop: forever };
  `);
  expect(await running.code).toBe(EXIT.failed);
  expect(running.lines).toEqual(["daemon.failed"]);
});
