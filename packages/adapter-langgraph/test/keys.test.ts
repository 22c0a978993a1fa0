// SPDX-License-Identifier: Apache-2.0
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { factKeyOf, itemNameOf, prefixOf } from "../src/keys.ts";

const label = fc.string({ minLength: 1, unit: "grapheme" });

test("a key says which item it is of, whatever its labels are, and has no control characters", () => {
  fc.assert(
    fc.property(
      fc.array(label, { minLength: 1, maxLength: 4 }),
      fc.string({ unit: "binary" }).filter((text) => text.isWellFormed()),
      (namespace, key) => {
        const text = factKeyOf({ namespace, key });
        expect(itemNameOf(text)).toEqual({ namespace, key });
        expect(text.startsWith(prefixOf(namespace.slice(0, 1)))).toBe(true);
        expect(text).not.toMatch(/\p{Cc}/u);
      },
    ),
  );
});

test("a key that no store made is of no item", () => {
  for (const text of ["no-namespace", "50%/x", "a%20b/c", ""]) {
    expect(itemNameOf(text)).toBeUndefined();
  }
});
