// SPDX-License-Identifier: Apache-2.0
/** Goal: no change of a bundle, a proof, a decision or a trust root is accepted, and each has the right exit code. `npm run tamper` is the long form. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { rightCodes } from "../scripts/tamper/expect.ts";
import { exampleMaterial } from "../scripts/tamper/material.ts";
import { tamper } from "../scripts/tamper/run.ts";

const material = exampleMaterial((name) => readFileSync(`docs/examples/formats/${name}`));

test("a thousand changes are refused, each with the exit code that is right for it", () => {
  const seed = 38;
  const { refused, wrong } = tamper(material, 1_000, seed);
  expect(wrong, `seed ${String(seed)}`).toEqual([]);
  expect(Object.keys(refused).toSorted()).toEqual([
    "bundle",
    "decision",
    "fact proof",
    "trust root",
  ]);
});

test("what is right is told without the code that verifies, and is mostly one code", () => {
  const [bundle] = material.files.bundle;
  const text = new TextDecoder().decode(bundle);
  const codes = (from: string, to: string): readonly number[] => {
    expect(text).toContain(from);
    return rightCodes("bundle", bundle, new TextEncoder().encode(text.replace(from, to)));
  };
  expect(codes('"format"', '"Format"')).toEqual([3]);
  expect(codes('\\"value\\":92.5', '\\"value\\":92.6')).toEqual([1]);
  expect(codes('\\"keyid\\":\\"', '\\"keyid\\":\\"A')).toEqual([2]);
  expect(codes('"salt":"', '"salt":" ')).toEqual([3]);
});
