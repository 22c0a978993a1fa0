// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: strong reads and writes are decided in the one order of the log that hubs share, whichever hub is asked; what can't be decided is said at once,
 * and everything else goes on.
 * Method: real hubs and agents with LevelDB and WebSockets, called over their local API; the engine is the model of the port, which can
 * be switched off. The same on PostgreSQL, with hubs that are killed, is in test/e2e; the decisions themselves in packages/replica.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Engine, MeshError } from "@ctxmesh/model";
import { connect as connectTo } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { createSeededRandom } from "@ctxmesh/testing";
import { afterEach, expect, test } from "vitest";
import {
  DOC,
  WAIT_MS,
  connect,
  deviceOf,
  eachTest,
  mesh,
  put,
  socketOf,
  startAgent,
  startHub,
  until,
  valueAt,
} from "./shared-kit.ts";

eachTest();

const clients: ContextClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

function clientOf(index: number): ContextClient {
  const client = connectTo({ socketPath: socketOf(index) });
  clients.push(client);
  return client;
}

const STRONG = { consistency: "strong" } as const;
const codeOf = async (calling: Promise<unknown>): Promise<string> =>
  calling.then(
    () => "done",
    (error: unknown) => (error as MeshError).code,
  );

/** An engine whose answers, and what it is asked, are on their way for up to some milliseconds, so that hubs come between each other. */
function distant(engine: Engine): Engine {
  const random = createSeededRandom(7);
  const underway = async (): Promise<void> => pause((random.bytes(1)[0] ?? 0) / 64);
  return new Proxy(engine, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== "function" || name === "scan") return member;
      return async (...args: unknown[]): Promise<unknown> => {
        await underway();
        const answer: unknown = await Reflect.apply(member, target, args);
        await underway();
        return answer;
      };
    },
  });
}

/** Two hubs on one engine, and a client of an agent at each. */
async function startTwo(): Promise<readonly [ContextClient, ContextClient]> {
  const [one, two] = [await startHub(0, distant(connect())), await startHub(1, distant(connect()))];
  await startAgent(0, one);
  await startAgent(1, two);
  const [a, b] = [clientOf(0), clientOf(1)];
  for (const client of [a, b]) {
    await until("a hub to be connected", async () =>
      (await client.status()).peers.some(({ role }) => role === "hub"),
    );
  }
  return [a, b];
}

test("of strong writes on one version, over two hubs, one is made, and the others hear so", async () => {
  const both = await startTwo();
  let expected: string | null = null;
  for (let round = 0; round < 8; round++) {
    const outcomes = await Promise.allSettled(
      [0, 1, 2, 3, 4, 5].map(async (i) => {
        const client = both[i % 2 === 0 ? 0 : 1];
        const fact = { key: "owner", value: `${String(round)}/${String(i)}` };
        const receipt = await client.compareAndSet(DOC, fact, expected, STRONG);
        return { ...receipt, value: fact.value };
      }),
    );
    const made = outcomes.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    const codes = outcomes.flatMap((each) =>
      each.status === "rejected" ? [(each.reason as MeshError).code] : [],
    );
    expect(made).toHaveLength(1);
    expect(new Set(codes)).toEqual(new Set(["VERSION_CONFLICT"]));
    expect(made[0]).toMatchObject({ acknowledged: "hub", decidedBy: "hub", facts: 1 });
    for (const client of both) {
      const read = await client.get(DOC, "owner", STRONG);
      expect(read).toMatchObject({ value: made[0]?.value, from: "hub", version: made[0]?.version });
    }
    expected = made[0]?.version ?? null;
  }
});

test("a counter that several raise with strong writes over two hubs loses no step", async () => {
  const both = await startTwo();
  const raise = async (client: ContextClient): Promise<void> => {
    for (;;) {
      const before = await client.get(DOC, "counter", STRONG);
      const value = Number(before?.value ?? 0) + 1;
      const raising = client.compareAndSet(
        DOC,
        { key: "counter", value },
        before?.version ?? null,
        STRONG,
      );
      const code = await codeOf(raising);
      if (code === "done") return;
      if (code !== "VERSION_CONFLICT" && code !== "ENGINE_FENCED") await raising;
    }
  };
  const times = [0, 1, 2, 3, 4];
  await Promise.all(
    both.flatMap((client) =>
      [0, 1].map(async () => {
        for (const _ of times) await raise(client);
      }),
    ),
  );
  expect((await both[0].get(DOC, "counter", STRONG))?.value).toBe(4 * times.length);
});

test("a strong read knows what another hub has acknowledged a moment ago, and one by the engine does not wait for hints", async () => {
  const [one, two] = await startTwo();
  for (let i = 0; i < 20; i++) {
    await one.put(DOC, { key: "reading", value: i }, { ack: "hub", timeoutMs: WAIT_MS });
    expect((await two.get(DOC, "reading", STRONG))?.value).toBe(i);
    expect(await two.list({ doc: DOC, ...STRONG })).toMatchObject([{ value: i }]);
  }
});

test("a strong write does not pass over what another hub has acknowledged", async () => {
  const [one, two] = await startTwo();
  const first = await two.compareAndSet(DOC, { key: "state", value: 0 }, null, STRONG);
  let { version } = first;
  for (let i = 1; i <= 10; i++) {
    await one.put(DOC, { key: "state", value: i }, { ack: "hub", timeoutMs: WAIT_MS });
    const late = two.compareAndSet(DOC, { key: "state", value: "late" }, version, STRONG);
    await expect(late).rejects.toMatchObject({ code: "VERSION_CONFLICT" });
    version = (await two.get(DOC, "state", STRONG))?.version ?? "";
  }
});

test("who wrote with a strong write sees it in its next read, and who it was is in its basis", async () => {
  const [one] = await startTwo();
  const fact = { key: "owner", value: "me", source: { model: "planner" }, basis: ["decision-1"] };
  const receipt = await one.compareAndSet(DOC, fact, null, STRONG);
  const { fact: seen, candidates } = await one.candidates(DOC, "owner");
  expect(seen).toMatchObject({ value: "me", version: receipt.version });
  expect(candidates[0]?.source).toEqual({ model: "planner" });
  expect(candidates[0]?.basis?.[0]).toBe("decision-1");
  expect(candidates[0]?.basis?.[1]).toMatch(new RegExp(`^cas:${deviceOf(10)}:[0-9a-f]{32}$`, "u"));
  expect(deviceOf(0)).toBe(candidates[0]?.writer);
});

test("while no hub is there strong reads and writes fail at once, bounded ones once they are not fresh enough, and the rest goes on", async () => {
  const hub = await startHub(0, connect());
  const agent = await startAgent(0, hub);
  const client = clientOf(0);
  await put(agent, "temperature", 21);
  const bounded = { consistency: "bounded", maxStalenessMs: 60_000 } as const;
  const fresh = await client.get(DOC, "temperature", bounded);
  expect(fresh).toMatchObject({ value: 21, from: "replica", contested: false });
  expect(fresh?.asOf).toBeGreaterThan(0);
  await hub.stop();
  await until("the agent to notice", async () => (await client.status()).peers.length === 0);
  expect(await codeOf(client.get(DOC, "temperature", STRONG))).toBe("UNREACHABLE");
  expect(await codeOf(client.list({ doc: DOC, ...STRONG }))).toBe("UNREACHABLE");
  const write = client.compareAndSet(DOC, { key: "temperature", value: 1 }, null, STRONG);
  expect(await codeOf(write)).toBe("UNREACHABLE");
  // What was shown a moment ago still is fresh enough for who allows for a minute, and not for who allows for a millisecond.
  expect(await client.get(DOC, "temperature", bounded)).toMatchObject({
    value: 21,
    asOf: fresh?.asOf,
  });
  const soon = client.get(DOC, "temperature", { ...bounded, maxStalenessMs: 1 });
  await expect(soon).rejects.toMatchObject({ code: "STALE", field: "maxStalenessMs" });
  await client.put(DOC, { key: "temperature", value: 22 });
  expect(await client.get(DOC, "temperature")).toMatchObject({ value: 22, from: "replica" });
  const { version = "" } = (await client.get(DOC, "temperature")) ?? {};
  const local = await client.compareAndSet(DOC, { key: "temperature", value: 23 }, version);
  expect(local).toMatchObject({ acknowledged: "local", decidedBy: "replica" });
  expect(valueAt(agent, "temperature")).toBe(23);
});

test("while the engine is away strong reads and writes say so, and go on when it is back", async () => {
  const [one] = await startTwo();
  await one.compareAndSet(DOC, { key: "state", value: 1 }, null, STRONG);
  mesh.isAway = true;
  expect(await codeOf(one.get(DOC, "state", STRONG))).toBe("ENGINE_UNAVAILABLE");
  const write = one.compareAndSet(DOC, { key: "state", value: 2 }, null, STRONG);
  expect(await codeOf(write)).toBe("ENGINE_UNAVAILABLE");
  expect((await one.get(DOC, "state"))?.value).toBe(1);
  mesh.isAway = false;
  await until("the engine", async () => (await codeOf(one.get(DOC, "state", STRONG))) === "done");
  expect((await one.get(DOC, "state", STRONG))?.value).toBe(1);
});

test("hubs that share nothing decide nothing, and say why", async () => {
  const hub = await startHub(0);
  await startAgent(0, hub);
  const client = clientOf(0);
  await until("the hub", async () => (await client.status()).peers.length > 0);
  await expect(client.get(DOC, "state", STRONG)).rejects.toMatchObject({
    code: "POLICY_REFUSED",
    message: expect.stringContaining("several hubs") as string,
  });
  await expect(client.list({ doc: DOC, ...STRONG })).rejects.toMatchObject({
    code: "POLICY_REFUSED",
    message: expect.stringContaining("several hubs") as string,
  });
  const bounded = { consistency: "bounded", maxStalenessMs: 60_000 } as const;
  expect(await client.list({ doc: DOC, ...bounded })).toEqual([]);
});

test.each([
  ["a staleness without its level", { maxStalenessMs: 5 }, "maxStalenessMs"],
  ["a bounded read without its bound", { consistency: "bounded" }, "maxStalenessMs"],
  ["a level that there is not", { consistency: "certain" }, "consistency"],
  ["a staleness of nothing", { consistency: "bounded", maxStalenessMs: 0 }, "maxStalenessMs"],
  ["too long a time", { consistency: "strong", timeoutMs: 60_000 }, "timeoutMs"],
  ["a level in the past", { consistency: "strong", at: 1 }, "consistency"],
])("%s is refused by name", async (_, options, field) => {
  const hub = await startHub(0, connect());
  await startAgent(0, hub);
  const reading = clientOf(0).get(DOC, "state", options as Parameters<ContextClient["get"]>[2]);
  await expect(reading).rejects.toMatchObject({ code: "INPUT_INVALID", field });
});
