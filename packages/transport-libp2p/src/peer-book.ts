// SPDX-License-Identifier: Apache-2.0
/**
 * What members say about where they are, signed by themselves (libp2p RFC 0003, peer records): handed on to others, and
 * kept across restarts.
 *
 * A list of them is `(u16 big-endian length || signed envelope)*`, the one met last first.
 */
import { createHash } from "node:crypto";
import type { Logger } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { PeerId } from "@libp2p/interface";
import { peerIdFromPublicKey } from "@libp2p/peer-id";
import { PeerRecord, RecordEnvelope } from "@libp2p/peer-record";
import type { Multiaddr } from "@multiformats/multiaddr";
import { dialable, deviceOf } from "./identity.ts";

const LENGTH_BYTES = 2;
/** Envelopes of others that are told on at once. */
export const MAX_NEWS = 8;
/** The longest list: of records with few addresses it holds all. */
export const MAX_LIST_BYTES = 131_072;

interface Known {
  /** The order of a device's records; by its clock, as the library does it. */
  readonly seq: bigint;
  readonly envelope: Uint8Array;
  /** Dialable, sorted, with the id. */
  readonly addresses: readonly Multiaddr[];
  /** The same as text. */
  readonly text: string;
}

/** What a book needs to know. */
export interface PeerBookOptions {
  /** Our own device key, hex. */
  readonly self: string;
  readonly isMember: (device: string) => boolean;
  /** Called with the addresses of a device when they are new. */
  readonly onAddresses: (device: string, addresses: readonly Multiaddr[]) => void;
  readonly logger: Logger;
}

/** The newest record of each member that was met or heard of, `LIMITS.knownPeers` of them. */
export class PeerBook {
  readonly #options: PeerBookOptions;
  /** By device, the one met last at the end. */
  readonly #known = new Map<string, Known>();
  /** Whose addresses are news that were not told on yet. */
  readonly #fresh = new Set<string>();
  #changes = 0;

  constructor(options: PeerBookOptions) {
    this.#options = options;
  }

  /** Grows whenever what {@link encode} returns says something new. */
  get changes(): number {
    return this.#changes;
  }

  /** Takes the record that a connected peer has just given of itself: it counts whatever its number. */
  async met(peerId: PeerId, envelope: Uint8Array): Promise<void> {
    const device = deviceOf(peerId);
    const record = await this.#open(envelope);
    if (device === undefined || record?.device !== device) return;
    this.#put(device, record.known);
  }

  /** Takes what a connected peer says: of itself, as above, and of others, as below. */
  async takeNewsFrom(peerId: PeerId, list: Uint8Array): Promise<void> {
    for (const envelope of readList(list)) await this.met(peerId, envelope);
    await this.takeIn(list);
  }

  /** Takes the records of a list that are of members, well signed, and newer than those we have; others are passed over. */
  async takeIn(list: Uint8Array): Promise<void> {
    for (const envelope of readList(list)) {
      // A peer signs anew for each connection; what says the same is not worth another look.
      const record = await this.#open(envelope, (device, { seq, text }) => {
        const before = this.#known.get(device);
        return before === undefined || (before.seq < seq && before.text !== text);
      });
      if (record !== undefined) this.#put(record.device, record.known);
    }
  }

  /** The list of the records of those who are members now, without one of them (hex) if so wished. */
  encode(except?: string): Uint8Array {
    const envelopes = [...this.#known]
      .filter(([device]) => device !== except && this.#options.isMember(device))
      .map(([, { envelope }]) => envelope);
    return encodeList(envelopes.toReversed(), MAX_LIST_BYTES);
  }

  /** The envelopes that are news since the last call, `MAX_NEWS` of them; the rest is for the next one. */
  takeNews(): readonly Uint8Array[] {
    const news: Uint8Array[] = [];
    for (const device of this.#fresh) {
      if (news.length >= MAX_NEWS) break;
      this.#fresh.delete(device);
      const known = this.#known.get(device);
      if (known !== undefined && this.#options.isMember(device)) news.push(known.envelope);
    }
    return news;
  }

  /** 32 bytes, the same for all who know the same addresses of the same members; `own` are our own, where we are one. */
  digest(own?: readonly Multiaddr[]): Uint8Array {
    const rows = [...this.#known]
      .filter(([device]) => this.#options.isMember(device))
      .map(([device, { text }]) => `${device} ${text}`);
    if (own !== undefined) rows.push(`${this.#options.self} ${textOf(own)}`);
    return createHash("sha256").update(rows.toSorted().join("\n")).digest();
  }

  #put(device: string, known: Known): void {
    const before = this.#known.get(device);
    this.#known.delete(device);
    this.#known.set(device, known);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= LIMITS.knownPeers) break;
      this.#known.delete(oldest);
      this.#fresh.delete(oldest);
    }
    if (before?.text === known.text) return;
    this.#changes += 1;
    this.#fresh.delete(device);
    this.#fresh.add(device);
    this.#options.onAddresses(device, known.addresses);
  }

  /** Reads and verifies an envelope; undefined for one that is of no use to us, which is asked before signatures, as those cost. */
  async #open(
    envelope: Uint8Array,
    isWanted: (device: string, known: Known) => boolean = () => true,
  ): Promise<{ readonly device: string; readonly known: Known } | undefined> {
    if (envelope.length > LIMITS.peerRecordBytes) return undefined;
    try {
      const opened = RecordEnvelope.createFromProtobuf(envelope);
      if (Buffer.compare(opened.marshal(), envelope) !== 0) throw new Error("not in its one form");
      const device = deviceOf(peerIdFromPublicKey(opened.publicKey));
      const { self, isMember } = this.#options;
      if (device === undefined || device === self || !isMember(device)) return undefined;
      const record = PeerRecord.createFromProtobuf(opened.payload);
      if (deviceOf(record.peerId) !== device) throw new Error("signed by another device");
      const addresses = dialable(record.multiaddrs, record.peerId);
      const text = textOf(record.multiaddrs);
      const known = { seq: record.seqNumber, envelope, addresses, text };
      if (!isWanted(device, known)) return undefined;
      if (!(await opened.validate(PeerRecord.DOMAIN))) throw new Error("not well signed");
      return { device, known };
    } catch (error) {
      this.#options.logger.warn("peers.record-refused", { reason: String(error) });
      return undefined;
    }
  }
}

const textOf = (addresses: readonly Multiaddr[]): string => dialable(addresses).join(" ");

/** A list of these, as many as there is room for. */
export function encodeList(envelopes: readonly Uint8Array[], maxBytes: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for (const envelope of envelopes) {
    bytes += LENGTH_BYTES + envelope.length;
    if (bytes > maxBytes) break;
    parts.push(Uint8Array.of(envelope.length >> 8, envelope.length & 0xff), envelope);
  }
  return Buffer.concat(parts);
}

/** The envelopes of a list. Throws `PROTOCOL_VIOLATION` for one that is cut short or too long. */
function* readList(list: Uint8Array): Generator<Uint8Array, void, undefined> {
  if (list.length > MAX_LIST_BYTES) throw malformed();
  for (let at = 0; at < list.length;) {
    const length = (list[at] ?? 0) * 256 + (list[at + 1] ?? 0);
    const end = at + LENGTH_BYTES + length;
    if (length === 0 || end > list.length) throw malformed();
    yield list.subarray(at + LENGTH_BYTES, end);
    at = end;
  }
}

const malformed = (): MeshError =>
  new MeshError("PROTOCOL_VIOLATION", "a list of peers is malformed");
