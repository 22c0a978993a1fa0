// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { createConnection } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ConnectionOptions } from "node:tls";
import { noise } from "@chainsafe/libp2p-noise";
import { toHex } from "@ctxmesh/model";
import { generateKeyPair } from "@libp2p/crypto/keys";
import { identify } from "@libp2p/identify";
import type { Libp2p } from "@libp2p/interface";
import { tcp } from "@libp2p/tcp";
import { tls } from "@libp2p/tls";
import { yamux } from "@libp2p/yamux";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import { describe, expect, test, vi } from "vitest";
import { createCertificate } from "../src/certificate.ts";
import type { Node } from "./mesh.ts";
import { addressOf, newDevice, newDevices, startNode, until } from "./mesh.ts";
import { startProxy } from "./proxy.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const SYNC = "/ctxmesh/sync/3.0.0";
const HYBRID = { protocol: "TLS 1.3", keyExchange: "X25519MLKEM768" };
const NOISE = { protocol: "Noise", keyExchange: "X25519" };
/** The extension key_share of a ServerHello (RFC 8446, 4.2.8): group 0x11EC, 1,088 + 32 bytes. */
const HYBRID_KEY_SHARE = Buffer.from("0033046411ec0460", "hex");

const ignore = (): void => undefined;
const portOf = (node: Node): number => Number(/\/tcp\/(\d+)/u.exec(addressOf(node))?.[1]);
const logged = (node: Node, event: string): readonly Readonly<Record<string, unknown>>[] =>
  node.logger.events.filter((entry) => entry.event === event).map(({ fields }) => fields);

/** A node of the library alone, with one handshake, whose device key is lower or higher than the given one. */
async function bareNode(
  encrypter: "noise" | "tls",
  side: "lower" | "higher",
  than: string,
): Promise<Libp2p & AsyncDisposable> {
  for (;;) {
    const privateKey = await generateKeyPair("Ed25519");
    if (toHex(privateKey.publicKey.raw) < than !== (side === "lower")) continue;
    const node = await createLibp2p({
      privateKey,
      addresses: { listen: ["/ip4/127.0.0.1/tcp/0"] },
      transports: [tcp()],
      connectionEncrypters: [encrypter === "tls" ? tls() : noise()],
      streamMuxers: [yamux()],
      services: { identify: identify() },
    });
    await node.handle(SYNC, ignore);
    return Object.assign(node, { [Symbol.asyncDispose]: async () => node.stop() });
  }
}

const strike = (bytes: Buffer): Buffer =>
  Buffer.from(bytes.toString("latin1").replace("/tls/1.0.0", "/tls/0.0.0"), "latin1");

const ended = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.on("error", () => undefined);
    socket.on("close", () => {
      resolve();
    });
  });

/** Gets a node to speak TLS, as the dialling end of multistream-select. */
async function offerTls(node: Node): Promise<Socket> {
  const socket = createConnection({ port: portOf(node), host: "127.0.0.1" });
  socket.write("\u0013/multistream/1.0.0\n\u000b/tls/1.0.0\n");
  const answer: Buffer[] = [];
  while (!Buffer.concat(answer).includes("/tls/1.0.0\n")) {
    const [bytes] = (await once(socket, "data")) as [Buffer];
    answer.push(bytes);
  }
  return socket;
}

describe("two agents", () => {
  test("agree on TLS 1.3 with the hybrid group, say so, and use it on the wire", async () => {
    const [lower, higher] = newDevices();
    await using a = await startNode({ device: lower });
    await using proxy = await startProxy(portOf(a));
    await using b = await startNode({ device: higher, peers: [proxy.address] });
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
    for (const node of [a, b]) {
      expect(node.transport.peers()[0]?.security).toEqual(HYBRID);
      expect(node.channels[0]?.remote.security).toEqual(HYBRID);
    }
    expect(Buffer.concat(proxy.answered).includes(HYBRID_KEY_SHARE)).toBe(true);
  });

  test("connect with either policy on either side", async () => {
    const [lower, higher] = newDevices();
    await using a = await startNode({ device: lower, security: "require-pq" });
    await using b = await startNode({ device: higher, peers: [addressOf(a)] });
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
    expect(a.transport.peers()[0]?.security).toEqual(HYBRID);
  });

  test("do not take another device for the one that an address names", async () => {
    await using a = await startNode({ device: newDevice() });
    await using other = await startNode({ device: newDevice() });
    const id = addressOf(other).replace(/^.*\/p2p\//u, "");
    const address = addressOf(a).replace(/\/p2p\/.*$/u, `/p2p/${id}`);
    await using b = await startNode({ device: newDevice(), peers: [address] });
    await until("a refusal", () => logged(b, "peer.unreachable").length > 0);
    expect(String(logged(b, "peer.unreachable")[0]?.["reason"])).toContain("the address is of");
    expect(a.channels).toEqual([]);
  });
});

describe.each(["lower", "higher"] as const)("a peer (with the %s key)", (side) => {
  test("that speaks the TLS of another implementation is understood, whoever dials", async () => {
    const device = newDevice();
    await using node = await startNode({ device });
    await using dialling = await bareNode("tls", side, device.key);
    await using dialled = await bareNode("tls", side, device.key);
    const connection = await dialling.dial(multiaddr(addressOf(node)));
    expect(connection.encryption).toBe("/tls/1.0.0");
    await until("the peer", () => node.transport.peers().length === 1);
    const peers = [String(dialled.getMultiaddrs()[0])];
    await using other = await startNode({ device, peers });
    await until("the other peer", () => other.transport.peers().length === 1);
    for (const { transport } of [node, other]) {
      expect(transport.peers()[0]?.security).toEqual(HYBRID);
    }
  });

  test("that has Noise alone is connected over it, and gets its channel", async () => {
    const device = newDevice();
    await using node = await startNode({ device });
    await using bare = await bareNode("noise", side, device.key);
    await bare.dial(multiaddr(addressOf(node)));
    if (side === "lower") await bare.dialProtocol(multiaddr(addressOf(node)), SYNC);
    await until("a channel", () => node.channels.length === 1);
    expect(node.channels[0]?.remote.security).toEqual(NOISE);
  });

  test("that has Noise alone is refused by who requires more, whoever dials", async () => {
    const device = newDevice();
    await using bare = await bareNode("noise", side, device.key);
    await using node = await startNode({
      device,
      security: "require-pq",
      peers: [String(bare.getMultiaddrs()[0])],
    });
    await expect(bare.dial(multiaddr(addressOf(node)))).rejects.toThrow("Encryption failed");
    const refusal = { code: "POLICY_REFUSED", reason: expect.stringContaining("require-pq") };
    await until("both refusals", () => logged(node, "peer.refused").length > 1);
    for (const direction of ["inbound", "outbound"]) {
      const address = expect.stringContaining("/ip4/127.0.0.1/tcp/");
      expect(logged(node, "peer.refused")).toContainEqual({ ...refusal, direction, address });
    }
    expect(String(logged(node, "peer.unreachable")[0]?.["reason"])).toContain("require-pq");
    expect(node.transport.peers()).toEqual([]);
  });
});

describe("somebody between two agents who strikes TLS from the offer", () => {
  test.each(["prefer-pq", "require-pq"] as const)(
    "does not get them to use Noise (%s), and they connect once that ends",
    async (security) => {
      const [lower, higher] = newDevices();
      await using a = await startNode({ device: lower, security });
      await using proxy = await startProxy(portOf(a));
      proxy.change = strike;
      await using b = await startNode({ device: higher, security, peers: [proxy.address] });
      const event = security === "prefer-pq" ? "peer.downgraded" : "peer.refused";
      await until("three attempts", () => logged(a, event).length + logged(b, event).length >= 3);
      expect([...a.channels, ...b.channels]).toEqual([]);
      proxy.change = undefined;
      await until("a channel", () => a.open.size === 1 && b.open.size === 1);
      expect(a.channels[0]?.remote.security).toEqual(HYBRID);
    },
  );
});

describe("a stranger's handshake", () => {
  const settings: readonly (readonly [string, ConnectionOptions, string])[] = [
    ["as agents do it succeeds", {}, "up"],
    ["without the hybrid group fails", { ecdhCurve: "X25519" }, "failed"],
    ["of TLS 1.2 fails", { maxVersion: "TLSv1.2" }, "failed"],
    ["with another application protocol fails", { ALPNProtocols: ["h2"] }, "failed"],
  ];
  test.each(settings)("%s", async (_, changes, expected) => {
    await using node = await startNode({ device: newDevice() });
    const socket = await offerTls(node);
    const identity = await createCertificate(await generateKeyPair("Ed25519"));
    const ours = { rejectUnauthorized: false, ALPNProtocols: ["libp2p"], ...identity };
    const stranger = connectTls({ socket, ...ours, ...changes });
    const outcome = await new Promise((resolve) => {
      stranger.on("error", () => {
        resolve("failed");
      });
      stranger.on("secureConnect", () => {
        resolve("up");
      });
    });
    expect(outcome).toBe(expected);
    stranger.destroy();
  });

  test("without a certificate ends as soon as it is over", async () => {
    await using node = await startNode({ device: newDevice() });
    const socket = await offerTls(node);
    const ours = { rejectUnauthorized: false, ALPNProtocols: ["libp2p"] };
    const stranger = connectTls({ socket, ...ours });
    await ended(stranger);
    expect(node.transport.peers()).toEqual([]);
  });

  test("of garbage ends the connection and nobody else's", async () => {
    const [lower, higher] = newDevices();
    await using a = await startNode({ device: lower });
    await using b = await startNode({ device: higher, peers: [addressOf(a)] });
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
    const socket = await offerTls(a);
    socket.write(Buffer.alloc(10_000, 0x5a));
    await ended(socket);
    expect([a.channels.length, b.channels.length, a.open.size]).toEqual([1, 1, 1]);
  });
});
