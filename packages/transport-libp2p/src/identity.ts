// SPDX-License-Identifier: Apache-2.0
/** Device keys as PeerIds, and the multiaddrs of a configuration. */
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import type { PeerId } from "@libp2p/interface";
import { peerIdFromString } from "@libp2p/peer-id";
import type { Multiaddr } from "@multiformats/multiaddr";
import { multiaddr } from "@multiformats/multiaddr";

const CIRCUIT = "p2p-circuit";
const HOST_PROTOCOLS: readonly string[] = ["ip4", "ip6", "dns", "dns4", "dns6"];

/** The device key that a PeerId embeds, hex; undefined when the PeerId is not of an Ed25519 key. */
export function deviceOf(peerId: PeerId): string | undefined {
  return peerId.type === "Ed25519" ? toHex(peerId.publicKey.raw) : undefined;
}

/** The device key that an address leads to, hex: that of its last `/p2p/` part; undefined when there is none. */
export function deviceOfAddress(address: Multiaddr): string | undefined {
  if (address.getComponents().at(-1)?.name !== "p2p") return undefined;
  return lastDeviceOf(address);
}

/** Whether an address leads through a relay. */
export const isRelayed = (address: Multiaddr): boolean =>
  address.getComponents().some(({ name }) => name === CIRCUIT);

/** The address of the relay that an address leads through, with its id. */
export const relayAddressOf = (address: Multiaddr): Multiaddr =>
  multiaddr(address.toString().split(`/${CIRCUIT}`, 1)[0] ?? "");

/** The device of the relay that an address leads through, hex. */
export const relayOf = (address: Multiaddr): string | undefined =>
  lastDeviceOf(relayAddressOf(address));

function lastDeviceOf(address: Multiaddr): string | undefined {
  const id = address.getComponents().findLast(({ name }) => name === "p2p")?.value;
  return id === undefined ? undefined : deviceOf(peerIdFromString(id));
}

/**
 * The addresses among these that can be dialled, each once, with an id when one is given: those of TCP and WebSockets, then
 * those through relays, each sorted. `LIMITS.addressesPerPeer` of them, so many of which may be through relays as one
 * has addresses (`LIMITS.addressesPerRelay`).
 */
export function dialable(addresses: readonly Multiaddr[], peerId?: PeerId): Multiaddr[] {
  const id = peerId === undefined ? "" : `/p2p/${peerId.toString()}`;
  const some = (form: (names: readonly string[]) => boolean): string[] =>
    [...new Set(addresses.filter((address) => form(namesOf(address))).map(socketOf))].toSorted();
  const relayed = some(isCircuit).slice(0, LIMITS.addressesPerRelay);
  const direct = some(isSocket).slice(0, LIMITS.addressesPerPeer - relayed.length);
  return [...direct, ...relayed].map((socket) => multiaddr(socket + id));
}

/** What may follow the TCP port: nothing, or WebSockets, with TLS or without. */
const WRAPPINGS: readonly string[] = ["", "ws", "wss", "tls ws"];

const namesOf = (address: Multiaddr): readonly string[] =>
  address.getComponents().map(({ name }) => name);

/** Whether these are the parts of a host's TCP or WebSocket address, and at most the id behind them. */
function isSocket(names: readonly string[]): boolean {
  const [host = "", transport, ...rest] = names.at(-1) === "p2p" ? names.slice(0, -1) : names;
  return HOST_PROTOCOLS.includes(host) && transport === "tcp" && WRAPPINGS.includes(rest.join(" "));
}

/** Whether these are the parts of an address through one relay. */
function isCircuit(names: readonly string[]): boolean {
  const at = names.indexOf(CIRCUIT);
  const rest = names.slice(at + 1);
  const relay = names.slice(0, at);
  return (
    at > 0 &&
    relay.at(-1) === "p2p" &&
    isSocket(relay) &&
    (rest.length === 0 || (rest.length === 1 && rest[0] === "p2p"))
  );
}

/** An address without the id at its end, as text; equal for equal sockets. */
export function socketOf(address: Multiaddr): string {
  return address.toString().replace(/\/p2p\/[^/]+$/u, "");
}

/** What a configured address is for. */
export type AddressUse = "listen" | "announce" | "peers" | "relays";

const FORMS: Readonly<Record<AddressUse, string>> = {
  listen: "/ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/tcp/4001/ws",
  announce: "/ip4/192.0.2.7/tcp/4001",
  peers: "/ip4/192.0.2.7/tcp/4001/p2p/<id> or /dns4/mesh.example.org/tcp/443/tls/ws",
  relays: "/ip4/192.0.2.7/tcp/4002/p2p/<id of the hub>",
};

/**
 * Parses a configured address: `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>`, then `/ws`, or for one to dial `/tls/ws` or
 * `/wss`, where WebSockets are meant, then for a peer an optional `/p2p/<id>`, which a relay must have. A peer's may
 * also be `<relay>/p2p-circuit/p2p/<id>`. Throws `CONFIG_INVALID` naming the address and what it should look like.
 */
export function parseAddress(text: string, use: AddressUse): Multiaddr {
  try {
    const address = multiaddr(text);
    if (fits(address, use)) return address;
  } catch (error) {
    throw invalidAddress(text, use, error);
  }
  throw invalidAddress(text, use);
}

function fits(address: Multiaddr, use: AddressUse): boolean {
  const names = namesOf(address);
  const named = names.at(-1) === "p2p";
  if (named && deviceOfAddress(address) === undefined) return false;
  switch (use) {
    case "listen":
      return isSocket(names) && !named && !names.includes("tls") && !names.includes("wss");
    case "announce":
      return isSocket(names) && !named;
    case "relays":
      return isSocket(names) && named;
    case "peers":
      return isSocket(names) || (isCircuit(names) && named && relayOf(address) !== undefined);
  }
}

function invalidAddress(text: string, use: AddressUse, cause?: unknown): MeshError {
  return new MeshError("CONFIG_INVALID", `"${text.slice(0, 200)}" is not an address to use here`, {
    field: use,
    remedy: `write it like ${FORMS[use]}`,
    cause,
  });
}
