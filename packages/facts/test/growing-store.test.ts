// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a store that moves into another engine says before, while and after that what one that never moves says.
 * Method: the same random frames into both, with a border that some of them reach, and states loaded from either.
 */
import {
  GrowingStore,
  PackedFrame,
  SlotStore,
  decodeState,
  documentEngine,
  encodeFrame,
  encodeState,
  factEngine,
} from "@ctxmesh/facts";
import type { FactStore, KeySlots, Slot } from "@ctxmesh/facts";
import { LIMITS } from "@ctxmesh/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { deviceOf, frameArbitrary, incarnationOf } from "./arbitraries.ts";

const random = { bytes: (length: number) => new Uint8Array(length).fill(9) };
const wasm = factEngine("wasm", random);

/** A store that grows past `border` bytes, and how often it did. */
function growing(border: number): { store: GrowingStore; grown: () => number } {
  let count = 0;
  const make = (): FactStore => {
    count++;
    return wasm();
  };
  return { store: new GrowingStore(border, make), grown: () => count };
}

const byWriter = (slots: readonly Slot[]): readonly Slot[] =>
  slots.toSorted((a, b) => {
    const [one, other] = [a, b].map(({ writer, retract }) => writer + (retract?.writer ?? ""));
    return (one ?? "") < (other ?? "") ? -1 : 1;
  });
const shown = ({ statements, retractions }: KeySlots): unknown => [
  byWriter(statements),
  byWriter(retractions),
];

const said = (store: FactStore): unknown => ({
  state: encodeState(store),
  keys: [...store.keys()],
  slots: [...store.keys()].map((key) => shown(store.slots(key))),
  counts: [store.keyCount, store.slotCount, store.bytes, store.gaps],
  summary: store.summary(),
  expires: [store.expires(0, Number.MAX_SAFE_INTEGER), store.expires(0, 0)],
});

test("whatever comes and whenever it grows, it says what a store in JavaScript says", () => {
  const step = fc.tuple(frameArbitrary, fc.integer({ min: 1, max: 3 }), fc.boolean());
  const outcomes = new Set<number>();
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 6 }),
      fc.constantFrom(0, 500, 2_000, 1e9),
      (steps, border) => {
        const { store, grown } = growing(border);
        const plain = new SlotStore();
        for (const [frame, n, isPacked] of steps) {
          const chain = { writer: deviceOf(n), incarnation: incarnationOf(n) };
          const packed = PackedFrame.of(encodeFrame(frame), frame);
          const changed = [store, plain].map((each) =>
            isPacked ? each.applyPacked(chain, packed).keys() : each.applyFrame(chain, frame),
          );
          expect(changed[0]).toEqual(changed[1]);
        }
        // What is known beyond a gap and has no slots, which is so of hostile chains alone, is forgotten as by any loading.
        if (store.gaps < plain.gaps) return;
        expect(said(store)).toEqual(said(plain));
        expect(grown()).toBe(plain.bytes > border ? 1 : 0);
        outcomes.add(grown());
        const { store: loaded } = growing(border);
        loaded.merge(encodeState(plain));
        expect(said(loaded)).toEqual(said(plain));
      },
    ),
    { numRuns: 100 },
  );
  expect(outcomes).toEqual(new Set([0, 1]));
});

test("a state that is no state leaves it as it was, large or small", () => {
  for (const bytes of [Uint8Array.of(2), new Uint8Array(2 * LIMITS.smallDocumentBytes)]) {
    const store = documentEngine("wasm", random)();
    expect(() => store.merge(bytes)).toThrow(expect.objectContaining({ code: "FORMAT_INVALID" }));
    expect([store.keyCount, store.bytes]).toEqual([0, 0]);
  }
  expect(decodeState(encodeState(new SlotStore()), documentEngine("js", random)).keyCount).toBe(0);
});
