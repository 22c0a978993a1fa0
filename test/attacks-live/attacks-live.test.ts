// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: members and strangers that attack a mesh from within and from outside neither get in, nor keep honest batches from
 * arriving, nor take more memory than they may.
 * Method: the short form of `npm run attacks`: real libp2p and WebSockets on loopback, several nodes in each process. Latencies
 * are printed, and not judged.
 */
import { describe, expect, test, vi } from "vitest";
import { runEclipse } from "../../scripts/attacks/eclipse.ts";
import { runFloods } from "../../scripts/attacks/floods.ts";
import { runGossipAttack } from "../../scripts/attacks/gossip-attack.ts";

vi.setConfig({ testTimeout: 300_000 });

const MEGABYTE = 1_048_576;

describe("a mesh, half of which gossips and half of which pushes", () => {
  test("lets no stranger in, cuts who is silent or invalid, and delivers everything that is honest", async ({
    annotate,
  }) => {
    const report = await runGossipAttack("short");
    await annotate(JSON.stringify(report));
    expect(report.admitted).toBe(0);
    expect(report.written).toBeGreaterThan(0);
    expect(report.deliveredPercent).toBe(100);
    // The clock of the short form is too fast for a flood to use its budget up; the long form judges that.
    const judged = report.attackers.filter(({ kind }) => kind !== "flood");
    expect(judged.map(({ kind, metBy, cutBy }) => [kind, metBy > 0 && metBy === cutBy])).toEqual([
      ["silent", true],
      ["invalid", true],
      ["junk", true],
    ]);
  });
});

describe("a node with hostile peers alone", () => {
  test("gets everything by the hub, and names each of them", async ({ annotate }) => {
    const report = await runEclipse("short");
    await annotate(JSON.stringify(report));
    expect(report.named).toBe(report.hostile);
  });
});

describe("a granted device that floods another", () => {
  test("takes little of its memory for a while and none for ever, and honest peers are served meanwhile", async ({
    annotate,
  }) => {
    const reports = await runFloods("short");
    await annotate(JSON.stringify(reports));
    for (const { flood, growthBytes, leftBytes, written } of reports) {
      expect.soft(growthBytes, flood).toBeLessThan(64 * MEGABYTE);
      expect.soft(leftBytes, flood).toBeLessThan(5 * MEGABYTE);
      expect.soft(written, flood).toBeGreaterThan(0);
    }
  });
});
