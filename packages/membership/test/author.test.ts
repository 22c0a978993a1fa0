// SPDX-License-Identifier: Apache-2.0
/** Founding a space, and making acts for it. */
import {
  DEFAULT_GRANT_MS,
  addActs,
  createSpace,
  issueGrant,
  issueInvite,
  openSpace,
  revokeDevice,
  setPolicy,
} from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, MeshError, parseSpaceId } from "@ctxmesh/model";
import { createSeededRandom } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
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
  headOf,
  inviteOf,
  make,
  reader,
  revokeOf,
  second,
  spaceWith,
  stranger,
  verifier,
  writer,
} from "./mesh.ts";
import type { Device } from "./mesh.ts";

const space = spaceWith([
  [alice, "manage"],
  [writer, "write"],
]);
const code = (expected: string): Error => expect.objectContaining({ code: expected }) as Error;
const refused = code("POLICY_REFUSED");
const plain = { service: "agent", role: "write", notBefore: START_MS } as const;
const grant = (into: Space, by: Device, device: Device, more: object = {}): Space =>
  issueGrant(into, by.signer, { ...plain, device: device.key, ...more });
const revoke = (into: Space, by: Device, device: Device): Space =>
  revokeDevice(into, by.signer, { device: device.key, heads: [], reason: "lost", now: START_MS });
const invite = (into: Space, by: Device, key: Device): Space =>
  issueInvite(into, by.signer, {
    key: key.key,
    service: "agent",
    role: "write",
    now: START_MS,
    notAfter: START_MS + DAY_MS,
  });

/** Of the last act. */
const timeOf = (grown: Space): number | undefined => grown.acts.at(-1)?.act.time;

/** Whether somebody who starts from the founding record comes to the same space. */
function expectReadable(grown: Space): void {
  const founded = openSpace(grown.genesisRecord, verifier);
  const records = grown.acts.map(({ record }) => record);
  expect(addActs(founded, records, verifier, NOW_MS)).toMatchObject({ refused: [], waiting: 0 });
  expect(addActs(founded, records, verifier, NOW_MS).space).toEqual(grown);
}

describe("a space", () => {
  const founding = {
    name: "plant",
    creator: creator.signer,
    now: START_MS,
    random: createSeededRandom(1),
  };

  test("has the hash of its genesis as id, so that no two are the same", () => {
    expect(parseSpaceId(space.id)).toBe(space.id);
    expect(emptySpace(1).id).toBe(emptySpace(1).id);
    expect(emptySpace(2).id).not.toBe(emptySpace(1).id);
  });

  test("names its creators, the signing one first and each once", () => {
    const creators = [second.key, creator.key];
    const { genesis } = createSpace({ ...founding, creators });
    expect(genesis.creators).toEqual([creator.key, second.key]);
    expect(createSpace(founding).genesis.creators).toEqual([creator.key]);
  });

  test.each([
    ["an empty name", { name: "" }],
    ["a name of 101 characters", { name: "n".repeat(101) }],
    ["a name with a line break", { name: "a\nb" }],
    ["a creator twice", { creators: [second.key, second.key] }],
    [
      "too many creators",
      { creators: Array.from({ length: LIMITS.creators }, (_, n) => deviceOf(n).key) },
    ],
    ["half a millisecond", { now: 0.5 }],
  ])("is not founded with %s", (_, changes) => {
    expect(() => createSpace({ ...founding, ...changes })).toThrow(MeshError);
  });

  test("opens from its founding record, which its first creator has signed", () => {
    expect(openSpace(space.genesisRecord, verifier)).toEqual(emptySpace());
    const signature = space.genesisRecord.signature.map((byte, i) => (i === 9 ? byte ^ 1 : byte));
    expect(() => openSpace({ ...space.genesisRecord, signature }, verifier)).toThrow(
      code("SIGNATURE_INVALID"),
    );
  });
});

describe("a new act", () => {
  test("of a creator or a manager is one that others take", () => {
    let grown = grant(space, second, reader);
    grown = grant(grown, alice, bob, { role: "manage" });
    grown = invite(grown, bob, deviceOf(60));
    grown = revoke(grown, bob, reader);
    grown = setPolicy(grown, alice.signer, { epoch: 1, rules: [] });
    expect(grown.acts).toHaveLength(7);
    expect(grown.acts.every(({ valid }) => valid)).toBe(true);
    expectReadable(grown);
  });

  test("knows all that its space knows", () => {
    const fan = adding(
      space,
      make(space, creator, grantOf(reader)),
      make(space, second, grantOf(bob)),
    );
    expect(fan.heads.length).toBeGreaterThan(2);
    const grown = grant(fan, creator, stranger);
    expect(grown.heads).toHaveLength(1);
    expect(grown.acts.at(-1)?.act.parents).toEqual(fan.heads);
  });

  test.each<[string, (into: Space) => unknown]>([
    ["grants", (into) => grant(into, writer, reader)],
    ["invites", (into) => invite(into, writer, deviceOf(60))],
    ["revokes", (into) => revoke(into, writer, alice)],
    ["sets the policy", (into) => setPolicy(into, writer.signer, { epoch: 1, rules: [] })],
    ["grants as a stranger", (into) => grant(into, stranger, stranger)],
    [
      "grants after a manager's end",
      (into) => grant(into, alice, reader, { now: START_MS + 31 * DAY_MS }),
    ],
    ["grants as a revoked manager", (into) => grant(revoke(into, creator, alice), alice, reader)],
    ["grants to a revoked device", (into) => grant(revoke(into, creator, reader), creator, reader)],
    [
      "invites with a revoked key",
      (into) => invite(revoke(into, creator, reader), creator, reader),
    ],
    ["invites with a key twice", (into) => invite(invite(into, creator, reader), creator, reader)],
    ["revokes a creator", (into) => revoke(into, alice, second)],
    [
      "sets a policy whose epoch does not rise",
      (into) => setPolicy(into, creator.signer, { epoch: 0, rules: [] }),
    ],
  ])("is not made by who %s", (_, act) => {
    expect(() => act(space)).toThrow(refused);
  });

  test.each([
    { notBefore: -1 },
    { notBefore: 0.5 },
    { notAfter: Number.NaN },
    { notAfter: -5 },
    { notAfter: START_MS - 1 },
    { now: -1 },
  ])("is not made when it could not be read back: %j", (times) => {
    expect(() => grant(space, creator, reader, times)).toThrow(MeshError);
  });

  test("goes by the manager's grant that lasts longest", () => {
    const renewals = [60, 61, 62, 63].map((days) =>
      make(space, creator, grantOf(alice, { role: "manage", notAfter: START_MS + days * DAY_MS })),
    );
    for (const known of [renewals, renewals.slice(0, 3), renewals.slice(0, 2)]) {
      const grown = grant(adding(space, ...known), alice, reader);
      expect(grown.acts.at(-1)?.act.authority).toBe(known.at(-1)?.id);
    }
  });

  test("goes by a grant that lets manage, and now, whatever else its author has", () => {
    const role = "manage";
    const now = make(space, creator, grantOf(bob, { role, notAfter: START_MS + DAY_MS }));
    const [from, to] = [START_MS + 9 * DAY_MS, START_MS + 90 * DAY_MS];
    const later = make(space, creator, grantOf(bob, { role, notBefore: from, notAfter: to }));
    const weak = make(space, creator, grantOf(bob, { role: "write", notAfter: to }));
    const grown = grant(adding(space, now, later, weak), bob, reader);
    expect(grown.acts.at(-1)?.act.authority).toBe(now.id);
  });

  test("of a revoked manager is refused, and the error says why", () => {
    const without = revoke(space, creator, alice);
    expect(() => grant(without, alice, reader)).toThrow("was revoked");
  });

  test("of an invite's key is a grant", () => {
    const invited = invite(space, creator, deviceOf(60));
    expect(grant(invited, deviceOf(60), reader).grants.has(reader.key)).toBe(true);
    expect(() => revoke(invited, deviceOf(60), writer)).toThrow(refused);
  });
});

describe("a grant", () => {
  test("has a number of its own and 30 days unless told otherwise", () => {
    let grown = emptySpace();
    for (let n = 1; n <= 5; n++) {
      grown = grant(grown, creator, deviceOf(n), { service: "hub", role: "read" });
    }
    const grants = [...grown.grants.values()].flat();
    expect(grants.map(({ index }) => index).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5]);
    expect(grants.every(({ notAfter }) => notAfter === START_MS + DEFAULT_GRANT_MS)).toBe(true);
    expect(DEFAULT_GRANT_MS).toBe(30 * DAY_MS);
  });

  test("is made when it begins unless told otherwise", () => {
    const times = [
      grant(space, creator, reader),
      grant(space, creator, reader, { now: START_MS + 5 }),
    ];
    expect(times.map(({ acts }) => acts.at(-1)?.act.time)).toEqual([START_MS, START_MS + 5]);
  });
});

describe("a revocation", () => {
  test("names chains in order, whatever order they are given in", () => {
    const heads = [headOf(3, 1), headOf(1, 7), headOf(2, 2)];
    const grown = revokeDevice(space, alice.signer, {
      device: writer.key,
      heads,
      reason: "lost",
      now: START_MS,
    });
    expect(
      [...(grown.revocations.get(writer.key)?.cut.values() ?? [])].map(({ seq }) => seq),
    ).toEqual([7, 2, 1]);
    expectReadable(grown);
  });

  test("names no more chains than LIMITS.headsPerRevocation", () => {
    const heads = Array.from({ length: LIMITS.headsPerRevocation + 1 }, (_, n) => headOf(n, 1));
    const ask = { device: writer.key, reason: "", now: START_MS };
    expect(() => revokeDevice(space, alice.signer, { ...ask, heads })).toThrow(
      code("LIMIT_EXCEEDED"),
    );
    const most = { ...ask, heads: heads.slice(1) };
    expect(revokeDevice(space, alice.signer, most).revocations.size).toBe(1);
  });

  test("of an invite knows of all who joined by it, also where there are more loose ends than an act can name", () => {
    const key = deviceOf(60);
    const invitation = make(space, creator, inviteOf(key));
    const joined = Array.from({ length: 40 }, (_, n) =>
      make(space, key, grantOf(deviceOf(100 + n)), { authority: invitation.id }),
    );
    const aside = Array.from({ length: LIMITS.actParents }, (_, n) =>
      make(space, creator, grantOf(reader, { index: n })),
    );
    const busy = adding(space, invitation, ...joined, ...aside);
    expect(busy.heads.length).toBeGreaterThan(LIMITS.actParents);
    const grown = revoke(busy, alice, key);
    expect(grown.acts.every(({ valid }) => valid)).toBe(true);
    expect(grown.invites.size).toBe(0);
    expect(grown.grants.has(deviceOf(100).key)).toBe(true);
  });
});

describe("a policy", () => {
  test("is refused when it can't be used", () => {
    const rules = [{ prefix: "", resolver: "oldest" }] as unknown as [];
    expect(() => setPolicy(space, creator.signer, { epoch: 1, rules })).toThrow(
      code("INPUT_INVALID"),
    );
  });

  test("is made at the time of the newest act unless told otherwise", () => {
    const late = grant(space, creator, reader, { now: START_MS + 5 });
    expect(timeOf(setPolicy(late, alice.signer, { epoch: 1, rules: [] }))).toBe(START_MS + 5);
    expect(timeOf(setPolicy(late, alice.signer, { epoch: 1, rules: [] }, START_MS + 9))).toBe(
      START_MS + 9,
    );
    expect(timeOf(setPolicy(emptySpace(), creator.signer, { epoch: 1, rules: [] }))).toBe(START_MS);
  });
});

test("an act made by hand and one made here differ in nothing", () => {
  const here = revoke(space, alice, writer);
  const byHand = adding(
    space,
    make(space, alice, revokeOf(writer), {
      authority: grantId(space, alice),
      parents: space.heads,
      time: START_MS,
    }),
  );
  expect(here).toEqual(byHand);
});
