// SPDX-License-Identifier: Apache-2.0
/** Three hubs and three agents on the model of an engine, which can be switched off. */
import { join } from "node:path";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Agent } from "@ctxmesh/edge-agent";
import { createHub } from "@ctxmesh/hub";
import type { Hub } from "@ctxmesh/hub";
import { issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { MeshError, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { DeviceKey, Engine, HintBus } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import {
  MemoryEngineData,
  createMemoryEngine,
  silentLogger,
  tempDir,
  waitFor,
} from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach } from "vitest";
import { hubDevice, sealKeys, spaceOf } from "./fixture.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
export const DOC = "line-2/press-7";
export const WAIT_MS = 15_000;
export const now = systemClock.now();
const seedOf = (index: number): Uint8Array => new Uint8Array(32).fill(40 + index);
export const deviceOf = (index: number): DeviceKey =>
  parseDeviceKey(toHex(createDeviceSigner(seedOf(index)).publicKey));
export const HUB = 0;
/** The seed of a hub's key. */
export const hubSeed = (index: number): Uint8Array => seedOf(HUB + index);
export const AGENT = 10;

/** Three hubs and three agents. */
export const space = [
  ...[0, 1, 2].map((i) => ["hub", HUB + i] as const),
  ...[0, 1, 2].map((i) => ["agent", AGENT + i] as const),
].reduce(
  (known, [service, index]) =>
    issueGrant(known, hubDevice, {
      device: deviceOf(index),
      service,
      role: "write",
      notBefore: now - 86_400_000,
    }),
  spaceOf(1, now - 1_000),
);

/** Every hub's acts are in the shared log, too. */
export const ACTS = space.acts.length;

/** What a test has. */
export const mesh: { data: MemoryEngineData; isAway: boolean } = {
  data: new MemoryEngineData(),
  isAway: false,
};
let dir: TempDir;
let cleanup: AsyncDisposableStack;

/** Gives each test of a file a folder and an engine of its own, and stops what it started. */
export function eachTest(): void {
  beforeEach(async () => {
    dir = await tempDir();
    cleanup = new AsyncDisposableStack();
    cleanup.defer(async () => dir.remove());
    mesh.data = new MemoryEngineData();
    mesh.isAway = false;
  });
  afterEach(async () => {
    mesh.isAway = false;
    await cleanup.disposeAsync();
  });
}

/** An engine that fails while it is away. */
export function connect(): Engine {
  const engine = createMemoryEngine(mesh.data, systemClock);
  return new Proxy(engine, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      return (...args: unknown[]): unknown => {
        if (mesh.isAway && name !== "close") {
          return Promise.reject(new MeshError("ENGINE_UNAVAILABLE", "it is away"));
        }
        return Reflect.apply(member, target, args) as unknown;
      };
    },
  });
}

export async function startHub(
  index: number,
  engine?: Engine,
  as: Space = space,
  hints?: HintBus,
): Promise<Hub> {
  const hub = await createHub(
    {
      version: "0.0.0",
      space: as,
      deviceSeed: seedOf(HUB + index),
      storePath: join(dir.path, `hub-${String(index)}`),
      socketPath: join(dir.path, `hub-${String(index)}.sock`),
      listen: { host: "127.0.0.1", port: 0 },
      seal: sealKeys,
      ...(engine === undefined ? {} : { engine }),
      ...(hints === undefined ? {} : { hints }),
    },
    deps,
  );
  cleanup.defer(async () => hub.stop());
  return hub;
}

/** The local API of an agent. */
export const socketOf = (index: number): string => join(dir.path, `agent-${String(index)}.sock`);

export async function startAgent(index: number, hub: Hub): Promise<Agent> {
  const agent = await createAgent(
    {
      version: "0.0.0",
      space,
      deviceSeed: seedOf(AGENT + index),
      storePath: join(dir.path, `agent-${String(index)}`),
      socketPath: join(dir.path, `agent-${String(index)}.sock`),
      mesh: { listen: [], peers: [] },
      hubs: hub.addresses(),
      sources: [],
    },
    deps,
  );
  cleanup.defer(async () => agent.stop());
  return agent;
}

export const valueAt = (node: Agent | Hub, key: string): unknown =>
  node.service.get(DOC, key)?.value;
export const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> =>
  waitFor(holds, { timeoutMs: WAIT_MS, what });
export const put = async (
  agent: Agent,
  key: string,
  value: number,
  timeoutMs = WAIT_MS,
): Promise<unknown> => agent.service.put(DOC, [{ key, value }], { ack: "hub", timeoutMs });
