// SPDX-License-Identifier: Apache-2.0
/**
 * The records that say what counts: the space's membership acts and the proofs of equivocation. Every
 * member keeps all of them and passes them on. What a batch is worth is a function of these two sets,
 * never of the order in which anything arrived.
 */
import { decodeSignedRecord, encodeCbor, encodeSignedRecord } from "@ctxmesh/codec";
import type { GrantAct, Header } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { addActs, allows, roleAt } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, fromHex, hlcToMs, toMeshError } from "@ctxmesh/model";
import type {
  DeviceKey,
  IncarnationId,
  MeshErrorCode,
  SignatureVerifier,
  Store,
  StoreChange,
} from "@ctxmesh/model";
import { verifyProof } from "./evidence.ts";
import type { Fork } from "./evidence.ts";
import { clientOf } from "./parts.ts";
import { actChange, actRange, chainKey, proofChange, proofRange } from "./layout.ts";

/** A chain and the lowest position at which it is proven to fork. */
export type ForkRef = Omit<Fork, "proof">;

/** Which records a replica has. */
export interface RecordIds {
  /** Hex, parents before children. */
  readonly acts: readonly string[];
  readonly forks: readonly ForkRef[];
}

/** Records as bytes: signed acts, parents before children, and proofs of equivocation. */
export interface RecordBytes {
  readonly acts: readonly Uint8Array[];
  readonly proofs: readonly Uint8Array[];
}

/** Why a record was not taken. */
export interface RefusedRecord {
  readonly code: MeshErrorCode;
  readonly message: string;
}

/**
 * What a header is worth. `counts`: it is covered by a grant, and nothing speaks against it. `later`: no
 * grant covers its time, a renewed one may. `void`: it is known and must not count, because its device
 * was revoked before it, its chain forks below it, or whoever granted had been removed; or, which records don't tell, since it
 * stands behind one in its chain that does not count. `stranger`: the device never had a grant.
 */
export type Standing =
  | { readonly kind: "counts" }
  | { readonly kind: "later" }
  | VoidStanding<"revoked" | "equivocation" | "grant" | "behind">
  | { readonly kind: "stranger" };

interface VoidStanding<Reason> {
  readonly kind: "void";
  readonly reason: Reason;
}

/** What a header is worth by itself. */
export type OwnStanding =
  | Exclude<Standing, { readonly kind: "void" }>
  | VoidStanding<"revoked" | "equivocation" | "grant">;

const COUNTS: OwnStanding = { kind: "counts" };

/** What adding records came to. */
export interface RecordsUpdate {
  readonly records: Records;
  readonly changes: readonly StoreChange[];
  readonly added: number;
  readonly refused: readonly RefusedRecord[];
}

/**
 * An immutable set of records, evaluated.
 *
 * Of a device with `LIMITS.proofsPerDevice` proven forks nothing counts, and which forks they are does not matter: any
 * two replicas that know of so many agree, whichever they have heard of first.
 */
export class Records {
  readonly space: Space;
  readonly #forks: Map<string, Fork>;
  /** Number of forks by device. */
  readonly #forksOf = new Map<DeviceKey, number>();
  #digest: Uint8Array | undefined;
  /** Worked out when first needed. */
  #forkByClient: Map<number, Fork> | undefined;
  /** Grants that do not stand, by device; worked out when first needed. */
  #voidGrants: Map<DeviceKey, readonly GrantAct[]> | undefined;

  constructor(space: Space, forks: ReadonlyMap<string, Fork> = new Map()) {
    this.space = space;
    this.#forks = new Map(forks);
    for (const { replica } of forks.values()) this.#count(replica);
  }

  #count(device: DeviceKey): void {
    this.#forksOf.set(device, (this.#forksOf.get(device) ?? 0) + 1);
  }

  /** The proven forks, by chain. */
  get forks(): ReadonlyMap<string, Fork> {
    return this.#forks;
  }

  /** Part of construction: whether a fork is news about a device of this space, and has room. */
  #addFork(fork: Fork): boolean {
    const chain = chainKey(fork.replica, fork.incarnation);
    const known = this.#forks.get(chain);
    if (this.isForkedOut(fork.replica)) return false;
    if (known !== undefined ? known.seq <= fork.seq : !this.#hasRoomFor(fork.replica)) return false;
    this.#forks.set(chain, fork);
    if (known === undefined) this.#count(fork.replica);
    return true;
  }

  #hasRoomFor(device: DeviceKey): boolean {
    const known =
      this.space.grants.has(device) ||
      this.space.revocations.has(device) ||
      this.#struckGrants(device).length > 0;
    return known && this.#forks.size < LIMITS.proofs;
  }

  /** Whether so many chains of a device are proven to fork that nothing of it counts, on no chain. */
  isForkedOut(device: DeviceKey): boolean {
    return (this.#forksOf.get(device) ?? 0) >= LIMITS.proofsPerDevice;
  }

  /**
   * The records in a store together with those of a space file; `changes` bring what the store lacks.
   * Throws `STORE_CORRUPT` when a stored record can't be taken.
   */
  static async load(
    store: Store,
    space: Space,
    verifier: SignatureVerifier,
  ): Promise<RecordsUpdate> {
    const acts: Uint8Array[] = [];
    for await (const [, value] of store.scan(actRange)) acts.push(value);
    const proofs: Uint8Array[] = [];
    for await (const [, value] of store.scan(proofRange)) proofs.push(value);
    const own = space.acts.map(({ id, record }) => actChange(id, encodeSignedRecord(record)));
    // What was taken once stays taken, though the clock may have been set back since.
    const update = new Records(space).with({ acts, proofs }, verifier, Number.POSITIVE_INFINITY);
    return { ...update, changes: own };
  }

  /**
   * The set with more records in it, those that verify. An act whose parents are not known, or whose time
   * is ahead of the clock, is left out without an error, and so is a proof about a device that no known act
   * grants anything: they come again. So is a proof past `LIMITS.proofs`, and one about a device that is forked out.
   */
  with(more: RecordBytes, verifier: SignatureVerifier, nowMs: number): RecordsUpdate {
    const refused: RefusedRecord[] = [];
    const attempt = <T>(bytes: Uint8Array, parse: (bytes: Uint8Array) => T): T[] => {
      try {
        return [parse(bytes)];
      } catch (error) {
        const { code, message } = toMeshError(error);
        refused.push({ code, message });
        return [];
      }
    };
    const signed = more.acts.flatMap((bytes) => attempt(bytes, decodeSignedRecord));
    const acts = addActs(this.space, signed, verifier, nowMs);
    const changes = acts.added.map(({ id, record }) => actChange(id, encodeSignedRecord(record)));
    const withActs = new Records(acts.space, this.forks);
    const forks = more.proofs
      .flatMap((bytes) => attempt(bytes, (proof) => verifyProof(proof, this.space.id, verifier)))
      .filter((fork) => withActs.#addFork(fork));
    changes.push(...forks.map(proofChange));
    const added = acts.added.length + forks.length;
    const records = added === 0 ? this : withActs;
    return { records, changes, added, refused: [...refused, ...acts.refused] };
  }

  /** Which records these are. */
  ids(): RecordIds {
    return {
      acts: this.space.acts.map(({ id }) => id),
      forks: this.#sortedForks().map(({ replica, incarnation, seq }) => ({
        replica,
        incarnation,
        seq,
      })),
    };
  }

  #sortedForks(): readonly Fork[] {
    return [...this.forks].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, fork]) => fork);
  }

  /** SHA-256 over all ids: equal exactly when the sets are, or differ in the forks of devices that are forked out in both. */
  digest(): Uint8Array {
    this.#digest ??= sha256(
      encodeCbor([
        fromHex(this.space.digest),
        [
          ...this.#sortedForks()
            .filter(({ replica }) => !this.isForkedOut(replica))
            .map(({ replica, incarnation, seq }) => [fromHex(replica), fromHex(incarnation), seq]),
          ...[...this.#forksOf.keys()]
            .filter((device) => this.isForkedOut(device))
            .toSorted()
            .map((device) => [fromHex(device)]),
        ],
      ]),
    );
    return this.#digest;
  }

  /**
   * What somebody with these ids lacks. A proof is also told when theirs is of a higher position, and none about a
   * device that is forked out for them.
   */
  lackedBy({ acts, forks }: RecordIds): RecordBytes {
    const known = new Set(acts);
    const forksOf = new Map<DeviceKey, number>();
    for (const { replica } of forks) forksOf.set(replica, (forksOf.get(replica) ?? 0) + 1);
    const seqs = new Map(forks.map((fork) => [chainKey(fork.replica, fork.incarnation), fork.seq]));
    return {
      acts: this.space.acts
        .filter(({ id }) => !known.has(id))
        .map(({ record }) => encodeSignedRecord(record)),
      proofs: this.#sortedForks()
        .filter(
          ({ replica, incarnation, seq }) =>
            (forksOf.get(replica) ?? 0) < LIMITS.proofsPerDevice &&
            (seqs.get(chainKey(replica, incarnation)) ?? Number.POSITIVE_INFINITY) > seq,
        )
        .map(({ proof }) => proof),
    };
  }

  /** The highest seq of a chain that can count: Infinity unless it forks, or its device is revoked or forked out. */
  limitOf(replica: DeviceKey, incarnation: IncarnationId): number {
    if (this.isForkedOut(replica)) return 0;
    const fork = this.forks.get(chainKey(replica, incarnation));
    const revocation = this.space.revocations.get(replica);
    return Math.min(
      fork === undefined ? Number.POSITIVE_INFINITY : fork.seq - 1,
      revocation === undefined
        ? Number.POSITIVE_INFINITY
        : (revocation.cut.get(incarnation)?.seq ?? 0),
    );
  }

  /** The chain of a Yjs client id, if it is proven to fork. */
  forkOf(client: number): Fork | undefined {
    if (this.#forkByClient === undefined) {
      this.#forkByClient = new Map();
      for (const fork of this.#forks.values()) {
        this.#forkByClient.set(clientOf(fork.replica, fork.incarnation), fork);
      }
    }
    return this.#forkByClient.get(client);
  }

  /** What a header is worth by itself; `hash` is its own. */
  standing(
    header: Pick<Header, "replica" | "incarnation" | "seq" | "hlc">,
    hash: string,
  ): OwnStanding {
    const { replica, incarnation, seq } = header;
    const revocation = this.space.revocations.get(replica);
    if (revocation !== undefined) {
      const cut = revocation.cut.get(incarnation);
      const within = cut !== undefined && (seq < cut.seq || (seq === cut.seq && hash === cut.hash));
      if (!within) return { kind: "void", reason: "revoked" };
    }
    if (seq > this.limitOf(replica, incarnation)) return { kind: "void", reason: "equivocation" };
    const writtenMs = hlcToMs(header.hlc);
    const role = roleAt(this.space, replica, writtenMs);
    if (role !== undefined && allows(role, "append")) return COUNTS;
    if (this.#wasGranted(replica, writtenMs)) return { kind: "void", reason: "grant" };
    const grants = this.space.grants.get(replica) ?? revocation?.grants ?? [];
    return { kind: grants.some((grant) => allows(grant.role, "append")) ? "later" : "stranger" };
  }

  /** Whether an act that does not stand granted the device something at that time. */
  #wasGranted(device: DeviceKey, ms: number): boolean {
    return this.#struckGrants(device).some(
      ({ notBefore, notAfter }) => notBefore <= ms && ms <= notAfter,
    );
  }

  /** The acts that granted a device something and do not stand. */
  #struckGrants(device: DeviceKey): readonly GrantAct[] {
    if (this.#voidGrants === undefined) {
      this.#voidGrants = new Map();
      for (const { act, valid } of this.space.acts) {
        if (valid || act.kind !== "grant") continue;
        const others = this.#voidGrants.get(act.device) ?? [];
        this.#voidGrants.set(act.device, [...others, act]);
      }
    }
    return this.#voidGrants.get(device) ?? [];
  }
}
