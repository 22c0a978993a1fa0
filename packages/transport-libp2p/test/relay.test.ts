// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: agents that can't dial each other meet through a relay, as safely as directly, and come back whatever happens to it.
 * Method: real nodes on loopback; those that only dial listen on nothing.
 */
import { randomBytes } from "node:crypto";
import { noise } from "@chainsafe/libp2p-noise";
import { LIMITS, toHex } from "@ctxmesh/model";
import { createRelay } from "@ctxmesh/transport-libp2p";
import type { Libp2pTransportOptions, Relay, RelayOptions } from "@ctxmesh/transport-libp2p";
import { circuitRelayServer, RELAY_V2_STOP_CODEC } from "@libp2p/circuit-relay-v2";
import { generateKeyPair, generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { identify } from "@libp2p/identify";
import type { Stream } from "@libp2p/interface";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { createLibp2p } from "libp2p";
import { describe, expect, test, vi } from "vitest";
import { holdBack } from "../src/relay-node.ts";
import {
  bytes,
  freePort,
  newDevice,
  newDevices,
  recordingLogger,
  startNode,
  until,
} from "./mesh.ts";
import type { Device, Node, RecordingLogger } from "./mesh.ts";
import { startProxy } from "./proxy.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const HYBRID = { protocol: "TLS 1.3", keyExchange: "X25519MLKEM768" };

interface TestRelay extends AsyncDisposable {
  readonly device: Device;
  readonly relay: Relay;
  readonly logger: RecordingLogger;
  /** Its address, with the id. */
  readonly address: string;
}

async function startRelay(
  options: Partial<RelayOptions> & { readonly device?: Device } = {},
): Promise<TestRelay> {
  const { device = newDevice() } = options;
  const logger = recordingLogger();
  const relay = createRelay({
    listen: ["/ip4/127.0.0.1/tcp/0"],
    isMember: () => true,
    logger,
    ...options,
    seed: device.seed,
  });
  await relay.start();
  const dispose = (): Promise<void> => relay.stop();
  const address = relay.addresses()[0] ?? "";
  return { device, relay, logger, address, [Symbol.asyncDispose]: dispose };
}

/** An agent that nobody can dial but through these relays. */
function startHidden(
  device: Device,
  relays: readonly TestRelay[],
  options: Partial<Libp2pTransportOptions> = {},
): Promise<Node> {
  const keys = relays.map((relay) => relay.device.key);
  return startNode({
    device,
    listen: [],
    relays: relays.map(({ address }) => address),
    isMember: (key) => !keys.includes(key),
    isRelay: (key) => keys.includes(key),
    ...options,
  });
}

const together = (...nodes: readonly Node[]): boolean =>
  nodes.every(({ open }) => open.size === nodes.length - 1);

const isDirect = ({ transport }: Node): boolean =>
  transport.peers().every(({ address }) => !address.includes("/p2p-circuit/"));

const reserved = ({ transport }: Node): boolean =>
  transport.status().relays?.every((relay) => relay.reserved) === true;

describe("two agents that can't dial each other", () => {
  test("meet through a relay that both know, encrypted from end to end, and exchange messages", async () => {
    const [lower, higher] = newDevices();
    await using relay = await startRelay();
    await using a = await startHidden(lower, [relay]);
    await using b = await startHidden(higher, [relay]);
    await until("a channel", () => together(a, b));
    expect(a.transport.peers()[0]).toMatchObject({
      device: higher.key,
      address: expect.stringContaining("/p2p-circuit/p2p/"),
      security: HYBRID,
    });
    expect(b.channels[0]?.remote.security).toEqual(HYBRID);
    await a.channels[0]?.send(new Uint8Array(1 << 20));
    await a.channels[0]?.send(bytes("hello"));
    await b.channels[0]?.send(bytes("and back"));
    await until("both", () => b.received.includes("hello") && a.received.includes("and back"));
    expect(relay.relay.status().relaying).toEqual({ reservations: 2, circuits: 1 });
    const events = [a, b].flatMap(({ logger }) => logger.events.map(({ event }) => event));
    expect(events).not.toContain("relay.not-reserved");
    expect([...a.transport.addresses(), ...b.transport.addresses()]).toEqual([
      expect.stringMatching(/\/p2p-circuit\/p2p\/\w+$/u),
      expect.stringMatching(/\/p2p-circuit\/p2p\/\w+$/u),
    ]);
  });
});

describe.concurrent("a relay", () => {
  test("that dies and comes back has its agents together again", async () => {
    const [lower, higher] = newDevices();
    const listen = [`/ip4/127.0.0.1/tcp/${String(await freePort())}`];
    const device = newDevice();
    const first = await startRelay({ device, listen });
    await using a = await startHidden(lower, [first]);
    await using b = await startHidden(higher, [first]);
    for (const round of [1, 2]) {
      await until("a channel", () => together(a, b));
      await a.channels.at(-1)?.send(bytes(`round ${String(round)}`));
      await until("the message", () => b.received.includes(`round ${String(round)}`));
      if (round === 2) break;
      await first.relay.stop();
      await until("the cut", () => a.open.size === 0 && b.open.size === 0);
      expect(a.transport.addresses()).toEqual([]);
      await first.relay.start();
    }
    await first.relay.stop();
  });

  test("lets in, and reserves for, none but agents of the space; both sides say why", async () => {
    const [member, stranger] = [newDevice(), newDevice()];
    await using relay = await startRelay({ isMember: (device) => device === member.key });
    await using inside = await startHidden(member, [relay]);
    await using outside = await startHidden(stranger, [relay]);
    await until("a reservation", () => reserved(inside));
    await until("the refusals", () => outside.transport.status().refusals["remote"] !== 0);
    expect(relay.relay.status()).toMatchObject({ relaying: { reservations: 1, circuits: 0 } });
    expect(relay.relay.status().refusals["membership"]).toBeGreaterThan(0);
    expect(outside.transport.addresses()).toEqual([]);
    expect(reserved(outside)).toBe(false);
    expect(relay.logger.events).toContainEqual({
      event: "peer.refused",
      fields: expect.objectContaining({ code: "AUTH_FAILED", device: stranger.key }),
    });
    expect(outside.logger.events).toContainEqual({
      event: "peer.refused-us",
      fields: expect.objectContaining({ reason: expect.stringContaining("no grant there") }),
    });
  });

  test("that could not relay yet is asked again", async () => {
    const seed = randomBytes(32);
    const device = newDevice(seed);
    const listen = [`/ip4/127.0.0.1/tcp/${String(await freePort())}`];
    const privateKey = await generateKeyPairFromSeed("Ed25519", seed);
    const parts = { transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()] };
    const services = { identify: identify() };
    const plain = await createLibp2p({ ...parts, privateKey, addresses: { listen }, services });
    const address = String(plain.getMultiaddrs()[0]);
    const known = { device, address } as unknown as TestRelay;
    await using a = await startHidden(newDevice(), [known]);
    await until("a failure", () =>
      a.logger.events.some(({ event }) => event === "relay.not-reserved"),
    );
    await plain.stop();
    await using _ = await startRelay({ device, listen });
    await until("a reservation", () => reserved(a));
    expect(a.transport.addresses()[0]).toContain("/p2p-circuit");
  });

  test("that is slow to pass on holds the sender back, and loses nothing", async () => {
    const [lower, higher] = newDevices();
    await using relay = await startRelay();
    await using a = await startHidden(lower, [relay]);
    await using b = await startHidden(higher, [relay], { read: false } as object);
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
    const total = 24;
    let sent = 0;
    const sending = (async () => {
      for (; sent < total; sent++) await a.channels[0]?.send(new Uint8Array(1 << 20));
    })();
    await until("the sender to wait", () => (a.channels[0]?.bufferedBytes ?? 0) > 0);
    let received = 0;
    let ahead = 0;
    for await (const message of b.channels[0]?.receive() ?? []) {
      ahead = Math.max(ahead, sent - received);
      received += message.length >> 20;
      if (received === total) break;
    }
    await sending;
    // The reader's buffer, two windows of streams, and what waits in the relay.
    expect(ahead).toBeLessThan(20);
  });

  test("cuts off who is no member any more", async () => {
    const [lower, higher] = newDevices();
    let members = [lower.key, higher.key];
    await using relay = await startRelay({ isMember: (device) => members.includes(device) });
    await using a = await startHidden(lower, [relay]);
    await using b = await startHidden(higher, [relay]);
    await until("a channel", () => together(a, b));
    members = [lower.key];
    await until("the cut", () => a.open.size === 0 && b.open.size === 0 && !reserved(b));
    expect(reserved(a)).toBe(true);
  });

  test.each([
    ["bytes", { bytes: 3 << 20, ms: 3_600_000 }],
    ["time", { bytes: 1 << 30, ms: 700 }],
  ])("ends a circuit at its limit of %s, and gives the next one", async (_, circuit) => {
    const [lower, higher] = newDevices();
    await using relay = await startRelay({ circuit });
    await using a = await startHidden(lower, [relay]);
    await using b = await startHidden(higher, [relay]);
    for (let round = 1; round <= 2; round++) {
      await until("a channel", () => together(a, b) && a.channels.length >= round);
      const text = `round ${String(round)}`;
      // What is cut off in the midst of it is sent again by who needs it.
      await until(text, async () => {
        const channel = a.channels.at(-1);
        await channel?.send(bytes(text)).catch(() => undefined);
        await channel?.send(new Uint8Array(1 << 20)).catch(() => undefined);
        return b.received.includes(text) && a.channels.length > round;
      });
    }
    expect(relay.relay.status().relaying?.reservations).toBe(2);
  });

  test("of others is used without a configuration, if it is a hub of the space", async () => {
    const [lower, higher] = newDevices();
    await using first = await startRelay();
    await using second = await startRelay();
    const keys = [first.device.key, second.device.key];
    const known = {
      isMember: (key: string) => !keys.includes(key),
      isRelay: (key: string) => keys.includes(key),
    };
    await using a = await startHidden(lower, [first], known);
    await until("a reservation", () => reserved(a));
    const peers = [
      `${first.address}/p2p-circuit/p2p/${/\w+$/u.exec(a.transport.addresses()[0] ?? "")?.[0] ?? ""}`,
    ];
    await using b = await startHidden(higher, [second], { ...known, peers });
    await until("a channel", () => together(a, b));
    expect(first.relay.status().relaying?.circuits).toBe(1);
    expect(second.relay.status().relaying?.circuits).toBe(0);
  });

  test("without our code in it sees nothing of what two agents say", async () => {
    const [lower, higher] = newDevices();
    await using relay = await listeningRelay();
    const known = { ...relay, device: { key: relay.key } } as unknown as TestRelay;
    await using a = await startHidden(lower, [known]);
    await until("a reservation", () => reserved(a));
    const peers = [
      `${relay.address}/p2p-circuit/p2p/${/\w+$/u.exec(a.transport.addresses()[0] ?? "")?.[0] ?? ""}`,
    ];
    await using b = await startHidden(higher, [known], { peers });
    await until("a channel", () => together(a, b));
    await a.channels[0]?.send(bytes("nobody else's business"));
    await until("the message", () => b.received.length === 1);
    const overheard = Buffer.concat(relay.overheard);
    expect(overheard.length).toBeGreaterThan(2_000);
    expect(overheard.includes(HYBRID_KEY_SHARE)).toBe(true);
    expect(overheard.includes("business")).toBe(false);
    expect(overheard.includes("/ctxmesh/")).toBe(false);
  });
});

/** The extension key_share of a ServerHello (RFC 8446, 4.2.8): group 0x11EC, 1,088 + 32 bytes. */
const HYBRID_KEY_SHARE = Buffer.from("0033046411ec0460", "hex");

/** A relay of the library alone that keeps what goes through it. */
async function listeningRelay(): Promise<
  AsyncDisposable & {
    readonly address: string;
    readonly key: string;
    readonly overheard: Uint8Array[];
  }
> {
  const privateKey = await generateKeyPair("Ed25519");
  const overheard: Uint8Array[] = [];
  const node = await createLibp2p({
    privateKey,
    addresses: { listen: ["/ip4/127.0.0.1/tcp/0"] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: {
      identify: identify(),
      relay: circuitRelayServer({ reservations: { defaultDataLimit: 1n << 24n } }),
    },
  });
  node.use(RELAY_V2_STOP_CODEC, (stream, connection, next) => {
    stream.addEventListener("message", ({ data }) => overheard.push(data.subarray()));
    const send = stream.send.bind(stream);
    stream.send = (data) => {
      overheard.push(data.subarray());
      return send(data);
    };
    next(stream, connection);
  });
  return {
    address: String(node.getMultiaddrs()[0]),
    key: toHex(privateKey.publicKey.raw),
    overheard,
    [Symbol.asyncDispose]: async () => node.stop(),
  };
}

describe.concurrent("a direct connection", () => {
  // A name counts as a public address, which hole punching (DCUtR) is tried with, too.
  test.each(["configured", "announced by its name"])(
    "takes the place of one through a relay as soon as it is possible, and the channel moves (an address %s)",
    async (how) => {
      const [lower, higher] = newDevices();
      const port = await freePort();
      await using relay = await startRelay();
      await using gateway = await startProxy(port);
      gateway.silent = true;
      const named = gateway.address.replace("/ip4/127.0.0.1", "/dns4/localhost");
      const configured = how === "configured";
      await using a = await startHidden(lower, [relay], {
        listen: [`/ip4/127.0.0.1/tcp/${String(port)}`],
        announce: configured ? [] : [named],
      });
      const peers = configured ? [gateway.address] : [];
      await using b = await startHidden(higher, [relay], { peers });
      await until("a channel", () => together(a, b));
      expect(b.transport.peers()[0]?.address).toContain("/p2p-circuit/");
      gateway.silent = false;
      await until("a direct one", () => together(a, b) && isDirect(a) && isDirect(b));
      await until("the end of the circuit", () => relay.relay.status().relaying?.circuits === 0);
      await b.channels.at(-1)?.send(bytes("directly"));
      await until("the message", () => a.received.includes("directly"));
      expect(a.channels.at(-1)?.remote.address).not.toContain("/p2p-circuit/");
    },
  );

  test("is what agents use that can dial each other, whatever relays they have", async () => {
    const [lower, higher] = newDevices();
    await using relay = await startRelay();
    const listen = ["/ip4/127.0.0.1/tcp/0"];
    await using a = await startHidden(lower, [relay], { listen });
    await using b = await startHidden(higher, [relay], { listen });
    await until("a direct channel", () => together(a, b) && reserved(a) && reserved(b));
    await until("no circuit", () => relay.relay.status().relaying?.circuits === 0);
    await until("a direct one", () => together(a, b) && isDirect(a) && isDirect(b));
    expect([a, b].map(({ transport }) => transport.peers().length)).toEqual([1, 1]);
  });
});

describe("what a relay has received and not passed on", () => {
  test("is bounded: the sender is not read until the receiver has taken half of it", () => {
    const from = Object.assign(new EventTarget(), {
      readStatus: "readable",
      pauses: 0,
      pause(): void {
        this.readStatus = "paused";
        this.pauses += 1;
      },
      resume(): void {
        this.readStatus = "readable";
        // A window's worth was held, and comes at once.
        hear(LIMITS.relayBacklogBytes + 1);
      },
    });
    const hear = (length: number): void => {
      from.dispatchEvent(Object.assign(new Event("message"), { data: new Uint8Array(length) }));
    };
    const to = { send: (data: Uint8Array): boolean => data.length > 0 };
    holdBack(from as unknown as Stream, to as unknown as Stream);
    hear(LIMITS.relayBacklogBytes);
    expect(from.readStatus).toBe("readable");
    hear(1);
    expect(from.readStatus).toBe("paused");
    to.send(new Uint8Array(1_000));
    expect([from.readStatus, from.pauses]).toEqual(["paused", 1]);
    to.send(new Uint8Array(LIMITS.relayBacklogBytes - 999));
    expect([from.readStatus, from.pauses]).toEqual(["paused", 2]);
  });
});
