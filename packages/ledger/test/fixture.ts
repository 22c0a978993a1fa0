// SPDX-License-Identifier: Apache-2.0
/** A sealed, logged space with real keys, as a hub would make it. */
import { canonicalJson, encodeHeader, headerSigningInput } from "@ctxmesh/codec";
import {
  createDeviceSigner,
  createSigner,
  generatePrivateKey,
  generateSeed,
  sha256,
  toPublicKey,
} from "@ctxmesh/crypto";
import type { PrivateKey, Signer } from "@ctxmesh/crypto";
import {
  hlcFromMs,
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import type { DeviceSigner, IncarnationId, SpaceId } from "@ctxmesh/model";
import { createMemoryStore, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import {
  buildSnapshot,
  createTrustRoot,
  openLog,
  sealSnapshot,
  snapshotEntry,
  sortFrontier,
} from "@ctxmesh/ledger";
import type {
  Bundle,
  FrontierHead,
  LogSigners,
  SignedHeader,
  TrustRoot,
  TrustRootDraft,
} from "@ctxmesh/ledger";

/** The code of the `MeshError` that an action throws, or what happened instead. */
export function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return error instanceof MeshError ? error.code : String(error);
  }
  return "no error";
}

/** The codes with which malformed input is refused. */
export const MALFORMED = /^(?:FORMAT_INVALID|INPUT_INVALID|LIMIT_EXCEEDED)$/u;

export const NOW = 1_790_000_000_000;
export const ORIGIN = "log.ctxmesh.test/space";
export const random = createSeededRandom(2026);
export const spaceId: SpaceId = parseSpaceId("5a".repeat(32));
export const document = parseDocumentName("line-2/press-7");

export const snapshotKey: PrivateKey = generatePrivateKey("ML-DSA-65-Ed25519", random);
export const logKeys: { ed25519: PrivateKey; mldsa44: PrivateKey } = {
  ed25519: generatePrivateKey("Ed25519", random),
  mldsa44: generatePrivateKey("ML-DSA-44", random),
};
export const logSigners: LogSigners = {
  ed25519: createSigner(logKeys.ed25519),
  mldsa44: createSigner(logKeys.mldsa44),
};

/** The key that signs trust roots. */
export const rootKey: PrivateKey = generatePrivateKey("ML-DSA-44-Ed25519", random);
export const rootSigner: Signer = createSigner(rootKey);

/** The trust root that pins all of the above. */
export const trustRoot = (changes: Partial<TrustRootDraft> = {}): TrustRoot =>
  createTrustRoot({
    version: 1,
    issued: NOW - 86_400_000,
    expires: NOW + 86_400_000,
    spaces: [spaceId],
    keys: [
      { role: "root", key: toPublicKey(rootKey) },
      { role: "snapshot", key: toPublicKey(snapshotKey) },
    ],
    logs: [
      {
        origin: ORIGIN,
        ed25519: toPublicKey(logKeys.ed25519),
        mldsa44: toPublicKey(logKeys.mldsa44),
      },
    ],
    ...changes,
  });

/** The signed header of a device's first batch, and the frontier head that names it. */
export function firstHeader(
  device: DeviceSigner,
  space: SpaceId = spaceId,
  incarnation: IncarnationId = parseIncarnationId(toHex(random.bytes(16))),
): { head: FrontierHead; signed: SignedHeader } {
  const replica = parseDeviceKey(toHex(device.publicKey));
  const header = encodeHeader({
    space,
    replica,
    incarnation,
    seq: 1,
    prev: null,
    hlc: hlcFromMs(NOW),
    epoch: 0,
    deps: [],
    client: 0,
    sections: [
      {
        doc: document,
        gen: 0,
        kind: "facts",
        from: 0,
        to: 1,
        bodyHash: random.bytes(32),
        bodyLen: 10,
        keyId: null,
      },
    ],
  });
  return {
    head: { replica, incarnation, seq: 1, hash: parseHeaderHash(toHex(sha256(header))) },
    signed: { header, signature: device.sign(headerSigningInput(header)) },
  };
}

/** What a test may get wrong on purpose. */
export interface BundleChanges {
  readonly signer?: PrivateKey;
  readonly space?: SpaceId;
  readonly leaves?: readonly string[];
  readonly headers?: readonly ReturnType<typeof firstHeader>[];
  readonly logSigners?: LogSigners;
  readonly origin?: string;
}

/** The bundle of a small sealed space: three facts of two devices, logged as entry 2 of 3. */
export async function makeBundle(changes: BundleChanges = {}): Promise<Bundle> {
  const devices = [1, 2].map(() => createDeviceSigner(generateSeed(random)));
  const space = changes.space ?? spaceId;
  const chains = changes.headers ?? devices.map((device) => firstHeader(device, space));
  const leaves = chains.slice(0, 2).map(({ head }, i) =>
    canonicalJson({
      doc: document,
      key: "temperature",
      writer: head.replica,
      incarnation: head.incarnation,
      seq: 1,
      hlc: hlcFromMs(NOW + i),
      value: 20.5 + i,
      confidence: 0.9,
    }),
  );
  const snapshot = buildSnapshot(changes.leaves ?? leaves, random);
  const order = sortFrontier(chains.map(({ head }) => head));
  const envelope = sealSnapshot({
    signer: createSigner(changes.signer ?? snapshotKey),
    snapshot,
    hub: parseDeviceKey(toHex(devices[0]?.publicKey ?? new Uint8Array(32))),
    space,
    sequence: 1,
    previous: null,
    frontier: chains.map(({ head }) => head),
    policyEpoch: 0,
    asOf: hlcFromMs(NOW),
    sealedAt: NOW,
  });
  const log = await openLog({
    store: createMemoryStore(),
    prefix: new Uint8Array(0),
    origin: changes.origin ?? ORIGIN,
    signers: changes.logSigners ?? logSigners,
    clock: createVirtualClock(NOW),
  });
  await log.append(snapshotEntry(new Uint8Array(1)));
  await log.append(snapshotEntry(envelope));
  await log.append(snapshotEntry(new Uint8Array(2)));
  return {
    leaves: snapshot.leaves,
    envelope,
    proof: await log.proof(1),
    headers: order.map(
      (head) => (chains.find((chain) => chain.head === head) as (typeof chains)[number]).signed,
    ),
  };
}
