// SPDX-License-Identifier: Apache-2.0
/** Rich updates that would have Yjs search for the place of thousands of entries. */
import { parseDocumentName } from "@ctxmesh/model";
import { between, first, str, update } from "../../../packages/rich/test/support.ts";
import { by } from "../support/attack.ts";
import type { Attack } from "../support/attack.ts";
import { INCARNATION, clientOf, richOf } from "../support/forge.ts";
import type { Forged } from "../support/forge.ts";
import { mallory } from "../support/ground.ts";
import type { Ground } from "../support/ground.ts";

const NESTED_DOC = parseDocumentName("line-2/nested");
/** The attacker's own client id. */
const ME = clientOf(mallory.key, INCARNATION);
const PAIRS = 4_000;

const count = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** Thousands of entries, all in the same place. */
const many = (name: string, entry: (ground: Ground) => number[]): Attack => ({
  name: `${String(PAIRS)} ${name}`,
  build: (ground) => {
    const bytes = update(
      ME,
      0,
      count(PAIRS).map(() => entry(ground)),
    );
    return [by(ground, { sections: [richOf(bytes, PAIRS)] }).bytes];
  },
  verdict: "refused rich",
});

/** Entries where their writer had no gap. */
export const SEARCH: readonly Attack[] = [
  many("entries in one gap", ({ honestClient }) =>
    between([honestClient, 1], [honestClient, 2], str("x")),
  ),
  many("first entries of a root", () => first("text:a", str("x"))),
  {
    name: "4,000 gaps within each other",
    before: (ground) => [nest(ground)].map(({ bytes }) => bytes),
    build: (ground) => {
      const gaps = update(
        ME,
        2 * PAIRS,
        count(PAIRS).map((i) => between([ME, 2 * i], [ME, 2 * i + 1], str("x"))),
      );
      const section = richOf(gaps, 3 * PAIRS, 2 * PAIRS, NESTED_DOC);
      return [by(ground, { seq: 2, prev: nest(ground).hash, sections: [section] }).bytes];
    },
    verdict: "refused rich",
  },
];

/** A first batch of the attacker's with pairs of letters, each within the one before. */
function nest(ground: Ground): Forged {
  const letters = count(PAIRS).flatMap((i) => {
    const left = i === 0 ? undefined : ([ME, 2 * i - 2] as const);
    const right = i === 0 ? undefined : ([ME, 2 * i - 1] as const);
    const a = i === 0 ? first("text:a", str("a")) : between(left, right, str("a"));
    return [a, between([ME, 2 * i], right, str("b"))];
  });
  return by(ground, { sections: [richOf(update(ME, 0, letters), 2 * PAIRS, 0, NESTED_DOC)] });
}
