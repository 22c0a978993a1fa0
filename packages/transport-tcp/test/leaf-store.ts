// SPDX-License-Identifier: Apache-2.0
/**
 * What a leaf keeps and how it judges, in as few words as possible; see `model-leaf.ts`.
 *
 * A leaf believes its parent who is a member, and verifies all else by itself: signatures, chains, hashes. So it knows no acts and no proofs, has
 * no void batches, holds nothing back, and asks for a chain again when it is to count again.
 */
import {
  decodeBatch,
  encodeBatch,
  encodeBody,
  encodeCbor,
  encodeHeader,
  headerSigningInput,
} from "@ctxmesh/codec";
import type { Batch } from "@ctxmesh/codec";
import { createDeviceSigner, createDeviceVerifier, sha256 } from "@ctxmesh/crypto";
import { encodeFrame } from "@ctxmesh/facts";
import {
  LIMITS,
  fromHex,
  hlcFromMs,
  hlcToMs,
  parseDeviceKey,
  parseHeaderHash,
} from "@ctxmesh/model";
import { parseIncarnationId, toHex } from "@ctxmesh/model";
import type {
  DeviceKey,
  DeviceSigner,
  DocumentName,
  HeaderHash,
  Hlc,
  IncarnationId,
  SpaceId,
} from "@ctxmesh/model";
import type { Roster } from "@ctxmesh/replica";
import type { Chain, ChainHead, ChainSeq } from "@ctxmesh/sync";

/** A batch that counts. */
export interface Stored extends ChainSeq {
  readonly bytes: Uint8Array;
  readonly hash: HeaderHash;
  readonly hlc: Hlc;
  readonly header: Batch["header"];
}

/** A chain as a map key. */
export const keyOf = ({ replica, incarnation }: Chain): string => replica + incarnation;
/** The digest of no roster. */
export const NO_RECORDS = new Uint8Array(16);
const verifier = createDeviceVerifier();

/** Whether bytes are equal. */
export const same = (a: Uint8Array, b: Uint8Array): boolean => toHex(a) === toHex(b);

/** What a leaf keeps. */
export class LeafStore {
  readonly space: SpaceId;
  readonly signer: DeviceSigner;
  readonly device: DeviceKey;
  readonly incarnation: IncarnationId;
  roster: Roster | undefined;
  /** All batches that count, in the order in which they came: that is a causal order, in which they are served. */
  log: Stored[] = [];
  readonly #heads = new Map<string, Stored>();
  /** Heads of others that no batch of ours names yet, by chain. */
  readonly #unnamed = new Map<string, HeaderHash>();
  readonly #factSeqs = new Map<DocumentName, number>();
  #hlc = 0 as Hlc;

  constructor(space: SpaceId, seed: Uint8Array, incarnation: Uint8Array) {
    this.space = space;
    this.signer = createDeviceSigner(seed);
    this.device = parseDeviceKey(toHex(this.signer.publicKey));
    this.incarnation = parseIncarnationId(toHex(incarnation));
  }

  /** The roster's records digest; zeros before there is one. */
  get records(): Uint8Array {
    return this.roster?.records ?? NO_RECORDS;
  }

  /** The chain that it writes. */
  get own(): Chain {
    return { replica: this.device, incarnation: this.incarnation };
  }

  head(chain: Chain): Stored | undefined {
    return this.#heads.get(keyOf(chain));
  }

  /** As they are told: half of each hash. */
  heads(): readonly ChainHead[] {
    return [...this.#heads.values()].map(({ replica, incarnation, seq, hash }) => ({
      replica,
      incarnation,
      seq,
      hash: hash.slice(0, 32),
    }));
  }

  /** SHA-256 over the CBOR of all heads by replica and incarnation; equal exactly when the same batches count. */
  frontierDigest(): Uint8Array {
    const sorted = [...this.#heads].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return sha256(
      encodeCbor(
        sorted.map(([, { replica, incarnation, seq, hash }]) => [
          fromHex(replica),
          fromHex(incarnation),
          seq,
          fromHex(hash),
        ]),
      ),
    );
  }

  /** The first half of it, as it is told. */
  digest(): Uint8Array {
    return this.frontierDigest().subarray(0, 16);
  }

  /** The first position of a chain that does not count. */
  limitOf({ replica, incarnation }: Chain): number {
    const limit = this.roster?.limits.find(
      (one) => one.replica === replica && one.incarnation === incarnation,
    );
    if (limit !== undefined) return limit.seq;
    const known = this.roster?.devices.find(({ device }) => device === replica);
    return known === undefined || known.revoked ? 1 : Number.POSITIVE_INFINITY;
  }

  /** Whether a header counts, by the roster alone. */
  #counts({ replica, incarnation, seq, hlc }: ChainSeq & { readonly hlc: Hlc }): boolean {
    if (seq >= this.limitOf({ replica, incarnation })) return false;
    const ms = hlcToMs(hlc);
    const grants = this.roster?.devices.find(({ device }) => device === replica)?.grants ?? [];
    return grants.some(
      ({ role, notBefore, notAfter }) => role !== "read" && notBefore <= ms && ms <= notAfter,
    );
  }

  /** Takes a roster over: what does not count by it goes, with all that is behind it in its chain. What we wrote stays, whatever it is worth to others. */
  adopt(roster: Roster): void {
    this.roster = roster;
    const all = this.log;
    this.log = [];
    this.#heads.clear();
    this.#unnamed.clear();
    for (const stored of all) {
      const isNext = stored.seq === (this.head(stored)?.seq ?? 0) + 1;
      if (isNext && (stored.replica === this.device || this.#counts(stored))) this.#append(stored);
    }
  }

  #append(stored: Stored): void {
    const { bytes: _, ...rest } = stored;
    this.log.push(stored);
    this.#heads.set(keyOf(stored), stored);
    if (stored.hlc > this.#hlc) this.#hlc = stored.hlc;
    for (const [chain, hash] of this.#unnamed) {
      if (rest.header.deps.includes(hash)) this.#unnamed.delete(chain);
    }
    // Batches of a lane are never named.
    if (rest.header.lane === undefined) this.#unnamed.set(keyOf(stored), stored.hash);
  }

  /** Whether a batch of somebody else's is new and was taken. Everything is checked before anything changes. */
  receive(bytes: Uint8Array, nowMs: number): boolean {
    const batch = decodeBatch(bytes);
    const { header, headerBytes, signature, bodies } = batch;
    const { replica, incarnation, seq, prev, hlc } = header;
    const head = this.head(header);
    if (seq <= (head?.seq ?? 0) || header.space !== this.space) return false;
    if (!verifier.verify(fromHex(replica), headerSigningInput(headerBytes), signature))
      return false;
    if (!this.#counts(header) || hlcToMs(hlc) > nowMs + LIMITS.clockAheadMs) return false;
    if (seq !== (head?.seq ?? 0) + 1 || prev !== (head?.hash ?? null)) return false;
    if (head !== undefined && hlc <= head.hlc) return false;
    const isWhole = header.sections.every(({ bodyHash, bodyLen }, i) => {
      const body = bodies[i] ?? null;
      // A body that was left out is somebody's who keeps a part of a space; a leaf without a subscription is not sent such.
      return body !== null && body.length === bodyLen && same(sha256(body), bodyHash);
    });
    if (!isWhole) return false;
    const hash = parseHeaderHash(toHex(sha256(headerBytes)));
    this.#append({ replica, incarnation, seq, hash, hlc, header, bytes });
    return true;
  }

  /** Writes a batch of one fact for each key. */
  put(doc: DocumentName, facts: Readonly<Record<string, string>>, nowMs: number): Stored {
    const first = this.#factSeqs.get(doc) ?? 0;
    const start = Math.max(this.#hlc + 1, hlcFromMs(nowMs));
    const records = Object.entries(facts).map(([key, valueJson], i) => ({
      key,
      valueJson,
      seq: first + i + 1,
      hlc: (start + i) as Hlc,
    }));
    const to = first + records.length;
    const body = encodeBody(encodeFrame({ from: first, to, records }));
    const head = this.head(this.own);
    const own = keyOf(this.own);
    const others = [...this.#unnamed].flatMap(([chain, hash]) => (chain === own ? [] : [hash]));
    const header: Batch["header"] = {
      space: this.space,
      ...this.own,
      seq: (head?.seq ?? 0) + 1,
      prev: head?.hash ?? null,
      hlc: (start + records.length - 1) as Hlc,
      epoch: 0,
      deps: others.slice(0, LIMITS.depsPerBatch).toSorted(),
      client: 0,
      sections: [
        {
          doc,
          gen: 0,
          kind: "facts",
          from: first,
          to,
          bodyHash: sha256(body),
          bodyLen: body.length,
          keyId: null,
        },
      ],
    };
    const headerBytes = encodeHeader(header);
    const signature = this.signer.sign(headerSigningInput(headerBytes));
    const bytes = encodeBatch({ headerBytes, signature, bodies: [body] });
    const { replica, incarnation, seq, hlc } = header;
    const hash = parseHeaderHash(toHex(sha256(headerBytes)));
    const stored = { replica, incarnation, seq, hash, hlc, header, bytes };
    this.#factSeqs.set(doc, to);
    this.#append(stored);
    return stored;
  }
}
