// SPDX-License-Identifier: Apache-2.0
/** The devices of a fuzzed space, with real signatures or with quick ones. */
import { createDeviceSigner, createDeviceVerifier, sha256 } from "@ctxmesh/crypto";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import type { DeviceKey, DeviceSigner, SignatureVerifier } from "@ctxmesh/model";
import { START_MS, DAY_MS } from "../../test/attacks/support/forge.ts";
import { foundSpace } from "../../test/attacks/support/membership.ts";
import type { Space } from "../../test/attacks/support/membership.ts";

/** A member of the space, or none. */
export interface Member {
  readonly key: DeviceKey;
  readonly signer: DeviceSigner;
}

/** A space and who is in it. */
export interface Party {
  readonly space: Space;
  readonly verifier: SignatureVerifier;
  /** Whoever writes valid batches: one manager, two writers, one appender. */
  readonly sources: readonly Member[];
  /** Members whose chains are made by hand: a writer and an appender. */
  readonly forgers: readonly Member[];
  /** The device of the replica that is fuzzed. */
  readonly target: Member;
  /** All of them, a reader, and a stranger. */
  readonly everybody: readonly Member[];
  readonly creator: Member;
  /** Private key of an invite, and its public key. */
  readonly inviteSeed: Uint8Array;
  readonly inviteKey: DeviceKey;
}

/**
 * Quick stand-ins for Ed25519: a signature is a hash of key and message, twice. It is as wrong as a real
 * one for any other message or key.
 */
const quickSignature = (key: Uint8Array, message: Uint8Array): Uint8Array => {
  const hash = sha256(key, message);
  return Uint8Array.from([...hash, ...hash]);
};

const quickSigner = (n: number): DeviceSigner => {
  const publicKey = new Uint8Array(32).fill(n);
  return { publicKey, sign: (message) => quickSignature(publicKey, message) };
};

const QUICK_VERIFIER: SignatureVerifier = {
  verify: (key, message, signature) =>
    Buffer.compare(quickSignature(key, message), signature) === 0,
};

/** The space and its members, always the same. */
export function createParty(real: boolean): Party {
  const members = Array.from({ length: 10 }, (_, n): Member => {
    const signer = real ? createDeviceSigner(new Uint8Array(32).fill(n + 1)) : quickSigner(n + 1);
    return { signer, key: parseDeviceKey(toHex(signer.publicKey)) };
  });
  const [creator, ...rest] = members;
  if (creator === undefined) throw new Error("no members");
  const roles = ["manage", "write", "write", "append", "write", "append", "write", "read"] as const;
  const space = foundSpace(
    creator.signer,
    START_MS,
    1,
    roles.flatMap((role, i) =>
      rest[i] === undefined ? [] : [{ device: rest[i].key, role, notBefore: START_MS - DAY_MS }],
    ),
  );
  const inviteSeed = new Uint8Array(32).fill(99);
  const target = rest[6];
  if (target === undefined) throw new Error("no target");
  return {
    space,
    verifier: real ? createDeviceVerifier() : QUICK_VERIFIER,
    sources: rest.slice(0, 4),
    forgers: rest.slice(4, 6),
    target,
    everybody: rest,
    creator,
    inviteSeed,
    inviteKey: parseDeviceKey(toHex(createDeviceSigner(inviteSeed).publicKey)),
  };
}
