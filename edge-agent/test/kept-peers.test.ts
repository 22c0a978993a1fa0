// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: an agent that is started again finds its mesh without being told any address.
 * Method: real agents, stores and sockets.
 */
import { join } from "node:path";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Agent } from "@ctxmesh/edge-agent";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import type { ContextService, Logger } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";

const located = new Set<unknown>();
const logger: Logger = {
  ...silentLogger,
  debug: (event, fields) => {
    if (event === "peer.located") located.add(fields?.["device"]);
  },
};
const deps = { clock: systemClock, random: systemRandom, logger };
const SEEDS = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)] as const;
const creator = createDeviceSigner(SEEDS[0]);
const now = systemClock.now();
const space = SEEDS.reduce(
  (granted, seed) =>
    issueGrant(granted, creator, {
      device: parseDeviceKey(toHex(createDeviceSigner(seed).publicKey)),
      service: "agent",
      role: "write",
      notBefore: now - 1_000,
    }),
  createSpace({ name: "plant", creator, now, random: systemRandom }),
);

const peersOf = async (service: ContextService): Promise<number> =>
  (await service.status()).peers.length;

test("an agent dials again whom it met, and tells what protects the connection", async () => {
  await using cleanup = new AsyncDisposableStack();
  const dir = await tempDir();
  cleanup.defer(async () => dir.remove());
  const start = async (which: 0 | 1, peers: readonly string[], listen: string): Promise<Agent> => {
    const folder = join(dir.path, String(which));
    const agent = await createAgent(
      {
        version: "0.0.0",
        space,
        deviceSeed: SEEDS[which],
        storePath: `${folder}-store`,
        socketPath: `${folder}.sock`,
        mesh: { listen: [listen], peers },
        hubs: [],
        sources: [],
      },
      deps,
    );
    cleanup.defer(async () => agent.stop());
    return agent;
  };
  const anyPort = "/ip4/127.0.0.1/tcp/0";
  const first = await start(0, [], anyPort);
  const [address = ""] = first.addresses();
  const second = await start(1, [address], anyPort);
  const connected = { timeoutMs: 15_000, what: "a peer" };
  await waitFor(async () => (await peersOf(second.service)) === 1, connected);
  const device = toHex(creator.publicKey);
  await waitFor(() => located.has(device), {
    ...connected,
    what: "the addresses of the first one",
  });
  // The first one dials nobody that it has not met: what brings them together again is what the second one kept.
  await second.stop();
  await first.stop();
  await start(0, [], address.replace(/\/p2p\/.*$/u, ""));
  const back = await start(1, [], anyPort);
  await waitFor(async () => (await peersOf(back.service)) === 1, connected);
  expect((await back.service.status()).peers[0]?.security).toEqual({
    protocol: "TLS 1.3",
    keyExchange: "X25519MLKEM768",
  });
});
