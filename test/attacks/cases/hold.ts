// SPDX-License-Identifier: Apache-2.0
/** Attacks on the memory in which batches wait. */
import { LIMITS } from "@ctxmesh/model";
import { by } from "../support/attack.ts";
import type { Attack } from "../support/attack.ts";
import { fact, factsOf, hlcAt, incarnationOf, unknownHash } from "../support/forge.ts";
import type { Forged } from "../support/forge.ts";
import type { Ground } from "../support/ground.ts";

const MORE = 20;
/** Values that do not compress, so that a few batches fill the hold by size. */
const VALUE_BYTES = 60_000;

/** The first of a chain of its own, on a dependency that never comes. */
const waiting = (ground: Ground, i: number, valueJson = "1"): Forged =>
  by(ground, {
    incarnation: incarnationOf(i),
    deps: [unknownHash(i)],
    sections: [factsOf([fact({ valueJson })])],
  });

function noise(length: number): string {
  let state = 1;
  let text = "";
  while (text.length < length) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    text += state.toString(36);
  }
  return text.slice(0, length);
}

const large = (ground: Ground): Uint8Array[] => {
  const value = noise(VALUE_BYTES * 3);
  const valueAt = (i: number) => `"${value.slice(i * VALUE_BYTES, (i + 1) * VALUE_BYTES)}"`;
  const records = [0, 1, 2].map((i) =>
    fact({ key: `k${String(i)}`, seq: i + 1, hlc: hlcAt(i + 1), valueJson: valueAt(i) }),
  );
  const batch = (i: number): Uint8Array =>
    by(ground, {
      incarnation: incarnationOf(i),
      deps: [unknownHash(i)],
      hlc: hlcAt(3),
      sections: [factsOf(records)],
    }).bytes;
  const first = batch(0);
  const fits = Math.floor(LIMITS.heldBytesPerDevice / first.length);
  return [first, ...Array.from({ length: fits + MORE - 1 }, (_, i) => batch(i + 1))];
};

/** Floods of batches that wait. */
export const HOLD: readonly Attack[] = [
  {
    name: "a flood of small batches with unknown dependencies",
    build: (ground) =>
      Array.from(
        { length: LIMITS.heldBatchesPerDevice + MORE },
        (_, i) => waiting(ground, i).bytes,
      ),
    verdict: { "held missing": LIMITS.heldBatchesPerDevice, dropped: MORE },
  },
  {
    name: "a flood of large batches with unknown dependencies",
    build: large,
    verdict: { dropped: MORE },
  },
  {
    name: "32 unknown dependencies",
    build: (ground) => [
      by(ground, { deps: Array.from({ length: 32 }, (_, i) => unknownHash(i)) }).bytes,
    ],
    verdict: "held missing",
  },
  {
    name: "a batch that waits, twice",
    build: (ground) => [waiting(ground, 1).bytes, waiting(ground, 1).bytes],
    verdict: { "held missing": 1, duplicate: 1 },
  },
  {
    name: "a batch that waits for itself to be a dependency of another",
    build: (ground) => {
      const later = by(ground, { incarnation: incarnationOf(1), deps: [unknownHash(1)] });
      return [by(ground, { deps: [later.hash] }).bytes, later.bytes];
    },
    verdict: "held missing",
  },
];
