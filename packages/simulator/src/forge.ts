// SPDX-License-Identifier: Apache-2.0
/** Batches made by hand: well-formed, and signed by whom one likes. */
import {
  decodeBatch,
  encodeBatch,
  encodeBody,
  encodeHeader,
  headerSigningInput,
} from "@ctxmesh/codec";
import type { Batch, Header } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { encodeFrame } from "@ctxmesh/facts";
import { parseDocumentName, parseHeaderHash, toHex } from "@ctxmesh/model";
import type {
  DeviceKey,
  DeviceSigner,
  Hlc,
  HeaderHash,
  IncarnationId,
  SpaceId,
} from "@ctxmesh/model";

/** A position of a chain, and what is said there. */
export interface ForgedFact {
  readonly space: SpaceId;
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
  readonly prev: HeaderHash | null;
  readonly hlc: Hlc;
  readonly doc: string;
  readonly key: string;
  readonly valueJson: string;
}

/** A batch and the hash of its header. */
export interface ForgedBatch {
  readonly bytes: Uint8Array;
  readonly hash: HeaderHash;
}

/** A batch with one fact, signed by `signer`, whoever it claims to be of. */
export function forgeBatch(fact: ForgedFact, signer: DeviceSigner): ForgedBatch {
  const { space, replica, incarnation, seq, prev, hlc, doc, key, valueJson } = fact;
  const frame = { from: seq - 1, to: seq, records: [{ key, seq, hlc, valueJson }] };
  const body = encodeBody(encodeFrame(frame));
  const header: Header = {
    space,
    replica,
    incarnation,
    seq,
    prev,
    hlc,
    epoch: 0,
    deps: [],
    client: 0,
    sections: [
      {
        doc: parseDocumentName(doc),
        gen: 0,
        kind: "facts",
        from: frame.from,
        to: frame.to,
        bodyHash: sha256(body),
        bodyLen: body.length,
        keyId: null,
      },
    ],
  };
  return signed(header, [body], signer);
}

function signed(header: Header, bodies: Batch["bodies"], signer: DeviceSigner): ForgedBatch {
  const headerBytes = encodeHeader(header);
  const signature = signer.sign(headerSigningInput(headerBytes));
  const bytes = encodeBatch({ headerBytes, signature, bodies });
  return { bytes, hash: parseHeaderHash(toHex(sha256(headerBytes))) };
}

/** Ways to spoil a batch of somebody else: none of what comes out may ever be applied. */
export const SPOILS = ["signature", "header", "stranger", "next"] as const;

/** The batch with a broken signature, with a header that was changed after it was signed, signed by somebody else, or a next one by somebody else. */
export function spoil(
  batch: Uint8Array,
  how: (typeof SPOILS)[number],
  forger: DeviceSigner,
): Uint8Array {
  const { header, headerBytes, signature, bodies } = decodeBatch(batch);
  switch (how) {
    case "signature": {
      const broken = Uint8Array.from(signature, (byte, i) => (i === 7 ? byte ^ 1 : byte));
      return encodeBatch({ headerBytes, signature: broken, bodies });
    }
    case "header": {
      const changed = encodeHeader({ ...header, hlc: (header.hlc + 1) as Hlc });
      return encodeBatch({ headerBytes: changed, signature, bodies });
    }
    case "stranger":
      return signed({ ...header, hlc: (header.hlc + 1) as Hlc }, bodies, forger).bytes;
    case "next": {
      const prev = parseHeaderHash(toHex(sha256(headerBytes)));
      const hlc = (header.hlc + 1) as Hlc;
      return signed({ ...header, seq: header.seq + 1, prev, hlc }, bodies, forger).bytes;
    }
  }
}
