// SPDX-License-Identifier: Apache-2.0
/**
 * Signatures of a run: real ones, or stubs that cost a hash. A stub is a keyed hash over key and message; the key is
 * known to nobody under simulation, so they can't be forged there.
 */
import {
  createDeviceSigner,
  createDeviceVerifier,
  createSigner,
  generatePrivateKey,
  sha256,
} from "@ctxmesh/crypto";
import type { Algorithm, PrivateKey, Signer } from "@ctxmesh/crypto";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import type { DeviceKey, DeviceSigner, SignatureVerifier } from "@ctxmesh/model";
import type { SealKeys } from "@ctxmesh/hub";
import { Dice } from "./dice.ts";

const SIGNATURE_BYTES = 64;
/** ML-DSA-65 and Ed25519. */
const COMPOSITE_BYTES = 3373;
const SECRET = sha256(new TextEncoder().encode("ctxmesh simulator: stub signatures"));

/** A device's key. */
export interface Identity {
  readonly device: DeviceKey;
  readonly signer: DeviceSigner;
}

/** How the devices of a run sign. */
export interface Signatures {
  readonly verifier: SignatureVerifier;
  /** The device of a name; the same for the same name and seed. */
  identity(name: string): Identity;
  /** The keys of a hub's seals and log. Keys and signatures of the log are always real: opening a log verifies them. */
  sealKeys(name: string): SealKeys;
}

function stubSignature(publicKey: Uint8Array, message: Uint8Array): Uint8Array {
  const half = sha256(SECRET, publicKey, message);
  const signature = new Uint8Array(SIGNATURE_BYTES);
  signature.set(half);
  signature.set(half, half.length);
  return signature;
}

const stubVerifier: SignatureVerifier = {
  verify(publicKey, message, signature) {
    if (publicKey.length !== 32 || signature.length !== SIGNATURE_BYTES) return false;
    return Buffer.compare(stubSignature(publicKey, message), signature) === 0;
  },
};

/** Made once for each name: making a key costs as much as simulating a second. */
const keys = new Map<string, PrivateKey>();
function keyOf(alg: Algorithm, name: string): PrivateKey {
  const id = `${alg} ${name}`;
  const known = keys.get(id) ?? generatePrivateKey(alg, new Dice(id));
  keys.set(id, known);
  return known;
}

const identityOf = (signer: DeviceSigner): Identity => ({
  signer,
  device: parseDeviceKey(toHex(signer.publicKey)),
});

/** A composite signer whose signatures are as long as real ones; real ones are randomised, so the log would differ from run to run. */
function stubSealSigner(name: string): Signer {
  const { alg, keyid, publicKey } = keyOf("ML-DSA-65-Ed25519", name);
  return {
    key: { alg, keyid, publicKey },
    sign(message) {
      const signature = new Uint8Array(COMPOSITE_BYTES);
      signature.set(stubSignature(publicKey, message));
      return signature;
    },
  };
}

/** The signatures of a run. */
export function createSignatures(seed: string, kind: "stub" | "real"): Signatures {
  const real = kind === "real";
  return {
    verifier: real ? createDeviceVerifier() : stubVerifier,
    identity(name) {
      const secret = sha256(new TextEncoder().encode(`${seed}/device/${name}`));
      if (real) return identityOf(createDeviceSigner(secret));
      return identityOf({
        publicKey: secret,
        sign: (message) => stubSignature(secret, message),
      });
    },
    sealKeys: (name) => ({
      signer: real ? createSigner(keyOf("ML-DSA-65-Ed25519", name)) : stubSealSigner(name),
      log: {
        origin: `log.example/${name}`,
        signers: {
          ed25519: createSigner(keyOf("Ed25519", name)),
          mldsa44: createSigner(keyOf("ML-DSA-44", name)),
        },
      },
    }),
  };
}
