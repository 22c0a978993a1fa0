// SPDX-License-Identifier: Apache-2.0
/** Goal: backups under load hold what they must, and the harness sees those that don't. Method: a real agent; faults planted in its backups. */
import { readBackup, backUp } from "@ctxmesh/service";
import type { BackupRecord, BackupSummary } from "@ctxmesh/service";
import { createMemoryStore } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { runBackups } from "../scripts/torture/backups.ts";

const MINUTES = 60_000;
const seed = 1;
const progress = (): void => undefined;
const none = { refused: 0, lost: 0, torn: 0, "other content": 0 };

test(
  "4 backups of an agent under load: each is restored whole, with all that was acknowledged before it",
  async () => {
    const { figures, violations } = await runBackups({ seed, backups: 4, progress });
    expect(violations).toEqual([]);
    expect(figures).toMatchObject({ backups: 4, ...none });
    expect(figures["acknowledged"]).toBeGreaterThan(100);
    expect(figures["batches restored"]).toBeGreaterThan(100);
  },
  2 * MINUTES,
);

/** A file with other records, and a right trailer. */
async function remake(
  file: Buffer,
  change: (records: readonly BackupRecord[]) => readonly BackupRecord[],
): Promise<Buffer> {
  const records: BackupRecord[] = [];
  const head: BackupSummary = await readBackup(
    (async function* whole() {
      yield await Promise.resolve(file);
    })(),
    (part) => {
      records.push(...part);
    },
  );
  const store = createMemoryStore();
  await store.write(change(records).map(([key, value]) => ({ key, value })));
  const { space, device, service, takenAt } = head;
  const chunks: Uint8Array[] = [];
  for await (const chunk of backUp(store, { space, device, service, takenAt })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test(
  "backups that are stale, lack a record or were damaged are found",
  async () => {
    let first: Buffer | undefined;
    const { figures, violations } = await runBackups({
      seed,
      backups: 4,
      progress,
      alter: async (file, index) => {
        first ??= file;
        if (index === 1) return first;
        // The index of the log's newest batch, by its hash: the log itself still links up.
        if (index === 2) return remake(file, (records) => records.filter(([key]) => key[0] !== 5));
        if (index === 3) return Buffer.from(file.with(file.length - 1, 0));
        return file;
      },
    });
    expect(figures).toMatchObject({ ...none, refused: 2, lost: 1 });
    expect(violations.map(({ problem }) => problem)).toEqual([
      expect.stringMatching(
        /^backup 2: lost: own \d+ was acknowledged, the last one here is \d+$/u,
      ),
      expect.stringMatching(/^backup 3: refused: STORE_CORRUPT: /u),
      expect.stringMatching(/^backup 4: refused: STORE_CORRUPT: /u),
    ]);
  },
  2 * MINUTES,
);
