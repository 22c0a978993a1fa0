// SPDX-License-Identifier: Apache-2.0
/** Device keys as PeerIds, and the multiaddrs of a configuration. */
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import type { PeerId } from "@libp2p/interface";
import { peerIdFromString } from "@libp2p/peer-id";
import type { Multiaddr } from "@multiformats/multiaddr";
import { multiaddr } from "@multiformats/multiaddr";

const HOST_PROTOCOLS: readonly string[] = ["ip4", "ip6", "dns", "dns4", "dns6"];

/** The device key that a PeerId embeds, hex; undefined when the PeerId is not of an Ed25519 key. */
export function deviceOf(peerId: PeerId): string | undefined {
  return peerId.type === "Ed25519" ? toHex(peerId.publicKey.raw) : undefined;
}

/** The device key named by an address' `/p2p/` part, hex, or undefined when there is none. */
export function deviceOfAddress(address: Multiaddr): string | undefined {
  const id = address.getComponents().find((component) => component.name === "p2p")?.value;
  return id === undefined ? undefined : deviceOf(peerIdFromString(id));
}

/** The TCP addresses among these, each once, sorted, `LIMITS.addressesPerPeer` of them; with an id when one is given. */
export function dialable(addresses: readonly Multiaddr[], peerId?: PeerId): Multiaddr[] {
  const sockets = addresses.filter(isTcp).map(socketOf);
  const id = peerId === undefined ? "" : `/p2p/${peerId.toString()}`;
  return [...new Set(sockets)]
    .toSorted()
    .slice(0, LIMITS.addressesPerPeer)
    .map((socket) => multiaddr(socket + id));
}

/** Whether an address is of a host and a TCP port, and at most the id behind them. */
function isTcp(address: Multiaddr): boolean {
  const [host, transport, peer, ...rest] = address.getComponents();
  return (
    host !== undefined &&
    HOST_PROTOCOLS.includes(host.name) &&
    transport?.name === "tcp" &&
    (peer === undefined || peer.name === "p2p") &&
    rest.length === 0
  );
}

/** An address without its `/p2p/` part, as text; equal for equal sockets. */
export function socketOf(address: Multiaddr): string {
  return address.toString().replace(/\/p2p\/[^/]+$/u, "");
}

/**
 * Parses a configured address: `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>` with, for a peer, an optional
 * `/p2p/<id>`. Throws `CONFIG_INVALID` naming the address and what it should look like.
 */
export function parseAddress(text: string, use: "listen" | "peers"): Multiaddr {
  try {
    const address = multiaddr(text);
    const named = address.getComponents().some(({ name }) => name === "p2p");
    const fits = !named || (use === "peers" && deviceOfAddress(address) !== undefined);
    if (isTcp(address) && fits) return address;
  } catch (error) {
    throw invalidAddress(text, use, error);
  }
  throw invalidAddress(text, use);
}

function invalidAddress(text: string, use: string, cause?: unknown): MeshError {
  const form = use === "listen" ? "/ip4/0.0.0.0/tcp/4001" : "/ip4/192.0.2.7/tcp/4001/p2p/<id>";
  return new MeshError("CONFIG_INVALID", `"${text.slice(0, 200)}" is not an address to use here`, {
    field: use,
    remedy: `write it like ${form}`,
    cause,
  });
}
