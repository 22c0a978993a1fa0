// SPDX-License-Identifier: Apache-2.0
/**
 * Takes apart what a stock Yjs client made: what becomes rich content, which facts it means, and what stays in the projection. Nothing is changed.
 *
 * An update may hold structs of others that the client has and this node has not; they are put in an order in which each comes after what it builds
 * on. Entries of the root `facts` become facts, and leave a trace: a deleted entry at their client's clock in the root `traces`, behind that client's
 * one before under the same key. That is a function of the client's own doings, and so the same wherever it is made.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import * as Y from "yjs";
import {
  SECTION_BYTES,
  SECTION_DELETES,
  SECTION_RUNS,
  behind,
  bytesOf,
  piecesOf,
  sectionOf,
} from "./carried.ts";
import type { CarriedContent } from "./carried.ts";
import { isOverlayClient, isStockClient } from "./client-id.ts";
import { clockIn } from "./engine.ts";
import { malformed } from "./errors.ts";
import { FACTS_ROOT, TRACES_ROOT, isSafeKey, parseWireRoot } from "./names.ts";
import { addRange, encodeRuns, structsIn, tailOf, tracesFrom } from "./stock-update.ts";
import type { Range, Run, StockUpdate, UnitId } from "./stock-update.ts";
import { MAX_DELETE_RANGES } from "./update-decoder.ts";

/** What a client's update comes to. */
export interface PlannedWrite extends Omit<CarriedContent, "by"> {
  /** Clients with something that is not here. */
  readonly clients: readonly number[];
  /** Facts by key; undefined for one that is deleted. */
  readonly facts: ReadonlyMap<string, JsonValue | undefined>;
  /** V1 updates for the projection alone: traces that no content follows yet. */
  readonly traces: readonly Uint8Array[];
}

/** As it is to be written. */
export type ProjectedWrite = PlannedWrite & CarriedContent;

/** What is planned against. */
export interface PlannerView {
  readonly doc: Y.Doc;
  /** The id under which facts are mirrored here. */
  readonly overlay: number;
  /** A client's next clock in the rich content; there may be traces behind it. */
  richClock(client: number): number;
  /** Whether the one who writes may do so under a client's id. */
  mayWriteAs(client: number): boolean;
  /** Throws `LIMIT_EXCEEDED` for more clients than may be; it is told of all that say something new, before anything else is done with them. */
  assertRoom(clients: readonly number[]): void;
  /** The key of another overlay's entry. */
  foreignKey(id: UnitId): string | undefined;
  /** The clock of a client's last trace under a key. */
  lastTrace(client: number, key: string): number | undefined;
}

/** Where a unit is. */
interface Place {
  readonly kind: "rich" | "fact" | "gone";
  readonly key: string | null;
}

interface Done extends Place {
  readonly run: Run;
}

/** Units of a client that are in no section yet. */
interface OpenRuns {
  runs: Run[];
  bytes: number;
  /** Something besides traces is among them. */
  isRich: boolean;
}

const GONE: Place = { kind: "gone", key: null };
/** Plans one update. */
export class WritePlanner {
  readonly #view: PlannerView;
  readonly #doc: Y.Doc;
  readonly #factsRoot: unknown;
  readonly #tracesRoot: unknown;
  readonly #update: StockUpdate;
  readonly #deleted: ReturnType<typeof Y.createDeleteSet>;
  /** Runs that are new here, and how many of them are done. */
  readonly #pending = new Map<number, { readonly runs: readonly Run[]; at: number }>();
  readonly #done = new Map<number, Done[]>();
  readonly #open = new Map<number, OpenRuns>();
  readonly #sections: { readonly client: number; readonly runs: readonly Run[] }[] = [];
  readonly #facts = new Map<string, JsonValue | undefined>();
  readonly #traces = new Map<string, number>();

  constructor(view: PlannerView, update: StockUpdate) {
    this.#view = view;
    this.#doc = view.doc;
    this.#factsRoot = view.doc.share.get(FACTS_ROOT);
    this.#tracesRoot = view.doc.share.get(TRACES_ROOT);
    this.#update = update;
    this.#deleted = Y.createDeleteSet();
    for (const [client, ranges] of update.deletes) this.#deleted.clients.set(client, [...ranges]);
  }

  /** Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED`, and `WRITE_BEHIND` when it builds on what is not here. */
  run(): PlannedWrite {
    for (const [client, runs] of this.#update.runs) this.#enqueue(client, runs);
    const clients = [...this.#pending.keys()];
    this.#view.assertRoom(clients);
    while (this.#pending.size > 0) {
      let moved = false;
      for (const client of this.#pending.keys()) {
        if (this.#advance(client)) moved = true;
      }
      if (!moved) behind();
    }
    const deletes = this.#deletes();
    const traces = [...this.#open].flatMap(([client, { runs }]) => {
      const fresh = runs.filter(({ clock }) => clock >= clockIn(this.#doc, client));
      return fresh.length === 0 ? [] : [encodeRuns(client, fresh)];
    });
    return { ...this.#encoded(deletes), facts: this.#facts, traces, clients };
  }

  /** Whether a client's structs are another overlay's: its own node knows them, and here they say nothing. */
  #isForeignOverlay(client: number): boolean {
    return isOverlayClient(client) && clockIn(this.#doc, client) === 0;
  }

  #enqueue(client: number, all: readonly Run[]): void {
    if (client === this.#view.overlay) return;
    if (this.#isForeignOverlay(client)) {
      // Half of all devices have such an id, too; what they wrote, and what of it is deleted, has to come first.
      if (all[0]?.clock === 0 && all[0].parent !== FACTS_ROOT) behind();
      return;
    }
    let next = clockIn(this.#doc, client);
    const runs: Run[] = [];
    for (const run of all) {
      const end = run.clock + run.length;
      if (end <= next) continue;
      if (run.clock > next) behind();
      runs.push(tailOf(run, client, next - run.clock));
      next = end;
    }
    if (runs.length === 0) return;
    if (client === 0) malformed("structs of client 0", "client");
    // What a device wrote comes in its batches.
    if (!isStockClient(client)) behind();
    // What somebody else's page made comes from that one, or from the gateway where it did.
    if (!this.#view.mayWriteAs(client)) behind();
    this.#pending.set(client, { runs, at: 0 });
  }

  /** Goes on with a client's runs as far as what they build on is there. */
  #advance(client: number): boolean {
    const pending = this.#pending.get(client);
    if (pending === undefined) return false;
    const before = pending.at;
    for (; pending.at < pending.runs.length; pending.at++) {
      const run = pending.runs[pending.at];
      if (run === undefined || !this.#isReady(client, run)) break;
      this.#take(client, run);
    }
    this.#close(client);
    if (pending.at === pending.runs.length) this.#pending.delete(client);
    return pending.at > before;
  }

  #isReady(client: number, run: Run): boolean {
    const { parent } = run;
    const ids = [run.origin, run.rightOrigin, typeof parent === "string" ? null : parent];
    return ids.every((id) => {
      if (id === null) return true;
      if (id.client === client) {
        if (id.clock >= run.clock) malformed("it builds on what it has yet to write", "origin");
        return true;
      }
      if (this.#resolve(id) !== undefined) return true;
      const { runs = [] } = this.#pending.get(id.client) ?? {};
      const last = runs.at(-1);
      if (last === undefined || id.clock >= last.clock + last.length) behind();
      return false;
    });
  }

  #isFact({ parent }: Y.Item): boolean {
    return parent === this.#factsRoot || parent === this.#tracesRoot;
  }

  #resolve(id: UnitId): Place | undefined {
    if (id.clock < clockIn(this.#doc, id.client)) {
      const struct: Y.Item | Y.GC = Y.getItem(this.#doc.store, Y.createID(id.client, id.clock));
      if (struct instanceof Y.GC) return GONE;
      return { kind: this.#isFact(struct) ? "fact" : "rich", key: struct.parentSub };
    }
    const key = this.#view.foreignKey(id);
    if (key !== undefined) return { kind: "fact", key };
    const done = this.#done.get(id.client) ?? [];
    let low = 0;
    let high = done.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((done[middle]?.run.clock ?? 0) <= id.clock) low = middle;
      else high = middle - 1;
    }
    const found = done[low];
    const isIn =
      found !== undefined &&
      found.run.clock <= id.clock &&
      id.clock < found.run.clock + found.run.length;
    return isIn ? found : undefined;
  }

  #placeOf(run: Run): Place {
    const { origin, rightOrigin, parent } = run;
    if (run.content === "gone") return GONE;
    const neighbours = [origin, rightOrigin].flatMap((id) => (id === null ? [] : [id]));
    const places = neighbours.map((id) => this.#resolve(id) ?? behind());
    // What Yjs would make garbage of, since it does not know any more where it is.
    if (places.some(({ kind }) => kind === "gone")) return GONE;
    const [place] = places;
    if (place !== undefined) return place;
    if (typeof parent === "string") {
      // A trace, which some node made of a fact and told its client's neighbours.
      const isTrace = parent === TRACES_ROOT && run.content instanceof Y.ContentDeleted;
      if (parent === FACTS_ROOT || isTrace) return { kind: "fact", key: run.key };
      if (parseWireRoot(parent) !== undefined) return { kind: "rich", key: run.key };
      const name = JSON.stringify(parent.slice(0, 80));
      return malformed(
        `the root ${name}; roots are called text:name, list:name, map:name or xml:name, and facts is one`,
        "root",
      );
    }
    if (parent === null) return malformed("a struct without a place", "parent");
    const { kind } = this.#resolve(parent) ?? behind();
    if (kind === "fact") malformed("a shared type as the value of a fact", "facts");
    return kind === "gone" ? GONE : { kind, key: run.key };
  }

  #take(client: number, run: Run): void {
    const place = this.#placeOf(run);
    const done = this.#done.get(client) ?? [];
    this.#done.set(client, done);
    done.push({ ...place, run });
    if (place.kind === "gone") {
      this.#add(client, { ...run, content: "gone" }, false);
      return;
    }
    for (const piece of piecesOf({ ...run, key: place.key }, client)) {
      if (place.kind === "fact") this.#takeFact(client, piece, place.key);
      else this.#add(client, piece, true);
    }
  }

  #takeFact(client: number, { clock, length, content }: Run, key: string | null): void {
    if (key === null) return malformed("facts is a map", "facts");
    if (!isSafeKey(key)) malformed(`the key ${JSON.stringify(key)}`, "key");
    if (content instanceof Y.ContentAny && length === 1) {
      const [value] = content.arr as readonly (JsonValue | undefined)[];
      if (value === undefined) malformed("a fact without a value", "facts");
      // The last one of a key counts, and is where it was written.
      this.#facts.delete(key);
      if (!Y.isDeleted(this.#deleted, Y.createID(client, clock))) this.#facts.set(key, value);
    } else if (!(content instanceof Y.ContentDeleted)) {
      malformed("a fact whose value is no JSON", "facts");
    }
    const name = `${String(client)} ${key}`;
    const last = this.#traces.get(name) ?? this.#view.lastTrace(client, key);
    const origin = last === undefined ? null : { client, clock: last };
    const parent = last === undefined ? TRACES_ROOT : null;
    this.#traces.set(name, clock + length - 1);
    const trace = { clock, length, origin, rightOrigin: null, parent, key };
    this.#add(client, { ...trace, content: new Y.ContentDeleted(length) }, false);
  }

  #add(client: number, run: Run, isRich: boolean): void {
    let open = this.#open.get(client);
    if (open !== undefined && (open.bytes > SECTION_BYTES || open.runs.length >= SECTION_RUNS)) {
      this.#close(client);
      open = this.#open.get(client);
    }
    if (open === undefined) {
      open = { runs: [], bytes: 0, isRich: false };
      this.#open.set(client, open);
    }
    open.runs.push(run);
    open.bytes += bytesOf(run);
    open.isRich ||= isRich;
  }

  /** They have to go before what comes behind them. */
  #unclaimed(client: number): Run[] {
    if (this.#sections.some((section) => section.client === client)) return [];
    return tracesFrom(this.#doc, client, this.#view.richClock(client));
  }

  /** What is open becomes a section, unless it is traces alone. */
  #close(client: number): void {
    const open = this.#open.get(client);
    if (open?.isRich !== true) return;
    // Only now, since a client that writes facts alone may have any number of them.
    this.#sections.push({ client, runs: [...this.#unclaimed(client), ...open.runs] });
    this.#open.delete(client);
    if (this.#sections.length <= LIMITS.queuedBatches) return;
    throw new MeshError("LIMIT_EXCEEDED", "the update would make too many batches", {
      field: "bytes",
    });
  }

  /** What the update deletes of rich content and is not deleted here; deleted facts are noted as such. */
  #deletes(): Map<number, Range[]> {
    const deletes = new Map<number, Range[]>();
    for (const [client, ranges] of this.#update.deletes) {
      if (client === this.#view.overlay) this.#deleteFacts(ranges);
      if (client === this.#view.overlay || this.#isForeignOverlay(client)) continue;
      const found: Range[] = [];
      for (const range of ranges) this.#findAlive(client, range, found);
      if (found.length > 0) deletes.set(client, found);
    }
    return deletes;
  }

  #deleteFacts(ranges: readonly Range[]): void {
    const { overlay } = this.#view;
    for (const { clock, len } of ranges) {
      for (const struct of structsIn(this.#doc, overlay, clock, clock + len)) {
        if (struct instanceof Y.GC || struct.deleted || struct.parentSub === null) continue;
        if (!this.#facts.has(struct.parentSub)) this.#facts.set(struct.parentSub, undefined);
      }
    }
  }

  #findAlive(client: number, { clock, len }: Range, found: Range[]): void {
    const end = clock + len;
    const add = (from: number, to: number): void => {
      const start = Math.max(from, clock);
      if (start < Math.min(to, end)) addRange(found, start, Math.min(to, end) - start);
    };
    for (const struct of structsIn(this.#doc, client, clock, end)) {
      if (struct instanceof Y.GC || struct.deleted || this.#isFact(struct)) continue;
      add(struct.id.clock, struct.id.clock + struct.length);
    }
    for (const { kind, run } of this.#done.get(client) ?? []) {
      if (kind !== "rich") continue;
      add(run.clock, run.clock + run.length);
    }
  }

  #encoded(
    deletes: ReadonlyMap<number, readonly Range[]>,
  ): Pick<ProjectedWrite, "sections" | "erasures"> {
    const flat = [...deletes].flatMap(([client, ranges]) =>
      ranges.map((range) => [client, range] as const),
    );
    // Once the last section is there, so is all that is deleted.
    const isWithLast = flat.length <= SECTION_DELETES && this.#sections.length > 0;
    const last = this.#sections.length - 1;
    const sections = this.#sections.map(({ client, runs }, i) =>
      sectionOf(client, runs, i === last && isWithLast ? deletes : new Map()),
    );
    const erasures: Uint8Array[] = [];
    for (let i = isWithLast ? flat.length : 0; i < flat.length; i += MAX_DELETE_RANGES) {
      const some = Map.groupBy(flat.slice(i, i + MAX_DELETE_RANGES), ([client]) => client);
      const ranges = [...some].map(
        ([client, of]) => [client, of.map(([, range]) => range)] as const,
      );
      erasures.push(encodeRuns(0, [], new Map(ranges)));
    }
    return { sections, erasures };
  }
}
