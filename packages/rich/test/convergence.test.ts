// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: behind checks and causal order, rich content is what Yjs says it is, on every replica.
 * Method: seeded random edits by three to five clients, delivered late and in different orders, with
 * restarts from stored state. Each
 * replica has two documents beside it that get the same bytes: a stock `Y.Doc`, and one that keeps
 * everything. The stock one tidies format marks by itself, and so shows other attributes than another
 * stock one with the same updates; only its characters, lists and maps are compared.
 */
import type { RichDocument } from "@ctxmesh/rich";
import type { JsonValue } from "@ctxmesh/model";
import { expect, test } from "vitest";
import * as Y from "yjs";
import { readContent } from "../src/content.ts";
import { openRoot } from "../src/engine.ts";
import { Dice, Mesh } from "./support.ts";

const ROOTS = ["text", "list", "map"].flatMap((kind) => [`${kind}:one`, `${kind}:two`]);

function yDoc(gc: boolean): Y.Doc {
  const doc = new Y.Doc({ gc });
  for (const root of ROOTS) openRoot(doc, root);
  return doc;
}

/** Applies an update without the tidying. */
function applyAsIs(doc: Y.Doc, bytes: Uint8Array): void {
  doc.once("afterTransaction", (transaction) => {
    // oxlint-disable-next-line no-underscore-dangle -- Yjs names it so
    transaction._needFormattingCleanup = false;
  });
  Y.applyUpdate(doc, bytes);
}

const isRun = (item: JsonValue): item is { readonly insert: JsonValue } =>
  typeof item === "object" && item !== null && "insert" in item;

/** Content without attributes: each text as one string, an embed as a star. */
function bare(value: JsonValue): JsonValue {
  if (Array.isArray(value)) {
    const items = value as readonly JsonValue[];
    if (items.length > 0 && items.every(isRun)) {
      return items.map(({ insert }) => (typeof insert === "string" ? insert : "*")).join("");
    }
    return items.map(bare);
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, bare(member)]));
}

/** State vector and delete set: everything that Yjs knows but the content. */
function snapshotOf(doc: RichDocument): Uint8Array {
  const copy = new Y.Doc({ gc: false });
  applyAsIs(copy, doc.encodeState());
  return Y.encodeSnapshot(Y.snapshot(copy));
}

function run(seed: number, steps: number): void {
  const dice = new Dice(seed);
  const mesh = new Mesh(3 + dice.roll(3));
  const stock = mesh.docs.map(() => yDoc(true));
  const keeping = mesh.docs.map(() => yDoc(false));
  const hint = `seed ${String(seed)}`;
  const follow = (replica: number, bytes: Uint8Array | undefined): void => {
    const [doc, other, all] = [mesh.docs[replica], stock[replica], keeping[replica]];
    if (bytes === undefined || !doc || !other || !all) return;
    Y.applyUpdate(other, bytes);
    applyAsIs(all, bytes);
    const content = doc.content();
    expect(content, hint).toEqual(readContent(all));
    const bareOf = (contents: typeof content): JsonValue =>
      contents.map(({ value }) => bare(value));
    expect(bareOf(content), hint).toEqual(bareOf(readContent(other)));
    expect(snapshotOf(doc), hint).toEqual(Y.encodeSnapshot(Y.snapshot(all)));
  };
  const deliver = (replica: number, author: number): unknown => {
    const sent = mesh.deliver(replica, author);
    follow(replica, sent?.bytes);
    return sent;
  };
  for (let step = 0; step < steps; step++) {
    const replica = dice.roll(mesh.docs.length);
    if (dice.roll(20) === 0) mesh.restart(replica);
    if (dice.roll(3) === 0) follow(replica, mesh.write(replica, dice)?.bytes);
    else deliver(replica, dice.roll(mesh.docs.length));
  }
  mesh.settle((replica, author) => deliver(replica, author) as ReturnType<Mesh["deliver"]>);
  const [one, ...others] = mesh.docs;
  if (one === undefined) throw new Error("no replica");
  for (const other of others) {
    expect(other.content(), hint).toEqual(one.content());
    expect(snapshotOf(other), hint).toEqual(snapshotOf(one));
  }
}

test("every replica has at every step what a stock Yjs document has, and all end with the same", () => {
  for (let seed = 1; seed <= 40; seed++) expect(() => run(seed, 150)).not.toThrow();
});
