// SPDX-License-Identifier: Apache-2.0
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Level } from "level";
import { expect, test } from "vitest";
import { MeshError } from "@ctxmesh/model";
import { createSeededRandom, tempDir } from "@ctxmesh/testing";
import { checkFiles, tablesOf } from "../src/files.ts";
import { checkTable, dataBlocks, entriesIn } from "../src/table.ts";

const random = createSeededRandom(1);

/** A database whose tables have plain and compressed blocks, closed. */
async function makeDatabase(path: string): Promise<Map<string, Uint8Array>> {
  const content = new Map<string, Uint8Array>();
  const open = async (): Promise<Level<string, Uint8Array>> => {
    const level = new Level<string, Uint8Array>(path, { valueEncoding: "view" });
    await level.open();
    return level;
  };
  for (let part = 0; part < 3; part++) {
    const level = await open();
    for (let i = 0; i < 300; i++) {
      const key = `key/${String(part)}/${String(i).padStart(4, "0")}`;
      const value = i % 2 === 0 ? random.bytes(i) : Buffer.alloc(i * 20, key);
      content.set(key, value);
      await level.put(key, value);
    }
    await level.close();
  }
  await (await open()).close();
  return content;
}

test("what LevelDB put into its tables is read from them without it", async () => {
  await using dir = await tempDir();
  const content = await makeDatabase(dir.path);
  const read = new Map<string, string>();
  for (const name of (await tablesOf(dir.path)).keys()) {
    const bytes = await readFile(join(dir.path, name));
    for (const block of dataBlocks(name, bytes)) {
      for (const [key, value] of entriesIn(name, bytes, block)) {
        read.set(Buffer.from(key.subarray(0, -8)).toString(), Buffer.from(value).toString("hex"));
      }
    }
  }
  const hex = [...content].map(
    ([key, value]) => [key, Buffer.from(value).toString("hex")] as const,
  );
  expect(read).toEqual(new Map(hex));
});

test("every flipped bit, cut and added byte of a table is found, and the sound one is not", async () => {
  await using dir = await tempDir();
  await makeDatabase(dir.path);
  await checkFiles(dir.path);
  const tables = [...(await tablesOf(dir.path))];
  expect(tables.length).toBeGreaterThan(0);
  for (const [name, facts] of tables) {
    const sound = await readFile(join(dir.path, name));
    checkTable(name, sound, facts);
    const corrupt = { code: "STORE_CORRUPT" };
    const step = Math.max(1, Math.floor(sound.length / 400));
    for (let at = 0; at < sound.length; at += at < sound.length - 600 ? step : 1) {
      const bytes = Uint8Array.from(sound);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
      expect(() => checkTable(name, bytes, facts), String(at)).toThrow(
        expect.objectContaining(corrupt),
      );
    }
    for (const bytes of [sound.subarray(0, -1), Buffer.concat([sound, Buffer.alloc(1)])]) {
      for (const other of [facts, { ...facts, bytes: bytes.length }]) {
        expect(() => checkTable(name, bytes, other)).toThrow(expect.objectContaining(corrupt));
      }
    }
    const moved = { ...facts, smallest: facts.largest };
    expect(() => checkTable(name, sound, moved)).toThrow("it is another table");
  }
});

test("a MANIFEST is refused with any flipped bit that changes what it says, and never misread", async () => {
  await using dir = await tempDir();
  await makeDatabase(dir.path);
  const manifest = (await readdir(dir.path)).find((name) => name.startsWith("MANIFEST")) ?? "";
  const sound = await readFile(join(dir.path, manifest));
  const expected = await tablesOf(dir.path);
  const outcomes: (string | number)[] = [];
  for (let at = 0; at < sound.length; at++) {
    const bytes = Uint8Array.from(sound);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
    await writeFile(join(dir.path, manifest), bytes);
    const outcome = await tablesOf(dir.path).then(
      ({ size }) => size,
      (error: unknown) => (error instanceof MeshError ? error.code : "another error"),
    );
    outcomes.push(outcome);
  }
  const refused = outcomes.filter((outcome) => outcome === "STORE_CORRUPT").length;
  // A length that points past the end reads as a record that a power cut left unfinished.
  const rest = outcomes.filter((outcome) => typeof outcome === "number");
  expect(refused + rest.length).toBe(sound.length);
  expect(Math.max(0, ...rest)).toBeLessThanOrEqual(expected.size);
  expect(refused).toBeGreaterThan(sound.length * 0.95);
});
