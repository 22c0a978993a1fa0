// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the torture in short, and proof that its harnesses see what they are for.
 * Method: real processes; faults planted in them, or syncs taken out of what was recorded of them.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { nodesIn } from "../scripts/torture/disk.ts";
import type { FileNode, FolderNode } from "../scripts/torture/disk.ts";
import { scratchFolder } from "../scripts/torture/harness.ts";
import type { Scratch } from "../scripts/torture/harness.ts";
import { killWriters } from "../scripts/torture/kill-loop.ts";
import { cutPower } from "../scripts/torture/power-cut.ts";
import { keepRecording, openRecording, record, whyNoStrace } from "../scripts/torture/recording.ts";
import type { Recording } from "../scripts/torture/recording.ts";

const MINUTES = 60_000;
const seed = 1;
const progress = (): void => undefined;
const none = { refused: 0, lost: 0, torn: 0, "other content": 0 };

/** What is said of a store whose newest MANIFEST record was cut off. */
const MANIFEST_CUT =
  /STORE_CORRUPT: .*MANIFEST-\d+: the record at \d+ does not match its checksum/u;

/** A folder that a harness kept to show a violation. */
const KEPT = /(\/\S*ctxmesh-torture-\w+)/u;
const removeKept = (again: string): void => {
  rmSync(KEPT.exec(again)?.[1] ?? join("nowhere", "at", "all"), { recursive: true, force: true });
};

describe("killed processes", () => {
  test(
    "10 kills, one of the whole agent: nothing acknowledged is lost, nothing is half done",
    async () => {
      const { figures, violations } = await killWriters({ seed, kills: 10, progress });
      expect(violations).toEqual([]);
      expect(figures).toMatchObject({ kills: 10, "of the whole agent": 1, ...none });
      expect(figures["acknowledged"]).toBeGreaterThan(100);
    },
    5 * MINUTES,
  );

  test.each(["early acknowledgement", "group in two parts"] as const)(
    "within 20 kills a store with the fault %s is found",
    async (fault) => {
      const { violations } = await killWriters({ seed, kills: 20, progress, fault });
      expect(violations).toHaveLength(1);
      expect(violations[0]?.again).toContain("npm run torture -- --only A --seed 1");
      removeKept(violations[0]?.again ?? "");
    },
    5 * MINUTES,
  );
});

test("without strace the harness of power cuts skips, and says why", async () => {
  vi.stubEnv("PATH", "");
  const { skipped, violations } = await cutPower({ seed, states: 1, progress });
  vi.unstubAllEnvs();
  expect(skipped).toContain("strace is not installed");
  expect(violations).toEqual([]);
});

/** Leaves the syncs of some files and folders out of a recording. */
const withoutSyncs =
  (isMeant: (node: FileNode | FolderNode, { root }: Recording) => boolean) =>
  (recording: Recording): Recording => {
    for (const node of nodesIn(recording.root)) {
      if (isMeant(node, recording)) node.syncs.splice(0);
    }
    return recording;
  };

const reason = whyNoStrace();

describe.skipIf(reason !== undefined)(
  `power cuts${reason === undefined ? "" : ` (${reason})`}`,
  () => {
    let scratch: Scratch;

    beforeAll(async () => {
      scratch = scratchFolder();
      const { recording } = await record(scratch.path, seed, progress);
      keepRecording(scratch.path, recording);
    }, 5 * MINUTES);

    afterAll(() => {
      scratch[Symbol.dispose]();
    });

    test(
      "60 states: each opens, has all that was acknowledged, and no gap",
      async () => {
        const options = { seed, states: 60, progress, recording: scratch.path };
        const { figures, violations } = await cutPower(options);
        // LevelDB can't open a MANIFEST of which the last record was cut while it was synced: a node replaces such a store as a damaged
        // one. The moment is a short one, and rarely among the states.
        const cut = violations.filter(({ problem }) => MANIFEST_CUT.test(problem));
        expect(violations.filter((violation) => !cut.includes(violation))).toEqual([]);
        expect(cut.length).toBeLessThanOrEqual(1);
        expect(figures).toMatchObject({ states: 60, ...none, refused: cut.length });
        // It was worth recording: the log was begun anew while it was written to, tables were merged, writes were cut off.
        const { recording } = openRecording(scratch.path);
        expect(recording.log.length).toBeGreaterThan(100);
        expect(figures["log files"]).toBeGreaterThan(8);
        expect(figures["tables"]).toBeGreaterThan(9);
      },
      5 * MINUTES,
    );

    test.each([
      ["the folder that holds the store", "lost", (node, { root }) => node === root],
      [
        "files that were just made",
        "refused",
        (node) => node.kind === "file" && node.syncs.length === 1,
      ],
    ] satisfies readonly (readonly [string, string, Parameters<typeof withoutSyncs>[0]])[])(
      "within 60 states a store that leaves out the sync of %s is found: %s",
      async (_, breach, isMeant) => {
        const alter = withoutSyncs(isMeant);
        const options = { seed, states: 60, progress, recording: scratch.path, alter };
        const { figures, violations } = await cutPower(options);
        expect(figures[breach]).toBeGreaterThan(0);
        expect(violations[0]?.again).toMatch(/--only B --seed 1 --recording \S+ --state \d+$/u);
      },
      5 * MINUTES,
    );

    test.each(["no sync", "early acknowledgement"] as const)(
      "within 30 states a store with the fault %s is found",
      async (fault) => {
        const { figures, violations } = await cutPower({
          seed,
          states: 30,
          progress,
          fault,
          processes: 2,
        });
        expect(figures["lost"]).toBeGreaterThan(0);
        removeKept(violations[0]?.again ?? "");
      },
      5 * MINUTES,
    );
  },
);
