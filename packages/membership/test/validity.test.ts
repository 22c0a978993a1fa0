// SPDX-License-Identifier: Apache-2.0
/** What acts are worth: a function of the set alone, and the one that is stated. */
import type { Act, RevokeAct } from "@ctxmesh/codec";
import { addActs } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import type { ActId } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HOSTILE, histories, trusting } from "./histories.ts";
import type { History } from "./histories.ts";
import { NOW_MS } from "./mesh.ts";
import type { Made } from "./mesh.ts";
import { kept, validIds } from "./slow-model.ts";

const add = (space: Space, made: readonly Made[]): Space =>
  addActs(
    space,
    made.map(({ record }) => record),
    trusting,
    NOW_MS,
  ).space;

/** Adds acts in parts; what was left out is offered again with the next part. */
function inParts({ space }: History, made: readonly Made[], sizes: readonly number[]): Space {
  let grown = space;
  let from = 0;
  let pending: readonly Made[] = [];
  for (let i = 0; from < made.length; i++) {
    const size = sizes[i % Math.max(sizes.length, 1)] ?? 1;
    const part = [...pending, ...made.slice(from, from + size)];
    from += size;
    grown = add(grown, part);
    const known = new Set<ActId>(grown.acts.map(({ id }) => id));
    pending = part.filter(({ id }) => !known.has(id));
  }
  return grown;
}

test("any order of arrival and any division into calls makes the same space", () => {
  const cases = histories(0, 30).chain((history) =>
    fc.record({
      history: fc.constant(history),
      made: fc.shuffledSubarray([...history.made], { minLength: history.made.length }),
      sizes: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
    }),
  );
  fc.assert(
    fc.property(cases, ({ history, made, sizes }) => {
      const atOnce = add(history.space, history.made);
      for (const other of [add(history.space, made), inParts(history, made, sizes)]) {
        expect(other).toEqual(atOnce);
        expect([...other.grants]).toEqual([...atOnce.grants]);
        expect([...other.revocations]).toEqual([...atOnce.revocations]);
        expect([...other.invites]).toEqual([...atOnce.invites]);
      }
    }),
    { numRuns: 300 },
  );
});

const highestEpoch = (acts: readonly Act[]): number =>
  Math.max(0, ...acts.flatMap((act) => (act.kind === "policy" ? [act.epoch] : [])));

/** What a space says, as far as it follows from validity: the model's own words. */
function expectAsModelled({ space, made }: History): void {
  const grown = add(space, made);
  const acts = kept(made, space.genesis.creators);
  const valid = validIds(acts);
  expect(new Set(grown.acts.map(({ id }) => id))).toEqual(new Set(acts.keys()));
  expect(new Set(grown.acts.flatMap((known) => (known.valid ? [known.id] : [])))).toEqual(valid);
  expect(grown.acts.every((known) => known.valid === (known.problem === undefined))).toBe(true);
  const counting = [...acts].flatMap(([id, act]) => (valid.has(id) ? [act] : []));
  const revocations = counting.filter((act) => act.kind === "revoke");
  const revoked = new Set(revocations.map(({ device }) => device));
  expect(new Set(grown.revocations.keys())).toEqual(revoked);
  for (const [device, { cut, by }] of grown.revocations) {
    const own = revocations.filter((act) => act.device === device);
    expect(by).toEqual([...new Set(own.map(({ author }) => author))].toSorted());
    expect(Object.fromEntries([...cut].map(([chain, { seq }]) => [chain, seq]))).toEqual(
      standing(own),
    );
  }
  const grants = counting.filter((act) => act.kind === "grant");
  expect(new Set(grown.grants.keys())).toEqual(
    new Set(grants.map(({ device }) => device).filter((device) => !revoked.has(device))),
  );
  expect([...grown.grants.values()].flat()).toHaveLength(
    grants.filter(({ device }) => !revoked.has(device)).length,
  );
  const invites = counting.flatMap((act) => (act.kind === "invite" ? [act.key] : []));
  expect(new Set(grown.invites.keys())).toEqual(
    new Set(invites.filter((key) => !revoked.has(key))),
  );
  expect(grown.policy.epoch).toBe(highestEpoch(counting));
  expect(grown.knownEpoch).toBe(highestEpoch([...acts.values()]));
}

/** By chain the highest seq that stands. */
function standing(revocations: readonly RevokeAct[]): Readonly<Record<string, number>> {
  const [first, ...others] = revocations.map(({ heads }) => heads);
  return Object.fromEntries(
    (first ?? []).flatMap(({ incarnation, seq }) => {
      const seqs = others.map(
        (heads) => heads.find((head) => head.incarnation === incarnation)?.seq,
      );
      return seqs.includes(undefined)
        ? []
        : [[incarnation, Math.min(seq, ...seqs.flatMap((other) => other ?? []))]];
    }),
  );
}

describe("the evaluator agrees with the rule as it is stated", () => {
  test("in 1,500 short histories", () => {
    fc.assert(fc.property(histories(8, 30), expectAsModelled), { numRuns: 1500 });
  });

  test("in 40 histories of more acts than bits in a word", () => {
    fc.assert(fc.property(histories(100, 150), expectAsModelled), { numRuns: 40 });
  });

  test("in 40 histories of more removals than bits in a word", () => {
    fc.assert(fc.property(histories(100, 150, HOSTILE), expectAsModelled), { numRuns: 40 });
  });
});
