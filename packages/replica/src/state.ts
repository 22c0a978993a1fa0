// SPDX-License-Identifier: Apache-2.0
/**
 * What the log amounts to under the records: the part of each chain that counts, and the documents that it
 * makes. Made anew, from the whole log or the base and what is behind it, when records change what counts.
 */
import type { DeviceKey, DocumentName, HeaderHash, Hlc } from "@ctxmesh/model";
import type { Checkpoint } from "./checkpoint-format.ts";
import { lackedRole } from "./checks.ts";
import type { ParsedBatch } from "./checks.ts";
import type { Documents } from "./documents.ts";
import { Frontier } from "./frontier.ts";
import { chainKey } from "./layout.ts";
import type { Head } from "./layout.ts";
import { corrupt, headOf } from "./log.ts";
import { clientOf, openParts } from "./parts.ts";
import type { Part } from "./parts.ts";
import type { Records } from "./records.ts";
import type { Chain, ChainView } from "./void-content.ts";
import { isVoid } from "./void-headers.ts";
import type { VoidHeaders } from "./void-headers.ts";

/** Why the rest of a chain in the log does not count; `waiting`: for a batch that counts again and is not here. */
export type VoidReason = "revoked" | "equivocation" | "grant" | "waiting";

/** The part of a chain in the log that does not count. */
export interface VoidChain extends Chain {
  readonly reason: VoidReason;
  /** Number of batches. */
  readonly batches: number;
}

/** Where a builder begins: at the start of the log, or at a checkpoint. */
export interface StateStart {
  readonly checkpoint: Checkpoint | undefined;
  /** Those of the checkpoint; the builder takes them over. */
  readonly documents: Documents;
}

/** The replica's memory: what its log amounts to. */
export interface State {
  readonly frontier: Frontier;
  readonly documents: Documents;
  /** By chain. */
  readonly voids: ReadonlyMap<string, VoidChain>;
  /** Hashes of stored batches that wait for one that is not here. */
  readonly waiting: ReadonlySet<HeaderHash>;
  /** What they wait for. */
  readonly waitingFor: ReadonlySet<HeaderHash>;
  /** Log positions of this device's own void batches, in order. */
  readonly ownVoid: readonly number[];
  /** Hashes of batches that count though their header alone was here once; whoever applies another one adds it. */
  readonly arrived: Set<HeaderHash>;
  /** The highest clock in the log, counting or not. */
  readonly maxHlc: Hlc;
  /** What was read of the log. */
  readonly replayed: { readonly batches: number; readonly bytes: number };
}

/** What the records and the heads of what counts say of chains. */
export const chainView = (records: Records, frontier: Pick<Frontier, "head">): ChainView => ({
  isComplete: ({ replica, incarnation }) => {
    const limit = records.limitOf(replica, incarnation);
    return (
      limit === Number.POSITIVE_INFINITY || (frontier.head(replica, incarnation)?.seq ?? 0) >= limit
    );
  },
  forkOf: (client) => records.forkOf(client),
});

/** Whether other batches of the log count under `after` than did under `before`, or another policy decides. */
export function changesWhatCounts(before: Records, after: Records, state: State): boolean {
  if (before === after) return false;
  if (JSON.stringify(before.space.policy) !== JSON.stringify(after.space.policy)) return true;
  const cut = state.frontier
    .heads()
    .some(({ replica, incarnation, seq }) => seq > after.limitOf(replica, incarnation));
  if (cut) return true;
  const validBefore = new Map(before.space.acts.map(({ id, valid }) => [id, valid]));
  const denied = new Set(
    [...state.voids.values()].flatMap(({ reason, replica }) =>
      reason === "grant" || reason === "waiting" ? [replica] : [],
    ),
  );
  return after.space.acts.some(({ id, act, valid }) => {
    const was = validBefore.get(id);
    // A new grant may be what void batches lacked.
    return was === undefined ? act.kind === "grant" && denied.has(act.device) : was !== valid;
  });
}

/** A state as a checkpoint at a log position, with the newest stored batch of each chain, and where the documents' states are. */
export function checkpointOf(
  { frontier, documents, voids, ownVoid, arrived }: Omit<State, "replayed">,
  log: { readonly position: number; head(chain: Chain): Head | undefined },
  states: ReadonlyMap<DocumentName, number>,
): Checkpoint {
  const unnamed = [...frontier.unnamedHeads().keys()];
  const heads = frontier.heads();
  const byChain = new Map(heads.map((head) => [chainKey(head.replica, head.incarnation), head]));
  return {
    position: log.position,
    heads,
    unnamed: unnamed.flatMap((chain) => byChain.get(chain) ?? []),
    voids: [...voids.values()].flatMap(({ reason, batches, ...chain }) => {
      const head = log.head(chain);
      return head === undefined ? [] : [{ reason, batches, head }];
    }),
    ownVoid,
    voidParts: documents.voids.parts(),
    arrived: [...arrived],
    documents: states,
  };
}

/** Takes the batches of a log in order and works out what they amount to. */
export class StateBuilder {
  readonly #records: Records;
  readonly #self: DeviceKey;
  readonly #headers: VoidHeaders;
  readonly #frontier: Frontier;
  readonly #documents: Documents;
  readonly #voids = new Map<string, VoidChain>();
  /** Batches behind one that was void when they came, and counts now; with their positions. */
  #waiting = new Map<HeaderHash, readonly [batch: ParsedBatch, position: number]>();
  readonly #waitingFor = new Set<HeaderHash>();
  /** Batches that count though their header alone was here once. */
  readonly #arrived: Set<HeaderHash>;
  readonly #ownVoid: number[];
  #maxHlc = 0 as Hlc;
  #batches = 0;
  #bytes = 0;

  constructor(
    records: Records,
    self: DeviceKey,
    headers: VoidHeaders,
    { checkpoint, documents }: StateStart,
  ) {
    this.#records = records;
    this.#self = self;
    this.#headers = headers;
    this.#documents = documents;
    this.#frontier = Frontier.of(checkpoint?.heads ?? [], checkpoint?.unnamed ?? []);
    this.#arrived = new Set(checkpoint?.arrived);
    this.#ownVoid = [...(checkpoint?.ownVoid ?? [])];
    for (const { header } of headers.values()) this.#addClient(header);
    for (const { reason, batches, head } of checkpoint?.voids ?? []) {
      const { replica, incarnation } = head;
      this.#voids.set(chainKey(replica, incarnation), { replica, incarnation, reason, batches });
      this.#addClient(head);
      this.#observe(head.hlc);
    }
    this.#observe(this.#frontier.maxHlc);
  }

  #observe(hlc: Hlc): void {
    if (hlc > this.#maxHlc) this.#maxHlc = hlc;
  }

  /** Whether no batch so far waits for one that is not here. */
  isSettled(): boolean {
    this.#retryWaiting();
    return this.#waiting.size === 0;
  }

  /** The next batch of the log. Throws `STORE_CORRUPT` when it can't be applied though it counts. */
  add(batch: ParsedBatch, position: number): void {
    this.#batches++;
    this.#bytes += batch.bytes.length;
    this.#observe(batch.header.hlc);
    this.#place(batch, position);
  }

  #place(batch: ParsedBatch, position: number): void {
    const { header } = batch;
    const reason = this.#reasonAgainst(batch);
    if (reason !== undefined) {
      this.#skip(batch, position, reason);
      return;
    }
    const parts = this.#open(batch);
    const lacked = this.#isOwn(batch) ? undefined : lackedRole(batch, parts, this.#records);
    if (lacked !== undefined) {
      this.#skip(batch, position, "grant");
      return;
    }
    if (this.#headers.get(batch.hash) !== undefined) this.#arrived.add(batch.hash);
    this.#frontier.advance(headOf(batch), header.deps);
    this.#documents.stage({ parts });
    this.#documents.apply({ header, parts });
  }

  /** In the log, what a batch waited for stands behind it: goes over those that wait until none of them moves. */
  #retryWaiting(): void {
    for (;;) {
      const waiting = this.#waiting;
      if (waiting.size === 0) return;
      this.#waiting = new Map();
      this.#waitingFor.clear();
      for (const [{ header }] of waiting.values()) {
        this.#voids.delete(chainKey(header.replica, header.incarnation));
      }
      for (const [batch, position] of waiting.values()) this.#place(batch, position);
      if (this.#waiting.size === waiting.size) return;
    }
  }

  /** What the batches so far amount to. */
  finish(): State {
    this.#retryWaiting();
    return {
      frontier: this.#frontier,
      documents: this.#documents,
      voids: this.#voids,
      waiting: new Set(this.#waiting.keys()),
      waitingFor: this.#waitingFor,
      ownVoid: this.#ownVoid,
      arrived: this.#arrived,
      maxHlc: this.#maxHlc,
      replayed: { batches: this.#batches, bytes: this.#bytes },
    };
  }

  #isOwn({ header }: ParsedBatch): boolean {
    return header.replica === this.#self;
  }

  #addClient(chain: Chain): void {
    this.#documents.voids.addChain(clientOf(chain.replica, chain.incarnation), chain);
  }

  /** Nothing of a chain counts behind a batch that does not. */
  #reasonAgainst(batch: ParsedBatch): VoidReason | undefined {
    const { header, hash } = batch;
    const earlier = this.#voids.get(chainKey(header.replica, header.incarnation));
    if (earlier !== undefined) return earlier.reason;
    const standing = this.#records.standing(header, hash);
    if (standing.kind === "void" && (standing.reason !== "grant" || !this.#isOwn(batch))) {
      return standing.reason;
    }
    // What this device wrote itself past its grant waits elsewhere, not here.
    if (standing.kind !== "counts" && !this.#isOwn(batch)) return "grant";
    return this.#isWaiting(header.deps) ? "waiting" : undefined;
  }

  /** A dependency was void when the batch came, which had its header suffice, and counts now. */
  #isWaiting(deps: readonly HeaderHash[]): boolean {
    if (this.#headers.size === 0) return false;
    const missing = deps.filter((dep) => {
      const header = this.#headers.get(dep);
      return header !== undefined && !this.#arrived.has(dep) && !isVoid(this.#records, header);
    });
    for (const dep of missing) this.#waitingFor.add(dep);
    return missing.length > 0 || deps.some((dep) => this.#waiting.has(dep));
  }

  #skip(batch: ParsedBatch, position: number, reason: VoidReason): void {
    const { replica, incarnation } = batch.header;
    const chain = chainKey(replica, incarnation);
    const batches = (this.#voids.get(chain)?.batches ?? 0) + 1;
    this.#voids.set(chain, { replica, incarnation, reason, batches });
    if (reason === "waiting") {
      this.#waiting.set(batch.hash, [batch, position]);
      return;
    }
    this.#addClient({ replica, incarnation });
    if (this.#isOwn(batch)) this.#ownVoid.push(position);
  }

  #open({ header, bodies }: ParsedBatch): readonly Part[] {
    const after = this.#frontier.head(header.replica, header.incarnation)?.hlc ?? (0 as Hlc);
    const rich = this.#documents.openRich(chainView(this.#records, this.#frontier));
    const opened = openParts(header, bodies, after, rich);
    return opened.kind === "parts"
      ? opened.parts
      : corrupt("holds a batch that can't be applied", opened);
  }
}
