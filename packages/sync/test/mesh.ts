// SPDX-License-Identifier: Apache-2.0
/** Sync nodes over real replicas, in-memory stores and channels, and a virtual clock: everything runs in microtasks. */
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type {
  Channel,
  DeviceKey,
  DeviceSigner,
  RandomSource,
  Remote,
  Subscription,
} from "@ctxmesh/model";
import { createSpace, isWelcome, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { Replica } from "@ctxmesh/replica";
import { SyncNode, decodeMessage } from "@ctxmesh/sync";
import type { Answers, Broadcast, SyncMessage } from "@ctxmesh/sync";
import {
  createChannelPair,
  createMemoryStore,
  createRecordingLogger,
  createSeededRandom,
  createVirtualClock,
} from "@ctxmesh/testing";
import type { LogEntry, MemoryStore, VirtualClock } from "@ctxmesh/testing";

export const START_MS: number = Date.UTC(2026, 0, 1);
export const TICK_MS = 50;
export const DOC = parseDocumentName("line-2/press-7");
const verifier = createDeviceVerifier();

/** A device by number. */
export function deviceOf(n: number): { readonly signer: DeviceSigner; readonly key: DeviceKey } {
  const signer = createDeviceSigner(new Uint8Array(32).fill(n + 1));
  return { signer, key: parseDeviceKey(toHex(signer.publicKey)) };
}

/** Who created the spaces of {@link spaceOf}. */
export const creator: DeviceSigner = deviceOf(200).signer;

/** A space in which the devices with these numbers may write. */
export const spaceOf = (devices: readonly number[]): Space =>
  devices.reduce(
    (space, n) =>
      issueGrant(space, creator, {
        device: deviceOf(n).key,
        service: "agent",
        role: "write",
        notBefore: START_MS - 1_000,
      }),
    createSpace({ name: "test", creator, now: START_MS, random: createSeededRandom(1) }),
  );

/** One node. */
export interface Node {
  readonly n: number;
  readonly role: "agent" | "hub";
  readonly replica: Replica;
  readonly sync: SyncNode;
  readonly log: readonly LogEntry[];
  /** Writes one fact; rejects as the replica does. */
  put(key: string, value: string): Promise<unknown>;
}

/** What a node may be told besides its number. */
export interface NodeOptions {
  readonly role?: "agent" | "hub";
  readonly space: Space;
  readonly clock: VirtualClock;
  readonly broadcast?: Broadcast;
  /** Where its incarnations come from. */
  readonly random?: RandomSource;
  readonly store?: MemoryStore;
  readonly subscription?: Subscription;
  /** Bytes per second that may go to each remote. */
  readonly budget?: number;
  /** Answers what remotes ask. */
  readonly answers?: Answers;
}

/** Opens node `n`; agents tell, hubs push on. */
export async function createNode(n: number, options: NodeOptions): Promise<Node> {
  const { role = "agent", space, clock, broadcast, store = createMemoryStore() } = options;
  const { random = createSeededRandom(1_000 + n) } = options;
  const logger = createRecordingLogger();
  const replica = await Replica.open({
    store,
    space,
    signer: deviceOf(n).signer,
    verifier,
    clock,
    random,
    logger,
    ...(options.subscription === undefined ? {} : { subscription: options.subscription }),
  });
  const sync = new SyncNode({
    replica,
    clock,
    logger,
    random: createSeededRandom(5_000 + n),
    relay: role === "hub" ? "push" : "tell",
    admits: (device) => isWelcome(replica.space, parseDeviceKey(device), clock.now()),
    ...(broadcast === undefined ? {} : { broadcast }),
    budgetOf: () => options.budget,
    ...(options.answers === undefined ? {} : { answers: options.answers }),
  });
  return {
    n,
    role,
    replica,
    sync,
    log: logger.entries,
    put: async (key, value) => replica.put(DOC, [{ key, value }]),
  };
}

/** Nodes 0 to `count` - 1 of one space on one clock; the first `hubs` of them are hubs. */
export async function createNodes(
  count: number,
  hubs = 0,
): Promise<{ readonly nodes: readonly Node[]; readonly clock: VirtualClock }> {
  const clock = createVirtualClock(START_MS);
  const numbers = Array.from({ length: count }, (_, n) => n);
  const space = spaceOf(numbers);
  const nodes = await Promise.all(
    numbers.map((n) => createNode(n, { role: n < hubs ? "hub" : "agent", space, clock })),
  );
  return { nodes, clock };
}

/** What one end of a link has sent. */
export interface Sent {
  readonly messages: SyncMessage[];
  bytes: number;
}

/** A channel that keeps what is sent over it. */
function metered(channel: Channel): { readonly channel: Channel; readonly sent: Sent } {
  const sent: Sent = { messages: [], bytes: 0 };
  return {
    sent,
    channel: {
      remote: channel.remote,
      get bufferedBytes() {
        return channel.bufferedBytes;
      },
      send: async (message) => {
        sent.messages.push(decodeMessage(message));
        sent.bytes += message.length;
        await channel.send(message);
      },
      receive: () => channel.receive(),
      close: async (reason) => channel.close(reason),
    },
  };
}

export const remoteOf = (
  node: Pick<Node, "n" | "role">,
  direction: Remote["direction"],
): Remote => ({
  device: deviceOf(node.n).key,
  address: `memory:${String(node.n)}`,
  direction,
  role: node.role,
});

/** A running session between two nodes. */
export interface Link {
  /** What the first, and the second, node has sent. */
  readonly sent: readonly [Sent, Sent];
  /** Both ends lose the channel and what is on its way. */
  cut(): void;
  readonly ended: Promise<unknown>;
}

/** Connects two nodes. */
export function link(a: Node, b: Node): Link {
  const pair = createChannelPair({ a: remoteOf(b, "outbound"), b: remoteOf(a, "inbound") });
  const [atA, atB] = [metered(pair.a), metered(pair.b)];
  const ended = Promise.all([a.sync.run(atA.channel), b.sync.run(atB.channel)]);
  return { sent: [atA.sent, atB.sent], cut: () => pair.cut(), ended };
}

/** Connects a node to a remote that the test plays itself, as device `n`; `channel` is the remote's end. */
export function face(
  node: Node,
  n: number,
): { readonly channel: Channel; readonly sent: Sent; readonly ended: Promise<void> } {
  const pair = createChannelPair({
    a: remoteOf({ n, role: "agent" }, "inbound"),
    b: remoteOf(node, "outbound"),
  });
  const { channel, sent } = metered(pair.a);
  return { channel: pair.b, sent, ended: node.sync.run(channel) };
}

/** Lets everything happen that happens without time passing. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Lets `rounds` ticks pass at every node. */
export async function pass(
  nodes: readonly Node[],
  clock: VirtualClock,
  rounds: number,
  stepMs = TICK_MS,
): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    clock.advance(stepMs);
    for (const { sync, replica } of nodes) {
      sync.tick();
      replica.retryTimed();
    }
    await settle();
  }
}

export const frontierOf = ({ replica }: Node): string => toHex(replica.frontierDigest());

/** Everything that must be equal once nodes have converged. */
export const contentOf = ({ replica }: Node): unknown => ({
  heads: replica.heads(),
  leaves: replica.snapshot().leaves,
});

/** Whether all have the same records and the same frontier. */
export const converged = (nodes: readonly Node[]): boolean =>
  new Set(nodes.map((node) => toHex(node.replica.recordsDigest()) + frontierOf(node))).size === 1;
