// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the verdict and the content are the same on every replica, also when the writers are dishonest.
 * Method: random updates that no editor would make; those that pass reach three replicas in different
 * causal orders. Without the rule about neighbours, Yjs leaves them with different content for ever.
 */
import { MeshError } from "@ctxmesh/model";
import { RichDocument } from "@ctxmesh/rich";
import { expect, test } from "vitest";
import { Dice, any, anyInt, between, first, receive, str, update } from "./support.ts";
import type { Content, Sent } from "./support.ts";

/** Histories. */
const SEEDS = 300;

const type = (ref: number): Content => [7, ref];

/** A random struct over known ids, mostly one that no editor would make. */
function craft(dice: Dice, ids: readonly (readonly [number, number])[]): number[] {
  const content = dice.pick([
    str("ab"),
    str("c"),
    str("d"),
    any(anyInt(3)),
    type(0),
    [1, 1],
    [7, 6],
    [7, 3, 1, 112],
  ] as const);
  if (dice.roll(4) > 0) {
    const origin = dice.roll(5) === 0 ? undefined : dice.pick(ids);
    const rightOrigin = origin !== undefined && dice.roll(3) === 0 ? undefined : dice.pick(ids);
    return between(origin, rightOrigin, content, dice.roll(3) === 0);
  }
  const parent =
    dice.roll(3) === 0 ? dice.pick(ids) : dice.pick(["text:a", "list:a", "map:a", "xml:a"]);
  return first(parent, content, dice.roll(3) > 0 ? undefined : "k");
}

/** An update and the updates it is known to build on. */
interface Crafted extends Sent {
  readonly past: ReadonlySet<Crafted>;
}

/** A replica and what it has. */
interface View {
  readonly doc: RichDocument;
  readonly past: Set<Crafted>;
}

/** Gives `view` one of the updates whose past it has; false when there is none. */
function receiveAny(dice: Dice, view: View, all: readonly Crafted[]): boolean {
  const ready = all.filter(
    (one) => !view.past.has(one) && [...one.past].every((before) => view.past.has(before)),
  );
  if (ready.length === 0) return false;
  const one = dice.pick(ready);
  receive(view.doc, one);
  view.past.add(one);
  return true;
}

/** Whether a replica would take it; false when it is refused or has to wait. */
function passes(doc: RichDocument, sent: Sent): boolean {
  try {
    return doc.check(sent.bytes, sent).kind === "ready";
  } catch (error) {
    if (error instanceof MeshError && error.code === "FORMAT_INVALID") return false;
    throw error;
  }
}

/** Tries random updates until one passes. */
function writeCrafted(dice: Dice, view: View, client: number): Crafted | undefined {
  const from = view.doc.clockOf(client);
  const ids = [10, 9, 8].flatMap((of) =>
    Array.from({ length: view.doc.clockOf(of) }, (_, clock) => [of, clock] as const),
  );
  if (ids.length === 0) ids.push([client, from]);
  for (let attempt = 0; attempt < 60; attempt++) {
    const [of, clock] = dice.pick(ids);
    const deletes = dice.roll(6) === 0 ? ([[of, [[clock, 1]]]] as const) : [];
    const bytes = update(client, from, [craft(dice, ids)], deletes);
    const to = from + (bytes.includes(98) ? 2 : 1);
    if (!passes(view.doc, { bytes, client, from, to })) continue;
    const made: Crafted = { bytes, client, from, to, past: new Set(view.past) };
    receive(view.doc, made);
    view.past.add(made);
    return made;
  }
  return undefined;
}

test("whoever made them, updates that pass leave all replicas with the same content, in any causal order", () => {
  let accepted = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const dice = new Dice(seed);
    const all: Crafted[] = [];
    const views = [0, 1, 2].map((): View => ({ doc: new RichDocument(), past: new Set() }));
    for (let step = 0; step < 40; step++) {
      const at = dice.roll(views.length);
      const view = views[at];
      if (view === undefined || (dice.roll(3) === 0 && receiveAny(dice, view, all))) continue;
      const made = writeCrafted(dice, view, 10 - at);
      if (made !== undefined) all.push(made);
    }
    for (const view of views) {
      while (receiveAny(dice, view, all));
      expect(view.past.size).toBe(all.length);
      expect(view.doc.content(), `seed ${String(seed)}`).toEqual(views[0]?.doc.content());
    }
    accepted += all.length;
  }
  expect(accepted).toBeGreaterThan(SEEDS * 10);
});
