// SPDX-License-Identifier: Apache-2.0
/**
 * The rich part of a document: texts, lists, maps and XML for notes, transcripts and plans, as a `Y.Doc`
 * behind the causal order of signed batches.
 *
 * **Two steps.** An update is first staged, then, once the store has synced it, applied. Later edits and
 * checks build on what is staged; readers see only what is applied. Staged updates are applied in the
 * order of staging. There is no way back from staging: after a failed store write nothing is accepted
 * until the replica is opened again, and the document with it. One `Y.Doc` has everything staged; what is
 * applied has one of its own only while it is read with something else staged, and local edits have one
 * while there are some (`other-docs.ts`).
 *
 * **What Yjs never gets to see**: bytes that were not decoded to the last one and checked; another
 * client's operations in an incarnation's update; a gap, an operation before what it builds on, or a
 * deletion of what is not there (so nothing is ever pending in Yjs, whose queue for that is quadratic);
 * V2 updates, garbage structs, subdocuments, XML hooks, binary; keys that poison prototypes.
 *
 * **Client ids**: an incarnation takes a fresh one at its first rich write, see `client-id.ts`.
 *
 * **No undo.** Yjs can't take an operation back, it can only write the opposite. Whoever has to get rid
 * of an update rebuilds the document from the log without it, and without what depends on it.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import * as Y from "yjs";
import { isClientId, isStockClient } from "./client-id.ts";
import { readContent } from "./content.ts";
import type { RichContent } from "./content.ts";
import { behind } from "./carried.ts";
import type { CarriedContent, CarriedSection } from "./carried.ts";
import { isForked, take } from "./claims.ts";
import { clockIn, createDoc, docOf, editAs } from "./engine.ts";
import { malformed } from "./errors.ts";
import { AppliedDoc, EditedDoc } from "./other-docs.ts";
import { Owners, splitState } from "./owners.ts";
import { EditSession } from "./roots.ts";
import type { RichRoots } from "./roots.ts";
import { MissingReference, UpdateChecker } from "./update-checker.ts";
import { decodeUpdate } from "./update-decoder.ts";
import type { DecodedUpdate } from "./update-decoder.ts";

/** Whose update it is and which of that client's clocks it takes: those from `from`, up to and without `to`. */
export interface RichInterval {
  /** The Yjs client id of the incarnation. */
  readonly client: number;
  readonly from: number;
  /** Equals `from` when the update only deletes. */
  readonly to: number;
  /** A gateway carries what a stock Yjs client made: `client` is that one, and some of its clocks may be here already. */
  readonly carried?: true;
  /** With `carried`: for whom, 16 bytes as hexadecimal digits. */
  readonly by?: string;
}

/** A checked V1 update; only {@link RichDocument} makes them. */
export interface RichUpdate extends RichInterval {
  readonly bytes: Uint8Array;
  /** The roots that it names, as Yjs knows them. */
  readonly roots: readonly string[];
  /** Whether it deletes or replaces what another client wrote, which a role may not allow. */
  readonly deletesOthers: boolean;
}

/**
 * The verdict on an update that is well-formed. `missing` means that it builds on an operation that is
 * not staged here. The honest never write such a thing without naming the batch that has it; the
 * caller must hold the batch and not refuse it, or replicas that got the other one first, and accepted,
 * would differ from this one for ever.
 */
export type RichVerdict =
  | { readonly kind: "ready"; readonly update: RichUpdate }
  | { readonly kind: "missing"; readonly client: number; readonly clock: number }
  /** It says other things of units of its client than are here: nothing of that client may count. */
  | { readonly kind: "forked" };

/**
 * What comes deleted, of which nobody knows what it was, is deleted by the update, too: where another gateway has carried it before it was deleted,
 * the update would do nothing otherwise.
 */
function checkDeleted({ client, structs, deletes }: DecodedUpdate): void {
  const own = deletes.filter((range) => range.client === client);
  let at = 0;
  for (const { clock, length, content } of structs) {
    if (content !== "deleted") continue;
    while (at < own.length && (own[at]?.clock ?? 0) + (own[at]?.length ?? 0) <= clock) at++;
    const range = own[at];
    const isIn =
      range !== undefined && range.clock <= clock && clock + length <= range.clock + range.length;
    if (!isIn) malformed("it has something deleted that it does not delete", "deletes");
  }
}

/** The update in `bytes`, checked against `doc`, in which this client's next clock was `from`. */
function checkUpdate(doc: Y.Doc, bytes: Uint8Array, interval: RichInterval): RichVerdict {
  const { client, from, to, carried } = interval;
  const update = decodeUpdate(bytes, carried);
  if (update.client === undefined ? from !== to : update.client !== client) {
    malformed("structs of another client, or none", "client");
  }
  if (update.client !== undefined && (update.from !== from || update.to !== to)) {
    malformed(
      `it takes the clocks ${String(update.from)} to ${String(update.to)}, not ${String(from)} to ${String(to)}`,
      "clock",
    );
  }
  if (carried === true) {
    checkDeleted(update);
    if (from < clockIn(doc, client) && isForked(doc, client, bytes)) return { kind: "forked" };
  }
  const roots = new Set<string>();
  for (const { parent } of update.structs) if (typeof parent === "string") roots.add(parent);
  try {
    const { deletesOthers } = new UpdateChecker(
      doc,
      { ...update, client, from, to },
      carried,
    ).run();
    const checked = { ...interval, bytes, roots: [...roots], deletesOthers };
    return { kind: "ready", update: checked };
  } catch (error) {
    if (error instanceof MissingReference) return { kind: "missing", ...error.reference };
    throw error;
  }
}

/** One part of what a gateway carries. */
interface CarriedPart {
  readonly bytes: Uint8Array;
  readonly interval: RichInterval;
  readonly parted?: CarriedSection["parted"];
}

const partOf = ({ bytes, client, from, to, parted }: CarriedSection, by: string): CarriedPart => ({
  bytes,
  interval: { client, from, to, carried: true, by },
  parted,
});

/** Whether a part may be wrong only because it was made at several moments, between which its client got what others made. */
const mayPart = (error: unknown): boolean =>
  error instanceof MeshError && error.code === "FORMAT_INVALID" && error.field === "origin";

/** The updates that what is carried becomes, each checked against `newest` and those before it. */
function carriedUpdates(
  newest: Y.Doc,
  client: number,
  { sections, erasures, by }: CarriedContent,
): readonly RichUpdate[] {
  const next = clockIn(newest, client);
  const interval = { client, from: next, to: next };
  const parts: CarriedPart[] = [
    ...sections.map((section) => partOf(section, by(section.client))),
    ...erasures.map((bytes) => ({ bytes, interval })),
  ].toReversed();
  const updates: RichUpdate[] = [];
  // One part is checked where it will be staged; more of them build on each other.
  let trial = newest;
  for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
    if (trial === newest && parts.length > 0) trial = docOf(Y.encodeStateAsUpdate(newest));
    try {
      const update = checkCarried(trial, part);
      if (trial !== newest) trial = take(trial, update);
      updates.push(update);
    } catch (error) {
      if (part.parted === undefined || !mayPart(error)) throw error;
      parts.push(
        ...part
          .parted()
          .map((half) => partOf(half, by(half.client)))
          .toReversed(),
      );
    }
    if (updates.length > LIMITS.queuedBatches) {
      throw new MeshError("LIMIT_EXCEEDED", "the update would make too many batches");
    }
  }
  return updates;
}

function checkCarried(doc: Y.Doc, { bytes, interval }: CarriedPart): RichUpdate {
  if (interval.from > clockIn(doc, interval.client)) behind();
  const verdict = checkUpdate(doc, bytes, interval);
  if (verdict.kind === "missing") behind();
  if (verdict.kind === "ready") return verdict.update;
  throw new MeshError("POLICY_REFUSED", "this Yjs client has said other things elsewhere", {
    remedy: "load the page again",
  });
}

/** The rich content of one document. */
export class RichDocument {
  /** Every update, staged ones included, from its bytes. */
  #newest: Y.Doc = createDoc();
  /** Of the clients in it. */
  #owners = new Owners();
  #applied = new AppliedDoc();
  readonly #edited = new EditedDoc();
  /** Staged and not yet applied, oldest first. */
  readonly #staged: RichUpdate[] = [];
  #bytes = 0;

  /**
   * A document from what {@link encodeState} returned. For this replica's own storage only, and never
   * for bytes of others: nothing is checked but that they are complete. Throws `STORE_CORRUPT`.
   */
  static fromState(bytes: Uint8Array): RichDocument {
    const document = new RichDocument();
    let state: Uint8Array;
    try {
      ({ owners: document.#owners, state } = splitState(bytes));
      document.#newest = docOf(state);
    } catch (cause) {
      throw new MeshError("STORE_CORRUPT", "the state of a rich document can't be read", { cause });
    }
    document.#applied = new AppliedDoc(state.slice());
    document.#bytes = bytes.length;
    return document;
  }

  /**
   * Checks a state that somebody else encoded and answers for: that it is complete, of roots, types and values that can be here,
   * and that all of it was written by clients of whom `isWriter` says so, or that gateways may carry. Throws `FORMAT_INVALID`.
   */
  static checkState(state: Uint8Array, isWriter: (client: number) => boolean): void {
    try {
      const doc = docOf(splitState(state).state);
      for (const client of doc.store.clients.keys()) {
        if (!isClientId(client)) malformed("operations of nobody", "client");
        if (!isStockClient(client) && !isWriter(client)) {
          malformed("operations of nobody", "client");
        }
      }
      readContent(doc);
    } catch (cause) {
      if (cause instanceof MeshError && cause.code === "FORMAT_INVALID") throw cause;
      throw new MeshError("FORMAT_INVALID", "the state of a rich document can't be read", {
        cause,
      });
    }
  }

  /**
   * The applied state in one piece, with the owners of its clients, for this replica's own storage. Peers are served the original
   * updates and never this or a difference to it: it can't be told whose it is, and a difference to a
   * compacted document loses data (183 of 200 measured runs).
   */
  encodeState(): Uint8Array {
    const state = this.#owners.encode(Y.encodeStateAsUpdate(this.#openApplied()));
    this.#bytes = state.length;
    return state;
  }

  /** Whether no update was ever applied. */
  get isEmpty(): boolean {
    return this.clients === 0;
  }

  /** Whether something is staged and not yet applied. */
  get isStaged(): boolean {
    return this.#staged.length > 0;
  }

  /** Encoded size in bytes, about: the state when it was last encoded, and all updates applied since. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The number of client ids that ever wrote. */
  get clients(): number {
    return this.#openApplied().store.clients.size;
  }

  /** The next clock of a client, with what is staged; 0 for one that never wrote. */
  clockOf(client: number): number {
    return clockIn(this.#newest, client);
  }

  /** Whether a unit is here with its place, so that something can build on it. */
  knows(client: number, clock: number): boolean {
    if (clock >= this.clockOf(client)) return false;
    const struct: Y.Item | Y.GC = Y.getItem(this.#newest.store, Y.createID(client, clock));
    return struct instanceof Y.Item;
  }

  /** The applied content of every root that was ever written to, by kind and name. */
  content(): readonly RichContent[] {
    return readContent(this.#openApplied());
  }

  /**
   * Makes a local edit as `client` and stages it, or returns undefined when `edit` changed nothing.
   * When it throws, or the update would be over a limit (`LIMIT_EXCEEDED`), nothing is staged. `edit`
   * must be synchronous; what it was given does not work afterwards. `INPUT_INVALID` for a client id
   * that can't be one.
   */
  change(client: number, edit: (roots: RichRoots) => void): RichUpdate | undefined {
    if (!isClientId(client)) {
      throw new MeshError("INPUT_INVALID", `${String(client)} can't be a client id`, {
        field: "client",
      });
    }
    const doc = this.#edited.open(this.#newest);
    const session = new EditSession(doc);
    const from = this.clockOf(client);
    try {
      const bytes = editAs(doc, client, () => edit(session));
      if (bytes === undefined) return undefined;
      // The same gate that every other replica has.
      const verdict = checkUpdate(this.#newest, bytes, { client, from, to: clockIn(doc, client) });
      if (verdict.kind !== "ready") {
        throw new MeshError("INTERNAL", "a local edit builds on what is not here");
      }
      this.#stage(verdict.update);
      return verdict.update;
    } catch (error) {
      // Yjs can't roll back.
      this.#edited.drop();
      throw error;
    } finally {
      session.close();
    }
  }

  /**
   * Checks a foreign V1 update against the staged state, without changing anything. `interval` is what
   * the signed header says; the caller has made sure that the client id is the incarnation's own.
   * Throws `FORMAT_INVALID` or `LIMIT_EXCEEDED`, whose message and field say what is wrong; both are
   * final. Keeps `bytes`.
   */
  check(bytes: Uint8Array, interval: RichInterval): RichVerdict {
    const { client, from, to, carried } = interval;
    if (!isClientId(client)) malformed(`the client id ${String(client)}`, "client");
    const next = this.clockOf(client);
    if (carried === true && from > next) return { kind: "missing", client, clock: from - 1 };
    if ((carried !== true && from !== next) || to < from) {
      malformed(`clocks from ${String(from)}, the client's next is ${String(next)}`, "clock");
    }
    return checkUpdate(this.#newest, bytes, interval);
  }

  /**
   * Checks what a gateway carries, each part against those before it, and stages all of it or nothing; `client` is the gateway's own. What is
   * here already is left out. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED`, and `WRITE_BEHIND` when it builds on what is not staged, or
   * has what somebody else's client made and is not here.
   */
  carry(client: number, content: CarriedContent): readonly RichUpdate[] {
    const updates = this.judge(client, content);
    for (const update of updates) this.stage(update);
    return updates;
  }

  /** As {@link carry}, and stages nothing. */
  judge(client: number, content: CarriedContent): readonly RichUpdate[] {
    const isOthers = ({ client: each }: CarriedSection): boolean =>
      !this.#owners.allows(each, content.by(each));
    if (content.sections.some(isOthers)) behind();
    return carriedUpdates(this.#newest, client, content);
  }

  /** Takes an update of {@link check} as one that will be applied. Throws `INTERNAL` when another of its client came between. */
  stage(update: RichUpdate): void {
    const next = this.clockOf(update.client);
    if (update.carried === true ? update.from > next : update.from !== next) {
      throw new MeshError("INTERNAL", "a rich update was staged twice or out of order");
    }
    this.#stage(update);
    this.#edited.add(update);
  }

  #stage(update: RichUpdate): void {
    this.#newest = take(this.#newest, update);
    if (update.by !== undefined) this.#owners.add(update.client, update.by);
    this.#staged.push(update);
  }

  /** Makes the oldest staged update visible. Throws `INTERNAL` when `update` is another. */
  apply(update: RichUpdate): void {
    if (this.#staged[0] !== update) {
      throw new MeshError("INTERNAL", "a rich update was applied out of order");
    }
    this.#staged.shift();
    this.#applied.add(update, this.#staged.length === 0 ? this.#newest : undefined);
    this.#bytes += update.bytes.length;
  }

  #openApplied(): Y.Doc {
    return this.#staged.length === 0 ? this.#newest : this.#applied.open();
  }
}
