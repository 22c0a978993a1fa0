// SPDX-License-Identifier: Apache-2.0
import { generateKeyPair } from "@libp2p/crypto/keys";
import type { PrivateKey } from "@libp2p/interface";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { PeerRecord, RecordEnvelope } from "@libp2p/peer-record";
import { LIMITS } from "@ctxmesh/model";
import { multiaddr } from "@multiformats/multiaddr";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { deviceOf } from "../src/identity.ts";
import { PeerBook } from "../src/peer-book.ts";
import {
  addressOf,
  freePort,
  newDevice,
  newDevices,
  recordingLogger,
  startNode,
  until,
} from "./mesh.ts";
import type { Node } from "./mesh.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

/** Memory that outlasts a node. */
function newMemory(): {
  list: Uint8Array | undefined;
  load: () => Promise<Uint8Array | undefined>;
  save: (list: Uint8Array) => Promise<void>;
} {
  const memory = {
    list: undefined as Uint8Array | undefined,
    load: async () => memory.list,
    save: async (list: Uint8Array) => {
      memory.list = list;
    },
  };
  return memory;
}

const peersOf = (node: Node): string[] =>
  node.transport
    .peers()
    .map(({ device }) => device)
    .toSorted();

const hasLocated = (node: Node, device: string): boolean =>
  node.logger.events.some(
    ({ event, fields }) => event === "peer.located" && fields["device"] === device,
  );

describe("a node that knows one member", () => {
  test("finds all the others that listen, and they find it", async () => {
    await using first = await startNode({ device: newDevice() });
    await using stack = new AsyncDisposableStack();
    const others: Node[] = [];
    for (let i = 0; i < 4; i++) {
      others.push(stack.use(await startNode({ device: newDevice(), peers: [addressOf(first)] })));
    }
    const nodes = [first, ...others];
    await until("everybody to know everybody", () =>
      nodes.every((node) => peersOf(node).length === nodes.length - 1),
    );
    const all = nodes.map(({ device }) => device.key).toSorted();
    for (const node of nodes) {
      expect(peersOf(node)).toEqual(all.filter((key) => key !== node.device.key));
    }
  });
});

describe("a member", () => {
  test("that comes back somewhere else is found there, as others have heard of it", async () => {
    const [device, seeker] = [newDevice(), newDevice()];
    await using known = await startNode({ device: newDevice() });
    const peers = [addressOf(known)];
    // Nobody can dial it, so that it has to find the other one.
    await using c = await startNode({ device: seeker, listen: [], peers });
    const addresses: string[] = [];
    for (let life = 0; life < 2; life++) {
      await using b = await startNode({ device, peers });
      addresses.push(addressOf(b));
      await until("all three", () => peersOf(c).length === 2 && peersOf(b).length === 2);
      expect(c.transport.peers().map(({ address }) => address)).toContain(addressOf(b));
    }
    expect(new Set(addresses).size).toBe(2);
  });

  test("that claims the address of another one is not taken for it, and disturbs nobody", async () => {
    await using a = await startNode({ device: newDevice() });
    const own = addressOf(a).replace(/\/p2p\/.*$/u, "");
    await using liar = await startNode({ device: newDevice(), announce: [own, own], peers: [own] });
    await until("a", () => peersOf(a).length === 1);
    await using c = await startNode({ device: newDevice(), peers: [own] });
    // The liar finds c, and c, until then, tries where it says that it is.
    await until("all three", () => [a, liar, c].every((node) => peersOf(node).length === 2));
    expect(new Set(peersOf(c))).toEqual(new Set([a.device.key, liar.device.key]));
    expect(c.transport.peers().filter(({ address }) => address.startsWith(own)).length).toBe(1);
    await until("their channels", () => [a, liar, c].every(({ open }) => open.size === 2));
    expect([a, c].map(({ channels }) => channels.length)).toEqual([2, 2]);
  });
});

describe("a node that starts again", () => {
  test("finds those it met last, without a configured peer", async () => {
    const [lower, higher] = newDevices();
    const listen = [`/ip4/127.0.0.1/tcp/${String(await freePort())}`];
    const memory = newMemory();
    {
      await using a = await startNode({ device: lower, listen });
      await using b = await startNode({ device: higher, peers: [addressOf(a)], memory });
      await until("its addresses", () => hasLocated(b, lower.key));
    }
    expect(memory.list).toBeDefined();
    await using b = await startNode({ device: higher, memory, listen: [] });
    await using a = await startNode({ device: lower, listen });
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
  });

  test.each([
    ["is damaged", new Uint8Array(100).fill(0xff)],
    ["can't be read", undefined],
  ])("starts without what it knew when that %s", async (_, list) => {
    const load = async (): Promise<Uint8Array> => list ?? Promise.reject(new Error("disk"));
    const memory = { load, save: async () => Promise.reject(new Error("disk")) };
    await using a = await startNode({ device: newDevice(), memory });
    await using b = await startNode({ device: newDevice(), peers: [addressOf(a)] });
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
    expect(a.logger.events.map(({ event }) => event)).toContain("peers.not-recalled");
  });
});

describe("multicast DNS", () => {
  test("connects members on the local network that know no address of each other", async (context) => {
    const [lower, higher] = newDevices();
    const isMember = (device: string): boolean => device === lower.key || device === higher.key;
    await using a = await startNode({ device: lower, mdns: true, isMember });
    await using stranger = await startNode({ device: newDevice(), mdns: true });
    await using b = await startNode({ device: higher, mdns: true, isMember });
    const heard = (): boolean =>
      [a, b, stranger].some(({ logger }) =>
        logger.events.some(({ event }) => event === "peer.hinted"),
      );
    try {
      await until("a hint", heard);
    } catch {
      context.skip("no multicast on this machine");
    }
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
    expect([a.channels.length, b.channels.length]).toEqual([1, 1]);
    expect(stranger.channels).toEqual([]);
  });
});

/** A signed list of one device's addresses. */
async function signedBy(
  privateKey: PrivateKey,
  addresses: readonly string[],
  seqNumber: bigint,
  named: PrivateKey = privateKey,
): Promise<Uint8Array> {
  const peerId = peerIdFromPrivateKey(named);
  const multiaddrs = addresses.map((address) => multiaddr(address));
  const record = new PeerRecord({ peerId, multiaddrs, seqNumber });
  return (await RecordEnvelope.seal(record, privateKey)).marshal();
}

const listOf = (...envelopes: readonly Uint8Array[]): Buffer =>
  Buffer.concat(
    envelopes.flatMap((envelope) => [
      Uint8Array.of(envelope.length >> 8, envelope.length & 0xff),
      envelope,
    ]),
  );

interface Heard {
  readonly book: PeerBook;
  readonly heard: [device: string, addresses: string[]][];
}

function newBook(members?: readonly string[]): Heard {
  const heard: Heard["heard"] = [];
  const book = new PeerBook({
    self: "00".repeat(32),
    isMember: (device) => members?.includes(device) ?? true,
    onAddresses: (device, addresses) => {
      heard.push([device, addresses.map((address) => address.toString().split("/p2p/")[0] ?? "")]);
    },
    logger: recordingLogger(),
  });
  return { book, heard };
}

const HOME = "/ip4/192.0.2.1/tcp/4001";
const AWAY = "/ip4/192.0.2.2/tcp/4001";

describe("the book of signed addresses", () => {
  test("believes a device about itself alone, and the newest that it said", async () => {
    const [key, other] = [await generateKeyPair("Ed25519"), await generateKeyPair("Ed25519")];
    const device = deviceOf(peerIdFromPrivateKey(key)) ?? "";
    const { book, heard } = newBook();
    await book.takeIn(listOf(await signedBy(other, [AWAY], 9n, key)));
    expect(heard).toEqual([]);
    await book.takeIn(listOf(await signedBy(key, [HOME], 5n)));
    await book.takeIn(listOf(await signedBy(key, [AWAY], 4n)));
    await book.takeIn(listOf(await signedBy(key, [HOME], 6n)));
    expect(heard).toEqual([[device, [HOME]]]);
    await book.takeIn(listOf(await signedBy(key, [AWAY], 7n)));
    expect(heard[1]).toEqual([device, [AWAY]]);
    // Its clock was set back; nobody else could say so.
    await book.met(peerIdFromPrivateKey(key), await signedBy(key, [HOME], 1n));
    expect(heard[2]).toEqual([device, [HOME]]);
    await book.met(peerIdFromPrivateKey(other), await signedBy(key, [AWAY], 10n));
    expect(heard.length).toBe(3);
  });

  test("with any byte changed says nothing new, and throws nothing", async () => {
    const key = await generateKeyPair("Ed25519");
    const envelope = await signedBy(key, [HOME], 5n);
    const at = fc.nat(envelope.length - 1);
    await fc.assert(
      fc.asyncProperty(at, fc.integer({ min: 1, max: 255 }), async (index, change) => {
        const { book, heard } = newBook();
        const changed = Uint8Array.from(envelope);
        changed[index] = (changed[index] ?? 0) ^ change;
        await book.takeIn(listOf(changed));
        expect(heard).toEqual([]);
      }),
    );
  });

  test("refuses lists of any other bytes with a code, or takes nothing from them", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), async (bytes) => {
        const { book, heard } = newBook();
        const outcome = await book.takeIn(bytes).catch((error: unknown) => error);
        expect([undefined, "PROTOCOL_VIOLATION"]).toContain(
          (outcome as { readonly code?: string } | undefined)?.code,
        );
        expect(heard).toEqual([]);
      }),
    );
  });

  test("says nothing of who is no member any more, and hears nothing of who is none", async () => {
    const [key, gone] = [await generateKeyPair("Ed25519"), await generateKeyPair("Ed25519")];
    const [device, former] = [key, gone].map((k) => deviceOf(peerIdFromPrivateKey(k)) ?? "");
    const members = [device ?? "", former ?? ""];
    const { book } = newBook(members);
    const envelope = await signedBy(key, [HOME], 1n);
    await book.takeIn(listOf(envelope, await signedBy(gone, [AWAY], 1n)));
    expect(book.encode().length).toBeGreaterThan(2 * envelope.length);
    const before = book.digest([]);
    members.pop();
    expect(book.encode()).toEqual(listOf(envelope));
    expect(book.encode(device).length).toBe(0);
    expect(book.digest([])).not.toEqual(before);
    const { book: other, heard } = newBook(members);
    await other.takeIn(listOf(await signedBy(gone, [AWAY], 1n)));
    expect(heard).toEqual([]);
  });

  test("gives on what it took, and the same digest to all who know the same", async () => {
    const keys = await Promise.all(Array.from({ length: 5 }, () => generateKeyPair("Ed25519")));
    const envelopes = await Promise.all(keys.map((key) => signedBy(key, [HOME, AWAY], 1n)));
    const [a, b] = [newBook(), newBook()];
    await a.book.takeIn(listOf(...envelopes));
    expect(a.book.digest([])).not.toEqual(b.book.digest([]));
    await b.book.takeIn(a.book.encode());
    expect(new Set(b.heard)).toEqual(new Set(a.heard));
    expect(a.book.digest([])).toEqual(b.book.digest([]));
    expect(a.book.digest([multiaddr(HOME)])).not.toEqual(b.book.digest([]));
  });

  test("keeps so many, and of none too much", async () => {
    const { book, heard } = newBook();
    const long = Array.from({ length: 200 }, (_, i) => `/ip4/192.0.2.1/tcp/${String(i + 1)}`);
    await book.takeIn(listOf(await signedBy(await generateKeyPair("Ed25519"), long, 1n)));
    expect(heard).toEqual([]);
    await book.takeIn(
      listOf(await signedBy(await generateKeyPair("Ed25519"), long.slice(0, 20), 1n)),
    );
    expect(heard[0]?.[1].length).toBe(LIMITS.addressesPerPeer);
    for (let i = 0; i < LIMITS.knownPeers; i++) {
      await book.takeIn(listOf(await signedBy(await generateKeyPair("Ed25519"), [HOME], 1n)));
    }
    const again = newBook();
    await again.book.takeIn(book.encode());
    expect(again.heard.length).toBe(LIMITS.knownPeers);
  });
});
