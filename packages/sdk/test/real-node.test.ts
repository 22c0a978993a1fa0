// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what callers ask for over the socket is what a node does.
 * Method: two real replicas in memory behind real sockets; what one writes is handed to the other.
 */
import { encodeSignedRecord } from "@ctxmesh/codec";
import { createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant, parseSpaceFile, setPolicy } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { createSeededRandom, createVirtualClock, waitFor } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ContextClient } from "../src/index.ts";
import { deviceOf, signerOf, startMemoryNode } from "./real-node.ts";

const START_MS = Date.UTC(2026, 0, 1);
const [MANAGER, WRITER] = [signerOf(1), signerOf(2)];

function foundSpace(): Space {
  const random = createSeededRandom(1);
  let space = createSpace({ name: "plant", creator: MANAGER, now: START_MS, random });
  for (const [signer, role] of [
    [MANAGER, "manage"],
    [WRITER, "write"],
  ] as const) {
    space = issueGrant(space, MANAGER, {
      device: deviceOf(signer),
      service: "agent",
      role,
      notBefore: START_MS,
    });
  }
  return setPolicy(space, MANAGER, { epoch: 1, rules: [{ prefix: "count/", resolver: "sum" }] });
}

let stack: AsyncDisposableStack;
let manager: ContextClient;
let writer: ContextClient;
let clock: VirtualClock;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  clock = createVirtualClock(START_MS);
  const space = foundSpace();
  const here = await startMemoryNode(stack, {
    signer: MANAGER,
    space,
    clock,
    random: createSeededRandom(7),
  });
  const there = await startMemoryNode(stack, {
    signer: WRITER,
    space,
    clock,
    random: createSeededRandom(10),
  });
  there.replica.onApplied(({ origin, bytes }) => {
    if (origin === "local") void here.replica.receive(bytes);
  });
  manager = here.client;
  writer = there.client;
});

/** The writer's statement, as far as the manager. */
async function state(key: string, value: number): Promise<void> {
  const { hlc } = await writer.put("a", { key, value });
  await waitFor(
    async () => (await manager.candidates("a", key)).candidates.some((one) => one.hlc === hlc),
    { timeoutMs: 5_000, what: "the statement at the manager" },
  );
}

afterEach(() => stack.disposeAsync());

test("an increment adds to this node's own number, and the key shows the sum over nodes", async () => {
  await manager.put("a", { key: "count/parts", value: 2, increment: true });
  await manager.put("a", [
    { key: "count/parts", value: 5, increment: true },
    { key: "count/parts", value: -1, increment: true },
  ]);
  expect(await manager.get("a", "count/parts")).toMatchObject({ value: 6, resolver: "sum" });
  await expect(
    manager.put("a", { key: "count/parts", value: "two", increment: true }),
  ).rejects.toMatchObject({ code: "INPUT_INVALID", field: "value" });
});

test("a list can be asked for by pattern, source and tag together", async () => {
  await manager.put("a", [
    { key: "line-1/press-1/t", value: 1, source: { model: "m" }, tags: ["hot"] },
    { key: "line-1/press-2/t", value: 2, source: { model: "m" } },
    { key: "line-2/press-1/t", value: 3, source: { model: "n" }, tags: ["hot", "new"] },
    { key: "site", value: 4, source: { model: "m" }, tags: ["hot"] },
  ]);
  const values = async (query: Parameters<ContextClient["list"]>[0]): Promise<unknown[]> =>
    (await manager.list(query)).map(({ value }) => value);
  expect(await values({ pattern: "line-*/**" })).toEqual([1, 2, 3]);
  expect(await values({ pattern: "line-*/*" })).toEqual([]);
  expect(await values({ source: "m" })).toEqual([1, 2, 4]);
  expect(await values({ tag: "hot" })).toEqual([1, 3, 4]);
  expect(await values({ doc: "a", pattern: "line-*/**", source: "m", tag: "hot" })).toEqual([1]);
  await expect(manager.list({ pattern: "" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
    field: "pattern",
  });
});

test("a retracted statement stays among the candidates and stops counting until its writer speaks again", async () => {
  await state("k", 1);
  const of = deviceOf(WRITER);
  await manager.retract("a", "k", of, "the sensor is broken");
  expect(await manager.get("a", "k")).toBeUndefined();
  expect(await manager.candidates("a", "k")).toMatchObject({
    candidates: [
      {
        writer: of,
        value: 1,
        standing: "retracted",
        retraction: { by: deviceOf(MANAGER), reason: "the sensor is broken" },
      },
    ],
  });
  await state("k", 2);
  expect(await manager.get("a", "k")).toMatchObject({ value: 2 });
});

test("a retraction is refused without the role, without a statement, and without a reason", async () => {
  await state("k", 1);
  const of = deviceOf(WRITER);
  await expect(writer.retract("a", "k", of, "why not")).rejects.toMatchObject({
    code: "POLICY_REFUSED",
  });
  await expect(manager.retract("a", "other", of, "x")).rejects.toMatchObject({
    code: "NOT_FOUND",
  });
  await expect(manager.retract("a", "k", of, "")).rejects.toMatchObject({
    code: "INPUT_INVALID",
    field: "reason",
  });
  await expect(manager.retract("a", "k", "ab", "x")).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("a moment's answer is what was said by then, and the history tells all of it, page by page", async () => {
  await state("k", 1);
  clock.advance(1_000);
  await state("k", 2);
  const ruledAt = clock.now() + 500;
  clock.advance(500);
  await manager.retract("a", "k", deviceOf(WRITER), "the sensor is broken");
  clock.advance(500);
  await manager.put("a", { key: "k", value: 3 });
  const valueAt = async (at: number): Promise<unknown> =>
    (await manager.get("a", "k", { at }))?.value;
  expect(await valueAt(START_MS)).toBe(1);
  expect(await valueAt(START_MS + 999)).toBe(1);
  expect(await valueAt(START_MS + 1_000)).toBe(2);
  expect(await valueAt(ruledAt)).toBeUndefined();
  expect(await valueAt(clock.now())).toBe(3);
  const before = await manager.list({ doc: "a", prefix: "k", at: ruledAt - 1 });
  expect(before).toMatchObject([{ key: "k", value: 2, ageMs: 499 }]);
  for (const [at, field] of [
    [clock.now() + 1, "at"],
    [1_767_225_600, "at"],
  ] as const) {
    const refused = { code: "INPUT_INVALID", field };
    await expect(manager.get("a", "k", { at })).rejects.toMatchObject(refused);
    await expect(manager.list({ doc: "a", at })).rejects.toMatchObject(refused);
  }
  await expect(manager.list({ at: START_MS })).rejects.toMatchObject({ field: "at" });

  const first = await manager.history("a", "k", { limit: 3 });
  const { next } = first;
  if (next === undefined) throw new Error("no second page");
  const second = await manager.history("a", "k", { limit: 3, before: next });
  expect([...first.entries, ...second.entries]).toMatchObject([
    { kind: "statement", value: 3, writer: deviceOf(MANAGER), counts: true },
    { kind: "retraction", writer: deviceOf(MANAGER), retracts: { writer: deviceOf(WRITER) } },
    { kind: "statement", value: 2, writer: deviceOf(WRITER), batch: { seq: 2 } },
    { kind: "statement", value: 1, writer: deviceOf(WRITER), batch: { seq: 1 } },
  ]);
  expect(second).toMatchObject({ reachesBack: "all" });
  expect(second.next).toBeUndefined();
  expect(await manager.history("a", "nothing")).toEqual({ entries: [], reachesBack: "all" });
  await expect(manager.history("a", "k", { limit: 1_001 })).rejects.toMatchObject({
    code: "INPUT_INVALID",
    field: "limit",
  });
  await expect(manager.history("a", "k", { before: "7" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
    field: "before",
  });
});

test("an act that is handed in holds at once; one that is forged or without authority is named, and changes nothing", async () => {
  const space = parseSpaceFile(await manager.spaceFile(), createDeviceVerifier());
  const newcomer = signerOf(3);
  const actOf = (signer: typeof MANAGER): Uint8Array => {
    const changed = issueGrant(foreign ?? space, signer, {
      device: deviceOf(newcomer),
      service: "agent",
      role: "read",
      notBefore: START_MS,
    });
    const known = new Set(space.acts.map(({ id }) => id));
    const act = changed.acts.find(({ id }) => !known.has(id));
    if (act === undefined) throw new Error("no act");
    return encodeSignedRecord(act.record);
  };
  let foreign: Space | undefined;
  const good = actOf(MANAGER);
  const forged = good.slice();
  forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
  foreign = createSpace({
    name: "other",
    creator: WRITER,
    now: START_MS,
    random: createSeededRandom(5),
  });
  const before = await manager.membership();
  const { added, refused } = await manager.addActs([forged, actOf(WRITER), Uint8Array.of(1, 2)]);
  expect(added).toBe(0);
  expect(refused.map(({ code }) => code).toSorted()).toEqual([
    "FORMAT_INVALID",
    "POLICY_REFUSED",
    "SIGNATURE_INVALID",
  ]);
  expect(await manager.membership()).toEqual(before);
  expect(await manager.addActs([good, good])).toEqual({ added: 1, refused: [] });
  const { members, digest } = await manager.membership();
  expect(members.map((member) => member.device)).toContain(deviceOf(newcomer));
  expect((await manager.status()).membership).toMatchObject({ digest, members: 3, revoked: 0 });
  expect(parseSpaceFile(await manager.spaceFile(), createDeviceVerifier()).acts).toHaveLength(
    space.acts.length + 1,
  );
  expect(await manager.evidence()).toEqual([]);
});
