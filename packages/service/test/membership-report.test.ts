// SPDX-License-Identifier: Apache-2.0
/** Goal: a report says who belongs to the space now, and why what has no effect has none. */
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import {
  acceptInvite,
  addActs,
  createSpace,
  issueGrant,
  issueInvite,
  revokeDevice,
} from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import {
  LIMITS,
  hlcFromMs,
  parseDeviceKey,
  parseHeaderHash,
  parseIncarnationId,
  toHex,
} from "@ctxmesh/model";
import type { DeviceKey, MemberReport } from "@ctxmesh/model";
import { LiveMembership, reportMembership } from "@ctxmesh/service";
import { createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { reportChains, summarizeMembership } from "../src/membership-report.ts";

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2026, 0, 1);
const signerOf = (n: number): ReturnType<typeof createDeviceSigner> =>
  createDeviceSigner(new Uint8Array(32).fill(n));
const CREATOR = signerOf(1);
const keyOf = (n: number): DeviceKey => parseDeviceKey(toHex(signerOf(n).publicKey));
const INC = parseIncarnationId("ab".repeat(16));
const HASH = parseHeaderHash("cd".repeat(32));

const founded = createSpace({
  name: "plant",
  creator: CREATOR,
  now: START_MS,
  random: createSeededRandom(1),
});

const grant = (
  space: Space,
  n: number,
  [from, to]: readonly [number, number] = [0, 30],
  role: "read" | "write" | "manage" = "write",
): Space =>
  issueGrant(space, CREATOR, {
    device: keyOf(n),
    service: "agent",
    role,
    notBefore: START_MS + from * DAY_MS,
    notAfter: START_MS + to * DAY_MS,
    now: START_MS,
  });

const revoke = (space: Space, device: DeviceKey, by = CREATOR): Space =>
  revokeDevice(space, by, { device, heads: [], reason: "stolen", now: START_MS + 5 });

const report = (space: Space, day = 0): ReturnType<typeof reportMembership> =>
  reportMembership(space, { digest: "00", chains: [] }, START_MS + day * DAY_MS);

const member = (space: Space, n: number, day = 0): MemberReport | undefined =>
  report(space, day).members.find(({ device }) => device === keyOf(n));

describe("members", () => {
  test.each([
    [0, "active"],
    [22.9, "active"],
    [23.1, "expiring"],
    [30, "expiring"],
    [30.1, "expired"],
    [-1, "upcoming"],
  ])("after %s of 30 days a grant makes a member that is %s", (day, state) => {
    expect(member(grant(founded, 2), 2, day)).toMatchObject({
      device: keyOf(2),
      service: "agent",
      role: "write",
      state,
      until: START_MS + 30 * DAY_MS,
      grants: [{ by: keyOf(1), invited: false, role: "write" }],
    });
  });

  test("a renewal goes on where the last grant ended, and the role is that of the day", () => {
    const space = grant(grant(founded, 2), 2, [30, 60], "read");
    expect(member(space, 2, 29)).toMatchObject({ role: "write", state: "active" });
    expect(member(space, 2, 31)).toMatchObject({ role: "read", state: "active" });
    expect(member(space, 2, 31)?.grants.map(({ role }) => role)).toEqual(["write", "read"]);
  });

  test("one that was revoked stays in the report, with what it had", () => {
    const space = revoke(grant(grant(founded, 2), 3), keyOf(2));
    expect(member(space, 2)).toMatchObject({ state: "revoked", role: "write" });
    expect(member(space, 3)).toMatchObject({ state: "active" });
    expect(report(space).revocations).toEqual([
      { device: keyOf(2), time: START_MS + 5, reason: "stolen", by: [keyOf(1)], kept: 0 },
    ]);
  });
});

describe("invites", () => {
  const seed = new Uint8Array(32).fill(9);
  const invited = issueInvite(founded, CREATOR, {
    key: keyOf(9),
    service: "agent",
    role: "write",
    now: START_MS,
    notAfter: START_MS + DAY_MS,
  });
  const joined = acceptInvite(invited, seed, keyOf(2), START_MS);

  test("say who joined with them, and members who let them in", () => {
    expect(report(joined).invites).toEqual([
      {
        key: keyOf(9),
        service: "agent",
        role: "write",
        notAfter: START_MS + DAY_MS,
        by: keyOf(1),
        state: "open",
        joined: [keyOf(2)],
      },
    ]);
    expect(member(joined, 2)?.grants).toMatchObject([{ by: keyOf(9), invited: true }]);
    expect(report(joined, 1.1).invites).toMatchObject([{ state: "expired" }]);
  });

  test("that were revoked leave those who had joined", () => {
    const after = revoke(joined, keyOf(9));
    expect(report(after).invites).toMatchObject([{ state: "revoked", joined: [keyOf(2)] }]);
    expect(member(after, 2)).toMatchObject({ state: "active" });
  });
});

test("an act without effect is named with why", () => {
  const shared = grant(founded, 2, [0, 30], "manage");
  const left = revoke(shared, keyOf(2));
  const right = issueGrant(shared, signerOf(2), {
    device: keyOf(3),
    service: "agent",
    role: "write",
    notBefore: START_MS + 1,
  });
  const records = right.acts.map(({ record }) => record);
  const { space } = addActs(left, records, createDeviceVerifier(), START_MS + DAY_MS);
  expect(report(space).filtered).toMatchObject([
    { kind: "grant", author: keyOf(2), time: START_MS + 1, problem: expect.stringMatching(/\w/u) },
  ]);
  expect(report(space).members.map(({ device }) => device)).toEqual([keyOf(2)]);
});

describe("chains", () => {
  const chain = { replica: keyOf(2), incarnation: INC };

  test("come with the hash and the time of the last batch that counts", () => {
    const hlc = hlcFromMs(START_MS + 7);
    expect(
      reportChains(
        [{ ...chain, seq: 3, limit: 3, void: 2, reason: "revoked" }],
        [{ ...chain, seq: 3, hash: HASH, hlc }],
      ),
    ).toEqual([
      {
        device: keyOf(2),
        incarnation: INC,
        seq: 3,
        hash: HASH,
        lastMs: START_MS + 7,
        limit: 3,
        void: 2,
        reason: "revoked",
      },
    ]);
  });

  test("of which nothing counts have neither", () => {
    const [only] = reportChains([{ ...chain, seq: 0, void: 1, reason: "equivocation" }], []);
    expect(only).toEqual({
      device: keyOf(2),
      incarnation: INC,
      seq: 0,
      void: 1,
      reason: "equivocation",
    });
  });
});

describe("the summary", () => {
  const space = revoke(grant(grant(founded, 2), 3), keyOf(3));
  const known = { device: keyOf(2), digest: "ee", forked: [], chains: [] };
  const forkedAs = (n: number): ReturnType<typeof summarizeMembership> =>
    summarizeMembership(space, { ...known, device: keyOf(n), forked: [keyOf(n)] }, START_MS);

  test("counts members, the revoked, forks and what is void", () => {
    const chains = [
      { replica: keyOf(3), incarnation: INC, seq: 1, void: 2, reason: "revoked" },
      { replica: keyOf(2), incarnation: INC, seq: 1, void: 0 },
    ] as const;
    expect(summarizeMembership(space, { ...known, chains, forked: [keyOf(3)] }, START_MS)).toEqual({
      digest: "ee",
      members: 1,
      revoked: 1,
      forks: 1,
      ownFork: false,
      voidBatches: 2,
      grant: { state: "active", role: "write", until: START_MS + 30 * DAY_MS },
    });
  });

  test("tells a device of its own fork, revocation, and lack of a grant", () => {
    expect(forkedAs(3)).toMatchObject({ ownFork: true, grant: { state: "revoked" } });
    expect(forkedAs(4)).not.toHaveProperty("grant");
  });
});

describe("who may connect", () => {
  const at = (space: Space, day: number): LiveMembership =>
    new LiveMembership(space, createVirtualClock(START_MS + day * DAY_MS));
  const graceDays = LIMITS.grantGraceMs / DAY_MS;

  test("members may, as what they are, until some time after their grant has ended", () => {
    const space = grant(founded, 2);
    expect(at(space, 0).welcomes(keyOf(2))).toBe(true);
    expect(at(space, 0).welcomes(keyOf(2), "agent")).toBe(true);
    expect(at(space, 0).welcomes(keyOf(2), "hub")).toBe(false);
    expect(at(space, 0).welcomes(keyOf(3))).toBe(false);
    expect(at(space, 30 + graceDays - 1).welcomes(keyOf(2))).toBe(true);
    expect(at(space, 30 + graceDays + 1).welcomes(keyOf(2))).toBe(false);
  });

  test("what the replica learns holds at once, and a barred device may not", () => {
    const before = grant(grant(founded, 2), 3);
    const live = at(before, 0);
    const barred = new Set<string>();
    let space = before;
    live.follow(
      {
        get space() {
          return space;
        },
      },
      { isBarred: (device) => barred.has(device) },
    );
    expect(live.welcomes(keyOf(2))).toBe(true);
    space = revoke(before, keyOf(2));
    expect(live.welcomes(keyOf(2))).toBe(false);
    barred.add(keyOf(3));
    expect(live.welcomes(keyOf(3))).toBe(false);
  });
});
