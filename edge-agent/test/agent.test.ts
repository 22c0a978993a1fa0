// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: an agent starts whole or not at all, stops whole, and keeps every write that it acknowledged.
 * Method: real store, sockets and ports; each step of the start is made to fail, then the agent is started again at once.
 */
import { existsSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo, Server } from "node:net";
import { join } from "node:path";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Agent, AgentOptions, Source } from "@ctxmesh/edge-agent";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { openLevelStore } from "@ctxmesh/store-level";
import { silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
const SEED = new Uint8Array(32).fill(1);
const device = createDeviceSigner(SEED);
const now = systemClock.now();
const space = issueGrant(
  createSpace({ name: "plant", creator: device, now, random: systemRandom }),
  device,
  {
    device: parseDeviceKey(toHex(device.publicKey)),
    service: "agent",
    role: "write",
    notBefore: now - 1_000,
  },
);

let dir: TempDir;
let cleanup: AsyncDisposableStack;
beforeEach(async () => {
  dir = await tempDir();
  cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => dir.remove());
});
afterEach(async () => cleanup.disposeAsync());

const optionsFor = (changes: Partial<AgentOptions> = {}): AgentOptions => ({
  version: "0.0.0",
  space,
  deviceSeed: SEED,
  storePath: join(dir.path, "store"),
  socketPath: join(dir.path, "agent.sock"),
  mesh: { listen: ["/ip4/127.0.0.1/tcp/0"], peers: [] },
  hubs: [],
  sources: [],
  ...changes,
});

async function start(changes: Partial<AgentOptions> = {}): Promise<Agent> {
  const agent = await createAgent(optionsFor(changes), deps);
  cleanup.defer(async () => agent.stop());
  return agent;
}

/** A foreign server on a port or socket. */
async function occupy(address: { port: number; host: string } | { path: string }): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(address, resolve));
  cleanup.defer(async () => new Promise((resolve) => server.close(() => resolve(undefined))));
  return server;
}

/** Numbers of the timers, sockets and servers that keep a process alive, by kind. */
function resources(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (/^(?:Timeout|T|Pipe)/u.test(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/** Waits until there is no more of anything than before. */
const waitForRelease = async (before: ReadonlyMap<string, number>): Promise<void> =>
  waitFor(() => [...resources()].every(([kind, count]) => count <= (before.get(kind) ?? 0)), {
    timeoutMs: 5_000,
    what: `no more than ${JSON.stringify([...before])} to be open`,
  });

type Failure = readonly [
  what: string,
  code: MeshErrorCode,
  prepare: () => Promise<Partial<AgentOptions>>,
];

const mesh = (listen: string, peers: readonly string[] = []): Pick<AgentOptions, "mesh"> => ({
  mesh: { listen: [listen], peers },
});

const FAILURES: readonly Failure[] = [
  [
    "a busy port",
    "ADDRESS_UNAVAILABLE",
    async () => {
      const server = await occupy({ host: "127.0.0.1", port: 0 });
      return mesh(`/ip4/127.0.0.1/tcp/${String((server.address() as AddressInfo).port)}`);
    },
  ],
  [
    "a port of which only one address is busy",
    "ADDRESS_UNAVAILABLE",
    async () => {
      const server = await occupy({ host: "127.0.0.1", port: 0 });
      const busy = `/ip4/127.0.0.1/tcp/${String((server.address() as AddressInfo).port)}`;
      return { mesh: { listen: ["/ip4/127.0.0.1/tcp/0", busy], peers: [] } };
    },
  ],
  [
    "a malformed address to listen on",
    "CONFIG_INVALID",
    async () => Promise.resolve(mesh("127.0.0.1:4400")),
  ],
  [
    "a malformed address of a peer",
    "CONFIG_INVALID",
    async () => Promise.resolve(mesh("/ip4/127.0.0.1/tcp/0", ["peer.example:4400"])),
  ],
  [
    "a malformed URL of a hub",
    "CONFIG_INVALID",
    async () => Promise.resolve({ hubs: ["hub.example:4400"] }),
  ],
  [
    "a socket that a living process serves",
    "ADDRESS_UNAVAILABLE",
    async () => {
      const path = join(dir.path, "busy.sock");
      await occupy({ path });
      return { socketPath: path };
    },
  ],
  [
    "a locked store",
    "STORE_LOCKED",
    async () => {
      const path = join(dir.path, "locked");
      const store = await openLevelStore({ path });
      cleanup.defer(async () => store.close());
      return { storePath: path };
    },
  ],
  [
    "a folder with something else in it",
    "STORE_FORMAT",
    async () => {
      const path = join(dir.path, "other");
      await mkdir(path);
      await writeFile(join(path, "notes.txt"), "mine");
      return { storePath: path };
    },
  ],
];

describe("a start that fails", () => {
  // The first start loads libp2p, whose logger opens the process's stderr for good.
  beforeEach(async () => {
    await (await createAgent(optionsFor(), deps)).stop();
    await rm(join(dir.path, "store"), { recursive: true });
  });

  test.each(FAILURES)(
    "on %s rejects with %s, and the next one works at once",
    async (_, code, prepare) => {
      const changes = await prepare();
      const before = resources();
      await expect(
        createAgent(optionsFor({ hubs: ["ws://127.0.0.1:1"], ...changes }), deps),
      ).rejects.toMatchObject({ code });
      await waitForRelease(before);
      expect(await readdir(dir.path)).not.toContain("agent.sock");
      const agent = await start();
      expect(await agent.service.status()).toMatchObject({ service: "agent", ready: true });
    },
  );

  test.each([
    { mesh: { listen: ["127.0.0.1:4400"], peers: [] } },
    { mesh: { listen: [], peers: ["peer.example:4400"] } },
  ])("on a malformed address makes no store (%o)", async (changes) => {
    await expect(createAgent(optionsFor(changes), deps)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
    expect(await readdir(dir.path)).toEqual([]);
  });

  test("on a busy port has answered reads by then, and leaves a store that the next start goes on with", async () => {
    const events: string[] = [];
    const logger = { ...silentLogger, info: (event: string) => events.push(event) };
    const server = await occupy({ host: "127.0.0.1", port: 0 });
    const { port } = server.address() as AddressInfo;
    const options = optionsFor(mesh(`/ip4/127.0.0.1/tcp/${String(port)}`));
    await expect(createAgent(options, { ...deps, logger })).rejects.toMatchObject({
      code: "ADDRESS_UNAVAILABLE",
    });
    expect(events).toContain("api.listening");
    expect(await readdir(dir.path)).toEqual(["store"]);
    expect(await (await start()).service.status()).toMatchObject({ ready: true });
  });

  test("on a source that throws stops what was started before it, the sources too", async () => {
    const stopped: string[] = [];
    const source = (name: string, begin: () => void): Source => ({
      name,
      start: begin,
      stop: async () => {
        stopped.push(name);
        return Promise.resolve();
      },
    });
    const sources = [
      source("good", () => undefined),
      source("bad", () => {
        throw new Error("no such sensor");
      }),
    ];
    await expect(createAgent(optionsFor({ sources }), deps)).rejects.toThrow("no such sensor");
    expect(stopped).toEqual(["bad", "good"]);
    expect(await (await start()).service.status()).toMatchObject({ ready: true });
  });
});

describe("a stop", () => {
  test("releases everything: the same store, socket and port serve again at once", async () => {
    const before = resources();
    const first = await start({ hubs: ["ws://127.0.0.1:1"] });
    const addresses = first.addresses();
    const [listen = ""] = addresses.map((address) => address.replace(/\/p2p\/.*$/u, ""));
    await first.stop();
    await waitForRelease(before);
    expect(await readdir(dir.path)).toEqual(["store"]);
    const again = await start(mesh(listen));
    expect(again.addresses()).toEqual(addresses);
  });

  test("that is asked for several times ends once, and every caller waits for that end", async () => {
    const agent = await start();
    await Promise.race([agent.stop(), agent.stop()]);
    expect(existsSync(join(dir.path, "agent.sock"))).toBe(false);
    const again = await start();
    expect(await again.service.status()).toMatchObject({ ready: true });
    await Promise.all([agent.stop(), again.stop(), again.stop()]);
  });

  test("while writes are under way loses none that was acknowledged, and refuses the rest", async () => {
    const agent = await start();
    const acknowledged = new Set<number>();
    const codes = new Set<string>();
    let running = true;
    const writer = async (first: number): Promise<void> => {
      for (let i = first; running; i += 8) {
        try {
          await agent.service.put(`doc-${String(i % 4)}`, [{ key: `key-${String(i)}`, value: i }]);
          acknowledged.add(i);
        } catch (error) {
          codes.add((error as { code: string }).code);
          running = false;
        }
      }
    };
    const writers = Array.from({ length: 8 }, async (_, i) => writer(i));
    await waitFor(() => acknowledged.size > 300, { timeoutMs: 20_000, what: "300 writes" });
    await agent.stop();
    await Promise.all(writers);
    expect(codes).toEqual(new Set(["CLOSED"]));
    const { service } = await start();
    const kept = new Set(service.list({ limit: 10_000 }).map(({ value }) => value));
    expect([...acknowledged].filter((i) => !kept.has(i))).toEqual([]);
  });

  test("ends its sources first, and the write that a source has under way is kept", async () => {
    const stopping = new AbortController();
    let done = Promise.resolve();
    const source: Source = {
      name: "test",
      start(write) {
        done = (async () => {
          for (let i = 0; !stopping.signal.aborted; i++)
            await write({ doc: "d", facts: [{ key: "count", value: i }] });
        })();
      },
      stop: async () => {
        stopping.abort();
        return done;
      },
    };
    const agent = await start({ sources: [source] });
    await waitFor(() => agent.service.get("d", "count") !== undefined, {
      timeoutMs: 10_000,
      what: "the source to write",
    });
    await agent.stop();
    await expect(done).resolves.toBeUndefined();
  });
});
