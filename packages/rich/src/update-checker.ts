// SPDX-License-Identifier: Apache-2.0
/**
 * Checks a decoded update against a document without touching it.
 *
 * Yjs converges for operations that some editor could have made. It does not look whether they are
 * such, so this does: an entry's neighbours are in one list, in that order, and nothing that they were
 * made with lies between them. Parents, neighbours and order of what is applied never change, hence
 * the verdict is the same on every replica, whatever else has arrived there.
 */
import * as Y from "yjs";
import { clockIn, depthOf, kindOf } from "./engine.ts";
import type { SharedType } from "./engine.ts";
import { assertAtMost, malformed } from "./errors.ts";
import { GapChecker, firstIn, isNew } from "./gap-checker.ts";
import type { List, Neighbour } from "./gap-checker.ts";
import { isStockClient } from "./client-id.ts";
import { CONTENT_DEPTH, HOLDS, TRACES_ROOT, levelsOf, parseWireRoot } from "./names.ts";
import type { TypeKind } from "./names.ts";
import type {
  DecodedDelete,
  DecodedStruct,
  DecodedUpdate,
  StructContent,
  StructId,
} from "./update-decoder.ts";

/** What a list belongs to. Of what Yjs calls garbage nobody knows. */
type PlaceKind = TypeKind | "traces" | "gone";

/** The list that an entry is in: of a shared type, or of the revisions of one key of a map. */
interface Place {
  /** The type itself, the struct of this update that makes it, or the wire name of a root not yet opened. */
  readonly parent: SharedType | DecodedStruct | string;
  readonly kind: PlaceKind;
  readonly key: string | null;
  /** Nesting of the parent; 1 for a root. */
  readonly depth: number;
}

/** One clock of a client, found in the document or earlier in the update. */
interface Located {
  readonly place: Place;
  readonly origin: StructId | null;
  readonly rightOrigin: StructId | null;
  /** In the document only. */
  readonly item?: Y.Item;
}

/** A clock that the update builds on and the document does not have. */
export class MissingReference extends Error {
  readonly reference: StructId;

  constructor(reference: StructId) {
    super("the update builds on one that is not here");
    this.reference = reference;
  }
}

const GONE: Place = { parent: "", kind: "gone", key: null, depth: 0 };

/** What a place may have without a key, and under one; undefined where there is no such place. */
interface Allowed {
  readonly listed?: ReadonlySet<StructContent>;
  readonly keyed?: ReadonlySet<StructContent>;
}

const IN_TEXT: ReadonlySet<StructContent> = new Set(["string", "embed", "format", "deleted"]);
const ALLOWED: Readonly<Record<Exclude<PlaceKind, "gone">, Allowed>> = {
  text: { listed: IN_TEXT },
  xmltext: { listed: IN_TEXT },
  list: { listed: new Set(["any", "deleted", ...HOLDS.list]) },
  map: { keyed: new Set(["any", "deleted", ...HOLDS.map]) },
  xml: { listed: new Set(["deleted", ...HOLDS.xml]) },
  element: {
    listed: new Set(["deleted", ...HOLDS.element]),
    keyed: new Set(["any", "undefined", "deleted"]),
  },
  traces: { keyed: new Set(["deleted"]) },
};
/** Levels that a text's plain content adds above the values in it: runs, run, and attributes of a run. */
const LEVELS_ABOVE: Readonly<Partial<Record<StructContent, number>>> = { embed: 1, format: 2 };

const isType = (content: StructContent): content is TypeKind => content in HOLDS;

const sameId = (a: StructId | null, b: StructId | null): boolean =>
  a === b || (a !== null && b !== null && a.client === b.client && a.clock === b.clock);

const covers = (item: Y.Item, id: StructId | null): boolean =>
  id !== null &&
  id.client === item.id.client &&
  id.clock >= item.id.clock &&
  id.clock < item.id.clock + item.length;

/** One check of one update. */
export class UpdateChecker {
  readonly #doc: Y.Doc;
  readonly #update: DecodedUpdate;
  /** Of each struct of the update, as far as checked. */
  readonly #places: Place[] = [];
  readonly #gaps: GapChecker;

  constructor(doc: Y.Doc, update: DecodedUpdate, isCarried = false) {
    this.#doc = doc;
    this.#update = update;
    this.#gaps = new GapChecker(doc, update, isCarried);
  }

  /**
   * Throws `FORMAT_INVALID` or `LIMIT_EXCEEDED`, or {@link MissingReference} when it can't tell yet.
   * Returns whether what another client wrote goes: by deletion, or by a new value for its key.
   */
  run(): { readonly deletesOthers: boolean } {
    const { client, structs, deletes } = this.#update;
    let deletesOthers = false;
    for (const struct of structs) {
      const place = this.#placeOf(struct);
      if (place.kind === "gone") {
        this.#places.push(place);
        continue;
      }
      this.#gaps.use(struct, place, this.#listOf(struct, place));
      this.#checkContent(struct, place);
      this.#places.push(place);
      deletesOthers ||= place.key !== null && (struct.origin?.client ?? client) !== client;
    }
    this.#gaps.finish();
    for (const range of deletes) {
      this.#checkDelete(range);
      deletesOthers ||= range.client !== client;
    }
    return { deletesOthers };
  }

  #checkDelete({ client, clock, length }: DecodedDelete): void {
    const end = clock + length;
    if (client === this.#update.client) {
      if (end > this.#update.to) malformed("it deletes what it has yet to write", "deletes");
    } else if (end > clockIn(this.#doc, client)) {
      throw new MissingReference({ client, clock: end - 1 });
    }
  }

  #checkContent(struct: DecodedStruct, { kind, key, depth }: Place): void {
    if (kind === "gone") return;
    if (struct.hasKey !== (key !== null)) malformed("a key flag that is not its place's", "key");
    const { listed, keyed } = ALLOWED[kind];
    const allowed =
      (key === null ? listed : keyed) ?? malformed(`a key in a ${kind}, or none`, "key");
    if (!allowed.has(struct.content)) malformed(`${struct.content} in a ${kind}`, "content");
    if (key !== null && struct.content !== "deleted" && struct.length !== 1) {
      malformed("several values for one key", "content");
    }
    const own = isType(struct.content) ? levelsOf(struct.content) : struct.depth;
    const levels = depth + (LEVELS_ABOVE[struct.content] ?? 0) + own;
    assertAtMost(levels, CONTENT_DEPTH, "levels of nesting");
  }

  /** The list of an entry, unless this update makes it. */
  #listOf({ origin, rightOrigin }: DecodedStruct, { parent, key }: Place): List | undefined {
    if (!(parent instanceof Y.AbstractType)) return undefined;
    const neighbour = (id: StructId | undefined): Neighbour | undefined =>
      id && !isNew(id, this.#update) ? { item: this.#itemAt(id), clock: id.clock } : undefined;
    return {
      first: () => firstIn(parent, key),
      left: neighbour(origin),
      right: neighbour(rightOrigin),
    };
  }

  #placeOf(struct: DecodedStruct): Place {
    if (struct.content === "gone") return GONE;
    if (struct.parent !== undefined) return this.#placeIn(struct.parent, struct);
    const left = struct.origin && this.#locate(struct.origin, struct.clock);
    const right = struct.rightOrigin && this.#locate(struct.rightOrigin, struct.clock);
    this.#checkNeighbours(struct, left, right);
    const place = (left ?? right)?.place;
    return place ?? malformed("no place", "parent");
  }

  /** The place of a struct that names its parent: the first entry of its list that its writer saw. */
  #placeIn(parent: StructId | string, struct: DecodedStruct): Place {
    const key = struct.key ?? null;
    if (typeof parent === "string") {
      const root = parent === TRACES_ROOT ? parent : parseWireRoot(parent)?.kind;
      const kind = root ?? malformed("not a root", "root");
      const opened = this.#doc.share.get(parent) as SharedType | undefined;
      return { parent: opened ?? parent, kind, key, depth: 1 };
    }
    const index = this.#indexInUpdate(parent, struct.clock);
    if (index !== undefined) {
      const made = this.#update.structs[index];
      if (made === undefined || !isType(made.content)) {
        return malformed("a parent that is no shared type", "parent");
      }
      const depth = (this.#places[index]?.depth ?? 0) + levelsOf(made.content);
      return { parent: made, kind: made.content, key, depth };
    }
    const { content } = this.#itemAt(parent);
    // Another gateway may carry it with what it is, and not only with its having been deleted.
    if (content instanceof Y.ContentDeleted && isStockClient(parent.client)) {
      throw new MissingReference(parent);
    }
    if (!(content instanceof Y.ContentType)) malformed("a parent that is no shared type", "parent");
    const { type } = content;
    return { parent: type, kind: kindOf(type), key, depth: depthOf(type) };
  }

  #locate(id: StructId, before: number): Located {
    const index = this.#indexInUpdate(id, before);
    const struct = index === undefined ? undefined : this.#update.structs[index];
    const place = index === undefined ? undefined : this.#places[index];
    if (struct !== undefined && place !== undefined) {
      if (place.kind === "gone") malformed("it builds on what is gone", "origin");
      const first = id.clock === struct.clock;
      return {
        place,
        origin: first ? (struct.origin ?? null) : { client: id.client, clock: id.clock - 1 },
        rightOrigin: struct.rightOrigin ?? null,
      };
    }
    const item = this.#itemAt(id);
    const parent = item.parent as SharedType;
    const first = id.clock === item.id.clock;
    return {
      place: {
        parent,
        kind: parent === this.#doc.share.get(TRACES_ROOT) ? "traces" : kindOf(parent),
        key: item.parentSub,
        depth: depthOf(parent),
      },
      origin: first ? item.origin : { client: id.client, clock: id.clock - 1 },
      rightOrigin: item.rightOrigin,
      item,
    };
  }

  /** Which struct of the update an id is in; undefined when it is for the document to know. */
  #indexInUpdate({ client, clock }: StructId, before: number): number | undefined {
    if (!isNew({ client, clock }, this.#update)) return undefined;
    if (clock >= before) malformed("it builds on what it has yet to write", "origin");
    const { structs } = this.#update;
    let low = 0;
    let high = this.#places.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((structs[middle]?.clock ?? 0) <= clock) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #itemAt(id: StructId): Y.Item {
    if (id.clock >= clockIn(this.#doc, id.client)) throw new MissingReference(id);
    const item: Y.Item | Y.GC = Y.getItem(this.#doc.store, Y.createID(id.client, id.clock));
    // Another gateway may carry it with its place.
    if (item instanceof Y.GC) throw new MissingReference(id);
    return item;
  }

  /**
   * `left` and `right` can have been next to each other. The ends of a list count as neighbours too:
   * nothing was made to stand before the first or after the last.
   */
  #checkNeighbours(
    { origin, rightOrigin }: DecodedStruct,
    left: Located | undefined,
    right: Located | undefined,
  ): void {
    if (origin === undefined || left === undefined) {
      if (right !== undefined && right.origin !== null) malformed("not at the start", "origin");
      return;
    }
    if (rightOrigin === undefined || right === undefined) {
      if (left.rightOrigin !== null) malformed("not at the end", "rightOrigin");
      return;
    }
    // One was inserted beside the other, and so is in the same list; or both were, at the same time.
    if (sameId(right.origin, origin) || sameId(left.rightOrigin, rightOrigin)) return;
    if (!this.#isBetweenFree(left, right, origin, rightOrigin)) {
      malformed("neighbours that never were", "origin");
    }
  }

  /**
   * Both are in the document and in one list, `right` after `left`, and neither was made with something
   * that lies between them. Yjs looks at the same items when it integrates the struct.
   */
  #isBetweenFree(left: Located, right: Located, from: StructId, upTo: StructId): boolean {
    const last = right.item;
    if (left.item === undefined || last === undefined) return false;
    // In the items of the two themselves: what follows `left`, what precedes `right`.
    if (covers(left.item, right.origin) && (right.origin?.clock ?? 0) > from.clock) return false;
    if (upTo.clock > last.id.clock) return false;
    for (let item = left.item.right; item !== last; item = item.right) {
      if (item === null) return false;
      if (covers(item, right.origin) || covers(item, left.rightOrigin)) return false;
    }
    return true;
  }
}
