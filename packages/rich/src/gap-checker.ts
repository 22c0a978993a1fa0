// SPDX-License-Identifier: Apache-2.0
// oxlint-disable no-underscore-dangle -- Yjs names members so that its own modules share
/**
 * Follows the order of things as the writer of an update had it before it.
 *
 * An editor puts each entry between two that are next to each other, so it uses a gap once: what comes later
 * goes to the left or to the right of the new entry. Yjs does not ask for that. It looks at every item between
 * the neighbours that an entry claims, and so thousands of entries that claim one gap, or gaps within each
 * other, cost it seconds. What is refused here is a function of the update and of the order of what it builds on,
 * hence the same on every replica.
 */
import type * as Y from "yjs";
import { malformed } from "./errors.ts";
import type { DecodedStruct, DecodedUpdate, StructId } from "./update-decoder.ts";

/** An item of the document, and which of its clocks is meant. */
export interface Neighbour {
  readonly item: Y.Item;
  readonly clock: number;
}

/** Where a gap is: in a list, or among the revisions of one key of a map. */
export interface GapPlace {
  /** The list; only told apart from others. */
  readonly parent: unknown;
  readonly key: string | null;
}

/** A list in the document, with the two neighbours in it; without one of them, up to that end. */
export interface List {
  readonly first: () => Y.Item | null;
  readonly left: Neighbour | undefined;
  readonly right: Neighbour | undefined;
}

/** Clocks of one client behind which a gap was crossed, both ends included. */
interface Crossed {
  readonly client: number;
  readonly from: number;
  readonly to: number;
}

const END = "end";
/** From so many steps on they are compared with the number of items that there are. */
const MANY_STEPS = 10_000;

const nameOf = ({ client, clock }: StructId): string => `${String(client)}/${String(clock)}`;

/** Whether an id is for the update to know, and not for the document. */
export const isNew = (
  { client, clock }: StructId,
  update: Pick<DecodedUpdate, "client" | "from">,
): boolean => client === update.client && clock >= update.from;

const lastOf = (item: Y.Item): number => item.id.clock + item.length - 1;

/** The first item of a list, or of the revisions of one key of a map. */
export function firstIn(parent: Y.AbstractType<unknown>, key: string | null): Y.Item | null {
  if (key === null) return parent._start;
  let item = parent._map.get(key) ?? null;
  while (item !== null && item.left !== null) item = item.left;
  return item;
}

/** Checks the gaps of one update's entries, in the order in which they were made. */
export class GapChecker {
  readonly #doc: Y.Doc;
  readonly #update: Pick<DecodedUpdate, "client" | "from">;
  /** It has one entry, and so nothing that could cross another. */
  readonly #isSingle: boolean;
  readonly #isCarried: boolean;
  /** What stands behind an entry, or at the start of a list, for the writer, where the update changed that. */
  readonly #behind = new Map<string, string>();
  readonly #parents = new Map<unknown, number>();
  readonly #crossed: Crossed[] = [];
  #crossings = 0;
  #steps = 0;

  constructor(
    doc: Y.Doc,
    update: Pick<DecodedUpdate, "client" | "from" | "structs">,
    isCarried = false,
  ) {
    this.#doc = doc;
    this.#isCarried = isCarried;
    this.#update = update;
    this.#isSingle = update.structs.length === 1;
  }

  #startOf({ parent, key }: GapPlace): string {
    let number = this.#parents.get(parent);
    if (number === undefined) {
      number = this.#parents.size;
      this.#parents.set(parent, number);
    }
    // An element has a list besides its keys.
    return key === null ? `start of ${String(number)}` : `start of ${String(number)} at ${key}`;
  }

  /** The next entry uses a gap that is there for its writer, in the order of `list` where that is in the document. */
  use(struct: DecodedStruct, place: GapPlace, list: List | undefined): void {
    if (this.#isSingle) {
      if (list !== undefined) this.#cross(list);
      return;
    }
    const { origin, rightOrigin, clock, length } = struct;
    const from = origin ? nameOf(origin) : this.#startOf(place);
    const to = rightOrigin ? nameOf(rightOrigin) : END;
    const known = this.#behind.get(from) ?? this.#ownBehind(origin);
    if (known === undefined ? this.#isOwn(rightOrigin) : known !== to) {
      malformed("neighbours that it has parted itself", "origin");
    }
    if (known === undefined && list !== undefined) this.#cross(list);
    const client = this.#update.client ?? 0;
    this.#behind.set(from, nameOf({ client, clock }));
    this.#behind.set(nameOf({ client, clock: clock + length - 1 }), to);
  }

  /** Made by this update. */
  #isOwn(id: StructId | undefined): id is StructId {
    return id !== undefined && isNew(id, this.#update);
  }

  /** Within a run of this update each clock has the next one behind it. */
  #ownBehind(id: StructId | undefined): string | undefined {
    return this.#isOwn(id) ? nameOf({ client: id.client, clock: id.clock + 1 }) : undefined;
  }

  /** Goes over what lies between two neighbours: nothing that the writer wrote before, and nothing twice. */
  #cross({ first, left, right }: List): void {
    this.#crossings++;
    let item = left === undefined ? first() : left.item;
    let clock = left?.clock ?? item?.id.clock ?? 0;
    while (item !== null) {
      const isRight = item === right?.item;
      this.#add(item, clock, isRight ? right.clock - 1 : lastOf(item), item === left?.item);
      if (isRight) return;
      item = item.right;
      clock = item?.id.clock ?? 0;
    }
  }

  /** Adds the gaps behind the clocks `from` to `to` of an item, the first of which is the left neighbour if `isLeft`. */
  #add(item: Y.Item, from: number, to: number, isLeft: boolean): void {
    const { client } = item.id;
    if (client === this.#update.client) {
      // What a gateway carries may be here already, and what was before it in another place, both by another gateway.
      if (this.#isCarried) return;
      if (to >= (isLeft ? from + 1 : from)) {
        malformed("neighbours that its writer has parted before", "origin");
      }
    }
    if (to >= from && !this.#isSingle) this.#crossed.push({ client, from, to });
    this.#steps++;
    if (this.#steps % MANY_STEPS === 0 && this.#steps > this.#mostSteps()) overlap();
  }

  /** Every item once, and once more for each gap. */
  #mostSteps(): number {
    let items = this.#behind.size * 2;
    for (const structs of this.#doc.store.clients.values()) items += structs.length;
    return items;
  }

  /** To be called after the last entry. */
  finish(): void {
    if (this.#crossings < 2) return;
    const crossed = this.#crossed.toSorted((a, b) => a.client - b.client || a.from - b.from);
    for (let i = 1; i < crossed.length; i++) {
      const [before, now] = [crossed[i - 1], crossed[i]];
      if (before?.client === now?.client && (before?.to ?? 0) >= (now?.from ?? 0)) overlap();
    }
  }
}

function overlap(): never {
  return malformed("neighbours on both sides of others' neighbours", "origin");
}
