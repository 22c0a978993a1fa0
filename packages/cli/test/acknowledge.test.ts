// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `hub` survives the loss of the agent, `sealed` is in a bundle that needs neither, and nobody is told more than is true.
 * Method: an agent and a hub as processes, killed and without their folders, driven by the command line.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { EXIT } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { tempDir, waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

const BOUND_MS = 20_000;

interface SealedBundle {
  readonly snapshot: { readonly leaves: readonly { readonly leaf: string }[] };
}

test("a write is acknowledged by the hub that is there, and by the seal that covers it", async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  const mesh = join(dir.path, "mesh");
  await run(["init", mesh, "--agents", "1", "--ports", "auto"]);
  const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: mesh });
  const start = async (service: "agent" | "hub", config: string): Promise<Daemon> => {
    const daemon = new Daemon(mesh, service, config);
    stack.defer(async () => {
      await daemon.stop();
    });
    await daemon.ready();
    return daemon;
  };
  const clientOf = (socket: string): ContextClient => {
    const client = connect({ socketPath: join(mesh, socket) });
    stack.defer(() => {
      client.close();
    });
    return client;
  };
  const [atAgent, atHub] = [clientOf("agent-1/agent.sock"), clientOf("hub/hub.sock")];
  const has = (client: ContextClient, value: number): Promise<void> =>
    waitFor(async () => (await client.get("d", "k"))?.value === value, {
      timeoutMs: BOUND_MS,
      what: `the value ${String(value)}`,
    });

  // No hub yet: the write is durable here, and that is what is said.
  const agent = await start("agent", "agent-1.yaml");
  const late = await ctxmesh("put", "d", "k", "1", "--ack", "hub", "--ack-timeout", "50ms");
  expect(late).toMatchObject({ code: EXIT.unavailable, stdout: "" });
  expect(late.stderr).toMatch(
    /^ctxmesh: the write is durable here and acknowledged as local; it was not hub within 50 ms; don't write it again/u,
  );
  expect((await ctxmesh("status")).stdout).toMatch(
    /^acknowledged +\d+ batch(es)? written here; at a hub: 0, \d+ not yet, oldest .*; sealed: 0, /mu,
  );

  // The hub comes up while one waits.
  const waiting = ctxmesh("put", "d", "k", "2", "--ack", "hub", "--ack-timeout", "20s");
  const hub = await start("hub", "hub.yaml");
  expect(await waiting).toEqual({ code: EXIT.ok, stdout: "wrote 1 (hub)\n", stderr: "" });
  const sealing = atAgent.put("d", { key: "k", value: 3 }, { ack: "sealed", timeoutMs: BOUND_MS });
  await has(atHub, 3);
  await atHub.seal();
  const sealed = await sealing;
  expect(sealed).toMatchObject({ acknowledged: "sealed", facts: 1 });
  const bundle = Buffer.from(await atHub.bundle()).toString();

  // An agent that starts while there is no hub still knows what is safe.
  await Promise.all([hub.stop(), agent.stop()]);
  const again = await start("agent", "agent-1.yaml");
  await atAgent.put("d", { key: "other", value: 4 });
  const { acknowledged } = await atAgent.status();
  expect(acknowledged?.sealed.batches).toBeGreaterThanOrEqual(sealed.seq);
  expect(acknowledged?.hub.batches).toBeLessThan(acknowledged?.local ?? 0);

  // The agent's disk is lost; what the hub acknowledged comes back.
  again.process.kill("SIGKILL");
  await again.exit;
  await rm(join(mesh, "agent-1", "store"), { recursive: true });
  await Promise.all([start("hub", "hub.yaml"), start("agent", "agent-1.yaml")]);
  await has(atAgent, 3);
  // And what was sealed is in the bundle, which needs neither.
  const { leaves } = (JSON.parse(bundle) as SealedBundle).snapshot;
  expect(leaves.map(({ leaf }) => JSON.parse(leaf) as unknown)).toContainEqual(
    expect.objectContaining({ doc: "d", key: "k", value: 3, incarnation: sealed.incarnation }),
  );
});

test("an unknown level or time is refused by the command line", async () => {
  const level = await run(["put", "d", "k", "1", "--ack", "moon"]);
  expect(level).toMatchObject({ code: EXIT.input, stdout: "" });
  expect(level.stderr).toContain("local, hub, sealed");
  const time = await run(["put", "d", "k", "1", "--ack", "hub", "--ack-timeout", "soon"]);
  expect(time).toMatchObject({ code: EXIT.input });
  expect(time.stderr).toContain("is not a duration");
});
