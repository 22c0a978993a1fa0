// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: who follows events has each of them once and none is missing, over the death of the agent, too; and what a fact belongs to, whom it
 * is for, how urgent it is and when it ends is in the events of every node.
 * Method: real processes, killed in the middle of writes; an agent and a hub over loopback.
 */
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import { join } from "node:path";
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

/** Follows over HTTP until it is stopped, as a browser does: it connects again with the last id that it has heard. */
async function followByHand(
  socketPath: string,
  seen: FactEvent[],
  { ready, signal }: { readonly ready: () => void; readonly signal: AbortSignal },
): Promise<void> {
  let lastId = "";
  while (!signal.aborted) {
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        const headers = { "last-event-id": lastId };
        const path = "/v1/events?follow=1";
        request({ socketPath, path, headers, signal, agent: false }, resolve)
          .on("error", reject)
          .end();
      });
      for await (const line of createInterface({ input: response })) {
        if (line.startsWith("id: ")) lastId = line.slice("id: ".length);
        // The place behind which it begins comes first.
        if (lastId !== "") ready();
        if (line.startsWith('data: {"specversion"')) {
          seen.push(JSON.parse(line.slice("data: ".length)) as FactEvent);
        }
      }
    } catch {
      await new Promise(setImmediate);
    }
  }
}

/** Follows with the SDK, which does the same by itself. */
async function followBySdk(
  client: ContextClient,
  seen: FactEvent[],
  signal: AbortSignal,
): Promise<void> {
  for await (const event of client.events({}, { follow: true, signal })) seen.push(event);
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

const isLast = ({ data }: FactEvent): boolean => data.value === "last";
const ids = (events: readonly FactEvent[]): string[] => events.map(({ id }) => id);

test("over kills of the agent in the middle of writes who follows misses no event and has none twice", async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  await initMesh(dir.path, 1);
  const socketPath = join(dir.path, "agent-1/agent.sock");
  let agent = await startDaemon(dir.path, "agent", "agent-1.yaml");
  stack.defer(async () => agent[Symbol.asyncDispose]());

  const [byHand, bySdk]: FactEvent[][] = [[], []];
  const [stop, follower] = [new AbortController(), connect({ socketPath })];
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  const how = { ready: resolve, signal: stop.signal };
  const following = [
    followByHand(socketPath, byHand as FactEvent[], how),
    followBySdk(follower, bySdk as FactEvent[], stop.signal),
  ];
  await ready;
  const acknowledged = new Set<string>();
  for (const round of [1, 2, 3]) {
    const client = connect({ socketPath });
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
    client.close();
    await Promise.all(writers);
    agent = await startDaemon(dir.path, "agent", "agent-1.yaml");
  }
  const client = connect({ socketPath });
  stack.defer(() => client.close());
  await client.put("d", { key: "last", value: "last" });
  for (const seen of [byHand, bySdk]) {
    await waitFor(() => seen?.some(isLast) === true, bound("the last event"));
  }
  stop.abort();
  follower.close();
  await Promise.all(following);

  const all = (await allEvents(client)).filter(({ data }) => data.doc === "d");
  for (const seen of [byHand, bySdk]) {
    expect(seen?.filter(({ data }) => data.doc === "d")).toEqual(all);
  }
  expect(new Set(ids(all)).size).toBe(all.length);
  const told = new Set(all.map(({ data }) => data.value));
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
