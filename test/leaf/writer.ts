// SPDX-License-Identifier: Apache-2.0
/** A device that writes batches and keeps nothing; and the other end of a leaf's link. */
import { encodeBatch, encodeBody, encodeHeader, headerSigningInput } from "@ctxmesh/codec";
import { createDeviceSigner, createDeviceVerifier, sha256 } from "@ctxmesh/crypto";
import { encodeFrame } from "@ctxmesh/facts";
import {
  fromHex,
  hlcFromMs,
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type { Channel, DeviceKey, HeaderHash, Hlc, SpaceId } from "@ctxmesh/model";
import { systemRandom } from "@ctxmesh/service";
import { silentLogger } from "@ctxmesh/testing";
import { createLinkServer, leafPsk } from "@ctxmesh/transport-tcp";
import type { Leaf } from "./program.ts";

/** The space of these tests. */
export const SPACE: SpaceId = parseSpaceId("5a".repeat(32));
const DOC = parseDocumentName("a");

/** Writes one fact for each batch, to the document `a`. */
export class Writer {
  readonly device: DeviceKey;
  readonly incarnation: ReturnType<typeof parseIncarnationId> = parseIncarnationId(
    toHex(systemRandom.bytes(16)),
  );
  seq = 0;
  readonly #signer: ReturnType<typeof createDeviceSigner>;
  readonly #space: SpaceId;
  #prev: HeaderHash | null = null;
  #hlc = hlcFromMs(Date.now());

  constructor(seed: number, space: SpaceId = SPACE) {
    this.#signer = createDeviceSigner(new Uint8Array(32).fill(seed));
    this.#space = space;
    this.device = parseDeviceKey(toHex(this.#signer.publicKey));
  }

  /** The next batch. */
  put(key: string, valueJson: string): Uint8Array {
    const from = this.seq;
    this.seq++;
    this.#hlc = (this.#hlc + 1) as Hlc;
    const records = [{ key, valueJson, seq: this.seq, hlc: this.#hlc }];
    const body = encodeBody(encodeFrame({ from, to: this.seq, records }));
    const facts = { doc: DOC, gen: 0, kind: "facts" as const, from, to: this.seq, keyId: null };
    const headerBytes = encodeHeader({
      space: this.#space,
      replica: this.device,
      incarnation: this.incarnation,
      seq: this.seq,
      prev: this.#prev,
      hlc: this.#hlc,
      epoch: 0,
      deps: [],
      client: 0,
      sections: [{ ...facts, bodyHash: sha256(body), bodyLen: body.length }],
    });
    this.#prev = parseHeaderHash(toHex(sha256(headerBytes)));
    const signature = this.#signer.sign(headerSigningInput(headerBytes));
    return encodeBatch({ headerBytes, signature, bodies: [body] });
  }
}

/** A listener that is a leaf's parent. */
export interface Parent extends AsyncDisposable {
  /** Those of the leaf, in the order in which it came. */
  readonly channels: readonly Channel[];
}

/** Starts a listener, and makes it the parent of a leaf from its next start on. */
export async function startParent(leaf: Leaf): Promise<Parent> {
  const device = createDeviceSigner(new Uint8Array(32).fill(3));
  const secret = systemRandom.bytes(32);
  const channels: Channel[] = [];
  const server = createLinkServer({
    host: "127.0.0.1",
    port: 0,
    secret,
    device,
    space: SPACE,
    verifier: createDeviceVerifier(),
    random: systemRandom,
    logger: silentLogger,
    isMember: () => true,
  });
  await server.start((channel) => channels.push(channel));
  leaf.configure(SPACE, {
    device: toHex(device.publicKey),
    address: new URL(server.addresses()[0] ?? "").host,
    psk: toHex(leafPsk(secret, fromHex(leaf.device))),
  });
  return { channels, [Symbol.asyncDispose]: async () => server.stop() };
}
