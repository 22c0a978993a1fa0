// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: hubs sync with each other as agents do with a hub, and each speaks for itself; and a hub that relays brings
 * agents together that can't dial each other.
 * Method: real hubs and agents on loopback.
 */
import { join } from "node:path";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Agent, AgentOptions } from "@ctxmesh/edge-agent";
import { createHub } from "@ctxmesh/hub";
import type { Hub, HubOptions } from "@ctxmesh/hub";
import { issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HUB_SEED, hubDevice, sealKeys, spaceOf } from "./fixture.ts";

vi.setConfig({ testTimeout: 60_000 });

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
const now = systemClock.now();
const seedOf = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const [WRITER_SEED, OTHER_HUB_SEED, READER_SEED] = [seedOf(2), seedOf(30), seedOf(31)];
const keyOf = (seed: Uint8Array): string => toHex(createDeviceSigner(seed).publicKey);

const grant = (space: Space, seed: Uint8Array, service: "agent" | "hub"): Space =>
  issueGrant(space, hubDevice, {
    device: parseDeviceKey(keyOf(seed)),
    service,
    role: "write",
    notBefore: now - 1_000,
  });
const space = grant(grant(spaceOf(1, now - 1_000), OTHER_HUB_SEED, "hub"), READER_SEED, "agent");

let dir: TempDir;
let cleanup: AsyncDisposableStack;
beforeEach(async () => {
  dir = await tempDir();
  cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => dir.remove());
});
afterEach(async () => cleanup.disposeAsync());

async function startHub(name: string, options: Partial<HubOptions>): Promise<Hub> {
  const hub = await createHub(
    {
      version: "0.0.0",
      space,
      deviceSeed: HUB_SEED,
      storePath: join(dir.path, name),
      socketPath: join(dir.path, `${name}.sock`),
      listen: { host: "127.0.0.1", port: 0 },
      seal: sealKeys,
      ...options,
    },
    deps,
  );
  cleanup.defer(async () => hub.stop());
  return hub;
}

async function startAgent(
  name: string,
  deviceSeed: Uint8Array,
  options: Partial<AgentOptions>,
): Promise<Agent> {
  const agent = await createAgent(
    {
      version: "0.0.0",
      space,
      deviceSeed,
      storePath: join(dir.path, name),
      socketPath: join(dir.path, `${name}.sock`),
      mesh: { listen: [], peers: [] },
      hubs: [],
      sources: [],
      ...options,
    },
    deps,
  );
  cleanup.defer(async () => agent.stop());
  return agent;
}

const until = async (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitFor(condition, { timeoutMs: 15_000, what });

test("what an agent writes at one hub comes to the agents of another, and each hub acknowledges what it has", async () => {
  const first = await startHub("first", {});
  const second = await startHub("second", { deviceSeed: OTHER_HUB_SEED, hubs: first.addresses() });
  const writer = await startAgent("writer", WRITER_SEED, { hubs: first.addresses() });
  const reader = await startAgent("reader", READER_SEED, { hubs: second.addresses() });
  await writer.service.put("d", [{ key: "k", value: 1 }], { ack: "hub" });
  await reader.service.put("d", [{ key: "back", value: 2 }], { ack: "hub" });
  await until("the fact at the other agent", () => reader.service.get("d", "k") !== undefined);
  await until("the fact at the first agent", () => writer.service.get("d", "back") !== undefined);
  for (const hub of [first, second]) {
    const { peers, device } = await hub.service.status();
    const other = device === keyOf(HUB_SEED) ? keyOf(OTHER_HUB_SEED) : keyOf(HUB_SEED);
    expect(peers).toContainEqual(expect.objectContaining({ device: other, role: "hub" }));
  }
  // A hub does not pass on what another one says: the second has no seal, whatever the first one has.
  await first.sealing.seal();
  await until("the seal at the writer", async () => {
    const { acknowledged } = await writer.service.status();
    return acknowledged?.sealed.waiting === undefined;
  });
  const { acknowledged } = await reader.service.status();
  expect(acknowledged?.sealed.waiting?.batches).toBe(1);
});

test("two agents that listen nowhere sync through a hub that relays, without a channel to it", async () => {
  const hub = await startHub("hub", { relay: { listen: ["/ip4/127.0.0.1/tcp/0"] } });
  const mesh = { listen: [], peers: [], relays: hub.relayAddresses() };
  const writer = await startAgent("writer", WRITER_SEED, { mesh });
  const reader = await startAgent("reader", READER_SEED, { mesh });
  await writer.service.put("d", [{ key: "k", value: 1 }]);
  await until("the fact", () => reader.service.get("d", "k") !== undefined);
  const status = await reader.service.status();
  expect(status.peers).toEqual([
    expect.objectContaining({
      device: keyOf(WRITER_SEED),
      address: expect.stringContaining("/p2p-circuit/"),
      security: { protocol: "TLS 1.3", keyExchange: "X25519MLKEM768" },
    }),
  ]);
  expect(status.transport?.relays).toEqual([
    { device: keyOf(HUB_SEED), address: hub.relayAddresses()[0], connected: true, reserved: true },
  ]);
  const relaying = (await hub.service.status()).transport?.relaying;
  expect(relaying).toEqual({ reservations: 2, circuits: 1 });
  expect(hub.service.get("d", "k")).toBeUndefined();
});
