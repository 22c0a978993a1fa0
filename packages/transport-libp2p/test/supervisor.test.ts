// SPDX-License-Identifier: Apache-2.0
/** The supervisor on a clock of its own. */
import { generateKeyPair } from "@libp2p/crypto/keys";
import { LIMITS, toHex } from "@ctxmesh/model";
import type { Connection, PeerId } from "@libp2p/interface";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import type { Multiaddr } from "@multiformats/multiaddr";
import { multiaddr } from "@multiformats/multiaddr";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { deviceOf, deviceOfAddress, isRelayed } from "../src/identity.ts";
import { Refusals } from "../src/refusals.ts";
import { Supervisor } from "../src/supervisor.ts";
import { recordingLogger } from "./mesh.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

interface Peer {
  readonly id: PeerId;
  readonly device: string;
  readonly address: Multiaddr;
}

let lastPort = 4_000;
async function newPeer(): Promise<Peer> {
  const id = peerIdFromPrivateKey(await generateKeyPair("Ed25519"));
  lastPort += 1;
  const address = multiaddr(`/ip4/192.0.2.1/tcp/${String(lastPort)}/p2p/${id.toString()}`);
  return { id, device: deviceOf(id) ?? "", address };
}

/** A network in which nobody says that somebody is away: a dial takes `timeoutMs` to fail. */
class Network {
  readonly connected = new Set<string>();
  readonly relayed = new Set<string>();
  readonly dials: { readonly at: number; readonly address: string }[] = [];
  readonly up = new Map<string, PeerId>();
  timeoutMs = 2_500;
  /** The most dials of one device that were ever under way together. */
  mostAtOnce = 0;
  readonly #under = new Map<string, number>();
  enough = 16;

  supervise(peers: readonly Multiaddr[], members?: ReadonlySet<string>): Supervisor {
    return new Supervisor(
      {
        self: toHex(new Uint8Array(32)),
        link: (device) => {
          if (this.connected.has(device)) return "direct";
          return this.relayed.has(device) ? "relayed" : undefined;
        },
        isMember: (device) => members?.has(device) ?? true,
        hasEnough: () => this.connected.size >= this.enough,
        dial: async (address, signal) => this.#dial(address, signal),
        refusals: new Refusals(recordingLogger()),
        onTick: () => undefined,
        logger: recordingLogger(),
      },
      peers,
    );
  }

  /** When an address was dialled, from a time on. */
  dialled({ address }: Peer, since = 0): number[] {
    return this.dials
      .filter((dial) => dial.address === address.toString() && dial.at >= since)
      .map(({ at }) => at);
  }

  async #dial(address: Multiaddr, signal: AbortSignal): Promise<Connection> {
    this.dials.push({ at: performance.now(), address: address.toString() });
    const device = deviceOfAddress(address) ?? "";
    const atOnce = (this.#under.get(device) ?? 0) + 1;
    this.#under.set(device, atOnce);
    this.mostAtOnce = Math.max(this.mostAtOnce, atOnce);
    try {
      return await this.#answer(address, signal);
    } finally {
      this.#under.set(device, (this.#under.get(device) ?? 1) - 1);
    }
  }

  async #answer(address: Multiaddr, signal: AbortSignal): Promise<Connection> {
    // TCP sends its first packet again after a second.
    for (const waitMs of [1_000, this.timeoutMs - 1_000]) {
      const answering = this.up.get(address.toString());
      if (answering !== undefined) {
        const link = isRelayed(address) ? this.relayed : this.connected;
        link.add(deviceOf(answering) ?? "");
        return { remotePeer: answering } as Connection;
      }
      await new Promise((resolve) => {
        setTimeout(resolve, Math.max(0, Math.min(waitMs, this.timeoutMs)));
        signal.addEventListener("abort", resolve);
      });
      signal.throwIfAborted();
    }
    throw new Error("no answer");
  }
}

const gaps = (times: readonly number[]): number[] =>
  times.slice(1).map((time, i) => time - (times[i] ?? 0));

describe("a peer that comes back", () => {
  test.each([1, 10, 61, 3_601])(
    "is connected within 2 s if it was configured, %i s after it was lost",
    async (seconds) => {
      const network = new Network();
      const peer = await newPeer();
      const supervisor = network.supervise([peer.address]);
      supervisor.start();
      for (let round = 0; round < 10; round++) {
        await vi.advanceTimersByTimeAsync(seconds * 1_000 + 137 * round);
        const from = performance.now();
        network.up.set(peer.address.toString(), peer.id);
        await vi.advanceTimersByTimeAsync(2_000);
        expect(performance.now()).toBe(from + 2_000);
        expect(network.connected.has(peer.device)).toBe(true);
        network.up.clear();
        network.connected.clear();
        supervisor.lost(peer.device);
      }
      await supervisor.stop();
    },
  );

  test("is dialled again and again if its address was learnt and it was lost up to ten minutes ago", async () => {
    const network = new Network();
    const peer = await newPeer();
    const supervisor = network.supervise([]);
    supervisor.start();
    supervisor.learn(peer.device, [peer.address], "signed");
    await vi.advanceTimersByTimeAsync(9 * MINUTE);
    expect(Math.max(...gaps(network.dialled(peer)))).toBeLessThanOrEqual(network.timeoutMs + 200);
    await supervisor.stop();
  });

  test("is dialled at once when something has changed, however long it was away", async () => {
    const network = new Network();
    const peer = await newPeer();
    const supervisor = network.supervise([]);
    supervisor.start();
    supervisor.learn(peer.device, [peer.address], "signed");
    await vi.advanceTimersByTimeAsync(HOUR);
    const waits = gaps(network.dialled(peer, performance.now() - 40 * MINUTE));
    expect(Math.max(...waits)).toBeGreaterThan(10_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(33_000);
    for (const nudge of [undefined, peer.device]) {
      const { length } = network.dials;
      while (network.dials.length === length) await vi.advanceTimersByTimeAsync(100);
      // In the midst of a dial, and then between two of them.
      for (let round = 0; round < 2; round++) {
        const from = performance.now();
        supervisor.nudge(nudge);
        await vi.advanceTimersByTimeAsync(700 + network.timeoutMs);
        expect(network.dialled(peer, from).length).toBeGreaterThan(0);
      }
    }
    await supervisor.stop();
  });
});

describe("waits between dials", () => {
  test("are spread over all of their range (full jitter), and doubled up to its end", async () => {
    const network = new Network();
    network.timeoutMs = 0;
    const peers = await Promise.all(Array.from({ length: 8 }, newPeer));
    const supervisor = network.supervise(peers.map(({ address }) => address));
    supervisor.start();
    await vi.advanceTimersByTimeAsync(10 * MINUTE);
    const waits = peers.flatMap((peer) => gaps(network.dialled(peer)));
    expect(waits.length).toBeGreaterThan(2_000);
    for (let quarter = 0; quarter < 4; quarter++) {
      const share = waits.filter((wait) => Math.floor(wait / 500) === quarter).length;
      expect(share / waits.length).toBeGreaterThan(0.15);
      expect(share / waits.length).toBeLessThan(0.35);
    }
    await supervisor.stop();
  });

  test("never let a flood of hints put a dial off", async () => {
    const network = new Network();
    const [peer, other] = [await newPeer(), await newPeer()];
    const supervisor = network.supervise([peer.address]);
    supervisor.start();
    for (let i = 0; i < 200; i++) {
      const hint = multiaddr(`/ip4/192.0.2.9/tcp/${String(5_000 + i)}/p2p/${other.id.toString()}`);
      supervisor.learn(other.device, [hint], "hint");
      supervisor.nudge(other.device);
      await vi.advanceTimersByTimeAsync(50);
    }
    expect(network.dialled(peer).length).toBeGreaterThanOrEqual(4);
    expect(network.mostAtOnce).toBe(1);
    await supervisor.stop();
  });
});

describe("addresses", () => {
  test("of one source are never pushed out by another, and of the same one replaced", async () => {
    const network = new Network();
    const peer = await newPeer();
    const from = (host: number): Multiaddr =>
      multiaddr(`/ip4/192.0.2.${String(host)}/tcp/4001/p2p/${peer.id.toString()}`);
    const supervisor = network.supervise([]);
    supervisor.start();
    supervisor.learn(peer.device, [from(1)], "signed");
    supervisor.learn(peer.device, [from(2)], "hint");
    supervisor.learn(peer.device, [from(3)], "hint");
    await vi.advanceTimersByTimeAsync(MINUTE);
    expect(new Set(network.dials.map(({ address }) => address))).toEqual(
      new Set([from(1).toString(), from(3).toString()]),
    );
    await supervisor.stop();
  });

  test("that are listed twice, or by two devices, are dialled once for each device", async () => {
    const network = new Network();
    network.timeoutMs = 0;
    const [peer, other] = [await newPeer(), await newPeer()];
    const claimed = multiaddr(
      peer.address.toString().replace(peer.id.toString(), other.id.toString()),
    );
    const supervisor = network.supervise([]);
    supervisor.start();
    supervisor.learn(peer.device, [peer.address, peer.address], "signed");
    supervisor.learn(peer.device, [peer.address], "hint");
    supervisor.learn(other.device, [claimed], "signed");
    network.up.set(peer.address.toString(), peer.id);
    await vi.advanceTimersByTimeAsync(MINUTE);
    expect(network.dialled(peer).length).toBe(1);
    expect(
      network.dials.filter(({ address }) => address === claimed.toString()).length,
    ).toBeGreaterThan(1);
    expect([network.connected.has(peer.device), network.connected.has(other.device)]).toEqual([
      true,
      false,
    ]);
    expect(network.mostAtOnce).toBe(1);
    await supervisor.stop();
  });

  test("through a relay come after those that need none, and those are tried on, now and then, once it is connected", async () => {
    const network = new Network();
    network.timeoutMs = 0;
    const [peer, relay] = [await newPeer(), await newPeer()];
    const circuit = multiaddr(`${relay.address.toString()}/p2p-circuit/p2p/${peer.id.toString()}`);
    network.up.set(circuit.toString(), peer.id);
    const supervisor = network.supervise([]);
    supervisor.start();
    supervisor.learn(peer.device, [circuit, peer.address], "signed");
    await vi.advanceTimersByTimeAsync(5_000);
    expect(network.dials[0]?.address).toBe(peer.address.toString());
    expect(network.relayed.has(peer.device)).toBe(true);
    await vi.advanceTimersByTimeAsync(30 * MINUTE);
    expect(network.dials.filter(({ address }) => address === circuit.toString()).length).toBe(1);
    const waits = gaps(network.dialled(peer, performance.now() - 20 * MINUTE));
    expect(waits.length).toBeGreaterThan(30);
    expect(Math.max(...waits)).toBeLessThanOrEqual(33_000);
    network.up.set(peer.address.toString(), peer.id);
    await vi.advanceTimersByTimeAsync(33_000);
    expect(network.connected.has(peer.device)).toBe(true);
    await supervisor.stop();
  });

  test("are bounded, for one device and over all", async () => {
    const network = new Network();
    network.timeoutMs = 0;
    const supervisor = network.supervise([]);
    supervisor.start();
    const perDevice = LIMITS.addressesPerPeer + 3;
    const { id, device } = await newPeer();
    const many = (first: number, count: number): Multiaddr[] =>
      Array.from({ length: count }, (_, i) =>
        multiaddr(`/ip4/192.0.2.1/tcp/${String(first + i)}/p2p/${id.toString()}`),
      );
    for (let i = 0; i < LIMITS.knownAddresses; i++) {
      supervisor.learn(i.toString(16).padStart(64, "0"), many(1 + i, 1), "hint");
    }
    supervisor.learn(device, many(20_000, perDevice), "hint");
    supervisor.learn(device, many(30_000, perDevice), "signed");
    await vi.advanceTimersByTimeAsync(MINUTE);
    const dialled = new Set(network.dials.map(({ address }) => address));
    const ports = [...dialled].map((address) => Number(address.split("/")[4]));
    expect(ports.filter((port) => port >= 20_000 && port < 30_000)).toEqual([]);
    expect(ports.filter((port) => port >= 30_000).length).toBe(LIMITS.addressesPerPeer);
    await supervisor.stop();
  });

  test("that were learnt are not dialled while enough are connected", async () => {
    const network = new Network();
    const [configured, learnt] = [await newPeer(), await newPeer()];
    for (let i = 0; i < network.enough; i++) network.connected.add(String(i));
    const supervisor = network.supervise([configured.address]);
    supervisor.start();
    supervisor.learn(learnt.device, [learnt.address], "signed");
    await vi.advanceTimersByTimeAsync(MINUTE);
    expect([network.dialled(configured).length > 0, network.dialled(learnt)]).toEqual([true, []]);
    network.connected.delete("0");
    await vi.advanceTimersByTimeAsync(4_000);
    expect(network.dialled(learnt).length).toBeGreaterThan(0);
    await supervisor.stop();
  });

  test("of who is connected, or no member, are not dialled", async () => {
    const network = new Network();
    const [peer, stranger] = [await newPeer(), await newPeer()];
    network.connected.add(peer.device);
    const supervisor = network.supervise([], new Set([peer.device]));
    supervisor.start();
    supervisor.learn(peer.device, [peer.address], "signed");
    supervisor.learn(stranger.device, [stranger.address], "hint");
    await vi.advanceTimersByTimeAsync(MINUTE);
    expect(network.dials).toEqual([]);
    await supervisor.stop();
  });
});
