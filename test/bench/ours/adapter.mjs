// SPDX-License-Identifier: Apache-2.0
/**
 * ctxmesh as a peer of the benchmark whose interface is in its README: `ours` is a hub with agents, `ours:p2p` agents
 * alone, `ours:yjs` a hub with stock Yjs providers (`yjs.mjs`). An agent is put together as `edge-agent/src/agent.ts` does it,
 * without the local socket, and with a network that can be taken away while the process stays. Whatever the scenario, each batch is signed, synced to disk at its
 * writer before a write resolves, verified by each reader, and synced to disk there before its change event.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import {
  createDeviceSigner,
  createDeviceVerifier,
  createSigner,
  generatePrivateKey,
} from "@ctxmesh/crypto";
import { createSpace, encodeSpaceFile, issueGrant, parseSpaceFile } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import {
  LiveMembership,
  NodeService,
  openReplica,
  startSync,
  systemClock,
  systemRandom,
} from "@ctxmesh/service";
import { openDoor, startProvider, yjsUrl } from "./yjs.mjs";

/** Entities of one document, so that none grows past its limit. */
const ENTITIES = 2_000;
/** Agents that the space knows: the writer, nine readers, and some room. */
const AGENTS = 32;
const CONNECT_MS = 15_000;
const POLL_MS = 5;

const { version } = JSON.parse(await readFile(new URL("package.json", import.meta.url), "utf8"));

/** What `run.mjs` asks for. */
export const meta = {
  name: "ctxmesh hub",
  topology: "hub",
  versionsExtra: { ctxmesh: version },
  ack: "the write is in a signed batch that was synced to disk",
  fsync: "one synced LevelDB write for each group of batches",
  variants: {
    p2p: { name: "ctxmesh agents", topology: "p2p" },
    yjs: {
      name: "ctxmesh hub, Yjs providers",
      packages: ["yjs", "y-websocket", "ws"],
      ack: "none: the protocol of Yjs has no acknowledgement",
      skip: {
        S3: "50,000 keys are more than a document may have",
        S4: "as `ours`",
        S5: "as `ours`",
      },
    },
  },
};

const logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (event, fields) => {
    process.stderr.write(`warn ${event} ${JSON.stringify(fields ?? {})}\n`);
  },
  error: (event, fields) => {
    process.stderr.write(`error ${event} ${String(fields?.error ?? "")}\n`);
  },
};
const deps = { clock: systemClock, random: systemRandom, logger };

/** A run's keys need not be secret: the hub is 255, an agent its index. */
const seedOf = (index) => new Uint8Array(32).fill(index + 1);
const HUB = 254;

/** The text of the run's space. */
function foundSpace() {
  const creator = createDeviceSigner(seedOf(HUB));
  const now = systemClock.now();
  let space = createSpace({ name: "bench", creator, now, random: systemRandom });
  const grant = (index, service) => {
    const device = parseDeviceKey(toHex(createDeviceSigner(seedOf(index)).publicKey));
    space = issueGrant(space, creator, { device, service, role: "write", notBefore: now - 1 });
  };
  grant(HUB, "hub");
  for (let index = 0; index < AGENTS; index++) grant(index, "agent");
  return encodeSpaceFile(space);
}

const readSpace = (text) => parseSpaceFile(text, createDeviceVerifier());

const signerOf = (suite) => createSigner(generatePrivateKey(suite, systemRandom));

function sealKeys() {
  const log = { ed25519: signerOf("Ed25519"), mldsa44: signerOf("ML-DSA-44") };
  return {
    signer: signerOf("ML-DSA-65-Ed25519"),
    log: { origin: "bench.example/log", signers: log },
  };
}

/** The hub process. */
export async function startHub({ dir, variant }) {
  const { createHub } = await import("@ctxmesh/hub");
  await mkdir(dir, { recursive: true });
  const text = foundSpace();
  const space = readSpace(text);
  const door = variant === "yjs" ? await openDoor(space.id, deps.clock) : undefined;
  const hub = await createHub(
    {
      version,
      space,
      deviceSeed: seedOf(HUB),
      storePath: join(dir, "store"),
      socketPath: join(dir, "s.sock"),
      listen: { host: "127.0.0.1", port: 0 },
      seal: sealKeys(),
      ...(door === undefined ? {} : { auth: door.auth }),
    },
    deps,
  );
  const urls = hub.addresses();
  const provider = door && { url: yjsUrl(urls[0], space.id), token: door.token };
  return { info: { space: text, urls, provider }, stop: async () => hub.stop() };
}

/** A store with its replica and the operations on it; what a node has without a network. */
async function openNode(dir, space, seed, stack) {
  await mkdir(dir, { recursive: true });
  const options = { space, deviceSeed: seed, storePath: join(dir, "store") };
  return openReplica(options, deps, stack);
}

/** The transport of a node, new each time that it goes online, and unconnected until it is started. */
async function createNetwork({ hub, space, seed, device, verifier, membership, peers, listen }) {
  if (hub === null || hub === undefined) {
    const { createLibp2pTransport } = await import("@ctxmesh/transport-libp2p");
    const isMember = (remote) => membership.welcomes(remote, "agent");
    return createLibp2pTransport({ ...deps, seed, listen, peers, space: space.id, isMember });
  }
  const { createWsClient } = await import("@ctxmesh/transport-ws");
  const hubs = (remote) => membership.welcomes(remote, "hub");
  return createWsClient({ ...deps, urls: hub.urls, device, space: space.id, hubs, verifier });
}

async function until(holds, what) {
  const deadline = performance.now() + CONNECT_MS;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`${what} within ${String(CONNECT_MS)} ms`);
    await sleep(POLL_MS);
  }
}

/** One agent of a run, started and in sync. */
export async function startNode({ index, dir, hub, peers }) {
  if (hub?.provider !== undefined) return startProvider(hub.provider);
  const stack = new AsyncDisposableStack();
  const text = hub?.space ?? peers[0]?.space ?? foundSpace();
  const space = readSpace(text);
  const seed = seedOf(index);
  const parts = await openNode(dir, space, seed, stack);
  const { replica, device, verifier } = parts;
  const membership = new LiveMembership(space, deps.clock);
  // As an agent has it: without a mesh, or with a mesh in which nothing gossips.
  const { sync, stop } = startSync(replica, deps, {
    relay: "tell",
    admits: (remote) => membership.welcomes(remote),
  });
  membership.follow(replica, sync);
  let network;
  let known = peers.flatMap(({ addresses }) => addresses);
  let listen = ["/ip4/127.0.0.1/tcp/0"];
  const online = async () => {
    const own = { hub, space, seed, device, verifier, membership, peers: known, listen };
    network = await createNetwork(own);
    await network.start((channel) => void sync.run(channel));
    // The others know this address, and dial it again.
    if (hub === null)
      listen = network.addresses().map((address) => address.replace(/\/p2p\/.*$/u, ""));
  };
  const offline = async () => network.stop();
  const service = new NodeService({
    service: "agent",
    version,
    replica,
    clock: deps.clock,
    confirmations: sync.confirmations,
    peers: () => sync.peers(),
    addresses: () => [],
  });
  stack.defer(() => service.close());
  stack.defer(offline);
  stack.defer(stop);
  await online();
  const connected = (count) => until(() => sync.peers().length >= count, "no connection");
  await connected(hub === null ? peers.length : 1);
  return {
    info: { space: text, addresses: hub === null ? network.addresses() : [] },
    connect: async (infos) => {
      known = infos.flatMap(({ addresses }) => addresses);
      await connected(infos.length);
    },
    ...operationsOf(service, replica),
    offline,
    online,
    stats: () => ({ peers: sync.peers().length, ...replica.counters() }),
    stop: async () => stack.disposeAsync(),
  };
}

const factOf = ([key, value]) => ({ key, value });

/** The document of `entity/<number>/<attribute>`. */
const docOf = (key) => `ctx/${String(Math.floor(parseInt(key.slice(7), 10) / ENTITIES))}`;

/** Reading and writing as the benchmark does it: a fact for each key, its value the string. */
const operationsOf = (service, replica) => ({
  write: async (key, value) => service.put(docOf(key), [{ key, value }]),
  writeBatch: async (entries) => {
    const byDoc = Map.groupBy(entries, ([key]) => docOf(key));
    await Promise.all([...byDoc].map(async ([doc, of]) => service.put(doc, of.map(factOf))));
  },
  onChange: (listener) => {
    service.watch({}, ({ key, fact }) => {
      if (fact !== undefined) listener(key, fact.value);
    });
  },
  read: (key) => service.get(docOf(key), key)?.value,
  size: () => replica.count().facts,
});

const none = () => [];

async function openAlone(dir) {
  const stack = new AsyncDisposableStack();
  const file = join(dir, "space.json");
  await mkdir(dir, { recursive: true });
  const text = await readFile(file, "utf8").catch(() => foundSpace());
  await writeFile(file, text);
  const { replica } = await openNode(dir, readSpace(text), seedOf(0), stack);
  const own = {
    service: "agent",
    version,
    replica,
    clock: deps.clock,
    peers: none,
    addresses: none,
  };
  const service = new NodeService(own);
  stack.defer(() => service.close());
  return { ...operationsOf(service, replica), stop: async () => stack.disposeAsync() };
}

/** S5: a store without a network. */
export const openDurable = async ({ dir }) => openAlone(dir);

/** S4: the same, opened again. */
export const openDisk = async ({ dir }) => openAlone(dir);
