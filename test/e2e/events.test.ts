// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: who follows events has each of them once and none is missing, over the death of the agent, too; and what a fact belongs to, whom it
 * is for, how urgent it is and when it ends is in the events of every node.
 * Method: real processes, killed in the middle of writes; an agent and a hub over loopback.
 */
import { join } from "node:path";
import { MeshError } from "@ctxmesh/model";
import type { FactEvent } from "@ctxmesh/model";
import { restoreBackup } from "@ctxmesh/service";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { tempDir, waitFor } from "@ctxmesh/testing";
import { createWriteStream } from "node:fs";
import { rename } from "node:fs/promises";
import { finished } from "node:stream/promises";
import { expect, test } from "vitest";
import { createFixture } from "./fixture.ts";
import { initMesh, startDaemon } from "./processes.ts";

const BOUND_MS = 20_000;
const bound = (what: string): { timeoutMs: number; what: string } => ({
  timeoutMs: BOUND_MS,
  what,
});

/** Follows until it is stopped, and goes on from its last event whenever the agent has gone. */
async function followAll(
  client: ContextClient,
  seen: FactEvent[],
  { ready, signal }: { readonly ready: () => void; readonly signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    const since = seen.at(-1)?.position;
    try {
      const feed = client.events(since === undefined ? {} : { since }, { follow: true, signal });
      await feed.ready;
      ready();
      for await (const event of feed) seen.push(event);
    } catch (error) {
      if (!(error instanceof MeshError) || error.code !== "UNREACHABLE") throw error;
      await new Promise(setImmediate);
    }
  }
}

async function allEvents(client: ContextClient): Promise<FactEvent[]> {
  const events: FactEvent[] = [];
  for await (const event of client.events()) events.push(event);
  return events;
}

/** An event without what is its node's own. */
function shared(event: FactEvent): Omit<FactEvent, "position"> {
  const { position: _position, ...rest } = event;
  return rest;
}

const ids = (events: readonly FactEvent[]): string[] => events.map(({ id }) => id);

test("over kills of the agent in the middle of writes who follows misses no event and has none twice", async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  await initMesh(dir.path, 1);
  const client = connect({ socketPath: join(dir.path, "agent-1/agent.sock") });
  stack.defer(() => client.close());
  let agent = await startDaemon(dir.path, "agent", "agent-1.yaml");
  stack.defer(async () => agent[Symbol.asyncDispose]());

  const seen: FactEvent[] = [];
  const stop = new AbortController();
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  const following = followAll(client, seen, { ready: resolve, signal: stop.signal });
  await ready;
  const acknowledged = new Set<string>();
  for (const round of [1, 2, 3]) {
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let i = 0; ; i++) {
        const value = `${String(round)}-${String(writer)}-${String(i)}`;
        try {
          await client.put("d", { key: `k${String(i % 10)}`, value });
        } catch {
          return;
        }
        acknowledged.add(value);
      }
    });
    await waitFor(() => acknowledged.size > 150 * round, bound("writes"));
    expect(await agent.end("SIGKILL")).toBe("SIGKILL");
    await Promise.all(writers);
    agent = await startDaemon(dir.path, "agent", "agent-1.yaml");
  }
  await client.put("d", { key: "last", value: "last" });
  await waitFor(() => seen.at(-1)?.data.value === "last", bound("the last event"));
  stop.abort();
  await following;

  const all = await allEvents(client);
  expect(ids(seen)).toEqual(ids(all));
  expect(seen).toEqual(all);
  expect(new Set(ids(seen)).size).toBe(seen.length);
  const told = new Set(seen.map(({ data }) => data.value));
  expect([...acknowledged].filter((value) => !told.has(value))).toEqual([]);
});

test("a position of a store that was replaced by its backup is refused, and of another node", async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  await initMesh(dir.path, 1);
  const client = connect({ socketPath: join(dir.path, "agent-1/agent.sock") });
  stack.defer(() => client.close());
  const first = await startDaemon(dir.path, "agent", "agent-1.yaml");
  stack.use(first);
  await client.put("d", { key: "k", value: 1 });
  const file = createWriteStream(join(dir.path, "a.backup"));
  for await (const bytes of client.backup()) file.write(bytes);
  file.end();
  await finished(file);
  const [event] = await allEvents(client);
  expect(await first.end("SIGTERM")).toBe(0);
  const store = join(dir.path, "agent-1/store");
  await rename(store, `${store}.old`);
  await restoreBackup({ file: join(dir.path, "a.backup"), path: store });
  stack.use(await startDaemon(dir.path, "agent", "agent-1.yaml"));
  const since = event?.position ?? "";
  await expect(client.events({ since }, { follow: true }).ready).rejects.toMatchObject({
    code: "INPUT_INVALID",
    field: "since",
  });
  const [same] = await allEvents(client);
  expect(same).toEqual({ ...event, position: same?.position });
});

test("priority, ttl, target models, correlation and trace of a fact are in the events of a hub, the same as at the agent", async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  const fixture = createFixture(dir.path, 1);
  const hub = await fixture.startHub();
  stack.defer(async () => hub.stop());
  const agent = await fixture.startAgent(0, { hubs: hub.addresses() });
  stack.defer(async () => agent.stop());
  const [client, atHub] = ["agent-0", "hub"].map((name) =>
    connect({ socketPath: join(dir.path, name, "s.sock") }),
  ) as [ContextClient, ContextClient];
  stack.defer(() => {
    client.close();
    atHub.close();
  });
  const heard: FactEvent[] = [];
  const stop = new AbortController();
  const feed = atHub.events({ model: "planner" }, { follow: true, signal: stop.signal });
  await feed.ready;
  const hearing = (async () => {
    for await (const event of feed) heard.push(event);
  })();
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const route = { correlation: "order-7", traceparent };
  await client.put(
    "d",
    { key: "alarm", value: 1, ttlMs: 60_000, targets: ["planner"], ...route },
    { priority: "high" },
  );
  await client.put("d", { key: "other", value: 2, targets: ["vision"] }, { priority: "low" });
  await client.put("d", { key: "all", value: 3 }, { ack: "hub" });
  await waitFor(() => heard.length >= 2, bound("events at the hub"));
  stop.abort();
  await hearing;
  const byKey = Object.fromEntries(heard.map((event) => [event.data.key, event]));
  expect(Object.keys(byKey).toSorted()).toEqual(["alarm", "all"]);
  expect(byKey["alarm"]).toMatchObject({
    priority: "high",
    ttl: "60000",
    correlationid: "order-7",
    traceparent,
    data: { value: 1, current: 1, targets: ["planner"] },
  });
  const written = Date.parse(byKey["alarm"]?.time ?? "");
  expect(Date.parse(byKey["alarm"]?.expirytime ?? "")).toBe(written + 60_000);
  const priorities = (await allEvents(client)).map(({ data, priority }) => [data.key, priority]);
  expect(Object.fromEntries(priorities)).toEqual({ alarm: "high", other: "low", all: "normal" });
  const [alarm] = (await allEvents(client)).filter(({ data }) => data.key === "alarm");
  expect(shared(byKey["alarm"] as FactEvent)).toEqual(shared(alarm as FactEvent));
});
