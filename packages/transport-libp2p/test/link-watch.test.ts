// SPDX-License-Identifier: Apache-2.0
import { networkInterfaces } from "node:os";
import { generateKeyPair } from "@libp2p/crypto/keys";
import type { Libp2p } from "@libp2p/interface";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Discovery } from "../src/discovery.ts";
import { LinkWatch } from "../src/link-watch.ts";
import type { Services } from "../src/node.ts";
import type { Supervisor } from "../src/supervisor.ts";
import { recordingLogger } from "./mesh.ts";

/** A machine whose addresses and clocks are set. */
const newMachine = (): {
  state: { addresses: string; offsetMs: number };
  watch: LinkWatch;
} => {
  const state = { addresses: "eth0 192.0.2.1/24", offsetMs: 1_700_000_000_000 };
  const watch = new LinkWatch({
    addresses: () => state.addresses,
    offsetMs: () => state.offsetMs,
  });
  return { state, watch };
};

describe("the watch of a machine's links", () => {
  test("says once that an address came, went or moved to another interface", () => {
    const { state, watch } = newMachine();
    expect(watch.changed()).toBe(false);
    for (const addresses of ["", "eth0 192.0.2.1/24", "wlan0 192.0.2.1/24"]) {
      state.addresses = addresses;
      expect([watch.changed(), watch.changed()]).toEqual([true, false]);
    }
  });

  test("says once that the machine slept, or that its clock was set, either way", () => {
    const { state, watch } = newMachine();
    for (const jumpMs of [5_001, 8 * 3_600_000, -3_600_000]) {
      state.offsetMs += jumpMs;
      expect([watch.changed(), watch.changed()]).toEqual([true, false]);
    }
  });

  test("is not alarmed by a clock that is slewed, however far it gets in the end", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -5_000, max: 5_000 })), (steps) => {
        const { state, watch } = newMachine();
        for (const step of steps) {
          state.offsetMs += step;
          expect(watch.changed()).toBe(false);
        }
      }),
    );
  });

  test("of this machine finds nothing new where nothing happened", () => {
    expect(Object.keys(networkInterfaces()).length).toBeGreaterThan(0);
    const watch = new LinkWatch();
    expect([watch.changed(), watch.changed()]).toEqual([false, false]);
  });
});

test("a machine that wakes asks all connections for a sign of life, dials who is missing, and searches the local network", async () => {
  const { state, watch } = newMachine();
  const calls: string[] = [];
  const node = {
    services: { local: { ask: () => calls.push("search"), tick: () => undefined } },
  };
  const supervisor = { nudge: () => calls.push("dial") };
  const discovery = new Discovery(node as unknown as Libp2p<Services>, {
    self: "00".repeat(32),
    privateKey: await generateKeyPair("Ed25519"),
    isMember: () => true,
    isConnected: () => false,
    supervisor: supervisor as unknown as Supervisor,
    memory: undefined,
    onLinks: () => calls.push("probe"),
    links: watch,
    logger: recordingLogger(),
  });
  discovery.tick([], []);
  expect(calls).toEqual([]);
  state.offsetMs += 3_600_000;
  discovery.tick([], []);
  expect(calls.toSorted()).toEqual(["dial", "probe", "search"]);
  discovery.tick([], []);
  expect(calls.length).toBe(3);
});
