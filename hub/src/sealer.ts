// SPDX-License-Identifier: Apache-2.0
/**
 * Seals the hub's state and keeps the bundles.
 *
 * Store keys of the hub beside the replica's (tags 0x01 to 0x05): 0x20 the log, 0x21 + sequence(u64) the
 * bundle of a seal. A seal's log entry, checkpoint and bundle are one atomic write, so there is never
 * one without the others, and nobody hears of a seal that a crash could take back.
 */
import { decodeBatch } from "@ctxmesh/codec";
import type { Signer } from "@ctxmesh/crypto";
import {
  buildSnapshot,
  encodeBundle,
  envelopeHash,
  openLog,
  parseBundle,
  sealSnapshot,
  snapshotEntry,
} from "@ctxmesh/ledger";
import type { Log, LogSigners, SignedHeader } from "@ctxmesh/ledger";
import { MeshError, toHex } from "@ctxmesh/model";
import type { Clock, RandomSource, SealReceipt, SealingService, Store } from "@ctxmesh/model";
import type { Head, Replica } from "@ctxmesh/replica";

const LOG_PREFIX = new Uint8Array([0x20]);
const SEAL_TAG = 0x21;

/** The keys of a hub besides its device key. */
export interface SealKeys {
  /** A key of the suite `ML-DSA-65-Ed25519`. */
  readonly signer: Signer;
  /** The log's name (a URL without its scheme) and keys. */
  readonly log: { readonly origin: string; readonly signers: LogSigners };
}

/** What a sealer is made of. */
export interface SealerOptions extends SealKeys {
  readonly store: Store;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly random: RandomSource;
}

function sealKey(sequence: number): Uint8Array {
  const key = new Uint8Array(9);
  key[0] = SEAL_TAG;
  new DataView(key.buffer).setBigUint64(1, BigInt(sequence));
  return key;
}

const sequenceOf = (key: Uint8Array): number =>
  Number(new DataView(key.buffer, key.byteOffset, key.byteLength).getBigUint64(1));

/** The sealing service of a hub. */
export class Sealer implements SealingService {
  readonly #options: SealerOptions;
  readonly #log: Log;
  /** Number of seals made; the newest one's sequence. */
  #count = 0;
  #previous: string | null = null;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(options: SealerOptions, log: Log) {
    this.#options = options;
    this.#log = log;
  }

  /** Opens the log and the seals. Throws `STORE_CORRUPT`. */
  static async open(options: SealerOptions): Promise<Sealer> {
    const { store, clock, log } = options;
    const opened = await openLog({ store, prefix: LOG_PREFIX, clock, ...log });
    const sealer = new Sealer(options, opened);
    const newest = store.scan({
      gte: new Uint8Array([SEAL_TAG]),
      lt: new Uint8Array([SEAL_TAG + 1]),
      reverse: true,
      limit: 1,
    });
    for await (const [key, value] of newest) {
      sealer.#count = sequenceOf(key);
      sealer.#previous = envelopeHash(parseBundle(value).envelope);
    }
    return sealer;
  }

  /** Number of seals made. */
  get count(): number {
    return this.#count;
  }

  async seal(): Promise<SealReceipt> {
    const sealing = this.#queue.then(async () => this.#seal());
    this.#queue = sealing.catch(() => undefined);
    return sealing;
  }

  async #seal(): Promise<SealReceipt> {
    const { replica, signer, clock, random } = this.#options;
    const { leaves, asOf, heads } = replica.snapshot();
    const snapshot = buildSnapshot(leaves, random);
    const sequence = this.#count + 1;
    const sealedAt = clock.now();
    const envelope = sealSnapshot({
      signer,
      snapshot,
      hub: replica.device,
      space: replica.space.id,
      sequence,
      previous: this.#previous,
      frontier: heads.map(({ replica: device, incarnation, seq, hash }) => ({
        replica: device,
        incarnation,
        seq,
        hash,
      })),
      policyEpoch: replica.space.policy.epoch,
      asOf,
      sealedAt,
    });
    const headers = await this.#headersOf(heads);
    const { index } = await this.#log.append(snapshotEntry(envelope), ({ proof }) => [
      {
        key: sealKey(sequence),
        value: encodeBundle({ leaves: snapshot.leaves, envelope, proof, headers }),
      },
    ]);
    this.#count = sequence;
    this.#previous = envelopeHash(envelope);
    return {
      sequence,
      root: toHex(snapshot.root),
      leaves: leaves.length,
      logIndex: index,
      logSize: this.#log.size,
      sealedAt,
    };
  }

  /** The signed header of each head, in the order of the heads. */
  async #headersOf(heads: readonly Head[]): Promise<SignedHeader[]> {
    const headers: SignedHeader[] = [];
    for (const { replica, incarnation, seq } of heads) {
      const span = { replica, incarnation, from: seq, to: seq };
      for await (const { bytes } of this.#options.replica.read([span])) {
        const { headerBytes, signature } = decodeBatch(bytes);
        headers.push({ header: headerBytes, signature });
      }
    }
    return headers;
  }

  async bundle(sequence: number = this.#count): Promise<Uint8Array> {
    const value =
      sequence >= 1 && Number.isSafeInteger(sequence)
        ? await this.#options.store.get(sealKey(sequence))
        : undefined;
    if (value === undefined) {
      const made = `${String(this.#count)} ${this.#count === 1 ? "seal has" : "seals have"} been made`;
      throw new MeshError("NOT_FOUND", `there is no seal ${String(sequence)}; ${made}`, {
        field: "sequence",
        ...(this.#count === 0 ? { remedy: "make one with: ctxmesh seal" } : {}),
      });
    }
    return value;
  }

  /** Waits for a seal under way. */
  async close(): Promise<void> {
    await this.#queue;
  }
}
