// SPDX-License-Identifier: Apache-2.0
/** An honest node on loopback: real replica, sync node and transports, over a store in memory. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { decodeBatch } from "@ctxmesh/codec";
import { createDeviceVerifier } from "@ctxmesh/crypto";
import { isWelcome } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { hlcToMs, parseDocumentName, toHex } from "@ctxmesh/model";
import type { Clock, DeviceKey, Logger } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { SyncNode } from "@ctxmesh/sync";
import { createMemoryStore } from "@ctxmesh/testing";
import { createLibp2pTransport } from "@ctxmesh/transport-libp2p";
import { createWsClient, createWsServer } from "@ctxmesh/transport-ws";
import { deviceOf, isHonest, seedOf, signerOf, spaceOf } from "./cast.ts";
import type { Cast } from "./cast.ts";

const DOC = parseDocumentName("line-2/press-7");
const TICK_MS = 50;
const verifier = createDeviceVerifier();

/** What a node is started with. */
export interface LiveNodeOptions {
  readonly n: number;
  readonly cast: Cast;
  /** Multiaddrs of agents. */
  readonly peers?: readonly string[];
  /** URLs of hubs. */
  readonly hubs?: readonly string[];
  readonly gossipAbove?: number;
  /** How many times faster the clock of its sync runs, which counts the patience with peers. */
  readonly haste?: number;
}

/** What a node has logged of others. */
export interface Noted {
  readonly event: string;
  readonly device: string;
  /** Milliseconds since the node was started. */
  readonly afterMs: number;
}

/** A running node, an agent or a hub. */
export interface LiveNode extends AsyncDisposable {
  readonly addresses: readonly string[];
  readonly replica: Replica;
  readonly sync: SyncNode;
  readonly noted: readonly Noted[];
  /** Milliseconds from the writing of each batch of another honest device to its being applied here. */
  readonly latencies: number[];
  /** Whether its batches are gossiped now. */
  gossips(): boolean;
  put(key: string, value: string): Promise<void>;
}

/** Remembers of each device when each event was logged first. */
function noting(): { readonly logger: Logger; readonly noted: Noted[] } {
  const noted: Noted[] = [];
  const known = new Set<string>();
  const startedMs = performance.now();
  const note = (event: string, fields?: Readonly<Record<string, unknown>>): void => {
    const device = fields?.["device"];
    if (typeof device !== "string") return;
    const name = `${event} ${device}`;
    if (known.has(name)) return;
    known.add(name);
    noted.push({ event, device, afterMs: performance.now() - startedMs });
  };
  return { noted, logger: { debug: () => undefined, info: note, warn: note, error: note } };
}

/** A clock that runs faster from now on. */
function hastyClock(times: number): Clock {
  const startMs = Date.now();
  return { now: () => startMs + (Date.now() - startMs) * times };
}

/** Starts the sync of a replica, and its timers. */
function startSync(
  options: LiveNodeOptions,
  replica: Replica,
  logger: Logger,
  broadcast: ConstructorParameters<typeof SyncNode>[0]["broadcast"],
): SyncNode {
  const { haste = 1, cast, n } = options;
  const clock = hastyClock(haste);
  return new SyncNode({
    replica,
    clock,
    logger,
    random: systemRandom,
    relay: cast.hubs.includes(n) ? "push" : "tell",
    admits: (device) => isWelcome(replica.space, device as DeviceKey, Date.now()),
    ...(broadcast === undefined ? {} : { broadcast }),
  });
}

/** A transport of a node. */
interface Edge {
  readonly addresses: readonly string[];
  start(sync: SyncNode): Promise<readonly string[]>;
  stop(): Promise<void>;
}

interface Mesh extends Edge {
  gossips(): boolean;
  broadcast(bytes: Uint8Array): Promise<number>;
}

function createMesh(
  { n, peers = [], gossipAbove }: LiveNodeOptions,
  space: () => Space,
  isBarred: (device: string) => boolean,
  logger: Logger,
): Mesh {
  const transport = createLibp2pTransport({
    seed: seedOf(n),
    listen: ["/ip4/127.0.0.1/tcp/0"],
    peers,
    space: space().id,
    isMember: (device) =>
      isWelcome(space(), device as DeviceKey, Date.now(), "agent") && !isBarred(device),
    clock: systemClock,
    logger,
    ...(gossipAbove === undefined ? {} : { gossipAbove }),
  });
  return {
    addresses: [],
    gossips: () => transport.usesGossip(),
    broadcast: async (bytes) => transport.broadcast(bytes),
    stop: async () => transport.stop(),
    start: async (sync) => {
      transport.onBroadcast(async (bytes, from) => sync.receiveBroadcast(bytes, from));
      await transport.start((channel) => void sync.run(channel));
      return transport.addresses();
    },
  };
}

/** A hub's server, which agents connect to by WebSocket. */
function createDoor({ n, cast }: LiveNodeOptions, space: () => Space, logger: Logger): Edge {
  const server = createServer();
  const door = createWsServer({
    server,
    device: signerOf(n),
    space: space().id,
    isMember: (device) => isWelcome(space(), device as DeviceKey, Date.now()),
    isHub: (device) => cast.hubs.some((hub) => deviceOf(hub) === device),
    verifier,
    random: systemRandom,
    logger,
  });
  return {
    addresses: [],
    start: async (sync) => {
      await door.start((channel) => void sync.run(channel));
      await new Promise<void>((resolve) => {
        server.listen(0, "127.0.0.1", resolve);
      });
      return [`ws://127.0.0.1:${String((server.address() as AddressInfo).port)}`];
    },
    stop: async () => {
      await door.stop();
      server.closeAllConnections();
      server.close();
    },
  };
}

/** An agent's connection to hubs. */
function createUplink({ n, cast, hubs = [] }: LiveNodeOptions, space: Space, logger: Logger): Edge {
  const client = createWsClient({
    urls: hubs,
    device: signerOf(n),
    space: space.id,
    hubs: (device) => cast.hubs.some((hub) => deviceOf(hub) === device),
    verifier,
    random: systemRandom,
    clock: systemClock,
    logger,
  });
  return {
    addresses: [],
    start: async (sync) => {
      await client.start((channel) => void sync.run(channel));
      return [];
    },
    stop: async () => client.stop(),
  };
}

/** Starts a node: an agent, or a hub where the cast says so. */
export async function startLiveNode(options: LiveNodeOptions): Promise<LiveNode> {
  const { n, cast } = options;
  const { logger, noted } = noting();
  const replica = await Replica.open({
    store: createMemoryStore(),
    space: spaceOf(cast),
    signer: signerOf(n),
    verifier,
    clock: systemClock,
    random: systemRandom,
    logger,
  });
  const latencies: number[] = [];
  const honest = new Set([...cast.agents, ...cast.hubs].filter(isHonest).map(deviceOf));
  replica.onApplied(({ bytes, origin }) => {
    if (origin === "local") return;
    const { replica: writer, hlc } = decodeBatch(bytes).header;
    if (honest.has(writer)) latencies.push(Date.now() - hlcToMs(hlc));
  });
  const space = (): Space => replica.space;
  // The transport is made before the sync that knows.
  const bars: { sync?: SyncNode } = {};
  const isBarred = (device: string): boolean => bars.sync?.isBarred(device) === true;
  const mesh = cast.hubs.includes(n) ? undefined : createMesh(options, space, isBarred, logger);
  const broadcast =
    mesh === undefined
      ? undefined
      : {
          active: () => mesh.gossips(),
          publish: async (bytes: Uint8Array) => mesh.broadcast(bytes),
        };
  const sync = startSync(options, replica, logger, broadcast);
  bars.sync = sync;
  const edges: readonly Edge[] =
    mesh === undefined
      ? [createDoor(options, space, logger)]
      : [mesh, createUplink(options, replica.space, logger)];
  const addresses = (await Promise.all(edges.map(async (edge) => edge.start(sync)))).flat();
  const ticks = setInterval(() => {
    sync.tick();
    replica.retryTimed();
  }, TICK_MS);
  return {
    addresses,
    replica,
    sync,
    noted,
    latencies,
    gossips: () => mesh?.gossips() ?? false,
    put: async (key, value) => {
      await replica.put(DOC, [{ key, value }]);
    },
    [Symbol.asyncDispose]: async () => {
      clearInterval(ticks);
      await sync.stop();
      await Promise.all(edges.map(async (edge) => edge.stop()));
      await replica.close();
    },
  };
}

/** Equal on nodes that have applied the same. */
export const frontierOf = ({ replica }: LiveNode): string => toHex(replica.frontierDigest());
