// SPDX-License-Identifier: Apache-2.0
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { sharedChain } from "../src/chain-names.ts";
import { deviceOf, incarnationOf } from "./arbitraries.ts";

const idOf = (n: number) => ({ writer: deviceOf(n % 3), incarnation: incarnationOf(n) });

test("whoever asks for a chain gets one that says the same, however many were asked for before", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20_000), { maxLength: 5_000 }), (numbers) => {
      for (const n of numbers) {
        const { name, ...id } = sharedChain(idOf(n));
        expect(id).toEqual(idOf(n));
        expect(name).toBe(id.writer + id.incarnation);
      }
    }),
    { numRuns: 5 },
  );
});

test("documents have one object for a chain", () => {
  expect(sharedChain(idOf(1))).toBe(sharedChain(idOf(1)));
  expect(sharedChain(idOf(1))).not.toBe(sharedChain(idOf(2)));
});

test("no more than some thousand chains are remembered", () => {
  const first = sharedChain(idOf(1));
  for (let n = 2; n < 5_000; n++) sharedChain(idOf(n));
  expect(sharedChain(idOf(1))).not.toBe(first);
});
