// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what was acknowledged survives the death of a process, and an agent needs no hub to start.
 * Method: real processes, killed in the middle of writes through the SDK.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { tempDir, waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { initMesh, startDaemon } from "./processes.ts";

const BOUND_MS = 20_000;

/** Writes until the daemon is gone; returns every number that was acknowledged. */
async function writeUntilGone(client: ContextClient, acknowledged: Set<number>): Promise<void> {
  let running = true;
  const writer = async (first: number): Promise<void> => {
    for (let i = first; running; i += 4) {
      try {
        await client.put("d", { key: `key-${String(i)}`, value: i });
        acknowledged.add(i);
      } catch {
        running = false;
      }
    }
  };
  await Promise.all(Array.from({ length: 4 }, async (_, i) => writer(i)));
}

const valuesOf = async (client: ContextClient): Promise<ReadonlySet<unknown>> =>
  new Set((await client.list({ doc: "d", limit: 10_000 })).map(({ value }) => value));

const missing = (acknowledged: ReadonlySet<number>, kept: ReadonlySet<unknown>): number[] =>
  [...acknowledged].filter((i) => !kept.has(i));

test("kill -9 of an agent in the middle of writes loses none that it acknowledged, and the hub gets them later", async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  await initMesh(dir.path, 1);
  const client = connect({ socketPath: join(dir.path, "agent-1/agent.sock") });
  stack.defer(() => client.close());

  // The hub is down all the while.
  const acknowledged = new Set<number>();
  for (const round of [1, 2]) {
    const agent = await startDaemon(dir.path, "agent", "agent-1.yaml");
    stack.use(agent);
    const writing = writeUntilGone(client, acknowledged);
    await waitFor(() => acknowledged.size > 200 * round, { timeoutMs: BOUND_MS, what: "writes" });
    expect(await agent.end("SIGKILL")).toBe("SIGKILL");
    await writing;
  }
  stack.use(await startDaemon(dir.path, "agent", "agent-1.yaml"));
  expect(missing(acknowledged, await valuesOf(client))).toEqual([]);

  const hub = await startDaemon(dir.path, "hub", "hub.yaml");
  stack.use(hub);
  const atHub = connect({ socketPath: join(dir.path, "hub/hub.sock") });
  stack.defer(() => atHub.close());
  const frontiers = async (): Promise<string[]> =>
    Promise.all([client, atHub].map(async (node) => (await node.status()).frontier));
  await waitFor(async () => new Set(await frontiers()).size === 1, {
    timeoutMs: BOUND_MS,
    what: "the hub to catch up",
  });
  expect(missing(acknowledged, await valuesOf(atHub))).toEqual([]);
  expect(await hub.end("SIGTERM")).toBe(0);
});

test.each([
  ["of another space", false, "acknowledged"],
  ["without a grant", true, "POLICY_REFUSED"],
])(
  "an agent %s is refused by hub and agents, and both ends say so",
  async (_, sameSpace, wrote) => {
    await using dir = await tempDir();
    await using other = await tempDir();
    await using stack = new AsyncDisposableStack();
    await Promise.all([initMesh(dir.path, 2), initMesh(other.path, 1)]);
    const hub = stack.use(await startDaemon(dir.path, "hub", "hub.yaml"));
    const agent = stack.use(await startDaemon(dir.path, "agent", "agent-1.yaml"));
    // The stranger has the addresses of the mesh, but a key of its own.
    const config = await readFile(join(dir.path, "agent-2.yaml"), "utf8");
    const own = config.replaceAll("agent-2/", "agent-1/");
    const joined = sameSpace ? own.replace("space.json", join(dir.path, "space.json")) : own;
    await writeFile(join(other.path, "agent-1.yaml"), joined);
    const stranger = stack.use(await startDaemon(other.path, "agent", "agent-1.yaml"));
    await waitFor(
      () => hub.events("peer.refused").length > 0 && stranger.events("hub.unavailable").length > 0,
      { timeoutMs: BOUND_MS, what: "hub and stranger to name the refusal" },
    );
    expect(stranger.events("hub.unavailable")[0]).toMatchObject({ code: "AUTH_FAILED" });
    const member = connect({ socketPath: join(dir.path, "agent-1/agent.sock") });
    const outside = connect({ socketPath: join(other.path, "agent-1/agent.sock") });
    stack.defer(() => {
      member.close();
      outside.close();
    });
    const write = await outside.put("d", { key: "k", value: "stranger" }).then(
      () => "acknowledged",
      (error: unknown) => (error as { code: string }).code,
    );
    expect(write).toBe(wrote);
    await member.put("d", { key: "k", value: "member" });
    expect((await member.candidates("d", "k")).candidates).toHaveLength(1);
    expect((await outside.status()).peers).toEqual([]);
    expect((await member.status()).peers.map(({ role }) => role)).toEqual(["hub"]);
    expect(agent.events("replica.failed")).toEqual([]);
  },
);
