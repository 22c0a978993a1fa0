// SPDX-License-Identifier: Apache-2.0
/**
 * Bases as a replica hands them out and takes them in: made, if its device is a hub, or handed on as they came; received part by
 * part, gone on with after a cut, checked, and installed.
 */
import { isMember } from "@ctxmesh/membership";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { ActId, Logger, SignatureVerifier } from "@ctxmesh/model";
import { assertBelieved, checkBase, checkHeads, isStanding } from "./base-check.ts";
import { decodeManifest, isPart, sizeOfParts } from "./base-format.ts";
import type { SignedManifest } from "./base-format.ts";
import { makeBase } from "./base-maker.ts";
import type { BaseMakerContext } from "./base-maker.ts";
import { whyJudgedOtherwise } from "./base-records.ts";
import type { BaseShelf } from "./base-shelf.ts";
import type { Records } from "./records.ts";
import type { BatchSource } from "./checks.ts";
import type { Committer } from "./committer.ts";
import type { Core } from "./core.ts";

/** What bases are made of and taken in with. */
export interface BasesOptions extends Pick<
  BaseMakerContext,
  "store" | "vault" | "signer" | "device" | "clock" | "rest"
> {
  readonly verifier: SignatureVerifier;
  readonly logger: Logger;
  /** With one, no base is taken in. */
  readonly journal?: unknown;
  readonly committer: Pick<
    Committer,
    "core" | "shelf" | "checkpointer" | "installs" | "assertWritable"
  >;
}

/** A piece of a base: part 0 is the signed manifest, the others are numbered from 1 as it names them. */
export interface BasePiece {
  /** The base's name, hex. */
  readonly name: string;
  readonly part: number;
  readonly bytes: Uint8Array;
}

/** What a base is asked for. */
export interface BaseNeed {
  /** How many batches the remote has and we lack. */
  readonly batches: number;
  /** Whether it can't give them to us, since it has pruned them. */
  readonly pruned: boolean;
}

/** What comes next: a part to ask for; the base is installed; or it is of no use, and why. */
export type BaseProgress =
  | { readonly kind: "more"; readonly name: string; readonly part: number }
  | { readonly kind: "installed" }
  | { readonly kind: "useless"; readonly reason: string };

/** Looking for a part costs about as much as that many facts. */
const ITEMS_PER_PART = 256;

const useless = (reason: string): BaseProgress => ({ kind: "useless", reason });

/** The bases of one replica. */
export class Bases {
  readonly #options: BasesOptions;
  readonly #shelf: BaseShelf;
  /** A base that is being made, for all who ask meanwhile. */
  #making: Promise<SignedManifest | undefined> | undefined;
  #madeMs = Number.NEGATIVE_INFINITY;
  /** What was found when a base was last looked at, by its name and under which records: looking is dear, and anybody may ask. */
  #looked: { readonly of: readonly unknown[]; readonly isTrue: boolean } | undefined;

  /** A base that is being installed, for all who bring its last part meanwhile. */
  #installing: { readonly name: string; readonly progress: Promise<BaseProgress> } | undefined;

  constructor(options: BasesOptions) {
    this.#options = options;
    this.#shelf = options.committer.shelf;
  }

  get #core(): Core {
    return this.#options.committer.core;
  }

  get #isHub(): boolean {
    return isMember(this.#core.records.space, this.#options.device, "hub");
  }

  /**
   * The newest base that is to be had here, as its signed manifest: a hub makes one when the newest is old, others hand on what a
   * hub signed. Undefined when there is none. Rejects like `Replica.receive`.
   */
  async offer(): Promise<BasePiece | undefined> {
    this.#options.committer.assertWritable();
    const newest = await this.#shelf.newest();
    const usable = newest !== undefined && (await this.#isTrue(newest)) ? newest : undefined;
    const base = this.#isHub && this.#isOld(usable) ? ((await this.#make()) ?? usable) : usable;
    return base === undefined ? undefined : { name: base.name, part: 0, bytes: base.bytes };
  }

  /** Whether it still is what its hub said, as far as acts and its heads tell. */
  async #isTrue(base: SignedManifest): Promise<boolean> {
    const { records } = this.#core;
    if (this.#looked?.of[0] === base.name && this.#looked.of[1] === records) {
      return this.#looked.isTrue;
    }
    // A hub's word ends with its grant; of whom something counted is for the receiver to look at.
    const isTrue =
      this.#whyOtherwise(base.manifest.acts, records) === undefined &&
      (await isStanding(base, { shelf: this.#shelf, records }));
    this.#looked = { of: [base.name, records], isTrue };
    return isTrue;
  }

  #whyOtherwise(acts: readonly ActId[], records: Records): string | undefined {
    return whyJudgedOtherwise(acts, new Set(), records, this.#options.verifier);
  }

  #isOld(base: SignedManifest | undefined): boolean {
    if (base === undefined) return true;
    const heads = this.#core.state.frontier.heads();
    const batches = heads.reduce((sum, { seq }) => sum + seq, 0);
    return batches - base.manifest.batches >= LIMITS.checkpointEveryBatches;
  }

  async #make(): Promise<SignedManifest | undefined> {
    const { clock, logger, committer } = this.#options;
    const nowMs = clock.now();
    // A clock that was set back must not put it off.
    const rests = nowMs >= this.#madeMs && nowMs < this.#madeMs + LIMITS.baseEveryMs;
    if (this.#making === undefined && rests) return undefined;
    this.#madeMs = nowMs;
    this.#making ??= makeBase({
      ...this.#options,
      core: () => this.#core,
      shelf: this.#shelf,
      checkpoint: async () => {
        await committer.checkpointer.request();
        committer.assertWritable();
      },
    })
      .then((base) => {
        const { parts, batches } = base.manifest;
        const bytes = sizeOfParts({ parts });
        logger.info("replica.base-made", { name: base.name, batches, parts: parts.length, bytes });
        return base;
      })
      .catch((error: unknown) => {
        const { code, message } = toMeshError(error);
        if (code !== "NOT_FOUND") throw error;
        logger.info("replica.no-base", { reason: message });
        return undefined;
      })
      .finally(async () => {
        this.#making = undefined;
        this.#shelf.unpin();
        await this.#shelf.tidy(clock.now());
      });
    return this.#making;
  }

  /** A part of a base, numbered from 1; undefined when it is not here, or not any more. `source`, who asks, is charged. */
  async part(name: string, part: number, source?: BatchSource): Promise<BasePiece | undefined> {
    const base = await this.#shelf.get(name);
    const ref = base?.isWhole === true ? base.manifest.parts[part - 1] : undefined;
    source?.charge({ bytes: 0, items: ITEMS_PER_PART });
    const bytes = ref === undefined ? undefined : await this.#shelf.part(ref);
    return bytes === undefined ? undefined : { name, part, bytes };
  }

  /**
   * Takes a piece that a remote sent, and says what to ask it for next. Installs the base once all of it is here. Throws what is
   * wrong with it: `FORMAT_INVALID`, `INPUT_INVALID`, `LIMIT_EXCEEDED`, `SIGNATURE_INVALID`; it is dropped then.
   * Else rejects like `Replica.receive`.
   */
  async take(piece: BasePiece, need: BaseNeed): Promise<BaseProgress> {
    this.#options.committer.assertWritable();
    // Whoever has the journal would lack it.
    if (this.#options.journal !== undefined)
      return useless("batches are written to a journal here");
    try {
      return await (piece.part === 0 ? this.#begin(piece, need) : this.#goOn(piece));
    } catch (error) {
      // It may be right where others know: of another hub, or of later. Nobody is to blame for that.
      const { code, message } = toMeshError(error);
      if (code !== "POLICY_REFUSED") throw error;
      return useless(message);
    }
  }

  async #begin({ name, bytes }: BasePiece, need: BaseNeed): Promise<BaseProgress> {
    const base = decodeManifest(bytes);
    if (base.name !== name) throw wrong("is not the one that it is called");
    const { verifier, clock } = this.#options;
    const { records } = this.#core;
    const nowMs = clock.now();
    assertBelieved(base, { records, verifier, nowMs });
    const known = await this.#shelf.get(name);
    const lacked = await this.#lackedBytes(base);
    const spared = need.batches * base.manifest.batchBytes;
    const pays = need.batches >= LIMITS.baseFromBatches && spared > LIMITS.baseGainFactor * lacked;
    if (!need.pruned && !pays) return useless("batches cost less");
    const otherwise = this.#whyOtherwise(base.manifest.acts, records);
    if (otherwise !== undefined) return useless(otherwise);
    if (known === undefined) await this.#shelf.begin(base, nowMs);
    return this.#next(base, 0);
  }

  async #lackedBytes(base: SignedManifest): Promise<number> {
    let bytes = 0;
    for (const part of base.manifest.parts) {
      if (!(await this.#shelf.has(part))) bytes += part.length;
    }
    return bytes;
  }

  async #goOn({ name, part, bytes }: BasePiece): Promise<BaseProgress> {
    const base = await this.#shelf.get(name);
    const ref = base?.manifest.parts[part - 1];
    if (base === undefined || ref === undefined) return useless("another one is being received");
    if (!isPart(ref, bytes)) throw wrong("has a part that is not the one it names");
    await this.#shelf.put(ref, bytes);
    const isLastHead = ref.kind === "heads" && base.manifest.parts[part]?.kind !== "heads";
    if (isLastHead && !(await this.#bringsAny(base))) return this.#drop(base, "it brings nothing");
    return this.#next(base, part);
  }

  /** Whether it has anything that is not here; looked at before the dear parts. */
  async #bringsAny(base: SignedManifest): Promise<boolean> {
    const heads = await this.#checking(base, (context) => checkHeads(base, context));
    const { frontier } = this.#core.state;
    return heads.some(
      ({ header: { replica, incarnation, seq } }) =>
        (frontier.head(replica, incarnation)?.seq ?? 0) < seq,
    );
  }

  async #drop(base: SignedManifest, reason: string): Promise<BaseProgress> {
    await this.#shelf.drop(base.name, this.#options.clock.now());
    return useless(reason);
  }

  /** Runs checks; a base that fails them is dropped. */
  async #checking<T>(
    base: SignedManifest,
    check: (context: Parameters<typeof checkBase>[1]) => Promise<T>,
  ): Promise<T> {
    const { verifier, clock } = this.#options;
    const { records } = this.#core;
    const context = { shelf: this.#shelf, records, verifier, nowMs: clock.now() };
    try {
      return await check(context);
    } catch (error) {
      await this.#shelf.drop(base.name, clock.now());
      throw error;
    }
  }

  async #next(base: SignedManifest, after: number): Promise<BaseProgress> {
    const missing = await this.#shelf.firstMissing(base, after);
    if (missing !== undefined) return { kind: "more", name: base.name, part: missing + 1 };
    // Parts that were here before may be behind it.
    const other = after === 0 ? undefined : await this.#shelf.firstMissing(base);
    if (other !== undefined) return { kind: "more", name: base.name, part: other + 1 };
    if (this.#installing?.name === base.name) return this.#installing.progress;
    const progress = this.#install(base).finally(() => {
      this.#installing = undefined;
    });
    this.#installing = { name: base.name, progress };
    return progress;
  }

  async #install(base: SignedManifest): Promise<BaseProgress> {
    const checked = await this.#checking(base, (context) => checkBase(base, context));
    const { committer, clock, logger } = this.#options;
    try {
      committer.assertWritable();
      await committer.installs.add(checked);
    } catch (error) {
      const { code, message } = toMeshError(error);
      if (code !== "POLICY_REFUSED") throw error;
      return this.#drop(base, message);
    }
    await this.#shelf.finish(base, clock.now());
    const { hub, batches, parts } = base.manifest;
    logger.info("replica.base-installed", { name: base.name, hub, batches, parts: parts.length });
    return { kind: "installed" };
  }
}

const wrong = (problem: string): MeshError =>
  new MeshError("FORMAT_INVALID", `base ${problem}`, { field: "base" });
