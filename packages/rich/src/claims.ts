// SPDX-License-Identifier: Apache-2.0
// oxlint-disable no-underscore-dangle -- Yjs names members so that its own modules share
/**
 * What a gateway carries for a Yjs client may be here already: the client was at another gateway before, and both have carried it. An honest client says
 * the same both times, as far as it still knows: of what it deleted it may have forgotten what, and of what was in that, where. So
 *
 * - what is the same is passed over, as Yjs does;
 * - what one gateway knows and the other did not takes the place of what stood for it, and is deleted, as the other says (a _reveal_);
 * - two contents in one place, which only a client that lies has, are both nothing: the unit is deleted;
 * - two places of one unit, or two shared types, are a _fork_. Then the client has no history, and nothing of it counts.
 *
 * Each of that is the same in whatever order the two come.
 */
import * as Y from "yjs";
import { isStockClient } from "./client-id.ts";
import { clockIn, docOf, integrate, kindOf } from "./engine.ts";
import type { Integrated, SharedType } from "./engine.ts";
import {
  addRange,
  encodeAll,
  encodeRuns,
  headOf,
  readStockUpdate,
  structsIn,
  tailOf,
} from "./stock-update.ts";
import type { Range, Run, UnitId } from "./stock-update.ts";

/** How what is carried compares with what is here of the same units. */
export interface Comparison {
  readonly isForked: boolean;
  /** Something here stands for what is known now. */
  readonly isRevealing: boolean;
  /** Units with two contents. */
  readonly differing: readonly Range[];
}

const isSame = (a: UnitId | null, b: UnitId | null): boolean =>
  a === b || (a !== null && b !== null && a.client === b.client && a.clock === b.clock);

function isSameParent(run: Run, item: Y.Item): boolean {
  const parent = item.parent as SharedType;
  if (run.key !== item.parentSub) return false;
  return typeof run.parent === "string"
    ? parent._item === null && Y.findRootTypeKey(parent) === run.parent
    : isSame(run.parent, parent._item?.id ?? null);
}

function isSamePlace(run: Run, item: Y.Item, client: number, at: number): boolean {
  const before = { client, clock: at - 1 };
  const ours = at > item.id.clock ? before : item.origin;
  const theirs = at > run.clock ? before : run.origin;
  if (!isSame(ours, theirs) || !isSame(item.rightOrigin, run.rightOrigin)) return false;
  return ours !== null || item.rightOrigin !== null || isSameParent(run, item);
}

/** The units of a content, to be compared. */
const unitsOf = (content: Y.Item["content"], from: number, to: number): string =>
  content instanceof Y.ContentString
    ? content.str.slice(from, to)
    : content instanceof Y.ContentFormat
      ? JSON.stringify([content.key, content.value])
      : JSON.stringify(content.getContent().slice(from, to));

type Finding = "same" | "forked" | "revealing" | "differing";

/** Compares a run with what is here of it, from one clock up to another. */
function compareUnits(
  run: Run,
  struct: Y.Item | Y.GC,
  client: number,
  [from, to]: readonly [number, number],
): Finding {
  const theirs = run.content;
  if (theirs === "gone") return "same";
  if (struct instanceof Y.GC) return "revealing";
  if (!isSamePlace(run, struct, client, from)) return "forked";
  const ours = struct.content;
  if (theirs instanceof Y.ContentDeleted) return "same";
  if (ours instanceof Y.ContentType && theirs instanceof Y.ContentType) {
    return kindOf(ours.type as SharedType) === kindOf(theirs.type as SharedType)
      ? "same"
      : "forked";
  }
  // A type is what others may have put something into, so it is kept, deleted.
  if (theirs instanceof Y.ContentType) return "revealing";
  if (ours instanceof Y.ContentDeleted || struct.deleted) return "same";
  const isEqual =
    ours.constructor === theirs.constructor &&
    unitsOf(ours, from - struct.id.clock, to - struct.id.clock) ===
      unitsOf(theirs, from - run.clock, to - run.clock);
  return isEqual ? "same" : "differing";
}

/** Compares the runs of a client with what a document has of it. */
export function compareClaim(doc: Y.Doc, client: number, runs: readonly Run[]): Comparison {
  const known = clockIn(doc, client);
  const found = new Set<Finding>();
  const differing: Range[] = [];
  for (const run of runs) {
    const end = Math.min(run.clock + run.length, known);
    for (const struct of structsIn(doc, client, run.clock, end)) {
      const from = Math.max(run.clock, struct.id.clock);
      const to = Math.min(end, struct.id.clock + struct.length);
      const finding = compareUnits(run, struct, client, [from, to]);
      found.add(finding);
      const isAlive = !(struct instanceof Y.GC) && !struct.deleted;
      if (finding === "differing" || (finding === "revealing" && isAlive)) {
        addRange(differing, from, to - from);
      }
    }
  }
  return { isForked: found.has("forked"), isRevealing: found.has("revealing"), differing };
}

/** Whether what a gateway carries contradicts what is here of the same client. */
export const isForked = (doc: Y.Doc, client: number, bytes: Uint8Array): boolean =>
  compareClaim(doc, client, readStockUpdate(bytes).runs.get(client) ?? []).isForked;

/** Runs of a client in which what is known now stands in the place of what stood for it. */
function revealedRuns(ours: readonly Run[], theirs: readonly Run[], client: number): Run[] {
  const runs: Run[] = [];
  for (const run of ours) {
    let rest = run;
    for (const other of theirs) {
      const end = rest.clock + rest.length;
      const from = Math.max(other.clock, rest.clock);
      const to = Math.min(other.clock + other.length, end);
      if (from >= to || !isRevealed(rest, other)) continue;
      if (from > rest.clock) runs.push(headOf(rest, from - rest.clock));
      const shown = headOf(tailOf(other, client, from - other.clock), to - from);
      const isType = shown.content instanceof Y.ContentType;
      runs.push(isType ? shown : { ...shown, content: new Y.ContentDeleted(to - from) });
      rest = tailOf(rest, client, to - rest.clock);
      if (rest.length === 0) break;
    }
    if (rest.length > 0) runs.push(rest);
  }
  return runs;
}

const isRevealed = ({ content: ours }: Run, { content: theirs }: Run): boolean =>
  (ours === "gone" && theirs !== "gone") ||
  (theirs instanceof Y.ContentType && !(ours instanceof Y.ContentType));

/** A document that has what it had, and knows more of it. */
function revealed(doc: Y.Doc, client: number, theirs: readonly Run[]): Y.Doc {
  const { runs, deletes } = readStockUpdate(Y.encodeStateAsUpdate(doc));
  const ours = runs.get(client) ?? [];
  return docOf(
    encodeAll(new Map([...runs, [client, revealedRuns(ours, theirs, client)]]), deletes),
  );
}

/** An update that was checked against `doc`, with whose clocks it takes. */
export interface Taken extends Integrated {
  readonly carried?: true;
}

/** Integrates a checked update; returns the document to go on with, which is another one after a reveal. Throws `INTERNAL` when Yjs finds it incomplete. */
export function take(doc: Y.Doc, update: Taken): Y.Doc {
  const { client, from, bytes, carried } = update;
  const isKnown = carried === true && isStockClient(client) && from < clockIn(doc, client);
  if (!isKnown) {
    integrate(doc, update);
    return doc;
  }
  const runs = readStockUpdate(bytes).runs.get(client) ?? [];
  const { isRevealing, differing } = compareClaim(doc, client, runs);
  eraseUnits(doc, client, differing);
  const next = isRevealing ? revealed(doc, client, runs) : doc;
  integrate(next, update);
  return next;
}

/** Deletes units with two contents. */
export function eraseUnits(doc: Y.Doc, client: number, ranges: readonly Range[]): void {
  if (ranges.length > 0) Y.applyUpdate(doc, encodeRuns(0, [], new Map([[client, ranges]])));
}
