// SPDX-License-Identifier: Apache-2.0
/** Who removed whom, and what still counts: each case small enough to be worked out by hand. */
import { isMember, roleAt } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { describe, expect, test } from "vitest";
import {
  DAY_MS,
  START_MS,
  actOf,
  adding,
  alice,
  bob,
  carol,
  creator,
  deviceOf,
  grantId,
  grantOf,
  headOf,
  inviteOf,
  make,
  offering,
  policyOf,
  reader,
  revokeOf,
  second,
  spaceWith,
  stranger,
  valid,
  writer,
} from "./mesh.ts";
import type { Circumstances, Device, Made } from "./mesh.ts";

const space = spaceWith([
  [alice, "manage"],
  [bob, "manage"],
  [carol, "manage"],
  [writer, "write"],
]);
const puppet = deviceOf(21);
const managing = { role: "manage" } as const;

/** An act under the first grant of its author, which knows that grant and what it is told. */
const by = (
  author: Device,
  members: Parameters<typeof make>[2],
  known: readonly Made[] = [],
  circumstances: Circumstances = {},
): Made =>
  make(space, author, members, {
    authority: grantId(space, author),
    parents: known.map(({ id }) => id).toSorted(),
    ...circumstances,
  });
const byCreator = (
  members: Parameters<typeof make>[2],
  known: readonly Made[] = [],
  author = creator,
): Made => make(space, author, members, { parents: known.map(({ id }) => id).toSorted() });

const managers = (grown: Space): readonly Device[] =>
  [alice, bob, carol, puppet].filter(({ key }) => isMember(grown, key));

describe("one removes the other", () => {
  test("a removed manager's act that nobody had told the remover of is filtered, its earlier one stands", () => {
    const earlier = by(bob, grantOf(reader));
    const hidden = by(bob, grantOf(stranger));
    const removal = by(alice, revokeOf(bob), [earlier]);
    const grown = adding(space, earlier, hidden, removal);
    expect(valid(grown, earlier, hidden, removal)).toEqual([true, false, true]);
    expect(actOf(grown, hidden).problem).toContain("revoked");
    expect(isMember(grown, reader.key)).toBe(true);
    expect(isMember(grown, stranger.key)).toBe(false);
    expect(isMember(grown, bob.key)).toBe(false);
  });

  test("also when the remover knows the earlier act by way of others", () => {
    const earlier = by(bob, grantOf(reader));
    const between = by(carol, grantOf(deviceOf(30)), [earlier]);
    const removal = by(alice, revokeOf(bob), [by(carol, grantOf(deviceOf(31)), [between])]);
    const last = by(carol, grantOf(deviceOf(31)), [between]);
    expect(valid(adding(space, earlier, between, last, removal), earlier)).toEqual([true]);
  });

  test("an act that the removed manager dates back, and that claims to know nothing, is filtered", () => {
    const removal = by(alice, revokeOf(bob), [], { time: START_MS + 9 * DAY_MS });
    const backDated = by(bob, grantOf(stranger), [], { time: START_MS + 1 });
    expect(valid(adding(space, removal, backDated), backDated)).toEqual([false]);
  });

  test("the removed one can't remove back once it knows of it", () => {
    const removal = by(alice, revokeOf(bob));
    const revenge = by(bob, revokeOf(alice), [removal]);
    const grown = adding(space, removal, revenge);
    expect(valid(grown, removal, revenge)).toEqual([true, false]);
    expect(managers(grown)).toEqual([alice, carol]);
  });

  test("what a wrongly granted device did is filtered with its grant, however deep", () => {
    const removal = by(alice, revokeOf(bob));
    const first = by(bob, grantOf(puppet, managing));
    const next = deviceOf(22);
    const deeper = make(space, puppet, grantOf(next, managing), { authority: first.id });
    const third = make(space, next, policyOf(9), { authority: deeper.id });
    const grown = adding(space, removal, first, deeper, third);
    expect(valid(grown, first, deeper, third)).toEqual([false, false, false]);
    expect(actOf(grown, third).problem).toContain("rests on");
    expect(grown.policy.epoch).toBe(0);
    expect(grown.knownEpoch).toBe(9);
  });

  test("what a rightly granted device did stands when its granter is removed by one who knew", () => {
    const first = by(bob, grantOf(puppet, managing));
    const removal = by(alice, revokeOf(bob), [first]);
    const later = make(space, puppet, grantOf(reader), { authority: first.id });
    const grown = adding(space, first, removal, later);
    expect(valid(grown, first, later)).toEqual([true, true]);
    expect(managers(grown)).toEqual([alice, carol, puppet]);
  });

  test("a filtered removal removes nobody", () => {
    const removal = by(alice, revokeOf(bob));
    const hidden = by(bob, revokeOf(carol));
    const work = by(carol, grantOf(reader));
    const grown = adding(space, removal, hidden, work);
    expect(valid(grown, hidden, work)).toEqual([false, true]);
    expect(managers(grown)).toEqual([alice, carol]);
    expect([...grown.revocations.keys()]).toEqual([bob.key]);
  });

  test("who removes itself is out, and its other acts of that moment with it", () => {
    const leaving = by(bob, revokeOf(bob));
    const earlier = by(bob, grantOf(reader));
    const grown = adding(space, earlier, leaving);
    expect(valid(grown, leaving, earlier)).toEqual([true, false]);
    expect(managers(grown)).toEqual([alice, carol]);
  });

  test("a grant to a removed device changes nothing: the key is gone for good", () => {
    const removal = by(alice, revokeOf(writer));
    const again = by(bob, grantOf(writer), [removal]);
    const grown = adding(space, removal, again);
    expect(isMember(grown, writer.key)).toBe(false);
    expect(grown.grants.has(writer.key)).toBe(false);
  });

  test("a device may be removed before anyone has heard of it", () => {
    const grown = adding(space, by(alice, revokeOf(stranger)), by(bob, grantOf(stranger)));
    expect(isMember(grown, stranger.key)).toBe(false);
  });
});

describe("each removes the other", () => {
  test("two managers who remove each other are both out", () => {
    const [a, b] = [by(alice, revokeOf(bob)), by(bob, revokeOf(alice))];
    const grown = adding(space, a, b);
    expect(valid(grown, a, b)).toEqual([true, true]);
    expect(managers(grown)).toEqual([carol]);
    expect(grown.revocations.get(alice.key)?.by).toEqual([bob.key]);
  });

  test("and what both of them granted at that moment is filtered", () => {
    const [a, b] = [by(alice, revokeOf(bob)), by(bob, revokeOf(alice))];
    const [ofAlice, ofBob] = [by(alice, grantOf(reader)), by(bob, grantOf(stranger))];
    expect(valid(adding(space, a, b, ofAlice, ofBob), ofAlice, ofBob)).toEqual([false, false]);
  });

  test("but not what their remover knew of", () => {
    const earlier = by(alice, grantOf(reader));
    const [a, b] = [by(alice, revokeOf(bob)), by(bob, revokeOf(alice), [earlier])];
    expect(valid(adding(space, earlier, a, b), earlier)).toEqual([true]);
  });

  test("three who remove each other in a circle are all out", () => {
    const circle = [by(alice, revokeOf(bob)), by(bob, revokeOf(carol)), by(carol, revokeOf(alice))];
    const grown = adding(space, ...circle);
    expect(valid(grown, ...circle)).toEqual([true, true, true]);
    expect(managers(grown)).toEqual([]);
  });

  test("a third who is removed by one of two who remove each other keeps its place, since that act is filtered", () => {
    const [a, b] = [by(alice, revokeOf(bob)), by(bob, revokeOf(alice))];
    const aside = by(bob, revokeOf(carol));
    const grown = adding(space, a, b, aside);
    expect(valid(grown, aside)).toEqual([false]);
    expect(managers(grown)).toEqual([carol]);
  });

  test("a removal by one whom the removed one had made manager at that moment counts, its making does not", () => {
    const making = by(bob, grantOf(puppet, managing));
    const a = by(alice, revokeOf(bob));
    const b = make(space, puppet, revokeOf(alice), { authority: making.id });
    const grown = adding(space, making, a, b);
    expect(valid(grown, a, b, making)).toEqual([true, true, false]);
    expect(managers(grown)).toEqual([carol]);
  });

  test.each([
    ["Alice", alice, bob],
    ["Bob", bob, alice],
  ])("nor does what was made in turn by the one so made, when %s removes first", (_, a, b) => {
    const making = by(b, grantOf(puppet, managing));
    const next = deviceOf(22);
    const inTurn = make(space, puppet, grantOf(next, managing), { authority: making.id });
    const first = by(a, revokeOf(b));
    const back = make(space, next, revokeOf(a), { authority: inTurn.id });
    const grown = adding(space, making, inTurn, first, back);
    expect(valid(grown, first, back, making, inTurn)).toEqual([true, true, false, false]);
    expect(managers(grown)).toEqual([carol]);
  });

  test("two who remove each other are both out, also among dozens of other removals that know of it", () => {
    const [a, b] = [by(alice, revokeOf(bob)), by(bob, revokeOf(alice))];
    const work = by(carol, grantOf(reader));
    const others = Array.from({ length: 40 }, (_, i) =>
      make(space, creator, revokeOf(carol, { reason: String(i) }), {
        parents: i === 0 ? [] : [a.id, b.id].toSorted(),
      }),
    );
    const grown = adding(space, a, b, work, ...others);
    expect(valid(grown, a, b, work)).toEqual([true, true, false]);
  });

  test("a creator's removal settles it: what it filters closes no circle", () => {
    const ofAlice = by(alice, revokeOf(bob));
    const ofBob = by(bob, revokeOf(carol));
    const ofCarol = by(carol, revokeOf(alice));
    const settling = byCreator(revokeOf(carol));
    const grown = adding(space, ofAlice, ofBob, ofCarol, settling);
    expect(valid(grown, ofAlice, ofBob, ofCarol, settling)).toEqual([true, false, false, true]);
    expect(managers(grown)).toEqual([alice]);
    expect(grown.revocations.get(carol.key)?.by).toEqual([creator.key]);
  });

  test("two creators' acts stand, whatever managers say", () => {
    const one = byCreator(grantOf(reader));
    const other = byCreator(revokeOf(alice), [], second);
    const { space: grown, refused } = offering(space, one, other, by(alice, revokeOf(second)));
    expect(valid(grown, one, other)).toEqual([true, true]);
    expect(refused).toMatchObject([{ code: "POLICY_REFUSED" }]);
  });
});

describe("the key of an invite", () => {
  const invite = by(alice, inviteOf(puppet));
  const joining = (device: Device, known: readonly Made[] = []): Made =>
    make(space, puppet, grantOf(device), {
      authority: invite.id,
      parents: known.map(({ id }) => id),
    });

  test("lets devices join, until it is revoked; those that had joined stay", () => {
    const early = joining(reader);
    const removal = by(bob, revokeOf(puppet), [early]);
    const late = joining(stranger);
    const grown = adding(space, invite, early, removal, late);
    expect(valid(grown, early, late)).toEqual([true, false]);
    expect([isMember(grown, reader.key), isMember(grown, stranger.key)]).toEqual([true, false]);
    expect(grown.invites.size).toBe(0);
  });

  test("is worth nothing when whoever invited had been removed", () => {
    const grown = adding(space, invite, joining(reader), by(bob, revokeOf(alice)));
    expect(isMember(grown, reader.key)).toBe(false);
    expect(grown.invites.size).toBe(0);
  });
});

/** Chain and position of what stands of the writer. */
const cutAfter = (...revocations: readonly Made[]): unknown =>
  [...(adding(space, ...revocations).revocations.get(writer.key)?.cut ?? [])].map(
    ([chain, { seq }]) => [Number.parseInt(chain, 16), seq],
  );

describe("what stands of a removed device's chains", () => {
  test("is what the removal names", () => {
    const removal = by(alice, revokeOf(writer, { heads: [headOf(1, 7), headOf(2, 3)] }));
    expect(cutAfter(removal)).toEqual([
      [1, 7],
      [2, 3],
    ]);
    const revocation = adding(space, removal).revocations.get(writer.key);
    expect([...(revocation?.cut.values() ?? [])]).toEqual(
      [headOf(1, 7), headOf(2, 3)].map(({ seq, hash }) => ({ seq, hash })),
    );
    expect(revocation).toMatchObject({ device: writer.key, reason: "lost", by: [alice.key] });
  });

  test("is the least that several removals leave, and nothing of a chain that one leaves out", () => {
    const one = by(alice, revokeOf(writer, { heads: [headOf(1, 7), headOf(2, 3), headOf(3, 1)] }));
    const other = by(bob, revokeOf(writer, { heads: [headOf(1, 5), headOf(2, 9)] }));
    expect(cutAfter(one, other)).toEqual([
      [1, 5],
      [2, 3],
    ]);
    expect(cutAfter(one, other, by(carol, revokeOf(writer)))).toEqual([]);
  });

  test("does not depend on a removal that is filtered", () => {
    const one = by(alice, revokeOf(writer, { heads: [headOf(1, 7)] }));
    const filtered = by(bob, revokeOf(writer));
    expect(cutAfter(one, filtered, by(alice, revokeOf(bob)))).toEqual([[1, 7]]);
  });

  test("is of the lower hash where two removals name the same position of a forked chain", () => {
    const one = by(alice, revokeOf(writer, { heads: [headOf(1, 7, 0xaa)] }));
    const other = by(bob, revokeOf(writer, { heads: [headOf(1, 7, 0xa9)] }));
    const cut = adding(space, one, other).revocations.get(writer.key)?.cut;
    expect([...(cut?.values() ?? [])][0]?.hash.endsWith("a9")).toBe(true);
  });

  test("was written under grants that are still told", () => {
    const grown = adding(space, by(alice, revokeOf(writer, { heads: [headOf(1, 7)] })));
    expect(roleAt(grown, writer.key, START_MS + DAY_MS)).toBe("write");
    expect(grown.revocations.get(writer.key)?.grants).toHaveLength(1);
    expect(grown.grants.has(writer.key)).toBe(false);
  });

  test("time and reason are those of the earliest removal", () => {
    const late = by(alice, revokeOf(writer, { reason: "late" }), [], { time: START_MS + 3 });
    const early = by(bob, revokeOf(writer, { reason: "early" }), [], { time: START_MS + 2 });
    expect(adding(space, late, early).revocations.get(writer.key)).toMatchObject({
      time: START_MS + 2,
      reason: "early",
      by: [alice.key, bob.key].toSorted(),
    });
  });
});

describe("the policy of a space", () => {
  test("is the valid one of the highest epoch", () => {
    const low = by(alice, policyOf(2));
    const high = by(bob, policyOf(5, { rules: '[{"prefix":"","resolver":"max"}]' }));
    const grown = adding(space, low, high);
    expect(grown.policy).toEqual({ epoch: 5, rules: [{ prefix: "", resolver: "max" }] });
    expect(grown.knownEpoch).toBe(5);
  });

  test("is that of the lower act id where two have the same epoch", () => {
    const acts = (["max", "min", "all", "union"] as const).map((resolver) =>
      by(alice, policyOf(2, { rules: `[{"prefix":"","resolver":"${resolver}"}]` })),
    );
    const [lowest] = acts.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    const wanted = lowest?.act.kind === "policy" ? lowest.act.rules : "";
    expect(JSON.stringify(adding(space, ...acts).policy.rules)).toBe(wanted);
  });

  test("falls back when its author turns out to have been removed; the epoch stays known", () => {
    const low = by(alice, policyOf(2));
    const high = by(bob, policyOf(5));
    const grown = adding(adding(space, low, high), by(alice, revokeOf(bob)));
    expect(grown.policy.epoch).toBe(2);
    expect(grown.knownEpoch).toBe(5);
  });

  test("is the default one, epoch 0, where there is none", () => {
    expect([space.policy, space.knownEpoch]).toEqual([{ epoch: 0, rules: [] }, 0]);
  });
});
