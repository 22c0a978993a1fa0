// SPDX-License-Identifier: Apache-2.0
/** Which of two connections stays, for each pair that can meet, on a clock of its own. */
import { generateKeyPair } from "@libp2p/crypto/keys";
import type { Connection, MultiaddrConnection, PeerId } from "@libp2p/interface";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { multiaddr } from "@multiformats/multiaddr";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Admission } from "../src/admission.ts";
import type { Link } from "../src/admission.ts";
import { HandshakeWatch } from "../src/handshake-watch.ts";
import { deviceOf } from "../src/identity.ts";
import { Refusals } from "../src/refusals.ts";
import { recordingLogger } from "./mesh.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const newPeerId = async (): Promise<PeerId> =>
  peerIdFromPrivateKey(await generateKeyPair("Ed25519"));
const [peer, hub] = [await newPeerId(), await newPeerId()];
const device = deviceOf(peer) ?? "";
const ADDRESSES: Readonly<Record<Link, string>> = {
  direct: `/ip4/192.0.2.1/tcp/4001/p2p/${peer.toString()}`,
  relayed: `/ip4/192.0.2.2/tcp/4002/p2p/${hub.toString()}/p2p-circuit/p2p/${peer.toString()}`,
};
/** Ours, below and above the peer's. */
const KEYS = { lower: "00".repeat(32), higher: "ff".repeat(32) };

interface Fake extends Connection {
  readonly cut: boolean;
}

function newConnection(link: Link): Fake {
  const connection = {
    cut: false,
    status: "open",
    remotePeer: peer,
    remoteAddr: multiaddr(ADDRESSES[link]),
    abort: () => {
      connection.cut = true;
    },
  };
  return connection as unknown as Fake;
}

const newAdmission = (side: keyof typeof KEYS, isMember = true): Admission => {
  const refusals = new Refusals(recordingLogger());
  return new Admission({
    self: KEYS[side],
    isMember: (other) => isMember && other === device,
    isRelay: (other) => other === deviceOf(hub),
    onIdentified: () => undefined,
    handshakes: new HandshakeWatch(refusals, false),
    refusals,
  });
};

const lets = (
  admission: Admission,
  address: string,
  peerId = peer,
  direction: "Inbound" | "Outbound" = "Inbound",
): boolean => {
  const socket = { remoteAddr: multiaddr(address) } as MultiaddrConnection;
  return admission.gater[`deny${direction}EncryptedConnection`]?.(peerId, socket) === false;
};

interface Meeting {
  readonly existing: Link;
  /** How long it has been up, in milliseconds. */
  readonly age: number;
  readonly coming: Link;
  /** Whether the coming one is let in, and the existing one cut, by the end with either key. */
  readonly lower: boolean;
  readonly higher: boolean;
}

const MEETINGS: readonly Meeting[] = [
  { existing: "direct", age: 100, coming: "direct", lower: false, higher: true },
  { existing: "relayed", age: 100, coming: "relayed", lower: false, higher: true },
  { existing: "direct", age: 5_001, coming: "direct", lower: true, higher: true },
  { existing: "relayed", age: 5_001, coming: "relayed", lower: true, higher: true },
  // The better one.
  { existing: "relayed", age: 100, coming: "direct", lower: true, higher: true },
  { existing: "relayed", age: 60_000, coming: "direct", lower: true, higher: true },
  { existing: "direct", age: 100, coming: "relayed", lower: false, higher: false },
  // The remote has lost it.
  { existing: "direct", age: 5_001, coming: "relayed", lower: true, higher: true },
];

describe.each(["lower", "higher"] as const)("the end with the %s key", (side) => {
  test.each(MEETINGS)(
    "when a $coming connection comes to a $existing one of $age ms",
    ({ existing, age, coming, ...expected }) => {
      const admission = newAdmission(side);
      expect(lets(admission, ADDRESSES[existing])).toBe(true);
      const connection = newConnection(existing);
      expect(admission.opened(connection)).toBe(device);
      expect(admission.link(device)).toBe(existing);
      vi.advanceTimersByTime(age);
      expect(lets(admission, ADDRESSES[coming])).toBe(expected[side]);
      // Of two of a kind that were dialled at once, both stay until the refusing end has cut one.
      const both = age < 5_000 && existing === coming;
      expect(connection.cut).toBe(expected[side] && !both);
      expect(admission.isReplaced(connection)).toBe(connection.cut);
    },
  );

  test("while one is coming up lets no other one of its kind, or of a worse kind, in before it", () => {
    for (const first of ["direct", "relayed"] as const) {
      const admission = newAdmission(side);
      expect(lets(admission, ADDRESSES[first])).toBe(true);
      expect(lets(admission, ADDRESSES[first])).toBe(side === "higher");
      expect(lets(admission, ADDRESSES[first === "direct" ? "relayed" : "direct"])).toBe(
        first === "relayed",
      );
      vi.advanceTimersByTime(3_001);
      expect(lets(admission, ADDRESSES[first])).toBe(true);
    }
  });
});

test("a hub is let in as a relay that was dialled directly, and in no other way", () => {
  const admission = newAdmission("lower");
  const address = `/ip4/192.0.2.2/tcp/4002/p2p/${hub.toString()}`;
  const circuit = `${address}/p2p-circuit/p2p/${hub.toString()}`;
  expect(lets(admission, address, hub, "Outbound")).toBe(true);
  expect(lets(admission, address, hub, "Inbound")).toBe(false);
  expect(lets(admission, circuit, hub, "Outbound")).toBe(false);
  expect(admission.size).toBe(0);
});

test("who is no member is let in neither directly nor through a relay", () => {
  const admission = newAdmission("lower", false);
  for (const address of Object.values(ADDRESSES)) {
    for (const direction of ["Inbound", "Outbound"] as const) {
      expect(lets(admission, address, peer, direction)).toBe(false);
    }
  }
});
