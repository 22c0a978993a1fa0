// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what harness B of the torture shows is what a disk may hold.
 * Method: lines as strace writes them; a folder changed by hand; properties of the states that are drawn.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "@ctxmesh/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Dice } from "../scripts/fuzz/dice.ts";
import { TAILS, writeCrashState } from "../scripts/torture/crash-state.ts";
import { DiskHistory } from "../scripts/torture/disk-history.ts";
import { bytesAfter } from "../scripts/torture/disk.ts";
import type { FileNode, FolderNode } from "../scripts/torture/disk.ts";
import { bytesOf, descriptorOf, parseTrace, pathOf } from "../scripts/torture/trace.ts";
import { findLast, operationAt, valueOf } from "../scripts/torture/workload.ts";
import type { ReadFact } from "../scripts/torture/workload.ts";

const hex = (text: string): string =>
  [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
const quoted = (text: string): string => `"${hex(text)}"`;
const lines = (...all: readonly string[]): string => all.map((line) => `${line}\n`).join("");

describe("a trace", () => {
  test("has the calls in the order of their start, with what they returned", () => {
    const calls = parseTrace(
      lines(
        `12 write(3<${hex("/d/a")}>, ${quoted("x")}, 1) = 1`,
        `12 fsync(3<${hex("/d/a")}> <unfinished ...>`,
        `13 openat(AT_FDCWD<${hex("/d")}>, ${quoted("/d/b")}, O_WRONLY|O_CREAT, 0644 <unfinished ...>`,
        `12 <... fsync resumed>) = 0`,
        `13 <... openat resumed>) = 4<${hex("/d/b")}>`,
        `13 mkdir(${quoted("/d")}, 0755) = -1 EEXIST (File exists)`,
      ),
    );
    expect(calls.map(({ name, result, start, end }) => [name, result, start, end])).toEqual([
      ["write", 1, 0, 1],
      ["fsync", 0, 2, 7],
      ["openat", 4, 4, 9],
      ["mkdir", -1, 10, 11],
    ]);
    expect(calls[0]?.args).toEqual([`3<${hex("/d/a")}>`, quoted("x"), "1"]);
    expect(calls[2]?.args.slice(1)).toEqual([quoted("/d/b"), "O_WRONLY|O_CREAT", "0644"]);
  });

  test("has a call without a result where its process was killed in the middle of it", () => {
    const calls = parseTrace(
      lines(
        `12 fdatasync(3<${hex("/d/a")}> <unfinished ...>`,
        `13 write(3<${hex("/d/a")}>, ${quoted("x")}, 1 <unfinished ...>) = ?`,
        `14 close(3<${hex("/d/a")}> <unfinished ...>`,
        `14 <... close resumed> <unfinished ...>) = ?`,
        `15 fsync(3<${hex("/d/a")}> <unfinished ...>`,
        `15 <... fsync resumed>) = ?`,
        `12 +++ killed by SIGKILL +++`,
      ),
    );
    expect(calls.map(({ name, result, end }) => [name, result, end])).toEqual([
      ["fdatasync", undefined, Infinity],
      ["write", undefined, Infinity],
      ["close", undefined, Infinity],
      ["fsync", undefined, Infinity],
    ]);
  });

  test.each([
    ["a line without a thread", "write(1, 2, 3) = 3\n"],
    ["a line that is no call", "12 hello\n"],
    ["a result of something that never began", "12 <... write resumed>) = 1\n"],
    ["a last line that was cut off", "12 close(3) = 0"],
    [
      "two calls of one thread at a time",
      "12 close(3 <unfinished ...>\n12 close(4 <unfinished ...>\n",
    ],
  ])("with %s is refused", (_, text) => {
    expect(() => parseTrace(text)).toThrow("the trace can't be read at line");
  });

  test("gives back any bytes and any path, and refuses a string that strace cut short", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const text = Buffer.from(bytes).toString("latin1");
        const argument = `"${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}"`;
        expect(bytesOf(argument).toString("latin1")).toBe(text);
      }),
    );
    expect(pathOf(`17<${hex('/a b/>,"ü')}>`)).toBe('/a b/>,"ü');
    expect(pathOf("17")).toBeUndefined();
    expect(descriptorOf(`17<${hex("/a")}>`)).toBe(17);
    expect(() => bytesOf(`${quoted("abc")}...`)).toThrow("not a whole string");
    expect(() => bytesOf('"abc"')).toThrow("not hexadecimal");
    expect(() => bytesOf(undefined)).toThrow("not a whole string");
  });
});

describe("a history", () => {
  test("follows files through writes, renames, cuts and calls that a kill ended, and is compared with the disk", async () => {
    await using dir = await tempDir();
    const at = (name: string): string => quoted(join(dir.path, name));
    const fd = (number: number, name: string): string =>
      `${String(number)}<${hex(join(dir.path, name))}>`;
    const history = new DiskHistory(dir.path);
    mkdirSync(join(dir.path, "sub"));
    writeFileSync(join(dir.path, "sub/b"), "helLo!");
    writeFileSync(join(dir.path, "c"), "half");
    const trace = lines(
      `1 mkdir(${at("sub")}, 0755) = 0`,
      `1 openat(AT_FDCWD<${hex("/")}>, ${at("sub/a")}, O_WRONLY|O_CREAT|O_TRUNC, 0666) = 5${fd(5, "sub/a").slice(1)}`,
      `1 write(${fd(5, "sub/a")}, ${quoted("hello")}, 5) = 5`,
      `1 pwrite64(${fd(5, "sub/a")}, ${quoted("L")}, 1, 3) = 1`,
      `1 fsync(${fd(5, "sub/a")}) = 0`,
      `1 rename(${at("sub/a")}, ${at("sub/b")}) = 0`,
      `1 write(${fd(5, "sub/b")}, ${quoted("!!!")}, 3) = 1`,
      `1 close(${fd(5, "sub/b")}) = 0`,
      `1 write(1<pipe:[7]>, ${quoted("done\n")}, 5) = 5`,
      `1 open(${at("c")}, O_WRONLY|O_CREAT, 0666) = 5${fd(5, "c").slice(1)}`,
      `1 write(${fd(5, "c")}, ${quoted("half of it")}, 10 <unfinished ...>`,
      `1 +++ killed by SIGKILL +++`,
    );
    history.add(parseTrace(trace));
    expect(history.said.map(({ text }) => text)).toEqual(["done\n"]);
    const sub = history.root.changes[0]?.node as FolderNode;
    expect(sub.changes.map(({ name, from, creates }) => [name, from, creates])).toEqual([
      ["a", undefined, true],
      ["b", "a", false],
    ]);
    const file = sub.changes[0]?.node as FileNode;
    expect(Buffer.from(bytesAfter(file.changes)).toString()).toBe("helLo!");
    expect(file.syncs).toHaveLength(1);
    writeFileSync(join(dir.path, "c"), "other bytes");
    expect(() => new DiskHistory(dir.path).add(parseTrace(trace))).toThrow("does not explain");
  });

  test.each([
    ["a link", (path: string) => `1 link(${quoted(`${path}/a`)}, ${quoted(`${path}/b`)}) = 0`],
    ["a copied descriptor", (path: string) => `1 dup(5<${hex(`${path}/a`)}>) = 6`],
    ["a vectored write", (path: string) => `1 writev(5<${hex(`${path}/a`)}>, [], 0) = 0`],
    [
      "a file written through memory",
      (path: string) =>
        `1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 5<${hex(`${path}/a`)}>, 0) = 0x7f00`,
    ],
  ])("refuses %s, which it does not understand", async (_, line) => {
    await using dir = await tempDir();
    writeFileSync(join(dir.path, "a"), "");
    const open = `1 openat(AT_FDCWD<${hex("/")}>, ${quoted(join(dir.path, "a"))}, O_RDWR|O_CREAT, 0666) = 5<${hex(join(dir.path, "a"))}>`;
    const history = new DiskHistory(dir.path);
    expect(() => {
      history.add(parseTrace(lines(open, line(dir.path))));
    }).toThrow("understood");
  });
});

const bytes = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

/** A file `a` with 600 synced bytes and 1,000 more, a synced file `n` and a name that are in no synced folder. */
function exampleDisk(): FolderNode {
  const a: FileNode = {
    kind: "file",
    changes: [
      { start: 4, end: 5, offset: 0, data: bytes(600, 1) },
      { start: 8, end: 9, offset: 600, data: bytes(1_000, 2) },
    ],
    syncs: [{ start: 6, end: 7 }],
  };
  const n: FileNode = {
    kind: "file",
    changes: [{ start: 14, end: 15, offset: 0, data: bytes(3, 3) }],
    syncs: [{ start: 16, end: 17 }],
  };
  const syncs = [{ start: 2, end: 3 }];
  const changes = [
    { start: 0, end: 1, name: "a", node: a, creates: true },
    { start: 10, end: 11, name: "b", from: "a", node: a, creates: false },
    { start: 12, end: 13, name: "n", node: n, creates: true },
  ];
  return { kind: "folder", changes, syncs };
}

async function stateAt(at: number, tail: (typeof TAILS)[number], seed: number) {
  await using dir = await tempDir();
  writeCrashState(exampleDisk(), { at, tail }, new Dice(seed, 0), dir.path);
  return Object.fromEntries(
    readdirSync(dir.path).map((name) => [name, readFileSync(join(dir.path, name))]),
  );
}

/** The length of `a` in some states. */
const sizes = async (at: number): Promise<readonly (number | undefined)[]> =>
  Promise.all(
    Array.from({ length: 20 }, async (_, seed) => (await stateAt(at, "prefix", seed))["a"]?.length),
  );

describe("after a power cut", () => {
  test.each(TAILS)(
    "%s: what was synced is there, and nothing that was never written",
    async (tail) => {
      const seen = { lengths: new Set<number>(), names: new Set<string>(), gaps: 0 };
      for (let seed = 0; seed < 60; seed++) {
        const { n, ...rest } = await stateAt(18, tail, seed);
        expect(n).toEqual(Buffer.from([3, 3, 3]));
        const [name = "", ...others] = Object.keys(rest);
        expect(others).toEqual([]);
        const file = rest[name] ?? Buffer.of();
        expect(file.subarray(0, 600)).toEqual(Buffer.alloc(600, 1));
        expect(file.length).toBeLessThanOrEqual(1_600);
        expect(file.subarray(600).every((byte) => byte === 2 || byte === 0)).toBe(true);
        seen.names.add(name);
        seen.lengths.add(file.length);
        if (file.subarray(600).includes(0)) seen.gaps++;
      }
      const isNothing = tail === "nothing";
      expect([...seen.names].toSorted()).toEqual(isNothing ? ["a"] : ["a", "b"]);
      expect(Math.min(...seen.lengths)).toBe(600);
      expect(Math.max(...seen.lengths)).toBe(isNothing ? 600 : 1_600);
      expect(seen.gaps > 0).toBe(tail === "sectors");
    },
  );

  test("a sync keeps nothing before it has ended, and nothing that was written while it ran", async () => {
    expect(await sizes(7)).toContain(0);
    expect(new Set(await sizes(8))).toEqual(new Set([600]));
    // Before its folder was synced the file may have no name.
    expect(await sizes(2)).toContain(undefined);
    expect(await sizes(4)).not.toContain(undefined);
  });
});

/** The facts that the first operations of a stream leave. */
function factsAfter(last: number): ReadFact[] {
  const facts = new Map<string, ReadFact>();
  for (let id = 1; id <= last; id++) {
    const { doc, keys, deletes } = operationAt("own", id);
    for (const key of keys) {
      if (deletes) facts.delete(`${doc} ${key}`);
      else facts.set(`${doc} ${key}`, { doc, key, value: valueOf(1, "own", id, key, 20) });
    }
  }
  return [...facts.values()];
}

describe("the ledger", () => {
  test("knows from the facts how many operations they are of", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 120 }), (last) => {
        const { last: found, problem } = findLast(factsAfter(last), 1, "own");
        expect(problem).toBeUndefined();
        // A delete of what is not there can't be told from none.
        expect(factsAfter(found)).toEqual(factsAfter(last));
        expect(found).toBeGreaterThanOrEqual(last);
      }),
    );
  });

  test("notices a fact that is missing, older, of another value, or not deleted", () => {
    fc.assert(
      fc.property(fc.integer({ min: 30, max: 120 }), fc.nat(), (last, nth) => {
        const facts = factsAfter(last);
        const at = nth % facts.length;
        const fact = facts[at] as ReadFact;
        const { id } = fact.value as { id: number };
        expect(findLast(facts.toSpliced(at, 1), 1, "own").problem).toContain("torn");
        const older = { ...fact, value: valueOf(1, "own", id - 1, fact.key, 20) };
        expect(findLast(facts.with(at, older), 1, "own").problem).toContain("torn");
        const other = { ...fact, value: { id, text: "?" } };
        expect(findLast(facts.with(at, other), 1, "own").problem).toContain("another value");
      }),
    );
    // What operation 2 wrote was deleted by operation 26.
    const { doc, keys } = operationAt("own", 2);
    expect(operationAt("own", 26)).toEqual({
      doc,
      group: operationAt("own", 2).group,
      keys,
      deletes: true,
    });
    const stale = keys.map((key) => ({ doc, key, value: valueOf(1, "own", 2, key, 20) }));
    expect(findLast([...factsAfter(30), ...stale], 1, "own").problem).toContain(
      "shows 2 2 2, not nothing",
    );
  });

  test("notices a whole group that is older than another", () => {
    const facts = factsAfter(100).filter(({ value }) => (value as { id: number }).id !== 95);
    const { doc, keys } = operationAt("own", 95);
    const older = keys.map((key) => ({ doc, key, value: valueOf(1, "own", 71, key, 20) }));
    expect(findLast(facts, 1, "own").problem).toContain("shows nothing, not 95");
    expect(findLast([...facts, ...older], 1, "own").problem).toContain("shows 71");
  });
});
