// SPDX-License-Identifier: Apache-2.0
/** Who takes part: devices by number, and the space that grants some of them. The same in every process. */
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import type { DeviceKey, DeviceSigner } from "@ctxmesh/model";
import { createSeededRandom } from "@ctxmesh/testing";

/** What all processes must agree on. */
export interface Cast {
  readonly startMs: number;
  /** Numbers of the devices with a grant as an agent, and as a hub. */
  readonly agents: readonly number[];
  readonly hubs: readonly number[];
}

/** A device's Ed25519 seed. */
export function seedOf(n: number): Uint8Array {
  const seed = new Uint8Array(32).fill(7);
  new DataView(seed.buffer).setUint32(0, n + 1);
  return seed;
}

/** Attackers have numbers from here on. */
export const ATTACKERS = 100;

/** Whether a device is one that does as it should. */
export const isHonest = (n: number): boolean => n < ATTACKERS;

/** A device's signer. */
export const signerOf = (n: number): DeviceSigner => createDeviceSigner(seedOf(n));

/** A device's key. */
export const deviceOf = (n: number): DeviceKey => parseDeviceKey(toHex(signerOf(n).publicKey));

const CREATOR = 1_000_000;

/** The space of a cast. */
export function spaceOf({ startMs, agents, hubs }: Cast): Space {
  const creator = signerOf(CREATOR);
  const now = startMs - 10_000;
  const grants = [
    ...agents.map((n) => ({ n, service: "agent" as const })),
    ...hubs.map((n) => ({ n, service: "hub" as const })),
  ];
  return grants.reduce(
    (space, { n, service }) =>
      issueGrant(space, creator, {
        device: deviceOf(n),
        service,
        role: "write",
        notBefore: now,
      }),
    createSpace({ name: "attacks", creator, now, random: createSeededRandom(1) }),
  );
}
