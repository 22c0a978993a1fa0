// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whose clients are in a document is kept with its state, and says who may write under which.
 * Method: random owners through the state and back, and damaged ones.
 */
import { MeshError, toHex } from "@ctxmesh/model";
import { RichDocument } from "@ctxmesh/rich";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import * as Y from "yjs";
import { NOBODY, Owners, splitState } from "../src/owners.ts";

const STATE = Y.encodeStateAsUpdate(new Y.Doc());
const pair = fc.tuple(
  fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => toHex(bytes)),
);

test("owners come back with the state as they were, whatever the order in which they came", () => {
  fc.assert(
    fc.property(fc.array(pair), (pairs) => {
      const [owners, others] = [new Owners(), new Owners()];
      for (const [client, by] of pairs) owners.add(client, by);
      for (const [client, by] of pairs.toReversed()) others.add(client, by);
      const bytes = owners.encode(STATE);
      expect(others.encode(STATE)).toEqual(bytes);
      const split = splitState(bytes);
      expect(split.state).toEqual(STATE);
      expect(split.owners.encode(STATE)).toEqual(bytes);
      for (const [client, by] of pairs) expect(split.owners.has(client, by)).toBe(true);
    }),
  );
});

test("owners that are cut off, out of order, twice there, or of no client are refused with the state", () => {
  const owners = new Owners();
  for (const client of [7, 9]) owners.add(client, "11".repeat(16));
  const good = owners.encode(STATE);
  expect(() => RichDocument.checkState(good, () => false)).not.toThrow();
  const swapped = good.slice();
  swapped.set(good.subarray(6, 26), 26);
  swapped.set(good.subarray(26, 46), 6);
  const twice = good.slice();
  twice.set(good.subarray(6, 26), 26);
  const none = good.slice();
  none.fill(0, 6, 10);
  for (const bad of [swapped, twice, none, good.subarray(0, 4), good.subarray(0, 30)]) {
    expect(() => RichDocument.checkState(bad, () => false)).toThrow(MeshError);
    expect(() => RichDocument.fromState(bad)).toThrow(
      expect.objectContaining({ code: "STORE_CORRUPT" }),
    );
  }
});

test("under an id writes whoever did before, or anybody where nobody did by itself", () => {
  const [ann, eve] = ["0a".repeat(16), "0e".repeat(16)];
  const owners = new Owners();
  expect(owners.allows(1, eve)).toBe(true);
  owners.add(1, NOBODY);
  expect([owners.allows(1, ann), owners.allows(1, NOBODY)]).toEqual([true, true]);
  owners.add(1, ann);
  expect([owners.allows(1, ann), owners.allows(1, eve), owners.allows(1, NOBODY)]).toEqual([
    true,
    false,
    false,
  ]);
});
