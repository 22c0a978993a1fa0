// SPDX-License-Identifier: Apache-2.0
/** Founding a space, and reading the founding record of one. */
import { decodeGenesis, encodeGenesis, genesisSigningInput } from "@ctxmesh/codec";
import type { SignedRecord } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { MeshError, fromHex, parseDeviceKey, parseSpaceId, toHex } from "@ctxmesh/model";
import type { DeviceKey, DeviceSigner, RandomSource, SignatureVerifier } from "@ctxmesh/model";
import { deriveSpace } from "./derive.ts";
import type { Space } from "./space.ts";

const foundedBy = (record: SignedRecord): Space => {
  const genesis = decodeGenesis(record.body);
  const id = parseSpaceId(toHex(sha256(record.body)));
  return deriveSpace({ id, genesis, genesisRecord: record }, []);
};

/** Founds a space. Throws `FORMAT_INVALID` for a name or creators that no one could read back. */
export function createSpace(options: {
  /** 1 to 100 characters, no control characters. */
  readonly name: string;
  /** Signs; is the first creator. */
  readonly creator: DeviceSigner;
  /** More of them, `LIMITS.creators` in all: fixed for good, they can't be revoked. */
  readonly creators?: readonly DeviceKey[];
  /** Unix milliseconds. */
  readonly now: number;
  readonly random: RandomSource;
}): Space {
  const creator = parseDeviceKey(toHex(options.creator.publicKey));
  const body = encodeGenesis({
    name: options.name,
    creators: [creator, ...(options.creators ?? []).filter((key) => key !== creator)],
    createdAt: options.now,
    nonce: options.random.bytes(16),
  });
  return foundedBy({ body, signature: options.creator.sign(genesisSigningInput(body)) });
}

/** The space of an untrusted founding record, without acts. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED` or `SIGNATURE_INVALID`. */
export function openSpace(record: SignedRecord, verifier: SignatureVerifier): Space {
  const space = foundedBy(record);
  const creator = fromHex(space.genesis.creators[0] ?? "");
  if (!verifier.verify(creator, genesisSigningInput(record.body), record.signature)) {
    throw new MeshError(
      "SIGNATURE_INVALID",
      "the signature of the space's genesis does not verify",
    );
  }
  return space;
}
