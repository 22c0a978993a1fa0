// SPDX-License-Identifier: Apache-2.0
/** Goal: nobody gets more than token and space both allow, nor for longer. */
import type { Access, Authorization, DocumentName } from "@ctxmesh/model";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createTokenAuthorizer } from "../src/authorizer.ts";
import type { TokenAuthorizer } from "../src/authorizer.ts";
import { createDevIssuer } from "../src/dev-issuer.ts";
import { Revocations } from "../src/revocations.ts";
import { AUDIENCE, ISSUER, NOW_S, OTHER_SPACE, SPACE, role, token, trustedKeys } from "./issuer.ts";

const keys = await trustedKeys();
let nowMs: number;
let granted: Access | undefined;
let revocations: Revocations;
let authorizer: TokenAuthorizer;
const clock = { now: () => nowMs };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  nowMs = NOW_S * 1_000;
  granted = "write";
  revocations = new Revocations();
  const rules = { issuer: ISSUER, audience: AUDIENCE, keys, clock };
  authorizer = createTokenAuthorizer({ ...rules, revocations, grants: () => granted });
});

afterEach(() => {
  authorizer.stop();
  vi.useRealTimers();
});

const bearing = (...roles: readonly unknown[]): string =>
  token({ claims: { ctx: { tenant: "acme", roles } } });
const query = (document: string) => ({ space: SPACE, document: document as DocumentName });
const ask = (bearer: string | undefined, document: string): Promise<Authorization> =>
  authorizer.authorize(bearer, query(document));

type Roles = readonly ReturnType<typeof role>[];

/** Roles of a token, what the space grants, the document, and what comes of it. */
const REFUSED: readonly (readonly [Roles, Access | undefined, string])[] = [
  [[], "write", "a"],
  [[], "read", "a"],
  [[], undefined, "a"],
  [[role("write")], undefined, "a"],
  [[role("read")], undefined, "a"],
  [[role("write", "a")], undefined, "a"],
  [[role("write", "a/")], undefined, "a/b"],
  [[role("write", "", OTHER_SPACE)], "write", "a"],
  [[role("read", "", OTHER_SPACE)], "write", "a"],
  [[role("write", "a", OTHER_SPACE)], "write", "a"],
  [[role("write", "a/", OTHER_SPACE), role("write", "b/")], "write", "a/b"],
  [[role("write", "a")], "write", "b"],
  [[role("write", "a")], "write", "ab"],
  [[role("write", "a")], "write", "a/b"],
  [[role("write", "a")], "write", "b/a"],
  [[role("write", "a")], "write", "A"],
  [[role("write", "a/")], "write", "a"],
  [[role("write", "a/")], "write", "ab"],
  [[role("write", "a/")], "write", "ab/c"],
  [[role("write", "a/")], "write", "b/a/c"],
  [[role("write", "a/")], "write", "A/b"],
  [[role("write", "a/b")], "write", "a"],
  [[role("write", "a/b")], "write", "a/c"],
  [[role("write", "a/b")], "write", "a/bc"],
  [[role("write", "a/b")], "write", "a/b/c"],
  [[role("write", "a/b/")], "write", "a/b"],
  [[role("write", "a/b/")], "write", "a/bc/d"],
  [[role("write", "a/b/")], "write", "a/c/b/d"],
  [[role("read", "a")], "write", "b"],
  [[role("read", "a/")], "write", "b/c"],
  [[role("write", "line-2/")], "write", "line-20/press"],
  [[role("write", "line-2/")], "write", "line-2.1/press"],
  [[role("write", "line-2")], "write", "line-2/press"],
  [[role("read", "x/"), role("write", "y/")], "write", "z/a"],
  [[role("read", "x/"), role("write", "y/")], "write", "xy/a"],
  [[role("write", "a."), role("write", "a-")], "write", "a"],
  [[role("read", "a/"), role("write", "a/", OTHER_SPACE)], undefined, "a/b"],
  [[role("write", "a/b/c/d")], "write", "a/b/c"],
  [[role("write", "a_b/")], "write", "a-b/c"],
  [Array.from({ length: 32 }, (_, i) => role("write", `d${String(i)}`)), "write", "d32"],
];

const GIVEN: readonly (readonly [Roles, Access, string, Access])[] = [
  [[role("write")], "write", "a/b/c", "write"],
  [[role("read")], "write", "a", "read"],
  [[role("write")], "read", "a", "read"],
  [[role("read")], "read", "a", "read"],
  [[role("write", "a")], "write", "a", "write"],
  [[role("write", "a/")], "write", "a/b/c", "write"],
  [[role("read"), role("write", "a/")], "write", "a/b", "write"],
  [[role("read"), role("write", "a/")], "write", "b", "read"],
  [[role("write", "a/"), role("read", "a/b")], "write", "a/b", "write"],
  [[role("read", "a/b"), role("write", "a/b", OTHER_SPACE)], "write", "a/b", "read"],
];

const named = (roles: Roles): string =>
  roles.length === 0
    ? "none"
    : roles
        .slice(0, 3)
        .map(
          (one) =>
            `${String(one["access"])}:${String(one["prefix"])}${one["space"] === SPACE ? "" : "@other"}`,
        )
        .join(" ");

describe("roles", () => {
  test.each(REFUSED.map((row) => [named(row[0]), ...row] as const))(
    "%s, with $2 granted, do not open $3",
    async (_, roles, space, document) => {
      granted = space;
      await expect(ask(bearing(...roles), document)).rejects.toMatchObject({
        code: "POLICY_REFUSED",
      });
    },
  );

  test.each(GIVEN.map((row) => [named(row[0]), ...row] as const))(
    "%s, with $2 granted, open $3 to $4",
    async (_, roles, space, document, access) => {
      granted = space;
      expect(await ask(bearing(...roles), document)).toEqual({
        token: "token-1",
        subject: "alice",
        tenant: "acme",
        query: query(document),
        access,
        endsAtMs: (NOW_S + 960) * 1_000,
      });
    },
  );

  test.each([undefined, ""])("without a token (%s) nothing is open", async (none) => {
    await expect(ask(none, "a")).rejects.toMatchObject({ code: "AUTH_FAILED" });
  });
});

describe("a session ends", () => {
  const ends: string[] = [];

  beforeEach(async () => {
    ends.length = 0;
    authorizer.hold(await ask(bearing(role("write")), "a"), (reason) => ends.push(reason));
    vi.advanceTimersByTime(1_000);
  });

  test("once its token has, and not before", () => {
    nowMs = (NOW_S + 960) * 1_000 - 1;
    vi.advanceTimersByTime(1_000);
    expect(ends).toEqual([]);
    nowMs += 1;
    vi.advanceTimersByTime(5_000);
    expect(ends).toEqual(["the token has expired"]);
  });

  test.each([
    ["token", { tokens: new Set(["token-1"]), subjects: new Set<string>() }],
    ["subject", { tokens: new Set<string>(), subjects: new Set(["alice"]) }],
  ])("when its %s is revoked, which opens nothing any more", async (_, revoked) => {
    revocations.set(revoked);
    expect(ends).toEqual(["the token is revoked"]);
    await expect(ask(bearing(role("write")), "a")).rejects.toMatchObject({ code: "AUTH_FAILED" });
    revocations.set({ tokens: new Set(["token-2"]), subjects: new Set(["bob"]) });
    expect(await ask(bearing(role("write")), "a")).toMatchObject({ subject: "alice" });
  });

  test.each([["read"], [undefined]] as const)("when the space allows only %s", (left) => {
    granted = left;
    vi.advanceTimersByTime(1_000);
    expect(ends).toEqual(["the space does not allow it any more"]);
  });

  test("never, where nobody watches it any more", async () => {
    const other = await ask(bearing(role("read")), "b");
    const stop = authorizer.hold(other, (reason) => ends.push(`b: ${reason}`));
    stop();
    nowMs += 3_600_000;
    vi.advanceTimersByTime(2_000);
    expect(ends).toEqual(["the token has expired"]);
  });

  test("at once, when it was revoked between the question and the answer", async () => {
    const other = await ask(token({ claims: { jti: "token-9" } }), "b");
    revocations.set({ tokens: new Set(["token-9"]), subjects: new Set() });
    authorizer.hold(other, (reason) => ends.push(reason));
    await Promise.resolve();
    expect(ends).toEqual(["the token is revoked"]);
  });
});

test("what an issuer for trying out issues is good for that hub alone, for a quarter of an hour", async () => {
  const issuer = await createDevIssuer(AUDIENCE, clock);
  const bearer = await issuer.issue({
    subject: "developer",
    tenant: "dev",
    roles: [{ space: SPACE, prefix: "", access: "write" }],
  });
  const rules = { ...issuer, audience: AUDIENCE, clock, grants: () => granted };
  const dev = createTokenAuthorizer(rules);
  expect(await dev.authorize(bearer, query("a"))).toMatchObject({
    subject: "developer",
    access: "write",
    endsAtMs: (NOW_S + 960) * 1_000,
  });
  await expect(authorizer.authorize(bearer, query("a"))).rejects.toMatchObject({
    code: "AUTH_FAILED",
  });
  const other = await createDevIssuer(AUDIENCE, clock);
  const elsewhere = createTokenAuthorizer({ ...rules, ...other, issuer: issuer.issuer });
  await expect(elsewhere.authorize(bearer, query("a"))).rejects.toThrow(/signature/u);
  dev.stop();
  elsewhere.stop();
});
