// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the whole path holds on real sockets, stores and signatures.
 * Method: three agents and a hub in one process, over loopback TCP, libp2p, WebSocket and LevelDB.
 */
import { verifyBundle } from "@ctxmesh/ledger";
import type { ContextService } from "@ctxmesh/model";
import { tempDir, waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { createFixture } from "./fixture.ts";

const frontierOf = async (service: ContextService): Promise<string> =>
  (await service.status()).frontier;

async function waitForConvergence(services: readonly ContextService[]): Promise<void> {
  await waitFor(async () => new Set(await Promise.all(services.map(frontierOf))).size === 1, {
    timeoutMs: 15_000,
    what: "equal frontiers",
  });
}

test("agents converge without the hub, the hub catches up, and its seal verifies offline", async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  const fixture = createFixture(dir.path, 3);
  let hub = await fixture.startHub();
  stack.defer(async () => hub.stop());
  const hubs = hub.addresses();
  const agents = [await fixture.startAgent(0, { hubs })];
  agents.push(await fixture.startAgent(1, { hubs, peers: agents[0]?.addresses() ?? [] }));
  agents.push(
    await fixture.startAgent(2, { hubs, peers: agents.flatMap((agent) => agent.addresses()) }),
  );
  for (const agent of agents) stack.defer(async () => agent.stop());
  const services = agents.map((agent) => agent.service);
  await waitFor(
    async () =>
      (await Promise.all(services.map(async (service) => service.status()))).every(
        ({ peers }) => peers.length === 3,
      ),
    { timeoutMs: 15_000, what: "everyone to be connected" },
  );

  const put = async (round: string): Promise<void> => {
    await Promise.all(
      services.flatMap((service, i) => [
        service.put("site", [{ key: `own/${String(i)}`, value: round, confidence: 0.9 }]),
        service.put("site", [
          { key: "shared", value: `${round} ${String(i)}`, confidence: 1 - i / 10 },
        ]),
      ]),
    );
  };
  await put("with hub");
  await waitForConvergence([...services, hub.service]);
  expect(hub.service.get("site", "own/2")?.value).toBe("with hub");

  const port = Number(new URL(hubs[0] ?? "").port);
  await hub.stop();
  await put("without hub");
  await waitForConvergence(services);
  expect(services[0]?.candidates("site", "shared")).toHaveLength(3);

  hub = await fixture.startHub(port);
  await waitForConvergence([...services, hub.service]);
  expect(hub.service.get("site", "own/1")?.value).toBe("without hub");
  const digests = await Promise.all(
    [...services, hub.service].map(
      async (service) => (await service.status({ digest: true })).digest,
    ),
  );
  expect(new Set(digests).size).toBe(1);

  const receipt = await hub.sealing.seal();
  const bundle = await hub.sealing.bundle();
  expect(receipt).toMatchObject({ sequence: 1, logIndex: 0, logSize: 1 });
  expect(verifyBundle(bundle, fixture.root, { now: Date.now() })).toMatchObject({
    valid: true,
    exitCode: 0,
  });
});
