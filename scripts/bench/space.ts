// SPDX-License-Identifier: Apache-2.0
/** Keys and a space for a benchmark. */
import { createDeviceSigner, generateSeed } from "@ctxmesh/crypto";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { systemClock, systemRandom } from "@ctxmesh/service";

/** A space and the seeds of the agents that may write in it. */
export interface BenchSpace {
  readonly space: Space;
  readonly seeds: readonly Uint8Array[];
}

/** Founds a space for some agents, and for hubs whose seeds come behind theirs. */
export function foundSpace(agents: number, hubs = 0): BenchSpace {
  const seeds = Array.from({ length: agents + hubs }, () => generateSeed(systemRandom));
  const signers = seeds.map((seed) => createDeviceSigner(seed));
  const [creator] = signers;
  if (creator === undefined) throw new Error("a space needs an agent");
  const now = systemClock.now();
  let space = createSpace({ name: "bench", creator, now, random: systemRandom });
  for (const [i, { publicKey }] of signers.entries()) {
    space = issueGrant(space, creator, {
      device: parseDeviceKey(toHex(publicKey)),
      service: i < agents ? "agent" : "hub",
      role: "write",
      notBefore: now - 1,
    });
  }
  return { space, seeds };
}
