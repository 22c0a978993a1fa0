// SPDX-License-Identifier: Apache-2.0
// oxlint-disable no-underscore-dangle -- Yjs names members so that its own modules share
/**
 * What a gateway carries for a Yjs client may be here already: the client was at another gateway before, and both have carried it. An honest client says
 * the same both times, as far as it still knows: of what it deleted it may have forgotten what, and of what was in that, where. So
 *
 * - what is the same is passed over, as Yjs does;
 * - what one gateway knows and the other did not takes the place of what stood for it, and is deleted, as the other says (a _reveal_);
 * - two contents in one place, which only a client that lies has, are both nothing: the unit is deleted;
 * - half a character is nothing as well, since it can't be told any more what it was: Yjs makes a replacement character (U+FFFD) of it, so those
 *   that stock clients have are deleted wherever they come from;
 * - two places of one unit, or two shared types, are a _fork_. Then the client has no history, and nothing of it counts.
 *
 * Each of that is the same in whatever order the two come.
 */
import * as Y from "yjs";
import { isStockClient } from "./client-id.ts";
import { clockIn, docOf, integrate, kindOf, partsIn } from "./engine.ts";
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

const SAME: Comparison = { isForked: false, isRevealing: false, differing: [] };
const [HIGH_SURROGATE, LOW_SURROGATE, LAST_SURROGATE] = [0xd800, 0xdc00, 0xdfff] as const;

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

function isSameType({ type: a }: Y.ContentType, { type: b }: Y.ContentType): boolean {
  if (kindOf(a as SharedType) !== kindOf(b as SharedType)) return false;
  return !(a instanceof Y.XmlElement && b instanceof Y.XmlElement) || a.nodeName === b.nodeName;
}

/** A unit of a content, to be compared. Two units that make one character are compared as one. */
function unitOf(content: Y.Item["content"], at: number): string {
  if (content instanceof Y.ContentFormat) return JSON.stringify([content.key, content.value]);
  if (!(content instanceof Y.ContentString)) return JSON.stringify(content.getContent()[at]);
  const unit = content.str.charCodeAt(at);
  if (unit >= LOW_SURROGATE && unit <= LAST_SURROGATE) return content.str.slice(at - 1, at + 1);
  return content.str.slice(at, at + (unit >= HIGH_SURROGATE && unit < LOW_SURROGATE ? 2 : 1));
}

type Content = Y.Item["content"];

/** The clocks from `from` up to `to` at which two contents differ, the first units of which are at the clocks `ours` and `theirs`. */
function differingUnits(
  [a, ours]: readonly [Content, number],
  [b, theirs]: readonly [Content, number],
  from: number,
  to: number,
): Range[] {
  if (a.constructor !== b.constructor) return [{ clock: from, len: to - from }];
  const differing: Range[] = [];
  for (let clock = from; clock < to; clock++) {
    if (unitOf(a, clock - ours) !== unitOf(b, clock - theirs)) addRange(differing, clock, 1);
  }
  return differing;
}

/** Compares a run with what is here of it, from one clock up to another. */
function compareUnits(
  run: Run,
  struct: Y.Item | Y.GC,
  client: number,
  [from, to]: readonly [number, number],
): Comparison {
  const theirs = run.content;
  const all = struct.deleted ? [] : [{ clock: from, len: to - from }];
  // What is gone was deleted.
  if (theirs === "gone") return { ...SAME, differing: all };
  if (struct instanceof Y.GC) return { ...SAME, isRevealing: true };
  if (!isSamePlace(run, struct, client, from)) return { ...SAME, isForked: true };
  const ours = struct.content;
  if (theirs instanceof Y.ContentDeleted) return SAME;
  if (theirs instanceof Y.ContentType) {
    // A type is what others may have put something into, so it is kept, deleted.
    if (!(ours instanceof Y.ContentType)) {
      return { isForked: false, isRevealing: true, differing: all };
    }
    return isSameType(ours, theirs) ? SAME : { ...SAME, isForked: true };
  }
  if (ours instanceof Y.ContentDeleted || struct.deleted) return SAME;
  const differing = differingUnits([ours, struct.id.clock], [theirs, run.clock], from, to);
  return { ...SAME, differing };
}

/** Compares the runs of a client with what a document has of it. */
export function compareClaim(doc: Y.Doc, client: number, runs: readonly Run[]): Comparison {
  const known = clockIn(doc, client);
  const differing: Range[] = [];
  let [isForkedNow, isRevealing] = [false, false];
  for (const run of runs) {
    const end = Math.min(run.clock + run.length, known);
    for (const struct of structsIn(doc, client, run.clock, end)) {
      const from = Math.max(run.clock, struct.id.clock);
      const to = Math.min(end, struct.id.clock + struct.length);
      const found = compareUnits(run, struct, client, [from, to]);
      isForkedNow ||= found.isForked;
      isRevealing ||= found.isRevealing;
      for (const { clock, len } of found.differing) addRange(differing, clock, len);
    }
  }
  return { isForked: isForkedNow, isRevealing, differing };
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
  let next = doc;
  const hasParted = partsIn(() => {
    next = takeAll(doc, update);
  });
  eraseBroken(next, update, hasParted);
  return next;
}

function takeAll(doc: Y.Doc, update: Taken): Y.Doc {
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

const REPLACEMENT = "\ufffd";

/** Replacement characters that a client has, from a clock on. */
function brokenOf(doc: Y.Doc, client: number, from: number): Range[] {
  const broken: Range[] = [];
  for (const struct of structsIn(doc, client, from, Number.MAX_SAFE_INTEGER)) {
    const content = struct instanceof Y.GC ? undefined : struct.content;
    if (!(content instanceof Y.ContentString) || struct.deleted) continue;
    const { clock } = struct.id;
    let at = content.str.indexOf(REPLACEMENT, Math.max(0, from - clock));
    for (; at >= 0; at = content.str.indexOf(REPLACEMENT, at + 1)) addRange(broken, clock + at, 1);
  }
  return broken;
}

/** Deletes the replacement characters of stock clients: those of an update, and all others once it has parted a character. */
export function eraseBroken(
  doc: Y.Doc,
  { client, from }: Pick<Integrated, "client" | "from">,
  hasParted: boolean,
): void {
  const clients = hasParted ? [...doc.store.clients.keys()] : [client];
  for (const each of clients.filter(isStockClient)) {
    eraseUnits(doc, each, brokenOf(doc, each, hasParted ? 0 : from));
  }
}
