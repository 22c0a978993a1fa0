// SPDX-License-Identifier: Apache-2.0
/** A space whose signatures are stubs: a signature repeats the first byte of the public key. */
import type { Policy } from "@ctxmesh/facts";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import type { DeviceKey, DeviceSigner, SignatureVerifier } from "@ctxmesh/model";
import { createSpace, issueGrant, setPolicy } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { createSeededRandom } from "@ctxmesh/testing";
import type { History } from "./history.ts";

/** When every history begins, Unix milliseconds. */
export const START_MS: number = Date.UTC(2026, 0, 1);
/** Devices that may retract. */
export const MANAGERS = 2;
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const CREATOR = 255;
const DAY_MS = 86_400_000;

/** The signer of device `n`. */
export function signerOf(n: number): DeviceSigner {
  const signature = new Uint8Array(SIGNATURE_BYTES).fill(n + 1);
  return { publicKey: new Uint8Array(KEY_BYTES).fill(n + 1), sign: () => signature };
}

/** The key of device `n`. */
export const keyOf = (n: number): DeviceKey => parseDeviceKey(toHex(signerOf(n).publicKey));

export const VERIFIER: SignatureVerifier = {
  verify: (publicKey, _, signature) => publicKey[0] === signature[0],
};

/** A space with a grant for each device, and the history's policy. */
export function spaceOf({ seed, devices, rules }: History): Space {
  const creator = signerOf(CREATOR - 1);
  const random = createSeededRandom(seed);
  let space = createSpace({ name: "oracle", creator, now: START_MS, random });
  for (let n = 0; n < devices; n++) {
    space = issueGrant(space, creator, {
      device: keyOf(n),
      service: "agent",
      role: n < MANAGERS ? "manage" : "append",
      notBefore: START_MS - DAY_MS,
    });
  }
  const policy: Policy = { epoch: 1, rules };
  return rules.length === 0 ? space : setPolicy(space, creator, policy);
}
