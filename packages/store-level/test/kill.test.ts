// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Store } from "@ctxmesh/model";
import { openLevelStore } from "@ctxmesh/store-level";
import { tempDir, waitFor } from "@ctxmesh/testing";

const KILLS = 20;
const WRITER = join(import.meta.dirname, "writer.ts");

/** Runs the writer program, kills it after about `acks` acknowledgements, and returns all that it printed. */
async function writeUntilKilled(path: string, start: number, acks: number): Promise<number[]> {
  const child = spawn(
    process.execPath,
    ["--conditions=@ctxmesh/source", WRITER, path, String(start)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const exited = once(child, "close");
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    printed += text;
    if (printed.split("\n").length > acks) child.kill("SIGKILL");
  });
  await exited;
  expect(child.signalCode).toBe("SIGKILL");
  // The last piece is empty, or a line that the kill cut short.
  return printed.split("\n").slice(0, -1).map(Number);
}

async function numbersIn(store: Store, prefix: string): Promise<Set<number>> {
  const encoder = new TextEncoder();
  const numbers = new Set<number>();
  const range = { gte: encoder.encode(`${prefix}-`), lt: encoder.encode(`${prefix}.`) };
  for await (const [, value] of store.scan(range)) {
    numbers.add(Number(new TextDecoder().decode(value)));
  }
  return numbers;
}

test(
  `${String(KILLS)} kills of a writing process lose no acknowledged write and leave none half done`,
  { timeout: 180_000 },
  async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    const acknowledged: number[] = [];
    for (let round = 0; round < KILLS; round++) {
      const start = round * 1_000_000;
      acknowledged.push(...(await writeUntilKilled(path, start, 1 + ((round * 7) % 40))));
      const store = await openLevelStore({ path });
      const [a, b] = [await numbersIn(store, "a"), await numbersIn(store, "b")];
      await store.close();
      expect(acknowledged.filter((number) => !a.has(number))).toEqual([]);
      expect(a).toEqual(b);
    }
    expect(acknowledged.length).toBeGreaterThan(KILLS);
  },
);

test(
  "a process killed while it creates the store leaves either no store or a whole one",
  { timeout: 180_000 },
  async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    for (let round = 0; round < 6; round++) {
      const child = spawn(
        process.execPath,
        ["--conditions=@ctxmesh/source", WRITER, `${path}${String(round)}`],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      const exited = once(child, "close");
      const begun = async (): Promise<boolean> =>
        (await readdir(dir.path)).some((name) => name.startsWith(`store${String(round)}`));
      try {
        await waitFor(begun, { timeoutMs: 20_000, what: "the creation to begin" });
      } finally {
        child.kill("SIGKILL");
      }
      await exited;
      const store = await openLevelStore({ path: `${path}${String(round)}` });
      await store.write([{ key: Uint8Array.of(1), value: Uint8Array.of(1) }]);
      await store.close();
    }
    expect((await readdir(dir.path)).toSorted()).toEqual(
      Array.from({ length: 6 }, (_, round) => `store${String(round)}`),
    );
  },
);
