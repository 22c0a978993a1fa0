// SPDX-License-Identifier: Apache-2.0
/** The keys of a hub, the trust root that pins them, and a space in which it may receive. */
import {
  createDeviceSigner,
  createDeviceVerifier,
  createSigner,
  generatePrivateKey,
} from "@ctxmesh/crypto";
import type { SealKeys } from "@ctxmesh/hub";
import { createTrustRoot } from "@ctxmesh/ledger";
import type { TrustRoot } from "@ctxmesh/ledger";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import { createSeededRandom } from "@ctxmesh/testing";

export const START_MS: number = Date.UTC(2026, 0, 1);
export const HUB_SEED: Uint8Array = new Uint8Array(32).fill(1);
export const hubDevice = createDeviceSigner(HUB_SEED);
export const writerDevice = createDeviceSigner(new Uint8Array(32).fill(2));
export const verifier = createDeviceVerifier();

const DAY_MS = 86_400_000;
const ORIGIN = "log.test/space";
const random = createSeededRandom(2026);
const [snapshot, ed25519, mldsa44] = [
  generatePrivateKey("ML-DSA-65-Ed25519", random),
  generatePrivateKey("Ed25519", random),
  generatePrivateKey("ML-DSA-44", random),
];

export const sealKeys: SealKeys = {
  signer: createSigner(snapshot),
  log: {
    origin: ORIGIN,
    signers: { ed25519: createSigner(ed25519), mldsa44: createSigner(mldsa44) },
  },
};

/** A space with grants for the hub and one writer; another `seed` makes another space. `nowMs` is when it is founded. */
export function spaceOf(seed = 1, nowMs: number = START_MS): Space {
  const founded = createSpace({
    name: "plant",
    creator: hubDevice,
    now: nowMs,
    random: createSeededRandom(seed),
  });
  return (["hub", "agent"] as const).reduce(
    (space, service) =>
      issueGrant(space, hubDevice, {
        device: parseDeviceKey(toHex((service === "hub" ? hubDevice : writerDevice).publicKey)),
        service,
        role: "write",
        notBefore: nowMs - DAY_MS,
      }),
    founded,
  );
}

/** A trust root that pins the keys above for one space. */
export const rootFor = (space: Space, expires: number = START_MS + DAY_MS): TrustRoot =>
  createTrustRoot({
    version: 1,
    issued: 0,
    spaces: [space.id],
    expires,
    keys: [{ role: "snapshot", key: snapshot }],
    logs: [{ origin: ORIGIN, ed25519, mldsa44 }],
  });
