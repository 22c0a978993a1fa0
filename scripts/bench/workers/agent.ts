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
import { Inbox, docOf, flood, keyOf, pour, writeAll } from "./load.ts";
import type { Entry, Flood, Load, Pour, Reading, Span } from "./load.ts";

/** How an agent is started. */
export interface AgentStart {
  readonly space: string;
  readonly seed: Uint8Array;
  readonly folder: string;
  readonly peers: readonly string[];
  /** What it tells others to dial; absent: where it listens. */
  readonly announce?: readonly string[];
  /** Where it listens; any port of loopback by default. */
  readonly listen?: readonly string[];
  /** What may go to each peer, such as `256kbit`. */
  readonly budget?: string;
  /** URLs of its hubs; none by default. */
  readonly hubs?: readonly string[];
  /** What keeps the facts of large documents. */
  readonly factEngine?: "js" | "wasm";
  /** Nobody watches, so that what arrives is not read. */
  readonly quiet?: boolean;
}

const inbox = new Inbox();
const facts = (entries: readonly Entry[]) =>
  entries.map(({ key, value }) => ({ key, value: { ...value } }));

/** Writes what may be of several documents. */
async function putAll(entries: readonly Entry[]): Promise<unknown> {
  const byDoc = Map.groupBy(entries, ({ value }) => docOf(value.seq));
  return Promise.all([...byDoc].map(async ([doc, of]) => service().put(doc, facts(of))));
}

let agent: Agent | undefined;

const service = (): Agent["service"] => {
  if (agent === undefined) throw new Error("not started");
  return agent.service;
};

async function start(options: AgentStart): Promise<readonly string[]> {
  const { space, seed, folder, peers, announce, budget, hubs = [], factEngine } = options;
  const { listen = ["/ip4/127.0.0.1/tcp/0"] } = options;
  agent = await createAgent(
    {
      version: "0.0.0",
      space: parseSpaceFile(space, createDeviceVerifier()),
      deviceSeed: seed,
      storePath: join(folder, "store"),
      socketPath: join(folder, "s.sock"),
      mesh: { listen, peers, ...(announce === undefined ? {} : { announce }) },
      ...(budget === undefined ? {} : { links: { default: budget } }),
      hubs,
      ...(factEngine === undefined ? {} : { factEngine }),
      sources: [],
    },
    { clock: systemClock, random: systemRandom, logger: silentLogger },
  );
  if (options.quiet === true) return agent.addresses();
  service().watch({}, ({ origin, fact }) => {
    if (origin === "remote" && fact !== undefined) inbox.arrived(fact.value as unknown as Reading);
  });
  return agent.addresses();
}

serveCalls(
  {
    start,
    peers: async () => (await service().status()).peers.length,
    write: async (load: Load) =>
      writeAll(load, async (key, value) =>
        service().put(docOf(value.seq), facts([{ key, value }]), {
          priority: load.priority ?? "normal",
        }),
      ),
    documents: async ({ count, bytes }: { readonly count: number; readonly bytes: number }) => {
      for (let i = 0; i < count; i += 64) {
        const docs = Array.from(
          { length: Math.min(64, count - i) },
          (_, j) => `cold/${String(i + j)}`,
        );
        await Promise.all(
          docs.map(async (doc) => service().put(doc, [{ key: "text", value: "x".repeat(bytes) }])),
        );
      }
    },
    pour: async (load: Pour) => pour(load, async (entries) => putAll(entries)),
    has: (seq: number) => {
      const value = service().get(docOf(seq), keyOf(seq))?.value as Reading | undefined;
      return value?.seq === seq;
    },
    flood: async (load: Flood) => flood(load, async (entries) => putAll(entries)),
    expect: ({ load, own }: { readonly load: Span; readonly own?: Span }) => {
      inbox.expect(load, own);
    },
    collect: async (timeoutMs: number) => inbox.collect(timeoutMs),
    lastMs: () => inbox.lastMs,
    status: async () => service().status({ digest: true }),
  },
  async () => agent?.stop(),
);
