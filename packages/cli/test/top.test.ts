// SPDX-License-Identifier: Apache-2.0
/** What `ctxmesh top` and `ctxmesh watch` draw: frames as lines, one live session in a terminal of `script`. */
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EXIT } from "@ctxmesh/model";
import type { ChangeEvent, LinkReport, NodeStatus, VisibleFact } from "@ctxmesh/model";
import { tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDescriber } from "../src/commands/watch.ts";
import { frameOf } from "../src/top-frame.ts";
import type { TopView } from "../src/top-frame.ts";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";

const KEY = "ab".repeat(32);
const NOTHING = { messages: 0, bytes: 0 };

const link = (n: number, inSync: boolean): LinkReport => ({
  device: n.toString(16).padStart(64, "0"),
  address: `/ip4/192.0.2.${String(n)}/tcp/4001`,
  role: "agent",
  connectedSinceMs: 1,
  inSync,
  pulling: false,
  traffic: {
    in: { bytes: 10, perSecond: 1 },
    out: { bytes: 20, perSecond: 2_000 },
    queue: { control: NOTHING, high: NOTHING, normal: { messages: 1, bytes: 700 }, low: NOTHING },
    deferred: { pushes: 0, bytes: 0 },
    expiredBytes: 0,
    drainMs: 38,
  },
});

const fact = (n: number): VisibleFact =>
  ({
    doc: "line-2/press-7",
    key: `k${String(n)}\u001b[2J`,
    value: "v".repeat(n * 10),
    writer: KEY,
    ageMs: 5_000,
    contested: true,
    resolver: "latest",
  }) as unknown as VisibleFact;

const viewOf = (links: number, contested: number): TopView => ({
  status: {
    service: "agent",
    device: KEY,
    spaceName: "plant",
    ready: true,
    startedAt: 0,
    facts: 100,
    documents: 3,
    contested,
    written: 5,
    applied: 7,
    acknowledged: {
      local: 5,
      hub: { batches: 2, waiting: { batches: 3, oldestMs: 4_000 } },
      sealed: { batches: 5 },
    },
    propagation: { count: 7, p50Ms: 10, p95Ms: 20, maxMs: 30 },
  } as unknown as NodeStatus,
  links: Array.from({ length: links }, (_, i) => link(i + 1, i % 2 === 0)),
  contested: Array.from({ length: contested }, (_, i) => fact(i + 1)),
  now: 60_000,
});

describe("a frame", () => {
  test("has all there is to say where there is room", () => {
    const text = frameOf(viewOf(2, 1), { columns: 200, rows: 100 }).map((line) => line.text);
    expect(text.join("\n")).toMatchInlineSnapshot(`
      "agent abababab of plant, ready, up 1 m
      facts    100 in 3 documents; 5 written here, 7 received
      lag      p50 10 ms, p95 20 ms, max 30 ms; at a hub: 3 not yet, oldest 4.0 s; sealed: all

      peers (2)
      PEER            STATE    OUT       IN     QUEUED  LATER  DRAINED IN  ADDRESS
      agent 00000000  in sync  2.0 kB/s  1 B/s  700 B   -      38 ms       /ip4/192.0.2.1/tcp/4001
      agent 00000000  behind   2.0 kB/s  1 B/s  700 B   -      38 ms       /ip4/192.0.2.2/tcp/4001

      contested (1)
      DOCUMENT        KEY          SHOWN         BY      WRITER    AGE
      line-2/press-7  k1\\u001b[2J  "vvvvvvvvvv"  latest  abababab  5.0 s
      "
    `);
  });

  test("fits the terminal, whatever its size and however much there is, and has no control characters", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 60 }),
        fc.nat({ max: 60 }),
        fc.integer({ min: 4, max: 200 }),
        fc.integer({ min: 1, max: 60 }),
        (links, contested, columns, rows) => {
          const lines = frameOf(viewOf(links, contested), { columns, rows });
          expect(lines.length).toBeLessThanOrEqual(rows);
          for (const { text } of lines) {
            expect(text.length).toBeLessThanOrEqual(columns);
            expect(text).not.toMatch(/\p{Cc}/u);
          }
        },
      ),
    );
  });

  test("says how many there are of which it has no room for", () => {
    const text = frameOf(viewOf(20, 30), { columns: 200, rows: 30 }).map((line) => line.text);
    expect(text.filter((line) => /^and \d+ more$/u.test(line))).toHaveLength(2);
  });
});

const change = (key: string, more: Partial<VisibleFact> | undefined): ChangeEvent =>
  ({
    doc: "d",
    key,
    origin: "remote",
    ...(more === undefined ? {} : { fact: { value: 1, writer: KEY, contested: false, ...more } }),
  }) as unknown as ChangeEvent;

test("a watch aligns names with the longest so far, and marks what is contested or gone", () => {
  const describeChange = createDescriber(
    (style, text) => `<${style}>${text}</${style}>`,
    () => Date.UTC(2026, 0, 31, 14, 5, 9, 123),
  );
  expect(describeChange(change("k", { confidence: 0.9, source: { model: "thermo" } }))).toBe(
    "<dim>14:05:09.123</dim>  <bold>d k</bold>  <green>1</green>  <dim>received, writer abababab, thermo, confidence 0.9</dim>",
  );
  expect(describeChange(change("longer", undefined))).toBe(
    "<dim>14:05:09.123</dim>  <bold>d longer</bold>  <red>gone</red>  <dim>received</dim>",
  );
  expect(describeChange(change("k", { contested: true }))).toContain(
    "<bold>d k     </bold>  <yellow>1</yellow>  <yellow>contested</yellow>",
  );
});

describe("the command", () => {
  let dir: TempDir;
  let mesh: string;
  let agent: Daemon;

  beforeAll(async () => {
    dir = await tempDir();
    mesh = join(dir.path, "mesh");
    await run(["init", mesh, "--agents", "1", "--ports", "auto"]);
    agent = new Daemon(mesh, "agent", "agent-1.yaml");
    await agent.ready();
  }, 30_000);

  afterAll(async () => {
    await agent.stop();
    await dir.remove();
  });

  test("prints one frame, or JSON, and wants a terminal for more", async () => {
    const once = await run(["top", "--once"], { cwd: mesh });
    expect(once).toMatchObject({ code: EXIT.ok, stderr: "" });
    expect(once.stdout).toMatch(/^agent [0-9a-f]{8} of mesh, ready, up .*\nfacts /u);
    const { stdout } = await run(["top", "--json"], { cwd: mesh });
    expect(JSON.parse(stdout)).toMatchObject({ status: { service: "agent" }, links: [] });
    const live = await run(["top"], { cwd: mesh });
    expect(live).toMatchObject({ code: EXIT.input, stdout: "" });
    expect(live.stderr).toContain("--once");
  });

  const hasScript = spawnSync("script", ["--version"]).status === 0;
  test.skipIf(!hasScript)(
    `in a terminal it draws until q is typed, and leaves the screen as it was${hasScript ? "" : " (skipped: no script on this machine)"}`,
    async () => {
      const bin = fileURLToPath(new URL("../bin/ctxmesh.js", import.meta.url));
      const command = `stty rows 24 cols 80; exec "${process.execPath}" "${bin}" top`;
      const child = spawn("script", ["-qec", command, "/dev/null"], {
        cwd: mesh,
        env: { ...process.env, TERM: "xterm-256color" },
      });
      let seen = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => (seen += text));
      const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
      await waitFor(() => seen.includes("q quits"), { timeoutMs: 20_000, what: "the first frame" });
      expect(seen).toContain("\u001b[?1049h");
      expect(seen).toMatch(/agent [0-9a-f]{8} of mesh, ready/u);
      child.stdin.write("q");
      expect(await closed).toBe(EXIT.ok);
      expect(seen).toContain("\u001b[?1049l");
    },
  );
});
