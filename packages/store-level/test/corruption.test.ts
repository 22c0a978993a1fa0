// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: no damage to the files of a store goes unnoticed, and nothing wrong is ever served.
 * Method: the short form of harness C (scripts/torture/corruption.ts). That it would see a check that
 * is missing is shown by taking one away.
 */
import { afterEach, expect, test, vi } from "vitest";
import { runCorruption } from "../../../scripts/torture/corruption.ts";
import * as anchor from "../src/anchor.ts";
import * as files from "../src/files.ts";
import * as markers from "../src/markers.ts";

vi.mock("../src/anchor.ts", { spy: true });
vi.mock("../src/files.ts", { spy: true });
vi.mock("../src/markers.ts", { spy: true });

const MINUTE = 60_000;
const progress = (): void => undefined;

afterEach(() => {
  vi.restoreAllMocks();
});

test(
  "every kind of damage is found on opening, or in the first full read, or does not matter",
  async () => {
    const { kinds, violations } = await runCorruption({ seed: 1, runs: 1, keys: 600, progress });
    expect(violations).toEqual([]);
    expect(kinds.length).toBeGreaterThanOrEqual(40);
    // Which file of another copy or store is taken decides; of all others it is known.
    const opened = kinds.filter(
      ({ kind, opening }) => opening === 0 && !kind.startsWith("one file"),
    );
    expect(opened.map(({ kind }) => kind).toSorted()).toEqual([
      ".log garbage added",
      ".log tail cut after a crash",
      "ANCHOR deleted",
      "ANCHOR of a second before",
      "LOCK, LOG and LOG.old garbage",
      "nothing (the control)",
      "rolled back to an older copy with its ANCHOR",
    ]);
    const earlier = kinds.filter((kind) => kind.earlier > 0).map(({ kind }) => kind);
    expect(earlier).toContain("rolled back to an older copy with its ANCHOR");
  },
  2 * MINUTE,
);

test(
  "a store that does not look for gaps in its write numbers is found out",
  async () => {
    vi.mocked(markers.checkMarkers).mockImplementation(async (_, database) => {
      const [newest] = await database
        .iterator({ gte: Uint8Array.of(0, 2), lt: Uint8Array.of(0, 3), reverse: true, limit: 1 })
        .all();
      const marker = newest && markers.parseMarker(...newest);
      return { oldest: marker?.oldest ?? 1, newest: marker ?? markers.CREATION };
    });
    const only = ".log one bit flipped";
    const report = await runCorruption({ seed: 1, runs: 6, keys: 600, only, progress });
    expect(report.violations[0]?.problem).toMatch(/silently lost or changed [1-9]/u);
  },
  2 * MINUTE,
);

test(
  "a store that does not look at its anchor is found out",
  async () => {
    vi.mocked(anchor.readAnchor).mockResolvedValue(undefined);
    const only = ".log tail cut";
    const report = await runCorruption({ seed: 1, runs: 2, keys: 600, only, progress });
    expect(report.violations[0]?.problem).toMatch(/silently lost or changed [1-9]/u);
  },
  2 * MINUTE,
);

test(
  "a store that does not check its tables is found out",
  async () => {
    vi.mocked(files.checkFiles).mockResolvedValue();
    const only = "MANIFEST deleted";
    const report = await runCorruption({ seed: 1, runs: 1, keys: 600, only, progress });
    expect(report.violations[0]?.problem).toContain("on opening");
  },
  2 * MINUTE,
);
