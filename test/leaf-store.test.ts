// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what the leaf in C has on its disk is never half a record, never silently less than it acknowledged, and bad lines change nothing.
 * Method: the program without a parent; its log cut and changed byte by byte.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { canonicalJson } from "@ctxmesh/codec";
import type { JsonValue } from "@ctxmesh/model";
import { waitFor } from "@ctxmesh/testing";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Leaf, buildLeaf } from "./leaf/program.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const build = buildLeaf();
const isMissing = build.missing !== undefined;
if (isMissing) process.stderr.write(`the leaf is not tested: ${build.missing}`);
const SPACE = "5a".repeat(32);

let leaf: Leaf;
beforeEach(() => {
  if (isMissing) return;
  leaf = new Leaf(build.binary);
  leaf.configure(SPACE);
});
afterEach(async () => leaf?.[Symbol.asyncDispose]());

const logOf = ({ dir }: Leaf): string => join(dir, "log");
interface Checked {
  readonly facts: number;
  readonly batches: number;
}
const checked = (): Checked => JSON.parse(leaf.check().stdout) as Checked;

/** Three batches of a fact each; the log, and where the last record begins. */
async function write(): Promise<{ readonly log: Buffer; readonly last: number }> {
  await leaf.start();
  await leaf.ask("put a k1 1");
  await leaf.ask("put a k2 2");
  const last = readFileSync(logOf(leaf)).length;
  await leaf.ask("put a k3 3");
  await leaf.end("SIGKILL");
  return { log: readFileSync(logOf(leaf)), last };
}

test.skipIf(isMissing)(
  "a last record that ends early, at whatever byte, is cut off and said; all before it is there",
  async () => {
    const { log, last } = await write();
    expect(checked()).toMatchObject({ facts: 3, batches: 3 });
    // Every byte of what stands before the content, and some of it.
    for (let end = last; end < log.length; end += end < last + 40 ? 1 : 7) {
      writeFileSync(logOf(leaf), log.subarray(0, end));
      const { status, stdout, stderr } = leaf.check();
      expect(status, String(end)).toBe(0);
      expect(JSON.parse(stdout), String(end)).toMatchObject({ facts: 2, batches: 2 });
      expect(stderr.includes(`${String(end - last)} bytes`)).toBe(end > last);
    }
    writeFileSync(logOf(leaf), log.subarray(0, -1));
    await leaf.start();
    expect(await leaf.ask("get a k3", "put a k3 4")).toEqual(["null", "ok 1"]);
    await leaf.end();
    expect(readFileSync(join(leaf.dir, "log.torn"))).toEqual(log.subarray(last, -1));
    expect(checked()).toMatchObject({ facts: 3, batches: 3 });
  },
);

test.skipIf(isMissing)(
  "a byte that has changed before the last record, whichever, stops the leaf with a remedy",
  async () => {
    const { log, last } = await write();
    for (let at = 0; at < last; at += 11) {
      const changed = Buffer.from(log);
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      writeFileSync(logOf(leaf), changed);
      const { status, stdout, stderr } = leaf.check();
      expect([status, stdout], String(at)).toEqual([65, ""]);
      expect(stderr).toMatch(/^error STORE_DAMAGED: .*; .+\n$/u);
    }
    // Records of the same log in another order are damage as well.
    const middle = readFileSync(logOf(leaf)).subarray(32, 32 + 32);
    writeFileSync(logOf(leaf), Buffer.concat([log.subarray(0, 32), log.subarray(last), middle]));
    expect(leaf.check().status).toBe(65);
  },
);

test.skipIf(isMissing)(
  "JSON is taken as RFC 8785 has it, and everything else is refused; what is taken comes back",
  async () => {
    await leaf.start();
    const client = await leaf.client();
    const exact = (value: JsonValue): boolean =>
      typeof value === "number"
        ? Number.isSafeInteger(value) && Math.abs(value) < 1e15
        : typeof value !== "object" ||
          value === null ||
          Object.values(value).every((one) => exact(one));
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue({ maxDepth: 4 }).filter((value) => exact(value as JsonValue)),
        async (value) => {
          const text = canonicalJson(value as JsonValue);
          const [put = "", got = ""] = await client.ask(`put a k ${text}`, "get a k");
          if (/"(?:__proto__|constructor|prototype)":/u.test(text)) return;
          expect(put, text).toMatch(/^ok /u);
          expect(got.startsWith(`{"value":${text},"writer":`), got).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
    const bad = [
    "1.50", "01", "-0", "+1", "1e3", ".5", "1.", "1 ", " 1", '"a', '"\u0001"', String.raw`"\/"`, String.raw`"\u0041"`, "nul",
    '{"b":1,"a":2}', '{"a":1,"a":2}', '{"a": 1}', "[1,]", "[1 2]", "{}x", '{"__proto__":1}', "[".repeat(65) + "]".repeat(65), "",
  ]; // prettier-ignore
    for (const text of bad) {
      expect(await client.ask(`put a bad ${text}`), text).toEqual([
        expect.stringMatching(/^error VALUE_NOT_CANONICAL: .*; .+/u),
      ]);
    }
    expect(await client.ask("get a bad")).toEqual(["null"]);
    for (const text of [
      "[".repeat(64) + "]".repeat(64),
      '"é€𝄞"',
      "-1.5",
      "0.000001",
      '{"é":1,"𝄞":2,"\uffff":3}',
    ]) {
      expect((await client.ask(`put a good ${text}`))[0], text).toMatch(/^ok /u);
    }
  },
);

test.skipIf(isMissing)(
  "lines that are none get an error each, in their order, and the client stays",
  async () => {
    await leaf.start();
    const client = await leaf.client();
    const answers = await client.ask(
    "put a k 1", "", "put", "put a//b k 1", "put .a k 1", "put a  1", `put a ${"k".repeat(513)} 1`, 'put a "k 1',
    "get a", "hello there", "put a k2 2", "\u0000\u0001", "delete a k 1",
  ); // prettier-ignore
    const kinds = answers.map((line) => line.split(" ", 2).join(" "));
    const invalid = "error INPUT_INVALID:";
    expect(kinds).toEqual([
    "ok 1", invalid, invalid, invalid, invalid, invalid, invalid, invalid, invalid, invalid, "ok 2", invalid, invalid,
  ]); // prettier-ignore
    expect(await client.ask(`put a k ${JSON.stringify("x".repeat(65_600))}`)).toEqual([
      expect.stringMatching(/^error LIMIT_EXCEEDED: /u),
    ]);
    expect(await client.ask(`put a k "${"x".repeat(300_000)}"`, "get a k")).toEqual([
      expect.stringMatching(/^error LIMIT_EXCEEDED: /u),
      expect.stringContaining('"value":1'),
    ]);
    expect(await leaf.ask('put a "k \\"3" 3', 'get a "k \\"3"', "delete a k", "get a k")).toEqual([
    "ok 3", expect.stringContaining('"value":3'), "ok 4", "null",
  ]); // prettier-ignore
  },
);

test.skipIf(isMissing)(
  "a watcher hears of what it asked for, and of nothing else; one that does not read is cut",
  async () => {
    await leaf.start();
    const watcher = await leaf.client();
    const slow = await leaf.client();
    expect(await watcher.ask("watch a k")).toEqual(["ok"]);
    expect(await slow.ask("watch")).toEqual(["ok"]);
    slow.pause();
    await leaf.ask('put a "k 1" 1', "put b k1 2", "put a j 3", "put a k2 true", "delete a k2");
    expect(await watcher.lines(3)).toEqual([
      expect.stringMatching(/^change a "k 1" \{"value":1,/u),
      // The batch was applied as a whole when it was told.
      "change a k2 null",
      "change a k2 null",
    ]);
    const value = JSON.stringify("x".repeat(60_000));
    for (let i = 0; i < 40; i++) await leaf.ask(`put c k ${value}`);
    slow.resume();
    await waitFor(() => slow.isOver, { timeoutMs: 20_000, what: "the slow watcher to be cut" });
    expect(watcher.isOver).toBe(false);
  },
);

test.skipIf(isMissing)(
  "a full disk refuses what is written and goes on to read; with room it writes again",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "ctxmesh-leaf-full-"));
    const mount = (): boolean => {
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "none", folder], {
          stdio: "ignore",
        });
        return true;
      } catch {
        return false;
      }
    };
    if (process.getuid?.() !== 0 || !mount()) {
      rmSync(folder, { recursive: true });
      process.stderr.write("a full disk is not tested: only root can make a small one\n");
      return;
    }
    try {
      const small = new Leaf(build.binary, folder);
      small.configure(SPACE);
      await small.start();
      const client = await small.client();
      await client.ask("put a k 1");
      writeFileSync(join(folder, "ballast"), new Uint8Array(150_000));
      const value = JSON.stringify(
        Buffer.from(Array.from({ length: 30_000 }, () => Math.floor(Math.random() * 256))).toString(
          "hex",
        ),
      );
      let answers: string[] = [];
      for (let i = 0; i < 10 && answers.every((line) => line.startsWith("ok")); i++)
        answers = await client.ask(`put a big${String(i)} ${value}`, `put a small${String(i)} 1`);
      expect(answers).toContainEqual(expect.stringMatching(/^error NO_SPACE: .*; make room/u));
      expect((await client.ask("get a k"))[0]).toContain('"value":1');
      rmSync(join(folder, "ballast"));
      expect((await client.ask("put a k 2"))[0]).toMatch(/^ok /u);
      const [digest] = await client.ask("digest");
      await small.end("SIGKILL");
      await small.start();
      expect(await small.ask("digest")).toEqual([digest]);
      await small.end();
    } finally {
      execFileSync("umount", ["-l", folder]);
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

/** Runs the command to its end. */
const runWith = (...args: readonly string[]): { status: number; stderr: string } => {
  try {
    execFileSync(build.binary, args, { stdio: "pipe", encoding: "utf8" });
    return { status: 0, stderr: "" };
  } catch (error) {
    const { status, stderr } = error as { status: number; stderr: string };
    return { status, stderr };
  }
};

test.skipIf(isMissing)("the command says what is wrong, with a code and a remedy", () => {
  expect(runWith("--help").status).toBe(0);
  expect(runWith("fly", leaf.dir)).toMatchObject({ status: 64 });
  expect(runWith("init", leaf.dir)).toMatchObject({ status: 74 });
  expect(runWith("run", `${leaf.dir}/none`)).toMatchObject({ status: 66 });
  for (const line of [
    "colour red",
    "space 5a",
    "psk",
    "log-limit 3",
    "address nowhere",
    "docs b\ndocs a",
  ]) {
    leaf.configure(SPACE, undefined, `${line}\n`);
    const { status, stderr } = runWith("run", leaf.dir);
    expect([status, stderr], line).toEqual([
      78,
      expect.stringMatching(/^error CONFIG_INVALID: .*; .+\n$/u),
    ]);
  }
});

test.skipIf(isMissing)(
  "a last record whose pages came to the disk in any order, or in part, is cut off",
  async () => {
    await leaf.start();
    const client = await leaf.client();
    await client.ask("put a k1 1");
    const last = readFileSync(logOf(leaf)).length;
    await client.ask(`put a k2 "${randomBytes(5_000).toString("hex")}"`);
    await leaf.end("SIGKILL");
    const log = readFileSync(logOf(leaf));
    const starts = Array.from({ length: Math.ceil(log.length / 512) }, (_, i) => i * 512);
    for (const start of starts.filter((at) => at + 512 > last)) {
      const changed = Buffer.from(log);
      changed.fill(0, Math.max(start, last), Math.min(start + 512, log.length));
      writeFileSync(logOf(leaf), changed);
      expect(checked(), String(start)).toMatchObject({ facts: 1, batches: 1 });
    }
  },
);

test.skipIf(isMissing)(
  "who asks for more than it reads gets all answers once it reads; behind quit nothing is done",
  async () => {
    await leaf.start();
    const client = await leaf.client();
    await client.ask(`put a k "${"x".repeat(60_000)}"`);
    const answers = await client.ask(...Array.from({ length: 400 }, () => "get a k"));
    expect(answers.filter((line) => line.startsWith('{"value":"xxx'))).toHaveLength(400);
    client.send("quit\nput a late 1\n");
    await waitFor(() => client.isOver, { timeoutMs: 20_000, what: "the end" });
    expect(await leaf.ask("get a late")).toEqual(["null"]);
  },
);
