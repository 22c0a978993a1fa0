// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { Remote } from "@ctxmesh/model";
import { createChannelPair } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { gatheringOf } from "../src/links.ts";
import { LiveSession } from "../src/live-session.ts";

const NOW_MS = 1_000_000;

function sessionWith(role: Remote["role"], i: number): LiveSession {
  const remote: Remote = {
    device: i.toString(16).padStart(64, "0"),
    address: "",
    direction: "outbound",
    role,
  };
  const { a } = createChannelPair({ a: remote, b: remote });
  return new LiveSession(a, NOW_MS, () => undefined, { now: () => NOW_MS, budget: undefined });
}

const briefMs = (roles: readonly Remote["role"][]): number =>
  gatheringOf(new Set(roles.map(sessionWith))).briefMs;

describe("how long writes in quick succession wait for each other", () => {
  test("a node that nobody is connected to does not wait", () => {
    expect(briefMs([])).toBe(0);
  });

  test("it is a millisecond for each agent, up to a limit", () => {
    expect(briefMs(["agent"])).toBe(1);
    expect(briefMs(["agent", "agent", "agent"])).toBe(3);
    expect(briefMs(Array<"agent">(64).fill("agent"))).toBe(LIMITS.gatherBriefMs);
  });

  test("a hub is worth as many agents as the limit has room for, since it passes everything on to all that it knows", () => {
    expect(briefMs(["hub"])).toBe(LIMITS.gatherBriefMs);
    expect(briefMs(["agent", "hub", "hub"])).toBe(LIMITS.gatherBriefMs);
  });
});
