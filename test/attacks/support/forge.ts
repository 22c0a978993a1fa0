// SPDX-License-Identifier: Apache-2.0
/** Batches made by hand: well-formed and well signed but for what is asked for. */
import { encodeBatch, encodeBody, encodeHeader, headerSigningInput } from "@ctxmesh/codec";
import type { Header, Section } from "@ctxmesh/codec";
import { createDeviceSigner, sha256 } from "@ctxmesh/crypto";
import { encodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import {
  fromHex,
  hlcFromMs,
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  toHex,
} from "@ctxmesh/model";
import type {
  DeviceKey,
  DeviceSigner,
  DocumentName,
  HeaderHash,
  Hlc,
  IncarnationId,
  SpaceId,
} from "@ctxmesh/model";
import { clientIdFrom } from "@ctxmesh/rich";

/** A device with its key in both forms. */
export interface Device {
  readonly key: DeviceKey;
  readonly signer: DeviceSigner;
}

/** Device number `n`, 0 to 255. */
export function deviceOf(n: number): Device {
  const signer = createDeviceSigner(new Uint8Array(32).fill(n));
  return { signer, key: parseDeviceKey(toHex(signer.publicKey)) };
}

export const START_MS: number = Date.UTC(2026, 0, 1);
export const DAY_MS = 86_400_000;
/** The document that most attacks are on, and one besides. */
export const DOC: DocumentName = parseDocumentName("line-2/press-7");
export const OTHER_DOC: DocumentName = parseDocumentName("line-2/log");

/** The clock `ms` milliseconds after the start. */
export const hlcAt = (ms: number): Hlc => hlcFromMs(START_MS + ms);

/** Incarnation number `n`. */
export const incarnationOf = (n: number): IncarnationId =>
  parseIncarnationId(n.toString(16).padStart(32, "0"));

/** A hash that no batch has; a greater number sorts behind a smaller one. */
export const unknownHash = (n = 0): HeaderHash =>
  parseHeaderHash(n.toString(16).padStart(8, "0").padStart(64, "f"));

/** The Yjs client id of an incarnation, by the rule that every replica checks. */
export const clientOf = (replica: DeviceKey, incarnation: IncarnationId): number =>
  clientIdFrom(sha256(fromHex(replica), fromHex(incarnation)));

/** One section, and what it carries. */
export interface SectionForgery extends Partial<Section> {
  /** Unpacked content of the body. */
  readonly payload?: Uint8Array;
  /** The body that the header names, instead of the packed payload. */
  readonly body?: Uint8Array;
  /** The body on the wire, when it is another one. */
  readonly sentBody?: Uint8Array;
}

/** What a batch is to be like. The default is a first batch of one fact. */
export interface Forgery {
  readonly device: Device;
  readonly space: SpaceId;
  readonly incarnation?: IncarnationId;
  readonly seq?: number;
  readonly prev?: HeaderHash | null;
  readonly hlc?: Hlc;
  readonly epoch?: number;
  readonly deps?: readonly HeaderHash[];
  readonly client?: number;
  readonly sections?: readonly SectionForgery[];
  /** The last word about the header's bytes, before they are signed. */
  readonly rewrite?: (header: Uint8Array) => Uint8Array;
  /** Makes the signature, instead of the device. */
  readonly sign?: (input: Uint8Array) => Uint8Array;
}

/** A batch made by hand. */
export interface Forged {
  readonly bytes: Uint8Array;
  readonly hash: HeaderHash;
  readonly headerBytes: Uint8Array;
  readonly signature: Uint8Array;
  readonly bodies: readonly Uint8Array[];
}

/** The incarnation in which attackers write unless said otherwise. */
export const INCARNATION: IncarnationId = incarnationOf(9);

/** A fact of seq 1 at millisecond 1. */
export const fact = (members: Partial<FactRecord> = {}): FactRecord => ({
  key: "forged",
  seq: 1,
  hlc: hlcAt(1),
  valueJson: "1",
  ...members,
});

/** A facts section of these records. */
export function factsOf(records: readonly FactRecord[], doc = DOC): SectionForgery {
  const from = (records[0]?.seq ?? 1) - 1;
  const to = records.at(-1)?.seq ?? 1;
  return { doc, from, to, payload: encodeFrame({ from, to, records }) };
}

/** A rich section of a V1 update that takes the clocks from 0 up to and without `to`. */
export const richOf = (update: Uint8Array, to: number, from = 0, doc = DOC): SectionForgery => ({
  doc,
  kind: "rich",
  from,
  to,
  payload: update,
});

const plain = (seq: number): SectionForgery =>
  factsOf([fact({ seq, hlc: hlcAt(seq), valueJson: String(seq) })]);

/** Makes a batch by hand. */
export function forge(forgery: Forgery): Forged {
  const { device, seq = 1, incarnation = INCARNATION } = forgery;
  const parts = (forgery.sections ?? [plain(seq)]).map(
    ({ payload, body, sentBody, ...members }) => {
      const named = body ?? encodeBody(payload ?? new Uint8Array());
      const section: Section = {
        doc: DOC,
        gen: 0,
        kind: "facts",
        from: 0,
        to: 1,
        bodyHash: sha256(named),
        bodyLen: named.length,
        keyId: null,
        ...members,
      };
      return { section, body: sentBody ?? named };
    },
  );
  const isRich = parts.some(({ section }) => section.kind === "rich");
  const header: Header = {
    space: forgery.space,
    replica: device.key,
    incarnation,
    seq,
    prev: forgery.prev ?? null,
    hlc: forgery.hlc ?? hlcAt(seq),
    epoch: forgery.epoch ?? 0,
    deps: forgery.deps ?? [],
    client: forgery.client ?? (isRich ? clientOf(device.key, incarnation) : 0),
    sections: parts.map(({ section }) => section),
  };
  const encoded = encodeHeader(header);
  const headerBytes = forgery.rewrite?.(encoded) ?? encoded;
  const sign = forgery.sign ?? device.signer.sign.bind(device.signer);
  const signature = sign(headerSigningInput(headerBytes));
  const bodies = parts.map(({ body }) => body);
  return {
    bytes: encodeBatch({ headerBytes, signature, bodies }),
    hash: parseHeaderHash(toHex(sha256(headerBytes))),
    headerBytes,
    signature,
    bodies,
  };
}

/** A chain of batches made by hand, one fact each. */
export function forgeChain(length: number, forgery: Forgery): Forged[] {
  const chain: Forged[] = [];
  for (let seq = 1; seq <= length; seq++) {
    chain.push(forge({ ...forgery, seq, prev: chain.at(-1)?.hash ?? null }));
  }
  return chain;
}
