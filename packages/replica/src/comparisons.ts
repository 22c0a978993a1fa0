// SPDX-License-Identifier: Apache-2.0
import type { HlcClock } from "@ctxmesh/facts";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { Clock, DeviceKey, EngineEntry, Store } from "@ctxmesh/model";
import { mayTouch } from "./compare.ts";
import type { Proposal } from "./compare.ts";
import type { Core } from "./core.ts";
import { Group } from "./group.ts";
import { batchEntries } from "./journal.ts";
import type { Journal } from "./journal.ts";
import type { WriteStamp } from "./local-writer.ts";
import type { OwnChains } from "./own-chains.ts";
import { isUnrunnable } from "./space-modules.ts";
import { WorkQueue } from "./work-queue.ts";
import type { Sized } from "./work-queue.ts";

/** What became of a proposal: it was made. */
export interface Decided extends WriteStamp {
  /** The version of the key right after it. */
  readonly version: string;
}

/** A proposal, and whom to tell. */
export interface CompareTask extends Sized {
  readonly proposal: Proposal;
  readonly resolve: (decided: Decided) => void;
  readonly reject: (error: unknown) => void;
}

/** What decides. */
export interface ComparisonsOptions {
  readonly core: Core;
  readonly device: DeviceKey;
  readonly clock: Clock;
  readonly hlc: HlcClock;
  readonly own: OwnChains;
  readonly store: Store;
  readonly journal?: Journal;
  /** Makes a group that the journal has durable here, and visible. */
  readonly commit: (group: Group) => Promise<void>;
  /** There is something to be done. */
  readonly queued: () => void;
}

const conflict = ({ key, expected, write: { doc } }: Proposal, version: string | null): MeshError =>
  new MeshError(
    "VERSION_CONFLICT",
    `${JSON.stringify(key)} of ${doc} has ${version === null ? "no visible fact" : `version ${version}`}, and ${expected ?? "none"} was expected`,
    { field: "expect", remedy: "read it, work out the value anew, and try again" },
  );

/** It was made, and what it came to can't be read for now. */
const unreadable = ({ key, write: { doc } }: Proposal, cause: unknown): MeshError =>
  new MeshError(
    "OUTCOME_UNKNOWN",
    `${JSON.stringify(key)} of ${doc} can't be read for now, after the write was made`,
    { remedy: "read the key in a moment", cause },
  );

/**
 * Decides proposals one by one, between the groups of the one writer of the store: what a key's version is, and the write that
 * replaces it, have nothing between them here; and with a journal nothing in the shared log.
 */
export class Comparisons {
  readonly #options: ComparisonsOptions;
  readonly #queue = new WorkQueue<CompareTask>();

  constructor(options: ComparisonsOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#queue.length;
  }

  /**
   * Queues a proposal; resolves once it is made, durable and visible. Rejects with `VERSION_CONFLICT`, with `ENGINE_FENCED` when the shared log has something about
   * the key that is not here yet, so that it may be tried again; with `ABORTED` past its time, `POLICY_REFUSED` when it would
   * not show, `LIMIT_EXCEEDED` when too many wait, `OUTCOME_UNKNOWN` when the document can't be read for now, after the write.
   */
  async add(proposal: Proposal): Promise<Decided> {
    const size = proposal.write.bytes;
    this.#queue.assertRoom(size, "writes");
    const { promise, resolve, reject } = Promise.withResolvers<Decided>();
    this.#queue.push({ proposal, size, resolve, reject });
    this.#options.queued();
    return promise;
  }

  /** Takes those whose turn it is. */
  take(): readonly CompareTask[] {
    return this.#queue.take(LIMITS.writesPerGroup);
  }

  /** Decides one. Rejects only with what fails the replica. */
  async run({ proposal, resolve, reject }: CompareTask): Promise<void> {
    const { core, own, clock, store, journal, commit } = this.#options;
    const { write, key } = proposal;
    const problem = this.#judged(proposal, clock.now());
    if (problem !== undefined) {
      reject(problem);
      return;
    }
    const group = new Group(core.state.frontier);
    const renewed = own.takeRenewal();
    if (renewed.length > 0) await store.write(renewed);
    const { stamp, undo } = own.attempt(write, group);
    const isAgainst = (record: EngineEntry): boolean => mayTouch(record, write.doc, key);
    if ((await journal?.recordUnless(batchEntries(group.batches), isAgainst)) === false) {
      undo();
      reject(new MeshError("ENGINE_FENCED", "another hub has written something about the key"));
      return;
    }
    await commit(group);
    let version: string;
    try {
      version = core.state.documents.get(write.doc, key, clock.now())?.version ?? "";
    } catch (error) {
      reject(unreadable(proposal, error));
      return;
    }
    resolve({ ...stamp, version });
  }

  /** As {@link #against}; where the document is being read again, or a module can't be run here, that says so. */
  #judged(proposal: Proposal, nowMs: number): MeshError | undefined {
    try {
      return this.#against(proposal, nowMs);
    } catch (error) {
      const isLost = this.#options.core.state.documents.isLost(proposal.write.doc);
      if (!isLost && !isUnrunnable(error)) throw error;
      return toMeshError(error);
    }
  }

  /** Why a proposal is not made. */
  #against(proposal: Proposal, nowMs: number): MeshError | undefined {
    const { documents } = this.#options.core.state;
    const { write, key, expected, dueMs = Number.POSITIVE_INFINITY } = proposal;
    if (nowMs > dueMs) return new MeshError("ABORTED", "its turn came too late");
    const version = documents.get(write.doc, key, nowMs)?.version ?? null;
    if (version !== expected) return conflict(proposal, version);
    return this.#shows(proposal, nowMs)
      ? undefined
      : new MeshError("POLICY_REFUSED", `nothing would be visible under ${JSON.stringify(key)}`, {
          field: "key",
          remedy:
            "a deletion that the key's resolver prefers stands against it: see its candidates",
        });
  }

  /** Whether something is visible once it is made; else the next one that expects nothing would be made as well. */
  #shows({ write, key }: Proposal, nowMs: number): boolean {
    const { core, device, own, hlc } = this.#options;
    const { incarnation } = own;
    const made = { key, writer: device, incarnation, seq: 0, hlc: hlc.tick() };
    return core.state.documents.wouldShow(write.doc, { ...write.drafts[0], ...made }, nowMs);
  }
}
