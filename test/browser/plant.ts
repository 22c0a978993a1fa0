// SPDX-License-Identifier: Apache-2.0
/** A space with a hub, a writer, and an invite for pages. */
import { join } from "node:path";
import { createDeviceSigner, createSigner, generatePrivateKey } from "@ctxmesh/crypto";
import { createHub } from "@ctxmesh/hub";
import type { Hub, SealKeys } from "@ctxmesh/hub";
import {
  createSpace,
  encodeInvite,
  encodeSpaceFile,
  issueGrant,
  issueInvite,
} from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import type { DeviceKey } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import type { NodeDeps } from "@ctxmesh/service";
import { silentLogger } from "@ctxmesh/testing";

const DAY_MS = 86_400_000;
const now = systemClock.now();
const HUB_SEED: Uint8Array = new Uint8Array(32).fill(1);
const INVITE_SEED = new Uint8Array(32).fill(3);
export const WRITER_SEED: Uint8Array = new Uint8Array(32).fill(2);
export const hubDevice = createDeviceSigner(HUB_SEED);
export const deps: NodeDeps = { clock: systemClock, random: systemRandom, logger: silentLogger };

const keyOf = (seed: Uint8Array): DeviceKey =>
  parseDeviceKey(toHex(createDeviceSigner(seed).publicKey));

/** A space with a grant for a device, which may write. */
const granting = (before: Space, device: DeviceKey, service: "agent" | "hub" = "agent"): Space =>
  issueGrant(before, hubDevice, { device, service, role: "write", notBefore: now - DAY_MS, now });

const founded = createSpace({
  name: "plant",
  creator: hubDevice,
  now: now - DAY_MS,
  random: systemRandom,
});
export const space: Space = issueInvite(
  granting(granting(founded, keyOf(HUB_SEED), "hub"), keyOf(WRITER_SEED)),
  hubDevice,
  { key: keyOf(INVITE_SEED), service: "agent", role: "write", now, notAfter: now + DAY_MS },
);

/** The space with a grant for a page's device as well. */
export const spaceFor = (device: string): Space => granting(space, parseDeviceKey(device));
/** The same as the text of a file. */
export const fileFor = (device: string): string => encodeSpaceFile(spaceFor(device));

/** The text of the file of another space. */
export const otherSpaceFile = (): string =>
  encodeSpaceFile(createSpace({ name: "other", creator: hubDevice, now, random: systemRandom }));

/** The token of the invite, which names the hub at an address. */
export const inviteOf = (address: string): string =>
  encodeInvite(space, { seed: INVITE_SEED, contacts: [{ address, device: keyOf(HUB_SEED) }] });

function createSealKeys(): SealKeys {
  const [snapshot, ed25519, mldsa44] = (["ML-DSA-65-Ed25519", "Ed25519", "ML-DSA-44"] as const).map(
    (algorithm) => createSigner(generatePrivateKey(algorithm, systemRandom)),
  );
  if (snapshot === undefined || ed25519 === undefined || mldsa44 === undefined) throw new Error();
  return { signer: snapshot, log: { origin: "log.test/space", signers: { ed25519, mldsa44 } } };
}

/** A hub in a folder that can be started again and again: at the same port, with the same store. */
export class Plant {
  readonly #folder: string;
  readonly #seal = createSealKeys();
  #port = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Where the hub listens, once it was started. */
  get url(): string {
    return `ws://127.0.0.1:${String(this.#port)}`;
  }

  async start(): Promise<Hub & AsyncDisposable> {
    const hub = await createHub(
      {
        version: "0.0.0",
        space,
        deviceSeed: HUB_SEED,
        storePath: join(this.#folder, "hub"),
        socketPath: join(this.#folder, "hub.sock"),
        listen: { host: "127.0.0.1", port: this.#port },
        seal: this.#seal,
      },
      deps,
    );
    this.#port = Number(new URL(hub.addresses()[0] ?? "").port);
    return Object.assign(hub, { [Symbol.asyncDispose]: async () => hub.stop() });
  }
}
