// SPDX-License-Identifier: Apache-2.0
import { parseDocumentName } from "@ctxmesh/model";
import type { DocumentName } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Shelf } from "../src/shelf.ts";

/** Text that grows, and can be pinned: what is staged must not be encoded. */
interface Note {
  text: string;
  isPinned: boolean;
}

const nameOf = (number: number): DocumentName => parseDocumentName(`doc-${String(number)}`);

function shelfOf(capBytes: number): Shelf<Note> {
  return new Shelf<Note>(
    {
      decode: (_, state) => ({ text: new TextDecoder().decode(state), isPinned: false }),
      encode: ({ text }) => new TextEncoder().encode(text),
      sizeOf: ({ text }) => text.length,
      isWhole: ({ isPinned }) => !isPinned,
    },
    capBytes,
  );
}

const fresh = (): Note => ({ text: "", isPinned: false });

describe("a shelf", () => {
  test("has what was put there, however little of it may be open", () => {
    const step = fc.record({
      doc: fc.nat({ max: 200 }),
      add: fc.string({ unit: "grapheme-ascii", maxLength: 20 }),
    });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 600, size: "max" }),
        fc.nat({ max: 300 }),
        (steps, cap) => {
          const shelf = shelfOf(cap);
          const model = new Map<DocumentName, string>();
          for (const { doc, add } of steps) {
            const name = nameOf(doc);
            shelf.getOrMake(name, fresh).text += add;
            model.set(name, (model.get(name) ?? "") + add);
          }
          const all = [...shelf.entries()].map(([doc, { text }]) => [doc, text] as const);
          expect(new Map(all)).toEqual(model);
          expect(all.length).toBe(model.size);
          for (const [doc, text] of model) {
            expect(new TextDecoder().decode(shelf.encode(doc))).toBe(text);
            expect(shelf.bytesOf(doc)).toBe(text.length);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test("keeps open what was asked for last, and closes the rest over its number of bytes", () => {
    const shelf = shelfOf(1_000);
    for (let i = 0; i < 1_000; i++) {
      shelf.getOrMake(nameOf(i), fresh).text = "x".repeat(100);
      shelf.get(nameOf(0));
    }
    // Ten fit, and up to 32 are opened between two looks.
    expect(shelf.openCount).toBeLessThanOrEqual(10 + 32);
    expect(shelf.get(nameOf(0))?.text.length).toBe(100);
    expect(shelf.docs().length).toBe(1_000);
  });

  test("does not close what is not whole", () => {
    const shelf = shelfOf(0);
    const pinned = shelf.getOrMake(nameOf(0), () => ({ text: "staged", isPinned: true }));
    for (let i = 1; i < 200; i++) shelf.getOrMake(nameOf(i), fresh).text = "x";
    expect(shelf.get(nameOf(0))).toBe(pinned);
  });
});
