// SPDX-License-Identifier: Apache-2.0
// oxlint-disable no-underscore-dangle -- Yjs names members so that its own modules share
/**
 * A document as stock Yjs clients see it: the rich content, and the root map `facts`, which mirrors visible values.
 *
 * The mirror is an _overlay_: entries under a client id of this node, which is above all ids that Yjs draws by itself. So in a browser that has an
 * entry of its own under the same key, or one of an older overlay, those of the overlay come last and are shown. Entries of other overlays that a
 * browser brings back are passed over; only their keys are remembered, since what it writes next may stand behind them.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import * as Y from "yjs";
import type { CarriedContent } from "./carried.ts";
import { compareClaim, eraseBroken, eraseUnits } from "./claims.ts";
import { isOverlayClient, isStockClient, overlayMs } from "./client-id.ts";
import { clockIn, createDoc, docOf, partsIn } from "./engine.ts";
import { assertAtMost } from "./errors.ts";
import { FACTS_ROOT, TRACES_ROOT, isSafeKey } from "./names.ts";
import { NOBODY, Owners, splitState } from "./owners.ts";
import type { ClientOwner } from "./owners.ts";
import { encodeRuns, readStockUpdate, structsIn, tracesFrom } from "./stock-update.ts";
import type { StockUpdate, UnitId } from "./stock-update.ts";
import { WritePlanner } from "./write-planner.ts";
import type { PlannerView, ProjectedWrite } from "./write-planner.ts";

/** Keys of other overlays' entries that are remembered. */
const FOREIGN_KEYS = 65_536;
/** Keys that an update can have taken away since others' overlays are out of date. */
const STALE_KEYS = 4_096;

/** What is applied of rich content, and whose clocks it takes. */
export interface AppliedRich {
  readonly bytes: Uint8Array;
  readonly client: number;
  readonly from: number;
  readonly to: number;
  /** For whom it was carried. */
  readonly by?: string;
}

const NO_WRITER: ClientOwner = { by: NOBODY };

const nameOf = ({ client, clock }: UnitId): string => `${String(client)} ${String(clock)}`;

/** One document as it is projected. */
export class ProjectedDoc {
  readonly #doc: Y.Doc;
  readonly #facts: Y.Map<unknown>;
  readonly #traced: Y.Map<unknown>;
  readonly #view: Omit<PlannerView, "mayWriteAs" | "assertRoom">;
  readonly #owners: Owners;
  /** Next clocks in the rich content, of clients with traces behind them. */
  readonly #claimed = new Map<number, number>();
  readonly #foreign = new Map<string, string>();
  /** Keys that a client shows an entry of another overlay under. */
  readonly #stale = new Set<string>();
  /** Of each client and key. */
  readonly #traces = new Map<string, number>();
  #bytes: number;

  /** From the state of the rich content, if there is any. `overlay`: see `overlayClient`. */
  constructor(state: Uint8Array | undefined, overlay: number) {
    const found = state === undefined ? undefined : splitState(state);
    this.#doc = found === undefined ? createDoc() : docOf(found.state);
    this.#owners = found?.owners ?? new Owners();
    this.#bytes = state?.length ?? 0;
    this.#facts = this.#doc.getMap(FACTS_ROOT);
    this.#traced = this.#doc.getMap(TRACES_ROOT);
    this.#noteTraces();
    this.#view = {
      doc: this.#doc,
      overlay,
      richClock: (client) => this.#claimed.get(client) ?? clockIn(this.#doc, client),
      foreignKey: (id) => this.#foreign.get(nameOf(id)),
      lastTrace: (client, key) => this.#traces.get(`${String(client)} ${key}`),
    };
    this.#doc.on("update", (bytes) => {
      this.#bytes += bytes.length;
    });
  }

  /** The id of its overlay. */
  get overlay(): number {
    return this.#view.overlay;
  }

  /** About its encoded size. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How many entries the overlay ever made. */
  get overlayEntries(): number {
    return clockIn(this.#doc, this.overlay);
  }

  #noteTraces(): void {
    for (const [key, newest] of this.#traced._map) {
      for (let item: Y.Item | null = newest; item !== null; item = item.left) {
        const name = `${String(item.id.client)} ${key}`;
        const last = item.id.clock + item.length - 1;
        if (last > (this.#traces.get(name) ?? -1)) this.#traces.set(name, last);
      }
    }
  }

  /** The state vector of all that is shown. */
  stateVector(): Uint8Array {
    return Y.encodeStateVector(this.#doc);
  }

  /** What a client with that state vector lacks. Throws `FORMAT_INVALID`. */
  diff(stateVector?: Uint8Array): Uint8Array {
    try {
      return Y.encodeStateAsUpdate(this.#doc, stateVector);
    } catch (cause) {
      throw new MeshError("FORMAT_INVALID", "the state vector can't be read", { cause });
    }
  }

  /**
   * What an update of somebody comes to. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED`, and `WRITE_BEHIND` when it builds on what is not here, or has what
   * somebody else's client made and is not here. Without `writer` nobody means to write it.
   */
  plan(bytes: Uint8Array, { by, whose }: ClientOwner = NO_WRITER): ProjectedWrite {
    assertAtMost(bytes.length, LIMITS.documentBytes, "bytes");
    const update = readStockUpdate(bytes);
    this.#learn(update);
    const mayWriteAs = (client: number): boolean =>
      by === NOBODY || (whose?.(client) !== "others" && this.#owners.allows(client, by));
    let isOne = false;
    // Of several clients that are new here some may be those of pages whose content this one has.
    const isOwn = (client: number): boolean =>
      this.#owners.has(client, by) || (whose?.(client) ?? (isOne ? "own" : "none")) === "own";
    const assertRoom = (clients: readonly number[]): void => {
      isOne = clients.length === 1;
      this.#owners.assertRoom(clients.filter(isOwn), by);
      this.#owners.assertRoom(
        clients.filter((client) => !isOwn(client)),
        NOBODY,
      );
    };
    const view = { ...this.#view, mayWriteAs, assertRoom };
    const planned = new WritePlanner(view, update).run();
    return { ...planned, by: (client) => (isOwn(client) ? by : NOBODY) };
  }

  /** Whether an update says nothing that is not shown, or that could count. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED`. */
  holds(bytes: Uint8Array): boolean {
    try {
      const { sections, erasures, facts } = this.plan(bytes);
      return sections.length + erasures.length + facts.size === 0;
    } catch (error) {
      // It has more than is here, which others wrote and this node will have.
      if (error instanceof MeshError && error.code === "WRITE_BEHIND") return true;
      throw error;
    }
  }

  /** Remembers the keys of other overlays' entries, and which of them a client still shows. */
  #learn({ runs, deletes }: StockUpdate): void {
    const deleted = Y.createDeleteSet();
    for (const [client, ranges] of deletes) deleted.clients.set(client, [...ranges]);
    let room = FOREIGN_KEYS;
    for (const [client, of] of runs) {
      if (!this.#isForeignOverlay(client)) continue;
      for (const { clock, length, origin, parent, key, content } of of) {
        const known = origin === null ? undefined : this.#keyOf(origin);
        const at = parent === FACTS_ROOT ? key : known;
        if (typeof at !== "string" || at.length > LIMITS.keyBytes) continue;
        // An entry says itself how long it is; what comes next stands behind its end.
        const from = Math.max(0, length - room);
        room -= length - from;
        for (let i = from; i < length; i++) this.#remember({ client, clock: clock + i }, at);
        if (this.#stale.size >= STALE_KEYS) continue;
        const isShown = content instanceof Y.ContentAny;
        if (isShown && !Y.isDeleted(deleted, Y.createID(client, clock))) this.#stale.add(at);
      }
    }
  }

  /** Takes away what clients show of other overlays and nobody says any more: an entry of this one that is deleted comes last. */
  shade(): void {
    const keys = [...this.#stale].filter((key) => !this.#facts.has(key) && isSafeKey(key));
    this.#stale.clear();
    this.#edit(() => {
      for (const key of keys) {
        this.#facts.set(key, null);
        this.#facts.delete(key);
      }
    });
  }

  #keyOf(id: UnitId): string | undefined {
    if (id.clock >= clockIn(this.#doc, id.client)) return this.#foreign.get(nameOf(id));
    const struct: Y.Item | Y.GC = Y.getItem(this.#doc.store, Y.createID(id.client, id.clock));
    if (struct instanceof Y.GC) return undefined;
    if (struct.parent !== this.#facts && struct.parent !== this.#traced) return undefined;
    return struct.parentSub ?? undefined;
  }

  #remember(id: UnitId, key: string): void {
    this.#foreign.set(nameOf(id), key);
    if (this.#foreign.size <= FOREIGN_KEYS) return;
    const [oldest] = this.#foreign.keys();
    if (oldest !== undefined) this.#foreign.delete(oldest);
  }

  /** Takes over what nothing but another projection of the same document has, whose place this one takes: traces, and where keys are. */
  follow(before: ProjectedDoc): void {
    const traces = [...before.#claimed].flatMap(([client, from]) => {
      const runs = tracesFrom(before.#doc, client, from);
      return runs.length === 0 ? [] : [encodeRuns(client, runs)];
    });
    this.keepTraces(traces);
    this.#owners.addAll(before.#owners);
    for (const [name, key] of before.#foreign) this.#foreign.set(name, key);
    for (const [key, { id }] of before.#facts._map) {
      if (id.client === before.overlay) this.#remember(id, key);
    }
  }

  /** Takes rich content that was checked. */
  takeRich({ bytes, client, from, to, by }: AppliedRich): void {
    if (by !== undefined) this.#owners.add(client, by);
    const before = clockIn(this.#doc, client);
    const hasParted = partsIn(() => {
      if (isStockClient(client) && from < before) {
        const runs = readStockUpdate(bytes).runs.get(client) ?? [];
        eraseUnits(this.#doc, client, compareClaim(this.#doc, client, runs).differing);
      }
      Y.applyUpdate(this.#doc, bytes);
    });
    eraseBroken(this.#doc, { client, from }, hasParted);
    if (!isStockClient(client)) return;
    // An older part of it may come from elsewhere once more.
    const claimed = Math.max(to, this.#claimed.get(client) ?? 0);
    if (claimed >= clockIn(this.#doc, client)) this.#claimed.delete(client);
    else if (this.#claimed.has(client)) this.#claimed.set(client, claimed);
    this.#noteTracesOf(client, before);
  }

  /** Keeps traces that no content follows yet; `by` says for whom, where that is not known already. */
  keepTraces(updates: readonly Uint8Array[], by?: CarriedContent["by"]): void {
    // A transaction costs something for each client that ever wrote.
    this.#doc.transact(() => {
      for (const bytes of updates) this.#keepTraces(bytes, by);
    });
  }

  #keepTraces(bytes: Uint8Array, by?: CarriedContent["by"]): void {
    for (const [client, [first]] of readStockUpdate(bytes).runs) {
      const next = clockIn(this.#doc, client);
      // What came meanwhile from elsewhere stands; a gap has to be told again.
      if (first === undefined || first.clock > next) continue;
      if (!this.#claimed.has(client)) this.#claimed.set(client, next);
      if (by !== undefined) this.#owners.add(client, by(client));
      Y.applyUpdate(this.#doc, bytes);
      this.#noteTracesOf(client, next);
    }
  }

  /** Notes the traces of a client from a clock on. */
  #noteTracesOf(client: number, from: number): void {
    for (const struct of structsIn(this.#doc, client, from, Number.MAX_SAFE_INTEGER)) {
      if (!(struct instanceof Y.Item) || struct.parent !== this.#traced) continue;
      this.#traces.set(
        `${String(client)} ${struct.parentSub ?? ""}`,
        struct.id.clock + struct.length - 1,
      );
    }
  }

  /** Shows facts, undefined for none; those in `again` also where they are shown already, since somebody wrote over them. */
  show(
    facts: Iterable<readonly [key: string, value: JsonValue | undefined]>,
    again?: { has(key: string): boolean },
  ): void {
    this.#edit(() => {
      for (const [key, value] of facts) {
        if (!isSafeKey(key)) continue;
        if (value === undefined) this.#facts.delete(key);
        else if (again?.has(key) === true || !this.#isShown(key, value)) {
          this.#facts.set(key, value);
        }
      }
    });
  }

  #edit(change: () => void): void {
    this.#doc.clientID = this.overlay;
    this.#doc.transact(change);
  }

  #isShown(key: string, value: JsonValue): boolean {
    const shown = this.#facts.get(key);
    return shown !== undefined && JSON.stringify(shown) === JSON.stringify(value);
  }

  /** Which entry of the overlay a key shows; undefined for none. */
  entryOf(key: string): number | undefined {
    const item = this.#facts._map.get(key);
    return item === undefined || item.deleted || item.id.client !== this.overlay
      ? undefined
      : item.id.clock + item.length - 1;
  }

  /** The keys that are shown. */
  keys(): readonly string[] {
    return [...this.#facts.keys()];
  }

  /** Calls back with each change. */
  onUpdate(listener: (bytes: Uint8Array) => void): void {
    this.#doc.on("update", listener);
  }

  /** The highest id of another overlay in a state vector, of those made by `latestMs`; 0 when there is none. Throws `FORMAT_INVALID`. */
  newestOverlay(stateVector: Uint8Array, latestMs: number): number {
    let clients: readonly number[];
    try {
      clients = [...Y.decodeStateVector(stateVector).keys()];
    } catch (cause) {
      throw new MeshError("FORMAT_INVALID", "the state vector can't be read", { cause });
    }
    return clients
      .filter((client) => this.#isForeignOverlay(client) && overlayMs(client) <= latestMs)
      .reduce((newest, client) => Math.max(newest, client), 0);
  }

  /** Whether an id may be another overlay's: a device's own would be known from the content. */
  #isForeignOverlay(client: number): boolean {
    return isOverlayClient(client) && client !== this.overlay && clockIn(this.#doc, client) === 0;
  }
}
