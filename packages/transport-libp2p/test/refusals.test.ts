// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whoever must not connect is refused for a reason that both ends log and count, its connection ends, and a member that is
 * connected already notices nothing.
 * Method: a node with a connected member, and one stranger of each kind.
 */
import { randomBytes } from "node:crypto";
import { createConnection } from "node:net";
import { noise } from "@chainsafe/libp2p-noise";
import { toHex } from "@ctxmesh/model";
import type { Libp2pTransportOptions } from "@ctxmesh/transport-libp2p";
import { generateKeyPair } from "@libp2p/crypto/keys";
import { identify } from "@libp2p/identify";
import type { Libp2p } from "@libp2p/interface";
import { tcp } from "@libp2p/tcp";
import { tls } from "@libp2p/tls";
import { yamux } from "@libp2p/yamux";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import { describe, expect, test, vi } from "vitest";
import type { RefusalKind } from "../src/refusals.ts";
import { addressOf, newDevice, startNode, until } from "./mesh.ts";
import type { Node } from "./mesh.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const SYNC = "/ctxmesh/sync/3.0.0";
const newKey = (): string =>
  `/key/swarm/psk/1.0.0/\n/base16/\n${randomBytes(32).toString("hex")}\n`;

/** A node of the library alone that lists some protocols, with the lowest key that is found soon, so that it opens channels. */
async function bareNode(
  encrypter: "noise" | "tls",
  protocols: readonly string[],
): Promise<Libp2p & AsyncDisposable> {
  let privateKey = await generateKeyPair("Ed25519");
  while (!toHex(privateKey.publicKey.raw).startsWith("00")) {
    privateKey = await generateKeyPair("Ed25519");
  }
  const node = await createLibp2p({
    privateKey,
    addresses: { listen: ["/ip4/127.0.0.1/tcp/0"] },
    transports: [tcp()],
    connectionEncrypters: [encrypter === "tls" ? tls() : noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    services: { identify: identify() },
  });
  for (const protocol of protocols) {
    await node.handle(protocol, (stream) => {
      stream.addEventListener("message", () => undefined);
    });
  }
  return Object.assign(node, { [Symbol.asyncDispose]: async () => node.stop() });
}

/** What a stranger does to a node at an address without an id. */
type Stranger = (address: string, stack: AsyncDisposableStack) => Promise<Node | undefined>;

const agent =
  (options: Partial<Libp2pTransportOptions>): Stranger =>
  async (address, stack) =>
    stack.use(await startNode({ device: newDevice(), listen: [], peers: [address], ...options }));

const bare =
  (
    encrypter: "noise" | "tls",
    protocols: readonly string[],
    act: (node: Libp2p, address: string) => Promise<unknown>,
  ): Stranger =>
  async (address, stack) => {
    const node = stack.use(await bareNode(encrypter, protocols));
    await act(node, address).catch(() => undefined);
    return undefined;
  };

const dial = async (node: Libp2p, address: string): Promise<unknown> =>
  node.dial(multiaddr(address));

/** Opens a channel and sends bytes over it. */
const sending =
  (data: Uint8Array) =>
  async (node: Libp2p, address: string): Promise<void> => {
    const stream = await node.dialProtocol(multiaddr(address), SYNC);
    stream.send(data);
  };

const garbage: Stranger = async (address, stack) => {
  const port = Number(/\/tcp\/(\d+)/u.exec(address)?.[1]);
  const socket = createConnection({ port, host: "127.0.0.1" });
  socket.on("error", () => undefined);
  stack.defer(() => {
    socket.destroy();
  });
  socket.write(randomBytes(2_000));
  return Promise.resolve(undefined);
};

const KEY = newKey();

interface Case {
  readonly who: string;
  /** How the node is set up that refuses. */
  readonly node?: Partial<Libp2pTransportOptions>;
  readonly stranger: Stranger;
  readonly kind: RefusalKind;
  readonly code: string;
  readonly reason: string;
  /** What a stranger that is a node of ours has to say. */
  readonly theirs?: string;
}

const CASES: readonly Case[] = [
  {
    who: "with another network key",
    node: { networkKey: KEY },
    stranger: agent({ networkKey: newKey() }),
    kind: "handshake",
    code: "AUTH_FAILED",
    reason: "another network key",
    theirs: "another network key",
  },
  {
    who: "without the network key",
    node: { networkKey: KEY },
    stranger: agent({}),
    kind: "handshake",
    code: "AUTH_FAILED",
    reason: "another network key or none",
    theirs: "another network key",
  },
  {
    who: "with a network key where there is none",
    stranger: agent({ networkKey: KEY }),
    kind: "handshake",
    code: "AUTH_FAILED",
    reason: "the remote has a network key",
    theirs: "another network key",
  },
  {
    who: "that has Noise alone, where more is required,",
    node: { security: "require-pq" },
    stranger: bare("noise", [SYNC], dial),
    kind: "security",
    code: "POLICY_REFUSED",
    reason: "require-pq",
  },
  {
    who: "that speaks another version of the sync protocol",
    stranger: bare("tls", ["/ctxmesh/sync/2.0.0"], dial),
    kind: "version",
    code: "PROTOCOL_VIOLATION",
    reason: "speaks /ctxmesh/sync/2.0.0, this node /ctxmesh/sync/3.0.0",
  },
  {
    who: "that sends no handshake but garbage",
    stranger: garbage,
    kind: "handshake",
    code: "AUTH_FAILED",
    reason: "speaks another protocol",
  },
  {
    who: "that sends garbage in its channel",
    stranger: bare("tls", [SYNC], sending(new Uint8Array(1_000).fill(0xff))),
    kind: "protocol",
    code: "PROTOCOL_VIOLATION",
    reason: "a frame of 4294967295 bytes",
  },
  {
    who: "that announces a frame over the limit",
    stranger: bare("tls", [SYNC], sending(Uint8Array.of(0, 0x10, 0, 1))),
    kind: "protocol",
    code: "PROTOCOL_VIOLATION",
    reason: "a frame of 1048577 bytes; the limit is 1048576",
  },
];

const reasons = (node: Node, event: string): string[] =>
  node.logger.events
    .filter((entry) => entry.event === event)
    .map(({ fields }) => `${String(fields["code"])}: ${String(fields["reason"])}`);

/** That a node refused, and that a member of it was not disturbed. */
async function expectRefusal(
  node: Node,
  member: Node,
  { kind, code, reason }: Pick<Case, "kind" | "code" | "reason">,
): Promise<void> {
  await until("the refusal", () => node.transport.status().refusals[kind] !== 0);
  await until("the end of the connection", () => node.transport.peers().length === 1);
  const refused = reasons(node, "peer.refused");
  expect(refused.some((text) => text.startsWith(code) && text.includes(reason))).toBe(true);
  const theirs = node.channels.filter(({ remote }) => remote.device === member.device.key);
  expect([theirs.length, theirs.every((channel) => node.open.has(channel))]).toEqual([1, true]);
  expect(member.channels.length).toBe(1);
  expect(member.open.size).toBe(1);
}

describe.concurrent("a stranger", () => {
  test.each(CASES)("$who is refused, and both ends say why", async (one) => {
    await using node = await startNode({ device: newDevice(), ...one.node });
    const address = addressOf(node).replace(/\/p2p\/.*$/u, "");
    await using member = await startNode({
      device: newDevice(),
      listen: [],
      peers: [address],
      ...one.node,
    });
    await until("a member", () => node.open.size === 1 && member.open.size === 1);
    await using stack = new AsyncDisposableStack();
    const stranger = await one.stranger(address, stack);
    await expectRefusal(node, member, one);
    if (stranger === undefined) return;
    await until("its words", () => stranger.transport.status().refusals["remote"] !== 0);
    const theirs = reasons(stranger, "peer.refused-us");
    expect(theirs[0]).toContain(one.theirs ?? "");
    expect(stranger.transport.peers()).toEqual([]);
  });

  test("without a grant is refused, and both ends say why", async () => {
    const [member, stranger] = [newDevice(), newDevice()];
    await using node = await startNode({
      device: newDevice(),
      isMember: (device) => device === member.key,
    });
    const peers = [addressOf(node)];
    await using inside = await startNode({ device: member, listen: [], peers });
    await until("a member", () => node.open.size === 1 && inside.open.size === 1);
    await using outside = await startNode({ device: stranger, listen: [], peers });
    const expected = { kind: "membership", code: "AUTH_FAILED", reason: "not a member" } as const;
    await expectRefusal(node, inside, expected);
    await until("its words", () => outside.transport.status().refusals["remote"] !== 0);
    expect(reasons(outside, "peer.refused-us")[0]).toContain("this device has no grant there");
    expect(outside.channels).toEqual([]);
  });
});
