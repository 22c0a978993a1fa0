// SPDX-License-Identifier: Apache-2.0
/** One edge agent as a process: writes a load, or measures what arrives of another's. */
import { createDeviceVerifier } from "@ctxmesh/crypto";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Agent } from "@ctxmesh/edge-agent";
import { parseSpaceFile } from "@ctxmesh/membership";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger } from "@ctxmesh/testing";
import { join } from "node:path";
import { serveCalls } from "./calls.ts";
import { Inbox, writeAll } from "./load.ts";
import type { Load, Reading } from "./load.ts";

const DOC = "bench/mesh";

/** How an agent is started. */
export interface AgentStart {
  readonly space: string;
  readonly seed: Uint8Array;
  readonly folder: string;
  readonly peers: readonly string[];
}

const inbox = new Inbox();
let agent: Agent | undefined;

const service = (): Agent["service"] => {
  if (agent === undefined) throw new Error("not started");
  return agent.service;
};

async function start({ space, seed, folder, peers }: AgentStart): Promise<readonly string[]> {
  agent = await createAgent(
    {
      version: "0.0.0",
      space: parseSpaceFile(space, createDeviceVerifier()),
      deviceSeed: seed,
      storePath: join(folder, "store"),
      socketPath: join(folder, "s.sock"),
      mesh: { listen: ["/ip4/127.0.0.1/tcp/0"], peers },
      hubs: [],
      sources: [],
    },
    { clock: systemClock, random: systemRandom, logger: silentLogger },
  );
  service().watch({ doc: DOC }, ({ origin, fact }) => {
    if (origin === "remote" && fact !== undefined) inbox.arrived(fact.value as unknown as Reading);
  });
  return agent.addresses();
}

serveCalls(
  {
    start,
    peers: async () => (await service().status()).peers.length,
    write: async (load: Load) =>
      writeAll(load, async (key, value) => service().put(DOC, [{ key, value: { ...value } }])),
    expect: (load: Load) => {
      inbox.expect(load);
    },
    collect: async (timeoutMs: number) => inbox.collect(timeoutMs),
  },
  async () => agent?.stop(),
);
