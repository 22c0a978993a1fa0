// SPDX-License-Identifier: Apache-2.0
/**
 * What the log amounts to under the records: the part of each chain that counts, and the documents that it
 * makes. Made anew, from the whole log or the base and what is behind it, when records change what counts.
 */
import type { DeviceKey, DocumentName, HeaderHash, Hlc } from "@ctxmesh/model";
import type { Checkpoint } from "./checkpoint-format.ts";
import { lackedRole } from "./checks.ts";
import type { CheckedBatch, ParsedBatch } from "./checks.ts";
import type { Documents } from "./documents.ts";
import { Frontier } from "./frontier.ts";
import { chainKey } from "./layout.ts";
import type { Head } from "./layout.ts";
import { headOf } from "./log.ts";
import { clientOf, forksIn, openParts } from "./parts.ts";
import type { Part } from "./parts.ts";
import type { Records } from "./records.ts";
import type { Chain, ChainView, VoidPart } from "./void-content.ts";
import { isVoid, namedBy } from "./void-headers.ts";
import type { VoidHeaders } from "./void-headers.ts";

/**
 * Why the rest of a chain in the log does not count. `grant`: its device lacked the right to it, or to a part of it; `content`:
 * what it builds on counts again, and it turns out to be nothing that an editor makes; `waiting`: for something that is not here.
 */
export type VoidReason = "revoked" | "equivocation" | "grant" | "content" | "waiting";

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
  readonly voids: Map<string, VoidChain>;
  /** Hashes of stored batches that wait for one that is not here. */
  readonly waiting: ReadonlySet<HeaderHash>;
  /** What they wait for: batches that count though their header alone is here, or operations of these Yjs clients. */
  readonly waitingFor: ReadonlySet<HeaderHash | number>;
  /** Log positions of this device's own void batches, in order. */
  readonly ownVoid: readonly number[];
  /** Hashes of batches that count though their header alone was here once; whoever applies another one adds it. */
  readonly arrived: Set<HeaderHash>;
  /** The highest clock in the log, counting or not. */
  readonly maxHlc: Hlc;
  /** Yjs clients that were found to have two histories when something of them was applied already: it has to be built once more without. */
  readonly forked: readonly VoidPart[];
  /** What was read of the log. */
  readonly replayed: { readonly batches: number; readonly bytes: number };
}

/** What is known of chains, for {@link chainView}. */
export interface KnownChains {
  readonly records: Records;
  readonly headers: VoidHeaders;
  /** The heads of what counts. */
  readonly frontier: Pick<Frontier, "head">;
  /** Why the rest of a chain in the log does not count. */
  readonly voidReason: (chain: Chain) => VoidReason | undefined;
}

/** What the records, the headers, and what is in the log say of chains. */
export function chainView({ records, headers, frontier, voidReason }: KnownChains): ChainView {
  const seqOf = ({ replica, incarnation }: Chain): number =>
    frontier.head(replica, incarnation)?.seq ?? 0;
  const voidFrom = (chain: Chain): number => {
    const reason = voidReason(chain);
    if (reason !== undefined && reason !== "waiting") return seqOf(chain) + 1;
    const lowest = headers.voidFrom(chain, records);
    // A void header where another batch counts is one of a fork, which is about to be proven.
    return lowest > seqOf(chain) ? lowest : Number.POSITIVE_INFINITY;
  };
  return {
    voidFrom,
    isComplete: (chain) => {
      const limit = records.limitOf(chain.replica, chain.incarnation);
      return seqOf(chain) >= Math.min(limit, voidFrom(chain) - 1);
    },
    forkOf: (client) => records.forkOf(client),
  };
}

/** As {@link chainView}, of a state. */
export const stateView = (
  records: Records,
  headers: VoidHeaders,
  { frontier, voids }: Pick<State, "frontier" | "voids">,
): ChainView =>
  chainView({
    records,
    headers,
    frontier,
    voidReason: ({ replica, incarnation }) => voids.get(chainKey(replica, incarnation))?.reason,
  });

const isVoidUnder = (records: Records, head: Head): boolean =>
  records.standing(head, head.hash).kind === "void";

/** The acts of schemas and modules: an id is the hash of what it says. */
const actsOf = ({ schemas }: Pick<Records["space"], "schemas">): string =>
  schemas.map(({ id }) => id).join("");

/** Whether other batches of the log count under the records and void headers that were taken than did before, or another policy decides. */
export function changesWhatCounts(
  before: Records,
  {
    records: after,
    headers: taken,
  }: { readonly records: Records; readonly headers: readonly unknown[] },
  state: State,
  headers: VoidHeaders,
): boolean {
  // What waits may have to wait for something else now, or for nothing.
  if (state.waiting.size > 0 && (before !== after || taken.length > 0)) return true;
  if (before === after) return false;
  if (JSON.stringify(before.space.policy) !== JSON.stringify(after.space.policy)) return true;
  if (actsOf(before.space) !== actsOf(after.space)) return true;
  const heads = state.frontier.heads();
  // What is pruned counts for good, void or not.
  if (heads.some((head) => isVoidUnder(after, head) && !isVoidUnder(before, head))) return true;
  const validBefore = new Map(before.space.acts.map(({ id, valid }) => [id, valid]));
  const voids = [...state.voids.values()];
  const denied = new Set(
    voids.flatMap(({ reason, replica }) => (reason === "grant" ? [replica] : [])),
  );
  const counted = new Set(heads.map(({ replica }) => replica));
  return after.space.acts.some(({ id, act, valid }) => {
    const was = validBefore.get(id);
    if (was !== undefined) return was !== valid;
    if (act.kind !== "grant") return false;
    // A new grant may be what void batches lacked; one that has no effect may speak against what was not covered so far.
    return valid ? denied.has(act.device) || headers.hasOf(act.device) : counted.has(act.device);
  });
}

/** Whether a batch that is applied changes what is to be made of earlier ones: they wait for it, or it shows that a Yjs client has two histories. */
export const changesPast = (
  { waitingFor }: Pick<State, "waitingFor">,
  { hash, header, parts }: Pick<CheckedBatch, "hash" | "header" | "parts">,
): boolean => forksIn(parts).length > 0 || waitingFor.has(hash) || waitingFor.has(header.client);

/** Some of a chain is known to be void. */
export function addVoidChain(documents: Documents, { replica, incarnation }: Chain): void {
  documents.voids.addChain(clientOf(replica, incarnation), { replica, incarnation });
}

/** A batch that does not count was appended to the log, and ends what counts of its chain. */
export function keepVoid(
  { voids, documents }: State,
  { header: { replica, incarnation } }: Pick<ParsedBatch, "header">,
  reason: VoidReason,
): void {
  const chain = chainKey(replica, incarnation);
  const batches = (voids.get(chain)?.batches ?? 0) + 1;
  voids.set(chain, { replica, incarnation, reason, batches });
  addVoidChain(documents, { replica, incarnation });
}

/** How many chains have batches that do not count, and how many batches that are. */
export function voidCounts({ voids }: State): {
  readonly voidChains: number;
  readonly voidBatches: number;
} {
  const voidBatches = [...voids.values()].reduce((sum, { batches }) => sum + batches, 0);
  return { voidChains: voids.size, voidBatches };
}

/** A state as a checkpoint at a log position, with the newest stored batch of each chain, and where the documents' states are. */
export function checkpointOf(
  { frontier, documents, voids, ownVoid, arrived }: Omit<State, "replayed" | "forked">,
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
    ...(documents.omissions.isEmpty
      ? {}
      : { omitted: [...documents.omissions.docs()], lacking: [...documents.omissions.chains()] }),
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
  readonly #view: ChainView;
  /** Batches behind one that was void when they came, and counts now; with their positions. */
  #waiting = new Map<HeaderHash, readonly [batch: ParsedBatch, position: number]>();
  readonly #waitingFor = new Set<HeaderHash | number>();
  /** Void headers that were gone through and have nothing behind them that is waited for. */
  readonly #closed = new Set<HeaderHash>();
  /** Batches that count though their header alone was here once. */
  readonly #arrived: Set<HeaderHash>;
  readonly #ownVoid: number[];
  readonly #forked: VoidPart[] = [];
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
    this.#view = stateView(records, headers, { frontier: this.#frontier, voids: this.#voids });
    for (const header of headers.values()) addVoidChain(this.#documents, header);
    for (const { reason, batches, head } of checkpoint?.voids ?? []) {
      const { replica, incarnation } = head;
      this.#voids.set(chainKey(replica, incarnation), { replica, incarnation, reason, batches });
      addVoidChain(this.#documents, head);
      this.#observe(head.hlc);
    }
    this.#observe(this.#frontier.maxHlc);
  }

  #observe(hlc: Hlc): void {
    if (hlc > this.#maxHlc) this.#maxHlc = hlc;
  }

  /** The next batch of the log. */
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
    if (typeof parts === "string") {
      this.#skip(batch, position, parts);
      return;
    }
    if (this.#headers.get(batch.hash) !== undefined) this.#arrived.add(batch.hash);
    this.#frontier.advance(headOf(batch), header.deps, header.lane);
    this.#forked.push(...forksIn(parts));
    this.#documents.stage({ header, parts });
    this.#documents.apply({ header, parts });
  }

  /** In the log, what a batch waited for stands behind it: goes over those that wait until none of them moves. */
  #retryWaiting(): void {
    for (;;) {
      const waiting = this.#waiting;
      if (waiting.size === 0) return;
      this.#waiting = new Map();
      this.#waitingFor.clear();
      this.#closed.clear();
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
      forked: this.#forked,
      replayed: { batches: this.#batches, bytes: this.#bytes },
    };
  }

  #isOwn({ header }: ParsedBatch): boolean {
    return header.replica === this.#self;
  }

  /** Nothing of a chain counts behind a batch that does not. */
  #reasonAgainst(batch: ParsedBatch): VoidReason | undefined {
    const { header, hash } = batch;
    const earlier = this.#voids.get(chainKey(header.replica, header.incarnation));
    if (earlier !== undefined) return earlier.reason;
    const standing = this.#records.standing(header, hash);
    if (standing.kind === "void") return standing.reason;
    // What this device wrote itself past its grant waits elsewhere, not here.
    if (standing.kind !== "counts" && !this.#isOwn(batch)) return "grant";
    return this.#isWaiting(header.deps) ? "waiting" : undefined;
  }

  /** A batch that is named, or is behind void ones that are, had its header suffice when this one came, and counts now. */
  #isWaiting(deps: readonly HeaderHash[]): boolean {
    if (this.#headers.size === 0 && this.#waiting.size === 0) return false;
    let waits = false;
    const seen = new Set(deps);
    for (const name of seen) {
      if (this.#closed.has(name)) continue;
      const header = this.#headers.get(name);
      if (this.#waiting.has(name)) waits = true;
      else if (header === undefined || this.#arrived.has(name)) continue;
      else if (isVoid(this.#records, this.#view, header)) {
        for (const next of namedBy(header)) seen.add(next);
      } else {
        this.#waitingFor.add(name);
        waits = true;
      }
    }
    if (!waits)
      for (const name of seen) if (this.#headers.get(name) !== undefined) this.#closed.add(name);
    return waits;
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
    addVoidChain(this.#documents, { replica, incarnation });
    if (this.#isOwn(batch)) this.#ownVoid.push(position);
  }

  /**
   * Its parts; or why it does not count. Other things counted when it came, and where it built on what was void, nobody
   * could look at that part of it.
   */
  #open(batch: ParsedBatch): readonly Part[] | VoidReason {
    const { header, bodies, hash } = batch;
    const after = this.#frontier.head(header.replica, header.incarnation)?.hlc ?? (0 as Hlc);
    const rich = this.#documents.openRich(this.#view);
    const opened = openParts(header, bodies, after, rich);
    switch (opened.kind) {
      case "refused":
        return "content";
      case "missing":
        this.#waitingFor.add(opened.operation.client);
        return "waiting";
      case "parts": {
        const isLater = this.#records.standing(header, hash).kind === "later";
        const lacks = !isLater && lackedRole(batch, opened.parts, this.#records) !== undefined;
        return lacks ? "grant" : opened.parts;
      }
    }
  }
}
