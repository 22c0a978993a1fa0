// SPDX-License-Identifier: Apache-2.0
import { ROLES } from "@ctxmesh/codec";
import { allows, isMember, isWelcome, roleAt } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";
import {
  DAY_MS,
  START_MS,
  adding,
  alice,
  creator,
  emptySpace,
  grantOf,
  inviteOf,
  make,
  reader,
  revokeOf,
  stranger,
  writer,
} from "./mesh.ts";
import type { Made } from "./mesh.ts";

const base = emptySpace();
const granting = (members: Parameters<typeof grantOf>[1], device = writer): Made =>
  make(base, creator, grantOf(device, members));
const [first, last] = [START_MS + DAY_MS, START_MS + 2 * DAY_MS];
const space: Space = adding(base, granting({ role: "write", notBefore: first, notAfter: last }));

test("each role allows itself and the ones before it", () => {
  for (const [i, role] of ROLES.entries()) {
    for (const [j, needed] of ROLES.entries()) expect(allows(role, needed)).toBe(j <= i);
  }
});

describe("the role of a device", () => {
  test("lasts from the first millisecond of its grant to the last", () => {
    const times = [first - 1, first, last, last + 1];
    expect(times.map((ms) => roleAt(space, writer.key, ms))).toEqual([
      undefined,
      "write",
      "write",
      undefined,
    ]);
    expect(roleAt(space, stranger.key, first)).toBeUndefined();
  });

  test("is the strongest of the grants that cover the time, whichever came first", () => {
    const weak = granting({ role: "read", notBefore: START_MS, notAfter: first });
    const strong = granting({ role: "manage", notBefore: last, notAfter: last + DAY_MS });
    const grown = adding(space, weak, strong);
    const times = [START_MS, first, first + 1, last, last + 1];
    expect(times.map((ms) => roleAt(grown, writer.key, ms))).toEqual([
      "read",
      "write",
      "write",
      "manage",
      "manage",
    ]);
    expect(grown.grants.get(writer.key)).toHaveLength(3);
  });
});

describe("a member", () => {
  test("is who has a grant, past or to come, of the service that is asked for", () => {
    expect(isMember(space, writer.key)).toBe(true);
    expect(isMember(space, writer.key, "agent")).toBe(true);
    expect(isMember(space, writer.key, "hub")).toBe(false);
    expect(isMember(space, reader.key)).toBe(false);
    expect(isMember(space, creator.key)).toBe(false);
    const both = adding(space, granting({ service: "hub" }));
    expect([isMember(both, writer.key, "hub"), isMember(both, writer.key, "agent")]).toEqual([
      true,
      true,
    ]);
  });

  test("is not who was revoked", () => {
    expect(isMember(adding(space, make(base, creator, revokeOf(writer))), writer.key)).toBe(false);
  });
});

const welcome = (into: Space, ms: number, service?: "agent" | "hub"): boolean =>
  isWelcome(into, writer.key, ms, service);

const ask = (into: Space, ms: number, service?: "agent" | "hub"): boolean =>
  isWelcome(into, alice.key, ms, service);

describe("a key is welcome", () => {
  test("while it has a grant and for LIMITS.grantGraceMs after", () => {
    const end = last + LIMITS.grantGraceMs;
    expect([first, last, last + 1, end - 1, end].map((ms) => welcome(space, ms))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
  });

  test("as early as its issuer's clock may be ahead of ours", () => {
    const begin = first - LIMITS.clockAheadMs;
    expect([begin - 1, begin].map((ms) => welcome(space, ms))).toEqual([false, true]);
  });

  test("for its service alone", () => {
    expect([welcome(space, first, "agent"), welcome(space, first, "hub")]).toEqual([true, false]);
  });

  test("not once it is revoked", () => {
    expect(welcome(adding(space, make(base, creator, revokeOf(writer))), first)).toBe(false);
    expect(isWelcome(space, stranger.key, first)).toBe(false);
  });

  test("when it is an invite's, until the invite ends or is revoked", () => {
    const invited = adding(base, make(base, creator, inviteOf(alice, { notAfter: last })));
    expect([ask(invited, last), ask(invited, last + 1)]).toEqual([true, false]);
    expect([ask(invited, last, "agent"), ask(invited, last, "hub")]).toEqual([true, false]);
    expect(isMember(invited, alice.key)).toBe(false);
    expect(ask(adding(invited, make(base, creator, revokeOf(alice))), last)).toBe(false);
  });
});
