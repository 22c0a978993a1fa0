// SPDX-License-Identifier: Apache-2.0
/** What is taken in, what waits, and what is refused before it has any effect. */
import { createHash } from "node:crypto";
import { encodeAct } from "@ctxmesh/codec";
import type { Act } from "@ctxmesh/codec";
import { addActs } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, parseDeviceKey } from "@ctxmesh/model";
import type { SignatureVerifier } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";
import { trusting, unsigned } from "./histories.ts";
import {
  DAY_MS,
  NOW_MS,
  START_MS,
  adding,
  alice,
  bob,
  creator,
  deviceOf,
  emptySpace,
  grantId,
  grantOf,
  inviteOf,
  make,
  offering,
  policyOf,
  reader,
  revokeOf,
  second,
  spaceWith,
  stranger,
  verifier,
  writer,
} from "./mesh.ts";
import type { Made } from "./mesh.ts";

const space = spaceWith([
  [alice, "manage"],
  [writer, "write"],
]);
const ofAlice = grantId(space, alice);
const token = deviceOf(50);
const invite = make(space, creator, inviteOf(token, { role: "append" }));
const invited = adding(space, invite);
const month = 30 * DAY_MS;
const joining = grantOf(reader, {
  role: "append",
  notBefore: START_MS,
  notAfter: START_MS + month,
});

/** What comes of offering an act. */
function outcome(into: Space, made: Made): unknown {
  const { space: after, added, refused, waiting } = offering(into, made);
  return { added, refused, waiting, changed: after !== into };
}

const refusal = (code: string, problem: string): unknown => ({
  added: [],
  refused: [{ code, message: expect.stringContaining(problem) as string }],
  waiting: 0,
  changed: false,
});

const refusalsAt = (time: number): number =>
  addActs(
    space,
    [make(space, alice, grantOf(reader), { authority: ofAlice, time }).record],
    verifier,
    NOW_MS + month,
  ).refused.length;

describe("an act is refused", () => {
  test.each<[string, Made, string]>([
    ["of no creator, without authority", make(space, stranger, grantOf(reader)), "no creator"],
    [
      "of a manager, without authority",
      make(space, alice, grantOf(reader), { parents: [ofAlice] }),
      "no creator",
    ],
    [
      "under the grant of another",
      make(space, stranger, grantOf(reader), { authority: ofAlice }),
      "another device",
    ],
    [
      "of a writer: the role is too low",
      make(space, writer, grantOf(reader), { authority: grantId(space, writer) }),
      "without the role manage",
    ],
    [
      "before its author was a manager",
      make(space, alice, grantOf(reader), { authority: ofAlice, time: START_MS - 1 }),
      "time",
    ],
    [
      "that revokes a creator, by a manager",
      make(space, alice, revokeOf(second), { authority: ofAlice }),
      "creator",
    ],
    ["that revokes a creator, by a creator", make(space, creator, revokeOf(second)), "creator"],
  ])("%s", (_, made, problem) => {
    expect(outcome(space, made)).toEqual(refusal("POLICY_REFUSED", problem));
  });

  test("when its manager's grant has ended, to the millisecond", () => {
    const times = [START_MS, START_MS + month, START_MS + month + 1];
    expect(times.map(refusalsAt)).toEqual([0, 0, 1]);
  });

  test("when its authority is an act of another kind", () => {
    const policy = make(space, creator, policyOf(1));
    const made = make(space, alice, grantOf(reader), { authority: policy.id });
    expect(outcome(adding(space, policy), made)).toEqual(refusal("POLICY_REFUSED", "neither"));
  });

  test.each<[string, Parameters<typeof make>[2], number, string]>([
    ["for a higher role", { ...joining, role: "write" }, START_MS, "lower role"],
    ["for another service", { ...joining, service: "hub" }, START_MS, "service"],
    ["after its end", joining, START_MS + 7 * DAY_MS + 1, "ended"],
    [
      "for more than 30 days",
      { ...joining, notAfter: START_MS + month + 1 },
      START_MS + DAY_MS,
      "30 days",
    ],
    [
      "for 30 days that are yet to come",
      { ...joining, notBefore: START_MS + 2, notAfter: START_MS + 1 + month },
      START_MS,
      "30 days",
    ],
    ["to invite others", inviteOf(stranger, { role: "read" }), START_MS, "grants only"],
    ["to revoke", revokeOf(writer), START_MS, "grants only"],
    ["to set a policy", policyOf(1), START_MS, "grants only"],
  ])("under an invite %s", (_, members, time, problem) => {
    const made = make(invited, token, members, { authority: invite.id, time });
    expect(outcome(invited, made)).toEqual(refusal("POLICY_REFUSED", problem));
  });

  test("under an invite for another key", () => {
    const made = make(invited, stranger, joining, { authority: invite.id });
    expect(outcome(invited, made)).toEqual(refusal("POLICY_REFUSED", "another key"));
  });

  test("but taken under an invite up to its very limits", () => {
    const made = make(invited, token, joining, { authority: invite.id, time: START_MS });
    const last = make(invited, token, grantOf(stranger, { role: "read", notAfter: START_MS + 1 }), {
      authority: invite.id,
      time: START_MS + 7 * DAY_MS,
    });
    expect(adding(invited, made, last).grants.get(reader.key)).toMatchObject([
      { role: "append", issuer: token.key, notAfter: START_MS + month },
    ]);
  });

  test("with a forged signature", () => {
    const made = make(space, creator, grantOf(reader), { signer: stranger.signer });
    expect(outcome(space, made)).toEqual(refusal("SIGNATURE_INVALID", "signature"));
  });

  test("with one bit of its signature changed", () => {
    const { id, act, record } = make(space, creator, grantOf(reader));
    const signature = record.signature.map((byte, i) => (i === 40 ? byte ^ 1 : byte));
    expect(outcome(space, { id, act, record: { ...record, signature } })).toEqual(
      refusal("SIGNATURE_INVALID", ""),
    );
  });

  test("with a changed member under the old signature", () => {
    const { id, act, record } = make(space, creator, grantOf(reader));
    const body = encodeAct({ ...act, role: "manage" } as Act);
    expect(outcome(space, { id, act, record: { ...record, body } })).toEqual(
      refusal("SIGNATURE_INVALID", ""),
    );
  });

  test("of another space", () => {
    expect(outcome(space, make(emptySpace(2), creator, grantOf(reader)))).toEqual(
      refusal("POLICY_REFUSED", "space"),
    );
  });

  test("that is no act", () => {
    const record = { body: Uint8Array.of(1, 2, 3), signature: new Uint8Array(64) };
    const made = { ...make(space, creator, grantOf(reader)), record };
    expect(outcome(space, made)).toEqual(refusal("FORMAT_INVALID", "CBOR"));
  });

  test("that names a parent twice", () => {
    const made = make(space, creator, grantOf(reader), { parents: [ofAlice, ofAlice] });
    expect(outcome(space, made)).toEqual(refusal("FORMAT_INVALID", "parents"));
  });

  test("over LIMITS.actBytes", () => {
    const rules = JSON.stringify(["x".repeat(LIMITS.actBytes)]);
    expect(outcome(space, make(space, creator, policyOf(1, { rules })))).toEqual(
      refusal("LIMIT_EXCEEDED", "limit"),
    );
  });

  test("with a policy that can't be used", () => {
    const made = make(
      space,
      creator,
      policyOf(1, { rules: '[{"prefix":"","resolver":"oldest"}]' }),
    );
    expect(outcome(space, made)).toEqual(refusal("INPUT_INVALID", "resolver"));
  });
});

describe("an act waits", () => {
  const parent = make(space, creator, grantOf(bob, { role: "manage" }));
  const child = make(space, bob, grantOf(reader), { authority: parent.id });

  test("until all that it names is known, and is not kept meanwhile", () => {
    const early = offering(space, child);
    expect(early).toMatchObject({ added: [], refused: [], waiting: 1 });
    expect(early.space).toBe(space);
    expect(offering(adding(space, parent), child).added.map(({ id }) => id)).toEqual([child.id]);
  });

  test("not when its parents come in the same call, in whatever order", () => {
    for (const made of [
      [child, parent],
      [parent, child],
    ]) {
      const { added, waiting } = offering(space, ...made);
      expect([added.map(({ id }) => id), waiting]).toEqual([[parent.id, child.id], 0]);
    }
  });

  test("behind an act that is refused", () => {
    const forged = make(space, creator, grantOf(bob, { role: "manage" }), {
      signer: stranger.signer,
    });
    expect(offering(space, child, forged)).toMatchObject({
      added: [],
      refused: [{ code: "SIGNATURE_INVALID" }],
      waiting: 1,
    });
  });

  test("while its time is more than LIMITS.clockAheadMs ahead of the clock", () => {
    const made = make(space, creator, grantOf(reader), { time: NOW_MS + LIMITS.clockAheadMs + 1 });
    const after = make(space, creator, policyOf(1), { parents: [made.id] });
    expect(offering(space, made, after)).toMatchObject({ added: [], refused: [], waiting: 2 });
    expect(addActs(space, [made.record], verifier, NOW_MS + 1).added).toHaveLength(1);
  });
});

describe("known acts", () => {
  test("are passed over, and their signatures are not verified again", () => {
    let verified = 0;
    const counting: SignatureVerifier = {
      verify: (...parts) => {
        verified++;
        return verifier.verify(...parts);
      },
    };
    const made = make(space, creator, grantOf(reader));
    const records = [...space.acts.map(({ record }) => record), made.record, made.record];
    const { space: grown, added } = addActs(space, records, counting, NOW_MS);
    expect([added.length, verified]).toEqual([1, 1]);
    expect(addActs(grown, records, counting, NOW_MS).space).toBe(grown);
    expect(verified).toBe(1);
  });

  test("come with parents before children, and the heads are what no other names", () => {
    const one = make(space, creator, policyOf(1), { parents: [ofAlice] });
    const two = make(space, creator, policyOf(2), { parents: [one.id] });
    const grown = adding(space, two, one);
    const ids = grown.acts.map(({ id }) => id);
    expect(ids.indexOf(one.id)).toBeLessThan(ids.indexOf(two.id));
    expect(grown.heads).toEqual([two.id, grantId(space, writer)].toSorted());
  });

  test("are digested over their sorted ids", () => {
    const ids = space.acts.map(({ id }) => id).toSorted();
    const digest = createHash("sha256").update(Buffer.from(ids.join(""), "hex"));
    expect(space.digest).toBe(digest.digest("hex"));
    expect(adding(space, make(space, creator, policyOf(1))).digest).not.toBe(space.digest);
  });
});

describe("a space as large as it may be", () => {
  test("takes LIMITS.acts acts in one line, and one more is refused", () => {
    const empty = emptySpace();
    const line: Made[] = [];
    for (let i = 0; i <= LIMITS.acts; i++) {
      const parents = line.slice(-1).map(({ id }) => id);
      line.push(make(empty, creator, grantOf(reader, { index: i }), { parents, signer: unsigned }));
    }
    const last = line.pop();
    const records = line.map(({ record }) => record).toReversed();
    const full = addActs(empty, records, trusting, NOW_MS);
    expect([full.added.length, full.refused.length, full.waiting]).toEqual([LIMITS.acts, 0, 0]);
    expect(full.space.heads).toEqual(line.slice(-1).map(({ id }) => id));
    const over = addActs(full.space, last === undefined ? [] : [last.record], trusting, NOW_MS);
    expect(over.refused).toMatchObject([{ code: "LIMIT_EXCEEDED" }]);
    expect(over.space).toBe(full.space);
  });

  test("takes LIMITS.actsPerAuthor acts of one manager, and then those of others still", () => {
    const base = spaceWith([
      [alice, "manage"],
      [bob, "manage"],
    ]);
    const by = (author: typeof alice, index: number): Made =>
      make(base, author, grantOf(reader, { index }), {
        authority: grantId(base, author),
        signer: unsigned,
      });
    const own = Array.from({ length: LIMITS.actsPerAuthor + 1 }, (_, i) => by(alice, i));
    const full = addActs(
      base,
      own.map(({ record }) => record),
      trusting,
      NOW_MS,
    );
    expect([full.added.length, full.refused.length]).toEqual([LIMITS.actsPerAuthor, 1]);
    expect(full.refused).toMatchObject([{ code: "LIMIT_EXCEEDED" }]);
    const more = [by(bob, 1), make(base, creator, grantOf(reader), { signer: unsigned })];
    const after = addActs(
      full.space,
      more.map(({ record }) => record),
      trusting,
      NOW_MS,
    );
    expect([after.added.length, after.refused.length]).toEqual([2, 0]);
  });

  test("takes LIMITS.actsBytes bytes of acts and no more", () => {
    const empty = emptySpace();
    const rules = JSON.stringify(
      Array.from({ length: 60 }, (_, i) => ({
        prefix: String(i).padEnd(1000, "x"),
        resolver: "max",
      })),
    );
    const large = Array.from({ length: 600 }, (_, i) =>
      make(empty, creator, policyOf(i + 1, { rules }), { signer: unsigned }),
    );
    const { space: full, refused } = addActs(
      empty,
      large.map(({ record }) => record),
      trusting,
      NOW_MS,
    );
    const bytes = full.acts.reduce((sum, { record }) => sum + record.body.length, 0);
    expect(bytes).toBeLessThanOrEqual(LIMITS.actsBytes);
    expect(bytes).toBeGreaterThan(LIMITS.actsBytes - LIMITS.actBytes);
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(["LIMIT_EXCEEDED"]));
    expect(full.acts.length + refused.length).toBe(600);
  });

  test("drops a line of 10,000 managers who made each other when the first was made wrongly", () => {
    const base = spaceWith([
      [alice, "manage"],
      [bob, "manage"],
    ]);
    const managing = { role: "manage" } as const;
    const line: Made[] = [];
    let author = bob;
    let authority = grantId(base, bob);
    for (let i = 0; i < 10_000; i++) {
      const key = parseDeviceKey(i.toString(16).padStart(64, "f"));
      const next = { ...bob, key };
      line.push(make(base, author, grantOf(next, managing), { authority, signer: unsigned }));
      author = next;
      authority = line.at(-1)?.id ?? authority;
    }
    const removal = make(base, alice, revokeOf(bob), {
      authority: grantId(base, alice),
      signer: unsigned,
    });
    const records = [...line, removal].map(({ record }) => record);
    const { space: after } = addActs(base, records, trusting, NOW_MS);
    expect(after.acts.filter((act) => !act.valid)).toHaveLength(10_000);
    expect([...after.grants.keys()]).toEqual([alice.key]);
  });

  test("settles two managers who remove each other thousands of times", () => {
    const base = spaceWith([
      [alice, "manage"],
      [bob, "manage"],
    ]);
    const [a, b] = [grantId(base, alice), grantId(base, bob)];
    const duel = Array.from({ length: 4_000 }, (_, i) =>
      i % 2 === 0
        ? make(base, alice, revokeOf(bob, { reason: String(i) }), {
            authority: a,
            signer: unsigned,
          })
        : make(base, bob, revokeOf(alice, { reason: String(i) }), {
            authority: b,
            signer: unsigned,
          }),
    );
    const records = duel.map(({ record }) => record);
    const { space: after } = addActs(base, records, trusting, NOW_MS);
    expect(after.acts.every((act) => act.valid)).toBe(true);
    expect(after.grants.size).toBe(0);
  });
});
