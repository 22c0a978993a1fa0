// SPDX-License-Identifier: Apache-2.0
/** A founded space with keys for a hub and agents, and starters for them on loopback with free ports. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Agent, AgentOptions } from "@ctxmesh/edge-agent";
import {
  createDeviceSigner,
  createSigner,
  generatePrivateKey,
  generateSeed,
} from "@ctxmesh/crypto";
import { createHub } from "@ctxmesh/hub";
import type { Hub, SealKeys } from "@ctxmesh/hub";
import { createTrustRoot } from "@ctxmesh/ledger";
import type { TrustRoot } from "@ctxmesh/ledger";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger } from "@ctxmesh/testing";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
const DAY_MS = 86_400_000;

/** The keys and the space of one test mesh. */
export interface Fixture {
  readonly space: Space;
  readonly root: TrustRoot;
  startAgent(
    index: number,
    options?: Partial<Pick<AgentOptions["mesh"], "listen" | "announce" | "peers">> & {
      readonly hubs?: readonly string[];
    },
  ): Promise<Agent>;
  startHub(port?: number): Promise<Hub>;
}

/** Founds a space for `agents` agents and one hub, with its files under `folder`. */
export function createFixture(folder: string, agents: number): Fixture {
  const seeds = Array.from({ length: agents + 1 }, () => generateSeed(systemRandom));
  const signers = seeds.map((seed) => createDeviceSigner(seed));
  const now = systemClock.now();
  const creator = signers[0];
  if (creator === undefined) throw new Error("no agents");
  let space = createSpace({ name: "test", creator, now, random: systemRandom });
  for (const [i, { publicKey }] of signers.entries()) {
    space = issueGrant(space, creator, {
      device: parseDeviceKey(toHex(publicKey)),
      service: i === agents ? "hub" : "agent",
      role: "write",
      notBefore: now - 1,
    });
  }
  const origin = "test.example/log";
  const snapshot = generatePrivateKey("ML-DSA-65-Ed25519", systemRandom);
  const ed25519 = generatePrivateKey("Ed25519", systemRandom);
  const mldsa44 = generatePrivateKey("ML-DSA-44", systemRandom);
  const seal: SealKeys = {
    signer: createSigner(snapshot),
    log: {
      origin,
      signers: { ed25519: createSigner(ed25519), mldsa44: createSigner(mldsa44) },
    },
  };
  const root = createTrustRoot({
    version: 1,
    issued: 0,
    spaces: [space.id],
    expires: now + DAY_MS,
    keys: [{ role: "snapshot", key: snapshot }],
    logs: [{ origin, ed25519, mldsa44 }],
  });
  const common = (name: string, i: number) => ({
    version: "0.0.0",
    space,
    deviceSeed: seeds[i] ?? new Uint8Array(),
    storePath: join(folder, name, "store"),
    socketPath: join(folder, name, "s.sock"),
  });
  return {
    space,
    root,
    startAgent: async (
      index,
      { listen = ["/ip4/127.0.0.1/tcp/0"], peers = [], hubs = [], announce } = {},
    ) => {
      mkdirSync(join(folder, `agent-${String(index)}`), { recursive: true });
      return createAgent(
        {
          ...common(`agent-${String(index)}`, index),
          mesh: { listen, peers, ...(announce === undefined ? {} : { announce }) },
          hubs,
          sources: [],
        },
        deps,
      );
    },
    startHub: async (port = 0) => {
      mkdirSync(join(folder, "hub"), { recursive: true });
      const listen = { host: "127.0.0.1", port };
      return createHub({ ...common("hub", agents), listen, seal }, deps);
    },
  };
}
