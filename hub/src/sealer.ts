// SPDX-License-Identifier: Apache-2.0
/**
 * Seals the hub's state and keeps the bundles.
 *
 * Store keys of the hub beside the replica's: 0x20 the log, 0x21 the bundles (bundle-store.ts), 0x22 there while
 * seals may be missing, 0x26 the envelope of the newest seal. A seal's log entry, checkpoint and bundle are one atomic write, so there is never
 * one without the others, and nobody hears of a seal that a crash could take back. Witnesses are asked after that, and hold up nothing (cosigning.ts).
 */
import { decodeBatch } from "@ctxmesh/codec";
import type { Signer } from "@ctxmesh/crypto";
import {
  buildSnapshot,
  cosignedProof,
  encodeBundle,
  envelopeHash,
  envelopeStatement,
  openLog,
  parseBundle,
  replaceProof,
  sealSnapshot,
  sealedEnvelopeHash,
  snapshotEntry,
} from "@ctxmesh/ledger";
import type {
  FrontierHead,
  Log,
  LogPages,
  LogSigners,
  SignedHeader,
  SnapshotStatement,
} from "@ctxmesh/ledger";
import { MeshError, toHex, toMeshError } from "@ctxmesh/model";
import type {
  Clock,
  Logger,
  RandomSource,
  SealReceipt,
  SealingService,
  Store,
  Vault,
} from "@ctxmesh/model";
import type { Head, Replica } from "@ctxmesh/replica";
import { SEALS_UNCERTAIN } from "@ctxmesh/service";
import { bundleChanges, readBundle } from "./bundle-store.ts";
import { Cosigning } from "./cosigning.ts";
import type { HubWitness } from "./cosigning.ts";

/** The log of seals in a hub's store. */
export const LOG_PREFIX: Uint8Array = Uint8Array.of(0x20);
/** How long a bundle waits for the witnesses that are being asked, in milliseconds. */
const COSIGNED_MS = 3_000;
/** Where the envelope of the newest seal is. */
export const NEWEST_KEY: Uint8Array = Uint8Array.of(0x26);

/** The keys of a hub besides its device key. */
export interface SealKeys {
  /** A key of the suite `ML-DSA-65-Ed25519`. */
  readonly signer: Signer;
  /** The log's name (a URL without its scheme) and keys. */
  readonly log: { readonly origin: string; readonly signers: LogSigners };
  /** Who is asked to cosign the log; nobody by default. */
  readonly witnesses?: readonly HubWitness[];
}

/** What a sealer is made of. */
export interface SealerOptions extends SealKeys {
  readonly store: Store;
  /** Encrypts the bundles; without one they are stored as they are. */
  readonly vault?: Vault;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}

const seals = (count: number): string => `${String(count)} ${count === 1 ? "seal" : "seals"}`;

/** A healed store whose key was lost has bundles that nobody can open any more; sealing can go on. */
function unlessKeyIsLost(error: unknown): undefined {
  if (toMeshError(error).code !== "KEY_INVALID") throw error;
}

/** The frontier of the newest seal; its envelope stands by itself, where it was not made by an older version. */
async function newestFrontier(
  store: Store,
  count: number,
  vault: Vault | undefined,
): Promise<readonly FrontierHead[] | undefined> {
  const newest = await readNewestSeal(store);
  if (newest?.sequence === count) return newest.frontier;
  const bundle = await readBundle(store, count, vault).catch(unlessKeyIsLost);
  return bundle && envelopeStatement(parseBundle(bundle).envelope).frontier;
}

/** What the newest seal in a store states; undefined where there is none, or it was made by an older version. Throws `STORE_CORRUPT`, `FORMAT_INVALID`. */
export async function readNewestSeal(
  store: Pick<Store, "get">,
): Promise<SnapshotStatement | undefined> {
  const envelope = await store.get(NEWEST_KEY);
  return envelope && envelopeStatement(envelope);
}

/** A bundle with the lines of the witnesses that have cosigned the log since it was made, where there are some. Throws what the store throws. */
export async function withCosignatures(
  store: Pick<Store, "get">,
  sequence: number,
  bundle: Uint8Array,
): Promise<Uint8Array> {
  const proof = await cosignedProof(store, LOG_PREFIX, sequence - 1);
  return proof === undefined ? bundle : replaceProof(bundle, proof);
}

/** The sealing service of a hub. */
export class Sealer implements SealingService {
  readonly #options: SealerOptions;
  readonly #log: Log;
  readonly #cosigning: Cosigning;
  /** Number of seals made; the newest one's sequence. */
  #count = 0;
  #previous: string | null = null;
  /** Of the newest seal. */
  #frontier: readonly FrontierHead[] = [];
  #listener: (frontier: readonly FrontierHead[]) => void = () => undefined;
  /** The store was restored or healed: the hub may have published seals that are not in it. */
  #isUncertain = false;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(options: SealerOptions, log: Log) {
    this.#options = options;
    this.#log = log;
    const { witnesses = [], logger } = options;
    this.#cosigning = new Cosigning({ log, witnesses, logger });
  }

  /** Opens the log and the seals. Throws `STORE_CORRUPT`. */
  static async open(options: SealerOptions): Promise<Sealer> {
    const { store, clock, log, vault } = options;
    const opened = await openLog({ store, prefix: LOG_PREFIX, clock, ...log });
    const sealer = new Sealer(options, opened);
    sealer.#isUncertain = (await store.get(SEALS_UNCERTAIN.key)) !== undefined;
    // Each seal is one entry of the log, which has the hash of its envelope.
    const entry = await opened.entry(opened.size - 1);
    sealer.#count = opened.size;
    sealer.#previous = (entry && sealedEnvelopeHash(entry)) ?? null;
    // Those that hubs made in a log that they share are not here.
    sealer.#isUncertain ||= ((await readNewestSeal(store))?.sequence ?? 0) > opened.size;
    sealer.#frontier = (await newestFrontier(store, sealer.#count, vault)) ?? [];
    // Where the life before ended between a seal and its witnesses.
    sealer.#cosigning.poke();
    return sealer;
  }

  /** The log as others may read it. */
  get pages(): LogPages {
    return this.#log.pages;
  }

  /** Number of seals made. */
  get count(): number {
    return this.#count;
  }

  /** Calls `listener` with the frontier of the newest seal, now and after each further one. */
  onSealed(listener: (frontier: readonly FrontierHead[]) => void): void {
    this.#listener = listener;
    listener(this.#frontier);
  }

  async seal(options: { readonly after?: number } = {}): Promise<SealReceipt> {
    const sealing = this.#queue.then(async () => {
      this.#refuseFork(options.after);
      return this.#seal();
    });
    this.#queue = sealing.catch(() => undefined);
    return sealing;
  }

  /** A second seal with a number, or a log that was cut back, is what auditors rightly call a fork. */
  #refuseFork(after: number | undefined): void {
    const made = this.#count;
    const degraded = this.#options.replica.degraded();
    if (degraded.length > 0) {
      const isBehind = degraded.some(({ kind }) => kind === "behind");
      throw new MeshError("SEALING_UNSAFE", "the store does not hold exactly what counts", {
        remedy: isBehind
          ? "it was damaged: let the hub reach agents that have the rest (ctxmesh status); if none has, start it once with --accept-loss"
          : "ctxmesh status says what to do",
      });
    }
    if (after === undefined && this.#isUncertain) {
      throw new MeshError(
        "SEALING_UNSAFE",
        `the store was restored or healed: it has ${seals(made)}, and there may have been more`,
        {
          remedy:
            "find the newest seal that anybody has, and give its number: ctxmesh seal --after N",
        },
      );
    }
    if (after !== undefined && after > made) {
      throw new MeshError(
        "SEALING_UNSAFE",
        `there are ${String(after)} seals, and this store has ${seals(made)}: going on would fork the log`,
        {
          remedy:
            "restore a backup that has them all, or start a new log: new log keys, another origin, a trust root that names them, an empty store",
        },
      );
    }
    if (after !== undefined && after < made) {
      const message = `seal ${String(after)} is not the newest: this store has ${seals(made)}`;
      throw new MeshError("INPUT_INVALID", message, { field: "after" });
    }
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
    const { index } = await this.#log.append(snapshotEntry(envelope), ({ proof }) => {
      const bundle = encodeBundle({ leaves: snapshot.leaves, envelope, proof, headers });
      const changes = [
        ...bundleChanges(sequence, bundle, this.#options.vault),
        { key: NEWEST_KEY, value: envelope },
      ];
      return this.#isUncertain ? [...changes, { key: SEALS_UNCERTAIN.key }] : changes;
    });
    this.#isUncertain = false;
    this.#count = sequence;
    this.#previous = envelopeHash(envelope);
    this.#frontier = heads;
    this.#cosigning.poke();
    this.#listener(heads);
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
    const isMade = Number.isSafeInteger(sequence) && sequence >= 1 && sequence <= this.#count;
    const { store, vault } = this.#options;
    if (isMade) await this.cosigned();
    const bundle = isMade ? await readBundle(store, sequence, vault) : undefined;
    if (bundle !== undefined) return withCosignatures(store, sequence, bundle);
    const made = `${seals(this.#count)} ${this.#count === 1 ? "has" : "have"} been made`;
    const message = isMade
      ? `the bundle of seal ${String(sequence)} was lost with a damaged store`
      : `there is no seal ${String(sequence)}; ${made}`;
    throw new MeshError("NOT_FOUND", message, {
      field: "sequence",
      ...(this.#count === 0 ? { remedy: "make one with: ctxmesh seal" } : {}),
    });
  }

  /** Waits, for a moment, for witnesses that are being asked. */
  async cosigned(): Promise<void> {
    await this.#cosigning.settled(COSIGNED_MS);
  }

  /** Another one seals from now on: witnesses are not asked any more. */
  retire(): void {
    void this.#cosigning.stop();
  }

  /** Waits for a seal under way; witnesses are not asked any more. */
  async close(): Promise<void> {
    await this.#queue;
    await this.#cosigning.stop();
  }
}
