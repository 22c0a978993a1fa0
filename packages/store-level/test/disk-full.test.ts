// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openLevelStore } from "@ctxmesh/store-level";
import { createRecordingLogger, createSeededRandom, tempDir } from "@ctxmesh/testing";

const VALUE_BYTES = 20_000;
const MEGABYTE = 1_048_576;

/** Whether this user may mount; only then is there a small disk to fill. */
const canMount = (() => {
  try {
    execFileSync("unshare", ["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], {
      stdio: "ignore",
    });
    return true;
  } catch {
    return false;
  }
})();
const note = canMount
  ? ""
  : " (skipped: only a user who may mount a small file system can fill one)";
const key = (i: number): Uint8Array =>
  new TextEncoder().encode(`key-${String(i).padStart(5, "0")}`);

test.skipIf(!canMount).each([
  ["by others", 48, 36],
  ["by the store itself", 20, 0],
])(
  `a full disk (filled %s) fails writes, not reads, and loses nothing acknowledged${note}`,
  { timeout: 120_000 },
  async (_, megabytes, others) => {
    await using dir = await tempDir();
    const disk = join(dir.path, "disk");
    await mkdir(disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${String(megabytes)}m`, "tmpfs", disk]);
    try {
      // What the store may fill is half of what it has in the end: merging tables takes room for a while.
      const reserve = others + (megabytes - others) / 2;
      await writeFile(join(disk, "reserve"), Buffer.alloc(reserve * MEGABYTE));
      const path = join(disk, "store");
      const logger = createRecordingLogger();
      const random = createSeededRandom(7);
      const acknowledged = new Map<number, Uint8Array>();
      const full = await openLevelStore({ path, logger });
      let refusal: unknown;
      for (let i = 0; refusal === undefined; i++) {
        const value = random.bytes(VALUE_BYTES);
        try {
          await full.write([{ key: key(i), value }]);
          acknowledged.set(i, value);
        } catch (error) {
          refusal = error;
        }
      }
      expect(refusal).toMatchObject({ code: "STORE_FAILED" });
      expect(acknowledged.size).toBeGreaterThan(50);
      await expect(full.write([{ key: key(0) }])).rejects.toMatchObject({ code: "STORE_FAILED" });
      for (const [i, value] of acknowledged) expect(await full.get(key(i))).toEqual(value);
      await full.close();
      expect(logger.entries.map(({ event }) => event)).toContain("store.write-failed");

      await rm(join(disk, "reserve"));
      const freed = await openLevelStore({ path });
      for (const [i, value] of acknowledged) expect(await freed.get(key(i))).toEqual(value);
      await freed.write([{ key: key(99_999), value: Uint8Array.of(1) }]);
      await freed.close();
      const again = await openLevelStore({ path });
      expect(await again.get(key(99_999))).toEqual(Uint8Array.of(1));
      await again.close();
    } finally {
      execFileSync("umount", ["--lazy", disk]);
    }
  },
);
